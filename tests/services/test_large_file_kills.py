"""The streaming process is killed with kill -9 while it takes a large file in: each of its rows once, as by row."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.failpoints import VARIABLE
from contracts.settings import RunSettings, Settings, SparkSettings
from contracts.stream import Pipeline
from headrace.app import App
from headrace.overview import files_overview
from tests.conftest import WaitUntil
from tests.services.file_lake import FileLake, file_lake
from tests.services.large_file import BY_ROW, FILE, STREAM, TWIN, assert_the_same_as_by_row, content
from tests.services.streams_process import command, flowing

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]  # two more JVMs start

COUNTS = ("rows", "accepted", "duplicate", "conflicting", "quarantined")
ROWS, BATCH_ROWS = 6_000, 2_600
"""The file takes three batches."""


@pytest.fixture
def settings(deployment: Settings, tmp_path: Path) -> Settings:
    run, spark = RunSettings(trigger_s=0.2, max_chunk_rows_per_batch=BATCH_ROWS), SparkSettings(driver_memory="1g")
    return deployment.model_copy(update={"data_dir": tmp_path, "run": run, "spark": spark})


@contextmanager
def dying(place: str, pipeline: Pipeline, endpoints: Endpoints, settings: Settings) -> Iterator[None]:
    """The streams run in a process with a JVM of its own, which kills itself at this place before the block ends."""
    log = settings.data_dir / f"{place.partition(':')[0]}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            command(pipeline, endpoints, settings, settings.data_dir / "killed.json", "run"),
            env={**os.environ, VARIABLE: place},
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
        try:
            yield
            assert process.wait(180) == -signal.SIGKILL, log.read_text()[-3000:]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its JVM has no time to end in order either
            process.wait()


def offsets(lake: FileLake, table: str) -> set[int]:
    """Of which chunks the table has rows; the quarantine also those that no reader sees yet."""
    column = "`offset`" if table == "quarantine" else "_offset"
    rows = lake.spark.read.format("delta").load(lake.path(table))
    if table == "quarantine":
        rows = rows.where("stream = 'orders'")
    return {row[0] for row in rows.selectExpr(column).distinct().collect()}


def test_a_kill_before_or_after_the_commit_of_a_batch_of_chunks_takes_each_row_in_once(
    spark: SparkSession,
    endpoints: Endpoints,
    deployment: Settings,
    settings: Settings,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    """One kill after another, each in the batch that the one before left half done."""
    large, twin = tmp_path / FILE, tmp_path / TWIN
    for path in (large, twin):
        path.write_bytes(content(ROWS))
    with file_lake(spark, endpoints, STREAM, BY_ROW, cut_bytes=15_000, lake="lake") as lake:
        only_large = replace(lake.pipeline, streams=(lake.pipeline.stream("orders"),))
        with dying("before_history_commit:2", only_large, endpoints, settings):
            # There is nothing to take in yet: what is done here costs no time.
            assert [one.state for one in lake.push(twin)] == ["sent"]
            assert lake.take_in("by_row") is not None
            assert [one.state for one in lake.push(large)] == ["sent"]
        (sent,) = lake.ranges(lake.pipeline.stream("orders"))
        first = offsets(lake, "orders")
        assert first == set(range(len(first))), "the first batch is whole"
        refused = offsets(lake, "quarantine")
        assert max(refused) > max(first), "the second was refused rows of before it was to be committed"

        with dying("after_history_commit", only_large, endpoints, settings):
            pass
        both = offsets(lake, "orders")
        assert both == set(range(len(both)))
        assert len(first) < len(both) < len(sent)

        with flowing(spark, only_large, endpoints, settings, tmp_path / "status.json") as reports:
            wait_until(lambda: reports and reports[-1].event == "batch", 120, "the last batch")
        taken = [found for one in reports for found in one.ranges]
        assert [(one.first, one.next) for one in taken] == [(len(both), sent.next)]

        assert lake.book() == []
        assert_the_same_as_by_row(lake)
        orders, by_row = (
            [sum(row[name] for row in lake.table("ledger") if row["stream"] == stream) for name in COUNTS]
            for stream in ("orders", "by_row")
        )
        assert orders == by_row
        assert orders[0] == ROWS + 5
        assert min(orders) > 0
        spark.sql(f"create schema {lake.pipeline.name}")
        try:
            app = App(deployment)
            app.__dict__ |= {"pipeline": lake.pipeline, "endpoints": endpoints}
            states = {row["file"]: (row["state"], row["rows"]) for row in files_overview(app)}
            assert states == dict.fromkeys((FILE, TWIN), ("done", ROWS + 5))
        finally:
            spark.sql(f"drop schema {lake.pipeline.name}")
