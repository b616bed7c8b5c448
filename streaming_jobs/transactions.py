"""What Debezium tells of the source's transactions: which of them lie in the topics whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from contracts.stream import Stream, System
from streaming_jobs.gaps import stable_ends
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
        ServiceUnavailable, OffsetsLost: from Kafka.
    """
    found = stable_ends(kafka, [topic])
    if not found:
        return None
    ((place, (beginning, stable)),) = found.items()
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


def _fields(system: System) -> tuple[str, str, str]:
    text = "cast(value as string)"
    named = transaction_id(system, f"get_json_object({text}, '$.id')")
    return "offset", f"get_json_object({text}, '$.status') as status", f"{named} as id"
