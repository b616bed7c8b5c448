"""What the guardian and `plan` make of the disk of the source's log: WAL, and MariaDB's binlog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.disk import Disk
from connectors.disk_checks import check_binlog, check_wal
from connectors.guardian.disk_judgement import judge_disk
from connectors.guardian.facts import Server, Slot
from connectors.guardian.judgement import Seen, Watched
from connectors.guardian.log_judgement import judge_room
from connectors.mariadb.binlog_disk import Room
from contracts.endpoints import PostgresEndpoint
from contracts.settings import GuardSettings

GIB = 2**30
WATCHED = Watched("shop", "shop", "headrace_shop", "replicator", "http://me:hidden@connect:8083", 10 * GIB, 3600)
SLOT = Slot("reserved", 100, 200, 2 * GIB, 2 * GIB, "Debezium Streaming", "replicator", 7)
SERVER = Server("1", 1100, None, SLOT, disk=Disk("told", 8 * GIB, 20 * GIB))


def seen(*, free: int, kept: int = 2 * GIB, limit: int | None = None, grows: float = 0.0, **slot: Any) -> Seen:
    server = replace(
        SERVER,
        limit_bytes=limit,
        slot=replace(SLOT, kept_bytes=kept, **slot),
        disk=Disk("told", free, 20 * GIB),
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
        (seen(free=GIB, kept=2**24, limit=0), "", ""),  # the server gives the slot up at once
        (seen(free=0, wal_status="lost"), "", ""),
        (replace(seen(free=0), server=replace(SERVER, slot=None)), "", ""),
        (replace(seen(free=0), server=replace(SERVER, disk=Disk())), "", ""),
        (replace(seen(free=0), server=replace(SERVER, disk=Disk("closed"))), "", ""),
        (replace(seen(free=0), server=replace(SERVER, disk=Disk("failed", error="no df"))), "warn", "no df"),
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


DAY = 86_400
# 1 GiB a day, kept for ten days, of which two have passed.
ROOM = Room(Disk("told", 8 * GIB, 20 * GIB), 2 * GIB, GIB / DAY, 10 * DAY, 0, GIB)


def free(size: int, **values: Any) -> Room:
    return replace(ROOM, disk=Disk("told", size, 20 * GIB), **values)


@pytest.mark.parametrize(
    ("room", "expected", "says"),
    [
        (ROOM, "", ""),
        (free(8 * GIB - 2**20), "warn", "has 2.0 GiB and takes 8.0 GiB more: full in 8 d as written"),
        (free(GIB), "critical", "1.0 GiB of 20.0 GiB are free on the disk of the binlog"),
        (free(60 * GIB, per_s=60 * GIB / 3599), "critical", "full in 60 min"),
        (free(60 * GIB, per_s=60 * GIB / 3601), "warn", "full in 60 min"),
        (free(GIB, held_bytes=10 * GIB), "", ""),  # it goes on as large as it is
        # But for the file that is written before the oldest goes, or a day's where files last longer.
        (free(GIB - 1, held_bytes=10 * GIB), "critical", "takes 1.0 GiB more"),
        (free(GIB // 2, held_bytes=10 * GIB, per_s=GIB / 3 / DAY), "", ""),
        (free(0, held_bytes=10 * GIB, per_s=GIB / 3 / DAY), "critical", "0 B of 20.0 GiB are free"),
        (free(3 * GIB, limit_bytes=5 * GIB), "", ""),
        (free(3 * GIB - 1, limit_bytes=5 * GIB), "warn", "takes 3.0 GiB more"),
        (free(3 * GIB - 1, limit_bytes=5 * GIB, kept_s=0), "warn", "takes 3.0 GiB more"),
        (free(2 * GIB, kept_s=0), "", ""),
        (free(2 * GIB - 1, kept_s=0), "warn", "has 2.0 GiB and is kept for ever"),
        (free(GIB + 1, kept_s=0, per_s=0), "warn", "has 2.0 GiB and is kept for ever"),
        (replace(ROOM, disk=Disk(), kept_s=0), "", ""),
        (replace(ROOM, disk=Disk("failed", error="no DISKS")), "warn", "no DISKS"),
    ],
)
def test_a_disk_without_room_for_the_binlog_is_told(room: Room, expected: str, says: str) -> None:
    found = list(judge_room(room, WATCHED, "b.7"))
    assert [one.severity for one in found] == ([expected] if expected else [])
    for one in found:
        assert says in one.what
        assert "full in 0" not in one.what
        if one.kind == "disk short":
            assert one.steps[0].startswith("PURGE BINARY LOGS TO 'b.7';")
            assert "PURGE" not in str(list(judge_room(room, WATCHED, "")))


def test_a_shorter_time_is_proposed_only_where_a_day_fits() -> None:
    def said(room: Room) -> tuple[str, str, bool]:
        (one,) = check_binlog(room, "reader")
        return one.level, one.what, "SET GLOBAL binlog_expire_logs_seconds" in one.fix

    assert check_binlog(ROOM, "reader") == []
    assert said(free(6 * GIB)) == (
        "warning",
        "the binlog takes 8.0 GiB more, and 6.0 GiB of 20.0 GiB are free on its disk",
        True,
    )
    (one,) = check_binlog(free(6 * GIB), "reader")
    assert f"= {5 * DAY};" in one.fix, "two days that are held, and half of six"
    assert said(free(6 * GIB, per_s=6 * GIB / DAY))[2] is False


@pytest.mark.parametrize(
    ("room", "by_size"),
    [
        (free(6 * GIB), False),
        (free(6 * GIB, limit_bytes=11 * GIB), False),
        (free(6 * GIB, limit_bytes=9 * GIB), True),
        (free(6 * GIB, limit_bytes=9 * GIB, kept_s=0), True),
    ],
)
def test_it_is_told_which_of_its_two_ends_the_binlog_comes_to(room: Room, by_size: bool) -> None:
    (one,) = check_binlog(room, "reader")
    assert ("max_binlog_total_size" in one.why, "in the 10 d that a file is kept" in one.why) == (by_size, not by_size)


def test_a_binlog_that_is_kept_for_ever_is_told_also_where_the_disk_is_not() -> None:
    endless, hint = check_binlog(replace(ROOM, disk=Disk(), kept_s=0), "reader")
    assert (endless.level, endless.what) == ("warning", "the binlog is kept for ever: it has 2.0 GiB")
    assert (hint.level, "reader" in hint.fix) == ("hint", True)
    (failed,) = check_binlog(replace(ROOM, disk=Disk("failed", error="no DISKS")), "reader")
    assert (failed.level, "no DISKS" in failed.what) == ("warning", True)


@pytest.mark.parametrize(
    ("needed", "readers", "told"),
    [
        (0, 0, ("", "")),
        (1, 0, ("hint", "= 0;")),
        (1, 1, ("hint", "= 0;")),
        (2, 1, ("warning", "= 1;")),
        (2, 2, ("", "")),
    ],
)
def test_a_binlog_that_is_kept_until_somebody_reads_it_is_told(
    needed: int, readers: int, told: tuple[str, str]
) -> None:
    waits = replace(ROOM, readers_needed=needed, readers=readers)
    found = [(one.level, one.fix) for one in check_binlog(waits, "reader")]
    assert [level for level, _ in found] == [told[0]] * bool(told[0])
    for _, fix in found:
        assert f"SET GLOBAL slave_connections_needed_for_purge {told[1]}" in fix
    # One that is kept for ever anyway is told as that.
    (endless,) = check_binlog(replace(waits, kept_s=0), "reader")
    assert "is kept for ever" in endless.what


def test_the_guardian_counts_on_no_end_of_the_binlog_while_nobody_reads_it() -> None:
    read = free(GIB + 1, held_bytes=10 * GIB, readers_needed=1, readers=1)
    assert list(judge_room(read, WATCHED, "b.7")) == []
    (short,) = judge_room(replace(read, readers=0), WATCHED, "b.7")
    assert "is kept for ever while fewer than 1 read it" in short.what
    assert short.steps[0].startswith("PURGE BINARY LOGS TO 'b.7';"), "which asks for no reader"
    assert short.steps[1].startswith("SET GLOBAL slave_connections_needed_for_purge = 0;")
    assert "binlog_expire_logs_seconds" not in str(short)


@pytest.mark.parametrize("answer", ["absent", "closed"])
def test_whoever_has_set_what_stands_for_the_disk_is_not_told_of_it_again(answer: Any) -> None:
    source = PostgresEndpoint("db", 5432, "shop", "owner", SecretStr(""))
    bounded = replace(SERVER, disk=Disk(answer), limit_bytes=20 * GIB)
    chosen = GuardSettings(retained_wal_bytes=GIB)
    assert check_wal(bounded, source, chosen) == []
    for server, guard in ((bounded, GuardSettings()), (replace(bounded, limit_bytes=None), chosen)):
        (hint,) = check_wal(server, source, guard)
        assert (hint.level, "is no longer said" in hint.why) == ("hint", True)
