"""What `status` shows of reads of tables that are under way: how many rows are in Kafka, of about how many."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from connectors import broker
from connectors.reads.progress import reads_under_way
from connectors.reads.reread import about_rows
from contracts.endpoints import HURRY_S
from contracts.errors import HeadraceError, ServiceUnavailable
from contracts.stream import System
from headrace.app import App
from headrace.rereading import READ_AGAIN


def reads_overview(app: App, systems: Collection[System], away: Collection[System] = ()) -> list[dict[str, Any]]:
    """One row per stream whose table is read, or waits for others of the same read. A part that does not answer, of
    which `status` says so elsewhere, leaves its rows or its estimates out. `away`: the systems known not to answer,
    which are not asked."""
    rows: list[dict[str, Any]] = []
    if not systems or not broker.answers(app.endpoints.kafka, HURRY_S):
        return rows
    for system in systems:
        part = app.pipeline.of(system)
        names = {stream.table_source.qualified: stream.name for stream in part.cdc_streams}
        try:
            found = reads_under_way(app.endpoints.kafka, part)
        except HeadraceError:
            continue
        asks = system not in away
        for one in found:
            about = None
            if asks and system in READ_AGAIN and one.begun_ms:
                try:
                    about = about_rows(app.endpoints, part, one.table)
                except ServiceUnavailable:
                    asks = False  # each of the others would take as long
                except HeadraceError:
                    pass
            since = datetime.fromtimestamp(one.begun_ms / 1000, UTC).isoformat() if one.begun_ms else None
            rows.append(
                {
                    "stream": names[one.table],
                    "again": one.again,
                    "since": since,
                    "rows": one.rows,
                    "rows, about": about,
                    "snapshot": one.said(about),
                }
            )
    return rows
