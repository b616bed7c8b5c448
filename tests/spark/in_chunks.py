"""Files that go row by row and, a second and a third time, as large files go: cut into chunks, on the local disk."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from contracts.spark_types import history_columns
from contracts.stream import Stream
from headrace.dry_run import LocalChunks
from producers.chunks import cut
from producers.scan import FileRows, Scan
from streaming_jobs import split_rows
from streaming_jobs.chunks import ChunkRecord, chunk_rows
from streaming_jobs.lake import ddl
from streaming_jobs.transforms.decode_file_row import (
    WIRE_COLUMNS,
    decode_file_row,
    open_records,
    usual_headers,
)
from streaming_jobs.transforms.judge import judge
from tests.spark.landing import SENT

BY_ROW, IN_CHUNKS, PARTED = 0, 1, 2
CHUNK_BYTES = 1000


def chunks_of(stream: Stream, name: str, content: bytes, scanned: Scan, folder: Path) -> list[ChunkRecord]:
    """The file cut as `push` cuts a large one, with the fields of its rows split where that is sure; once for each of
    the two ways that chunks are read."""
    events = FileRows(io.BytesIO(content), stream)
    place = LocalChunks(
        folder, f"_chunks/{stream.pipeline}/{stream.name}/{scanned.hash}/{uuid.uuid4().hex}", CHUNK_BYTES
    )
    cuts = list(cut(events, place, events.cells()))
    assert sum(one.chunk.rows for one in cuts) == scanned.rows
    return [
        ChunkRecord(stream.topic, way, number, SENT, scanned.hash, name, scanned.header, one.chunk)
        for way in (IN_CHUNKS, PARTED)
        for number, one in enumerate(cuts)
    ]


def judged_each_way(
    spark: SparkSession, stream: Stream, kafka: DataFrame, chunks: Sequence[ChunkRecord], folder: Path
) -> DataFrame:
    """The rows of these records, and of these chunks, judged; `_partition` says which way each took, `_split` whether
    its fields were split before. Files that hold split rows are PARTED as a batch is, but that a row whose event
    occurs twice is left where it is: each is judged for itself."""
    records = open_records(kafka)
    rows = chunk_rows(spark, str(folder), [one for one in chunks if one.partition == IN_CHUNKS])
    wire = records.unionByName(rows.select(*WIRE_COLUMNS))
    usual = [one for one in chunks if one.partition == PARTED and one.header in usual_headers(stream)]
    files = {one.file_hash for one in usual if one.chunk.split}
    split = [one for one in usual if one.file_hash in files]
    alone = None
    if split:
        nothing = spark.createDataFrame([], ddl(history_columns(stream)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(split_rows, "FROM_ROWS", 1)
            patch.setattr(split_rows, "_repeated", lambda *_: set[int]())
            parted = split_rows.part(
                *(
                    spark,
                    stream,
                    str(folder),
                    1,
                    records.limit(0),
                    chunk_rows(spark, str(folder), split),
                    split,
                    nothing,
                )
            )
        assert parted, "most of these rows are not split"
        wire = wire.unionByName(parted.rest)
        alone = parted.alone.selectExpr("*", "true as _split").drop("_outcome")
    found = judge(decode_file_row(wire, stream), stream, 1).selectExpr("*", "false as _split")
    return found.unionByName(alone) if alone else found
