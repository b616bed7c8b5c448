"""Replay brings back what is missing, changes nothing that is there, and says so when Kafka has forgotten."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import Fatal, OffsetsLost
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived, table_path
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.positions import describe
from streaming_jobs.proofs import prove_gaps
from streaming_jobs.ranges import Range
from streaming_jobs.replay import plan_replay, replay
from streaming_jobs.state import merge_state
from streaming_jobs.tables import create_tables

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _change(key: int, offset: int) -> bytes:
    after = {"id": key, "name": f"n{offset}"}
    source = {"snapshot": "false", "ts_ms": 1_700_000_000_000, "schema": "public", "table": "people"}
    return json.dumps({"op": "c", "before": None, "after": after, "source": source, "ts_ms": 1}).encode()


class Lake:
    """One stream of a topic with committed and aborted transactions, and the folder of its lake."""

    def __init__(self, spark: SparkSession, endpoints: Endpoints) -> None:
        self.spark, self.kafka = spark, endpoints.kafka
        name = f"d{uuid.uuid4().hex[:8]}"
        columns = (Column("id", "bigint"), Column("name", "string"))
        self.stream = Stream(name, "people", f"{name}.public.people", TableSource("public", "people"), columns, ("id",))
        self.pipeline = Pipeline(name, (self.stream,), *[self.stream.file] * 3)
        self.lake_url = f"{endpoints.hdfs_url}/d-tests/lake"
        self.path = table_path(self.lake_url, name, "people")
        self.admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        self.admin.create_topics([NewTopic(self.stream.topic, 1, 1)])
        self.topic_id = describe(self.kafka, [self.stream.topic])[self.stream.topic].topic_id
        self.producer = Producer({"bootstrap.servers": self.kafka, "transactional.id": name})
        self.producer.init_transactions(30)
        create_tables(spark, self.pipeline, self.lake_url)
        create_derived(spark, self.pipeline, self.lake_url)

    def send(self, first: int, rows: int, *, abort: bool = False) -> int:
        """One transaction; returns the offset after its control record."""
        self.producer.begin_transaction()
        for row in range(rows):
            self.producer.produce(self.stream.topic, value=_change(first + row, first + row), partition=0)
        self.producer.flush(30)
        if abort:
            self.producer.abort_transaction(30)
        else:
            self.producer.commit_transaction(30)
        return first + rows + 1

    def batch(self, first: int, following: int) -> None:
        span = Range(self.stream.topic, self.topic_id, 0, first, following)
        ingest(self.spark, self.stream, [span], self.lake_url, self.kafka, "run", "batch", NOW)

    def replay(self, first: int, end: int | None) -> tuple[int, int]:
        ranges = plan_replay(self.spark, self.stream, self.lake_url, self.kafka, first, end)
        counts = replay(
            self.spark, self.stream, self.lake_url, self.kafka, ranges, now=NOW + timedelta(days=1), piece_offsets=7
        ).counts
        return counts.accepted, counts.duplicate

    def rows(self) -> list[tuple[object, ...]]:
        history = self.spark.read.format("delta").load(self.path).drop("_ingested_at")
        return sorted(tuple(map(str, row)) for row in history.collect())


@pytest.fixture
def lake(spark: SparkSession, endpoints: Endpoints) -> Iterator[Lake]:
    lake = Lake(spark, endpoints)
    yield lake
    lake.admin.delete_topics([lake.stream.topic])
    lake.admin.close()
    spark.sql(f"drop schema {lake.pipeline.name}_lake cascade")


def test_a_deleted_range_comes_back_and_an_intact_one_stays(lake: Lake) -> None:
    following = lake.send(0, 10)
    following = lake.send(following, 5, abort=True)
    following = lake.send(following, 10)
    time.sleep(0.2)
    lake.batch(0, 12)
    lake.batch(12, following)
    before = lake.rows()
    assert len(before) == 20

    assert lake.replay(0, None) == (0, 20)
    assert lake.rows() == before

    lake.spark.sql(f"delete from delta.`{lake.path}` where _offset between 4 and 20")
    deleted = 20 - len(lake.rows())
    assert deleted == 6 + 4  # offsets 4-9 and 17-20; 10-16 were never rows
    merge_state(lake.spark, lake.stream, lake.lake_url)
    assert lake.replay(2, 24) == (deleted, 2 + 3)
    assert lake.rows() == before
    merge_state(lake.spark, lake.stream, lake.lake_url)
    assert lake.spark.table(f"{lake.stream.history}_current").count() == 20

    refresh_ledger(lake.spark, lake.pipeline, lake.lake_url)
    report = prove_gaps(lake.spark, lake.pipeline, lake.kafka, lake.lake_url, now=NOW, timeout_s=30)
    assert report.findings == ()
    (sums,) = balance(lake.spark, lake.pipeline)
    assert (sums.rows, sums.gap, sums.aborted, sums.control, sums.unproven) == (20, 8, 5, 3, 0)
    assert sums.findings == ()


def test_offsets_that_kafka_has_forgotten_are_an_error(lake: Lake) -> None:
    lake.batch(0, lake.send(0, 10))
    lake.admin.delete_records({TopicPartition(lake.stream.topic, 0): 4})
    with pytest.raises(OffsetsLost, match="from offset 4 on only"):
        lake.replay(0, None)
    with pytest.raises(OffsetsLost, match="from offset 4 on only"):
        plan_replay(lake.spark, lake.stream, lake.lake_url, lake.kafka, datetime(2020, 1, 1, tzinfo=UTC))
    assert lake.replay(4, None) == (0, 6)
    with pytest.raises(Fatal, match="nothing to replay"):
        lake.replay(11, None)
