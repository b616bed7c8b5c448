"""What the guardian makes of a server's log that nobody reads: the server drops it after a time of its own."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.guardian import steps
from connectors.guardian.disk_judgement import SOON_S
from connectors.guardian.judgement import Concern, Severity, Watched, amount, duration
from connectors.mariadb.binlog_disk import Room
from connectors.mariadb.log import Unread, dropped

WARN_AT, CRITICAL_AT = 0.5, 0.8
SHORTEST_S = 86_400  # an outage of a weekday is survived


def judge_log(unread: Unread, watched: Watched) -> Iterator[Concern]:
    """What is lost, or will be."""
    if unread.gone:
        yield Concern(
            "log lost",
            "critical",
            dropped(unread, watched.connector),
            "changes are missing from there on; only reading all tables again brings them",
            steps.read_again(),
        )
    elif unread.kept_s and unread.age_s >= WARN_AT * unread.kept_s:
        yield Concern(
            "log in danger",
            "critical" if unread.age_s >= CRITICAL_AT * unread.kept_s else "warn",
            f"nobody reads the server's binlog from {unread.file} on: the last change that connector "
            f"{watched.connector} has read is {duration(unread.age_s)} old, and the server keeps a file for "
            f"{duration(unread.kept_s)}",
            "what is dropped before it was read is lost, and all tables must be read again",
            (
                f"SET GLOBAL binlog_expire_logs_seconds = {2 * unread.kept_s:.0f};  -- if the disk has room for it",
                *steps.APPLY,
            ),
        )


def judge_room(room: Room, watched: Watched, read_to: str) -> Iterator[Concern]:
    """Whether the disk of the binlog has room for what is still to come. `read_to`: the file that is read now."""
    disk, to_come = room.disk, None if room.held_back else room.to_come_bytes
    if disk.answer == "failed":
        yield Concern(
            "disk unknown",
            "warn",
            f"MariaDB does not tell how much of its binlog's disk is free: {disk.error}",
            "nobody sees whether the binlog has room there",
            ("SELECT * FROM information_schema.DISKS;  -- as root, says what is wrong; binlog_disk.sql makes it anew",),
        )
    if not disk.known or disk.free_bytes >= (room.held_bytes if to_come is None else to_come):
        return
    full_in_s = disk.free_bytes / room.per_s if room.per_s else 0.0
    soon = disk.free_bytes <= room.file_bytes or 0 < full_in_s < SOON_S
    severity: Severity = "critical" if soon else "warn"
    more = "is kept for ever" if to_come is None else f"takes {amount(to_come)} more"
    if room.held_back:
        more += f" while fewer than {room.readers_needed} read it (slave_connections_needed_for_purge)"
    purge = f"PURGE BINARY LOGS TO '{read_to}';  -- all before it is read; replicas of yours may still need it"
    yield Concern(
        "disk short",
        severity,
        f"{amount(disk.free_bytes)} of {amount(disk.total_bytes)} are free on the disk of the binlog, which has "
        f"{amount(room.held_bytes)} and {more}"
        + (f": full in {duration(full_in_s)} as written since the server's start" if full_in_s else ""),
        "a full disk stops every write to the server",
        (
            *((purge,) if read_to else ()),
            *((drop_unread(),) if room.held_back else shorter(room)),
            "give the disk of the binlog room, or take away what else fills it",
        ),
    )


def drop_unread(needed: int = 0) -> str:
    """Lets the server drop what is old although no more than `needed` read."""
    return (
        f"SET GLOBAL slave_connections_needed_for_purge = {needed};  "
        "-- and the same in the server's configuration, under [mariadbd]"
    )


def shorter(room: Room) -> tuple[str, ...]:
    """A time for which half of what is free is enough; nothing if that were less than a day."""
    fits_s = int((room.held_bytes + room.disk.free_bytes / 2) / room.per_s) if room.per_s else 7 * SHORTEST_S
    if fits_s < SHORTEST_S or 0 < room.kept_s <= fits_s:
        return ()
    return (
        f"SET GLOBAL binlog_expire_logs_seconds = {min(fits_s, 14 * SHORTEST_S)};  "
        "-- and the same in the server's configuration, under [mariadbd]",
    )
