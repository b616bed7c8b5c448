-- Optional: the table in which the connector of one pipeline is asked to read tables again, as Debezium's `source`
-- channel wants it. Without it requests go over Kafka, and nobody writes to the source.
-- In a database whose tables the pipeline declares: of others Debezium does not know the tables' definitions. Run by who
-- may create tables there and grant; safe to run again. Before the replication role is there (`headrace apply` makes it)
-- the GRANT fails and the table is made: then `headrace plan` says what to grant.
--
--   mariadb -u root --init-command="SET @role = 'debezium', @database = 'sales', @table = 'headrace_signals'" < mariadb_signal_table.sql
--
-- Then in connectors/mariadb.json of the pipeline: {"signal.data.collection": "sales.headrace_signals"}. A table is one
-- pipeline's: every connector that is sent a row obeys it.
-- The role gets INSERT and nothing else of it (it reads the database as it is). Only a new row is a request; old ones do
-- nothing, and whoever owns the table may delete them at any time. Leave adding rows to `headrace`, which adds one when
-- the last was obeyed: of two that come right after one another Debezium may wait for ever.

SET @headrace_signals = concat('`', replace(@database, '`', '``'), '`.`', replace(@table, '`', '``'), '`');

EXECUTE IMMEDIATE concat('CREATE TABLE IF NOT EXISTS ', @headrace_signals,
    ' (id varchar(42) CHARACTER SET utf8mb4 PRIMARY KEY, type varchar(32) CHARACTER SET utf8mb4 NOT NULL,',
    ' data text CHARACTER SET utf8mb4) ENGINE = InnoDB');

EXECUTE IMMEDIATE concat('GRANT INSERT ON ', @headrace_signals, ' TO ', quote(@role), '@''%''');
