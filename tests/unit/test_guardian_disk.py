"""What the guardian makes of the disk of the source's WAL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.guardian.disk_judgement import judge_disk
from connectors.guardian.facts import Server, Slot
from connectors.guardian.judgement import Seen, Watched
from connectors.wal_disk import WalDisk

GIB = 2**30
WATCHED = Watched("shop", "shop", "headrace_shop", "replicator", "http://me:hidden@connect:8083", 10 * GIB, 3600)
SLOT = Slot("reserved", 100, 200, 2 * GIB, 2 * GIB, "Debezium Streaming", "replicator", 7)
SERVER = Server("1", 1100, None, SLOT, disk=WalDisk("told", 8 * GIB, 20 * GIB))


def seen(*, free: int, kept: int = 2 * GIB, limit: int | None = None, grows: float = 0.0, **slot: Any) -> Seen:
    server = replace(
        SERVER,
        limit_bytes=limit,
        slot=replace(SLOT, kept_bytes=kept, **slot),
        disk=WalDisk("told", free, 20 * GIB),
    )
    return Seen(server, grows_per_s=grows)


@pytest.mark.parametrize(
    ("look", "expected", "says"),
    [
        (seen(free=8 * GIB), "", ""),
        (seen(free=8 * GIB - 1), "warn", "8.0 GiB more before its budget of 10.0 GiB is reached"),
        (seen(free=2 * GIB), "critical", "2.0 GiB of 20.0 GiB are free"),
        (seen(free=7 * GIB, grows=7 * GIB / 3601), "warn", "full in 60 min as it grows now"),
        (seen(free=7 * GIB, grows=7 * GIB / 3599), "critical", "full in 60 min as it grows now"),
        (seen(free=9 * GIB, grows=GIB), "", ""),
        (seen(free=3 * GIB, grows=-GIB), "warn", "may take 8.0 GiB more before its budget of 10.0 GiB is reached"),
        # Half of the server's limit is the budget, if that is less.
        (seen(free=3 * GIB, limit=10 * GIB), "", ""),
        (seen(free=3 * GIB - 1, limit=10 * GIB), "warn", "3.0 GiB more before its budget of 5.0 GiB is reached"),
        # Above the budget only the server stops it, or nobody.
        (seen(free=4 * GIB, kept=6 * GIB, limit=10 * GIB), "", ""),
        (seen(free=3 * GIB, kept=6 * GIB, limit=10 * GIB), "critical", "4.0 GiB more before the server gives it up"),
        (seen(free=15 * GIB, kept=11 * GIB), "warn", "headrace_shop may take all of it"),
        (seen(free=0, wal_status="lost"), "", ""),
        (replace(seen(free=0), server=replace(SERVER, slot=None)), "", ""),
        (replace(seen(free=0), server=replace(SERVER, disk=WalDisk())), "", ""),
        (replace(seen(free=0), server=replace(SERVER, disk=WalDisk("closed"))), "", ""),
        (replace(seen(free=0), server=replace(SERVER, disk=WalDisk("failed", error="no df"))), "warn", "no df"),
        (Seen(None, "away"), "", ""),
    ],
)
def test_a_disk_without_the_room_is_told(look: Seen, expected: str, says: str) -> None:
    found = list(judge_disk(look, WATCHED))
    assert [one.severity for one in found] == ([expected] if expected else [])
    for one in found:
        assert says in one.what
        assert one.why
        assert one.steps
        assert "hidden" not in str(one)


def test_a_bound_is_proposed_that_the_disk_has_room_for_and_never_a_wider_one() -> None:
    def bounds(look: Seen) -> list[str]:
        (one,) = judge_disk(look, WATCHED)
        return [step.split("'")[1] for step in one.steps if step.startswith("ALTER SYSTEM")]

    assert bounds(seen(free=4 * GIB)) == ["4096MB"]
    assert bounds(seen(free=2 * GIB, limit=20 * GIB)) == ["3072MB"]
    assert bounds(seen(free=3 * GIB, kept=6 * GIB, limit=10 * GIB)) == ["7680MB"]
    assert bounds(seen(free=2**10, kept=2**10, limit=2**20)) == []


def test_a_slot_that_is_read_is_not_to_be_dropped() -> None:
    def dropped(**slot: Any) -> bool:
        (one,) = judge_disk(seen(free=GIB, **slot), WATCHED)
        return "pg_drop_replication_slot" in str(one)

    assert dropped()
    assert not dropped(lag_bytes=2**20)
