-- The least Debezium needs of MariaDB: a role that may read the binlog, take the short lock with which a first read
-- begins, and read one database. Run once for each database; safe to run again. headrace runs it in `apply`; by hand:
--
--   mariadb -u root --init-command="SET @role = 'headrace', @password = '', @database = 'sales'" < mariadb_role.sql
--   then, in mariadb:  SET PASSWORD FOR 'headrace'@'%' = PASSWORD('…');
--
-- The password stays empty on the command line, where every process of the host could read it. `@password` is what
-- PASSWORD() makes of one: the binlog keeps CREATE USER word by word.
-- The password of a role that exists is not touched.
-- The whole database, not single tables: Debezium keeps the definition of every table in it, so that one that is
-- declared later is known from its beginning.

EXECUTE IMMEDIATE concat('CREATE USER IF NOT EXISTS ', quote(@role), '@''%'' IDENTIFIED BY PASSWORD ', quote(@password));

EXECUTE IMMEDIATE concat('GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO ', quote(@role), '@''%''');

EXECUTE IMMEDIATE concat('GRANT SELECT, LOCK TABLES ON `', replace(@database, '`', '``'), '`.* TO ', quote(@role), '@''%''');
