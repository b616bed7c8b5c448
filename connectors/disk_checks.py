"""Whether the disk of a source's log has room for what may come, as far as the source tells: WAL that a slot keeps, and
MariaDB's binlog."""

from __future__ import annotations

import shlex

from connectors.finding import Finding
from connectors.guardian.facts import Server
from connectors.guardian.judgement import amount, duration
from connectors.guardian.log_judgement import drop_unread, shorter
from connectors.guardian.steps import megabytes
from connectors.mariadb import binlog_disk
from connectors.mariadb.binlog_disk import Room
from connectors.postgres.catalog import quoted
from connectors.postgres.wal_disk import SCRIPT
from contracts.endpoints import PostgresEndpoint
from contracts.settings import GuardSettings

_FULL = "a disk that is full of WAL stops the whole server, before anybody takes the slot away or is told to"


def check_wal(server: Server, source: PostgresEndpoint, guard: GuardSettings) -> list[Finding]:
    """What more the slot may keep, by the server's limit or else by the guardian's budget, against what is free. Where
    the source does not tell, what stands for it, unless somebody has set both."""
    disk, limit = server.disk, server.limit_bytes
    if disk.answer == "failed":
        return [
            Finding(
                "warning",
                f"the source does not tell how much of its WAL's disk is free: {disk.error}",
                why="so nothing is compared with it: max_slot_wal_keep_size and guard.retained_wal_bytes stand for it",
                fix=f"as a superuser: SELECT * FROM headrace_disk.of_wal();  -- {SCRIPT.name} makes it anew",
            )
        ]
    if not disk.known:
        chosen = limit is not None and "retained_wal_bytes" in guard.model_fields_set
        return [] if chosen else [_not_told(server, source)]
    kept = server.slot.kept_bytes or 0 if server.slot else 0
    room = f"{amount(disk.free_bytes)} of {amount(disk.total_bytes)} are free on the disk of the WAL"
    if limit is not None and limit - kept > disk.free_bytes:
        return [
            Finding(
                "warning",
                f"max_slot_wal_keep_size is {amount(limit)}, of which {amount(limit - kept)} are still to come, and "
                f"{room}",
                why=_FULL,
                fix=f"ALTER SYSTEM SET max_slot_wal_keep_size = '{fitting_limit(server)}'; "
                "SELECT pg_reload_conf();  -- or give that disk room",
            )
        ]
    if limit is None and guard.retained_wal_bytes - kept > disk.free_bytes:
        return [
            Finding(
                "warning",
                f"guard.retained_wal_bytes is {amount(guard.retained_wal_bytes)}, of which "
                f"{amount(guard.retained_wal_bytes - kept)} are still to come, and {room}",
                why=_FULL,
                fix=f"headrace.yaml: guard: {{retained_wal_bytes: {max(1, kept + disk.free_bytes // 2)}}}",
            )
        ]
    return []


def check_binlog(room: Room, role: str) -> list[Finding]:
    """What the binlog takes before its oldest file is dropped, as written since the server's start, against what is
    free. `role` is who asked."""
    disk, to_come = room.disk, room.to_come_bytes
    has = f", and {amount(disk.free_bytes)} of {amount(disk.total_bytes)} are free on its disk" if disk.known else ""
    findings = []
    if to_come is None:
        findings.append(
            Finding(
                "warning",
                f"the binlog is kept for ever: it has {amount(room.held_bytes)}{has}",
                why="it fills the disk in the end, and a full disk stops every write to the server",
                fix="SET GLOBAL binlog_expire_logs_seconds = 604800;  -- and the same in the server's configuration, "
                "under [mariadbd]",
            )
        )
    elif disk.known and to_come > disk.free_bytes:
        so_much = (
            "so much is left of max_binlog_total_size"
            if room.ends_by_size
            else f"so much is written in the {duration(room.kept_s)} that a file is kept, if it goes on as since the "
            "server's start"
        )
        findings.append(
            Finding(
                "warning",
                f"the binlog takes {amount(to_come)} more{has}",
                why=f"{so_much}; a full disk stops every write to the server",
                fix="; ".join((*shorter(room), "give that disk room")),
            )
        )
    if to_come is not None:
        findings += _readers(room)
    if disk.answer == "failed":
        findings.append(
            Finding(
                "warning",
                f"MariaDB does not tell how much of its binlog's disk is free: {disk.error}",
                why="so nothing is compared with it",
                fix=f"as root: SELECT * FROM information_schema.DISKS;  -- {binlog_disk.SCRIPT.name} makes it anew",
            )
        )
    elif not disk.known:
        findings.append(
            Finding(
                "hint",
                f"MariaDB does not tell {role} how much of its binlog's disk is free",
                why="nothing is compared with it: give it room for what is written in binlog_expire_logs_seconds",
                fix="root may let it, on a server that has the plugin DISKS: mariadb -u root "
                f"--init-command=\"SET @role = '{role}'\" < {binlog_disk.SCRIPT.name}",
            )
        )
    return findings


def _readers(room: Room) -> list[Finding]:
    needed = room.readers_needed
    if needed > 1 and room.held_back:
        return [
            Finding(
                "warning",
                f"the server drops nothing of its binlog while fewer than {needed} read it; seen: {room.readers}",
                why="the connector is one reader: without others it fills the disk, whatever its time and size are; a "
                "full disk stops every write to the server",
                fix=drop_unread(1),
            )
        ]
    if needed == 1:
        return [
            Finding(
                "hint",
                "while nobody reads its binlog the server drops nothing of it (slave_connections_needed_for_purge = 1)",
                why="so where no replica reads it either, a connector that stands still loses nothing, and the disk "
                "needs room for as long as it does, whatever binlog_expire_logs_seconds says",
                fix=f"where the disk matters more: {drop_unread()}",
            )
        ]
    return []


def fitting_limit(server: Server) -> str:
    """A max_slot_wal_keep_size for which the disk has room twice, and which takes no slot away at once; empty if the
    source does not tell."""
    if not server.disk.known:
        return ""
    kept = server.slot.kept_bytes or 0 if server.slot else 0
    return megabytes(kept + server.disk.free_bytes // 2)


def _not_told(server: Server, source: PostgresEndpoint) -> Finding:
    instead = (
        "max_slot_wal_keep_size and guard.retained_wal_bytes stand for it: set both to what it has room for, and this "
        "is no longer said"
    )
    if server.disk.answer == "closed":
        role = quoted(source.user)
        return Finding(
            "hint",
            f"{source.user} may not ask how much of its WAL's disk is free",
            why=instead,
            fix=f"as a superuser: GRANT USAGE ON SCHEMA headrace_disk TO {role}; "
            f"GRANT EXECUTE ON FUNCTION headrace_disk.of_wal() TO {role};",
        )
    return Finding(
        "hint",
        "the source does not tell how much of its WAL's disk is free, as no SQL of Postgres does",
        why=instead,
        fix="on a server of your own a superuser may let it: psql -v ON_ERROR_STOP=1 "
        f"-v role={shlex.quote(source.user)} -d {shlex.quote(source.database)} -f {SCRIPT.name}",
    )
