"""File -> Kafka with all that `push` guarantees, against raw librdkafka with the same keys and values, in turn."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from contracts.endpoints import Endpoints
from contracts.stream import Column, FileSource, Pipeline, Stream
from contracts.wire import RowKey, encode_row_key
from producers.push import push
from producers.rows import Rows
from producers.scan import FileRows
from tests.bench.engine_run import write_figures

ROWS = int(os.environ.get("HEADRACE_BENCH_ROWS", "3000000"))
ROUNDS = 3
COLUMNS = ("event_id", "person_id", "thing_id", "kind", "happened_at")


def content(shape: str, round_number: int) -> bytes:
    """A file of about 60 bytes a row for CSV, 130 for JSON; other bytes in each round."""
    if shape == "json":
        row = '{"event_id":"%d-%07d","person_id":%d,"thing_id":%d,"kind":"seen","happened_at":"2026-01-02T03:04:05Z"}\n'
    elif shape == "quoted csv":
        row = '%d-%07d,%d,"thing ""%d""",seen,2026-01-02T03:04:05Z\n'
    else:
        row = "%d-%07d,%d,%d,seen,2026-01-02T03:04:05Z\n"
    header = "" if shape == "json" else ",".join(COLUMNS) + "\n"
    rows = (row % (round_number, number, number % 9973, number % 97) for number in range(ROWS))
    return (header + "".join(rows)).encode()


@pytest.mark.parametrize("shape", ["csv", "quoted csv", "json"])
def test_file_to_kafka(endpoints: Endpoints, tmp_path: Path, shape: str) -> None:
    name = f"e_bench_{uuid4().hex[:6]}"
    suffix = "json" if shape == "json" else "csv"
    source = FileSource(rf"events_\d+\.{suffix}", "json" if shape == "json" else "csv")
    columns = tuple(Column(column, "string") for column in COLUMNS)
    stream = Stream(name, "events", f"{name}.files.events", source, columns, ("event_id",))
    pipeline = Pipeline(name, (stream,), tmp_path, tmp_path, tmp_path)
    admin = AdminClient({"bootstrap.servers": endpoints.kafka})
    topics = [stream.topic, pipeline.files_topic, f"{name}.raw"]
    for created in admin.create_topics([NewTopic(topic, 1, 1) for topic in topics]).values():
        created.result(30)
    pushed: list[float] = []
    raw: list[float] = []
    try:
        for round_number in range(ROUNDS + 1):
            path = tmp_path / f"events_{round_number}.{suffix}"
            path.write_bytes(content(shape, round_number))
            began = time.monotonic()
            result = push([path], pipeline, endpoints.kafka)[0]
            pushed.append(ROWS / (time.monotonic() - began))
            assert (result.state, result.rows) == ("sent", ROWS)
            raw.append(ROWS / raw_produce(endpoints.kafka, f"{name}.raw", path, stream, result.hash))
            path.unlink()
    finally:
        admin.delete_topics(topics)
    figures = {
        "rows": ROWS,
        "push_rows_per_s": round(median(pushed[1:])),
        "raw_librdkafka_rows_per_s": round(median(raw[1:])),
        "ratio": round(median(ours / theirs for ours, theirs in zip(pushed[1:], raw[1:], strict=True)), 2),
        "aim": 0.6,
    }
    write_figures(f"producers_{shape.replace(' ', '_')}", figures)


def raw_produce(kafka: str, topic: str, path: Path, stream: Stream, file_hash: str) -> float:
    """Seconds for the same keys and values, held ready in memory, through an idempotent producer."""
    with path.open("rb") as source:
        file_rows = FileRows(source, stream)
        batches: list[Rows] = list(file_rows)
    header = (file_rows.header or b"").decode()
    records = [
        (value, encode_row_key(RowKey(file_hash, line, batch.format, path.name, header)))
        for batch in batches
        for line, value in zip(batch.lines, batch.values, strict=True)
    ]
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 100_000,
            "delivery.report.only.error": True,
        }
    )
    producer.list_topics(topic, 10)
    began = time.monotonic()
    for value, key in records:
        while True:
            try:
                producer.produce(topic, value, key, 0)
                break
            except BufferError:
                producer.poll(0.02)
    assert producer.flush(60) == 0
    seconds = time.monotonic() - began
    producer.close()
    return seconds
