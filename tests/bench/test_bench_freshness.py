"""From a source's commit to a row that can be read in the lake: eight tables, 1,000 changes a second, warm."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from connectors.plan import apply
from connectors.postgres.plan import plan
from connectors.postgres.source import connected
from connectors.removal import remove
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline
from infra.local import deployment as local_deployment
from streaming_jobs.lake import table_path
from streaming_jobs.tables import create_history, create_quarantine
from tests.bench.bench_pipeline import DDL, TABLES, bench_pipeline
from tests.bench.conftest import Lake
from tests.bench.engine_run import ENGINES, Run, cpu_s, quantile, running, spark_process, write_figures
from tests.bench.hops import hops

CHANGES_PER_S = 1000
CHANGES_PER_TRANSACTION = 10
WARM_S = 150.0
MEASURED_S = 60.0


@pytest.mark.parametrize("engine", ENGINES)
def test_freshness(lake: Lake, endpoints: Endpoints, deployment: Settings, tmp_path: Path, engine: str) -> None:
    schema = f"fresh_{uuid4().hex[:6]}"
    pipeline = bench_pipeline(schema, tmp_path, schema)
    with connected(endpoints.source, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {schema}")
        for stream in pipeline.streams:
            cursor.execute(DDL.format(schema=schema, table=stream.table_source.table))
    lake_url = f"{endpoints.hdfs_url}/lake"
    for stream in pipeline.streams:
        create_history(lake.spark, stream, lake_url)
    create_quarantine(lake.spark, pipeline.name, lake_url)
    apply(plan(pipeline, endpoints, deployment))
    stop = threading.Event()
    writer = threading.Thread(target=change_rows, args=(endpoints, schema, stop), name="writer")
    try:
        writer.start()
        with running(lake.spark, pipeline, endpoints, deployment, engine) as run:
            run.wait_for_rows(1, timeout_s=600)
            first_row_s = time.monotonic() - lake.began
            time.sleep(WARM_S)
            jvm = spark_process(lake.spark)
            before, began = cpu_s(jvm), time.time()
            time.sleep(MEASURED_S)
            used, until = cpu_s(jvm) - before, time.time()
            memory = {
                part.name: round(part.memory_bytes / 2**20)
                for part in local_deployment.status(deployment)
                if part.memory_bytes
            }
            memory["streaming driver (JVM)"] = round(jvm.memory_info().rss / 2**20)
            memory["streaming driver (Python)"] = round(psutil.Process().memory_info().rss / 2**20)
            time.sleep(5)
        each = hops(lake, endpoints.kafka, lake_url, pipeline, run, began, until)
    finally:
        stop.set()
        writer.join(timeout=30)
        remove(pipeline, endpoints, with_topics=True)
    ages = [
        age for stream in pipeline.streams for age in row_ages(lake, lake_url, pipeline, stream.name, run, began, until)
    ]
    batches = [report for at, report in run.batches if began <= at <= until]
    write_figures(
        f"freshness_{engine}",
        {
            "streams": len(pipeline.streams),
            "changes_per_s": round(len(ages) / (until - began)),
            "p50_s": quantile(ages, 0.5),
            "p99_s": quantile(ages, 0.99),
            "max_s": round(max(ages), 3),
            "hops": each,
            "commits_per_s": round(len(batches) / (until - began), 1),
            # Streams that waited and why: none of them may be the figure's reason.
            "waits": sorted({f"{report.stream}: {report.event}: {report.message}"[:200] for report in run.others}),
            "batch_p50_s": quantile([report.took_s for report in batches], 0.5),
            "driver_cores_used": round(used / (until - began), 2),
            "driver_cpu_s_per_commit": round(used / max(1, len(batches)), 3),
            # Of the session's first engine only.
            "session_start_to_first_row_s": round(first_row_s, 1) if engine == "chosen" else None,
            "memory_mib": memory,
        },
    )


def change_rows(endpoints: Endpoints, schema: str, stop: threading.Event) -> None:
    """Inserts and updates at a steady rate, a few per transaction, over all tables."""
    statement = (
        "insert into {schema}.t{table} values (%s, %s, 9.50, 1, now()) "
        "on conflict (id) do update set amount = excluded.amount + 1, updated_at = now()"
    )
    began, done = time.monotonic(), 0
    with connected(endpoints.source, autocommit=True) as connection, connection.cursor() as cursor:
        while not stop.is_set():
            if done > (time.monotonic() - began) * CHANGES_PER_S:
                stop.wait(0.005)
                continue
            table = done // CHANGES_PER_TRANSACTION % TABLES
            sql = statement.format(schema=schema, table=table)
            one = [cursor.mogrify(sql, (n % 50_000, f"name {n}")) for n in range(done, done + CHANGES_PER_TRANSACTION)]
            cursor.execute(b"begin; " + b"; ".join(one) + b"; commit")
            done += CHANGES_PER_TRANSACTION


def row_ages(
    lake: Lake, lake_url: str, pipeline: Pipeline, table: str, run: Run, began: float, until: float
) -> list[float]:
    """For every row that became readable in the window: seconds since its transaction was committed at the source."""
    spans = sorted(
        (one.first, one.next, at)
        for at, report in run.batches
        if report.stream == table and began <= at <= until
        for one in report.ranges
    )
    if not spans:
        return []
    rows = (
        lake.spark.read.format("delta")
        .load(table_path(lake_url, pipeline.name, table))
        .where(f"_offset >= {spans[0][0]} and _offset < {spans[-1][1]} and _snapshot is null")
        .selectExpr("_offset", "cast(_event_time as double) as at")
        .orderBy("_offset")
        .collect()
    )
    ages, index = [], 0
    for row in rows:
        while row["_offset"] >= spans[index][1]:
            index += 1
        ages.append(spans[index][2] - row["at"])
    return ages
