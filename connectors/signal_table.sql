-- Optional: the table in which the connector of one pipeline is asked to read tables again, as Debezium's `source`
-- channel wants it, in a schema of its own. Without it requests go over Kafka, and nobody writes to the source.
-- Run in the source database by the owner of the tables, who publishes it with them (`headrace apply`); safe to run
-- again; by hand:
--
--   psql -v ON_ERROR_STOP=1 -d sales -v role=headrace -v table=sales -f signal_table.sql
--
-- Then in connectors/postgres.json of the pipeline: {"signal.data.collection": "headrace_signals.sales"}. A table is one
-- pipeline's: every connector that is sent a row obeys it.
-- The role may add rows and nothing else: not read, change or remove them. Only a new row is a request (or one that gets
-- another id); old ones do nothing, and whoever owns the table may delete them at any time.

BEGIN;

CREATE SCHEMA IF NOT EXISTS headrace_signals;
CREATE TABLE IF NOT EXISTS headrace_signals.:"table" (
    id varchar(42) PRIMARY KEY,
    type varchar(32) NOT NULL,
    data text
);
GRANT USAGE ON SCHEMA headrace_signals TO :"role";
GRANT INSERT ON headrace_signals.:"table" TO :"role";

COMMIT;
