"""The table of Postgres in which a connector is asked to read tables: Debezium's `source` channel, if it is named.

A request is a row, so it arrives in the order of the WAL, behind every change that was committed before it. Debezium
obeys it before it hands the row on, and begins to read after that: once a read is told of, the stored position lies
behind the row. So no restart makes it read twice; one that comes between the two loses the request, and `reread` says
that the read did not begin. Not obeyed: a row of a first read, and what later becomes of a row, but for another id.
"""

from __future__ import annotations

import shlex

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from connectors import signals
from connectors.finding import Finding
from connectors.postgres.catalog import quoted
from connectors.postgres.source import connected
from contracts.endpoints import Endpoints
from contracts.stream import Pipeline

_COLUMNS = {"id": "character varying(42)", "type": "character varying(32)", "data": "text"}


def check(connection: Connection, name: str, role: str) -> list[Finding]:
    """Whether the table is there, has Debezium's columns and lets the role add to it. That it is published is
    `source.access`'s."""
    schema, table = name.split(".")
    where = f"-d {shlex.quote(connection.info.dbname)} -v role={shlex.quote(role)}"
    made = f"psql {where} -v table={table} -f signal_table.sql"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), c.relkind = 'r' AND c.relpersistence = 'p', "
            "c.relreplident <> 'n' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "WHERE n.nspname = %s AND c.relname = %s ORDER BY a.attnum",
            (schema, table),
        )
        rows = cursor.fetchall()
        if not rows:
            how = (
                made if schema == "headrace_signals" else f"{made}  # with {schema} for headrace_signals in the script"
            )
            return [signals.absent(name, "postgres.json", how)]
        found = {column: kind for column, kind, *_ in rows}
        if list(found.items()) != list(_COLUMNS.items()) or not all(rows[0][2:]):
            drop = f"DROP TABLE {quoted(schema, table)};  -- then {made}"
            return [signals.another(name, _COLUMNS, "logged, key id", found, drop)]
        cursor.execute(
            "SELECT has_schema_privilege(rolname, %s, 'USAGE') AND has_table_privilege(rolname, %s, 'INSERT') "
            "FROM pg_roles WHERE rolname = %s",
            (schema, quoted(schema, table), role),
        )
        (may,) = cursor.fetchone() or (False,)
    if may:
        return []
    grants = f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)}; GRANT INSERT ON {quoted(schema, table)} TO "
    return [Finding("refusal", f"role {role} may not add a signal", table=name, fix=f"{grants}{quoted(role)};")]


def write(endpoints: Endpoints, part: Pipeline, name: str, publication: str, request: tuple[str, str, str]) -> None:
    """Adds a request (id, type, data), committed when this returns, as the replication role.

    Fatal if the role may not, or if nobody would be sent the row; ServiceUnavailable if the server does not answer.
    """
    with connected(endpoints.replicator) as connection, connection.cursor() as cursor:
        try:
            insert = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(sql.Identifier(*name.split(".")))
            cursor.execute(insert, request)
        except psycopg2.OperationalError:
            raise
        except psycopg2.Error as error:
            raise signals.not_written(part, name, str(error.diag.message_primary)) from error
        # Not pg_publication_tables, which locks all tables that it lists: behind an ALTER that waits for our own locks.
        cursor.execute(
            "SELECT FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid "
            "WHERE p.pubname = %s AND (p.puballtables OR r.prrelid = %s::regclass)",
            (publication, quoted(*name.split("."))),
        )
        if cursor.fetchone() is None:
            raise signals.not_written(
                part, name, f"publication {publication} does not have it", "`headrace apply` publishes it"
            )
