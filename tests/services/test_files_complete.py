"""A file counts when the lake has all of it, a unit is stated by its newest whole file, and readers see only that."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError
from pyspark.sql import SparkSession
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from contracts.endpoints import Endpoints
from contracts.spark_types import history_columns
from contracts.stream import Column, FileSource, Pipeline, Stream
from contracts.wire import FileState, SendState, encode_file_state
from producers.states import file_states
from streaming_jobs.files import refresh_files
from streaming_jobs.lake import DERIVED, create_table, ddl, table_path
from streaming_jobs.state import refresh_file_view

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]
AT = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW, OTHER, BAD = "a" * 64, "b" * 64, "c" * 64, "d" * 64


class Files:
    """A pipeline of one file stream, with rows in the history and counts in the ledger as the test says."""

    def __init__(self, spark: SparkSession, endpoints: Endpoints, folder: Path) -> None:
        self.spark, self.kafka, self.lake_url = spark, endpoints.kafka, f"file://{folder}/lake"
        name = f"d{uuid.uuid4().hex[:8]}"
        columns = (Column("id", "bigint"), Column("day", "date", from_file_name=True))
        source = FileSource(r"e_(?P<day>.*)\.csv", "csv", unit="day")
        self.stream = Stream(name, "events", f"{name}.files.events", source, columns, ("id",))
        self.pipeline = Pipeline(name, (self.stream,), folder, folder, folder)
        for table in ("ledger_files", "files_sent"):
            create_table(spark, f"{name}_lake.{table}", table_path(self.lake_url, name, table), DERIVED[table])
        create_table(
            spark, self.stream.history, table_path(self.lake_url, name, "events"), history_columns(self.stream)
        )
        self.admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        self.make_topic()

    @retry(retry=retry_if_exception_type(TopicAlreadyExistsError), wait=wait_fixed(0.2), stop=stop_after_delay(20))
    def make_topic(self) -> None:
        self.admin.create_topics(
            [NewTopic(self.pipeline.files_topic, 1, 1, topic_configs={"cleanup.policy": "compact"})]
        )

    def send(self, file_hash: str, unit: str, rows: int, state: str = "sent") -> None:
        name = f"e_{unit}.csv"
        record = FileState(
            "events", file_hash, name, unit, cast(SendState, state), rows, rows, 1, 0, AT.isoformat(), "test"
        )
        self.write(*encode_file_state(record))

    def write(self, key: bytes, value: bytes) -> None:
        producer = Producer({"bootstrap.servers": self.kafka})
        producer.produce(self.pipeline.files_topic, value=value, key=key, partition=0)
        producer.flush(10)

    def arrive(self, file_hash: str, unit: str, ids: list[int], version: int = 0) -> None:
        rows = [
            (key, date.fromisoformat(unit), "c", version, str(key).encode(), f"{key}{file_hash}".encode(), "t", 0, line,
             AT, AT, "f", file_hash, line)
            for line, key in enumerate(ids)
        ]  # fmt: skip
        history = self.spark.createDataFrame(rows, ddl(history_columns(self.stream))).write.format("delta")
        history.mode("append").saveAsTable(self.stream.history)
        booked = [("events", file_hash, len(ids), 0, 0, 0, 1, "batch")]
        files = self.spark.createDataFrame(booked, ddl(DERIVED["ledger_files"])).write.format("delta")
        files.mode("append").saveAsTable(f"{self.pipeline.name}_lake.ledger_files")

    def refresh(self) -> int:
        added = refresh_files(self.spark, self.pipeline, self.kafka, self.lake_url, timeout_s=20)
        refresh_file_view(self.spark, self.stream)
        return added

    def files(self) -> dict[str, tuple[bool, bool]]:
        rows = self.spark.table(f"{self.pipeline.name}_lake.files").collect()
        return {row["file_hash"][0]: (row["complete"], row["newest"]) for row in rows}

    def current(self) -> list[tuple[int, str]]:
        rows = self.spark.table(f"{self.stream.history}_current").select("id", "day").collect()
        return sorted((row["id"], row["day"].isoformat()) for row in rows)


@pytest.fixture
def files(spark: SparkSession, endpoints: Endpoints, tmp_path: Path) -> Iterator[Files]:
    files = Files(spark, endpoints, tmp_path)
    yield files
    files.admin.delete_topics([files.pipeline.files_topic])
    files.admin.close()


def test_the_newest_whole_file_states_a_unit(files: Files) -> None:
    files.send(OLD, "2026-01-01", 2)
    files.send(BAD, "2026-01-02", 1, state="rejected")
    files.arrive(OLD, "2026-01-01", [1, 2])
    assert files.refresh() == 2
    assert files.refresh() == 0
    assert files.files() == {"a": (True, True), "d": (False, False)}
    assert files.current() == [(1, "2026-01-01"), (2, "2026-01-01")]

    files.send(NEW, "2026-01-01", 3)  # a correction, half arrived: readers keep the old one
    files.arrive(NEW, "2026-01-01", [2])
    files.refresh()
    assert files.files()["b"] == (False, False)
    assert files.current() == [(1, "2026-01-01"), (2, "2026-01-01")]

    files.arrive(NEW, "2026-01-01", [3, 4])
    assert files.files() == {"a": (True, False), "b": (True, True), "d": (False, False)}
    assert files.current() == [(2, "2026-01-01"), (3, "2026-01-01"), (4, "2026-01-01")]

    files.send(OTHER, "2026-01-02", 2)  # a key of another unit: the earliest unit keeps it
    files.arrive(OTHER, "2026-01-02", [4, 5])
    files.refresh()
    assert files.current() == [(2, "2026-01-01"), (3, "2026-01-01"), (4, "2026-01-01"), (5, "2026-01-02")]


def test_a_files_topic_made_again_does_not_bring_old_revisions_back(files: Files) -> None:
    files.send(OTHER, "2026-01-02", 0)
    files.send(OLD, "2026-01-01", 1)
    files.arrive(OLD, "2026-01-01", [1])
    files.refresh()
    files.admin.delete_topics([files.pipeline.files_topic])
    files.make_topic()
    files.send(NEW, "2026-01-01", 1)  # at offset 0, below the old file's
    files.arrive(NEW, "2026-01-01", [9])
    assert files.refresh() == 1
    assert files.current() == [(9, "2026-01-01")]


def test_a_record_that_is_no_files_state_holds_nothing_back(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    files.send(OLD, "2026-01-01", 1)
    right = encode_file_state(
        FileState("events", NEW, "e_2026-01-02.csv", "2026-01-02", "sent", 1, 1, 1, 0, AT.isoformat(), "test")
    )[1]
    wrong = [b"junk", b"\xff", b"[]", b"{}", right.replace(b"+00:00", b" o'clock"), right.replace(b'"events"', b"[1]")]
    for value in wrong:
        files.write(b"key", value)
    files.send(OTHER, "2026-01-02", 1)
    files.arrive(OLD, "2026-01-01", [1])
    files.arrive(OTHER, "2026-01-02", [2])
    assert files.refresh() == 2
    assert files.refresh() == 0
    assert files.current() == [(1, "2026-01-01"), (2, "2026-01-02")]
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "streaming_jobs.files"]
    assert f"{files.pipeline.files_topic}: the records at offsets 1, 2, 3, 4, 5, 6 are not" in warning

    known = file_states(files.kafka, files.pipeline)
    assert {OLD, OTHER} <= {file_hash for _, file_hash in known}
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "producers.states"]
    assert "offsets 1, 2, 3, 4, " in warning
