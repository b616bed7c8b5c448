"""A large file is taken in over several batches: each bounded, nothing doubled or lost between them, whoever dies."""

from __future__ import annotations

import io
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from contracts.errors import Conflict
from contracts.stream import Column, FileSource, Rule, Stream
from contracts.wire import RowKey, encode_chunk, encode_row_key
from headrace.dry_run import LocalChunks
from producers.chunks import cut
from producers.scan import FileRows
from streaming_jobs import ingest as ingesting
from streaming_jobs import split_rows
from streaming_jobs.counts import Counts
from streaming_jobs.delta_commit import TableTransaction, read_positions
from streaming_jobs.ingest import BatchResult, ingest
from streaming_jobs.lake import table_path
from streaming_jobs.ranges import Range
from streaming_jobs.tables import create_history, create_quarantine

RECORD = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
STREAM = Stream(
    "p",
    "orders",
    "p.files.orders",
    FileSource(r"orders\.csv", "csv", bulk_bytes=1),
    (Column("id", "bigint", required=True), Column("note", "string")),
    ("id",),
    rules=(Rule("not_negative", "id >= 0", "id"),),
    quarantine_minimum=10**6,
)
ROWS = 1000
AT_MOST = 300
CHUNK_BYTES = 1_400
"""About 100 rows."""
HASHES = ("a" * 64, "b" * 64)


def content() -> bytes:
    lines = [b"id,note"] + [b"%d,n%d" % (number, number) for number in range(ROWS)]
    # In other batches than the rows that they repeat, contradict, or stand beside.
    lines += [b"3,n3", b"4,other", b"-1,refused", b"3,n3"]
    return b"\n".join(lines)


class Orders:
    """A lake on the local disk, and a topic of two partitions with the same rows as chunks in each."""

    def __init__(self, spark: SparkSession, url: str) -> None:
        self.spark, self.url = spark, url
        self.stream = replace(STREAM, pipeline=f"p{uuid.uuid4().hex[:12]}")
        create_quarantine(spark, self.stream.pipeline, url)
        create_history(spark, self.stream, url)
        self.path = table_path(url, self.stream.pipeline, self.stream.name)
        self.records: list[tuple[bytes, bytes, str, int, int, datetime]] = []
        self.ranges = [self._sent(partition, file_hash) for partition, file_hash in enumerate(HASHES)]

    def _sent(self, partition: int, file_hash: str) -> Range:
        place = f"_chunks/{self.stream.pipeline}/{self.stream.name}/{file_hash}/{uuid.uuid4().hex}"
        folder = LocalChunks(Path(self.url), place, CHUNK_BYTES)
        offset = 0
        events = FileRows(io.BytesIO(content()), self.stream)
        for one in cut(events, folder, events.cells()):
            key = encode_row_key(RowKey(file_hash, one.first_line, "chunk", "orders.csv", "id,note"))
            self.records.append((key, encode_chunk(one.chunk), self.stream.topic, partition, offset, NOW))
            offset += 1
        assert offset > 6
        return Range(self.stream.topic, "T1", partition, 0, offset)

    def run(self, max_chunk_rows: int | None, kind: ingesting.Kind = "batch") -> BatchResult:
        records = self.spark.createDataFrame(self.records, RECORD)
        run = uuid.uuid4().hex
        given = (self.spark, self.stream, self.ranges, self.url, "", run, kind, NOW)
        return ingest(*given, records=records, max_chunk_rows=max_chunk_rows)

    def until_done(self, max_chunk_rows: int) -> list[BatchResult]:
        found = []
        while (result := self.run(max_chunk_rows)).version is not None:
            found.append(result)
        return found

    def rows(self) -> list[tuple[Any, ...]]:
        history = self.spark.read.format("delta").load(self.path)
        return sorted((row._file_hash, row._line, row.id, row.note) for row in history.collect())

    def refused(self) -> list[tuple[str, int]]:
        held = self.spark.read.format("delta").load(table_path(self.url, self.stream.pipeline, "quarantine"))
        return sorted((row.file_hash, row.line) for row in held.collect())


@pytest.fixture(params=[True, False], ids=["parted", "whole"])
def orders(
    spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Orders:
    if request.param:
        monkeypatch.setattr(split_rows, "FROM_ROWS", 1)
    return Orders(spark, str(tmp_path))


def test_bounded_batches_die_between_and_within_and_the_lake_is_as_after_one(
    spark: SparkSession, orders: Orders, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = orders.run(2 * AT_MOST)
    assert {one.partition for one in first.ranges} == {0, 1}
    for one, counts in first.ranges.items():
        assert 0 < counts.rows <= AT_MOST
        assert one.next < orders.ranges[one.partition].next
        assert read_positions(spark, orders.path)[one.app_id] == one.next

    def dies(*_: object) -> int:
        raise Conflict("as if killed here")

    with monkeypatch.context() as patch:
        patch.setattr(TableTransaction, "commit", dies)
        with pytest.raises(Conflict):
            orders.run(2 * AT_MOST)
    # Whoever comes next asks for all of it again, and the table's own position says where to go on.
    others = orders.until_done(2 * AT_MOST)
    assert len(others) > 2
    per_file = Counts(accepted=ROWS, duplicate=2, conflicting=1, quarantined=1)
    total = first.counts
    for one in others:
        total += one.counts
    assert total == per_file + per_file

    whole = Orders(spark, str(tmp_path_factory.mktemp("whole")))
    assert whole.run(None).counts == total
    assert orders.rows() == whole.rows()
    assert orders.refused() == whole.refused()
    assert len(orders.refused()) == 2


def test_a_chunk_above_the_bound_is_a_batch_of_its_own_and_a_replay_is_bounded_too(orders: Orders) -> None:
    orders.ranges = orders.ranges[:1]
    orders.records = [record for record in orders.records if record[3] == 0]
    results = [orders.run(1), orders.run(1)]
    assert [[len(one) for one in result.ranges] for result in results] == [[1], [1]]
    orders.run(None)
    before = orders.rows()
    replayed = orders.run(AT_MOST, kind="replay")
    (taken,) = replayed.ranges
    assert 1 < len(taken) < len(orders.ranges[0])
    assert replayed.counts == Counts(duplicate=replayed.counts.rows)
    assert orders.rows() == before
