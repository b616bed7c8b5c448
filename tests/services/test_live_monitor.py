"""The live monitor against a real broker."""

from __future__ import annotations

import json
import multiprocessing
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient

from connectors.guardian.guard import Kept, Report
from contracts.endpoints import Endpoints
from contracts.stream import Column, FileSource, Pipeline, Stream
from headrace.source_metrics import SourceCollector
from streaming_jobs.live.monitor import existing_topics, run_monitor

ID = (Column("id", "bigint"),)


def stream(pipeline: str, name: str) -> Stream:
    return Stream(pipeline, name, f"{pipeline}.files.{name}", FileSource("x", "csv"), ID, ("id",))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def watched(endpoints: Endpoints) -> Iterator[Pipeline]:
    name = f"live_{uuid4().hex[:8]}"
    pipeline = Pipeline(name, (stream(name, "drops"), stream(name, "absent")), Path(), Path(), Path())
    admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka)
    admin.create_topics({pipeline.streams[0].topic: {"num_partitions": 1}})
    yield pipeline
    admin.delete_topics([pipeline.streams[0].topic])
    admin.close()


def get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def send(kafka: str, topic: str, values: int, *, commit: bool) -> None:
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": uuid4().hex, "compression.type": "lz4"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(values):
        producer.produce(topic, value=str(number).encode())
    producer.flush(30)
    (producer.commit_transaction if commit else producer.abort_transaction)(30)


def test_it_shows_a_streams_rate_counts_committed_rows_only_and_makes_no_topic(
    endpoints: Endpoints, watched: Pipeline, tmp_path: Path, wait_until: Any
) -> None:
    port = free_port()
    looked = Report("slot", "connector", (), Kept(), kept_wal_bytes=4096)
    (tmp_path / "source").write_text(json.dumps({"at": "2026-01-02T03:04:05+00:00", "report": looked.as_json()}))
    source = SourceCollector(watched.name, tmp_path / "source")
    # Started as a process of its own, as `headrace monitor` does; spawn, because threads do not survive a fork.
    worker = multiprocessing.get_context("spawn").Process(
        target=run_monitor, args=(watched, endpoints.kafka, port, tmp_path / "live", [source])
    )
    worker.start()
    try:
        topic = watched.streams[0].topic
        # Sent until one arrives: the worker begins at the topic's end once it has its assignment.
        wait_until(lambda: get(port, "/streams"), 60, "the page answers")

        def arrives() -> bool:
            send(endpoints.kafka, topic, 1, commit=True)
            return bool(json.loads(get(port, "/streams"))[0]["events"] > 0)

        wait_until(arrives, 60, "the first event is seen")

        def one_more_is_seen() -> int:
            """How many events there are once it is, and so every one before it."""
            at = int(time.time() * 1000) / 1000  # as exact as Kafka's
            send(endpoints.kafka, topic, 1, commit=True)

            def seen() -> int:
                drops = json.loads(get(port, "/streams"))[0]
                return int(drops["events"]) if (drops["last_event_time"] or 0) >= at else 0

            return int(wait_until(seen, 60, "one more event is seen"))

        before = one_more_is_seen()
        send(endpoints.kafka, topic, 500, commit=False)
        send(endpoints.kafka, topic, 300, commit=True)
        assert one_more_is_seen() == before + 301
        drops, absent = json.loads(get(port, "/streams"))
        assert drops["rate"] > 1
        assert drops["fresh"] is True
        assert absent["watched"] is False
        page = get(port, "/metrics")
        assert f'headrace_stream_rate_per_second{{pipeline="{watched.name}",stream="drops"}}' in page
        assert f'headrace_source_retained_wal_bytes{{pipeline="{watched.name}"}} 4096.0' in page
        assert {name for name in existing_topics(endpoints.kafka) if watched.name in name} == {topic}
    finally:
        worker.terminate()
        worker.join(60)
    assert worker.exitcode == 0


def test_before_any_topic_is_there_it_serves_its_pages(endpoints: Endpoints, tmp_path: Path, wait_until: Any) -> None:
    name = f"p{uuid4().hex[:8]}"
    pipeline = Pipeline(name, (stream(name, "absent"),), Path(), Path(), Path())
    port = free_port()
    worker = multiprocessing.get_context("spawn").Process(
        target=run_monitor, args=(pipeline, endpoints.kafka, port, tmp_path / "live")
    )
    worker.start()
    try:
        wait_until(lambda: get(port, "/streams"), 60, "the page answers")
        worker.join(10)  # it subscribes after its pages are there
        assert worker.is_alive()
        assert json.loads(get(port, "/streams"))[0]["watched"] is False
        assert existing_topics(endpoints.kafka).isdisjoint({pipeline.streams[0].topic})
    finally:
        worker.terminate()
        worker.join(60)
    assert worker.exitcode == 0
