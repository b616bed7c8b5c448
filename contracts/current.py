"""What "current" means for a file stream: one text, for the lake's view and for whoever reads a part of it."""

from __future__ import annotations

from collections.abc import Collection

from contracts.spark_types import current_columns
from contracts.stream import Stream

CUT_MOVED = "the consistent cut moved while this query was planned: run it again"
"""What a query is refused with that would have mixed two states of tables that change together."""


def current_of_files(stream: Stream, units: Collection[str] | None = None) -> str:
    """Spark SQL: per unit the rows of its newest complete file, per key one of them, whatever the order of arrival.

    Across units the greatest `_version` wins, then the earliest unit, then the greatest `_hash`. `units` (ISO dates)
    reads no other ones: right for the keys that stand in no other.
    """
    columns = ", ".join(f"`{name}`" for name, _ in current_columns(stream))
    listed = "" if units is None else ", ".join(f"date'{unit}'" for unit in sorted(units)) or "null"
    only = f"and h.`{stream.file_source.unit}` in ({listed})" if units is not None else ""
    return f"""
        select {columns} from (
          select h.*, row_number() over (
            partition by h._key order by h._version desc, f.unit, h._hash desc, h._file_hash, h._line) as _rank
          from {stream.history} as h
          join {stream.lake_schema}.files as f on f.file_hash = h._file_hash
          where f.stream = '{stream.name}' and f.newest {only}
        ) where _rank = 1
    """
