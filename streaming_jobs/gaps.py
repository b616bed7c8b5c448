"""An independent reader of Kafka: which offsets hold committed records, which aborted ones, which only markers.

Plain kafka-python, no Spark: a fault in how Spark reads cannot hide itself here. What `read_committed` shows is
committed; what only `read_uncommitted` shows was aborted; what neither shows is a control record.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
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
    """What the ledger says of one range `[first, next)`: `rows` of its offsets are records, `gap` Spark never saw."""

    topic: str
    topic_id: str
    partition: int
    first: int
    next: int
    rows: int
    gap: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What Kafka holds of one range. `problem` is empty if that is exactly what the ledger booked; `gone`: the broker
    no longer has it, so nobody can tell."""

    booked: Booked
    committed: Runs = ()
    aborted: Runs = ()
    control: Runs = ()
    problem: str = ""
    gone: bool = False

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
    answers: dict[Booked, Reading] = {}
    partitions: dict[tuple[str, int], list[Booked]] = defaultdict(list)
    try:
        topics = describe(kafka, {item.topic for item in booked})
        for item in booked:
            known = topics.get(item.topic)
            if known is None or known.topic_id != item.topic_id:
                answers[item] = Reading(
                    item, problem="the topic was deleted or made again: its offsets are gone", gone=True
                )
            else:
                partitions[item.topic, item.partition].append(item)
        for (topic, partition), items in partitions.items():
            answers.update(_read(kafka, TopicPartition(topic, partition), items, timeout_s, progress))
    except KafkaError as error:
        raise ServiceUnavailable(
            "Kafka could not be read for the proof",
            kafka=kafka,
            cause=repr(error),
            state="Nothing was marked as proven.",
            next_step="check the broker (`headrace status`) and ask again",
        ) from error
    return [answers[item] for item in booked]


@dataclass(frozen=True, slots=True)
class Place:
    """One partition of a topic as it is now."""

    topic: str
    topic_id: str
    partition: int


def stable_ends(kafka: str, topics: Collection[str], *, committed: bool = True) -> dict[Place, tuple[int, int]]:
    """From where and how far each partition can be read (read committed); unless `committed`, how far it is written. A
    topic that does not exist is left out.

    Raises:
        ServiceUnavailable: the broker did not answer.
    """
    places = {
        TopicPartition(topic.name, partition): Place(topic.name, topic.topic_id, partition)
        for topic in describe(kafka, topics).values()
        for partition in topic.partitions
    }
    if not places:
        return {}
    isolation = "read_committed" if committed else "read_uncommitted"
    try:
        consumer = KafkaConsumer(bootstrap_servers=kafka, isolation_level=isolation, metrics_enabled=False)
        try:
            beginnings, ends = consumer.beginning_offsets(list(places)), consumer.end_offsets(list(places))
        finally:
            consumer.close()
    except KafkaError as error:
        raise ServiceUnavailable(
            "Kafka did not say how far its topics go",
            kafka=kafka,
            cause=repr(error),
            next_step="check the broker (`headrace status`) and ask again",
        ) from error
    return {place: (beginnings[at], ends[at]) for at, place in places.items()}


def _read(
    kafka: str,
    where: TopicPartition,
    items: Sequence[Booked],
    timeout_s: float,
    progress: Callable[[int], None] | None,
) -> dict[Booked, Reading]:
    """Each stretch of neighbouring ranges is read once per isolation level, however many ranges it is cut into."""
    answers: dict[Booked, Reading] = {}
    committed = _consumer(kafka, where, "read_committed")
    try:
        earliest: int = committed.beginning_offsets([where])[where]
        stable: int = committed.end_offsets([where])[where]
        for item in items:
            if item.first < earliest:
                problem = f"the broker keeps offsets from {earliest} only: too late for a proof"
                answers[item] = Reading(item, problem=problem, gone=True)
            elif item.next > stable:
                answers[item] = Reading(item, problem=f"booked up to {item.next}, but the broker ends at {stable}")
        readable = [item for item in items if item not in answers]
        spans = _joined(readable)
        seen = _offsets(committed, where, spans, timeout_s, progress)
    finally:
        committed.close()
    uncommitted = seen
    if seen != spans:
        dirty = _consumer(kafka, where, "read_uncommitted")
        try:
            uncommitted = _offsets(dirty, where, spans, timeout_s, None)
        finally:
            dirty.close()
    aborted, control = subtract(uncommitted, seen), subtract(spans, uncommitted)
    for item in readable:
        answers[item] = _judge(item, *(clip(runs, item.first, item.next) for runs in (seen, aborted, control)))
    return answers


def _joined(items: Sequence[Booked]) -> Runs:
    spans: list[tuple[int, int]] = []
    for item in sorted(items, key=lambda each: (each.first, each.next)):
        if spans and item.first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], item.next))
        else:
            spans.append((item.first, item.next))
    return tuple(spans)


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


def _offsets(
    consumer: KafkaConsumer,
    where: TopicPartition,
    spans: Runs,
    timeout_s: float,
    progress: Callable[[int], None] | None,
) -> Runs:
    """The offsets of `spans` this consumer is shown.

    A span ends by the consumer's position, not by the last record: it may end in control records, which move the
    position but are never returned.
    """
    runs: list[tuple[int, int]] = []
    for first, end in spans:
        consumer.seek(where, first)
        position, fresh = first, True
        deadline = time.monotonic() + timeout_s
        while position < end:
            for record in consumer.poll(timeout_ms=_QUIET_POLL_MS).get(where, ()):
                offset: int = record.offset
                if offset >= end:
                    break
                if not fresh and runs[-1][1] == offset:
                    runs[-1] = (runs[-1][0], offset + 1)
                else:
                    runs.append((offset, offset + 1))
                    fresh = False
            reached: int = consumer.position(where, timeout_ms=int(timeout_s * 1000)) or position
            if reached > position:
                if progress is not None:
                    progress(min(reached, end) - position)
                position, deadline = reached, time.monotonic() + timeout_s
            elif time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"Kafka sent nothing for {timeout_s:g} s",
                    topic=where.topic,
                    partition=where.partition,
                    offsets=f"{position}-{end}",
                    state="Nothing was marked as proven.",
                    next_step="check the broker (`headrace status`) and ask again",
                )
    return tuple(runs)


def clip(runs: Runs, first: int, end: int) -> Runs:
    """The part of `runs` within `[first, end)`."""
    low = bisect_right(runs, first, key=lambda run: run[1])
    high = bisect_left(runs, end, key=lambda run: run[0])
    return tuple((max(start, first), min(stop, end)) for start, stop in runs[low:high])


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
