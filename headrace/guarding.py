"""The sources' guardians inside `headrace run`: what they find is logged once, and kept for `status` and metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, get_args

from connectors.guardian.guard import Guardian, Kept, Report, report_of
from connectors.guardian.judgement import Concern
from connectors.guardian.reader import ReaderGuardian
from connectors.mariadb import binlog_disk
from connectors.mariadb import log as mariadb_log
from connectors.mariadb import source as mariadb
from contracts.errors import HeadraceError
from contracts.settings import Settings
from contracts.stream import Pipeline, System
from headrace.app import App
from headrace.output import masked
from streaming_jobs.parking import write_atomically

log = logging.getLogger("headrace.run")


def guarded_systems(pipeline: Pipeline) -> tuple[System, ...]:
    """The systems of which the pipeline has tables: each has a connector, and a guardian."""
    return tuple(system for system in get_args(System) if pipeline.of(system).cdc_streams)


def source_file(settings: Settings, system: System = "postgres") -> Path:
    """Where the last look stands; `reset` deletes what is named so."""
    name = "source" if system == "postgres" else system
    return settings.data_dir / f"{settings.pipeline}.{name}.status.json"


def read_report(file: Path) -> tuple[datetime, Report] | None:
    """When and what; None if nobody has looked yet, or the file is broken or another version's."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        content = json.loads(file.read_text("utf-8"))
        return datetime.fromisoformat(content["at"]), report_of(content["report"])
    return None


def _guardian(app: App, system: System, kept: Kept | None, **how: Any) -> Guardian | ReaderGuardian:
    part, settings = app.pipeline.of(system), app.settings.guard
    if system == "postgres":
        return Guardian(part, app.endpoints, settings, kept, **how)
    if system == "mariadb":
        role = app.endpoints.mariadb_replicator
        how |= {"is_read": partial(mariadb.is_read, role), "log": partial(mariadb_log.look, role)}
        how["room"] = partial(binlog_disk.look, role)
    return ReaderGuardian(part, app.endpoints, settings, kept, **how)


class Guarding:
    """The rounds of one system's guardian in one process."""

    def __init__(self, app: App, system: System = "postgres") -> None:
        self._file = source_file(app.settings, system)
        known = read_report(self._file)
        self._guardian = _guardian(app, system, known[1].kept if known else None)
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


def sources_away(overviews: Mapping[System, dict[str, Any]]) -> dict[System, str]:
    """Of what `source_overview` gave: the systems whose servers did not answer, and why."""
    return {
        system: str(concern["what"])
        for system, one in overviews.items()
        for concern in one.get("concerns", ())
        if concern["kind"] == "source away"
    }


def source_overview(app: App, system: System = "postgres") -> dict[str, Any]:
    """What `status` shows of a source: the last look of `headrace run`, or one of its own if that is too old. Empty
    for a pipeline without tables of this system, and where nothing was ever started."""
    if system not in guarded_systems(app.pipeline):
        return {}
    known = read_report(source_file(app.settings, system))
    at, report = known if known else (None, None)
    if at is None or (datetime.now(UTC) - at).total_seconds() > 4 * app.settings.guard.every_s:
        try:
            guardian = _guardian(app, system, report.kept if report else None, restart=False, patience_s=2.0)
        except HeadraceError:
            return {}
        at, report = datetime.now(UTC), guardian.look()
    assert report is not None
    slot = {
        "slot": report.slot,
        "wal status": report.wal_status,
        "lag bytes": report.lag_bytes,
        "kept WAL bytes": report.kept_wal_bytes,
        "budget bytes": report.budget_bytes,
    }
    return {
        "looked at": at.isoformat(),
        **(slot if report.slot else {}),
        "disk free bytes": report.disk_free_bytes,
        "disk bytes": report.disk_bytes,
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
