"""What is read from the broker or sent to it, and what becomes of one that does not answer: an error that says what is
left and what to do."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from contracts.errors import ServiceUnavailable

# What a record raises that is not as we know it. Anybody may write one: Postgres lets every role emit messages.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError, RecursionError)
_PATIENCE_S = 30
_T = TypeVar("_T")
Offsets = Mapping[tuple[str, int], int]
"""By topic and partition."""
_NEXT = "`headrace status` shows whether the broker runs; then repeat what you did"


def answers(kafka: str, within_s: float) -> bool:
    """Whether one of these brokers says in time which versions of the protocol it speaks: Kafka's own clients look for
    one for half a minute each."""
    deadline = time.monotonic() + within_s
    asked = struct.pack("!hhih8s", 18, 0, 1, 8, b"headrace")  # ApiVersions
    addresses = kafka.split(",")
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):  # to each its share of the time
        host, _, port = address.strip().rpartition(":")
        left_s = max(0.01, (deadline - time.monotonic()) / left)
        with (
            suppress(OSError, ValueError),
            socket.create_connection((host.strip("[]"), int(port)), timeout=left_s) as connection,
        ):
            connection.sendall(struct.pack("!i", len(asked)) + asked)
            if connection.recv(1):
                return True
    return False


@contextmanager
def answering(kafka: str, what: str, *, state: str, **where: object) -> Iterator[None]:
    """Whatever Kafka refuses inside becomes ServiceUnavailable: `what` did not happen, and `state` is left."""
    try:
        yield
    except KafkaError as error:
        raise ServiceUnavailable(
            what, state=state, next_step=_NEXT, broker=kafka, cause=repr(error), **where
        ) from error


def send(
    kafka: str,
    topic: str,
    value: bytes,
    *,
    what: str,
    state: str,
    key: bytes | None = None,
    partition: int | None = None,
) -> None:
    """One record; on return every replica in sync has it. ServiceUnavailable says `what` failed and `state` is left."""
    with answering(kafka, what, state=state, topic=topic):
        producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
        try:
            producer.send(topic, key=key, value=value, partition=partition).get(timeout=30)
        finally:
            producer.close()


def collected(
    kafka: str,
    topic: str,
    read: Callable[[bytes | None, int], Iterable[_T]],
    *,
    what: str,
    at_most: int | None = None,
) -> list[_T]:
    """What `read` makes of value and offset of each record of a topic with one partition, or of those in its last
    `at_most` offsets; empty if there is none of that name.

    ServiceUnavailable says `what` failed if the broker does not answer.
    """
    found: list[_T] = []
    with answering(kafka, what, state="Nothing was changed.", topic=topic), closing(reader(kafka)) as consumer:
        if placed(consumer, topic, at_most):
            for record in rest(consumer, TopicPartition(topic, 0)):
                found += read(record.value, record.offset)
    return found


def reader(kafka: str) -> KafkaConsumer:
    """A consumer of committed records, of no group. KafkaError if no broker answers."""
    return KafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False, group_id=None
    )


def placed(consumer: KafkaConsumer, topic: str, at_most: int | None = None) -> bool:
    """Puts the consumer to the beginning of a topic with one partition, or of its last `at_most` offsets; false if
    there is none of that name. KafkaError if the broker does not answer."""
    # Asking for a topic by name might make it.
    if topic not in consumer.topics():
        return False
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    first = consumer.beginning_offsets([place])[place]
    consumer.seek(place, max(first, consumer.end_offsets([place])[place] - at_most) if at_most else first)
    return True


def rest(consumer: KafkaConsumer, place: TopicPartition) -> Iterator[Any]:
    """The records from the consumer's position up to the end of this moment; exhausted, the position is there.

    KafkaError if the broker does not answer, or nothing comes for half a minute: by itself it would wait for ever.
    """
    end = consumer.end_offsets([place])[place]
    at, since = consumer.position(place), time.monotonic()
    # The position also passes the control records at the end, which poll never returns.
    while at < end:
        if time.monotonic() - since > _PATIENCE_S:
            raise KafkaTimeoutError(f"nothing came for {_PATIENCE_S} s, at offset {at} of {end}")
        for records in consumer.poll(timeout_ms=500).values():
            yield from records
        if (now := consumer.position(place)) > at:
            at, since = now, time.monotonic()
