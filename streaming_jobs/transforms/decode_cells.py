"""A row of a CSV file that was split into its fields before it came into a chunk, to what `decode_file_row` gives."""

from __future__ import annotations

from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.stream import Stream
from streaming_jobs.transforms.decode_file_row import file_parts, outside_texts
from streaming_jobs.transforms.sql import NO_REFUSAL


def cell(at: int) -> str:
    """The column of the field at this place in the contract's order, from 0."""
    return f"_cell_{at}"


def with_file_texts(places: DataFrame, stream: Stream) -> DataFrame:
    """What every row of a chunk has in common, once for the chunk: `_file`, and the columns that its name tells."""
    file, batch_date = file_parts()
    named = places.selectExpr("*", f"{file} as _file", f"{batch_date} as _batch_date")
    return named.selectExpr("*", *outside_texts(stream, of_line=False)).drop("_name", "_header", "_batch_date")


def decode_cells(frame: DataFrame, stream: Stream) -> DataFrame:
    """Rows with a `cell` per sent column and `with_file_texts` to what `decode_file_row` gives, with the cells instead
    of `_ordered`. None of them is refused yet."""
    return frame.selectExpr(*_step(stream))


@lru_cache(maxsize=256)
def _step(stream: Stream) -> tuple[str, ...]:
    place = ("_topic", "_partition", "_offset", "_event_time", "_file", "_file_hash", "_line", "_raw")
    cells = (cell(at) for at in range(len(stream.sent_columns)))
    named = (f"`_text_{c.name}`" for c in stream.columns if c not in stream.sent_columns and not c.from_line)
    nothing = "cast(null as map<string,string>) as _fields"
    return (
        *(*place, *cells, *named, *outside_texts(stream, of_line=True)),
        *("'c' as _op", "false as _no_row", nothing, f"{NO_REFUSAL} as _refusal"),
    )
