"""A kill at any byte, two watchers, a broker that goes away, a clock that steps: each row of a file once, in order."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import HeadraceError, ServiceUnavailable
from contracts.settings import Settings
from contracts.stream import Column, FileSource, Pipeline, Stream
from infra.local import deployment as local_deployment
from infra.local import process
from producers.push import SendOptions, push
from producers.sending import TransactionLimits
from producers.states import FilesTopic, file_states
from producers.transactions import TRANSACTION_TIMEOUT_S, TransactionalProducer
from tests.conftest import WaitUntil, missing_service
from tests.services.file_kill_process import (
    KINDS,
    Order,
    Row,
    any_death,
    arrived,
    left_over,
    pushed,
    sample,
)
from tests.services.file_lake import file_lake
from tests.services.push_process import CHUNK, child, committed, orders, values, with_topics

SEEDS = tuple(range(1, 1 + int(os.environ.get("HEADRACE_CHAOS_SEEDS", "3"))))
KILLS = 3

STREAM = Stream(
    "p",
    "orders",
    "p.files.orders",
    FileSource(r"orders_(?P<day>\d{4}-\d\d-\d\d)(?:_\w+)?\.csv", "csv", unit="day"),
    (
        Column("id", "bigint", required=True),
        Column("amount", "bigint"),
        Column("day", "date", required=True, from_file_name=True),
    ),
    ("id",),
    partition_by="day",
)


@pytest.fixture
def kafka(endpoints: Endpoints) -> str:
    return endpoints.kafka


@pytest.fixture
def pipeline(kafka: str) -> Iterator[Pipeline]:
    with with_topics(kafka) as pipeline:
        yield pipeline


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_at_any_byte_leaves_each_row_once(
    endpoints: Endpoints, pipeline: Pipeline, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    file = sample(kind, chance, tmp_path)
    rows = {pipeline.stream(stream).topic: found for stream, found in file.rows.items()}
    count = sum(map(len, rows.values()))
    order = Order(pipeline.name, endpoints.kafka, str(file.path), limit_rows=chance.randint(300, 2000))
    commits = count // order.limit_rows
    if kind == "chunks":
        lake = f"{urlsplit(endpoints.hdfs_url).path}/test_lakes/{pipeline.name}"
        order, commits = replace(order, webhdfs_url=endpoints.webhdfs_url, lake=lake), 1
    print(kind, count, order)
    told: list[str] = []
    for _ in range(KILLS):
        order = replace(order, read_bytes=chance.randint(10_000, 200_000))
        death = any_death(chance, bytes=file.bytes, rows=count, commits=commits, archive=kind in ("gzip", "zip"))
        code, states = pushed(order, death)
        told += states
        so_far = {topic: arrived(order, topic) for topic in rows}
        print(death, code, states, [len(found) for found in so_far.values()])
        assert code in (-signal.SIGKILL, -signal.SIGALRM, 0)
        assert all(found == rows[topic][: len(found)] for topic, found in so_far.items())
    code, states = pushed(order)
    assert (code, len(states)) == (0, len(rows))
    assert {*states} <= {"sent", "already_sent"}
    assert {topic: arrived(order, topic) for topic in rows} == rows
    known = file_states(endpoints.kafka, pipeline)
    assert {stream: (one.state.state, one.state.sent) for (stream, _), one in known.items()} == {
        stream: ("sent", len(found)) for stream, found in file.rows.items()
    }
    if kind == "chunks":
        # Who died behind the commit did not clear up, and nobody after it may.
        assert left_over(order, *rows) == set() or "sent" not in told + states


@pytest.mark.chaos  # `test_producers_watch` has the same with fewer files
def test_two_watchers_and_one_of_them_killed_in_the_middle_of_a_file(
    kafka: str, pipeline: Pipeline, tmp_path: Path, wait_until: WaitUntil
) -> None:
    root = tmp_path / "drop"
    incoming, processed = root / "incoming", root / "processed"
    incoming.mkdir(parents=True)
    files = {
        f"orders_2026-01-{day:02}.csv": [b"%d-%d,1" % (day, number) for number in range(3000)] for day in range(1, 31)
    }

    def drop(names: list[str]) -> None:
        for name in names:
            part = incoming / f"{name}.part"
            part.write_bytes(b"\n".join([b"id,amount", *files[name]]))
            part.rename(incoming / name)

    names = sorted(files)
    killed = child("watch", pipeline, kafka, root, failpoint="before_kafka_commit:5")
    first = child("watch", pipeline, kafka, root)
    drop(names[:15])
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    drop(names[15:])
    again = child("watch", pipeline, kafka, root)
    wait_until(lambda: len(list(processed.iterdir())) == len(files), 120, "all thirty files are processed")
    for watcher in (first, again):
        watcher.send_signal(signal.SIGTERM)
        watcher.communicate(timeout=30)
        assert watcher.returncode == 0
    assert list(incoming.iterdir()) == []
    assert sorted(path.name for path in processed.iterdir()) == names
    found: dict[str, list[Row]] = {}
    for _, key, value in committed(kafka, pipeline.stream("orders").topic):
        found.setdefault(key.file_name, []).append((key.line, value))
    assert found == {name: list(enumerate(lines, 2)) for name, lines in files.items()}


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A deployment of Kafka alone, which may be stopped: nobody else's tests run on it."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("own_broker"))
    try:
        local_deployment.up(settings, ["kafka"])
        yield settings
    except HeadraceError as error:
        missing_service(str(error))
    finally:
        local_deployment.down(settings)


@contextmanager
def topics_on(kafka: str, wait_until: WaitUntil) -> Iterator[Pipeline]:
    """As with_topics, on a broker that has only just started: its controller knows a topic before the broker does."""
    with with_topics(kafka) as pipeline:
        admin = AdminClient({"bootstrap.servers": kafka})
        names = {pipeline.files_topic, *(stream.topic for stream in pipeline.streams)}
        wait_until(lambda: names <= set(admin.list_topics(timeout=10).topics), 30, "the broker knows the topics")
        yield pipeline


def kill(settings: Settings, wait_until: WaitUntil) -> None:
    broker = process.records(settings.data_dir)["kafka"]
    os.kill(broker.pid, signal.SIGKILL)
    wait_until(lambda: not process.alive(broker), 30, "the broker is gone")


def restart(settings: Settings, how: str, wait_until: WaitUntil, meanwhile: Callable[[], None]) -> None:
    if how == "stopped":
        assert local_deployment.down(settings, ["kafka"]) == ["kafka"]
    else:
        kill(settings, wait_until)
    meanwhile()
    local_deployment.up(settings, ["kafka"])


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.chaos)])
def test_a_broker_that_restarts_in_the_middle_of_a_push_costs_no_row(
    own_broker: Settings, tmp_path: Path, wait_until: WaitUntil, how: str
) -> None:
    kafka = local_deployment.endpoints(own_broker).kafka
    path, lines = orders(tmp_path)
    with topics_on(kafka, wait_until) as pipeline:
        topic = pipeline.stream("orders").topic
        pushing = child("push", pipeline, kafka, path)
        with FilesTopic(kafka, pipeline) as known:
            wait_until(lambda: any(one.state.sent for one in known.read_to_end().values()), 30, "it has begun")
        pushing.send_signal(signal.SIGSTOP)  # or it would be at its end before the broker is
        stopped = time.monotonic()
        restart(own_broker, how, wait_until, lambda: pushing.send_signal(signal.SIGCONT))
        ended = pushing.communicate(timeout=150)[0].split()
        if ended[0] == "given_up":
            # The open transaction, which had begun less than five seconds before, ran out before the broker was back.
            assert time.monotonic() - stopped > TRANSACTION_TIMEOUT_S - 5
            (again,) = push([path], pipeline, kafka, SendOptions(limits=CHUNK))
            ended = [again.state, str(again.sent)]
        assert ended == ["sent", str(len(lines))]
        assert values(committed(kafka, topic)) == lines
        assert [one.state.state for one in file_states(kafka, pipeline).values()] == ["sent"]


def test_the_files_topic_is_read_on_over_the_same_connection_once_the_broker_is_back(
    own_broker: Settings, tmp_path: Path, wait_until: WaitUntil
) -> None:
    kafka = local_deployment.endpoints(own_broker).kafka
    with topics_on(kafka, wait_until) as pipeline, FilesTopic(kafka, pipeline) as files:
        assert [one.state for one in push([orders(tmp_path, 10)[0]], pipeline, kafka)] == ["sent"]
        assert len(files.read_to_end()) == 1
        restart(own_broker, "stopped", wait_until, lambda: None)

        def read() -> bool:
            try:
                return len(files.read_to_end()) == 1
            except ServiceUnavailable:
                return False

        wait_until(read, 60, "the file is found again")


def test_a_sender_lets_go_while_the_broker_is_away(own_broker: Settings, wait_until: WaitUntil) -> None:
    kafka = local_deployment.endpoints(own_broker).kafka
    produced, gone, left = threading.Event(), threading.Event(), threading.Event()

    def send(topic: str) -> None:
        with TransactionalProducer(kafka, "lets-go") as producer:
            producer.begin()
            producer.produce(topic, 0, b"key", b"value")
            producer._flush()
            produced.set()
            gone.wait(60)
        left.set()

    with topics_on(kafka, wait_until) as pipeline:
        sender = threading.Thread(target=send, args=(pipeline.files_topic,), daemon=True)
        sender.start()
        try:
            wait_until(produced.is_set, 30, "a record is in the open transaction")
            kill(own_broker, wait_until)
            gone.set()
            wait_until(left.is_set, 60, "the sender has let go")
        finally:
            local_deployment.up(own_broker, ["kafka"])
            sender.join(60)


def test_a_clock_that_steps_doubles_no_row_and_makes_no_file_newer(
    spark: SparkSession, endpoints: Endpoints, tmp_path: Path
) -> None:
    """The corrected file is the newer one by its revision, whatever day the clock says."""
    stepping = cycle((timedelta(0), timedelta(days=-1), timedelta(days=366)))

    def clock() -> datetime:
        return datetime.now(UTC) + next(stepping)

    limits = TransactionLimits(rows=100)
    with file_lake(spark, endpoints, STREAM) as lake:
        wrong, corrected, other = (tmp_path / f"orders_2026-01-0{part}.csv" for part in ("1", "1_b", "2"))
        rows = {
            path: [(number, number * factor) for number in range(start, start + 500)]
            for path, start, factor in ((wrong, 0, 1), (corrected, 0, 2), (other, 1000, 3))
        }
        for path, found in rows.items():
            path.write_text("\n".join(["id,amount", *(f"{number},{amount}" for number, amount in found)]))
        ahead = lake.push(wrong, options=SendOptions(limits=limits, clock=clock))
        late = datetime.now(UTC) - timedelta(days=400)
        behind = lake.push(corrected, other, options=SendOptions(limits=limits, clock=lambda: late))
        results = [*ahead, *behind]
        assert [(one.state, one.sent) for one in results] == [("sent", 500)] * 3
        assert [one.state for one in lake.push(*rows, options=SendOptions(clock=clock))] == ["already_sent"] * 3
        known = file_states(lake.kafka, lake.pipeline)
        states = [known["orders", one.hash] for one in results]
        assert [one.offset for one in states] == sorted(one.offset for one in states)
        assert states[1].state.at < states[0].state.at
        assert lake.take_in("orders") is not None
        assert lake.book() == []
        history = sorted((row["_file"], row["_line"], row["id"], row["amount"]) for row in lake.table("orders"))
        current = sorted((row["id"], row["amount"]) for row in lake.table("orders_current"))
        assert history == sorted(
            (path.name, line, *value) for path, found in rows.items() for line, value in enumerate(found, 2)
        )
        assert current == sorted(rows[corrected] + rows[other])
