"""Whether the source database is what the contracts say, before anything is built on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg2.extensions import connection as Connection

from connectors.source_types import fits, same_type
from contracts.stream import Pipeline, Stream

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the source: a refusal stops `apply`, a warning is shown. `fix` is SQL or an edit to make."""

    level: Literal["refusal", "warning"]
    what: str
    table: str = ""
    column: str = ""
    declared: str = ""
    found: str = ""
    fix: str = ""

    def __str__(self) -> str:
        place = ".".join(part for part in (self.table, self.column) if part)
        text = f"{place}: {self.what}" if place else self.what
        if self.declared or self.found:
            text += f" (declared {self.declared or 'nothing'}, found {self.found or 'nothing'})"
        return f"{text}\n  {self.fix}" if self.fix else text


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column of a table as pg_catalog has it."""

    name: str
    type: str
    base: str
    is_array: bool
    toastable: bool
    in_key: bool
    in_identity: bool


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """One table as pg_catalog has it; `identity` is pg_class.relreplident."""

    name: str
    identity: str
    columns: Mapping[str, CatalogColumn]

    @property
    def key(self) -> set[str]:
        """The columns of the primary key."""
        return {column.name for column in self.columns.values() if column.in_key}


def check(connection: Connection, pipeline: Pipeline, *, slot: str) -> list[Finding]:
    """Every finding about the server and each declared table, in the order of the contracts. Changes nothing."""
    findings = _server(connection, slot)
    for stream in pipeline.cdc_streams:
        table = read_table(connection, stream.table_source.schema, stream.table_source.table)
        findings += compare(stream, table) if table else [_absent(stream)]
    return findings


def _server(connection: Connection, slot: str) -> list[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT current_setting('wal_level'),
                   current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
                   current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication),
                   EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)
            """,
            (slot,),
        )
        row = cursor.fetchone()
    assert row is not None
    wal_level, free_slots, free_senders, has_slot = row
    findings = []
    if wal_level != "logical":
        findings.append(
            Finding(
                "refusal",
                "wal_level has no changes to decode",
                declared="logical",
                found=wal_level,
                fix="ALTER SYSTEM SET wal_level = logical;  -- and restart the server",
            )
        )
    if not has_slot and free_slots < 1:
        findings.append(
            Finding("refusal", "no free replication slot", fix="raise max_replication_slots or drop an unused slot")
        )
    if not has_slot and free_senders < 1:
        findings.append(Finding("refusal", "no free WAL sender", fix="raise max_wal_senders"))
    return findings


def _absent(stream: Stream) -> Finding:
    source = stream.table_source
    return Finding("refusal", "the table does not exist", table=source.qualified, declared=f"stream {stream.name}")


def read_table(connection: Connection, schema: str, table: str) -> CatalogTable | None:
    """The table's columns, key and replica identity; None if there is no such table."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relreplident, a.attname, format_type(a.atttypid, a.atttypmod), t.typname,
                   t.typcategory = 'A', a.attstorage IN ('x', 'e'),
                   EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
                           AND a.attnum = ANY (i.indkey)),
                   EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident
                           AND a.attnum = ANY (i.indkey))
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_type t ON t.oid = a.atttypid
            WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
            ORDER BY a.attnum
            """,
            (schema, table),
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    columns = {row[1]: CatalogColumn(*row[1:]) for row in rows}
    return CatalogTable(f"{schema}.{table}", rows[0][0], columns)


def compare(stream: Stream, table: CatalogTable) -> list[Finding]:
    """What differs between one contract and one table, and what its replica identity cannot carry."""
    return [*_compare_columns(stream, table), *_compare_identity(stream, table)]


def _compare_columns(stream: Stream, table: CatalogTable) -> list[Finding]:
    findings = []
    for column in stream.columns:
        found = table.columns.get(column.name)
        if found is None:
            findings.append(
                Finding(
                    "refusal",
                    "the column is not in the table",
                    table=table.name,
                    column=column.name,
                    declared=column.source_type or column.spark_type,
                    fix=f"{stream.file}: remove or rename the column; the table has {', '.join(table.columns)}",
                )
            )
        elif column.source_type and not same_type(column.source_type, found.type):
            findings.append(
                Finding(
                    "refusal",
                    "the table has another type",
                    table=table.name,
                    column=column.name,
                    declared=column.source_type,
                    found=found.type,
                    fix=f"{stream.file}: headrace.sourceType: {found.type}",
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
                )
            )
    declared = {column.name for column in stream.columns}
    findings += [
        Finding(
            "warning",
            f"the table has a column that stream {stream.name} does not declare",
            table=table.name,
            column=column.name,
            found=column.type,
            fix=f"{stream.file}: declare it, or exclude it with column.exclude.list in postgres.json",
        )
        for column in table.columns.values()
        if column.name not in declared
    ]
    return findings


def _compare_identity(stream: Stream, table: CatalogTable) -> list[Finding]:
    full = f"ALTER TABLE {_quoted(table.name)} REPLICA IDENTITY FULL;"
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
    # Unchanged large values of these arrive as NULL or as plausible numbers, without our marker (correctness.md B.1).
    unmarked = [c for c in table.columns.values() if c.toastable and (c.is_array or c.base == "hstore")]
    findings += [
        Finding(
            "refusal",
            "an unchanged large value would arrive as NULL or as other values, without a marker",
            table=table.name,
            column=column.name,
            declared="REPLICA IDENTITY FULL",
            found=f"{column.type} under REPLICA IDENTITY DEFAULT",
            fix=full,
        )
        for column in unmarked
    ]
    marked = [c.name for c in table.columns.values() if c.toastable and c not in unmarked]
    if marked and not unmarked:
        findings.append(
            Finding(
                "warning",
                f"an unchanged large value (over 2 kB) of {', '.join(marked)} arrives as a marker, not as the value",
                table=table.name,
                fix=f"{full}  -- sends the old values, about twice the bytes",
            )
        )
    return findings


def _quoted(qualified: str) -> str:
    return ".".join(name if _PLAIN.fullmatch(name) else f'"{name}"' for name in qualified.split(".", 1))
