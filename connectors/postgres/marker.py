"""Markers in the stream of changes: a point after which everything committed before it has reached Kafka."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from connectors import debezium
from connectors.broker import Offsets
from connectors.postgres.source import connected
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline

_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Marker:
    """A logical message in the source's WAL. Everything committed before it was emitted has a smaller commit LSN."""

    token: str
    lsn: str


def emit(source: PostgresEndpoint) -> Marker:
    """Writes a marker and commits it. Needs no table and no privilege."""
    token = uuid.uuid4().hex
    with connected(source) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(true, %s, %s)::text", (debezium.MARKER_PREFIX, token))
        row = cursor.fetchone()
    assert row is not None
    return Marker(token, row[0])


def quiesced(pipeline: Pipeline, endpoints: Endpoints, *, timeout_s: float = 60.0) -> Offsets:
    """Emits a marker, waits until one came out of Kafka, and returns the end offset of each CDC topic's partition.

    Every change that was committed at the source before the call lies below these offsets: Connect sends changes and
    marker in WAL order, in one sequence of transactions. If nothing writes meanwhile the lake equals the source once
    its positions reach them (trailing offsets may be transaction markers). ServiceUnavailable if the marker does
    not arrive in time, for example because the first snapshot still runs.
    """
    topic = TopicPartition(debezium.message_topic(pipeline), 0)
    consumer = KafkaConsumer(
        bootstrap_servers=endpoints.kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        group_id=None,
    )
    try:
        consumer.assign([topic])
        consumer.seek(topic, consumer.end_offsets([topic])[topic])
        _wait(consumer, endpoints.source, timeout_s, pipeline)
        partitions = [TopicPartition(stream.topic, 0) for stream in pipeline.of("postgres").cdc_streams]
        ends = consumer.end_offsets(partitions)
        return {(partition.topic, partition.partition): int(end) for partition, end in ends.items()}
    finally:
        consumer.close()


def _wait(consumer: KafkaConsumer, source: PostgresEndpoint, timeout_s: float, pipeline: Pipeline) -> None:
    deadline = time.monotonic() + timeout_s
    emitted: list[Marker] = []
    emit_at = 0.0
    while time.monotonic() < deadline:
        if time.monotonic() >= emit_at:
            # Once more now and then: what is older than a snapshot that begins meanwhile never comes out of Debezium.
            emitted.append(emit(source))
            emit_at = time.monotonic() + _AGAIN_S
        tokens = {marker.token for marker in emitted}
        for records in consumer.poll(timeout_ms=200).values():
            if any(_token(record.value) in tokens for record in records):
                return
    raise ServiceUnavailable(
        f"no marker written from LSN {emitted[0].lsn if emitted else 'unknown'} on reached Kafka in {timeout_s:.0f} s",
        next_step="see that the connector runs and has finished its first snapshot: `headrace status`",
        topic=debezium.message_topic(pipeline),
    )


def _token(value: bytes | None) -> str:
    """The text of a logical message; empty for anything else."""
    try:
        return base64.b64decode(json.loads(value or b"null")["message"]["content"]).decode()
    except (ValueError, KeyError, TypeError):
        return ""
