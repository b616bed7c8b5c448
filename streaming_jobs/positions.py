"""Where a stream continues: its position in each partition, per topic id, as the history table itself states it.

A topic that was deleted and made again restarts its offsets at 0. So a position belongs to a topic *id*: one that the
table has never seen starts at offset 0 and opens a new epoch, and no offset is ever compared across ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from contracts.errors import ServiceUnavailable
from streaming_jobs.ranges import app_id

_UNKNOWN_TOPIC = 3


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """One topic as the broker knows it now: the id changes when it is made again."""

    name: str
    topic_id: str
    partitions: tuple[int, ...]


def describe(kafka: str, topics: Iterable[str]) -> dict[str, TopicIdentity]:
    """The topics' ids and partitions; a topic that does not exist is left out.

    Asks the broker every time: an id must not be cached longer than a topic may live.
    """
    names = list(topics)
    if not names:
        return {}
    try:
        admin = KafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=15_000)
        try:
            answer = admin.describe_topics(names)
        finally:
            admin.close()
    except KafkaError as error:
        raise ServiceUnavailable(
            "Kafka did not describe the topics",
            kafka=kafka,
            topics=", ".join(names),
            cause=repr(error),
            state="Nothing was read or written.",
            next_step="check that the broker runs (`headrace status`); the call is repeated",
        ) from error
    found: dict[str, TopicIdentity] = {}
    for topic in answer:
        if topic["error_code"] == _UNKNOWN_TOPIC:
            continue
        if topic["error_code"] or not topic["topic_id"]:
            raise ServiceUnavailable(
                "Kafka answered with an error for a topic", topic=topic["name"], code=topic["error_code"]
            )
        partitions = tuple(sorted(int(partition["partition_index"]) for partition in topic["partitions"]))
        found[topic["name"]] = TopicIdentity(topic["name"], str(topic["topic_id"]), partitions)
    return found


def stream_position(txns: Mapping[str, int], topic: str, topic_id: str, partitions: Sequence[int]) -> dict[int, int]:
    """The next offset to read of each partition: 0 where the table has none for this topic id.

    `txns` are all the positions of the table (`TableTransaction.positions()`). Positions of other ids of the same
    topic name do not count.
    """
    return {partition: txns.get(app_id(topic_id, topic, partition), 0) for partition in partitions}
