"""A large batch whose rows were split before and are judged apart comes to the same as one that is parsed and compared
as a whole, whatever is in the file."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from contracts.stream import Column, FileSource, Rule, Stream
from contracts.wire import RowKey, encode_chunk, encode_row_key
from headrace.dry_run import LocalChunks
from producers.chunks import cut
from producers.dialect import Dialect
from producers.rows import Rows
from producers.scan import FileRows
from producers.split_csv import split_csv
from streaming_jobs import classify, split_rows
from streaming_jobs.counts import Counts
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
    FileSource(
        r"orders_(?P<shop>[a-z]+)\.csv",
        "csv",
        delimiter="",
        unit="batch_date",
        bulk_bytes=1,
        nulls=("n/a",),
        decimal=",",
    ),
    (
        Column("id", "bigint", required=True),
        Column("amount", "decimal(8,2)"),
        Column("day", "date", format="dd.MM.yyyy"),
        Column("note", "string"),
        Column("shop", "string", from_file_name=True),
        Column("batch_date", "date", required=True, from_batch_date=True),
    ),
    ("batch_date", "id"),
    rules=(Rule("not_negative", "amount >= 0", "amount"),),
    partition_by="batch_date",
    quarantine_minimum=10**6,
)
NUMBERED = replace(STREAM, columns=(*STREAM.columns, Column("line", "bigint", from_line=True)))
ROWS = [
    b"1;1,5;01.02.2026;plain",
    b'2;"2,50";;"a;b ""c"""',
    b'3;n/a;31.01.2026;""',
    b"4;;;",
    b"5;-1;;below",
    b"x;1;;no number",
    b"6;1;31.02.2026;no day",
    b"7;1;;one;too many",
    b"8;1",
    b'9;1;;"stray"text',
    b"10;1;;\xff",
    b"11;1;;nul \0",
    b"12;1;;end \xef\xbf\xbf",
    b'13;1;;"two\nlines"',
    b'14;1;;inch 5"',
    b"1;1,50;01.02.2026;plain",
    b"2;3;;other",
    b"1;3;;the third",
    b"1;4;;the fourth",
    b'2;"2,5";;"a;b ""c"""',
    b"15; 1;;a blank",
    b"16;1;;\xef\xbb\xbfmark",
    b";1;;no key",
    b";1;;no key",
    b'17;1;;"open',
]
USUAL, OTHER_ORDER = b"id;amount;day;note", b"note;id;amount;day"


CHUNK_BYTES = 300
HEADER, OTHER_ORDER = b"id;amount;day;note", b"note;id;amount;day"


def content(header: bytes, first: int) -> bytes:
    """The rows above between many usual ones."""
    usual = [b"%d;1;;usual" % number for number in range(first, first + 90)]
    return b"\n".join([header, *usual[:25], *ROWS[:-1], *usual[25:], usual[7], ROWS[-1]])


def one_by_one(events: FileRows) -> Iterator[Rows]:
    """Each row as if it were read alone, so that it is split unless there is something about itself."""
    for rows in events:
        for line, value in zip(rows.lines, rows.values, strict=True):
            whole = rows.format == "csv" and b"\n" not in value
            yield from (
                split_csv(io.BytesIO(value + b"\n"), Dialect(";"), line=line)
                if whole
                else [Rows(rows.format, [line], [value])]
            )


class Lake:
    """A lake on the local disk, and a topic with files in chunks."""

    def __init__(self, spark: SparkSession, root: Path, stream: Stream = STREAM) -> None:
        self.spark, self.root = spark, root
        self.stream = replace(stream, pipeline=f"p{uuid.uuid4().hex[:12]}")
        self.records: list[tuple[bytes, bytes, str, int, int, datetime]] = []
        create_quarantine(spark, self.stream.pipeline, str(root))
        create_history(spark, self.stream, str(root))

    def send(self, name: str, file_hash: str, text: bytes) -> None:
        events = FileRows(io.BytesIO(text), self.stream)
        folder = f"_chunks/{self.stream.pipeline}/orders/{file_hash}/{uuid.uuid4().hex}"
        header = (events.header or b"").decode()
        for one in cut(one_by_one(events), LocalChunks(self.root, folder, CHUNK_BYTES), events.cells()):
            key = encode_row_key(RowKey(file_hash, one.first_line, "chunk", name, header, "2026-01-05"))
            self.records.append((key, encode_chunk(one.chunk), self.stream.topic, 0, len(self.records), NOW))

    def take_in(self, first: int, following: int) -> BatchResult:
        records = self.spark.createDataFrame(self.records, RECORD)
        ranges = [Range(self.stream.topic, "T1", 0, first, following)]
        return ingest(
            *(self.spark, self.stream, ranges, str(self.root), "", uuid.uuid4().hex, "batch", NOW), records=records
        )

    def table(self, name: str) -> list[tuple[Any, ...]]:
        rows = self.spark.read.format("delta").load(table_path(str(self.root), self.stream.pipeline, name))
        random = ("run", "stream", "pipeline")
        return sorted(
            tuple(str(value) for name, value in row.asDict().items() if name not in random) for row in rows.collect()
        )


@pytest.mark.parametrize("stream", [STREAM, NUMBERED], ids=["rows may be equal", "no two rows are equal"])
def test_a_batch_in_two_parts_gives_what_the_whole_gives(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: Stream
) -> None:
    parted: list[split_rows.Parted | None] = []
    found = []
    for from_rows in (1, 10**9):
        with monkeypatch.context() as patch:
            patch.setattr(split_rows, "FROM_ROWS", from_rows)
            patch.setattr(split_rows, "_AT_ONCE", 100)
            patch.setattr(split_rows, "FEW_LINES", 1000 if stream is STREAM else 1)
            patch.setattr(classify, "part", lambda *given: parted.append(split_rows.part(*given)) or parted[-1])
            lake = Lake(spark, tmp_path / str(from_rows), stream)
            lake.send("orders_lisbon.csv", "a" * 64, content(HEADER, 100))
            lake.send("orders_graz.csv", "c" * 64, content(OTHER_ORDER, 100)[:600])
            lake.send("orders_porto.csv", "b" * 64, content(HEADER, 200))
            count = len(lake.records)
            assert count > 9
            # The second batch goes on in the middle of a file, behind rows that it repeats.
            results = [lake.take_in(0, count // 2), lake.take_in(count // 2, count)]
            found.append(([result.counts for result in results], lake.table("orders"), lake.table("quarantine")))
    assert found[0] == found[1]
    counts = found[0][0][0] + found[0][0][1]
    assert min(counts.accepted, counts.conflicting, counts.quarantined) > 1
    assert (counts.duplicate > 2) == (stream is STREAM)
    first, second, *without = parted
    assert without == [None, None]
    for each in (first, second):
        assert each is not None
        assert each.alone.count() > 20
        assert each.rest.count() > 10


def test_of_too_many_repeated_events_a_batch_is_not_parted(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_rows, "FROM_ROWS", 1)
    monkeypatch.setattr(split_rows, "MOST_REPEATED", 1)
    lake = Lake(spark, tmp_path)
    lake.send("orders_lisbon.csv", "a" * 64, content(HEADER, 100))
    counts = lake.take_in(0, len(lake.records)).counts
    assert counts.rows == 90 + len(ROWS) + 1
    assert counts.duplicate > 1


def test_where_no_event_is_repeated_all_rows_stand_alone(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted: list[split_rows.Parted | None] = []
    monkeypatch.setattr(split_rows, "FROM_ROWS", 1)
    monkeypatch.setattr(classify, "part", lambda *given: parted.append(split_rows.part(*given)) or parted[-1])
    lake = Lake(spark, tmp_path)
    lake.send("orders_lisbon.csv", "a" * 64, b"\n".join([HEADER, *(b"%d;1;;usual" % number for number in range(90))]))
    assert lake.take_in(0, len(lake.records)).counts == Counts(accepted=90)
    (found,) = parted
    assert found is not None
    assert (found.alone.count(), found.rest.count()) == (90, 0)
