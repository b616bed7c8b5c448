"""The guardian against the real server, Connect and Debezium: what it says and restarts, and that its steps work."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from connectors import debezium
from connectors.guardian.facts import look_at_server
from connectors.guardian.guard import Guardian, Kept, Report, report_of
from connectors.plan import apply
from connectors.postgres import lost_slot, marker, source
from connectors.reads.table_reads import Source, source_is
from connectors.rest import Connect
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.settings import GuardSettings, Settings
from infra.local.layout import open_layout
from infra.local.postgres import endpoint
from tests.services.test_connectors_plan import Shop, new_shop, remove_shop

# No patience, so that a failure shows at once; frequent heartbeats, so that a slot moves at once.
OVERRIDES = {"errors.max.retries": 0, "heartbeat.interval.ms": 300}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Guarded:
    """A shop with a guardian of its own."""

    def __init__(self, shop: Shop, administrator: PostgresEndpoint) -> None:
        self.shop, self.administrator = shop, administrator
        self.slot = debezium.default_name(shop.pipeline)
        self.clock = Clock()
        self.guardian = self.another()

    def another(self, kept: Kept | None = None, **settings: Any) -> Guardian:
        given = GuardSettings(restart_after_s=10, **settings)
        return Guardian(self.shop.pipeline, self.shop.endpoints, given, kept, patience_s=30, clock=self.clock)

    def look(self) -> Report:
        return self.guardian.look()

    def kinds(self) -> set[str]:
        return {concern.kind for concern in self.look().concerns}

    def administer(self, *statements: str) -> None:
        with source.connected(self.administrator, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def fail(self, wait_until: Any) -> None:
        """Ends the connection that reads the slot, as a network or an administrator does, until the task has failed:
        one that is only starting tries again, ten seconds later, so it is met when it has confirmed something."""
        written = look_at_server(self.shop.endpoints.source, self.slot).wal_lsn

        def streams() -> bool:
            marker.emit(self.shop.endpoints.source)
            return bool((look_at(self).confirmed_lsn or 0) > written)

        wait_until(streams, 60, "the slot is read")

        def failed() -> bool:
            self.administer(
                "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots "
                f"WHERE slot_name = '{self.slot}'"
            )
            return "FAILED" in self.state

        wait_until(failed, 60, "the task fails")

    def do(self, steps: tuple[str, ...]) -> None:
        """What a person types: SQL at the source, the rest in a shell."""
        for step in steps:
            if step.endswith(";"):
                self.administer(step)
            elif step.startswith("curl "):
                subprocess.run(step, shell=True, check=True, timeout=60)
            elif step == "headrace apply":
                apply(self.shop.plan())
            else:
                assert step.startswith("headrace verify"), step

    @property
    def state(self) -> str:
        with Connect(self.shop.endpoints.connect_url) as connect:
            return str(connect.status(debezium.connector_name(self.shop.pipeline)))

    @property
    def keys(self) -> list[int]:
        return [change["after"]["id"] for change, _ in self.shop.changes("orders")]


@pytest.fixture(scope="module")
def applied(
    endpoints: Endpoints, deployment: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, PostgresEndpoint]]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "postgres.json").write_text(json.dumps(OVERRIDES))
    shop = new_shop(endpoints, deployment, folder, "orders")
    shop.run("CREATE TABLE noise (text text); INSERT INTO orders VALUES (1, 1, NULL)")
    apply(shop.plan())
    yield shop, endpoint(open_layout(deployment), endpoints.source.database, "postgres")
    remove_shop(shop)


@pytest.fixture
def guarded(applied: tuple[Shop, PostgresEndpoint], wait_until: Any) -> Guarded:
    """All is well, and the slot is read."""
    found = Guarded(*applied)
    wait_until(lambda: found.state == "connector RUNNING, tasks RUNNING" and not found.kinds(), 60, "nothing is wrong")
    wait_until(lambda: look_at(found).reader, 60, "the slot is read")
    return found


def look_at(guarded: Guarded) -> Any:
    found = look_at_server(guarded.shop.endpoints.source, guarded.slot).slot
    assert found
    return found


def test_an_idle_pipelines_slot_moves_while_other_tables_and_databases_write(
    guarded: Guarded, wait_until: Callable[..., object], endpoints: Endpoints
) -> None:
    before = look_at(guarded)
    guarded.shop.run("INSERT INTO noise SELECT repeat(md5(n::text), 100) FROM generate_series(1, 5000) n")
    with closing(psycopg2.connect(**endpoints.warehouse.dsn())) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(true, 'x', repeat('x', 99999))")
        other.commit()
    written = look_at_server(endpoints.source, guarded.slot).wal_lsn
    assert written - before.confirmed_lsn > 200_000
    guarded.administer("CHECKPOINT")  # tells how far a slot may forget; by itself every few minutes

    def moved() -> bool:
        now = look_at(guarded)
        return bool(now.confirmed_lsn > written and now.restart_lsn > before.restart_lsn)

    wait_until(moved, 60, "the slot moves without any change of a declared table")


def test_a_slot_that_lags_is_told_with_its_bytes(guarded: Guarded, wait_until: Callable[..., object]) -> None:
    shop, name = guarded.shop, debezium.connector_name(guarded.shop.pipeline)
    with Connect(shop.endpoints.connect_url) as connect:
        connect.stop(name)
        wait_until(lambda: not look_at(guarded).reader, 60, "the slot is free")
        guarded.guardian = guarded.another(retained_wal_bytes=2**20)
        guarded.look()
        shop.run("INSERT INTO noise SELECT md5(n::text) FROM generate_series(1, 40000) n")
        guarded.clock.now += 90
        report = guarded.look()
        severities = {concern.kind: concern.severity for concern in report.concerns}
        assert severities == {"wal kept": "critical", "slot unread": "warn", "connector not running": "warn"}
        assert report.critical
        assert (report.kept_wal_bytes or 0) >= (report.lag_bytes or 0) > 2 * 2**20
        assert report.budget_bytes == 2**20
        assert report_of(json.loads(json.dumps(report.as_json()))) == report
        (kept,) = (concern for concern in report.concerns if concern.kind == "wal kept")
        assert kept.steps[0] == "headrace apply"
    guarded.do(kept.steps[:1])
    guarded.guardian = guarded.another()
    wait_until(lambda: (guarded.look().lag_bytes or 0) < 2**20, 60, "the slot catches up")
    assert guarded.kinds() == set()


def test_a_failed_task_is_restarted_with_pauses_and_not_for_ever(
    guarded: Guarded, wait_until: Callable[..., object]
) -> None:
    guarded.guardian = guarded.another(restarts=2)
    guarded.fail(wait_until)
    report = guarded.look()
    assert [concern.kind for concern in report.concerns] == ["connector failed"]
    assert not report.critical
    assert report.done == (f"restarted what had failed of connector {report.connector}",)
    wait_until(lambda: guarded.state == "connector RUNNING, tasks RUNNING", 60, "the task runs")
    guarded.fail(wait_until)
    assert guarded.look().done == ()  # too early
    guarded.clock.now += 20
    assert guarded.look().done
    wait_until(lambda: guarded.state == "connector RUNNING, tasks RUNNING", 60, "the task runs")
    guarded.fail(wait_until)
    guarded.clock.now += 1000
    last = guarded.look()
    assert (last.done, last.critical, last.restarts, last.kept.restarts_total) == ((), True, 2, 2)
    assert "not restarted any more" in last.concerns[0].why
    guarded.do(last.concerns[0].steps[1:])
    guarded.shop.run("INSERT INTO orders VALUES (20, 1, NULL)")
    assert 20 in guarded.keys


def test_a_dropped_slot_is_told_not_restarted_and_its_steps_bring_all_rows(
    guarded: Guarded, wait_until: Callable[..., object]
) -> None:
    guarded.look()
    guarded.fail(wait_until)
    guarded.administer(f"SELECT pg_drop_replication_slot('{guarded.slot}')")
    guarded.shop.run("INSERT INTO orders VALUES (30, 1, NULL)")
    # Also one that begins only now knows it: Kafka holds changes of a slot that is not there.
    for guardian in (guarded.guardian, guarded.another()):
        report = guardian.look()
        assert [concern.kind for concern in report.concerns] == ["slot missing", "connector failed"]
        assert report.critical
        assert report.done == ()
        assert report.wal_status == "missing"
    guarded.do(report.concerns[0].steps)
    assert 30 in guarded.keys
    wait_until(lambda: not guarded.kinds(), 60, "nothing is wrong any more")


def test_changes_that_somebody_else_read_from_the_slot_are_told_until_all_is_read_again(
    guarded: Guarded, wait_until: Callable[..., object]
) -> None:
    """What Debezium would do of itself hangs on its settings; once it has read on, nobody else sees the gap."""
    with Connect(guarded.shop.endpoints.connect_url) as connect:
        connect.stop(debezium.connector_name(guarded.shop.pipeline))
    wait_until(lambda: not look_at(guarded).reader, 60, "the slot is free")
    guarded.shop.run("INSERT INTO orders VALUES (40, 1, NULL)")
    guarded.administer(f"SELECT pg_replication_slot_advance('{guarded.slot}', pg_current_wal_lsn())")
    report = guarded.look()
    assert [(concern.kind, concern.severity) for concern in report.concerns] == [("gap", "critical")]
    # A process that begins now knows it too.
    guarded.guardian = guarded.another(report.kept)
    guarded.do(report.concerns[0].steps)
    guarded.shop.run("INSERT INTO orders VALUES (41, 1, NULL)")
    assert {40, 41} <= {*guarded.keys}
    wait_until(lambda: not guarded.kinds(), 60, "nothing is wrong any more")


def test_another_server_and_another_reader_are_told(guarded: Guarded, wait_until: Callable[..., object]) -> None:
    wait_until(lambda: look_at(guarded).reader, 60, "the slot is read")
    kafka, pipeline = guarded.shop.endpoints.kafka, guarded.shop.pipeline
    now = lost_slot.identify(guarded.shop.endpoints.replicator)
    for other in (Source("1", now.timeline), Source(now.system_identifier, 99)):
        source_is(kafka, pipeline, other)
        (moved,) = guarded.another().look().concerns
        assert (moved.kind, moved.severity) == ("server changed", "critical")
    source_is(kafka, pipeline, now)
    mine = replace(guarded.shop.endpoints, replicator=replace(guarded.shop.endpoints.replicator, user="somebody"))
    (read,) = Guardian(guarded.shop.pipeline, mine, GuardSettings(), patience_s=30).look().concerns
    assert read.kind == "slot read by another"
    assert "Debezium Streaming" in read.what


def test_a_connector_that_somebody_removed_does_not_go_on_at_another_server(guarded: Guarded) -> None:
    """Connect keeps its offsets, and a connector of that name goes on there: behind changes that were never read."""
    shop, name = guarded.shop, debezium.connector_name(guarded.shop.pipeline)
    now = lost_slot.identify(shop.endpoints.replicator)
    with Connect(shop.endpoints.connect_url) as connect:
        connect.delete(name)
        source_is(shop.endpoints.kafka, shop.pipeline, Source(now.system_identifier, now.timeline + 1))
        planned = shop.plan()
        assert [change.kind for change in planned.changes] == ["connector"]
        assert "another timeline" in planned.changes[0].before
        apply(planned)
        assert connect.config(name)
    shop.run("INSERT INTO orders VALUES (50, 1, NULL)")
    assert 50 in guarded.keys
    assert shop.plan().changes == []


def test_an_old_transaction_is_told_also_where_its_age_is_hidden(guarded: Guarded) -> None:
    with closing(psycopg2.connect(**guarded.administrator.dsn())) as holding, holding.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
        assert guarded.kinds() == set()
        guarded.clock.now += 4000
        (old,) = guarded.look().concerns
        assert old.kind == "old transaction"
        assert f"pg_terminate_backend({holding.info.backend_pid})" in old.steps[-1]
    guarded.look()


def test_parts_that_do_not_answer_are_concerns(guarded: Guarded, tmp_path: Path) -> None:
    nowhere = replace(
        guarded.shop.endpoints,
        source=replace(guarded.shop.endpoints.source, port=1),
        connect_url="http://somebody:hidden@127.0.0.1:1",
    )
    guardian = Guardian(guarded.shop.pipeline, nowhere, GuardSettings(), patience_s=0.3, clock=guarded.clock)
    assert {concern.severity for concern in guardian.look().concerns} == {"warn"}
    guarded.clock.now += 61
    report = guardian.look()
    assert [(concern.kind, concern.severity) for concern in report.concerns] == [
        ("source away", "critical"),
        ("connect away", "critical"),
    ]
    assert "hidden" not in json.dumps(report.as_json())
