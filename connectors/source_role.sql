-- The least Debezium needs: a role that may log in, replicate and read the declared tables, and a publication of exactly
-- those tables. Run by the owner of the tables; safe to run again. headrace runs it in `apply`; by hand:
--
--   psql -v role=headrace -v password=… -v publication=headrace_edtech \
--        -v schemas='public' -v tables='public.students, public.courses' -f source_role.sql
--
-- A publication FOR ALL TABLES would need a superuser and would send tables nobody declared.

SELECT set_config('headrace.role', :'role', false), set_config('headrace.publication', :'publication', false);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('headrace.role')) THEN
        EXECUTE format('CREATE ROLE %I LOGIN REPLICATION', current_setting('headrace.role'));
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('headrace.role')
                  AND NOT (rolcanlogin AND (rolreplication OR rolsuper))) THEN
        EXECUTE format('ALTER ROLE %I LOGIN REPLICATION', current_setting('headrace.role'));
    END IF;
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = current_setting('headrace.publication')) THEN
        EXECUTE format('CREATE PUBLICATION %I', current_setting('headrace.publication'));
    END IF;
END
$$;

-- Password: nothing is changed when none is given (peer, certificate or trust).
SELECT set_config('headrace.password', :'password', false);
DO $$
BEGIN
    IF current_setting('headrace.password') <> '' THEN
        EXECUTE format('ALTER ROLE %I PASSWORD %L', current_setting('headrace.role'), current_setting('headrace.password'));
    END IF;
END
$$;

GRANT USAGE ON SCHEMA :schemas TO :"role";
GRANT SELECT ON TABLE :tables TO :"role";

ALTER PUBLICATION :"publication" SET TABLE :tables;
ALTER PUBLICATION :"publication" SET (publish = 'insert, update, delete, truncate');
