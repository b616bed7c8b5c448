"""What only a look at the source's rows and partitions can tell, beyond the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from connectors.postgres.catalog import SourceTable

LOOK_MS = 10_000
# Of these Postgres tells the length without reading the value; bytes are sent as base64.
_SENT = dict.fromkeys(("text", "character varying"), "octet_length({})::bigint")
_SENT["bytea"] = "octet_length({})::bigint / 3 * 4"
# A large value is stored apart, even the most compressible one in more than this.
_LITTLE = 64 * 1024
_APART = """
    SELECT coalesce(sum(pg_relation_size(c.reltoastrelid)), 0)
    FROM pg_class root JOIN pg_namespace n ON n.oid = root.relnamespace, pg_class c
    WHERE (n.nspname, root.relname) = (%s, %s) AND c.reltoastrelid <> 0
      AND (c.oid = root.oid OR c.oid IN (SELECT relid FROM pg_partition_tree(root.oid)))
"""


def has_dates_before_christ(connection: Connection, schema: str, table: str, columns: Sequence[str]) -> bool | None:
    """Whether one of these columns of type date holds a day BC: a first read sends it as the day of the same number
    AD, which nothing later can tell. None if ten seconds were too short to look. Infinity is none, it is recognised."""
    test = sql.SQL(" OR ").join(
        sql.SQL("({0} < '0001-01-01' AND isfinite({0}))").format(sql.Identifier(column)) for column in columns
    )
    statement = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(sql.Identifier(schema, table), test)
    found = _look(connection, statement)
    return bool(found[0]) if found else None


def largest_row(connection: Connection, table: SourceTable, columns: Sequence[str]) -> int | None:
    """How many bytes of these columns the largest row sends, as far as sizes tell without reading what is stored apart:
    of JSON and arrays what they take at the source, compressed. 0 of a table that stores so little apart that none can
    be large; None if ten seconds were too short to look."""
    stored = _look(connection, sql.SQL(_APART), (table.schema, table.name))
    if stored is None:
        return None
    sizes = [
        sql.SQL(_SENT.get(column.type.partition("(")[0], "pg_column_size({})")).format(sql.Identifier(column.name))
        for column in table.columns
        if column.name in columns
    ]
    if stored[0] < _LITTLE or not sizes:
        return 0
    each = sql.SQL(" + ").join(sql.SQL("coalesce({}, 0)").format(size) for size in sizes)
    found = _look(
        connection,
        sql.SQL("SELECT coalesce(max({}), 0) FROM {}").format(each, sql.Identifier(table.schema, table.name)),
    )
    return int(found[0]) if found else None


def _look(
    connection: Connection, statement: sql.Composable, values: Sequence[str] | None = None
) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT look")
        try:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", (str(LOOK_MS),))
            cursor.execute(statement, values)
            found: tuple[Any, ...] | None = cursor.fetchone()
        except (psycopg2.errors.QueryCanceled, psycopg2.errors.InsufficientPrivilege):
            found = None
        cursor.execute("ROLLBACK TO SAVEPOINT look; SET LOCAL statement_timeout TO DEFAULT")
    return found


def is_published(connection: Connection, publication: str, schema: str, table: str) -> bool:
    """Whether the publication has the table already, so that it was read."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_publication_tables WHERE (pubname, schemaname, tablename) = (%s, %s, %s))",
            (publication, schema, table),
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def partitions_of_other_identity(connection: Connection, schema: str, table: str) -> list[str]:
    """The partitions, quoted, whose rows are logged with another replica identity than the partitioned table's own,
    which they do not inherit; none of a plain table."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            -- Not pg_partition_tree, which waits for whoever has the table locked.
            WITH RECURSIVE root AS (
                SELECT c.oid, c.relreplident FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'p'),
            tree(oid) AS (
                SELECT oid FROM root
                UNION ALL SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
            SELECT c.oid::regclass::text FROM root, tree JOIN pg_class c ON c.oid = tree.oid
            WHERE c.relkind <> 'p' AND c.relreplident <> root.relreplident
            ORDER BY 1
            """,
            (schema, table),
        )
        return [name for (name,) in cursor.fetchall()]
