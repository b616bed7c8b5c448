"""A first read of many rows, and the catch-up of as many changes: Connect alone, and headrace from end to end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from connectors import debezium
from connectors.postgres import marker
from connectors.postgres.plan import plan
from connectors.postgres.source import connected
from connectors.reads import snapshots
from connectors.removal import remove
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline
from streaming_jobs.tables import create_history, create_quarantine
from tests.bench.bench_pipeline import DDL, TABLES, bench_pipeline
from tests.bench.conftest import Lake
from tests.bench.cores import a_processor_each, two_for_the_lake
from tests.bench.engine_run import Run, running, write_figures

ROWS = int(os.environ.get("HEADRACE_BENCH_ROWS", "1000000")) // TABLES * TABLES
ROWS_PER_TRANSACTION = 1000
WARM_ROWS = 400_000  # the worker's code has been compiled by then, and most of the lake's
PATIENCE_S = 3000.0
FILL = """
insert into {schema}.t{table}
select n, 'name of ' || n % 10000, n % 1000 + 0.5, n % 97, now() from generate_series(1, {rows}) n
"""
CHANGE = """
do $$ begin for begins in 1..{rows} by {step} loop
  update {schema}.t{table} set amount = amount + 1, updated_at = now() where id >= begins and id < begins + {step};
  commit;
end loop; end $$
"""


class Source:
    """One pipeline over eight tables of its own."""

    def __init__(self, endpoints: Endpoints, settings: Settings, folder: Path, rows: int) -> None:
        schema = f"source_{uuid4().hex[:6]}"
        self.endpoints, self.settings, self.rows = endpoints, settings, rows
        self.pipeline: Pipeline = bench_pipeline(schema, folder, schema)
        self._run(f"create schema {schema}")
        for table in range(TABLES):
            self._run(DDL.format(schema=schema, table=f"t{table}"))
            self._run(FILL.format(schema=schema, table=table, rows=rows // TABLES))

    def _run(self, statement: str) -> None:
        with connected(self.endpoints.source, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def prepare(self) -> None:
        """All that `apply` does but for the connector's start."""
        *before, self._connector = plan(self.pipeline, self.endpoints, self.settings).changes
        for change in before:
            change.apply()

    def start(self) -> tuple[float, float]:
        """The connector starts, and so the first read; the clocks before."""
        began = _clocks()
        self._connector.apply()
        return began

    def first_read_ends(self) -> None:
        """Returns when Kafka has every row: Debezium tells it in the same transactions."""
        deadline = time.monotonic() + PATIENCE_S
        while snapshots.reads(self.endpoints.kafka, self.pipeline).last != "COMPLETED":
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def change_all(self) -> tuple[float, float]:
        """Every row is changed once while the connector is stopped; the clocks when it began to start again."""
        name = debezium.connector_name(self.pipeline)
        with Connect(self.endpoints.connect_url) as connect:
            connect.stop(name)
            connect.wait_stopped(name)
            for table in range(TABLES):
                rows = self.rows // TABLES
                schema = self.pipeline.name
                self._run(CHANGE.format(schema=schema, table=table, rows=rows, step=ROWS_PER_TRANSACTION))
            began = _clocks()
            connect.resume(name)
        return began

    def caught_up(self) -> None:
        """Returns when Kafka has every change."""
        marker.quiesced(self.pipeline, self.endpoints, timeout_s=PATIENCE_S)

    def remove(self) -> None:
        remove(self.pipeline, self.endpoints, with_topics=True)
        self._run(f"drop schema {self.pipeline.name} cascade")


def alone(source: Source) -> dict[str, float]:
    """Seconds until Kafka has all, with nothing that reads from there."""
    source.prepare()
    return _took(source, source.first_read_ends, source.caught_up)


def end_to_end(source: Source, run: Run) -> dict[str, float]:
    """Seconds until the lake has all, and its first row; the streams know beforehand where their tables stand, as
    those of a `headrace run` that is up do."""
    source.prepare()
    run.wait_until_ready(PATIENCE_S)
    began = time.time()
    found = _took(
        source,
        lambda: run.wait_for_rows(source.rows, PATIENCE_S),
        lambda: run.wait_for_rows(2 * source.rows, PATIENCE_S),
    )
    batches = [at - began for at, _ in run.batches]
    return found | {"first_row": batches[0], "first_read_batches": sum(at <= found["first_read"] for at in batches)}


def _took(source: Source, read: Callable[[], None], changed: Callable[[], None]) -> dict[str, float]:
    """Seconds of both parts, and how long all processors of the machine worked meanwhile."""
    found = {}
    for what, begin, end in (("first_read", source.start, read), ("catch_up", source.change_all, changed)):
        began, busy_before = begin()
        end()
        ended, busy_after = _clocks()
        found |= {what: ended - began, f"{what}_cpu": busy_after - busy_before}
    return found


def _clocks() -> tuple[float, float]:
    """Seconds that only grow, and for how many of them a processor of this machine worked, all together."""
    times = psutil.cpu_times()
    return time.monotonic(), times.user + times.system


@pytest.mark.timeout(4 * PATIENCE_S)
def test_on_shared_processors(lake: Lake, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> None:
    """Where both are busy, what headrace works it takes from Connect."""
    first_read_and_catch_up("sources", lake, endpoints, deployment, tmp_path)


@pytest.mark.timeout(4 * PATIENCE_S)
def test_on_a_processor_each(lake: Lake, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> None:
    """As on machines of their own, where the slower one leads. Connect has one processor also when it is alone."""
    with a_processor_each(deployment, lake.spark):
        first_read_and_catch_up("sources_a_processor_each", lake, endpoints, deployment, tmp_path)


@pytest.mark.timeout(4 * PATIENCE_S)
def test_two_processors_for_the_lake(lake: Lake, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> None:
    """As many as Spark runs tasks at once, by default. One connector reads with one thread, whatever it is given."""
    with two_for_the_lake(deployment, lake.spark):
        first_read_and_catch_up("sources_two_for_the_lake", lake, endpoints, deployment, tmp_path)


def first_read_and_catch_up(name: str, lake: Lake, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> None:
    """Connect alone before and after, so that a machine that grows busy does not favour one side."""
    seen: dict[str, list[dict[str, float]]] = {"alone": [], "end to end": []}
    lake_url, drained_s, cold_first_row_s, batches = f"{endpoints.hdfs_url}/lake", 0.0, 0.0, 0
    runs = (("cold", WARM_ROWS), ("warm", WARM_ROWS), ("alone", ROWS), ("end to end", ROWS), ("alone", ROWS))
    for kind, rows in runs:
        source = Source(endpoints, deployment, tmp_path, rows)
        try:
            for stream in source.pipeline.streams:
                create_history(lake.spark, stream, lake_url)
            create_quarantine(lake.spark, source.pipeline.name, lake_url)
            if kind in ("cold", "end to end"):
                with running(lake.spark, source.pipeline, endpoints, deployment) as run:
                    found = end_to_end(source, run)
                    if kind == "cold":
                        cold_first_row_s = found["first_row"]
                    else:
                        seen[kind].append(found)
                        batches = len(run.batches)
                continue
            found = alone(source)
            if not seen["alone"]:
                # What Kafka has now, taken in at one go: it warms the session, and is the lake's own ceiling.
                began = time.monotonic()
                with running(lake.spark, source.pipeline, endpoints, deployment) as run:
                    run.wait_for_rows(2 * source.rows, PATIENCE_S)
                drained_s = time.monotonic() - began
            if kind == "alone":
                seen[kind].append(found)
        finally:
            source.remove()
    figures: dict[str, object] = {"rows": ROWS, "changes": ROWS, "rows_per_transaction": ROWS_PER_TRANSACTION}
    for what in ("first_read", "catch_up"):
        ceilings = [one[what] for one in seen["alone"]]
        (whole,) = (one[what] for one in seen["end to end"])
        ceiling = sum(ceilings) / len(ceilings)
        figures |= {
            f"{what}_connect_alone_s": [round(one, 1) for one in ceilings],
            f"{what}_end_to_end_s": round(whole, 1),
            f"{what}_connect_alone_rows_per_s": round(ROWS / ceiling),
            f"{what}_end_to_end_rows_per_s": round(ROWS / whole),
            f"{what}_ratio": round(ceiling / whole, 2),
            f"{what}_connect_alone_cpu_s": [round(one[f"{what}_cpu"], 1) for one in seen["alone"]],
            f"{what}_end_to_end_cpu_s": [round(one[f"{what}_cpu"], 1) for one in seen["end to end"]],
        }
    (whole,) = seen["end to end"]
    figures |= {"first_row_s": round(whole["first_row"], 1), "first_row_cold_s": round(cold_first_row_s, 1)}
    figures |= {"first_read_batches": whole["first_read_batches"], "end_to_end_batches": batches}
    figures |= {"lake_alone_rows_per_s": round(2 * ROWS / drained_s)}
    write_figures(name, figures)
