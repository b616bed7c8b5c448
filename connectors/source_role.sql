-- The least Debezium needs: a role that may log in, replicate and read the declared tables, and a publication of exactly
-- those tables. Run by the owner of the tables; safe to run again. headrace runs it in `apply`; by hand:
--
--   psql -v role=headrace -v password= -v publication=headrace_edtech \
--        -v schemas='public' -v tables='public.students, public.courses' -f source_role.sql
--   then, in psql:  \password headrace
--
-- The password stays empty on the command line, where every process of the host could read it.
-- The password of a role that exists is not touched: changing it takes more privileges than the owner of tables has.
-- A publication FOR ALL TABLES would need a superuser and would send tables nobody declared.

SELECT set_config('headrace.role', :'role', false) IS NOT NULL AS role_given,
       set_config('headrace.password', :'password', false) IS NOT NULL AS password_given,
       set_config('headrace.publication', :'publication', false) IS NOT NULL AS publication_given;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('headrace.role')) THEN
        EXECUTE format('CREATE ROLE %I LOGIN REPLICATION PASSWORD %L',
                       current_setting('headrace.role'), nullif(current_setting('headrace.password'), ''));
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('headrace.role')
                  AND NOT (rolcanlogin AND (rolreplication OR rolsuper))) THEN
        EXECUTE format('ALTER ROLE %I LOGIN REPLICATION', current_setting('headrace.role'));
    END IF;
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = current_setting('headrace.publication')) THEN
        EXECUTE format('CREATE PUBLICATION %I', current_setting('headrace.publication'));
    END IF;
END
$$;

GRANT USAGE ON SCHEMA :schemas TO :"role";
GRANT SELECT ON TABLE :tables TO :"role";

-- A partitioned table's changes come under its own name, not under those of its partitions, which nobody declared.
ALTER PUBLICATION :"publication" SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
-- Without this the values of STORED generated columns are in the first read and in no change, and Postgres refuses every
-- UPDATE and DELETE of a published table that has one and REPLICA IDENTITY FULL. Before 18 there is no such option.
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        EXECUTE format('ALTER PUBLICATION %I SET (publish_generated_columns = stored)',
                       current_setting('headrace.publication'));
    END IF;
END
$$;
ALTER PUBLICATION :"publication" SET TABLE :tables;
