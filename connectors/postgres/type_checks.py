"""Whether a table's types and rows are such that Debezium sends their values, and as what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg2.extensions import connection as Connection

from connectors import debezium
from connectors.finding import Finding
from connectors.postgres import rows
from connectors.postgres.catalog import SourceTable, quoted
from connectors.postgres.declared_types import NotCarried, declare
from contracts.stream import Stream

_IDENTITIES = {"f": "FULL", "n": "NOTHING", "d": "DEFAULT", "i": "USING INDEX …"}


def check_types(stream: Stream, table: SourceTable) -> Iterator[Finding]:
    """Columns whose values Debezium does not send, or sends as others that look as good."""
    for column in stream.columns:
        found = next((one for one in table.columns if one.name == column.name), None)
        if found is None:
            continue
        carried = NotCarried(found.unsent, left_out=True) if found.unsent else declare(found.type, found.kind)
        if isinstance(carried, NotCarried):
            what, fix = f"{carried.why}: the column cannot be declared", f"{stream.file}: remove it"
            if not carried.left_out:
                fix += ", and exclude it with column.exclude.list in postgres.json"
        elif carried.lossy and not column.lossy:
            what, fix = carried.lossy, f"{stream.file}: headrace.lossy: true, if that may be"
        elif carried.json and not column.json:
            what = "it arrives as JSON with its keys in any order, which nothing could compare as a text"
            fix = f"{stream.file}: {carried.spark_type} with headrace.json: true"
        else:
            continue
        yield Finding("refusal", what, table.qualified, column.name, column.spark_type, found.type, fix)


def check_domains(table: SourceTable) -> Iterator[Finding]:
    """Debezium takes each value of a domain over an enum for one that the enum got just now; of all columns, not of the
    declared ones alone."""
    for column in table.columns:
        if column.domain and column.kind == "e" and not column.type.endswith("[]"):
            name = quoted(table.schema, table.name)
            yield Finding(
                "warning",
                f"its type {column.domain} is a domain over an enum",
                table.qualified,
                column.name,
                why="at each row with a value Debezium asks for the table's columns and takes them as they are then, "
                "which is slow; where one is dropped or renamed, rows on their way arrive in other columns, or stop it",
                fix=f"ALTER TABLE {name} ALTER COLUMN {quoted(column.name)} TYPE {column.type};  "
                "-- the domain's CHECK, NOT NULL and DEFAULT no longer hold then: give the column its own",
            )


def check_computed(table: SourceTable) -> Iterator[Finding]:
    """Postgres refuses the UPDATEs and DELETEs of a published table whose identity it cannot publish."""
    computed = [column.name for column in table.columns if column.virtual]
    if computed and table.identity == "f":
        name = quoted(table.schema, table.name)
        yield Finding(
            "refusal",
            "the column is computed when it is read, and the table has REPLICA IDENTITY FULL",
            table.qualified,
            ", ".join(computed),
            why="once the table is published, Postgres 18 refuses every UPDATE and DELETE of it",
            fix=f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT;  -- or drop the column and add it as STORED",
        )


def check_rows(connection: Connection, stream: Stream, table: SourceTable, publication: str) -> Iterator[Finding]:
    """Partitions that log otherwise than their table, and days that the first read of a table would alter."""
    if others := rows.partitions_of_other_identity(connection, table.schema, table.name):
        identity = _IDENTITIES[table.identity]
        fix = "\n  ".join(f"ALTER TABLE {other} REPLICA IDENTITY {identity};" for other in others)
        yield Finding("refusal", "partitions do not have its replica identity", table.qualified, fix=fix)
    declared = {column.name for column in stream.columns}
    published = rows.is_published(connection, publication, table.schema, table.name)
    if not published:
        yield from _too_large(connection, table, sorted(declared))
    days = [column.name for column in table.columns if column.type == "date" and column.name in declared]
    if not days or published:
        return
    found = rows.has_dates_before_christ(connection, table.schema, table.name, days)
    if found is not False:
        what = (
            "there are dates BC, which" if found else "it took too long to look for dates BC; if there are any, these"
        )
        yield Finding(
            "refusal" if found else "warning",
            f"{what} a first read sends as the same days AD",
            table.qualified,
            ", ".join(days),
            fix="ALTER COLUMN … TYPE timestamp, which arrives as what it is; or correct the rows",
        )


def _too_large(connection: Connection, table: SourceTable, columns: Sequence[str]) -> Iterator[Finding]:
    """A row that Kafka would not take stops the connector in the middle of its first read."""
    size = rows.largest_row(connection, table, columns)
    if size is None:
        yield Finding(
            "warning",
            f"it could not be searched for a row above {debezium.MAX_MESSAGE_BYTES / 1e6:,.0f} MB: it may not be "
            "read, or ten seconds were too short",
            table.qualified,
            why="one change is one message, and Kafka refuses a longer one: the connector would stop there",
        )
        return
    times = 2 if table.identity == "f" else 1
    if size * times > debezium.MAX_MESSAGE_BYTES:
        yield Finding(
            "refusal",
            f"the largest row has {size / 1e6:,.0f} MB",
            table.qualified,
            declared=f"at most {debezium.MAX_MESSAGE_BYTES // times / 1e6:,.0f} MB",
            found=f"{size:,} bytes",
            why="one change is one message, and Kafka refuses a longer one: the connector would stop there"
            + ("; with REPLICA IDENTITY FULL an update holds the row twice" if times == 2 else ""),
            fix="shorten or move such values, or leave their column out: column.exclude.list in postgres.json, and "
            "remove it from the contract",
        )
