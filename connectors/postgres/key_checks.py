"""Whether a contract's key tells the rows of its table apart, and whether Debezium knows it as the key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from connectors.finding import Finding
from connectors.postgres.catalog import SourceTable, quoted
from contracts.stream import Pipeline, Stream


def _expression(name: str) -> str:
    """A regular expression for this name alone, without the characters that part the list: blanks, `:`, `,`, `;`."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"\\x{{{ord(found[0]):x}}}", name)


def check_key(stream: Stream, table: SourceTable) -> Iterator[Finding]:
    """A key (of `Stream.at_source`) of which the source may hold two rows. What else an index has does not matter: rows
    that differ in a part of the key differ in the key."""
    nullable = {column.name for column in table.columns if not column.required}
    covering = [index for index in table.unique if {*index} <= {*stream.key}]
    if any(not nullable & {*index} for index in covering):
        return
    if not {*stream.key} <= {column.name for column in table.columns}:
        return  # said elsewhere
    name = quoted(table.schema, table.name)
    alters = [f"ALTER TABLE {name} ALTER COLUMN {quoted(one)} SET NOT NULL;" for one in stream.key if one in nullable]
    if not covering:
        # Of a partitioned table none can be made beside its writers.
        beside = "" if table.kind == "p" else "CONCURRENTLY "
        columns = ", ".join(map(quoted, stream.key))
        alters.append(f"CREATE UNIQUE INDEX {beside}ON {name} ({columns});")
    yield Finding(
        "refusal",
        "no unique index of columns that are NOT NULL holds the stream's key",
        table.qualified,
        declared=f"key {', '.join(stream.key)}",
        found="; ".join(f"unique {', '.join(index)}" for index in table.unique),
        why="two rows of one key would be one in the lake, and a row without a key is refused"
        + (" (a deferrable constraint does not count: it lets two be there at once)" if not covering else ""),
        fix="\n  ".join(alters) + f"  -- or declare the table's own key in {stream.file}",
    )


def message_keys(part: Pipeline, tables: Sequence[SourceTable]) -> str:
    """Debezium's `message.key.columns`: the streams' keys where they are not the tables' primary keys, empty if none.
    It sends a change of what it knows as the key as a delete and a create; else the old key would stay in the lake."""
    known = {table.qualified: {*table.primary} for table in tables}
    keys = {stream.table_source.qualified: stream.at_source.key for stream in part.cdc_streams}
    return ";".join(
        f"{re.escape(name)}:{','.join(map(_expression, key))}"
        for name, key in sorted(keys.items())
        if known.get(name, {*key}) != {*key}
    )
