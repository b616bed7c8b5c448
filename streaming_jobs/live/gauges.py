"""What the live monitor knows of each stream: how many events, when, how fresh. Pure: time comes in."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass

from contracts.stream import Stream

WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class StreamState:
    """One stream at one moment. Times are seconds since the epoch; None until an event was seen.

    `rate` is events a second over the last minute. `delay_s` is how long after it happened the newest event reached
    the monitor; `fresh` compares that with the contract's target, so a quiet stream stays fresh.
    """

    stream: str
    topic: str
    watched: bool
    events: int
    rate: float
    last_event_time: float | None
    last_arrival: float | None
    delay_s: float | None
    age_s: float | None
    target_s: float
    fresh: bool | None

    def as_json(self) -> dict[str, object]:
        """The same as a dictionary of plain values."""
        return asdict(self)


class StreamGauge:
    """Counts the events of one stream. Cheap per event: the newest is only decoded when somebody asks."""

    def __init__(self, stream: Stream, *, watched: bool = True) -> None:
        self.stream = stream
        self.watched = watched
        self._events = 0
        self._newest: tuple[bytes | None, float, float] | None = None
        self._seconds: deque[tuple[int, int]] = deque()
        self._began: float | None = None

    def seen(self, value: bytes | None, kafka_time: float, now: float) -> None:
        """Counts one event; `kafka_time` is the record's own timestamp."""
        self._events += 1
        self._newest = (value, kafka_time, now)
        second = int(now)
        if self._began is None:
            self._began = now
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))
            self._forget(now)

    def state(self, now: float) -> StreamState:
        """The stream as of `now`."""
        self._forget(now)
        event_time = arrival = delay_s = None
        if self._newest is not None:
            value, kafka_time, arrival = self._newest
            event_time = (source_time(value) if self.stream.is_cdc else None) or kafka_time
            delay_s = max(0.0, arrival - event_time)
        # A minute has not passed yet: divide by what has, or the first rates are far too low.
        over_s = min(WINDOW_S, max(1.0, now - self._began)) if self._began is not None else WINDOW_S
        return StreamState(
            stream=self.stream.name,
            topic=self.stream.topic,
            watched=self.watched,
            events=self._events,
            rate=round(sum(count for _, count in self._seconds) / over_s, 3),
            last_event_time=event_time,
            last_arrival=arrival,
            delay_s=delay_s,
            age_s=None if event_time is None else max(0.0, now - event_time),
            target_s=self.stream.freshness_s,
            fresh=None if delay_s is None else delay_s <= self.stream.freshness_s,
        )

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW_S:
            self._seconds.popleft()


def source_time(value: bytes | None) -> float | None:
    """When the change was committed, from Debezium's envelope; None for anything else."""
    try:
        return float(json.loads(value or b"null")["source"]["ts_ms"]) / 1000
    except (ValueError, KeyError, TypeError):
        return None
