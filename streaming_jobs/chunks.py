"""Chunks of large files: one Kafka record each, whose rows lie in a Parquet file in the lake's file system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import Fatal, ServiceUnavailable
from contracts.wire import CHUNK_COLUMNS, Chunk, cell_columns, decode_chunk
from streaming_jobs.commit_log import exists
from streaming_jobs.ranges import Range
from streaming_jobs.transforms.decode_cells import cell
from streaming_jobs.transforms.decode_file_row import WIRE_COLUMNS

IS_CHUNK = "coalesce(_format = 'chunk', false)"
_TYPES = ("bigint", "string", "binary", "string")
_ROWS = ", ".join(f"{name} {kind}" for name, kind in zip(CHUNK_COLUMNS, _TYPES, strict=True))
# Attempt and number of a chunk: enough to know it by, and no pattern is matched for each row.
_TAIL = len(f"{'0' * 32}/{'0' * 12}.parquet")
_TAIL_SQL = f"right(_metadata.file_path, {_TAIL})"
_BROKEN = ("BlockMissingException", "ChecksumException", "FileNotFoundException", "PATH_NOT_FOUND")
_PLACE = "_topic string, _partition int, _offset bigint, _event_time timestamp, _file_hash string, _name string, "
_PLACE += "_header string, _path string"


class ChunkLost(Fatal):
    """A chunk that Kafka names is missing, or is not the one that was sent; nothing of the batch was committed."""

    def __init__(self, paths: Collection[str]) -> None:
        super().__init__(
            "chunks of a large file are missing, or are not those that were sent",
            paths=", ".join(sorted(paths)),
            state="nothing of this batch was committed; the stream stays at its position",
            next_step="restore them and resume the stream; or `headrace resume --accept-loss`: each is quarantined as "
            "one row, its file never counts, and the file may be sent again with one byte changed",
        )


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A chunk and where its record stands."""

    topic: str
    partition: int
    offset: int
    sent_at: datetime
    file_hash: str
    name: str
    header: str
    chunk: Chunk


def chunk_record(fields: Sequence[object]) -> ChunkRecord | None:
    """A record's topic, partition, offset, time, file hash, name, header and value as a chunk; None if it is none:
    then it is a row like others, and refused."""
    *place, value = fields
    try:
        return ChunkRecord(*place, decode_chunk(bytes(value or b"")))  # type: ignore[arg-type, call-overload, call-arg]
    except ValueError:
        return None


def cut_at_chunks(ranges: Sequence[Range], found: Collection[ChunkRecord], max_rows: int) -> list[Range]:
    """The ranges, each ended before the first chunk with which its share of `max_rows` would be passed; every range
    keeps at least its first chunk, so that all of them move."""
    cut = []
    with_chunks = {(record.topic, record.partition) for record in found}
    for one in ranges:
        rows, end = 0, one.next
        for record in sorted(found, key=lambda record: record.offset):
            if (record.topic, record.partition) != (one.topic, one.partition):
                continue
            if rows and rows + record.chunk.rows > max_rows // len(with_chunks):
                end = record.offset
                break
            rows += record.chunk.rows
        cut.append(replace(one, next=end))
    return cut


def damaged(spark: SparkSession, lake_url: str, found: Collection[ChunkRecord]) -> set[str]:
    """The paths of those chunks that are missing, or hold another content than was sent.

    Raises:
        ServiceUnavailable: the file system did not answer.
    """
    wanted = {record.chunk.path: record.chunk.sha256 for record in found}
    try:
        there = [url for path in wanted if exists(spark, url := _url(lake_url, path))]
        seen = _hashes(spark, there)
    except (PySparkException, Py4JJavaError) as error:
        raise ServiceUnavailable(
            "the chunks of a large file could not be read",
            cause=str(error).split("\n", 1)[0],
            state="nothing of this batch was committed",
            next_step="check HDFS (`headrace status`); the batch is repeated",
        ) from error
    return {path for path, sha256 in wanted.items() if seen.get(_tail(path)) != sha256}


def _hashes(spark: SparkSession, files: list[str]) -> dict[str, str]:
    """SHA-256 by the end of the path, of those whose blocks are all there."""
    if not files:
        return {}
    contents = spark.read.format("binaryFile").load(files).selectExpr(_TAIL_SQL, "sha2(content, 256)")
    try:
        return {row[0]: row[1] for row in contents.collect()}
    except (PySparkException, Py4JJavaError) as error:
        if not any(one in str(error) for one in _BROKEN):
            raise
        if len(files) == 1:
            return {}
        return {tail: found for file in files for tail, found in _hashes(spark, [file]).items()}


def chunk_rows(spark: SparkSession, lake_url: str, found: Collection[ChunkRecord]) -> DataFrame:
    """The rows of these chunks, none of them `damaged`, as WIRE_COLUMNS with the place of their chunk's record, and
    `_split_as`."""
    return _placed(spark, _rows(spark, lake_url, found), found).select(*WIRE_COLUMNS, "_split_as")


def chunk_cells(
    spark: SparkSession,
    lake_url: str,
    found: Collection[ChunkRecord],
    cells: int,
    of_file: Callable[[DataFrame], DataFrame],
) -> DataFrame:
    """The rows of these chunks, none of them `damaged`, with `_line _raw _split_as`, so many `cell`s, and the place of
    their chunk's record as `of_file` says it: once for each chunk."""
    columns = cell_columns(cells)
    rows = _rows(spark, lake_url, found, "".join(f", {column} string" for column in columns))
    rows = rows.withColumnsRenamed({column: cell(at) for at, column in enumerate(columns)})
    return _placed(spark, rows, found, of_file)


def _rows(spark: SparkSession, lake_url: str, found: Collection[ChunkRecord], cells: str = "") -> DataFrame:
    # A column that a chunk does not have is NULL.
    files = spark.read.schema(_ROWS + cells).parquet(*(_url(lake_url, record.chunk.path) for record in found))
    named = dict(zip(CHUNK_COLUMNS, ("_line", "_format", "_raw", "_split_as"), strict=True))
    return files.withColumn("_at", F.expr("_metadata.file_path")).withColumnsRenamed(named)


def _placed(
    spark: SparkSession,
    rows: DataFrame,
    found: Collection[ChunkRecord],
    of_file: Callable[[DataFrame], DataFrame] = lambda places: places,
) -> DataFrame:
    # As the rows spell it: to cut the end off the path of each row would cost more than to split it into fields.
    jvm = cast(Any, spark._jvm)
    urls = rows.inputFiles()
    spelled = {_tail(url): str(jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(url)).toString()) for url in urls}
    places = [
        (r.topic, r.partition, r.offset, r.sent_at, r.file_hash, r.name, r.header, spelled[_tail(r.chunk.path)])
        for r in found
    ]
    return rows.join(F.broadcast(of_file(spark.createDataFrame(places, _PLACE))), F.expr("_at = _path"))


def rows_beyond_records(found: Collection[ChunkRecord]) -> dict[int, int]:
    """By partition, how many more rows than records these chunks hold."""
    beyond = Counter[int]()
    for record in found:
        beyond[record.partition] += record.chunk.rows - 1
    return dict(beyond)


def _url(lake_url: str, path: str) -> str:
    return f"{lake_url.rstrip('/')}/{path}"


def _tail(path: str) -> str:
    return path[-_TAIL:]
