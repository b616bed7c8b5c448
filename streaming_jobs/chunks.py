"""Chunks of large files: one Kafka record each, whose rows lie in a Parquet file in the lake's file system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import Fatal
from contracts.wire import CHUNK_COLUMNS, Chunk, decode_chunk
from streaming_jobs.transforms.decode_file_row import WIRE_COLUMNS

IS_CHUNK = "coalesce(_format = 'chunk', false)"
_ROWS = f"{CHUNK_COLUMNS[0]} bigint, {CHUNK_COLUMNS[1]} string, {CHUNK_COLUMNS[2]} binary"
# Attempt and number of a chunk: enough to know it by, and no pattern is matched for each row.
_TAIL = len(f"{'0' * 32}/{'0' * 12}.parquet")
_TAIL_SQL = f"right(_metadata.file_path, {_TAIL})"
_PLACE = "_topic string, _partition int, _offset bigint, _event_time timestamp, _file_hash string, _name string, "
_PLACE += "_header string, _path string"


class ChunkLost(Fatal):
    """A chunk that Kafka names is missing, or is not the one that was sent; nothing of the batch was committed."""


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


def chunk_rows(spark: SparkSession, lake_url: str, found: Collection[ChunkRecord]) -> DataFrame:
    """The rows of these chunks as WIRE_COLUMNS, each with the place of its chunk's record.

    Raises:
        ChunkLost: a file is missing or not the one that was sent.
    """
    paths = {record.chunk.path: f"{lake_url.rstrip('/')}/{record.chunk.path}" for record in found}
    _check(spark, paths, {record.chunk.path: record.chunk for record in found})
    places = [
        (r.topic, r.partition, r.offset, r.sent_at, r.file_hash, r.name, r.header, _tail(r.chunk.path)) for r in found
    ]
    rows = spark.read.schema(_ROWS).parquet(*paths.values()).withColumn("_at", F.expr(_TAIL_SQL))
    joined = rows.join(F.broadcast(spark.createDataFrame(places, _PLACE)), F.expr("_at = _path"))
    line, row_format, value = CHUNK_COLUMNS
    return joined.withColumnsRenamed({line: "_line", row_format: "_format", value: "_raw"}).select(*WIRE_COLUMNS)


def rows_beyond_records(found: Collection[ChunkRecord]) -> dict[int, int]:
    """By partition, how many more rows than records these chunks hold."""
    beyond = Counter[int]()
    for record in found:
        beyond[record.partition] += record.chunk.rows - 1
    return dict(beyond)


def _check(spark: SparkSession, paths: dict[str, str], chunks: dict[str, Chunk]) -> None:
    try:
        files = spark.read.format("binaryFile").load(list(paths.values()))
        seen = {row[0]: row[1] for row in files.selectExpr(_TAIL_SQL, "sha2(content, 256)").collect()}
    except (PySparkException, Py4JJavaError) as error:
        raise _lost("cannot be read", next(iter(paths.values())), str(error).split("\n", 1)[0]) from error
    for path, chunk in chunks.items():
        if seen.get(_tail(path)) != chunk.sha256:
            raise _lost("is missing or is not the one that was sent", paths[path], "")


def _tail(path: str) -> str:
    return path[-_TAIL:]


def _lost(what: str, path: str, cause: str) -> ChunkLost:
    return ChunkLost(
        f"a chunk of a large file {what}",
        path=path,
        cause=cause,
        state="nothing of this batch was committed; the stream stays at its position",
        next_step="restore the file, or `headrace resume --accept-loss` and send the file again with one byte changed",
    )
