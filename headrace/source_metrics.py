"""The source's figures as Prometheus reads them, on the monitor's page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connectors.guardian.guard import Report
from headrace.guarding import read_report

WAL_STATES = ("reserved", "extended", "unreserved", "lost", "missing")
TASK_STATES = ("RUNNING", "PAUSED", "STOPPED", "FAILED", "UNASSIGNED", "RESTARTING")


class SourceCollector(Collector):
    """Reads the guardian's last look when it is asked; nothing before the first. A figure that is not known is
    absent, so that an alert on absence works."""

    def __init__(self, pipeline: str, file: Path) -> None:
        self._pipeline = pipeline
        self._file = file

    def collect(self) -> Iterator[Metric]:
        """One family per figure."""
        found = read_report(self._file)
        if found is None:
            return
        at, report = found
        yield self._gauge("looked_at_timestamp_seconds", "When the guardian looked last", at.timestamp())
        yield from self._slot(report)
        tasks = GaugeMetricFamily(
            "headrace_source_task_state", "1 for the state that a task is in", labels=("pipeline", "task", "state")
        )
        for number, state in enumerate(report.task_states):
            for name in TASK_STATES:
                tasks.add_metric((self._pipeline, str(number), name), float(state == name))
        yield tasks
        restarts = CounterMetricFamily(
            "headrace_source_restarts", "How often a failed connector was restarted", labels=("pipeline",)
        )
        restarts.add_metric((self._pipeline,), report.kept.restarts_total)
        yield restarts
        concerns = GaugeMetricFamily("headrace_source_concerns", "What is wrong now", labels=("pipeline", "severity"))
        for severity in ("warn", "critical"):
            number = sum(concern.severity == severity for concern in report.concerns)
            concerns.add_metric((self._pipeline, severity), number)
        yield concerns

    def _slot(self, report: Report) -> Iterator[Metric]:
        for name, text, value in (
            ("slot_lag_bytes", "WAL that the connector has not confirmed", report.lag_bytes),
            ("retained_wal_bytes", "WAL that the server keeps for the slot", report.kept_wal_bytes),
            ("retained_wal_budget_bytes", "WAL that the slot may keep before that is critical", report.budget_bytes),
        ):
            if value is not None:
                yield self._gauge(name, text, value)
        if report.wal_status is not None:
            status = GaugeMetricFamily(
                "headrace_source_wal_status", "1 for the slot's wal_status", labels=("pipeline", "slot", "status")
            )
            for name in WAL_STATES:
                status.add_metric((self._pipeline, report.slot, name), float(report.wal_status == name))
            yield status

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"headrace_source_{name}", text, labels=("pipeline",))
        family.add_metric((self._pipeline,), value)
        return family
