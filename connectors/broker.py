"""What becomes of a broker that does not answer: an error that says what is left and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaProducer
from kafka.errors import KafkaError

from contracts.errors import ServiceUnavailable

_NEXT = "`headrace status` shows whether the broker runs; then repeat what you did"


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
