"""Files to a real Kafka: every event exactly once, whoever is killed, fenced or late."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.endpoints import Endpoints
from contracts.errors import Conflict, Fatal
from contracts.stream import Pipeline
from contracts.wire import row_partition
from producers.push import FileResult, SendOptions, push
from producers.scan import scan
from producers.send import Arrival, send_file
from producers.sending import TransactionLimits
from producers.states import FilesTopic, file_states
from producers.transactions import TransactionalProducer
from tests.services.push_process import (
    CHUNK,
    ROWS,
    child,
    committed,
    declared,
    orders,
    values,
    with_topics,
)


@pytest.fixture
def kafka(endpoints: Endpoints) -> str:
    return endpoints.kafka


@pytest.fixture
def pipeline(kafka: str) -> Iterator[Pipeline]:
    with with_topics(kafka) as pipeline:
        yield pipeline


def test_rows_arrive_as_they_stand_in_one_partition_with_file_and_line(
    kafka: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    csv = tmp_path / "orders_2026-01-01.csv"
    csv.write_bytes(b'\xef\xbb\xbfid,amount\r\n1,"a\nb"\r\n\r\n2,\xff\x00\r\n3,"open\r\n4,5')
    array = tmp_path / "visits_2026-01-01.json"
    array.write_bytes(b'[ {"id": 1.50},\n{"id":2}, {"id"')
    results = push([csv, array], pipeline, kafka)
    assert [(r.stream, r.state, r.rows, r.sent, r.unit) for r in results] == [
        ("orders", "sent", 3, 3, "2026-01-01"),
        ("visits", "sent", 3, 3, "2026-01-01"),
    ]
    found = committed(kafka, pipeline.stream("orders").topic)
    assert {partition for partition, _, _ in found} == {row_partition(results[0].hash, 3)}
    assert [(key.line, key.format, value) for _, key, value in found] == [
        (2, "csv", b'1,"a\nb"'),
        (5, "csv", b"2,\xff\x00"),
        (6, "unsplit", b'3,"open\r\n4,5'),
    ]
    assert {(key.file_hash, key.file_name, key.header) for _, key, _ in found} == {
        (results[0].hash, csv.name, "id,amount")
    }
    found = committed(kafka, pipeline.stream("visits").topic)
    assert [(key.line, key.format, value) for _, key, value in found] == [
        (1, "json", b'{"id": 1.50}'),
        (2, "json", b'{"id":2}'),
        (3, "unsplit", b' {"id"'),
    ]


def test_a_content_is_sent_once_whatever_its_name(kafka: str, pipeline: Pipeline, tmp_path: Path) -> None:
    first, lines = orders(tmp_path, 50)
    again, _ = orders(tmp_path, 50, "orders_2026-01-01_copy.csv")
    other_day, _ = orders(tmp_path, 50, "orders_2026-01-02.csv")
    assert [r.state for r in push([first], pipeline, kafka, SendOptions(dry_run=True))] == ["would_send"]
    assert committed(kafka, pipeline.stream("orders").topic) == []
    results = push([first, again, first, other_day], pipeline, kafka)
    assert [r.state for r in results] == ["sent", "already_sent", "already_sent", "rejected"]
    assert "known as orders_2026-01-01.csv" in results[1].reason
    assert "2026-01-01" in results[3].reason
    assert values(committed(kafka, pipeline.stream("orders").topic)) == lines
    assert file_states(kafka, pipeline)["orders", results[0].hash].state.state == "sent"


def test_nothing_of_a_wholly_wrong_file_is_sent(kafka: str, pipeline: Pipeline, tmp_path: Path) -> None:
    wrong = {
        "orders_2026-01-01.csv": b"",
        "orders_2026-01-02.csv": b"\n\n",
        "orders_2026-01-03.csv": b"x,y\n1,2\n",
        "orders_2026-01-04.csv": b"\x1f\x8b\x08\x00rest",
        "orders_2026-01-05.csv": b"id,\0amount\n1,2\n",
        "orders_2026-01-06.csv": "id,amount\n1,2\n".encode("utf-16"),
        "orders_2026-01-07.csv": b"id,amount\r1,2\r",
        "orders_2026-01-08.csv": b"id,id\n1,2\n",
        "orders_2026-01-09.csv": b"id,b\xe9\n1,2\n",
        "orders_2026-01-10.csv": b'"id,amount\n1,2\n',
        "visits_2026-01-01.json": b"id,amount\n1,2\n",
        "visits_2026-01-02.json": b'[{"foo":1}]',
        "unknown.csv": b"id,amount\n1,2\n",
    }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    paths = [*map(tmp_path.joinpath, wrong), tmp_path / "folder", tmp_path / "missing.csv"]
    results = push(paths, pipeline, kafka)
    assert [r.file for r in results if r.state != "rejected" or not r.reason] == []
    assert all(committed(kafka, stream.topic) == [] for stream in pipeline.streams)
    states = file_states(kafka, pipeline)
    assert {known.state.state for known in states.values()} == {"rejected"}
    # Neither a name that fits no stream nor an archive that cannot be opened is a content of any.
    assert len(states) == len(wrong) - 2


def test_a_missing_topic_is_named_and_not_created(kafka: str, tmp_path: Path) -> None:
    pipeline = declared(f"e_{uuid.uuid4().hex[:10]}")
    path, _ = orders(tmp_path, 1)
    for _ in range(2):
        with pytest.raises(Fatal, match=f"{pipeline.files_topic} does not exist") as refused:
            push([path], pipeline, kafka)
        assert "headrace apply" in str(refused.value)


@pytest.mark.parametrize("failpoint", ["before_kafka_commit", "after_kafka_commit"])
@pytest.mark.parametrize("hit", [1, pytest.param(3, marks=pytest.mark.chaos), 60])
def test_killed_at_a_commit_and_pushed_again_each_row_is_there_once(
    kafka: str, pipeline: Pipeline, tmp_path: Path, failpoint: str, hit: int
) -> None:
    path, lines = orders(tmp_path)
    topic = pipeline.stream("orders").topic
    killed = child("push", pipeline, kafka, path, failpoint=f"{failpoint}:{hit}")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    before = len(committed(kafka, topic))
    result = push([path], pipeline, kafka, SendOptions(limits=CHUNK))[0]
    # By what was committed, not by what could be read a moment later: a commit is answered before its marker is there.
    expected = "already_sent" if (failpoint, hit * CHUNK.rows) == ("after_kafka_commit", ROWS) else "sent"
    assert (result.state, result.sent) == (expected, ROWS)
    assert values(committed(kafka, topic)) == lines
    assert before < ROWS or expected == "already_sent"


def test_killed_anywhere_by_chance_each_row_is_there_once(kafka: str, pipeline: Pipeline, tmp_path: Path) -> None:
    path, lines = orders(tmp_path)
    for wait_s in (0.4, 0.7, 0.9):
        process = child("push", pipeline, kafka, path)
        time.sleep(wait_s)
        process.kill()
        process.communicate(timeout=10)
    assert push([path], pipeline, kafka)[0].state in ("sent", "already_sent")
    assert values(committed(kafka, pipeline.stream("orders").topic)) == lines


def test_concurrent_pushes_of_one_file_send_it_once(kafka: str, pipeline: Pipeline, tmp_path: Path) -> None:
    path, lines = orders(tmp_path)
    processes = [child("push", pipeline, kafka, path) for _ in range(3)]
    states = [process.communicate(timeout=90)[0].split()[0] for process in processes]
    assert set(states) <= {"sent", "already_sent", "given_up"}
    assert states.count("sent") == 1
    assert values(committed(kafka, pipeline.stream("orders").topic)) == lines


def test_a_fenced_sender_learns_it_at_whatever_call_comes_next(kafka: str, pipeline: Pipeline) -> None:
    topic = pipeline.stream("orders").topic

    def slowly(producer: TransactionalProducer) -> None:
        for number in range(300):
            producer.produce(topic, 0, b"%d" % number, b"row")
            time.sleep(0.1)  # the broker's answer comes between two records

    with TransactionalProducer(kafka, "headrace.fenced") as fenced, TransactionalProducer(kafka, "headrace.fenced"):
        fenced.begin()
        with pytest.raises(Conflict):
            slowly(fenced)
    with TransactionalProducer(kafka, "headrace.fenced") as fenced, TransactionalProducer(kafka, "headrace.fenced"):
        fenced.begin()
        fenced.produce(topic, 0, b"key", b"row")
        time.sleep(1)
        with pytest.raises(Conflict):
            fenced.commit(rows=True)


def test_a_fenced_sender_gives_up_and_its_open_rows_stay_invisible(
    kafka: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    path, lines = orders(tmp_path, 5000)
    stream = pipeline.stream("orders")
    others: list[FileResult] = []

    def overtaken(sent: int) -> None:
        if sent > 2000 and not others:
            others.extend(push([path], pipeline, kafka))

    with path.open("rb") as source, FilesTopic(kafka, pipeline) as files, pytest.raises(Conflict):
        send_file(
            source,
            Arrival(path.name, "2026-01-01"),
            scan(source, stream),
            stream,
            pipeline,
            kafka,
            files,
            clock=lambda: datetime.now(UTC),
            limits=CHUNK,
            progress=overtaken,
        )
    assert [r.state for r in others] == ["sent"]
    assert values(committed(kafka, stream.topic)) == lines


def test_a_sent_record_behind_anothers_open_transaction_is_still_found(
    kafka: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    path, lines = orders(tmp_path, 10)
    with TransactionalProducer(kafka, f"{pipeline.name}-other") as other:

        def open_another(*_: object) -> None:
            other.begin()
            other.produce(pipeline.files_topic, 0, b"orders/open", b"{}")
            other._flush()

        def end() -> None:
            with suppress(Conflict):  # the broker was quicker: it ends what has been open for fifteen seconds
                other.abort()

        assert push([path], pipeline, kafka, SendOptions(progress=open_another))[0].state == "sent"
        closing = threading.Timer(2.0, end)
        closing.start()
        assert push([path], pipeline, kafka)[0].state == "already_sent"
        closing.join()
    assert values(committed(kafka, pipeline.stream("orders").topic)) == lines


def test_a_file_that_changes_under_way_never_counts(kafka: str, pipeline: Pipeline, tmp_path: Path) -> None:
    path, lines = orders(tmp_path, 200_000)
    topic = pipeline.stream("orders").topic
    with path.open("rb") as whole:
        complete = scan(whole, pipeline.stream("orders"))

    def cut_short(_: str, sent: int, __: int) -> None:
        if sent == 20_000:
            os.truncate(path, 100)

    limits = TransactionLimits(rows=20_000)
    result = push([path], pipeline, kafka, SendOptions(limits=limits, progress=cut_short))[0]
    known = file_states(kafka, pipeline)["orders", complete.hash].state
    assert (result.state, known.state) == ("given_up", "rejected"), result.reason
    assert values(committed(kafka, topic)) == lines[: known.sent]
    orders(tmp_path, 200_000)
    assert push([path], pipeline, kafka)[0].state == "sent"
    assert values(committed(kafka, topic)) == lines


def test_a_content_is_not_completed_behind_rows_of_another(kafka: str, pipeline: Pipeline, tmp_path: Path) -> None:
    """Altered between the scan and the first chunk, and the right content pushed again: none of its rows is passed
    off as sent."""
    path, lines = orders(tmp_path, 5000)
    content, stream = path.read_bytes(), pipeline.stream("orders")
    with path.open("rb") as source, FilesTopic(kafka, pipeline) as files:
        scanned = scan(source, stream)
        path.write_bytes(content.replace(lines[7], b"7,99.99", 1))
        now = datetime.now(UTC)
        arrival = Arrival(path.name, "2026-01-01")
        outcome = send_file(source, arrival, scanned, stream, pipeline, kafka, files, clock=lambda: now, limits=CHUNK)
    assert (outcome.state, outcome.sent) == ("changed", 4000)
    path.write_bytes(content)
    for _ in range(2):
        result = push([path], pipeline, kafka)[0]
        assert (result.state, result.sent) == ("rejected", 4000)
        assert "Change a byte" in result.reason
    assert len(committed(kafka, stream.topic)) == 4000
    path.write_bytes(content + b"\r\n")
    corrected = push([path], pipeline, kafka)[0]
    found = [value for _, key, value in committed(kafka, stream.topic) if key.file_hash == corrected.hash]
    assert (corrected.state, found) == ("sent", lines)
