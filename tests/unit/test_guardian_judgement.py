"""What the guardian makes of what it saw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.guardian.facts import Reader, Server, Slot, Transaction
from connectors.guardian.judgement import (
    STILL_BYTES,
    Seen,
    Watched,
    amount,
    budget,
    duration,
    judge,
    starts_behind_a_gap,
)
from connectors.rest import ConnectorStatus

GIB = 2**30
WATCHED = Watched("shop", "shop", "headrace_shop", "replicator", "http://me:hidden@connect:8083", 10 * GIB, 3600)
SLOT = Slot("reserved", 100, 200, 1000, 900, "Debezium Streaming", "replicator", 7)
SERVER = Server("1", 1100, None, SLOT)
BEATS = {"heartbeat.interval.ms": "10000", "heartbeat.action.query": "SELECT 1"}
READER = Reader(ConnectorStatus("RUNNING", ("RUNNING",), ""), BEATS, 200)
WELL = Seen(SERVER, reader=READER, system="1", had_slot=True)
FAILED = replace(READER, status=ConnectorStatus("RUNNING", ("FAILED",), "A: b\n\tat c\nCaused by: D: the root\n\tat e"))


def slot(**values: Any) -> Seen:
    return replace(WELL, server=replace(SERVER, slot=replace(SLOT, **values)))


def found(seen: Seen) -> dict[str, str]:
    return {concern.kind: concern.severity for concern in judge(seen, WATCHED)}


def test_nothing_is_wrong() -> None:
    assert judge(WELL, WATCHED) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (slot(kept_bytes=5 * GIB), {"wal kept": "warn"}),
        (slot(kept_bytes=10 * GIB), {"wal kept": "critical"}),
        (slot(wal_status="extended"), {"wal kept": "warn"}),
        (slot(wal_status="unreserved"), {"slot in danger": "critical"}),
        (slot(wal_status="lost", reader="", kept_bytes=None), {"slot lost": "critical"}),
        (slot(reader="psql"), {"slot read by another": "critical"}),
        (slot(reader_role="somebody"), {"slot read by another": "critical"}),
        (replace(slot(reader=""), unread_s=59), {}),
        (replace(slot(reader=""), unread_s=60), {"slot unread": "warn"}),
        (replace(WELL, still_s=600, still_bytes=STILL_BYTES - 1), {}),
        (replace(WELL, still_s=600, still_bytes=STILL_BYTES), {"slot stands still": "warn"}),
        (replace(WELL, still_s=600, still_bytes=STILL_BYTES, first_read_s=9), {}),
        (replace(WELL, first_read_s=3600), {"first read": "warn"}),
        (replace(WELL, server=replace(SERVER, slot=None)), {"slot missing": "critical"}),
        (replace(WELL, server=replace(SERVER, slot=None), had_slot=False), {}),
        (replace(WELL, server=replace(SERVER, system="2")), {"server changed": "critical"}),
        (replace(WELL, server=replace(SERVER, system="")), {}),
        (replace(WELL, timeline=1, server=replace(SERVER, timeline=2)), {"server changed": "critical"}),
        (replace(WELL, timeline=1, server=replace(SERVER, timeline=0)), {}),
        (replace(WELL, gap="somebody else read it"), {"gap": "critical"}),
        (replace(WELL, reader=FAILED), {"connector failed": "warn"}),
        (replace(WELL, reader=FAILED, gave_up=True), {"connector failed": "critical"}),
        (replace(WELL, reader=replace(READER, status=None), halted_s=60), {"connector not running": "warn"}),
        (replace(WELL, reader=Reader(None, None, None)), {"connector absent": "warn"}),
        (replace(WELL, reader=replace(READER, config={})), {"no heartbeat": "warn"}),
        (
            replace(WELL, reader=replace(READER, config={**BEATS, "heartbeat.interval.ms": "0"})),
            {"no heartbeat": "warn"},
        ),
        (replace(WELL, server=None, server_error="refused"), {"source away": "warn"}),
        (replace(WELL, server=None, server_error="refused", server_away_s=60), {"source away": "critical"}),
        (replace(WELL, reader=None, reader_error="refused", connect_away_s=60), {"connect away": "critical"}),
    ],
)
def test_each_kind_has_its_severity_and_says_what_to_do(seen: Seen, expected: dict[str, str]) -> None:
    assert found(seen) == expected
    for concern in judge(seen, WATCHED):
        assert concern.what
        assert concern.why
        assert concern.steps
        assert "hidden" not in str(concern)
        assert "None" not in str(concern)


def test_of_a_connector_alone_only_what_it_has_is_judged() -> None:
    alone = Watched("shop", "shop", "", "", "http://me:hidden@connect:8083", 0, 3600)
    runs = Seen(reader=replace(READER, config={}))
    assert judge(runs, alone) == []
    assert judge(replace(runs, silent_s=59), alone) == []
    (silent,) = judge(replace(runs, silent_s=60), alone)
    assert (silent.kind, silent.severity) == ("log unread", "critical")
    assert silent.steps[-1] == "curl -fsS -X POST 'http://connect:8083/connectors/shop/restart?includeTasks=true'"
    (away,) = judge(replace(runs, server_error="Access denied", server_away_s=60), alone)
    assert (away.kind, away.severity, "WAL" in away.why) == ("source away", "critical", False)


def test_what_is_missing_comes_first_and_holds_a_restart_back() -> None:
    concerns = judge(replace(WELL, server=replace(SERVER, slot=None), reader=FAILED), WATCHED)
    assert [(one.kind, one.severity) for one in concerns] == [
        ("slot missing", "critical"),
        ("connector failed", "critical"),
    ]
    assert starts_behind_a_gap(concerns)
    assert "D: the root" in concerns[1].what
    assert not starts_behind_a_gap(judge(replace(WELL, reader=FAILED), WATCHED))


def test_what_apply_finds_lost_needs_apply_alone() -> None:
    (lost,) = judge(slot(wal_status="lost"), WATCHED)
    (gone,) = judge(replace(WELL, server=replace(SERVER, slot=None)), WATCHED)
    assert lost.steps == gone.steps == ("headrace apply", "headrace verify --wait 600")


def test_beginning_anew_stops_forgets_and_only_then_drops() -> None:
    (gap,) = judge(replace(WELL, gap="somebody else read it"), WATCHED)
    assert [step.split()[0] for step in gap.steps] == ["curl", "curl", "SELECT", "headrace", "headrace"]
    assert gap.steps[0] == "curl -fsS -X PUT http://connect:8083/connectors/shop/stop"
    (gone,) = judge(replace(WELL, gap="somebody else read it", server=replace(SERVER, slot=None)), WATCHED)[-1:]
    assert not any("drop" in step for step in gone.steps)


def test_the_last_resort_is_not_offered_for_what_is_read_already() -> None:
    (read,) = judge(slot(kept_bytes=10 * GIB, lag_bytes=100), WATCHED)
    (behind,) = judge(slot(kept_bytes=10 * GIB, lag_bytes=9 * GIB), WATCHED)
    assert ["drop" in " ".join(concern.steps) for concern in (read, behind)] == [False, True]


def test_growth_says_when_the_budget_is_reached() -> None:
    (kept,) = judge(replace(slot(kept_bytes=6 * GIB), grows_per_s=GIB / 3600), WATCHED)
    assert "reached in 4 h" in kept.what


@pytest.mark.parametrize(
    ("one", "ages", "end"),
    [
        (Transaction(5, 3600.0, pid=9, role="app"), {}, "SELECT pg_terminate_backend(9);"),
        (Transaction(5, None, pid=9), {5: 3600.0}, "SELECT pg_terminate_backend(9);"),
        (Transaction(5, 9999.0, gid="it"), {}, "ROLLBACK PREPARED 'it';"),
        (Transaction(5, 9999.0, gid="it's"), {}, "ROLLBACK PREPARED 'it''s';"),
    ],
)
def test_an_old_transaction_says_how_to_end_it(one: Transaction, ages: dict[int, float], end: str) -> None:
    seen = replace(WELL, server=replace(SERVER, transactions=(Transaction(4, 3599.0), one)), ages=ages)
    (concern,) = judge(seen, WATCHED)
    assert concern.kind == "old transaction"
    assert end in concern.steps[-1]


def test_the_budget_leaves_half_of_what_the_server_allows() -> None:
    assert budget(WATCHED, SERVER) == 10 * GIB
    assert budget(WATCHED, replace(SERVER, limit_bytes=4 * GIB)) == 2 * GIB
    assert budget(WATCHED, replace(SERVER, limit_bytes=100 * GIB)) == 10 * GIB


def test_amounts_and_durations() -> None:
    assert [amount(number) for number in (0, 1023, 2**20, 3.5 * GIB, 2**41)] == [
        *("0 B", "1023 B", "1.0 MiB", "3.5 GiB", "2.0 TiB"),
    ]
    assert [duration(seconds) for seconds in (5, 119, 120, 7200, 200_000)] == ["5 s", "119 s", "2 min", "2 h", "2 d"]
