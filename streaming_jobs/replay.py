"""Read a range of a stream's topic again: rows that are there stay, rows that are missing come back as they were."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from pyspark.sql import SparkSession
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from contracts.errors import Conflict, Fatal, OffsetsLost, ServiceUnavailable
from contracts.stream import Stream
from streaming_jobs.counts import Counts, total
from streaming_jobs.delta_commit import read_positions
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import table_path
from streaming_jobs.positions import describe, stream_position
from streaming_jobs.ranges import Range

PIECE_OFFSETS = 500_000
CHUNK_ROWS = 10_000_000
"""Of large files in one commit, one chunk at least."""
Bound = int | datetime
"""An offset, or an aware time that stands for the first record at or after it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did: `counts.accepted` rows were missing and came back, `duplicate` ones were there."""

    stream: str
    run: str
    ranges: tuple[Range, ...]
    counts: Counts


def plan_replay(
    spark: SparkSession, stream: Stream, lake_url: str, kafka: str, first: Bound, end: Bound | None = None
) -> list[Range]:
    """The offsets `[first, end)` of every partition, up to where the history stands; `end` None means up to there.

    Raises:
        OffsetsLost: the broker no longer has all of them.
        ServiceUnavailable: the broker did not answer.
        Fatal: the topic does not exist, or `first` lies past what the history has read.
    """
    topic = describe(kafka, [stream.topic]).get(stream.topic)
    if topic is None:
        raise Fatal(f"the topic {stream.topic} does not exist", state="Nothing was read.", next_step="headrace apply")
    positions = read_positions(spark, table_path(lake_url, stream.pipeline, stream.name))
    stands = stream_position(positions, topic.name, topic.topic_id, topic.partitions)
    places = {partition: TopicPartition(topic.name, partition) for partition in topic.partitions}
    try:
        consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, metrics_enabled=False)
        try:
            earliest = consumer.beginning_offsets(list(places.values()))
            starts = _resolve(consumer, places, first, stands)
            ends = _resolve(consumer, places, end, stands)
        finally:
            consumer.close()
    except KafkaError as error:
        raise ServiceUnavailable(
            "Kafka did not say which offsets the range has",
            kafka=kafka,
            topic=topic.name,
            cause=repr(error),
            state="Nothing was read or written.",
            next_step="check the broker (`headrace status`) and repeat",
        ) from error
    ranges = []
    for partition, place in places.items():
        start, stop = starts[partition], min(ends[partition], stands[partition])
        kept = earliest[place]
        # A time before everything that is left may have had records that are gone: only an offset says which.
        if start < stop and (start < kept or (isinstance(first, datetime) and start == kept > 0)):
            raise OffsetsLost(
                f"Kafka keeps {topic.name}-{partition} from offset {kept} on only",
                stream=stream.name,
                asked_from=first,
                state="Nothing was read or written.",
                next_step=f"replay from what is left: --from-offset {kept}",
            )
        if start < stop:
            ranges.append(Range(topic.name, topic.topic_id, partition, start, stop))
    if not ranges and isinstance(first, int) and all(first >= stand for stand in stands.values()):
        raise Fatal(
            f"{stream.name} has read up to {stands}: there is nothing to replay from {first}",
            state="Nothing was read or written.",
            next_step="name an offset below; `headrace ledger` lists the ranges",
        )
    return ranges


def replay(
    spark: SparkSession,
    stream: Stream,
    lake_url: str,
    kafka: str,
    ranges: Sequence[Range],
    *,
    now: datetime,
    piece_offsets: int = PIECE_OFFSETS,
    progress: Callable[[int], None] | None = None,
) -> Replayed:
    """Evaluate these records again, in commits of at most `piece_offsets` offsets and CHUNK_ROWS rows; positions do not
    move.

    May be called again, also after a kill in the middle: what came back is then there. The streams may run
    meanwhile; a piece that meets a batch is repeated. State, views and star schema follow with the next merge.

    Raises:
        OffsetsLost, ServiceUnavailable: from Kafka; the pieces before stand.
    """
    run = str(uuid.uuid4())
    done: list[Counts] = []
    for piece in _pieces(ranges, piece_offsets):
        attempts = Retrying(
            retry=retry_if_exception_type(Conflict),
            stop=stop_after_attempt(20),
            wait=wait_random(0.05, 1),
            reraise=True,
        )
        left = piece
        while len(left):
            result = attempts(
                *(ingest, spark, stream, [left], lake_url, kafka, run, "replay", now), max_chunk_rows=CHUNK_ROWS
            )
            done.append(result.counts)
            end = min((one.next for one in result.ranges), default=piece.next)
            if progress is not None:
                progress(end - left.first)
            left = replace(left, first=end)
    return Replayed(stream.name, run, tuple(ranges), total(done))


def _pieces(ranges: Sequence[Range], size: int) -> list[Range]:
    return [
        Range(one.topic, one.topic_id, one.partition, start, min(start + size, one.next))
        for one in ranges
        for start in range(one.first, one.next, size)
    ]


def _resolve(
    consumer: KafkaConsumer, places: dict[int, TopicPartition], bound: Bound | None, stands: dict[int, int]
) -> dict[int, int]:
    if bound is None:
        return stands
    if isinstance(bound, int):
        return dict.fromkeys(places, bound)
    millis = int(bound.timestamp() * 1000)
    found = consumer.offsets_for_times(dict.fromkeys(places.values(), millis))
    return {p: found[place].offset if found.get(place) else stands[p] for p, place in places.items()}
