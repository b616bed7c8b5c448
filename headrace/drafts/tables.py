"""From a database's catalog to the contracts of its tables: one per table, or the reason why there can be none."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors import overrides
from connectors.postgres.catalog import SourceColumn, SourceTable, alike, quoted
from connectors.postgres.declared_types import Declared, NotCarried, declare
from contracts.canonical import UNFIT_FOR_KEYS
from contracts.columns import COLUMN_NAME
from contracts.spark_types import parse_type
from headrace.drafts.contract import Entry, Reference, contract_text
from headrace.drafts.draft import Draft
from headrace.drafts.guess import guess_pii
from headrace.drafts.model import FoundColumn, Property, Typed
from headrace.drafts.name import column_names, names_a_stream

TOPIC_NAME = r"[A-Za-z0-9_-]+"


@dataclass(frozen=True, slots=True)
class Refused:
    """A table of which no contract was made: why, and what to type or to write."""

    table: str
    why: str
    fix: str


def draft_tables(
    tables: Sequence[SourceTable], pipeline: str, config: Mapping[str, str] | None = None
) -> tuple[dict[str, Draft], list[Refused]]:
    """A contract by `schema.table`, and the tables that cannot have one.

    `config`: what the pipeline says to its connector, which may leave columns out.
    """
    streams = _streams(tables)
    names = {table.qualified: column_names([column.name for column in table.columns]) for table in tables}
    drafts: dict[str, Draft] = {}
    refused: list[Refused] = []
    for table in tables:
        made = _draft(table, pipeline, streams, names, config or {})
        if isinstance(made, Draft):
            drafts[table.qualified] = made
        else:
            refused.append(made)
    return drafts, refused


def _streams(tables: Sequence[SourceTable]) -> dict[str, str]:
    """The stream's name of each table: the table's, with its schema where two share one."""
    count = Counter(table.name.lower() for table in tables)
    return {
        table.qualified: table.name.lower()
        if count[table.name.lower()] == 1
        else f"{table.schema}_{table.name}".lower()
        for table in tables
    }


def _draft(
    table: SourceTable,
    pipeline: str,
    streams: Mapping[str, str],
    names: Mapping[str, Mapping[str, str]],
    config: Mapping[str, str],
) -> Draft | Refused:
    stream, own = streams[table.qualified], names[table.qualified]
    if refused := _unfit(table, stream, streams):
        return refused
    checks: list[str] = []
    entries: list[Entry] = []
    left_out = overrides.left_out(config, table.qualified, own)
    for column in table.columns:
        if column.name in left_out:
            checks.append(f"{column.name} is left out: the connector excludes it")
            continue
        found = declare(column.type, column.kind)
        if column.unsent:
            found = NotCarried(column.unsent, left_out=True)
        if isinstance(found, NotCarried) and found.left_out and not column.key:
            checks.append(f"{column.name} ({column.type}) is left out: {found.why}")
            continue
        if refusal := _unfit_column(table, column, found):
            return refusal
        assert isinstance(found, Declared)
        if found.lossy:
            checks.append(f"{column.name} ({column.type}): {found.lossy}")
        entries.append(_entry(column, own[column.name], found))
    references = []
    for key in table.foreign_keys:
        referred = f"{key.schema}.{key.table}"
        columns = tuple(own[name] for name in key.columns)
        theirs = tuple(names.get(referred, {}).get(name, name) for name in key.referred)
        other = streams.get(referred, key.table.lower())
        declared = {*columns} <= {entry.name for entry in entries}
        if declared and all(re.fullmatch(COLUMN_NAME, name) for name in (other, *theirs)):
            references.append(Reference(columns, other, theirs))
    text = contract_text(
        pipeline,
        stream,
        [Property("table", table.qualified)],
        entries,
        origin=f"the table {table.qualified}",
        checks=checks,
        kind="table",
        description=table.description,
        references=references,
    )
    return Draft(stream, text)


def _unfit(table: SourceTable, stream: str, streams: Mapping[str, str]) -> Refused | None:
    name = table.qualified
    if table.kind not in ("r", "p"):
        kind = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}[table.kind]
        return Refused(name, f"it is {kind}, whose changes no log holds", "name the tables behind it")
    if table.is_partition:
        return Refused(name, "it is a partition", "name the partitioned table: one stream carries all partitions")
    if not all(re.fullmatch(TOPIC_NAME, part) for part in (table.schema, table.name)):
        fix = f"ALTER TABLE {quoted(table.schema, table.name)} RENAME TO …;"
        return Refused(name, "Kafka has no topic of that name: letters, digits, _ and - alone", fix)
    if not names_a_stream(stream) or list(streams.values()).count(stream) > 1:
        fix = (
            f"write its contract by hand, under another name, with headrace.table: {name}; or "
            f"ALTER TABLE {quoted(table.schema, table.name)} RENAME TO …;"
        )
        return Refused(name, f"`{stream}` may not name a stream (or another table's has that name)", fix)
    if names := alike(column.name for column in table.columns):
        why = f"columns {', '.join(names)} differ only in upper and lower case: Debezium takes them for one"
        fix = f"ALTER TABLE {quoted(table.schema, table.name)} RENAME COLUMN {quoted(names[-1])} TO …;"
        return Refused(name, why, fix)
    if not table.key:
        return Refused(name, "it has no primary key: nothing says which row a change is of", _make_key(table))
    return None


def _make_key(table: SourceTable) -> str:
    alter = f"ALTER TABLE {quoted(table.schema, table.name)}"
    if table.unique_index:
        return f"{alter} REPLICA IDENTITY USING INDEX {quoted(table.unique_index)};"
    return f"{alter} ADD PRIMARY KEY (…);"


def _unfit_column(table: SourceTable, column: SourceColumn, found: Declared | NotCarried) -> Refused | None:
    name = f"{table.qualified}.{column.name}"
    exclude = f'"{overrides.EXCLUDED}": {json.dumps(overrides.expression(name))}'
    leave_out = f"or leave it out: {exclude} in the pipeline's connectors/postgres.json"
    if isinstance(found, NotCarried):
        why = f"column {column.name} is {column.type}: {found.why}"
        fix = "give the table another key" if column.key else f"another type at the source, like text, {leave_out}"
        return Refused(table.qualified, why, fix)
    if column.key and (parse_type(found.spark_type).contains(*UNFIT_FOR_KEYS) or found.lossy):
        why = f"key column {column.name} is {column.type}, whose values do not print alike everywhere"
        return Refused(table.qualified, why, "a key of integers, decimals, texts, booleans, dates or timestamps")
    return None


def _entry(column: SourceColumn, name: str, found: Declared) -> Entry:
    properties = [] if name == column.name else [Property("field", column.name)]
    properties.append(Property("sourceType", column.type))
    if found.lossy:
        properties.append(Property("lossy", True, found.lossy))
    if found.json:
        properties.append(Property("json", True))
    return Entry(
        name,
        found.spark_type,
        type_guess=found.note,
        key=column.key,
        required=column.required or column.key > 0,
        pii_guess=guess_pii(FoundColumn(name, Typed(found.spark_type), ())),
        properties=tuple(properties),
        description=column.description,
    )
