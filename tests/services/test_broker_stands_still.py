"""A broker that has more to say and says nothing any more: who reads a topic to its end is told so."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from connectors import broker, debezium
from connectors.reads import table_reads
from connectors.reads.table_reads import Notes
from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from infra.local import deployment as local_deployment


@pytest.fixture
def shop(endpoints: Endpoints) -> Iterator[Pipeline]:
    """A pipeline with a topic of notes."""
    name = f"still_{uuid4().hex[:8]}"
    table = Stream(name, "t", f"{name}.public.t", TableSource("public", "t"), (Column("id", "bigint"),), ("id",))
    pipeline = Pipeline(name, (table,), Path(), Path(), Path())
    with closing(KafkaAdminClient(bootstrap_servers=endpoints.kafka)) as admin:
        admin.create_topics({debezium.notifications_topic(pipeline): {"num_partitions": 1}}, wait_for_metadata=True)
        yield pipeline
        admin.delete_topics([debezium.notifications_topic(pipeline)])


def test_notes_that_do_not_come_are_told_of_and_read_whole_later(
    endpoints: Endpoints, shop: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Notes(endpoints.kafka, shop)) as notes:
        for _ in range(2):
            table_reads.all_anew(endpoints.kafka, shop)
            told = len(notes.all())
        table_reads.all_anew(endpoints.kafka, shop)
        with monkeypatch.context() as hurried:
            hurried.setattr(broker, "_PATIENCE_S", -1)
            with pytest.raises(ServiceUnavailable, match="what the connector has read") as late:
                notes.all()
        assert (told, len(notes.all())) == (2, 3)
    assert "nothing came" in str(late.value)
    assert late.value.state == "Nothing was changed."
    assert "headrace status" in late.value.next_step


def test_a_broker_that_stands_still_holds_nobody_up(
    endpoints: Endpoints, deployment: Settings, shop: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_PATIENCE_S", 2)
    assert broker.answers(endpoints.kafka, 5)
    (pid,) = (part.pid for part in local_deployment.status(deployment) if part.name == "kafka")
    assert pid
    place = TopicPartition(debezium.notifications_topic(shop), 0)
    with closing(KafkaProducer(bootstrap_servers=endpoints.kafka)) as producer:
        for _ in range(300):  # more than one answer of the broker holds
            producer.send(place.topic, b"x" * 50_000)
        producer.flush()
    with closing(broker.reader(endpoints.kafka)) as consumer:
        assert broker.placed(consumer, place.topic)
        coming = broker.rest(consumer, place)
        next(coming)
        os.kill(pid, signal.SIGSTOP)
        try:
            assert not broker.answers(endpoints.kafka, 1)
            with pytest.raises(KafkaTimeoutError, match=r"at offset \d+ of 300"):
                list(coming)
        finally:
            os.kill(pid, signal.SIGCONT)
        rest = list(broker.rest(consumer, place))
    assert rest
    assert rest[-1].offset == 299
