"""What Debezium tells of the source's transactions: which of them lie in the topics whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from contracts.errors import Fatal
from contracts.stream import Stream, System
from streaming_jobs.gaps import Place, stable_ends
from streaming_jobs.kafka_scan import kafka_errors, read_ranges
from streaming_jobs.ranges import Range
from streaming_jobs.transforms.decode_change import transaction_id

TOLD = "offset bigint, status string, id string"


@dataclass(frozen=True, slots=True)
class Look:
    """Kafka at one moment. Every transaction of which a record lies below `read_to` in the topic of transactions has
    ended, or never will; all rows of those that ended lie below `ends`: by stream its topic's id and end."""

    topic_id: str
    read_to: int
    ends: Mapping[str, tuple[str, int]]
    at: datetime


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
    were read, as `TOLD`; None if Debezium has no such topic yet.

    Raises:
        ServiceUnavailable, OffsetsLost: from Kafka. Fatal: the topic has more than one partition.
    """
    found = one_partition(topic, stable_ends(kafka, [topic]))
    if not found:
        return None
    place, (beginning, stable) = found
    first = max(beginning, known[1]) if place.topic_id == known[0] else beginning
    unread = Range(topic, place.topic_id, 0, first, max(first, stable))
    read_to = first
    told = spark.createDataFrame([], TOLD)
    if len(unread):
        with kafka_errors([unread], topic):
            records = read_ranges(spark, kafka, [unread], f"headrace-{topic}")
            told = records.selectExpr(*_fields(system)).persist()
            newest = told.where("status = 'END'").selectExpr("max(offset) as offset").first()
        if newest and newest["offset"] is not None:
            read_to = newest["offset"] + 1
    # After the ENDs were read: whoever wrote them had written the rows. Not how far they can be read, for Kafka makes a
    # transaction readable in one topic after the other.
    written = stable_ends(kafka, [stream.topic for stream in streams], committed=False)
    by_topic = {at.topic: (at.topic_id, end) for at, (_, end) in written.items()}
    ends = {stream.name: by_topic.get(stream.topic, ("", 0)) for stream in streams}
    return Look(place.topic_id, read_to, ends, now), told


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
