"""Tables of a source database as its catalog describes them, for the contracts that `init` writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from psycopg2.extensions import connection as Connection

from contracts import canonical_postgres

BASE_TYPE = """
    LATERAL (WITH RECURSIVE down(oid, typmod) AS (
                 SELECT a.atttypid, a.atttypmod
                 UNION ALL
                 SELECT d.typbasetype, d.typtypmod FROM down JOIN pg_type d ON d.oid = down.oid WHERE d.typtype = 'd')
             SELECT down.oid, down.typmod FROM down JOIN pg_type d ON d.oid = down.oid WHERE d.typtype <> 'd') base
"""
"""SQL: `base.oid` and `base.typmod` of attribute `a`. What a domain holds is what its base type holds."""

UNSENT = """
    CASE WHEN a.attgenerated = 'v' THEN 'it is computed when it is read, so no change of it is sent'
         WHEN a.attgenerated = 's' AND current_setting('server_version_num')::int < 180000
         THEN 'it is computed, and Postgres before 18 sends no change of such a column'
         ELSE '' END
"""
"""SQL: why no change of attribute `a` ever holds a value of it; empty if they do. Only first reads do then, if they are
not told to leave it out. From 18 on STORED ones are sent, because our publication says so (source_role.sql)."""


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column. `type` is Postgres' own spelling, of a domain that of its base type; `kind` is pg_type.typtype of it
    or, of an array, of its elements, whose domains are not looked through. `key`: its place in the table's key, from
    1, or 0. `virtual`: computed when it is read. `unsent`: why no change ever holds it, empty if they do. `domain`: its
    name, if its type is one."""

    name: str
    type: str
    kind: str
    required: bool
    key: int
    virtual: bool
    unsent: str
    description: str
    domain: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that name a row of another table, in the order of that table's columns."""

    columns: tuple[str, ...]
    schema: str
    table: str
    referred: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One table. `kind` is pg_class.relkind. Its key is the primary key or, where the replica identity is an index,
    that index. `unique_index`: an index that could be its identity, if it has no key. `primary`: the primary key's
    columns. `unique`: those of every index that keeps all rows apart at any moment, but for NULLs."""

    schema: str
    name: str
    kind: str
    is_partition: bool
    identity: str
    description: str
    unique_index: str = ""
    primary: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    columns: tuple[SourceColumn, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()

    @property
    def qualified(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.name}"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of its key in their order; empty if it has none."""
        return tuple(c.name for c in sorted(self.columns, key=lambda c: c.key) if c.key)


_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")

_INDEXED = """
    SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY a.attnum
"""

_TABLES = f"""
    SELECT n.nspname, c.relname, c.relkind::text, c.relispartition, c.relreplident::text,
           coalesce(obj_description(c.oid, 'pg_class'), ''),
           coalesce((SELECT u.relname FROM pg_index i JOIN pg_class u ON u.oid = i.indexrelid
                     WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
                       AND i.indpred IS NULL AND i.indexprs IS NULL
                       AND NOT EXISTS (SELECT FROM pg_attribute k WHERE k.attrelid = c.oid
                                       AND k.attnum = ANY (i.indkey) AND NOT k.attnotnull)
                     ORDER BY i.indnkeyatts, u.relname LIMIT 1), ''),
           (SELECT array({_INDEXED}) FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
           (SELECT json_agg(array({_INDEXED}) ORDER BY i.indexrelid) FROM pg_index i
            WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
              AND i.indpred IS NULL AND i.indexprs IS NULL),
           c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%%'
      AND CASE WHEN %(names)s::text[] IS NOT NULL
               THEN n.nspname || '.' || c.relname = ANY (%(names)s::text[])
                    OR c.relname = ANY (%(names)s::text[]) AND pg_table_is_visible(c.oid)
               ELSE n.nspname = %(schema)s AND c.relkind IN ('r', 'p') AND NOT c.relispartition END
    ORDER BY n.nspname, c.relname
"""

_COLUMNS = f"""
    SELECT a.attname, format_type(base.oid, base.typmod), coalesce(e.typtype, t.typtype)::text, a.attnotnull,
           coalesce((SELECT array_position(i.indkey::int2[], a.attnum) + 1 - array_lower(i.indkey::int2[], 1)
                     FROM pg_index i
                     WHERE i.indrelid = a.attrelid AND array_position(i.indkey::int2[], a.attnum) IS NOT NULL
                       AND array_position(i.indkey::int2[], a.attnum) - array_lower(i.indkey::int2[], 1)
                           < i.indnkeyatts
                       AND CASE WHEN %(identity)s = 'i' THEN i.indisreplident ELSE i.indisprimary END), 0),
           a.attgenerated = 'v', {UNSENT}, coalesce(col_description(a.attrelid, a.attnum), ''),
           CASE WHEN a.atttypid <> base.oid THEN format_type(a.atttypid, NULL) ELSE '' END
    FROM pg_attribute a, {BASE_TYPE} JOIN pg_type t ON t.oid = base.oid
         LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""

_FOREIGN_KEYS = """
    SELECT (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(f.conkey) WITH ORDINALITY k(num, n)
            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),
           n.nspname, c.relname,
           (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(f.confkey) WITH ORDINALITY k(num, n)
            JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num)
    FROM pg_constraint f JOIN pg_class c ON c.oid = f.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE f.contype = 'f' AND f.conrelid = %(oid)s AND NOT c.relispartition
    ORDER BY f.conname
"""


def quoted(*names: str) -> str:
    """The names as one qualified name in a statement to type. One alone is always in quotes: behind a dot any word may
    stand bare, elsewhere `user` or `order` may not."""
    bare = len(names) > 1
    return ".".join(name if bare and _PLAIN.fullmatch(name) else canonical_postgres.quoted(name) for name in names)


def alike(names: Iterable[str]) -> list[str]:
    """Those that differ from another only in upper and lower case. Debezium keeps a table's columns by their names in
    lower case (TableEditorImpl): one of two has the other's place."""
    names = list(names)
    lower = Counter(name.lower() for name in names)
    return [name for name in names if lower[name.lower()] > 1]


def read_tables(connection: Connection, *, names: Sequence[str] = (), schema: str = "public") -> list[SourceTable]:
    """The tables and views of these names (`table` or `schema.table`); without names the schema's tables, partitions
    left out. By schema and name. Changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES, {"names": list(names) or None, "schema": schema})
        found = cursor.fetchall()
    return [
        replace(
            table,
            primary=tuple(primary or ()),
            unique=tuple(map(tuple, unique or ())),
            columns=tuple(_columns(connection, oid, table.identity)),
            foreign_keys=_keys(connection, oid),
        )
        for *row, primary, unique, oid in found
        if (table := SourceTable(*row))
    ]


def _columns(connection: Connection, oid: int, identity: str) -> Iterator[SourceColumn]:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS, {"oid": oid, "identity": identity})
        for row in cursor.fetchall():
            yield SourceColumn(*row)


def _keys(connection: Connection, oid: int) -> tuple[ForeignKey, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_FOREIGN_KEYS, {"oid": oid})
        return tuple(ForeignKey(tuple(own), schema, table, tuple(other)) for own, schema, table, other in cursor)
