"""What becomes of each record of a batch: decoded, cast, judged, keyed, compared with what the history has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.canonical import row_hash_spark
from contracts.spark_types import history_columns
from contracts.stream import Stream
from streaming_jobs.chunks import (
    IS_CHUNK,
    ChunkLost,
    ChunkRecord,
    chunk_record,
    chunk_rows,
    damaged,
    rows_beyond_records,
)
from streaming_jobs.counts import Group
from streaming_jobs.lake import ddl, sql_text, table_path
from streaming_jobs.ranges import Range, epoch_of, offsets_sql
from streaming_jobs.split_rows import part
from streaming_jobs.transforms.decode_change import decode_change
from streaming_jobs.transforms.decode_document import decode_document
from streaming_jobs.transforms.decode_file_row import WIRE_COLUMNS, decode_file_row, open_records
from streaming_jobs.transforms.deduplicate import (
    ACCEPTED,
    QUARANTINED,
    keep_present,
    outcome_of_changes,
    outcome_of_file_rows,
)
from streaming_jobs.transforms.judge import judge
from streaming_jobs.transforms.source_spelling import is_document
from streaming_jobs.transforms.validate import as_declared_now


@dataclass(frozen=True, slots=True)
class Classified:
    """`rows` with their `_outcome`; the `groups` to count; for files, how many rows each has; and by partition how many
    more rows than records there are. `only_lines` judges again the rows at these lines alone (-1: without a line), for
    whoever needs the refused ones of a large batch; no row of them is compared with others."""

    rows: DataFrame
    groups: list[Group]
    expected: Mapping[Group, int] | None = None
    beyond: Mapping[int, int] = field(default_factory=dict)
    only_lines: Callable[[Collection[int]], DataFrame] | None = None


def classify(
    spark: SparkSession,
    stream: Stream,
    raw: DataFrame,
    lake_url: str,
    ranges: Sequence[Range],
    positions: Mapping[str, int],
    *,
    replay: bool,
    without_lost: bool = False,
    seen: Sequence[FileSeen] = (),
) -> Classified:
    """Judge the records of these ranges of one stream; of a file stream `seen` are its `files_in` them. `without_lost`
    takes the record of a chunk that is lost for a row, which is refused.

    Raises:
        ChunkLost: a chunk of a large file is not there, or not the one that was sent.
    """
    history = table_path(lake_url, stream.pipeline, stream.name)
    epoch = epoch_of(ranges[0].topic_id, positions)
    if stream.is_cdc:
        decoded = decode_document(raw) if is_document(stream) else decode_change(raw, stream)
        rows = judge(decoded, stream, epoch)
        present = None
        if replay:
            spans = " or ".join(f"(_partition = {r.partition} and {offsets_sql('_offset', r)})" for r in ranges)
            present = spark.read.format("delta").load(history).where(spans)
        return Classified(outcome_of_changes(rows, present), [(one.partition, "") for one in ranges])
    records = open_records(raw)
    chunks = [chunk for file in seen for chunk in file.chunks]
    if chunks and (lost := damaged(spark, lake_url, chunks)):
        if not without_lost:
            raise ChunkLost(lost)
        chunks = [chunk for chunk in chunks if chunk.chunk.path not in lost]
        seen = [file.without(lost) for file in seen]
    expected: dict[Group, int] = {}
    for file in seen:
        group = (file.partition, file.file_hash)
        expected[group] = expected.get(group, 0) + file.rows
    others, rows = records, records.limit(0)
    if chunks:
        offsets = ", ".join(f"struct({one.partition}, {one.offset}L)" for one in chunks)
        others = records.where(f"struct(_partition, _offset) not in ({offsets})")
        rows = chunk_rows(spark, lake_url, chunks)
        records = others.unionByName(rows.select(*WIRE_COLUMNS))
    present = _rows_of_files(spark, stream, history, {(file.file_hash, file.name) for file in seen})
    if replay:
        # Written under a contract with fewer columns, a row has another hash than the same row has today.
        present = present.transform(as_declared_now, stream).withColumn("_hash", F.expr(row_hash_spark(stream)))
    parted = None if replay else part(spark, stream, lake_url, epoch, others, rows, chunks, present)
    rest = parted.rest if parted else records
    classified = outcome_of_file_rows(judge(decode_file_row(rest, stream), stream, epoch), present)
    if parted:
        classified = parted.alone.unionByName(classified)
    if replay:
        classified = keep_present(classified, present)

    def only_lines(lines: Collection[int]) -> DataFrame:
        listed = ", ".join(map(str, lines)) or "null"
        few = records.where(f"coalesce(_line, -1) in ({listed})")
        # Not deterministic in Spark's eyes: else it would write a filter on this out, down to the file, with every step
        # in it as often as a later one names it, and compile that for minutes.
        outcome = f"if(_refusal is not null and spark_partition_id() >= 0, {QUARANTINED}, {ACCEPTED}) as _outcome"
        return judge(decode_file_row(few, stream), stream, epoch).selectExpr("*", outcome)

    beyond = rows_beyond_records(chunks)
    return Classified(classified, sorted(expected), expected, beyond, None if replay else only_lines)


def judge_chunks(spark: SparkSession, stream: Stream, lake_url: str, chunks: Collection[ChunkRecord]) -> DataFrame:
    """The rows of these chunks of one file with their `_outcome`, as if the history held nothing of it yet."""
    rows = decode_file_row(chunk_rows(spark, lake_url, chunks), stream)
    nothing = spark.createDataFrame([], ddl(history_columns(stream)))
    return outcome_of_file_rows(judge(rows, stream, 1), nothing)


@dataclass(frozen=True, slots=True)
class FileSeen:
    """What a batch holds of one file in one partition; `name` with the batch date, as the records' keys have it."""

    partition: int
    file_hash: str
    name: str
    rows: int
    chunks: tuple[ChunkRecord, ...]

    def without(self, lost: Collection[str]) -> FileSeen:
        """With the records of these chunks as rows."""
        rows = self.rows - sum(one.chunk.rows - 1 for one in self.chunks if one.chunk.path in lost)
        return replace(self, rows=rows, chunks=tuple(one for one in self.chunks if one.chunk.path not in lost))


def files_in(raw: DataFrame) -> list[FileSeen]:
    """What these records of a file stream hold of which files."""
    records = open_records(raw)
    fields = "_topic, _partition, _offset, _event_time, _file_hash, _name, _header, _raw"
    found = (
        records.withColumn("_chunk", F.expr(f"if({IS_CHUNK}, struct({fields}), null)"))
        .groupBy("_partition", F.expr("coalesce(_file_hash, '')"), F.expr("coalesce(_name, '')"))
        .agg(F.count("*"), F.collect_list("_chunk"))
    )
    seen = []
    for partition, file_hash, name, count, listed in found.collect():
        chunks = tuple(chunk for one in listed if (chunk := chunk_record(one)))
        rows = count - len(chunks) + sum(one.chunk.rows for one in chunks)
        seen.append(FileSeen(partition, file_hash, name, rows, chunks))
    return seen


def _rows_of_files(spark: SparkSession, stream: Stream, history: str, files: set[tuple[str, str]]) -> DataFrame:
    """The history's rows of these files. A file's name or batch date tells its partition: no other one is read."""
    rows = spark.read.format("delta").load(history)
    hashes = ", ".join(sorted({sql_text(file_hash) for file_hash, _ in files})) or "''"
    rows = rows.where(f"_file_hash in ({hashes})")
    column = stream.column(stream.partition_by) if stream.partition_by else None
    if column and (column.from_file_name or column.from_batch_date):
        units = set()
        for file in files:
            name, _, batch_date = file[1].partition("/")
            groups = {column.name: batch_date} if column.from_batch_date else stream.file_source.match(name)
            units |= {groups[column.name]} if groups else set()
        listed = ", ".join(f"try_cast({sql_text(unit)} as {column.spark_type})" for unit in sorted(units)) or "null"
        rows = rows.where(f"`{column.name}` in ({listed})")
    return rows
