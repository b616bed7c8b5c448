"""What the guardian remembers from look to look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.guardian import guard
from connectors.guardian.facts import Reader, Server, Slot
from connectors.guardian.guard import Guardian, Kept
from connectors.reads.snapshots import Reads
from connectors.reads.table_reads import Source
from connectors.rest import Connect, ConnectorStatus
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.settings import GuardSettings
from contracts.stream import Column, Pipeline, Stream, TableSource

MIB = 2**20
ORDERS = Stream("shop", "orders", "shop.s.orders", TableSource("s", "orders"), (Column("id", "bigint"),), ("id",))
ROLE = PostgresEndpoint("db", 5432, "shop", "replicator", SecretStr(""))
ENDPOINTS = Endpoints("kafka:1", "http://connect:1", "", "", ROLE, ROLE, ROLE, "", 0)
SLOT = Slot("reserved", 100, 200, MIB, 900, "Debezium Streaming", "replicator", 7)
BEATS = {"heartbeat.interval.ms": "10000", "heartbeat.action.query": "SELECT 1"}
RUNS = Reader(ConnectorStatus("RUNNING", ("RUNNING",), ""), BEATS, 200)
FAILED = replace(RUNS, status=ConnectorStatus("RUNNING", ("FAILED",), "Boom"))


class World:
    """What the guardian finds when it looks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.server = Server("1", 1000, None, SLOT, timeline=1)
        self.reader = RUNS
        self.reads = Reads(frozenset({"s.orders"}), "COMPLETED", 1, 5, 1, {"s.orders": 1})
        self.noted: Source | None = None
        self.restarted: list[float] = []
        self.away = False

    def look(self, *_: object) -> Server:
        if self.away:
            raise ServiceUnavailable("Postgres did not accept the connection")
        return self.server

    def guardian(self, folder: Path, kept: Kept | None = None) -> Guardian:
        pipeline = Pipeline("shop", (ORDERS,), folder, folder, folder)
        return Guardian(pipeline, ENDPOINTS, GuardSettings(restarts=3), kept, clock=lambda: self.now)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(guard, "look_at_server", found.look)
    monkeypatch.setattr(guard, "look_at_reader", lambda *_: found.reader)
    monkeypatch.setattr(guard, "look_at_notes", lambda *_: (found.reads, found.noted))
    monkeypatch.setattr(Connect, "restart", lambda *_: found.restarted.append(found.now))
    return found


def kinds(guardian: Guardian) -> list[str]:
    return [concern.kind for concern in guardian.look().concerns]


def test_a_slot_that_stands_still_while_much_is_written(world: World, tmp_path: Path) -> None:
    guardian = world.guardian(tmp_path)
    for world.now in (0.0, 300.0, 599.0):
        assert kinds(guardian) == []
        world.server = replace(world.server, wal_lsn=world.server.wal_lsn + 100 * MIB)
    world.now = 1000.0
    assert kinds(guardian) == ["slot stands still"]
    world.server = replace(world.server, slot=replace(SLOT, restart_lsn=101))
    assert kinds(guardian) == []


def test_growth_is_that_of_the_last_minutes(world: World, tmp_path: Path) -> None:
    guardian = world.guardian(tmp_path)
    for world.now, kept in ((0.0, 0), (1000.0, 6 * 1024 * MIB), (1100.0, 6 * 1024 * MIB + 100 * MIB)):
        world.server = replace(world.server, slot=replace(SLOT, kept_bytes=kept))
        report = guardian.look()
    assert "reached in 67 min" in report.concerns[0].what  # 3,996 MiB at 1 MiB a second


def test_pauses_double_and_begin_anew_once_it_has_run_for_long(world: World, tmp_path: Path) -> None:
    guardian = world.guardian(tmp_path)
    world.reader = FAILED
    for second in range(40):
        world.now = float(second)
        guardian.look()
    assert world.restarted == [0, 5, 15]
    assert guardian.look().critical
    world.reader = RUNS
    for world.now in (100.0, 701.0):
        guardian.look()
    world.reader, world.now = FAILED, 800.0
    report = guardian.look()
    assert (world.restarted[-1], report.restarts, report.kept.restarts_total) == (800, 1, 4)


def test_no_restart_is_spent_while_the_source_is_away(world: World, tmp_path: Path) -> None:
    """However long that is; and whether it would go on behind a gap, the source alone can say."""
    guardian = world.guardian(tmp_path)
    world.reader, world.away = FAILED, True
    for hour in range(1, 10):
        world.now = hour * 3600.0
        told = {concern.kind: concern.why for concern in guardian.look().concerns}
        assert told.keys() == {"source away", "connector failed"}
        assert "restarted once the source answers" in told["connector failed"]
    assert world.restarted == []
    world.away = False
    assert guardian.look().done
    assert world.restarted == [world.now]


def test_no_restart_is_promised_behind_changes_that_were_never_read(world: World, tmp_path: Path) -> None:
    guardian = world.guardian(tmp_path, Kept(gap="somebody else read the slot", gap_ms=1))
    world.reader, world.away = FAILED, True
    told = {concern.kind: concern.why for concern in guardian.look().concerns}
    assert "restarted" not in told["connector failed"]


def test_a_look_of_status_restarts_nothing(world: World, tmp_path: Path) -> None:
    world.reader = FAILED
    pipeline = Pipeline("shop", (ORDERS,), tmp_path, tmp_path, tmp_path)
    report = Guardian(pipeline, ENDPOINTS, GuardSettings(), restart=False).look()
    assert (world.restarted, report.done) == ([], ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": Server("1", 1000, None, replace(SLOT, confirmed_lsn=201))},
        {"server": Server("2", 1000, None, SLOT)},
        {"server": Server("1", 1000, None, SLOT, timeline=2)},
    ],
)
def test_missed_changes_are_told_until_every_table_was_read_again(
    world: World, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    guardian = world.guardian(tmp_path)
    assert kinds(guardian) == []
    world.server, world.reader = wrong["server"], FAILED
    told = kinds(guardian)
    assert told[0] in ("gap", "server changed")
    assert world.restarted == []
    later = world.guardian(tmp_path, guardian.look().kept)
    world.server, world.reader = replace(world.server, slot=SLOT), RUNS
    assert kinds(later) == told[:1]
    for reads in (
        replace(world.reads, last="IN_PROGRESS", begun_ms=2**60, since_ms={"s.orders": 2**60}),
        replace(world.reads, since_ms={"s.other": 2**60}),
        replace(world.reads, since_ms={"s.orders": later.look().kept.gap_ms}),
    ):
        world.reads, world.now = reads, world.now + 61
        assert kinds(later) == told[:1]
    world.reads, world.now = replace(world.reads, since_ms={"s.orders": 2**60}), world.now + 61
    assert kinds(later) == []


def test_a_promoted_replica_is_known_by_what_was_noted_also_to_a_process_that_begins_after_it(
    world: World, tmp_path: Path
) -> None:
    world.noted = Source("1", 1)
    before = world.guardian(tmp_path).look().kept
    world.server, world.reader = replace(world.server, timeline=2), FAILED
    for kept in (None, before):
        assert kinds(world.guardian(tmp_path, kept))[0] == "server changed"
    assert world.restarted == []
    # A server that recovers says nothing; nor is it told where nobody noted or saw anything.
    world.reader = RUNS
    assert kinds(world.guardian(tmp_path, Kept("1", 0))) == ["server changed"]
    world.noted = None
    assert kinds(world.guardian(tmp_path)) == []
    world.server = replace(world.server, timeline=0)
    assert kinds(world.guardian(tmp_path, before)) == []


def test_a_promotion_that_was_dealt_with_while_nobody_looked_is_no_concern(world: World, tmp_path: Path) -> None:
    world.noted = Source("1", 1)
    guardian = world.guardian(tmp_path)
    assert kinds(guardian) == []
    world.server, world.noted = replace(world.server, timeline=2), Source("1", 2)
    world.reads = replace(world.reads, since_ms={"s.orders": 2})
    assert kinds(guardian) == []
    assert guardian.look().kept == replace(Kept("1", 2), had_slot=True)


def test_a_table_that_may_have_been_read_by_other_columns_is_told_until_it_is_read_again(
    world: World, tmp_path: Path
) -> None:
    guardian = world.guardian(tmp_path)
    world.server = replace(world.server, misread=("s.elsewhere", "s.orders"))
    (concern,) = guardian.look().concerns
    assert (concern.kind, concern.severity) == ("misread", "critical")
    assert concern.what.startswith("s.orders: ")
    assert concern.steps[-1].startswith("headrace resnapshot orders  # ")

    # The slot has passed it: the rows are as they came.
    told, world.server = world.server, replace(world.server, misread=())
    kept = guardian.look().kept
    assert kinds(world.guardian(tmp_path, kept)) == ["misread"]
    world.reads = replace(world.reads, since_ms={"s.orders": kept.misread["s.orders"] + 1})
    assert kinds(world.guardian(tmp_path, kept)) == []
    # Or it has not yet: it was read again all the same.
    world.server = told
    again = world.guardian(tmp_path, kept)
    assert [kinds(again), kinds(again)] == [[], []]
    world.server = replace(world.server, misread=())
    assert again.look().kept.misread == {}
