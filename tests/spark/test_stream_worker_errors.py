"""What a stream that waits says of an error that came out of the JVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pyspark.sql import SparkSession

from contracts.settings import RunSettings
from contracts.stream import Stream, TableSource
from streaming_jobs.parking import Parking
from streaming_jobs.positions import TopicIdentity
from streaming_jobs.stream_worker import Edges, StreamReport, StreamWorker, Taken
from streaming_jobs.streams import SystemClock


def test_a_retry_says_what_happened_and_not_which_call_was_made(spark: SparkSession, tmp_path: Path) -> None:
    java = cast(Any, spark._jvm).java

    def fails(*_: object) -> Taken:
        failed = java.util.concurrent.CompletableFuture.failedFuture(java.io.IOException("the disk is full\nplan: …"))
        failed.get()  # wrapped in an ExecutionException
        raise AssertionError

    stream = Stream("shop", "orders", "shop.orders", TableSource("public", "orders"), (), ("id",))
    edges = Edges(fails, lambda _: {}, lambda _, partitions: dict.fromkeys(partitions, 0), lambda *_: None)
    reports: list[StreamReport] = []
    worker = StreamWorker(stream, RunSettings(), edges, Parking(tmp_path), reports.append, SystemClock())
    worker.topic_is(TopicIdentity(stream.topic, "id-1", (0,)))
    worker.ends_are({0: 1})
    worker.step()
    assert worker.status().reason == "java.io.IOException: the disk is full"
    assert [report.message for report in reports] == ["again in 1 s: java.io.IOException: the disk is full"]
