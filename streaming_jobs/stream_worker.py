"""One stream of a run: which offsets come next, and what happens when they cannot be taken in.

A worker knows no thread and no query; the engine (`streams`) calls `step` for those that are `due`, one call at a
time per worker. Everything it reads or writes comes in as a function.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

from contracts.errors import Fatal, HeadraceError, OffsetsLost
from contracts.settings import RunSettings
from contracts.stream import Stream
from streaming_jobs.pacing import Backoff, Pace
from streaming_jobs.parking import Parked, Parking
from streaming_jobs.positions import TopicIdentity, stream_position
from streaming_jobs.ranges import Range
from streaming_jobs.stream_status import State, StreamStatus


class Clock(Protocol):
    """The two times a worker needs."""

    def now(self) -> datetime:
        """Wall clock, aware."""

    def monotonic(self) -> float:
        """Seconds that only grow."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """Something happened to a stream. `rows` and `ranges` are of the batch; `message` is for a person."""

    stream: str
    event: Literal["batch", "retry", "parked", "resumed"]
    message: str = ""
    rows: int = 0
    ranges: tuple[Range, ...] = ()
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What one batch took in. `ranges` begin where the ones that were asked for do, and may end before them."""

    rows: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Edges:
    """What a worker does to the world.

    `ingest` takes ranges into the history in one commit and says what it took, and with True accepts any share
    of bad rows; `positions` are all `txn` actions of the history table; `beginnings` are the first offsets the broker
    still has; `write_off` moves the table's position over offsets that are lost, and books them as such.
    """

    ingest: Callable[[Stream, tuple[Range, ...], bool], Taken]
    positions: Callable[[Stream], Mapping[str, int]]
    beginnings: Callable[[str, Sequence[int]], Mapping[int, int]]
    write_off: Callable[[Stream, tuple[Range, ...]], None]


class StreamWorker:
    """Takes one stream forward, a bounded batch a time, starting wherever its table stands."""

    def __init__(
        self,
        stream: Stream,
        settings: RunSettings,
        edges: Edges,
        parking: Parking,
        report: Callable[[StreamReport], None],
        clock: Clock,
    ) -> None:
        self.stream = stream
        self._max_rows = settings.max_rows_per_batch
        self._edges = edges
        self._parking = parking
        self._report = report
        self._clock = clock
        self._pace = Pace(settings.trigger_s, stream.freshness_s)
        self._backoff = Backoff()
        self._lock = threading.Lock()
        self._identity: TopicIdentity | None = None
        self._ends: dict[int, int] = {}
        # Topics of this name that are no more, and how far they could be read.
        self._left: list[tuple[TopicIdentity, dict[int, int]]] = []
        self._next: dict[int, int] | None = None
        self._retry_at = 0.0
        self._reason = ""
        self._parked = parking.find(stream.name) is not None
        self._resumed = parking.is_resumed(stream.name)
        self._accepted_ends: dict[int, int] = {}
        self._batches = 0
        self._rows = 0
        self._last_commit_at: str | None = None

    def topic_is(self, identity: TopicIdentity | None) -> bool:
        """The topic as the broker knows it now, None while it does not exist.

        Another id starts from its own position; True then says that the ends known so far were another topic's. What
        was not read of that one is lost.
        """
        with self._lock:
            if identity == self._identity:
                return False
            replaced = self._identity is not None
            if self._identity is not None:
                self._left.append((self._identity, self._ends))
                self._ends = {}
            self._identity, self._next = identity, None
            return replaced

    def ends_are(self, ends: Mapping[int, int]) -> None:
        """How far each partition can be read now."""
        with self._lock:
            self._ends = dict(ends)

    def look_at_parking(self) -> None:
        """Rejoin if somebody resumed this stream."""
        if self._parked and self._parking.find(self.stream.name) is None:
            with self._lock:
                self._parked, self._next, self._reason, self._retry_at = False, None, "", 0.0
                self._resumed, self._accepted_ends = True, {}
                self._backoff.succeeded()
            self._report(StreamReport(self.stream.name, "resumed"))

    @property
    def flows(self) -> bool:
        """Whether the stream takes part: its topic exists and neither an error nor a person holds it back."""
        return not self._parked and self._identity is not None and not self._backoff.failures

    def behind(self) -> bool:
        """Whether there are offsets that the table has not read, as far as is known, or where it stands is not known.

        That is found out before rows come: it takes about as long as a batch.
        """
        with self._lock:
            return self._next is None or bool(self._wanted(self._next))

    def due_at(self) -> float | None:
        """The moment (monotonic) from which `step` has something to do; None if nothing is to be done."""
        if self._parked or self._identity is None or not self.behind():
            return None
        return max(self._pace.not_before, self._retry_at)

    def step(self) -> None:
        """Take in one batch. Raises nothing: an error makes the stream wait or parks it, and is reported."""
        started = self._clock.monotonic()
        with self._lock:
            identity = self._identity
        if identity is None:
            return
        try:
            self._take(identity, started)
        except Fatal as error:
            self._park(error)
        except Exception as error:
            self._failed(error, identity)
        else:
            self._backoff.succeeded()
            self._reason = ""

    def status(self) -> StreamStatus:
        """This moment's state."""
        with self._lock:
            position = sum(self._next.values()) if self._next is not None else None
            end = sum(self._ends.values()) if self._ends else None
            lag = sum(len(one) for one in self._wanted(self._next)) if self._next is not None and self._ends else None
        parked = self._parking.find(self.stream.name) if self._parked else None
        state: State = "flowing"
        if self._parked:
            state = "parked"
        elif self._identity is None:
            state = "waiting"
        elif self._backoff.failures:
            state = "retrying"
        return StreamStatus(
            self.stream.name,
            state,
            position,
            end,
            lag,
            self._batches,
            self._rows,
            self._last_commit_at,
            parked.reason if parked else self._reason,
        )

    def _take(self, identity: TopicIdentity, started: float) -> None:
        if self._next is None:
            start = self._start(identity)
            with self._lock:
                if self._identity != identity:
                    return
                self._next = start
        with self._lock:
            if not self._ends:
                return  # what waits is not known yet; until then a resumption holds
            wanted = self._wanted(self._next)
            if self._resumed and not self._accepted_ends:
                self._accepted_ends = dict(self._ends)
        accepted = self._accepted(wanted)
        bound = max(1, self._max_rows // max(1, len(wanted)))
        ranges = tuple(replace(one, next=min(one.next, one.first + bound)) for one in accepted or wanted)
        if self._resumed and not accepted:
            self._resumed = False
            self._parking.forget(self.stream.name)
        if not ranges:
            return
        taken = self._edges.ingest(self.stream, ranges, bool(accepted))
        with self._lock:
            if self._identity == identity and self._next is not None:
                self._next.update({one.partition: one.next for one in taken.ranges})
            self._batches += 1
            self._rows += taken.rows
            self._last_commit_at = self._clock.now().isoformat()
        self._pace.committed(taken.rows, started, lags=taken.ranges != tuple(wanted))
        took = self._clock.monotonic() - started
        self._report(StreamReport(self.stream.name, "batch", rows=taken.rows, ranges=taken.ranges, took_s=took))

    def _start(self, identity: TopicIdentity) -> dict[int, int]:
        """The table's own position; offset 0 of a topic that the table has never read."""
        txns = self._edges.positions(self.stream)
        position = stream_position(txns, identity.name, identity.topic_id, identity.partitions)
        beginnings = self._edges.beginnings(identity.name, identity.partitions)
        lost = _lost(identity, position, beginnings)
        for gone, ends in self._left:
            lost += _lost(gone, stream_position(txns, gone.name, gone.topic_id, list(ends)), ends)
        if lost and not self._parking.accepts_loss(self.stream.name):
            raise self._offsets_lost(lost)
        self._left.clear()
        if not lost:
            return position
        self._edges.write_off(self.stream, lost)
        return {partition: max(first, beginnings[partition]) for partition, first in position.items()}

    def _offsets_lost(self, lost: Sequence[Range]) -> OffsetsLost:
        return OffsetsLost(
            "Kafka no longer has offsets that the lake has not read",
            stream=self.stream.name,
            offsets=", ".join(str(one) for one in lost),
            topic_id=lost[0].topic_id,
            state="The stream is parked; its history ends before these offsets. The other streams go on.",
            next_step=f"`headrace resume {self.stream.name} --accept-loss` goes on behind them and books them as lost; "
            + (
                f"then `headrace resnapshot {self.stream.name}`"
                if self.stream.is_cdc
                else "then send the files again under another content"
            ),
        )

    def _accepted(self, wanted: list[Range]) -> list[Range]:
        """Of a stream that was resumed: what waited when it was, taken in whatever its share of bad rows."""
        if not self._resumed:
            return []
        ends = self._accepted_ends
        clipped = (replace(one, next=max(one.first, min(one.next, ends.get(one.partition, 0)))) for one in wanted)
        return [one for one in clipped if len(one)]

    def _wanted(self, position: Mapping[int, int] | None) -> list[Range]:
        identity = self._identity
        if identity is None or position is None:
            return []
        return [
            Range(identity.name, identity.topic_id, partition, first, self._ends[partition])
            for partition, first in sorted(position.items())
            if self._ends.get(partition, 0) > first
        ]

    def _failed(self, error: Exception, identity: TopicIdentity) -> None:
        """Wait and repeat from the table's position, for ever: an outage ends by itself; `status` names the error."""
        with self._lock:
            position, self._next = self._next, None
        try:
            if position and (
                lost := _lost(identity, position, self._edges.beginnings(identity.name, identity.partitions))
            ):
                self._park(self._offsets_lost(lost))
                return
        except Exception as second:
            # The broker does not answer either: what is lost, if anything, shows at the next start.
            error.add_note(f"and the broker did not say where the topic begins: {second!r}")
        wait_s = self._backoff.failed()
        self._retry_at = self._clock.monotonic() + wait_s
        self._reason = _text(error)
        self._report(StreamReport(self.stream.name, "retry", f"again in {wait_s:g} s: {self._reason}"))

    def _park(self, error: Exception) -> None:
        reason = _text(error)
        parked = Parked(self.stream.name, type(error).__name__, reason, self._clock.now().isoformat())
        self._parking.park(parked)
        with self._lock:
            # The position stays known, so that `status` can say how far the stream is behind.
            self._parked, self._reason = True, reason
        self._report(StreamReport(self.stream.name, "parked", reason))


def _lost(identity: TopicIdentity, position: Mapping[int, int], beginnings: Mapping[int, int]) -> tuple[Range, ...]:
    """What lies between the position and where the topic begins, or where one that is no more ended."""
    return tuple(
        Range(identity.name, identity.topic_id, partition, first, beginnings[partition])
        for partition, first in sorted(position.items())
        if first < beginnings[partition]
    )


def _text(error: Exception) -> str:
    if isinstance(error, HeadraceError):
        return str(error)
    told = f"{type(error).__name__}: {error}"
    if java := getattr(error, "java_exception", None):
        # py4j's own words are which call it made; what happened is the innermost cause.
        with suppress(Exception):  # the JVM may be gone
            while (cause := java.getCause()) is not None:
                java = cause
            told = str(java.toString())
    # Spark prints the whole query plan after the first line.
    return told.splitlines()[0]
