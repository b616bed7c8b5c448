"""The monitor's figures as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming_jobs.live.gauges import StreamState

_LABELS = ("pipeline", "stream")


class StreamCollector(Collector):
    """Reads the states when it is asked; holds no figure of its own. A stream without events has no times."""

    def __init__(self, pipeline: str, states: Callable[[], Sequence[StreamState]]) -> None:
        self._pipeline = pipeline
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one sample per stream."""
        states = self._states()
        events = CounterMetricFamily("headrace_stream_events", "Events seen since the monitor started", labels=_LABELS)
        for state in states:
            events.add_metric((self._pipeline, state.stream), state.events)
        yield events
        figures: tuple[tuple[str, str, Callable[[StreamState], float | None]], ...] = (
            ("rate_per_second", "Events a second over the last minute", lambda state: state.rate),
            ("last_event_timestamp_seconds", "When the newest event happened", lambda state: state.last_event_time),
            ("delay_seconds", "From the newest event to its arrival at the monitor", lambda state: state.delay_s),
            ("freshness_target_seconds", "The contract's target", lambda state: state.target_s),
            ("fresh", "1 if the delay is within the target", lambda state: _number(state.fresh)),
            ("watched", "0 if the topic did not exist when the monitor started", lambda state: float(state.watched)),
        )
        for name, text, figure in figures:
            family = GaugeMetricFamily(f"headrace_stream_{name}", text, labels=_LABELS)
            for state in states:
                if (value := figure(state)) is not None:
                    family.add_metric((self._pipeline, state.stream), value)
            yield family


def render(*collectors: Collector) -> bytes:
    """The page in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


def _number(value: bool | None) -> float | None:
    return None if value is None else float(value)
