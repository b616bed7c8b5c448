"""Tables read again from the source while everything runs, and when the lake has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from connectors import connector, debezium
from connectors.reads.reread import Reread, about_rows, read_again
from connectors.rest import Connect
from contracts.errors import Fatal, ServiceUnavailable
from contracts.stream import Stream, System
from headrace.app import App
from headrace.lease import Lease
from headrace.rounds import read_rounds, rounds_file
from streaming_jobs.stream_status import read_status

READ_AGAIN: tuple[System, ...] = ("postgres", "mariadb")
"""The systems whose tables can be read again."""

Progress = Callable[[str, int, int], None]
"""Takes a stream, how many rows came so far and about how many there are."""


def reading(app: App, command: str) -> Lease | nullcontext[None]:
    """Held while somebody makes the connector read tables: two at once could not tell whose read has ended."""
    if not any(app.pipeline.of(system).cdc_streams for system in READ_AGAIN):
        return nullcontext()
    return Lease(app.endpoints.warehouse, f"{app.pipeline.name} reads", command)


def planned_reads(app: App, names: Sequence[str], where: str) -> list[dict[str, Any]]:
    """What would be read; Fatal if a stream is no table's or the condition is none. Asks for nothing."""
    rows = []
    for stream in _streams(app, names):
        table = stream.table_source.qualified
        rows.append(
            {
                "stream": stream.name,
                "table": table,
                "rows, about": _about(app, stream, where),
                "rows gone from the source": "stay" if where else "are deleted in the current state",
            }
        )
    return rows


def read_streams_again(
    app: App, names: Sequence[str], where: str, *, wait_s: float | None, progress: Progress
) -> list[dict[str, Any]]:
    """Reads the tables of these streams one after another; with `wait_s` returns when the lake's current state has all
    of it, and raises ServiceUnavailable if that takes longer after the last read.

    Raises:
        Fatal: the source has lost changes, so everything must be read again; see `read_again` for the rest.
    """
    streams = _streams(app, names)
    about = {stream: _about(app, stream, where) for stream in streams}
    ends: dict[str, int] = {}
    rows = []
    with reading(app, "resnapshot"):
        if any(stream.table_source.system == "postgres" for stream in streams):
            _check_source(app)
        for stream in streams:
            started = time.monotonic()
            done = _read(app, stream, where, about[stream], progress)
            ends[stream.name] = done.end
            rows.append(
                {
                    "stream": stream.name,
                    "table": stream.table_source.qualified,
                    "rows read": done.rows,
                    "seconds": round(time.monotonic() - started, 1),
                    "in the lake": None,
                }
            )
    if wait_s is not None:
        wait_for_lake(app, ends, timeout_s=wait_s)
        for row in rows:
            row["in the lake"] = True
    return rows


def wait_for_lake(app: App, ends: dict[str, int], *, timeout_s: float) -> None:
    """Returns when the histories have taken in these offsets and a round of merges that began later has ended well."""
    deadline, taken_in_at = time.monotonic() + timeout_s, ""
    while time.monotonic() < deadline:
        if not taken_in_at and _taken_in(app, ends):
            taken_in_at = datetime.now(UTC).isoformat()
        rounds = read_rounds(rounds_file(app.settings))
        if taken_in_at and rounds and rounds.good_at > taken_in_at:
            return
        time.sleep(0.5)
    raise ServiceUnavailable(
        f"the lake does not have all of it after {timeout_s:.0f} s: "
        + ("the next round of merges is awaited" if taken_in_at else "the streams are behind"),
        state="Everything was read and is in Kafka.",
        next_step="`headrace status` shows whether `headrace run` works; nothing has to be read again",
    )


def source_loss(app: App) -> str:
    """What happened if the source no longer has changes that the connector must read; empty if it has, or if there is
    no connector."""
    if not app.pipeline.of("postgres").cdc_streams:
        return ""
    name = debezium.connector_name(app.pipeline)
    with Connect(app.endpoints.connect_url, patience_s=2.0) as connect:
        config = connect.config(name)
        return (
            connector.lost(app.endpoints, app.pipeline.of("postgres"), connect, config["slot.name"], exists=True)
            if config
            else ""
        )


def _about(app: App, stream: Stream, where: str) -> int:
    source = stream.table_source
    return about_rows(app.endpoints, app.pipeline.of(source.system), source.qualified, where)


def _read(app: App, stream: Stream, where: str, about: int, progress: Progress) -> Reread:
    return read_again(
        app.endpoints,
        app.pipeline.of(stream.table_source.system),
        stream.table_source.qualified,
        where,
        progress=lambda rows: progress(stream.name, rows, about),
    )


def _check_source(app: App) -> None:
    if lost := source_loss(app):
        raise Fatal(
            f"{lost}: changes since then may never have been sent, of any table",
            state="Nothing was asked for.",
            next_step="`headrace apply` makes a new replication slot and reads every table",
        )


def _streams(app: App, names: Sequence[str]) -> list[Stream]:
    streams = [app.stream(name) for name in dict.fromkeys(names)]
    for stream in streams:
        if not stream.is_cdc:
            raise Fatal(
                f"{stream.name} comes from files, not from a table",
                state="Nothing was asked for.",
                next_step="push the file again; `headrace replay` reads again what Kafka has",
            )
        if stream.table_source.system not in READ_AGAIN:
            raise Fatal(
                f"{stream.name} comes from {stream.table_source.system}: only tables of Postgres and MariaDB are read "
                "again so far",
                state="Nothing was asked for.",
                next_step="`headrace replay` reads again what Kafka has",
            )
    return streams


def _taken_in(app: App, ends: dict[str, int]) -> bool:
    found = read_status(app.status_file)
    if found is None:
        return False
    positions = {status.stream: status.position or 0 for status in found[1]}
    return all(positions.get(name, 0) >= end for name, end in ends.items())
