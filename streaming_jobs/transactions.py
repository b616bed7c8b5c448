"""What Debezium tells of the source's transactions: which of them lie in the topics whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from contracts.errors import Fatal
from contracts.stream import Stream, System
from streaming_jobs.gaps import Place, stable_ends
from streaming_jobs.kafka_scan import kafka_errors, read_ranges
from streaming_jobs.ranges import Range
from streaming_jobs.transforms.decode_change import transaction_id

TOLD = "offset bigint, status string, id string"
_UNREAD = (
    "%s: the offsets %d-%d were deleted before a round of merges read them; what they ended shows once a later "
    "transaction has ended. Merge more often than `headrace.retentionDays`"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unread:
    """Records of the topic of transactions below `before` were deleted before a round read them. A row below `rows`
    (by stream its topic's id and an offset) whose transaction no record names is of one that those named."""

    before: int
    rows: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Look:
    """Kafka at one moment. Every transaction of which a record lies below `read_to` in the topic of transactions has
    ended, or never will; all rows of those that ended lie below `ends`: by stream its topic's id and end."""

    topic_id: str
    read_to: int
    ends: Mapping[str, tuple[str, int]]
    at: datetime
    unread: Unread | None = None


def look(
    spark: SparkSession,
    kafka: str,
    topic: str,
    system: System,
    streams: Sequence[Stream],
    known: tuple[str, int],
    now: datetime,
) -> tuple[Look, DataFrame] | None:
    """Look from `known` on (the topic's id, an offset; another id: from the topic's beginning), and the records that
    were read, as `TOLD`; None if Debezium has no such topic yet. While no END was read, the look stands at `known`.

    Raises:
        ServiceUnavailable, OffsetsLost: from Kafka. Fatal: the topic has more than one partition.
    """
    found = one_partition(topic, stable_ends(kafka, [topic]))
    if not found:
        return None
    place, (beginning, stable) = found
    # Of a topic that was made again nothing was read, and of the one before perhaps not all.
    known_to = known[1] if place.topic_id == known[0] else -1 if known[0] else 0
    first = max(beginning, known_to)
    committed = Range(topic, place.topic_id, 0, first, max(first, stable))
    unread: Unread | None = None
    told = spark.createDataFrame([], TOLD)
    with kafka_errors([committed], topic):
        if len(committed):
            told = read_ranges(spark, kafka, [committed], f"headrace-{topic}").selectExpr(*_fields(system))
        if beginning > known_to:
            if place.topic_id == known[0]:
                log.warning(_UNREAD, topic, max(0, known_to), beginning)
            unread = Unread(beginning, _ends(kafka, streams, committed=True))
            told = told.unionAll(_written(spark, kafka, committed, system))
        newest = told.persist().where("status = 'END'").selectExpr("max(offset) as offset").first()
    read_to = known_to if newest is None or newest["offset"] is None else newest["offset"] + 1
    # After the ENDs were read: whoever wrote them had written the rows. Not how far they can be read, for Kafka makes a
    # transaction readable in one topic after the other.
    return Look(place.topic_id, read_to, _ends(kafka, streams, committed=False), now, unread), told


def _ends(kafka: str, streams: Sequence[Stream], *, committed: bool) -> dict[str, tuple[str, int]]:
    found = stable_ends(kafka, [stream.topic for stream in streams], committed=committed)
    by_topic = {at.topic: (at.topic_id, end) for at, (_, end) in found.items()}
    return {stream.name: by_topic.get(stream.topic, ("", 0)) for stream in streams}


def _written(spark: SparkSession, kafka: str, committed: Range, system: System) -> DataFrame:
    """Every transaction that is named, in committed records or not, as if told of behind all that can be read: Kafka
    knows it, which does not say that it has ended. Debezium has sent a transaction's BEGIN before a row of it can be
    read, so one that can be read now and is not named here is older than all that Kafka has of the topic."""
    topic = committed.topic
    ends = [end for _, end in stable_ends(kafka, [topic], committed=False).values()]
    written = replace(committed, next=max(committed.next, *ends))
    if not len(written):
        return spark.createDataFrame([], TOLD)
    records = read_ranges(spark, kafka, [written], f"headrace-{topic}-written", committed=False)
    _, _, named = _fields(system)
    return records.selectExpr(f"{written.next} as offset", "'NAMED' as status", named)


def one_partition(topic: str, found: Mapping[Place, tuple[int, int]]) -> tuple[Place, tuple[int, int]] | None:
    """The topic's partition and how far it can be read, None if there is none. Fatal if there are more: then nothing
    says whether all that was written before an END has been read."""
    if len(found) > 1:
        raise Fatal(
            "the topic of transactions has more than one partition: only within one are they in order",
            topic=topic,
            partitions=len(found),
            state="The cut stands where it was: the histories go on, readers see no newer transaction; nothing is lost "
            "or doubled.",
            next_step="`headrace plan` says how it is made anew with one",
        )
    return next(iter(found.items()), None)


def _fields(system: System) -> tuple[str, str, str]:
    text = "cast(value as string)"
    named = transaction_id(system, f"get_json_object({text}, '$.id')")
    return "offset", f"get_json_object({text}, '$.status') as status", f"{named} as id"
