"""A pipeline of file streams on the stack: its topics, its lake on HDFS, and one round of what `run` does."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.stream import Pipeline, Stream
from producers.hdfs_chunks import HdfsChunks
from producers.push import FileResult, SendOptions, push
from streaming_jobs.files import refresh_files
from streaming_jobs.ingest import BatchResult, ingest
from streaming_jobs.lake import create_derived, table_path
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import refresh_file_view
from streaming_jobs.tables import create_tables


class FileLake:
    def __init__(
        self, spark: SparkSession, endpoints: Endpoints, streams: Sequence[Stream], cut_bytes: int, lake: str
    ) -> None:
        self.spark, self.kafka = spark, endpoints.kafka
        name = f"f{uuid.uuid4().hex[:10]}"
        self.lake_url = f"{endpoints.hdfs_url}/{lake or f'test_lakes/{name}'}"
        owned = tuple(replace(s, pipeline=name, topic=f"{name}.files.{s.name}") for s in streams)
        self.pipeline = Pipeline(name, owned, Path(), Path(), Path())
        self.chunks = HdfsChunks(
            endpoints.webhdfs_url, urlsplit(self.lake_url).path, name, getpass.getuser(), cut_bytes=cut_bytes
        )

    def make(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka})
        topics = [NewTopic(stream.topic, stream.partitions, 1) for stream in self.pipeline.streams]
        topics.append(NewTopic(self.pipeline.files_topic, 1, 1, config={"cleanup.policy": "compact"}))
        for created in admin.create_topics(topics).values():
            created.result(30)
        create_tables(self.spark, self.pipeline, self.lake_url)
        create_derived(self.spark, self.pipeline, self.lake_url)

    def drop(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka})
        names = [stream.topic for stream in self.pipeline.streams]
        for deleted in admin.delete_topics([*names, self.pipeline.files_topic]).values():
            deleted.result(30)
        self.spark.sql(f"drop schema if exists {self.pipeline.name}_lake cascade")

    def push(self, *paths: Path, options: SendOptions | None = None) -> list[FileResult]:
        return push(paths, self.pipeline, self.kafka, options or SendOptions(chunks=self.chunks))

    def take_in(self, stream: str, *, without_lost: bool = False) -> BatchResult | None:
        """One batch of all that can be read; None if there is nothing."""
        one = self.pipeline.stream(stream)
        ranges = [found for found in self.ranges(one) if len(found)]
        if not ranges:
            return None
        now = datetime.now(UTC)
        return ingest(
            self.spark,
            one,
            ranges,
            self.lake_url,
            self.kafka,
            uuid.uuid4().hex,
            "batch",
            now,
            without_lost=without_lost,
        )

    def ranges(self, stream: Stream) -> list[Range]:
        topic = describe(self.kafka, [stream.topic])[stream.topic]
        assert topic is not None
        reader = Consumer({"bootstrap.servers": self.kafka, "group.id": "x", "isolation.level": "read_committed"})
        ends = [
            reader.get_watermark_offsets(TopicPartition(stream.topic, number), 10)[1]
            for number in range(stream.partitions)
        ]
        reader.close()
        return [Range(stream.topic, topic.topic_id, number, 0, end) for number, end in enumerate(ends)]

    def book(self) -> list[str]:
        """Bring ledger and files up to date; the findings of the ledger."""
        refresh_ledger(self.spark, self.pipeline, self.lake_url)
        refresh_files(self.spark, self.pipeline, self.kafka, self.lake_url)
        for stream in self.pipeline.streams:
            refresh_file_view(self.spark, stream)
        return [finding for one in balance(self.spark, self.pipeline) for finding in one.findings]

    def table(self, name: str) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.spark.table(f"{self.pipeline.name}_lake.{name}").collect()]

    def path(self, table: str) -> str:
        return table_path(self.lake_url, self.pipeline.name, table)


@contextmanager
def file_lake(
    spark: SparkSession, endpoints: Endpoints, *streams: Stream, cut_bytes: int = 20_000, lake: str = ""
) -> Iterator[FileLake]:
    """A lake under a name of its own, with its topics; its chunks are small, so that a small file has some. `lake` is
    the folder on HDFS, if it must be a certain one: `run_streams` writes below `lake`."""
    made = FileLake(spark, endpoints, streams, cut_bytes, lake)
    made.make()
    try:
        yield made
    finally:
        made.drop()
