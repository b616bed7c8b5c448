"""What the streams of a run touch: the history tables through `ingest`, and where the broker's topics begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from contracts.errors import ServiceUnavailable


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
