"""What the guardian makes of the disk that the source's WAL lies on, where the source tells of it."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.guardian import steps
from connectors.guardian.judgement import Concern, Seen, Severity, Watched, amount, budget, causes, duration, is_read

SOON_S = 3600.0


def judge_disk(seen: Seen, watched: Watched) -> Iterator[Concern]:
    """Whether the disk has room for what the slot may still take, before somebody else than the disk says stop."""
    server = seen.server
    if server is None:
        return
    disk, slot = server.disk, server.slot
    if disk.answer == "failed":
        yield Concern(
            "disk unknown",
            "warn",
            f"the source does not tell how much of its WAL's disk is free: {disk.error}",
            "nobody sees whether the WAL that is kept has room there",
            ("SELECT * FROM headrace_disk.of_wal();  -- says what is wrong; wal_disk.sql makes it anew",),
        )
    if not disk.known or slot is None or slot.wal_status == "lost":
        return
    kept, allowed, limit = slot.kept_bytes or 0, budget(watched, server), server.limit_bytes
    if kept < allowed and limit != 0:
        more, until = allowed - kept, f"before its budget of {amount(allowed)} is reached"
    elif limit is not None:
        more, until = max(0, limit - kept), "before the server gives it up"
    else:
        more, until = None, ""
    if more is not None and more <= disk.free_bytes:
        return
    full_in_s = disk.free_bytes / seen.grows_per_s if seen.grows_per_s > 0 else 0.0
    severity: Severity = "critical" if disk.free_bytes <= kept or 0 < full_in_s < SOON_S else "warn"
    may_take = f"may take {amount(more)} more {until}" if more is not None else "may take all of it"
    last_resort = () if is_read(slot) else steps.give_up(watched.connector, watched.slot, watched.connect_url)
    yield Concern(
        "disk short",
        severity,
        f"{amount(disk.free_bytes)} of {amount(disk.total_bytes)} are free on the disk of the source's WAL, and slot "
        f"{watched.slot} {may_take}" + (f": full in {duration(full_in_s)} as it grows now" if full_in_s else ""),
        "a disk that is full of WAL stops the server",
        (
            *causes(seen, slot),
            "give the disk of pg_wal room, or take away what else fills it",
            *steps.bound(kept, disk.free_bytes, limit),
            *last_resort,
        ),
    )
