"""Two tables between which money moves, and what a source with the consistent cut tells of it: no Kafka in between."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.canonical import key_python
from contracts.spark_types import history_columns
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.cut import Place, advance, places
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import CONSISTENT_CUT, CUT_TABLE, create_table, ddl, state_columns, table_path
from streaming_jobs.state import merge_state
from streaming_jobs.transactions import TOLD, Look, Unread

VPE = 10**15
AT = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = (Column("id", "bigint"), Column("amount", "bigint"))
NUMBER = count()
KEY = key_python(COLUMNS[:1])


@dataclass(frozen=True)
class Record:
    """One record of a table's topic; without an `id` it takes an offset and leaves no row in the lake."""

    offset: int
    op: str = "u"
    id: int | None = None
    amount: int | None = None
    transaction: str | None = None


@dataclass
class Topic:
    records: list[Record] = field(default_factory=list)
    taken: int = 0

    def send(self, op: str, key: int | None, amount: int | None, transaction: str | None) -> None:
        self.records.append(Record(len(self.records), op, key, amount, transaction))


class Bank:
    """Two tables, the topic of transactions, and their lake; a test says what is sent, what is taken in, and when."""

    def __init__(self, spark: SparkSession, folder: Path, *, cut: bool = True) -> None:
        self.spark, self.lake_url = spark, f"file://{folder}/lake"
        name = f"c{hashlib.md5(str(folder).encode()).hexdigest()[:8]}{next(NUMBER)}"
        streams = tuple(
            Stream(name, t, f"{name}.public.{t}", TableSource("public", t), COLUMNS, ("id",), consistent_cut=cut)
            for t in ("left", "right")
        )
        self.pipeline = Pipeline(name, streams, folder, folder, folder)
        self.topics = {stream.name: Topic() for stream in streams}
        self.told: list[tuple[str, str]] = []
        self.kept_from = 0
        self.create_tables()
        for stream in streams:
            merge_state(spark, stream, self.lake_url)

    def create_tables(self) -> None:
        """Those that are needed here."""
        tables = {CUT_TABLE: CONSISTENT_CUT} if self.pipeline.cut_groups else {}
        for stream in self.pipeline.streams:
            tables |= {stream.name: history_columns(stream), f"{stream.name}_state": state_columns(stream)}
        for table, columns in tables.items():
            path = table_path(self.lake_url, self.pipeline.name, table)
            create_table(self.spark, f"{self.pipeline.name}_lake.{table}", path, columns)

    def begin(self, transaction: str) -> None:
        self.told.append(("BEGIN", transaction))

    def end(self, transaction: str) -> None:
        self.told.append(("END", transaction))

    def move(self, transaction: str, amount: int, *, ended: bool = True) -> None:
        """One transaction: so much goes from the one table to the other."""
        self.begin(transaction)
        for name, sign in (("left", -1), ("right", 1)):
            held = [r.amount for r in self.topics[name].records if r.amount is not None]
            self.topics[name].send("u", 1, (held[-1] if held else 100) + sign * amount, transaction)
        if ended:
            self.end(transaction)

    def take_in(self, name: str, up_to: int | None = None) -> None:
        """What the streaming job does: rows and position in one commit."""
        topic, stream = self.topics[name], self.pipeline.stream(name)
        end = len(topic.records) if up_to is None else min(up_to, len(topic.records))
        new = [r for r in topic.records[topic.taken : end] if r.op != "quarantined"]
        transaction = TableTransaction(self.spark, table_path(self.lake_url, stream.pipeline, name))
        if new:
            frame = self.spark.createDataFrame([_row(record, stream) for record in new], ddl(history_columns(stream)))
            transaction.write(frame.coalesce(1))
        span = {"topic": stream.topic, "topic_id": name, "partition": 0, "first": topic.taken, "next": end}
        span |= {"rows": len(new), "accepted": len(new), "conflicting": 0}
        positions = {f"{name}:{stream.topic}-0": end, f"epoch:{name}": 1}
        transaction.commit(positions, {"headrace": 1, "kind": "batch", "ranges": [span]})
        topic.taken = end

    def round(self) -> None:
        """Everything sent arrives, then the cut moves and the states are merged."""
        for name in self.topics:
            self.take_in(name)
        self.advance()
        self.merge()

    def replay(self, name: str, record: Record) -> None:
        """A record whose row was refused, read again and taken."""
        stream = self.pipeline.stream(name)
        transaction = TableTransaction(self.spark, table_path(self.lake_url, stream.pipeline, name))
        transaction.write(self.spark.createDataFrame([_row(record, stream)], ddl(history_columns(stream))).coalesce(1))
        span = {"topic": stream.topic, "topic_id": name, "partition": 0, "first": record.offset}
        span |= {"next": record.offset + 1, "rows": 1, "accepted": 1, "conflicting": 0}
        transaction.commit({f"replay:{record.offset}": 1}, {"headrace": 1, "kind": "replay", "ranges": [span]})

    def declare(self, *with_cut: str) -> None:
        """From now on these streams have the option."""
        streams = tuple(replace(one, consistent_cut=one.name in with_cut) for one in self.pipeline.streams)
        self.pipeline = replace(self.pipeline, streams=streams)
        self.create_tables()

    def delete_what_was_told(self) -> None:
        """Kafka keeps nothing of the topic of transactions, read or not."""
        self.kept_from = len(self.told)

    def look(self, known: int | None = None) -> Look:
        """Kafka as it is now, in the order in which `transactions.look` asks. `known`: how far the cut has read it."""
        known = self.known() if known is None else known
        ends = [at for at, (status, _) in enumerate(self.told) if status == "END" and at >= max(known, self.kept_from)]
        written = {name: (name, len(topic.records)) for name, topic in self.topics.items()}
        unread = Unread(self.kept_from, written) if self.kept_from > known else None
        return Look("T", ends[-1] + 1 if ends else known, written, AT, unread)

    def known(self) -> int:
        return min((place.read_to for place in self.cut().values()), default=0)

    def advance(self, seen: Look | None = None) -> bool:
        known = self.known()
        seen = seen or self.look(known)
        first = max(known, self.kept_from)
        told = [(at, *note) for at, note in enumerate(self.told) if at >= first]
        frame = self.spark.createDataFrame(told, TOLD)
        return advance(self.spark, self.pipeline, "postgres", self.lake_url, seen, frame)

    def merge(self) -> None:
        for stream in self.pipeline.streams:
            merge_state(self.spark, stream, self.lake_url)

    def cut(self) -> dict[str, Place]:
        return places(self.spark, self.pipeline.name, self.lake_url)

    def bounds(self) -> dict[str, int]:
        return {name: place.bound % VPE for name, place in self.cut().items()}

    def keys(self, name: str) -> set[int]:
        return {row["id"] for row in self.spark.table(f"{self.pipeline.name}_lake.{name}_current").collect()}

    def sums(self) -> tuple[int, int] | None:
        """What both views hold, in one query; None while one of them is empty."""
        lake = f"{self.pipeline.name}_lake"
        query = f"select l.amount, r.amount from {lake}.left_current as l join {lake}.right_current as r using (id)"
        row = self.spark.sql(query).first()
        return None if row is None else (row[0], row[1])


def _row(record: Record, stream: Stream) -> tuple[object, ...]:
    key = None if record.id is None else KEY({"id": record.id})
    own = (record.op, VPE + record.offset, key, None if key is None else b"h", stream.topic, 0, record.offset, AT, AT)
    traced = (record.transaction,) if stream.consistent_cut else ()
    return (record.id, record.amount, *own, None, None, None, *traced)
