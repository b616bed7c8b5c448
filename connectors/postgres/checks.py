"""Whether the source database is what the contracts say, before anything is built on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection

from connectors import debezium, field_changes, overrides
from connectors.field_changes import misfits, missing, undeclared
from connectors.finding import Finding
from connectors.postgres.catalog import BASE_TYPE, UNSENT, SourceTable, alike, quoted
from connectors.postgres.key_checks import check_key
from connectors.postgres.server_checks import check_role, check_server
from connectors.postgres.source import cdc_tables
from connectors.postgres.type_checks import check_computed, check_domains, check_rows, check_types
from connectors.postgres.types import fits, same_type
from contracts.stream import Pipeline, Stream

# Postgres' types whose unchanged large value Debezium writes as our marker: those it sends as text, and bytea. Of any
# other type there is no telling (correctness.md B.1).
_MARKED = {"text", "varchar", "bpchar", "citext", "json", "jsonb", "xml", "bytea", "numeric", "ltree", "tsvector"}
_MARKED |= {"int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"}
_NEVER_LARGE = {"inet", "cidr"}
# Equal values of these are not always written alike: 'Ada' and 'ada', '24:00' and '1 day'.
_LOOSE_TYPES = {"citext", "interval"}


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column of a table as pg_catalog has it. `type` and its plain name `base` are, of a domain, those of the type
    beneath: what it holds. `unsent`: no change ever holds it."""

    name: str
    type: str
    base: str
    is_array: bool
    toastable: bool
    in_key: bool
    in_identity: bool
    deterministic: bool = True
    unsent: bool = False


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One table as pg_catalog has it; `identity` is pg_class.relreplident, `logged` whether its changes are in the
    WAL."""

    name: str
    identity: str
    columns: Mapping[str, CatalogColumn]
    logged: bool = True

    @property
    def quoted(self) -> str:
        """Its name as a statement spells it."""
        return quoted(*self.name.split(".", 1))

    @property
    def key(self) -> set[str]:
        """The columns of the primary key."""
        return {column.name for column in self.columns.values() if column.in_key}


def check(
    connection: Connection, pipeline: Pipeline, tables: Iterable[SourceTable], *, slot: str, role: str, limit: str = ""
) -> list[Finding]:
    """Every finding about the server, what `role` may do there, and each declared table, in the order of the contracts;
    `tables` are those, as `read_tables` described them; `limit` as for `check_server`. Changes nothing."""
    findings = [*check_server(connection, slot, limit=limit), *check_role(connection, role, cdc_tables(pipeline))]
    described, config = {table.qualified: table for table in tables}, debezium.overrides(pipeline)
    for declared in pipeline.cdc_streams:
        found = described.get(declared.table_source.qualified)
        findings += check_table(connection, declared, found, config)
        if found is not None:
            findings += check_rows(connection, declared.at_source, found, slot)
    return findings


def check_table(
    connection: Connection, declared: Stream, found: SourceTable | None, config: Mapping[str, str]
) -> list[Finding]:
    """Of `check` what the catalog says of one table, as `read_tables` described it; None if there is none. `config`:
    what the pipeline says to its connector, which may leave columns out."""
    stream = declared.at_source
    table = read_table(connection, stream.table_source.schema, stream.table_source.table)
    if table is None or found is None:
        return [_absent(stream, connection.info.dbname)]
    return [
        *compare(stream, table, overrides.left_out(config, table.name, table.columns)),
        *check_types(stream, found),
        *check_computed(found),
        *check_domains(found),
        *check_key(stream, found),
    ]


def _absent(stream: Stream, database: str) -> Finding:
    return Finding(
        "refusal",
        f"the table does not exist in database {database}",
        table=stream.table_source.qualified,
        declared=f"stream {stream.name}",
        fix=f"make it (`headrace apply` then reads it from the start), correct headrace.table in {stream.file} or take "
        "the contract away (the lake keeps its rows), or name the right database as source.database",
    )


def read_table(connection: Connection, schema: str, table: str) -> CatalogTable | None:
    """The table's columns, key and replica identity; None if there is no such table."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT c.relpersistence = 'p', c.relreplident, a.attname, format_type(base.oid, base.typmod),
                   t.typname, t.typcategory = 'A', a.attstorage <> 'p',
                   EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
                           AND a.attnum = ANY (i.indkey)),
                   EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident
                           AND a.attnum = ANY (i.indkey)),
                   coalesce((SELECT collisdeterministic FROM pg_collation l WHERE l.oid = a.attcollation), true),
                   {UNSENT} <> ''
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            CROSS JOIN {BASE_TYPE}
            JOIN pg_type t ON t.oid = base.oid
            WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
            ORDER BY a.attnum
            """,
            (schema, table),
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    columns = {row[2]: CatalogColumn(*row[2:]) for row in rows}
    return CatalogTable(f"{schema}.{table}", rows[0][1], columns, logged=rows[0][0])


def compare(stream: Stream, table: CatalogTable, left_out: Collection[str] = ()) -> list[Finding]:
    """What differs between one contract (`Stream.at_source`) and one table, of which the connector leaves columns out,
    and what its replica identity cannot carry."""
    return [
        *_unlogged(table),
        *_alike(table),
        *_out_of_place(table),
        *_compare_columns(stream, table, left_out),
        *_compare_identity(stream, table, left_out),
        *_compare_keys(stream, table),
    ]


def _unlogged(table: CatalogTable) -> list[Finding]:
    if table.logged:
        return []
    return [
        Finding(
            "refusal",
            "the table is unlogged",
            table=table.name,
            why="its changes are not in the WAL: none would arrive after the first read",
            fix=f"ALTER TABLE {table.quoted} SET LOGGED;",
        )
    ]


def _out_of_place(table: CatalogTable) -> list[Finding]:
    """Once a table has been read again, Debezium 3.7 takes the values of a change by their places among all columns
    (PgOutputMessageDecoder; the read took these up from the catalog), of which Postgres has not sent all."""
    columns = [*table.columns.values()]
    last = max((at for at, column in enumerate(columns) if not column.unsent), default=0)
    early = [column.name for column in columns[:last] if column.unsent]
    if not early:
        return []
    again = ", ".join(f"DROP COLUMN {one}, ADD COLUMN {one} … GENERATED ALWAYS AS (…)" for one in map(quoted, early))
    return [
        Finding(
            "refusal",
            "columns that no change holds stand before others",
            table=table.name,
            column=", ".join(early),
            why="the values after them could arrive in the wrong columns once a table has been read again",
            fix=f"ALTER TABLE {table.quoted} {again};  -- it is computed anew, as the last",
        )
    ]


def _alike(table: CatalogTable) -> list[Finding]:
    if not (names := alike(table.columns)):
        return []
    return [
        Finding(
            "refusal",
            "columns differ only in upper and lower case",
            table=table.name,
            column=", ".join(names),
            why="Debezium takes them for one",
            fix=f"ALTER TABLE {table.quoted} RENAME COLUMN {quoted(names[-1])} TO …;",
        )
    ]


def _compare_keys(stream: Stream, table: CatalogTable) -> list[Finding]:
    """Keys that the source takes for the same and the lake for different ones."""
    loose = [
        (column, "a nondeterministic collation" if not column.deterministic else f"type {column.base}")
        for name in stream.key
        if (column := table.columns.get(name)) and (not column.deterministic or column.base in _LOOSE_TYPES)
    ]
    return [
        Finding(
            "warning",
            "values that are equal at the source are different keys here",
            table=table.name,
            column=column.name,
            found=found,
            why="a join or a file that spells the key otherwise ('Ada', 'ada') finds its row there and not here",
            fix="compare keys as they are written, or give the column a deterministic collation: "
            f'ALTER TABLE {table.quoted} ALTER COLUMN {quoted(column.name)} TYPE text COLLATE "C";',
        )
        for column, found in loose
    ]


def changed(connection: Connection, pipeline: Pipeline) -> list[Finding]:
    """What of `check` a person changes while data flow: tables that are gone, columns that are not those declared."""
    findings, config = [], debezium.overrides(pipeline)
    for declared in pipeline.cdc_streams:
        stream = declared.at_source
        table = read_table(connection, stream.table_source.schema, stream.table_source.table)
        if table is None:
            findings.append(_absent(stream, connection.info.dbname))
        else:
            left_out = overrides.left_out(config, table.name, table.columns)
            findings += [*_alike(table), *_out_of_place(table), *_compare_columns(stream, table, left_out)]
    return findings


def unfit(connection: Connection, stream: Stream) -> list[Finding]:
    """Why a value of the table, as it is now, may not be what the contract declares: another type, a column that is
    gone, or the table. Needs no privilege."""
    table = read_table(connection, stream.table_source.schema, stream.table_source.table)
    if table is None:
        return [_absent(stream, connection.info.dbname)]
    return [finding for finding in _compare_columns(stream.at_source, table) if finding.level == "refusal"]


def _compare_columns(stream: Stream, table: CatalogTable, left_out: Collection[str] = ()) -> list[Finding]:
    findings = []
    holding = "(the lake widens integers, and decimals of one scale), or change the table back"
    for column in stream.columns:
        found = table.columns.get(column.name)
        if found is None:
            findings.append(missing(stream, table.name, column, table.columns))
        elif column.name in left_out:
            findings.append(field_changes.left_out(stream, table.name, column, "postgres.json"))
        elif column.source_type and not same_type(column.source_type, found.type):
            findings.append(
                Finding(
                    "refusal",
                    "the table has another type",
                    table=table.name,
                    column=column.name,
                    declared=column.source_type,
                    found=found.type,
                    why=misfits(stream),
                    fix=f"{stream.file}: headrace.sourceType: {found.type}"
                    + ("" if fits(found.type, column) else f", and a physicalType that holds it {holding}"),
                )
            )
        elif not fits(found.type, column):
            findings.append(
                Finding(
                    "refusal",
                    "the declared type cannot hold every value of the table's",
                    table=table.name,
                    column=column.name,
                    declared=column.spark_type,
                    found=found.type,
                    why=misfits(stream),
                    fix=f"{stream.file}: declare {found.type} {holding}",
                )
            )
    declared = {column.name for column in stream.columns}
    findings += [
        undeclared(stream, table.name, column.name, column.type, "postgres.json")
        for column in table.columns.values()
        if column.name not in declared and not column.unsent and column.name not in left_out
    ]
    return findings


def _compare_identity(stream: Stream, table: CatalogTable, left_out: Collection[str]) -> list[Finding]:
    full = f"ALTER TABLE {table.quoted} REPLICA IDENTITY FULL;"
    if table.identity == "f":
        return []
    known = {column.name for column in table.columns.values() if column.in_identity} if table.identity == "i" else set()
    known = table.key if table.identity == "d" else known
    if not known:
        return [
            Finding("refusal", "updates and deletes do not say which row: no primary key", table=table.name, fix=full)
        ]
    findings = []
    if any(name not in known for name in stream.key):
        findings.append(
            Finding(
                "refusal",
                "a delete does not carry the stream's key",
                table=table.name,
                declared=f"key {', '.join(stream.key)}",
                found=f"replica identity {', '.join(sorted(known))}",
                fix=f"{full}  -- or declare the table's own key in {stream.file}",
            )
        )
    findings += [
        Finding(
            "refusal",
            "an unchanged large value would arrive as NULL or as other values, without a marker",
            table=table.name,
            column=column.name,
            declared="REPLICA IDENTITY FULL",
            found=f"{column.type} under REPLICA IDENTITY {'DEFAULT' if table.identity == 'd' else 'USING INDEX'}",
            fix=full,
        )
        for column in table.columns.values()
        if column.toastable
        and not column.unsent
        and column.name not in left_out
        and (column.is_array or column.base not in (*_MARKED, *_NEVER_LARGE))
    ]
    return findings
