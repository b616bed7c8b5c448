"""Whether the disk of the source's WAL has room for what a slot may keep there, as far as the source tells."""

from __future__ import annotations

import shlex

from connectors.finding import Finding
from connectors.guardian.facts import Server
from connectors.guardian.judgement import amount
from connectors.guardian.steps import megabytes
from connectors.source_catalog import quoted
from connectors.wal_disk import SCRIPT
from contracts.endpoints import PostgresEndpoint
from contracts.settings import GuardSettings

_FULL = "a disk that is full of WAL stops the whole server, before anybody takes the slot away or is told to"


def check(server: Server, source: PostgresEndpoint, guard: GuardSettings) -> list[Finding]:
    """What more the slot may keep, by the server's limit or else by the guardian's budget, against what is free. Where
    the source does not tell, what stands for it."""
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
        return [_not_told(server, source)]
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


def fitting_limit(server: Server) -> str:
    """A max_slot_wal_keep_size for which the disk has room twice, and which takes no slot away at once; empty if the
    source does not tell."""
    if not server.disk.known:
        return ""
    kept = server.slot.kept_bytes or 0 if server.slot else 0
    return megabytes(kept + server.disk.free_bytes // 2)


def _not_told(server: Server, source: PostgresEndpoint) -> Finding:
    instead = "max_slot_wal_keep_size and guard.retained_wal_bytes stand for it: set both to what it has room for"
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
