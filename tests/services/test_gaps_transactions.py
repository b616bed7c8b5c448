"""Offsets that Spark never sees are proven harmless by an independent reader, and named for what they are."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from contracts.endpoints import Endpoints
from streaming_jobs.gaps import Booked, count, read_ranges, stable_ends
from streaming_jobs.positions import describe

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


@pytest.fixture
def topic(endpoints: Endpoints) -> Iterator[str]:
    name = f"d-gaps-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=endpoints.kafka)
    admin.create_topics([NewTopic(name, 1, 1)])
    yield name
    admin.delete_topics([name])
    admin.close()


def _transaction(producer: Producer, topic: str, rows: int, *, abort: bool = False) -> None:
    producer.begin_transaction()
    for row in range(rows):
        producer.produce(topic, value=str(row).encode(), partition=0)
    producer.flush(30)
    if abort:
        producer.abort_transaction(30)
    else:
        producer.commit_transaction(30)


def _three_transactions(kafka: str, topic: str) -> None:
    """Offsets: 0-9 rows, 10 commit, 11-17 aborted rows, 18 abort, 19-22 rows, 23 commit."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic, "linger.ms": 5})
    producer.init_transactions(30)
    _transaction(producer, topic, 10)
    _transaction(producer, topic, 7, abort=True)
    _transaction(producer, topic, 4)
    _wait_for_end(kafka, topic, 24)


def _wait_for_end(kafka: str, topic: str, end: int) -> None:
    """The broker answers a commit before its marker is in the topic."""
    deadline = time.monotonic() + 60
    while [found for _, found in stable_ends(kafka, [topic]).values()] != [end]:
        assert time.monotonic() < deadline, f"{topic} does not end at {end}"
        time.sleep(0.05)


def test_aborted_rows_are_told_from_control_records(endpoints: Endpoints, topic: str) -> None:
    _three_transactions(endpoints.kafka, topic)
    topic_id = describe(endpoints.kafka, [topic])[topic].topic_id
    whole = Booked(topic, topic_id, 0, 0, 24, rows=14, gap=10)
    (reading,) = read_ranges(endpoints.kafka, [whole], timeout_s=30)
    assert reading.problem == ""
    assert reading.committed == ((0, 10), (19, 23))
    assert reading.aborted == ((11, 18),)
    assert reading.control == ((10, 11), (18, 19), (23, 24))


@pytest.mark.parametrize(
    ("first", "end", "committed", "aborted", "control"),
    [
        (10, 11, 0, 0, 1),  # nothing but a control record
        (12, 15, 0, 3, 0),  # begins and ends inside an aborted transaction
        (5, 19, 5, 7, 2),  # begins inside a batch, ends in a control record
        (22, 24, 1, 0, 1),  # the end of the topic is a control record
    ],
)
def test_any_cut_is_classified_exactly(
    endpoints: Endpoints, topic: str, first: int, end: int, committed: int, aborted: int, control: int
) -> None:
    _three_transactions(endpoints.kafka, topic)
    topic_id = describe(endpoints.kafka, [topic])[topic].topic_id
    booked = Booked(topic, topic_id, 0, first, end, rows=committed, gap=aborted + control)
    (reading,) = read_ranges(endpoints.kafka, [booked], timeout_s=30)
    assert (count(reading.committed), reading.aborted_count, reading.control_count) == (committed, aborted, control)
    assert reading.problem == ""


def test_a_lost_row_or_a_stale_topic_is_a_problem_and_never_waits_for_ever(endpoints: Endpoints, topic: str) -> None:
    _three_transactions(endpoints.kafka, topic)
    topic_id = describe(endpoints.kafka, [topic])[topic].topic_id
    readings = read_ranges(
        endpoints.kafka,
        [
            Booked(topic, topic_id, 0, 0, 24, rows=13, gap=11),  # one row written off as a gap
            Booked(topic, topic_id, 0, 0, 25, rows=14, gap=11),  # past the end
            Booked(topic, str(uuid.uuid4()), 0, 0, 24, rows=14, gap=10),  # another incarnation
        ],
        timeout_s=30,
    )
    assert "14 committed records, the ledger booked 13" in readings[0].problem
    assert "ends at 24" in readings[1].problem
    assert "made again" in readings[2].problem


def test_an_open_transaction_is_not_proven_yet(endpoints: Endpoints, topic: str) -> None:
    producer = Producer({"bootstrap.servers": endpoints.kafka, "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, value=b"1", partition=0)
    producer.flush(30)
    topic_id = describe(endpoints.kafka, [topic])[topic].topic_id
    (reading,) = read_ranges(endpoints.kafka, [Booked(topic, topic_id, 0, 0, 1, rows=1, gap=0)], timeout_s=30)
    assert "ends at 0" in reading.problem
    producer.abort_transaction(30)
    _wait_for_end(endpoints.kafka, topic, 2)
    (reading,) = read_ranges(endpoints.kafka, [Booked(topic, topic_id, 0, 0, 2, rows=0, gap=2)], timeout_s=30)
    assert (reading.problem, reading.aborted, reading.control) == ("", ((0, 1),), ((1, 2),))


def test_a_stretch_cut_into_ranges_is_read_once_and_judged_range_by_range(endpoints: Endpoints, topic: str) -> None:
    _three_transactions(endpoints.kafka, topic)
    topic_id = describe(endpoints.kafka, [topic])[topic].topic_id
    cuts = [(0, 5, 5), (5, 12, 5), (12, 20, 1), (20, 24, 3)]
    booked = [Booked(topic, topic_id, 0, first, end, rows, end - first - rows) for first, end, rows in cuts]
    seen: list[int] = []
    readings = read_ranges(endpoints.kafka, [*booked, booked[1]], timeout_s=30, progress=seen.append)
    assert [reading.problem for reading in readings] == [""] * 5
    assert [(reading.aborted_count, reading.control_count) for reading in readings[:4]] == [
        (0, 0),
        (1, 1),
        (6, 1),
        (0, 1),
    ]
    assert sum(seen) == 24
