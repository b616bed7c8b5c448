"""When a stream may commit again: at once while it lags, rarely while it trickles. Pure: time comes in.

Every commit is at least two new files. A stream that gets a row now and then would make as many as one that gets
thousands; so the pause grows while batches are tiny, up to a part of what the contract allows in freshness.
"""

from __future__ import annotations

TINY_ROWS = 20
LONGEST_PAUSE_S = 10.0
SHARE_OF_FRESHNESS = 6


class Pace:
    """The pauses of one stream. `trigger_s` is the shortest between two commits, unless the stream lags."""

    def __init__(self, trigger_s: float, freshness_s: float) -> None:
        self._shortest = trigger_s
        self._longest = max(trigger_s, min(LONGEST_PAUSE_S, freshness_s / SHARE_OF_FRESHNESS))
        self._pause = trigger_s
        self._not_before = 0.0

    @property
    def not_before(self) -> float:
        """The earliest moment of the next batch."""
        return self._not_before

    def committed(self, rows: int, started: float, *, lags: bool) -> None:
        """A batch that began at `started` is through; `lags` says that it was cut short and more is waiting."""
        if lags:
            self._pause, self._not_before = self._shortest, started
            return
        self._pause = min(self._longest, self._pause * 2) if rows < TINY_ROWS else self._shortest
        self._not_before = started + self._pause


class Backoff:
    """How long to wait after errors that may pass: 1 s, doubling, at most a minute."""

    def __init__(self, first_s: float = 1.0, longest_s: float = 60.0) -> None:
        self._first = first_s
        self._longest = longest_s
        self.failures = 0

    def failed(self) -> float:
        """Count one more failure and say how long to wait."""
        self.failures += 1
        return float(min(self._longest, self._first * 2 ** min(self.failures - 1, 10)))

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0
