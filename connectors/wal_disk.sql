-- Optional: how much room the disk of the source's WAL has. No SQL of Postgres tells that, so here a function does: what
-- `df` says of the file system that pg_wal lies on, wherever it is linked to. `headrace plan` then compares it with what
-- a slot may keep, and the guardian while `headrace run` works. Without it everything else works as is.
-- Run once in the source database by a superuser, on a server of your own that runs on Linux or another Unix; `role` is
-- the user that headrace's settings name under `source`. Safe to run again, with what the last run granted:
--
--   psql -v ON_ERROR_STOP=1 -v role=sales_owner -d sales -f wal_disk.sql
--
-- Told: two numbers, free and all bytes, to `role` and to superusers; nobody else may call it. It takes no argument, so
-- nothing of who calls it reaches the shell. It writes to no table, so it works in a transaction that only reads and on
-- a standby; what df says passes through the file `headrace_disk` in the data directory, put there in one piece.
-- To take it away again:
--
--   DROP SCHEMA IF EXISTS headrace_disk CASCADE;

BEGIN;

-- Made anew: what somebody else made under this name before would stay theirs to change. Not the schema of
-- ddl_capture.sql, whose new installation takes everything in it away.
DROP SCHEMA IF EXISTS headrace_disk CASCADE;
CREATE SCHEMA headrace_disk;

-- Runs as its owner, the only one who may start a program. COPY … FROM PROGRAM would need a table to put the answer in:
-- a temporary one that the caller has made before, with a trigger, would run the caller's code with the owner's rights.
CREATE FUNCTION headrace_disk.of_wal(OUT free_bytes bigint, OUT total_bytes bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    figures text[];
BEGIN
    -- No row goes to the program, which reads none; `$$` is the shell's own id, so two at once do not meet.
    COPY (SELECT 1 WHERE false) TO PROGRAM
        'LC_ALL=C df -Pk pg_wal/ > headrace_disk.$$ && mv -f headrace_disk.$$ headrace_disk || { rm -f headrace_disk.$$; exit 1; }';
    figures := regexp_match(split_part(pg_read_file('headrace_disk'), chr(10), 2),
                            ' ([0-9]+) +[0-9]+ +([0-9]+) +[0-9]+% +/');
    IF figures IS NULL THEN
        RAISE 'df tells no figures of pg_wal';
    END IF;
    total_bytes := figures[1]::bigint * 1024;
    free_bytes := figures[2]::bigint * 1024;
END
$function$;

REVOKE ALL ON SCHEMA headrace_disk FROM PUBLIC;
REVOKE ALL ON FUNCTION headrace_disk.of_wal() FROM PUBLIC;
GRANT USAGE ON SCHEMA headrace_disk TO :"role";
GRANT EXECUTE ON FUNCTION headrace_disk.of_wal() TO :"role";

COMMIT;
