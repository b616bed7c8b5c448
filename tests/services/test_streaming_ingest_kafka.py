"""Real Kafka to Delta on real HDFS: committed records arrive once, aborted ones never, gaps are counted."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import OffsetsLost
from contracts.stream import Column, Stream, TableSource
from streaming_jobs.counts import Counts
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import table_path
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.tables import create_history, create_quarantine

NOW = datetime(2025, 3, 1, tzinfo=UTC)


def test_aborted_records_never_arrive_and_leave_a_counted_gap(spark: SparkSession, endpoints: Endpoints) -> None:
    name = f"c{uuid.uuid4().hex[:8]}"
    stream = Stream(
        name,
        "things",
        f"{name}.s.things",
        TableSource("s", "things"),
        (Column("id", "bigint", required=True),),
        ("id",),
    )
    lake_url = f"{endpoints.hdfs_url}/test_lake"
    admin = AdminClient({"bootstrap.servers": endpoints.kafka})
    admin.create_topics([NewTopic(stream.topic, 1, 1)])[stream.topic].result(30)
    producer = Producer({"bootstrap.servers": endpoints.kafka, "transactional.id": name})
    producer.init_transactions(30)
    for number, keep in enumerate([True, False, True]):
        producer.begin_transaction()
        for key in range(3):
            row = {"before": None, "after": {"id": number * 3 + key}, "op": "c", "source": {"ts_ms": 1}, "ts_ms": 1}
            producer.produce(stream.topic, key=b"k", value=json.dumps(row).encode())
        if keep:
            producer.commit_transaction(30)
        else:
            producer.flush(30)
            producer.abort_transaction(30)
    create_quarantine(spark, name, lake_url)
    create_history(spark, stream, lake_url)
    whole = Range(stream.topic, describe(endpoints.kafka, [stream.topic])[stream.topic].topic_id, 0, 0, 12)

    result = ingest(spark, stream, [whole], lake_url, endpoints.kafka, "run", "batch", NOW)
    again = ingest(spark, stream, [whole], lake_url, endpoints.kafka, "run", "batch", NOW)

    assert result.counts == Counts(accepted=6)  # of 12 offsets: 3 aborted, 3 control
    assert again.version is None
    rows = spark.table(stream.history).orderBy("_offset").collect()
    assert [(row.id, row._offset) for row in rows] == [(0, 0), (1, 1), (2, 2), (6, 8), (7, 9), (8, 10)]
    path = table_path(lake_url, name, "things")
    spark.sql(f"delete from delta.`{path}` where _offset < 9")
    healed = ingest(spark, stream, [whole], lake_url, endpoints.kafka, "run", "replay", NOW)
    assert healed.counts == Counts(accepted=4, duplicate=2)
    assert spark.table(stream.history).orderBy("_offset").collect() == rows
    admin.delete_records([TopicPartition(stream.topic, 0, 5)])[TopicPartition(stream.topic, 0, 5)].result(30)
    with pytest.raises(OffsetsLost):
        ingest(spark, stream, [whole], lake_url, endpoints.kafka, "run", "replay", NOW)
