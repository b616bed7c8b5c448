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

from contracts.canonical import key_text_spark
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

FEW_LINES = 1000
"""So many lines of repeated events are named to Parquet, which reads no group of rows without them."""

_AT_ONCE = 500_000
"""So many events of chunks are counted in a task: a whole file's would not fit into memory, and be sorted on disk."""

_EVENT = "xxhash64(_file_hash, {key}) as _event"


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
    usual = [record for record in chunks if record.header in usual_headers(stream)]
    split = sum(record.chunk.split for record in usual)
    if split < max(FROM_ROWS, sum(record.chunk.rows for record in chunks) // 2):
        return None
    of_file = partial(with_file_texts, stream=stream)
    cells = chunk_cells(spark, lake_url, usual, len(stream.sent_columns), of_file)
    # Conditions that Parquet's statistics answer: of most groups of rows nothing is read.
    rules = _rules(stream, usual)
    is_split, apart = f"_split_as in ({rules})", f"(_split_as is null or _split_as not in ({rules}))"
    cells = cells.where(is_split)
    if unusual := {record.file_hash for record in chunks} - {record.file_hash for record in usual}:
        is_split += f" and _file_hash not in ({_listed(unusual)})"
        apart += f" or _file_hash in ({_listed(unusual)})"
    rest = others.unionByName(_wire(rows.where(apart)))
    # Nothing in the history: the keys' texts tell as well which are equal, and of all rows none is digested for that.
    new = present.isEmpty()
    event = _EVENT.format(key=key_text_spark([stream.column(key) for key in stream.key]) if new else "_key")
    judged = judge(decode_cells(cells, stream), stream, epoch).selectExpr("_line", event)
    among = [judge(decode_file_row(rest, stream), stream, epoch), *([] if new else [present])]
    tasks = 2 + sum(record.chunk.rows for record in chunks) // _AT_ONCE
    lines = _repeated(spark, judged, [frame.selectExpr("cast(null as bigint)", event) for frame in among], tasks)
    if lines is None:
        return None
    if lines:
        marked, at_line = F.broadcast(spark.createDataFrame(sorted(lines), "bigint")), F.expr("_line = value")
        cells = cells.join(marked, at_line, "left_anti")
        again = rows.where(is_split)
        if len(lines) <= FEW_LINES:
            again = again.where(f"_line in ({', '.join(map(str, sorted(lines)))})")
        rest = rest.unionByName(_wire(again.join(marked, at_line, "left_semi")))
    alone = judge(decode_cells(cells, stream), stream, epoch)
    outcome = f"if(_refusal is null, {ACCEPTED}, {QUARANTINED}) as _outcome"
    return Parted(alone.selectExpr("*", outcome), rest)


def _wire(rows: DataFrame) -> DataFrame:
    return rows.select(*WIRE_COLUMNS)


def _repeated(spark: SparkSession, judged: DataFrame, others: Collection[DataFrame], tasks: int) -> set[int] | None:
    """The lines of those `judged` rows (`_line _event`) whose event another one has, of them or of `others` (without a
    line); None if there are too many. By their lines alone: a row at such a line of another file goes with them, and
    comes to no harm.
    """
    events = judged
    for frame in others:
        events = events.union(frame)
    ends = ("count(*) as rows", "count(_line) as lines", "min(_line) as first", "max(_line) as last")
    # Shuffled before: hardly any event is repeated, and counting them on both sides would only cost.
    spread = events.repartition(tasks, "_event")
    found = spread.groupBy("_event").agg(*map(F.expr, ends)).where("rows > 1").limit(MOST_REPEATED).collect()
    if sum(row["rows"] for row in found) > MOST_REPEATED:
        return None
    lines = {row[end] for row in found for end in ("first", "last")} - {None}
    if between := [(row["_event"],) for row in found if row["lines"] > 2]:
        again = F.broadcast(spark.createDataFrame(between, "_event bigint"))
        lines |= {row["_line"] for row in judged.join(again, "_event").select("_line").distinct().collect()}
    return lines


def _rules(stream: Stream, chunks: Collection[ChunkRecord]) -> str:
    """The rules by which the contract of now splits the rows of these chunks, as SQL lists them."""
    source = stream.file_source
    delimiters = {source.delimiter or delimiter_of(record.header) for record in chunks}
    return _listed({split_as(delimiter, source.quote, source.backslash) for delimiter in delimiters})


def _listed(texts: Collection[str]) -> str:
    return ", ".join(sql_text(one) for one in sorted(texts))
