"""The engine on a real Kafka and HDFS: parking, a lost checkpoint, a kill; every offset is in the history once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from pyspark.sql import DataFrame, SparkSession

from contracts.endpoints import Endpoints
from contracts.settings import RunSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.lake import create_derived, table_path
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.state import merge_states
from streaming_jobs.stream_status import StreamStatus, read_status
from streaming_jobs.stream_worker import StreamReport
from streaming_jobs.streams import parking_of
from streaming_jobs.tables import create_history, create_quarantine
from tests.services import streams_process
from tests.services.streams_process import gateway_of

COLUMNS = (Column("id", "bigint", required=True), Column("price", "decimal(10,2)"))
WAIT_S = 180.0
WaitUntil = Callable[[Callable[[], Any], float, str], Any]


@dataclass
class Shop:
    """A pipeline of two streams over topics of its own."""

    spark: SparkSession
    endpoints: Endpoints
    settings: Settings
    pipeline: Pipeline

    @property
    def status_file(self) -> Path:
        return self.settings.data_dir / "status.json"

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def command(self, what: str) -> list[str]:
        """Another process that does `what` with this pipeline."""
        return streams_process.command(self.pipeline, self.endpoints, self.settings, self.status_file, what)

    def kill_at(self, place: str, what: str) -> None:
        """That process, until it kills itself at a failpoint. What a merge did before is committed: Spark goes on."""
        shared = gateway_of(self.spark) if what == "merge" else {}
        environment = {**os.environ, **shared, "HEADRACE_FAILPOINT": place}
        killed = subprocess.run(self.command(what), env=environment, capture_output=True, timeout=WAIT_S)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-3000:]

    def send(self, stream: str, values: list[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.endpoints.kafka, "linger.ms": 5})
        for value in values:
            producer.produce(self.pipeline.stream(stream).topic, value, partition=0)
        producer.flush(30)

    def send_rows(self, stream: str, first: int, rows: int) -> None:
        self.send(stream, [change(number) for number in range(first, first + rows)])

    def table(self, name: str) -> DataFrame:
        path = table_path(f"{self.endpoints.hdfs_url}/lake", self.pipeline.name, name)
        return self.spark.read.format("delta").load(path)

    def offsets(self, stream: str) -> list[int]:
        return sorted(row["_offset"] for row in self.table(stream).select("_offset").collect())

    def status(self, stream: str) -> StreamStatus:
        found = read_status(self.status_file)
        assert found is not None
        return next(one for one in found[1] if one.stream == stream)

    def read(self, stream: str) -> int:
        """The table's position as the status file says it; 0 before there is one."""
        return (self.status(stream).position or 0) if self.status_file.exists() else 0

    def flowing(self) -> AbstractContextManager[list[StreamReport]]:
        """The streams run inside the block."""
        return streams_process.flowing(self.spark, self.pipeline, self.endpoints, self.settings, self.status_file)


@pytest.fixture
def shop(spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> Iterator[Shop]:
    name = f"streams_{uuid4().hex[:8]}"
    streams = tuple(
        Stream(
            name,
            table,
            f"{name}.public.{table}",
            TableSource("public", table),
            COLUMNS,
            ("id",),
            quarantine_minimum=50,
            freshness_s=2.0,
        )
        for table in ("orders", "refunds")
    )
    pipeline = Pipeline(name, streams, tmp_path, tmp_path, tmp_path)
    settings = deployment.model_copy(update={"data_dir": tmp_path, "run": RunSettings(trigger_s=0.2)})
    lake_url = f"{endpoints.hdfs_url}/lake"
    for stream in streams:
        create_history(spark, stream, lake_url)
    create_quarantine(spark, name, lake_url)
    admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka)
    admin.create_topics([NewTopic(stream.topic, 1, 1) for stream in streams])
    yield Shop(spark, endpoints, settings, pipeline)
    admin.delete_topics([stream.topic for stream in streams])
    admin.close()


def change(number: int, price: str = "", op: str = "c") -> bytes:
    row = {"id": number, "price": price or f"{number % 100}.50"}
    source = {"ts_us": 1_760_000_000_000_000 + number, "snapshot": "false"}
    before, after = (row, None) if op == "d" else (None, row)
    return json.dumps({"before": before, "after": after, "source": source, "op": op}).encode()


def test_a_bad_stream_is_parked_alone_and_rejoins(shop: Shop, wait_until: WaitUntil) -> None:
    shop.send_rows("orders", 0, 100)
    shop.send("refunds", [b"no JSON"] * 90 + [change(number) for number in range(10)])
    with shop.flowing() as reports:
        wait_until(lambda: [one for one in reports if one.event == "parked"], WAIT_S, "a report of the parked stream")
        wait_until(lambda: shop.status("refunds").state == "parked", WAIT_S, "parked in the status file")
        wait_until(lambda: shop.status("refunds").lag == 100, WAIT_S, "all records that wait to be counted")
        wait_until(lambda: shop.status("orders").lag == 0, WAIT_S, "no record of the other to wait")
        assert "no JSON" in shop.status("refunds").reason or "json" in shop.status("refunds").reason
        shop.send_rows("orders", 100, 100)
        wait_until(lambda: shop.read("orders") == 200, WAIT_S, "the other stream to go on")
        assert shop.offsets("refunds") == []
        assert shop.table("quarantine").count() == 0

        assert parking_of(shop.settings, shop.pipeline).resume("refunds") is not None
        wait_until(lambda: shop.read("refunds") == 100, WAIT_S, "what waited to be read")
        shop.send_rows("refunds", 10, 5)
        wait_until(lambda: shop.read("refunds") == 105, WAIT_S, "the stream to flow again")
    assert shop.offsets("orders") == list(range(200))
    assert shop.offsets("refunds") == list(range(90, 105))
    assert sorted(row["offset"] for row in shop.table("quarantine").collect()) == list(range(90))


def test_a_lost_checkpoint_changes_nothing(shop: Shop, wait_until: WaitUntil) -> None:
    shop.send_rows("orders", 0, 50)
    with shop.flowing():
        wait_until(lambda: shop.read("orders") == 50, WAIT_S, "the first rows")
    shutil.rmtree(shop.settings.data_dir / "checkpoints")
    shop.send_rows("orders", 50, 50)
    with shop.flowing():
        wait_until(lambda: shop.read("orders") == 100, WAIT_S, "the rows sent in between")
    with shop.flowing():
        wait_until(lambda: shop.status("orders").lag == 0, WAIT_S, "a third start to find nothing to do")
    assert shop.offsets("orders") == list(range(100))


def test_a_killed_process_loses_and_doubles_nothing(shop: Shop, wait_until: WaitUntil, tmp_path: Path) -> None:
    log = (tmp_path / "streams.log").open("wb")
    process = subprocess.Popen(shop.command("run"), stdout=log, stderr=log, start_new_session=True)
    try:
        sent = 0
        while shop.read("orders") == 0 or sent < 2000:
            shop.send_rows("orders", sent, 50)
            sent += 50
            assert process.poll() is None, (tmp_path / "streams.log").read_text()[-2000:]
            threading.Event().wait(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()
    shop.send_rows("refunds", 0, 10)
    with shop.flowing():
        wait_until(lambda: shop.read("orders") == sent and shop.read("refunds") == 10, WAIT_S, "the rest")
    assert shop.offsets("orders") == list(range(sent))
    assert shop.offsets("refunds") == list(range(10))


@pytest.mark.timeout(800)  # several starts of a JVM
def test_a_kill_at_every_failpoint_books_each_offset_once(shop: Shop, wait_until: WaitUntil) -> None:
    """One kill after another, each in the batch that the one before it left half done."""
    orders, refunds = shop.pipeline.streams
    shop.pipeline = replace(shop.pipeline, streams=(replace(orders, quarantine_limit=1.0), refunds))
    bad: list[int] = []
    sent = 0
    uncommitted = ("before_quarantine_commit", "after_quarantine_commit", "before_history_commit")
    for place in (*uncommitted, "after_history_commit"):
        shop.send("orders", [change(sent), b"no JSON", *(change(sent + n) for n in range(2, 10))])
        bad.append(sent + 1)
        sent += 10
        shop.kill_at(place, "run")
        assert len(shop.offsets("orders")) == (0 if place in uncommitted else sent - len(bad)), place

    shop.send_rows("orders", sent, 10)
    sent += 10
    with shop.flowing():
        wait_until(lambda: shop.read("orders") == sent, WAIT_S, "the rest")
    assert shop.offsets("orders") == [offset for offset in range(sent) if offset not in bad]
    assert sorted(row["offset"] for row in shop.table("quarantine").collect()) == bad

    create_derived(shop.spark, shop.pipeline, shop.lake_url)
    refresh_ledger(shop.spark, shop.pipeline, shop.lake_url)
    booked, _ = balance(shop.spark, shop.pipeline)
    assert booked.findings == ()
    assert (booked.rows, booked.accepted, booked.quarantined, booked.gap) == (sent, sent - len(bad), len(bad), 0)


def test_a_kill_while_the_state_is_merged_is_seen_by_no_reader(shop: Shop, wait_until: WaitUntil) -> None:
    create_derived(shop.spark, shop.pipeline, shop.lake_url)

    def flow(values: list[bytes], end: int) -> None:
        shop.send("orders", values)
        with shop.flowing():
            wait_until(lambda: shop.read("orders") == end, WAIT_S, f"position {end}")

    def current() -> list[tuple[int, str]]:
        view = f"{shop.pipeline.stream('orders').history}_current"
        shop.spark.catalog.clearCache()
        return sorted((row["id"], str(row["price"])) for row in shop.spark.table(view).collect())

    flow([change(number) for number in range(6)], 6)
    merge_states(shop.spark, shop.pipeline, shop.lake_url)
    flow([change(0, "7.00"), change(1, op="d"), change(6)], 9)
    expected = [(0, "7.00"), *((number, f"{number}.50") for number in range(2, 7))]
    assert current() == expected
    shop.kill_at("before_state_commit", "merge")
    assert current() == expected
    shop.kill_at("after_state_commit", "merge")
    assert current() == expected
    flow([change(1, "8.00"), change(0, op="d")], 11)
    merge_states(shop.spark, shop.pipeline, shop.lake_url)
    assert current() == [(1, "8.00"), *expected[1:]]
    state = {row["id"]: row["_deleted"] for row in shop.table("orders_state").collect()}
    assert state == {number: number == 0 for number in range(7)}
