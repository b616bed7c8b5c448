"""What `status` and `files` show: facts from the deployment, the run's own status file, Kafka and the lake, joined."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from contracts.errors import HeadraceError
from contracts.stream import System
from contracts.wire import FileState
from headrace.app import App
from headrace.background import monitor_port
from headrace.lake import pending_rows, rows_of
from headrace.rounds import read_rounds, rounds_file
from infra.local.part import PartStatus
from producers.states import file_states
from streaming_jobs.stream_status import StreamStatus, read_status

STALE_S = 15.0
SOURCE_AWAY = "source does not answer"
WHOLE = ("done", "superseded", "replaced")
"""The states of files that need nothing more."""


def parts_overview(parts: Sequence[PartStatus]) -> list[dict[str, Any]]:
    """One row per part of the deployment."""
    return [
        {
            "part": part.name,
            "state": part.state,
            "address": part.address,
            "pid": part.pid,
            "memory MiB": part.memory_bytes // 2**20 if part.memory_bytes else None,
            "detail": part.detail,
        }
        for part in parts
    ]


def crashes(parts: Sequence[PartStatus]) -> list[str]:
    """Of each part that ended by itself: its name, where its log is, and the log's last lines."""
    return [
        "\n".join((f"{part.name} crashed; the end of {part.log}:", *part.last_lines))
        for part in parts
        if part.state == "crashed"
    ]


def streams_overview(
    app: App,
    slot_lag: int | None = None,
    snapshots: Mapping[str, str] | None = None,
    away: Collection[System] = (),
) -> list[dict[str, Any]]:
    """One row per stream; empty if `headrace run` has never run here. Parts that do not answer leave cells empty.
    `slot_lag`: the bytes of WAL that the connector has not confirmed, the same for all tables. `snapshots`: by stream,
    how far the read of its table is that is under way. `away`: the systems whose servers do not answer."""
    written = read_status(app.status_file)
    if written is None:
        return []
    at, streams = written
    age_s = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    live = _live(app)
    refused, pending = _refused(app), _pending(app)
    tables = {declared.name for declared in app.pipeline.of("postgres").cdc_streams}
    targets = {declared.name: declared.freshness_s for declared in app.pipeline.streams}
    unread = {declared.name for system in away for declared in app.pipeline.of(system).cdc_streams}
    rows = []
    for stream in streams:
        name = stream.stream
        seen = live.get(name, {})
        last = seen.get("last_event_time")
        rows.append(
            {
                "stream": name,
                "state": _state(stream, age_s, name in targets, name in unread),
                "waiting": stream.lag,
                "lag bytes": slot_lag if name in tables else None,
                "delay s": seen.get("delay_s"),
                "last commit": _short(stream.last_commit_at),
                "last event": _short(datetime.fromtimestamp(last, UTC).isoformat()) if last else None,
                "per s": seen.get("rate"),
                "fresh": seen.get("fresh"),
                "target s": targets.get(name),
                "snapshot": (snapshots or {}).get(name),
                "quarantined": refused.get(name, 0) if refused is not None else None,
                "pending": pending.get(name, 0) if pending is not None else None,
                "reason": stream.reason,
            }
        )
    return rows


def _state(stream: StreamStatus, age_s: float, declared: bool, unread: bool) -> str:
    if not declared:
        return "no longer declared"
    if age_s >= STALE_S:
        return "not running"
    return SOURCE_AWAY if unread and stream.state == "flowing" else stream.state


def merges_overview(app: App) -> dict[str, Any]:
    """The last good merge round, and the error of the newest if that failed; empty if there was none yet."""
    found = read_rounds(rounds_file(app.settings))
    if found is None:
        return {}
    return {
        "last round": _short(found.good_at),
        "failed": _short(found.failed_at) if found.error else None,
        "error": found.error,
    }


def _live(app: App) -> dict[str, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor_port(app)}/streams", timeout=2) as answer:
            return {row["stream"]: row for row in json.load(answer)}
    except (urllib.error.URLError, OSError, ValueError):
        return {}


def _refused(app: App) -> dict[str, int] | None:
    table = f"{app.pipeline.name}_lake.quarantine"
    try:
        rows = rows_of(app, f"select stream, count(*) as n from {table} where state = 'open' group by stream")
    except HeadraceError:
        return None
    return {row["stream"]: row["n"] for row in rows}


def _pending(app: App) -> dict[str, int] | None:
    try:
        return pending_rows(app)
    except HeadraceError:
        return None


def _short(text: str | None) -> str | None:
    return datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S") if text else None


def files_overview(app: App) -> list[dict[str, Any]]:
    """One row per file that was ever sent, newest last.

    `done`: the ledger's counts add up to the rows in the file. `superseded`: done, and a later file of its unit is too.
    `replaced`: it never became whole, and need not any more, see `is_replaced`.
    """
    arrivals = rows_of(app, f"select * from {app.pipeline.name}_lake.files")
    booked = {(row["stream"], row["file_hash"]): row for row in arrivals}
    states = file_states(app.endpoints.kafka, app.pipeline)
    known = [found.state for found in sorted(states.values(), key=lambda found: found.offset)]
    rows = []
    for at, file in enumerate(known):
        arrived = booked.get((file.stream, file.hash), {})
        state: str = file.state
        if state == "sent" and arrived.get("complete"):
            state = "done" if arrived["newest"] else "superseded"
        later = islice(known, at + 1, None)
        whole = (one for one in later if booked.get((one.stream, one.hash), {}).get("complete"))
        if is_replaced(file, whole):
            state = "replaced"
        rows.append(
            {
                "file": file.file,
                "stream": file.stream,
                "state": state,
                "rows": file.rows,
                "sent": file.sent,
                **{name: arrived.get(name) or 0 for name in ("accepted", "duplicate", "conflicting", "quarantined")},
                "at": file.at,
                "hash": file.hash[:12],
                "reason": file.reason,
            }
        )
    return rows


def is_replaced(file: FileState, whole: Iterable[FileState]) -> bool:
    """Whether a file that never became whole needs nothing more, since one of those that came later and are `whole`
    states its unit, or has its name; by its name alone only if it was rejected: else rows of it may be missing."""
    return file.state != "sent" and any(
        one.stream == file.stream
        and (one.unit == file.unit != "" or (file.state == "rejected" and one.file == file.file))
        for one in whole
    )
