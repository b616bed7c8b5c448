-- Optional: how much room the disk of MariaDB's binlog has. The server's own plugin DISKS tells that, to users with FILE,
-- the privilege to read and write the server's files: far too much for headrace's role. So here a procedure does, which
-- runs as a user that has nothing but FILE and as whom nobody can log in. `headrace plan` then compares it with what the
-- binlog may still take, and the guardian while `headrace run` works. Without it everything else works as is.
-- Run once by root, after the first `headrace apply`, on a server from MariaDB's own packages or Debian's mariadb-server,
-- which bring the plugin; `@role` is the user that headrace's settings name under `mariadb.replicator`. Safe to run again,
-- with what the last run granted:
--
--   mariadb -u root --init-command="SET @role = 'headrace'" < binlog_disk.sql
--
-- Told: two numbers, free and all bytes, to `@role`; nobody else may call it. It takes no argument. Nothing of this is in
-- the binlog: a replica is another machine, and Debezium has nothing to read of it.
-- To take it away again:
--
--   SET sql_log_bin = 0;
--   DROP PROCEDURE IF EXISTS headrace_disk.of_binlog;
--   DROP DATABASE IF EXISTS headrace_disk;
--   DROP USER IF EXISTS headrace_disk@localhost;
--   UNINSTALL PLUGIN IF EXISTS disks;

SET sql_log_bin = 0;

INSTALL PLUGIN IF NOT EXISTS disks SONAME 'disks';

-- Made anew: what somebody else made under these names before would stay theirs to change.
DROP PROCEDURE IF EXISTS headrace_disk.of_binlog;
DROP DATABASE IF EXISTS headrace_disk;
DROP USER IF EXISTS headrace_disk@localhost;

CREATE DATABASE headrace_disk;
CREATE USER headrace_disk@localhost ACCOUNT LOCK;
GRANT FILE ON *.* TO headrace_disk@localhost;

-- Of the file systems, the one that is mounted deepest above the binlog; symbolic links below it are not followed.
CREATE DEFINER = headrace_disk@localhost PROCEDURE headrace_disk.of_binlog() READS SQL DATA SQL SECURITY DEFINER
    SELECT Available * 1024 AS free_bytes, Total * 1024 AS total_bytes FROM information_schema.DISKS
    WHERE Path = '/' OR left(@@log_bin_basename, length(Path) + 1) = concat(Path, '/')
    ORDER BY length(Path) DESC LIMIT 1;

GRANT EXECUTE ON PROCEDURE headrace_disk.of_binlog TO headrace_disk@localhost;
EXECUTE IMMEDIATE concat('GRANT EXECUTE ON PROCEDURE headrace_disk.of_binlog TO ', quote(@role), '@''%''');

SET sql_log_bin = 1;
