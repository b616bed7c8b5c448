"""What the streams of a run touch: the history tables through `ingest`, and where the broker's topics begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline, Stream
from streaming_jobs.delta_commit import read_positions
from streaming_jobs.ingest import ingest, write_off
from streaming_jobs.lake import table_path
from streaming_jobs.ranges import Range
from streaming_jobs.stopping import TableChanges
from streaming_jobs.stream_worker import Clock, Edges, Taken


def lake_edges(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    run: str,
    clock: Clock,
    accepts_loss: Callable[[str], bool] = lambda _: False,
    max_chunk_rows: int | None = None,
    table_changes: TableChanges | None = None,
) -> Edges:
    """The edges of a run: Kafka to the tables of the pipeline's lake. `accepts_loss` says of a stream that was resumed
    whether it goes on without what is lost; `max_chunk_rows` bounds a batch of chunks; `table_changes` asks the
    source, for streams that stop."""
    lake_url = f"{endpoints.hdfs_url}/lake"

    def take_in(stream: Stream, ranges: tuple[Range, ...], accept_bad: bool) -> Taken:
        now = clock.now()
        result = ingest(
            *(spark, stream, ranges, lake_url, endpoints.kafka, run, "batch", now),
            park=not accept_bad,
            without_lost=accept_bad and accepts_loss(stream.name),
            max_chunk_rows=max_chunk_rows,
            table_changes=table_changes,
        )
        # One that is not among the result's the table had already.
        ends = {one.partition: one.next for one in result.ranges}
        taken = tuple(replace(one, next=ends.get(one.partition, one.next)) for one in ranges)
        return Taken(result.counts.rows, taken)

    def positions(stream: Stream) -> Mapping[str, int]:
        return read_positions(spark, table_path(lake_url, pipeline.name, stream.name))

    def lose(stream: Stream, ranges: tuple[Range, ...]) -> None:
        write_off(spark, stream, ranges, lake_url, run, clock.now())

    return Edges(take_in, positions, beginnings_in(endpoints.kafka), lose)


def beginnings_in(kafka: str) -> Callable[[str, Sequence[int]], Mapping[int, int]]:
    """A function that asks the broker for the first offset it still has of each partition of a topic."""

    def beginnings(topic: str, partitions: Sequence[int]) -> dict[int, int]:
        wanted = [TopicPartition(topic, partition) for partition in partitions]
        try:
            consumer = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, metrics_enabled=False)
            try:
                found = consumer.beginning_offsets(wanted)
            finally:
                consumer.close()
        except KafkaError as error:
            raise ServiceUnavailable(
                "Kafka did not say where a topic begins",
                kafka=kafka,
                topic=topic,
                cause=repr(error),
                state="Nothing was read or written.",
                next_step="check that the broker runs (`headrace status`); the call is repeated",
            ) from error
        return {one.partition: int(found[one]) for one in wanted}

    return beginnings
