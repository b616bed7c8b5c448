"""What a person sees of a first read that is under way, and of a source that is ahead: `status` and the metrics."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import debezium
from connectors.guardian.guard import Guardian
from connectors.plan import apply
from connectors.postgres import source
from connectors.reads.progress import TableRead, reads_under_way
from connectors.rest import Connect
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.settings import GuardSettings, Settings
from headrace.app import App
from headrace.background import monitor_port
from headrace.commands.local import status
from headrace.guarding import Guarding, source_file
from headrace.source_metrics import SourceCollector
from infra.local.layout import open_layout
from infra.local.postgres import endpoint
from streaming_jobs.live.monitor import run_monitor
from streaming_jobs.stream_status import StreamStatus, write_status
from tests.conftest import WaitUntil
from tests.services.test_connectors_plan import Shop, new_shop, remove_shop

ROWS = 40_000
# Slow enough to be met in the middle.
OVERRIDES = {"max.batch.size": "100", "max.queue.size": "200", "snapshot.fetch.size": "200"}


class Reading:
    """The source's process that sends the table's rows to Debezium. While it stands still, so does the read; nobody
    else waits for it, since it is stopped only where it waits for Debezium itself."""

    def __init__(self, administrator: PostgresEndpoint, wait_until: WaitUntil) -> None:
        self._administrator, self._wait_until = administrator, wait_until
        self._pid = int(wait_until(lambda: self._ask("application_name LIKE 'Debezium%%'", "pid"), 120, "a read"))

    def _ask(self, which: str, what: str) -> Any:
        with source.connected(self._administrator) as connection, connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {what} FROM pg_stat_activity WHERE {which} AND xact_start IS NOT NULL "
                "AND backend_type = 'client backend' AND query LIKE '%%orders%%'"
            )
            row = cursor.fetchone()
        return row[0] if row else None

    def stop(self) -> None:
        def stopped() -> bool:
            os.kill(self._pid, signal.SIGSTOP)
            if str(self._ask(f"pid = {self._pid}", "wait_event")).startswith("Client"):
                return True
            self.go_on()
            return False

        self._wait_until(stopped, 60, "the read to stand still")

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("first_read")
    (folder / "postgres.json").write_text(json.dumps(OVERRIDES))
    shop = new_shop(endpoints, deployment, folder, "orders")
    shop.run(f"INSERT INTO orders SELECT n, n, NULL FROM generate_series(1, {ROWS}) n; ANALYZE orders")
    yield shop
    remove_shop(shop)


@pytest.fixture(scope="module")
def app(shop: Shop, deployment: Settings) -> App:
    app = App(deployment.model_copy(update={"pipeline": shop.pipeline.name}))
    app.__dict__ |= {"pipeline": shop.pipeline, "endpoints": shop.endpoints}
    return app


@pytest.fixture(scope="module")
def monitor(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """As `headrace monitor` does it, at the same port; once there are topics."""
    collector = SourceCollector(app.pipeline.name, source_file(app.settings))
    worker = multiprocessing.get_context("spawn").Process(
        target=run_monitor,
        args=(app.pipeline, app.endpoints.kafka, monitor_port(app), tmp_path_factory.mktemp("live"), [collector]),
    )
    worker.start()
    yield
    worker.terminate()
    worker.join(60)


def page(app: App, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor_port(app)}/{path}", timeout=30) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def told(app: App) -> dict[str, Any]:
    shown = CliRunner().invoke(status, ["--json"], obj=app)
    found: dict[str, Any] = json.loads(shown.stdout)[0]
    return found


def test_a_first_read_is_shown_and_measured_while_it_runs(
    shop: Shop, app: App, deployment: Settings, wait_until: WaitUntil, request: pytest.FixtureRequest
) -> None:
    kafka, pipeline = shop.endpoints.kafka, shop.pipeline
    assert told(app)["reads"] == []  # there is nothing yet
    applying = Thread(target=lambda: apply(shop.plan()))
    applying.start()
    reading = Reading(endpoint(open_layout(deployment), shop.endpoints.source.database, "postgres"), wait_until)

    def further(than: int) -> TableRead:
        """The read, some rows later, and standing still."""

        def steps() -> TableRead | None:
            reading.go_on()
            time.sleep(0.3)
            reading.stop()
            found = reads_under_way(kafka, pipeline)
            return found[0] if found and (found[0].rows or 0) > than else None

        return wait_until(steps, 120, f"more than {than} rows")

    def all_arrived() -> TableRead | None:
        before = reads_under_way(kafka, pipeline)
        time.sleep(1)
        return before[0] if reads_under_way(kafka, pipeline) == before else None

    try:
        reading.stop()
        one = further(than=0)
        other = further(than=one.rows or 0)
        held = wait_until(all_arrived, 60, "the last rows that were sent are in Kafka")
        assert 0 < (one.rows or 0) < (other.rows or 0) <= (held.rows or 0) < ROWS
        assert (held.table, held.again) == (f"{shop.schema}.orders", False)
        applying.join(timeout=60)  # it does not wait for the end of a long read

        report = Guarding(app).round()
        assert report.first_read_s
        assert "first read" not in {concern.kind for concern in report.concerns}
        (shown,) = told(app)["reads"]
        # Each batch of rows is a transaction, whose end is a record too.
        assert (shown["stream"], shown["rows"]) == ("orders", held.rows)
        assert shown["rows, about"] == ROWS
        said = f"orders: first read: {held.rows:,} of about {ROWS:,} rows"
        assert said in CliRunner().invoke(status, obj=app).output

        later = Guardian(pipeline, shop.endpoints, GuardSettings(), wall=lambda: time.time() + 7200)
        (old,) = [concern for concern in later.look().concerns if concern.kind == "first read"]
        assert old.what == "tables have been read for 2 h"
        assert "keeps all WAL" in old.why

        request.getfixturevalue("monitor")
        line = f'headrace_source_first_read_seconds{{pipeline="{pipeline.name}"}} {report.first_read_s}'
        wait_until(lambda: line in page(app, "metrics").splitlines(), 60, "the guardian's figures on the page")
    finally:
        reading.go_on()
    wait_until(lambda: not reads_under_way(kafka, pipeline), 120, "the end of the read")
    assert told(app)["reads"] == []
    assert len(shop.changes("orders")) == ROWS
    assert Guarding(app).round().first_read_s == 0
    assert f'first_read_seconds{{pipeline="{pipeline.name}"}} 0.0' in page(app, "metrics")


def test_a_source_that_is_ahead_is_shown_in_bytes_and_seconds_with_its_last_event(
    shop: Shop, app: App, monitor: None, wait_until: WaitUntil
) -> None:
    """Lag in records is the engine's: see test_streams_engine."""
    if shop.plan().changes:
        apply(shop.plan())
    shop.changes("orders")
    now = datetime.now(UTC).isoformat()
    write_status(
        app.status_file, shop.pipeline.name, "run", now, [StreamStatus("orders", "flowing", 1, 1, 0, 1, 1, None)]
    )
    before = Guarding(app).round()
    assert told(app)["streams"][0]["lag bytes"] == before.lag_bytes
    name = debezium.connector_name(shop.pipeline)
    with Connect(shop.endpoints.connect_url) as connect:
        connect.stop(name)
        connect.wait_stopped(name)
        shop.run("UPDATE orders SET price = price + 1")
        committed = time.time()
        lag = Guarding(app).round().lag_bytes or 0
        assert lag > (before.lag_bytes or 0) + ROWS * 40  # a new row is no smaller
        assert told(app)["streams"][0]["lag bytes"] == lag
        time.sleep(5)
        connect.resume(name)
    seen: dict[str, Any] = {}

    def arrives() -> bool:
        seen.update(json.loads(page(app, "streams") or "[{}]")[0])
        return bool((seen.get("last_event_time") or 0) > committed - 5 and seen["delay_s"])

    wait_until(arrives, 120, "the changes of before")
    (row,) = told(app)["streams"]
    assert row["delay s"] >= 5
    assert seen["last_event_time"] <= committed + 1
    assert row["last event"] == datetime.fromtimestamp(seen["last_event_time"], UTC).astimezone().strftime("%H:%M:%S")
