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
    """Reads the guardians' last looks when it is asked; nothing before the first. A figure that is not known is absent,
    so that an alert on absence works."""

    def __init__(self, pipeline: str, *files: Path) -> None:
        self._pipeline = pipeline
        self._files = files

    def collect(self) -> Iterator[Metric]:
        """One family per figure."""
        found = [last for last in map(read_report, self._files) if last is not None]
        if not found:
            return
        looked = self._family("looked_at_timestamp_seconds", "When the guardian looked last", "connector")
        tasks = self._family("task_state", "1 for the state that a task is in", "connector", "task", "state")
        concerns = self._family("concerns", "What is wrong now", "connector", "severity")
        free = self._family("log_disk_free_bytes", "What is free on the disk of the source's log", "connector")
        size = self._family("log_disk_bytes", "How large the disk of the source's log is", "connector")
        restarts = CounterMetricFamily(
            "headrace_source_restarts", "How often a failed connector was restarted", labels=("pipeline", "connector")
        )
        for at, report in found:
            labels = (self._pipeline, report.connector)
            looked.add_metric(labels, at.timestamp())
            restarts.add_metric(labels, report.kept.restarts_total)
            for number, state in enumerate(report.task_states):
                for name in TASK_STATES:
                    tasks.add_metric((*labels, str(number), name), float(state == name))
            if report.disk_bytes is not None and report.disk_free_bytes is not None:
                free.add_metric(labels, report.disk_free_bytes)
                size.add_metric(labels, report.disk_bytes)
            for severity in ("warn", "critical"):
                wrong = sum(concern.severity == severity for concern in report.concerns)
                concerns.add_metric((*labels, severity), wrong)
            yield from self._slot(report)
        yield from (looked, free, size, tasks, restarts, concerns)

    def _slot(self, report: Report) -> Iterator[Metric]:
        for name, text, value in (
            ("slot_lag_bytes", "WAL that the connector has not confirmed", report.lag_bytes),
            ("retained_wal_bytes", "WAL that the server keeps for the slot", report.kept_wal_bytes),
            ("retained_wal_budget_bytes", "WAL that the slot may keep before that is critical", report.budget_bytes),
            ("first_read_seconds", "For how long tables have been read; 0 if none is", report.first_read_s),
            ("slot_unread_seconds", "For how long nobody has read the slot; 0 if it is read", report.unread_s),
            ("oldest_transaction_seconds", "Age of the oldest transaction that has written", report.transaction_s),
        ):
            if value is not None:
                yield self._gauge(name, text, value)
        if report.wal_status is not None:
            status = self._family("wal_status", "1 for the slot's wal_status", "slot", "status")
            for name in WAL_STATES:
                status.add_metric((self._pipeline, report.slot, name), float(report.wal_status == name))
            yield status

    def _family(self, name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"headrace_source_{name}", text, labels=("pipeline", *labels))

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = self._family(name, text)
        family.add_metric((self._pipeline,), value)
        return family
