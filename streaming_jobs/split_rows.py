"""Rows of large files whose fields were split before: most of them need neither a parser nor a shuffle.

A row is compared with others of its event (file, key) alone. Which events occur twice is found by their hashes, one
number a row; the rest of the batch is judged where it stands and written. That is the whole gain: a wide row that goes
through a shuffle and a sort costs more than everything else that is done with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.delimiter import delimiter_of
from contracts.stream import Stream
from contracts.wire import split_as
from streaming_jobs.chunks import ChunkRecord, chunk_cells
from streaming_jobs.lake import sql_text
from streaming_jobs.transforms.decode_cells import decode_cells, with_file_texts
from streaming_jobs.transforms.decode_file_row import WIRE_COLUMNS, decode_file_row, usual_headers
from streaming_jobs.transforms.deduplicate import ACCEPTED, QUARANTINED
from streaming_jobs.transforms.judge import judge

FROM_ROWS = 20_000
"""In fewer rows it would cost more than it spares."""

MOST_REPEATED = 100_000
"""Of more rows than that whose events occur more than once the batch is not parted: the driver holds them."""

_EVENT = "xxhash64(_file_hash, _key) as _event"


@dataclass(frozen=True, slots=True)
class Parted:
    """A batch in two parts. No row of `alone`, judged and with its `_outcome`, has an event of another row, in the
    batch or in the history. `rest`, as WIRE_COLUMNS, are all others."""

    alone: DataFrame
    rest: DataFrame


def part(
    spark: SparkSession,
    stream: Stream,
    lake_url: str,
    epoch: int,
    others: DataFrame,
    rows: DataFrame,
    chunks: Collection[ChunkRecord],
    present: DataFrame,
) -> Parted | None:
    """The `rows` of `chunks` (`chunk_rows`) and `others` (WIRE_COLUMNS) parted; None where that is not worth while: few
    rows, few that are split, many repeated. `present` are the history's rows of the same files."""
    if stream.file_source.row_format != "csv":
        return None
    split = [record for record in chunks if record.header in usual_headers(stream)]
    count = sum(record.chunk.rows for record in chunks)
    if sum(record.chunk.rows for record in split) < FROM_ROWS:
        return None
    is_split = _is_split(stream, split)
    of_file = partial(with_file_texts, stream=stream)
    cells = chunk_cells(spark, lake_url, split, len(stream.sent_columns), of_file).where(is_split)
    if cells.count() < count // 2:
        return None
    usual = f"_file_hash in ({_listed({record.file_hash for record in split})}) and {is_split}"
    rows = rows.withColumn("_apart", F.expr(f"not coalesce({usual}, false)"))
    unsplit = others.unionByName(rows.where("_apart").select(*WIRE_COLUMNS))
    judged = judge(decode_cells(cells, stream), stream, epoch).selectExpr("_line", _EVENT)
    events = judged.select("_event")
    for frame in (judge(decode_file_row(unsplit, stream), stream, epoch), present):
        events = events.union(frame.selectExpr(_EVENT))
    repeated = events.groupBy("_event").count().where("count > 1").limit(MOST_REPEATED).collect()
    if sum(row["count"] for row in repeated) > MOST_REPEATED:
        return None
    again = spark.createDataFrame([(row["_event"],) for row in repeated], "_event bigint")
    # By their lines alone: a row at such a line of another file goes with them, and comes to no harm.
    lines = judged.join(F.broadcast(again), "_event").select("_line").distinct().collect() if repeated else []
    marked = F.broadcast(spark.createDataFrame([(row[0],) for row in lines], "_marked bigint"))
    at_line = F.expr("_line = _marked")
    alone = judge(decode_cells(cells.join(marked, at_line, "left_anti"), stream), stream, epoch)
    rest = rows.join(marked, at_line, "left").where("_apart or _marked is not null").select(*WIRE_COLUMNS)
    outcome = f"if(_refusal is null, {ACCEPTED}, {QUARANTINED}) as _outcome"
    return Parted(alone.selectExpr("*", outcome), others.unionByName(rest))


def _is_split(stream: Stream, chunks: Collection[ChunkRecord]) -> str:
    """SQL for whether a row was split by the rules by which the contract of now splits it."""
    source = stream.file_source
    delimiters = {source.delimiter or delimiter_of(record.header) for record in chunks}
    rules = {split_as(delimiter, source.quote, source.backslash) for delimiter in delimiters}
    return f"(_split_as in ({_listed(rules)}) and _format = 'csv')"


def _listed(texts: Collection[str]) -> str:
    return ", ".join(sql_text(one) for one in sorted(texts))
