"""File -> Kafka with all that `push` guarantees, against raw librdkafka with the same keys and values, in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.bench.measured_push import in_a_process

ROWS = int(os.environ.get("HEADRACE_BENCH_ROWS", "3000000"))
ROUNDS = 3
COLUMNS = ("event_id", "person_id", "thing_id", "kind", "happened_at")


def write(path: Path, shape: str, round_number: int, count: int = ROWS) -> None:
    """A file of about 60 bytes a row for CSV, 107 for JSON; other bytes in each round."""
    if shape == "json":
        row = '{"event_id":"%d-%07d","person_id":%d,"thing_id":%d,"kind":"seen","happened_at":"2026-01-02T03:04:05Z"}\n'
    elif shape == "quoted csv":
        row = '%d-%07d,%d,"thing ""%d""",seen,2026-01-02T03:04:05Z\n'
    else:
        row = "%d-%07d,%d,%d,seen,2026-01-02T03:04:05Z\n"
    header = "" if shape == "json" else ",".join(COLUMNS) + "\n"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        file.writelines(row % (round_number, number, number % 9973, number % 97) for number in range(count))


@contextmanager
def with_topics(kafka: str, shape: str, folder: Path) -> Iterator[Pipeline]:
    """A pipeline of one file stream with its topics, and one more topic, `<pipeline>.raw`."""
    name = f"e_bench_{uuid4().hex[:6]}"
    suffix = "json" if shape == "json" else "csv"
    source = FileSource(rf"events_\d+\.{suffix}", "json" if shape == "json" else "csv")
    columns = tuple(Column(column, "string") for column in COLUMNS)
    stream = Stream(name, "events", f"{name}.files.events", source, columns, ("event_id",))
    pipeline = Pipeline(name, (stream,), folder, folder, folder)
    admin = AdminClient({"bootstrap.servers": kafka})
    topics = [stream.topic, pipeline.files_topic, f"{name}.raw"]
    for created in admin.create_topics([NewTopic(topic, 1, 1) for topic in topics]).values():
        created.result(30)
    try:
        yield pipeline
    finally:
        admin.delete_topics(topics)


@pytest.mark.parametrize("shape", ["csv", "quoted csv", "json"])
def test_file_to_kafka(endpoints: Endpoints, tmp_path: Path, shape: str) -> None:
    pushed: list[float] = []
    raw: list[float] = []
    with with_topics(endpoints.kafka, shape, tmp_path) as pipeline:
        (stream,) = pipeline.streams
        for round_number in range(ROUNDS + 1):
            path = tmp_path / f"events_{round_number}.{stream.file_source.format}"
            write(path, shape, round_number)
            began = time.monotonic()
            result = push([path], pipeline, endpoints.kafka)[0]
            pushed.append(ROWS / (time.monotonic() - began))
            assert (result.state, result.rows) == ("sent", ROWS)
            raw.append(ROWS / raw_produce(endpoints.kafka, f"{pipeline.name}.raw", path, stream, result.hash))
            path.unlink()
    figures = {
        "rows": ROWS,
        "push_rows_per_s": round(median(pushed[1:])),
        "raw_librdkafka_rows_per_s": round(median(raw[1:])),
        "ratio": round(median(ours / theirs for ours, theirs in zip(pushed[1:], raw[1:], strict=True)), 2),
        "aim": 0.6,
    }
    write_figures(f"producers_{shape.replace(' ', '_')}", figures)


def test_the_memory_of_a_push_row_by_row_is_flat_in_file_size(endpoints: Endpoints, tmp_path: Path) -> None:
    """56 million rows are about 6 GB."""
    peaks = {}
    with with_topics(endpoints.kafka, "json", tmp_path) as pipeline:
        for round_number, rows in enumerate((ROWS // 10, ROWS)):
            path = tmp_path / f"events_{round_number}.json"
            write(path, "json", round_number, rows)
            seconds, peak = in_a_process(pipeline, endpoints.kafka, path)
            peaks[rows] = {"file_bytes": path.stat().st_size, "push_s": round(seconds, 1), "peak_mib": peak // 1024}
            path.unlink()
    write_figures("producers_memory", {"by_rows": peaks, "aim_mib": 1024})


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
