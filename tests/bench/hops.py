"""How long a change takes from hop to hop, from the commit at the source to a row that can be read."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Consumer, TopicPartition

from contracts.stream import Pipeline, Stream
from streaming_jobs.lake import table_path
from tests.bench.conftest import Lake
from tests.bench.engine_run import Run, quantile

HOPS = (
    "source commit -> Debezium has it",
    "Debezium -> Kafka",
    "Kafka -> its batch begins",  # of it, until Connect's transaction ends: what is not committed is not read
    "batch begins -> lake commit",
    "lake commit -> readable",
)


def hops(
    lake: Lake, kafka: str, lake_url: str, pipeline: Pipeline, run: Run, began: float, until: float
) -> dict[str, dict[str, float]]:
    """p50, p99 and the share of the whole of each hop, over all changes that became readable in the window. Before the
    topics are removed."""
    times = [
        one
        for stream in pipeline.streams
        for one in _of_stream(lake, kafka, lake_url, pipeline, stream, run, began, until)
    ]
    whole = sum(each[-1] - each[0] for each in times)
    found = {}
    for number, name in enumerate(HOPS):
        spent = [each[number + 1] - each[number] for each in times]
        shares = round(sum(spent) / whole, 3)
        found[name] = {"p50_s": quantile(spent, 0.5), "p99_s": quantile(spent, 0.99), "share": shares}
    return found


def _of_stream(
    lake: Lake, kafka: str, lake_url: str, pipeline: Pipeline, stream: Stream, run: Run, began: float, until: float
) -> Iterator[tuple[float, ...]]:
    """Of each change the time of each hop's beginning, and of the last one's end."""
    spans = sorted(
        (one.first, one.next, at)
        for at, report in run.batches
        if report.stream == stream.name and began <= at <= until
        for one in report.ranges
    )
    if not spans:
        return
    path = table_path(lake_url, pipeline.name, stream.name)
    commits = sorted(
        row["at"]
        for row in lake.spark.sql(f"describe history delta.`{path}`")
        .selectExpr("cast(timestamp as double) as at")
        .collect()
    )
    rows = (
        lake.spark.read.format("delta")
        .load(path)
        .where(f"_offset >= {spans[0][0]} and _offset < {spans[-1][1]} and _snapshot is null")
        .selectExpr("_offset", "cast(_ingested_at as double) as begins")
        .collect()
    )
    begins = {row["_offset"]: row["begins"] for row in rows}
    firsts = [first for first, _, _ in spans]
    for offset, committed, seen, sent in _records(kafka, stream.topic, spans[0][0], spans[-1][1]):
        if offset in begins:
            _, _, readable = spans[bisect.bisect_right(firsts, offset) - 1]
            commit = commits[bisect.bisect_left(commits, begins[offset])]
            yield committed, seen, sent, begins[offset], commit, readable


def _records(kafka: str, topic: str, first: int, end: int) -> Iterator[tuple[int, float, float, float]]:
    """Offset, then in seconds: the commit at the source, when Debezium made the record, when it was produced."""
    settings = {"bootstrap.servers": kafka, "group.id": "none", "enable.partition.eof": True}
    with closing(Consumer(settings | {"isolation.level": "read_committed"})) as reader:
        reader.assign([TopicPartition(topic, 0, first)])
        while (record := reader.poll(30)) and not record.error() and (offset := record.offset() or 0) < end:
            change = json.loads(record.value() or b"")
            yield offset, change["source"]["ts_us"] / 1e6, change["ts_us"] / 1e6, record.timestamp()[1] / 1e3
