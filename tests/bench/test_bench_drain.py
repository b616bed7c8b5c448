"""How fast eight streams work off a backlog, against a plain append of the same records' raw values to one table."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

from pyspark.sql import SparkSession

from connectors import topics
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline
from streaming_jobs.lake import table_path
from streaming_jobs.tables import create_history, create_quarantine
from tests.bench.bench_pipeline import bench_pipeline, fill_topics
from tests.bench.conftest import Lake
from tests.bench.engine_run import running, write_figures

# 200,000 rows of each stream: its generated code has been compiled by then.
WARM_ROWS = 1_600_000
ROWS = 2_000_000


def test_drain(lake: Lake, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> None:
    pipeline = bench_pipeline(f"drain_{uuid4().hex[:6]}", tmp_path, "public")
    for stream in pipeline.streams:
        topics.create(endpoints.kafka, topics.Topic(stream.topic, 1))
    lake_url = f"{endpoints.hdfs_url}/lake"
    for stream in pipeline.streams:
        create_history(lake.spark, stream, lake_url)
    create_quarantine(lake.spark, pipeline.name, lake_url)

    fill_topics(endpoints.kafka, pipeline, 0, WARM_ROWS)
    raw = f"{lake_url}/{pipeline.name}/raw"
    raw_append(lake.spark, endpoints.kafka, pipeline, raw, {})
    with running(lake.spark, pipeline, endpoints, deployment) as run:
        run.wait_for_rows(WARM_ROWS, timeout_s=900)
    warm = {stream.topic: WARM_ROWS // len(pipeline.streams) for stream in pipeline.streams}

    fill_topics(endpoints.kafka, pipeline, WARM_ROWS, ROWS)
    raw_s = [raw_append(lake.spark, endpoints.kafka, pipeline, raw, warm)]
    began = time.monotonic()
    with running(lake.spark, pipeline, endpoints, deployment) as run:
        run.wait_for_rows(ROWS, timeout_s=1800)
        drain_s = time.monotonic() - began
    raw_s.append(raw_append(lake.spark, endpoints.kafka, pipeline, raw, warm))
    # Before and after, so that a machine that grows busy does not favour one side.
    raw_rate = ROWS / (sum(raw_s) / len(raw_s))
    rows = sum(
        lake.spark.read.format("delta").load(table_path(lake_url, pipeline.name, stream.name)).count()
        for stream in pipeline.streams
    )
    assert rows == WARM_ROWS + ROWS
    write_figures(
        "drain",
        {
            "streams": len(pipeline.streams),
            "rows": ROWS,
            "drain_rows_per_s": round(ROWS / drain_s),
            "raw_append_rows_per_s": round(raw_rate),
            "ratio": round(ROWS / drain_s / raw_rate, 2),
            "batches": len(run.batches),
            "raw_append_s": [round(one, 1) for one in raw_s],
        },
    )


def raw_append(spark: SparkSession, kafka: str, pipeline: Pipeline, path: str, first: dict[str, int]) -> float:
    """Seconds to append the values of all topics from `first` on to one table, as they are."""
    starting = "earliest" if not first else str({topic: {"0": at} for topic, at in first.items()}).replace("'", '"')
    began = time.monotonic()
    (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", kafka)
        .option("subscribe", ",".join(stream.topic for stream in pipeline.streams))
        .option("startingOffsets", starting)
        .option("endingOffsets", "latest")
        .option("kafka.isolation.level", "read_committed")
        .load()
        .select("value")
        .write.format("delta")
        .mode("append")
        .save(path)
    )
    return time.monotonic() - began
