"""The guardian of the source inside `headrace run`: what it finds is logged once, and kept for `status` and metrics."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.guardian.guard import Guardian, Report, report_of
from connectors.guardian.judgement import Concern
from contracts.errors import HeadraceError
from contracts.settings import Settings
from headrace.app import App
from headrace.output import masked
from streaming_jobs.parking import write_atomically

log = logging.getLogger("headrace.run")


def source_file(settings: Settings) -> Path:
    """Where the last look stands; `reset` deletes what is named so."""
    return settings.data_dir / f"{settings.pipeline}.source.status.json"


def read_report(file: Path) -> tuple[datetime, Report] | None:
    """When and what; None if nobody has looked yet, or the file is broken or another version's."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        content = json.loads(file.read_text("utf-8"))
        return datetime.fromisoformat(content["at"]), report_of(content["report"])
    return None


class Guarding:
    """The guardian's rounds in one process."""

    def __init__(self, app: App) -> None:
        self._file = source_file(app.settings)
        known = read_report(self._file)
        kept = known[1].kept if known else None
        self._guardian = Guardian(app.pipeline.of("postgres"), app.endpoints, app.settings.guard, kept)
        self._told: dict[str, Concern] = {}

    def round(self) -> Report:
        """Look once, log what is new and what is over, replace the file. A disk that refuses it stops nothing."""
        report = self._guardian.look()
        self._tell(report)
        content = {"at": datetime.now(UTC).isoformat(), "report": report.as_json()}
        try:
            write_atomically(self._file, json.dumps(content, indent=1))
        except OSError as problem:
            log.warning("the source's status file cannot be written: %s", problem)
        return report

    def _tell(self, report: Report) -> None:
        now = {concern.kind: concern for concern in report.concerns}
        for kind, concern in now.items():
            before = self._told.get(kind)
            if before is None or before.severity != concern.severity:
                level = logging.ERROR if concern.severity == "critical" else logging.WARNING
                log.log(level, "source: %s", masked(str(concern)))
        for kind in self._told.keys() - now.keys():
            log.info("source: no longer: %s", masked(self._told[kind].what))
        for done in report.done:
            log.warning("source: %s (%d in a row)", done, report.restarts)
        self._told = now


def source_overview(app: App) -> dict[str, Any]:
    """What `status` shows of the source: the last look of `headrace run`, or one of its own if that is too old. Empty
    for a pipeline without tables, and where nothing was ever started."""
    if not app.pipeline.of("postgres").cdc_streams:
        return {}
    known = read_report(source_file(app.settings))
    at, report = known if known else (None, None)
    if at is None or (datetime.now(UTC) - at).total_seconds() > 4 * app.settings.guard.every_s:
        try:
            kept = report.kept if report else None
            guardian = Guardian(
                app.pipeline.of("postgres"), app.endpoints, app.settings.guard, kept, restart=False, patience_s=2.0
            )
        except HeadraceError:
            return {}
        at, report = datetime.now(UTC), guardian.look()
    assert report is not None
    return {
        "looked at": at.isoformat(),
        "slot": report.slot,
        "wal status": report.wal_status,
        "lag bytes": report.lag_bytes,
        "kept WAL bytes": report.kept_wal_bytes,
        "budget bytes": report.budget_bytes,
        "connector": report.connector,
        "connector state": report.connector_state,
        "tasks": list(report.task_states),
        "restarts": report.kept.restarts_total,
        "critical": report.critical,
        "concerns": [
            {
                "kind": one.kind,
                "severity": one.severity,
                "what": one.what,
                "why": one.why,
                "steps": list(one.steps),
            }
            for one in report.concerns
        ],
    }
