-- Optional: the source's DDL in the order of its changes. Event triggers write a logical message into the WAL, in the
-- transaction of the DDL, so its place is between the rows of before and of after; headrace's connector sends it to the
-- topic <pipeline>.message, and `headrace status` shows each table's last one. Without it everything else works as is.
-- Run once in the source database by a superuser (event triggers need one); safe to run again:
--
--   psql -v ON_ERROR_STOP=1 -d sales -f ddl_capture.sql
--
-- Told: ALTER of a table that a publication sends, the DROP of its columns and its entry into a publication, each with
-- the table's columns and their types as they are then; and that a table came or went in a schema that holds such a
-- table. Never the statement, a default or a check, which may hold secrets. No table is locked, and an error in here
-- becomes a WARNING: the DDL does not fail by it, unless it is cancelled or timed out just then.
-- To take it away again:
--
--   DROP EVENT TRIGGER IF EXISTS headrace_ddl_command_end;
--   DROP EVENT TRIGGER IF EXISTS headrace_sql_drop;
--   DROP SCHEMA IF EXISTS headrace_ddl CASCADE;

BEGIN;

-- Made anew: what somebody else made under these names before would stay theirs to change.
DROP EVENT TRIGGER IF EXISTS headrace_ddl_command_end;
DROP EVENT TRIGGER IF EXISTS headrace_sql_drop;
DROP SCHEMA IF EXISTS headrace_ddl CASCADE;
CREATE SCHEMA headrace_ddl;

-- Runs as its owner: who alters a table may lack every right that the look into the catalog and the message take.
CREATE FUNCTION headrace_ddl.tell_command() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    done record;
    relation oid;
BEGIN
    FOR done IN
        SELECT * FROM pg_event_trigger_ddl_commands()
        WHERE object_type IN ('table', 'table column', 'publication relation')
          AND command_tag IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO',
                              'ALTER PUBLICATION', 'CREATE PUBLICATION')
    LOOP
        relation := CASE WHEN done.object_type = 'publication relation'
                         THEN (SELECT prrelid FROM pg_publication_rel WHERE oid = done.objid) ELSE done.objid END;
        PERFORM pg_logical_emit_message(true, 'headrace.ddl', jsonb_build_object(
                    'command', done.command_tag, 'type', done.object_type, 'identity', done.object_identity,
                    'schema', n.nspname, 'table', c.relname, 'oid', c.oid,
                    'columns', CASE WHEN published.this THEN
                        (SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod))
                                          ORDER BY a.attnum)
                         FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
                    END)::text)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             CROSS JOIN LATERAL (
                 -- Not pg_publication_tables, which locks every table that it lists.
                 SELECT coalesce(bool_or(p.oid = c.oid), false) AS this, count(*) > 0 AS beside
                 FROM pg_publication_rel r JOIN pg_class p ON p.oid = r.prrelid
                 WHERE p.relnamespace = c.relnamespace) listed
             CROSS JOIN LATERAL (
                 SELECT listed.this OR a.every AS this, listed.beside OR a.every AS beside
                 FROM (SELECT EXISTS (SELECT FROM pg_publication WHERE puballtables) AS every) a) published
        WHERE c.oid = relation AND c.relpersistence <> 't' AND NOT c.relispartition
          AND CASE WHEN done.command_tag IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
                   THEN published.beside ELSE published.this END;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'headrace did not capture this %: %', tg_tag, SQLERRM;
END
$$;

CREATE FUNCTION headrace_ddl.tell_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A table that is gone is in no publication any more: its entry there was dropped with it.
    PERFORM pg_logical_emit_message(true, 'headrace.ddl', jsonb_build_object(
                'command', tg_tag, 'type', d.object_type, 'identity', d.object_identity,
                'schema', d.address_names[1], 'table', d.address_names[2], 'oid', d.objid,
                'columns', (SELECT jsonb_agg(jsonb_build_array(a.attname, format_type(a.atttypid, a.atttypmod))
                                             ORDER BY a.attnum)
                            FROM pg_attribute a
                            WHERE a.attrelid = d.objid AND a.attnum > 0 AND NOT a.attisdropped))::text)
    FROM pg_event_trigger_dropped_objects() d
    WHERE d.object_type IN ('table', 'table column') AND NOT d.is_temporary
      AND (EXISTS (SELECT FROM pg_publication WHERE puballtables)
           OR EXISTS (SELECT FROM pg_publication_rel r JOIN pg_class p ON p.oid = r.prrelid
                      JOIN pg_namespace n ON n.oid = p.relnamespace
                      WHERE n.nspname = d.address_names[1] AND (d.object_type = 'table' OR p.oid = d.objid))
           OR EXISTS (SELECT FROM pg_event_trigger_dropped_objects() e
                      WHERE e.object_type = 'publication relation' AND e.address_names = d.address_names[1:2]));
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'headrace did not capture this %: %', tg_tag, SQLERRM;
END
$$;

CREATE EVENT TRIGGER headrace_ddl_command_end ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO',
                 'ALTER PUBLICATION', 'CREATE PUBLICATION')
    EXECUTE FUNCTION headrace_ddl.tell_command();

CREATE EVENT TRIGGER headrace_sql_drop ON sql_drop EXECUTE FUNCTION headrace_ddl.tell_drop();

COMMIT;
