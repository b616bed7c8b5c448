"""An independent reader of Kafka: which offsets hold committed records, which aborted ones, which only markers.

Plain kafka-python, no Spark: a fault in how Spark reads cannot hide itself here. What `read_committed` shows is
committed; what only `read_uncommitted` shows was aborted; what neither shows is a control record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from contracts.errors import ServiceUnavailable
from streaming_jobs.positions import describe

Runs = tuple[tuple[int, int], ...]
"""Offsets as ascending, disjoint half-open runs."""

_QUIET_POLL_MS = 500


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger says of one range `[first, next)`: `rows` records, and `gap` offsets that Spark never saw."""

    topic: str
    topic_id: str
    partition: int
    first: int
    next: int
    rows: int
    gap: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What Kafka holds of one range. `problem` is empty if that is exactly what the ledger booked."""

    booked: Booked
    committed: Runs = ()
    aborted: Runs = ()
    control: Runs = ()
    problem: str = ""

    @property
    def aborted_count(self) -> int:
        """Data records of aborted transactions."""
        return count(self.aborted)

    @property
    def control_count(self) -> int:
        """Offsets that hold no data record in either reading."""
        return count(self.control)


def count(runs: Runs) -> int:
    """How many offsets these runs hold."""
    return sum(end - start for start, end in runs)


def read_ranges(
    kafka: str,
    booked: Sequence[Booked],
    *,
    timeout_s: float = 30.0,
    progress: Callable[[int], None] | None = None,
) -> list[Reading]:
    """Read each range under both isolation levels and compare with what was booked; one answer per range, in order.

    Never waits longer than `timeout_s` without progress. A range that cannot be read any more (topic made again,
    offsets past retention, end not yet visible) is answered with a `problem`, never taken as proven.

    Raises:
        ServiceUnavailable: the broker did not answer.
    """
    try:
        topics = describe(kafka, {item.topic for item in booked})
        readings = []
        for item in booked:
            known = topics.get(item.topic)
            if known is None or known.topic_id != item.topic_id:
                readings.append(Reading(item, problem="the topic was deleted or made again: its offsets are gone"))
            else:
                readings.append(_read(kafka, item, timeout_s))
            if progress is not None:
                progress(item.next - item.first)
    except KafkaError as error:
        raise ServiceUnavailable(
            "Kafka could not be read for the proof",
            kafka=kafka,
            cause=repr(error),
            state="Nothing was marked as proven.",
            next_step="check the broker (`headrace status`) and ask again",
        ) from error
    return readings


def _read(kafka: str, item: Booked, timeout_s: float) -> Reading:
    where = TopicPartition(item.topic, item.partition)
    committed = _consumer(kafka, where, "read_committed")
    try:
        earliest: int = committed.beginning_offsets([where])[where]
        stable: int = committed.end_offsets([where])[where]
        if item.first < earliest:
            return Reading(item, problem=f"the broker keeps offsets from {earliest} only: too late for a proof")
        if item.next > stable:
            return Reading(item, problem=f"booked up to {item.next}, but the broker ends at {stable}")
        seen = _runs(committed, where, item, timeout_s)
    finally:
        committed.close()
    span = ((item.first, item.next),)
    if count(seen) == item.next - item.first:
        uncommitted = seen
    else:
        dirty = _consumer(kafka, where, "read_uncommitted")
        try:
            uncommitted = _runs(dirty, where, item, timeout_s)
        finally:
            dirty.close()
    return _judge(item, seen, subtract(uncommitted, seen), subtract(span, uncommitted))


def _judge(item: Booked, committed: Runs, aborted: Runs, control: Runs) -> Reading:
    problem = ""
    if count(committed) != item.rows:
        problem = f"Kafka holds {count(committed)} committed records, the ledger booked {item.rows}"
    elif count(aborted) + count(control) != item.gap:
        problem = f"Kafka holds {count(aborted)} aborted and {count(control)} control records, booked {item.gap}"
    return Reading(item, committed, aborted, control, problem)


def _consumer(kafka: str, where: TopicPartition, isolation: str) -> KafkaConsumer:
    consumer = KafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level=isolation,
        auto_offset_reset="none",
        enable_auto_commit=False,
        check_crcs=False,
        max_poll_records=20_000,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        metrics_enabled=False,
    )
    consumer.assign([where])
    return consumer


def _runs(consumer: KafkaConsumer, where: TopicPartition, item: Booked, timeout_s: float) -> Runs:
    """The offsets of `item` this consumer is shown.

    Ends by the consumer's position, not by the last record: the range may end in control records, which move the
    position but are never returned.
    """
    consumer.seek(where, item.first)
    runs: list[tuple[int, int]] = []
    position = item.first
    deadline = time.monotonic() + timeout_s
    while position < item.next:
        for record in consumer.poll(timeout_ms=_QUIET_POLL_MS).get(where, ()):
            offset: int = record.offset
            if offset >= item.next:
                break
            if runs and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], offset + 1)
            else:
                runs.append((offset, offset + 1))
        reached: int = consumer.position(where, timeout_ms=int(timeout_s * 1000)) or position
        if reached > position:
            position, deadline = reached, time.monotonic() + timeout_s
        elif time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"Kafka sent nothing for {timeout_s:g} s",
                topic=item.topic,
                partition=item.partition,
                offsets=f"{position}-{item.next}",
                state="Nothing was marked as proven.",
                next_step="check the broker (`headrace status`) and ask again",
            )
    return tuple(runs)


def subtract(left: Runs, right: Runs) -> Runs:
    """The offsets of `left` that are not in `right`."""
    result: list[tuple[int, int]] = []
    cuts = iter(right)
    cut = next(cuts, None)
    for begin, end in left:
        start = begin
        while cut is not None and cut[0] < end:
            if cut[1] <= start:
                cut = next(cuts, None)
                continue
            if cut[0] > start:
                result.append((start, cut[0]))
            start = min(cut[1], end)
            if cut[1] > end:
                break
            cut = next(cuts, None)
        if start < end:
            result.append((start, end))
    return tuple(result)
