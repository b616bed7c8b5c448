"""A source of any kind behind the same few words, with its pipeline and lake: what `test_any_source.py` is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from confluent_kafka import Consumer, TopicPartition
from pyspark.sql import SparkSession

from connectors.broker import Offsets
from connectors.reads.table_reads import Notes
from connectors.removal import remove
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream, System, TableSource, captured_as
from contracts.table_reads import NO_READS
from streaming_jobs.counts import Counts
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import merge_state
from streaming_jobs.tables import create_tables

COLUMNS = (Column("id", "bigint", required=True), Column("price", "decimal(10,2)"))
Row = tuple[int, Decimal | None]


@dataclass
class Source(ABC):
    """A table `orders`, of an id and a price, of a database of its own; statements name it as `{db}.orders`."""

    kind: ClassVar[System]

    spark: SparkSession
    endpoints: Endpoints
    settings: Settings
    folder: Path
    name: str
    streams: tuple[Stream, ...] = ()
    taken: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.streams = (self.stream("orders"),)

    # What the kinds differ in.

    @abstractmethod
    def make(self) -> None:
        """The empty table, and whatever has to be there before `apply`."""

    @abstractmethod
    def drop(self) -> None:
        """Everything that `make` made."""

    @abstractmethod
    def insert(self, *rows: tuple[int, int]) -> None: ...

    @abstractmethod
    def update(self, key: int, price: int) -> None: ...

    @abstractmethod
    def replace(self, key: int, price: int) -> None:
        """By another one with the same key, at once."""

    @abstractmethod
    def delete(self, key: int) -> None: ...

    @abstractmethod
    def apply(self) -> list[str]:
        """The kinds of the changes."""

    @abstractmethod
    def rows(self, table: str) -> list[Row]:
        """What the source holds, by id."""

    @abstractmethod
    def through(self) -> Offsets:
        """The topics' ends once everything committed at the source is in them."""

    # What they have in common.

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.name, self.streams, self.folder, self.folder, self.folder)

    @property
    def part(self) -> Pipeline:
        return self.pipeline.of(self.kind)

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def stream(self, table: str) -> Stream:
        source = TableSource(self.name, table, system=self.kind)
        topic = f"{captured_as(self.name, self.kind)}.{source.qualified}"
        return Stream(self.name, table, topic, source, COLUMNS, ("id",))

    def create_lake(self) -> None:
        """May be repeated when streams were added."""
        create_tables(self.spark, self.pipeline, self.lake_url)
        create_derived(self.spark, self.pipeline, self.lake_url)

    def lake(self, table: str = "orders") -> list[Row]:
        """Everything committed at the source into the lake and its state; then what the current view shows, by id."""
        self.take(table)
        (stream,) = [one for one in self.streams if one.name == table]
        shown = self.spark.table(f"{stream.history}_current").select("id", "price").orderBy("id").collect()
        return [(row["id"], row["price"]) for row in shown]

    def take(self, table: str) -> Counts:
        """Everything committed at the source into the lake and its state."""
        ends, (stream,) = self.through(), [one for one in self.streams if one.name == table]
        topic = describe(self.endpoints.kafka, [stream.topic])[stream.topic]
        first, now = self.taken.get(table, 0), datetime.now(UTC)
        batch = Range(topic.name, topic.topic_id, 0, first, ends[stream.topic, 0])
        at = (self.lake_url, self.endpoints.kafka)
        done = ingest(self.spark, stream, [batch], *at, "run", f"from {first}", now)
        self.taken[table] = batch.next
        with closing(Notes(self.endpoints.kafka, self.part)) as notes:
            told = notes.table_reads().get(stream.table_source.qualified, NO_READS)
        merge_state(self.spark, stream, self.lake_url, lambda _: told)
        return done.counts

    def committed(self) -> int:
        """The end of the topic of orders as it is; 0 before there is a topic."""
        topic = self.streams[0].topic
        with closing(Consumer({"bootstrap.servers": self.endpoints.kafka, "group.id": "none"})) as reader:
            if topic not in reader.list_topics(timeout=10).topics:
                return 0
            return int(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1])

    def remove(self) -> None:
        remove(self.pipeline, self.endpoints, with_topics=True)
        self.drop()
        self.spark.sql(f"drop schema if exists {self.name}_lake cascade")
