"""What the tests of the producers share: a pipeline of two file streams, its files and topics, and the process that
the tests kill, `python -m tests.services.push_process push|watch <pipeline> <kafka> <path>`."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from contracts.failpoints import VARIABLE
from contracts.stream import Column, FileSource, Pipeline, Stream
from contracts.wire import RowKey, decode_row_key
from producers.push import FileResult, SendOptions, push
from producers.sending import TransactionLimits
from producers.watch import stop_on_signals, watch

CHUNK = TransactionLimits(rows=1000)
ROWS = 60_000
_children: list[subprocess.Popen[str]] = []


def declared(name: str) -> Pipeline:
    columns = tuple(Column(column, "string") for column in ("id", "amount"))
    dated = r"(?P<day>\d{4}-\d\d-\d\d)(?:_\w+)?"
    streams = (
        ("orders", FileSource(rf"orders_{dated}\.csv", "csv", unit="day"), 3),
        ("visits", FileSource(rf"visits_{dated}\.json", "json", unit="day"), 1),
    )
    return Pipeline(
        name,
        tuple(
            Stream(name, stream, f"{name}.files.{stream}", source, columns, ("id",), partitions=partitions)
            for stream, source, partitions in streams
        ),
        Path(),
        Path(),
        Path(),
    )


@contextmanager
def with_topics(kafka: str) -> Iterator[Pipeline]:
    """A pipeline under a name of its own, with its topics. No child process outlives it."""
    pipeline = declared(f"e_{uuid.uuid4().hex[:10]}")
    admin = AdminClient({"bootstrap.servers": kafka})
    topics = [NewTopic(stream.topic, stream.partitions, 1) for stream in pipeline.streams]
    topics.append(NewTopic(pipeline.files_topic, 1, 1, config={"cleanup.policy": "compact"}))
    for created in admin.create_topics(topics).values():
        created.result(30)
    try:
        yield pipeline
    finally:
        _kill_children()
    for deleted in admin.delete_topics([topic.topic for topic in topics]).values():
        deleted.result(30)


def committed(kafka: str, topic: str) -> list[tuple[int, RowKey, bytes]]:
    """Every record of a topic that a committed read shows, in offset order."""
    reader = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": uuid.uuid4().hex,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    left = set(reader.list_topics(topic, 10).topics[topic].partitions)
    reader.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
    found = []
    while left:
        message = reader.poll(30)
        assert message is not None, f"{topic}: no answer"
        if message.error():
            left.discard(message.partition())
        else:
            found.append((message.partition(), decode_row_key(message.key()), message.value()))
    reader.close()
    return found


def orders(folder: Path, rows: int = ROWS, name: str = "orders_2026-01-01.csv") -> tuple[Path, list[bytes]]:
    lines = [b"%d,%d.%02d" % (number, number * 7 % 1000, number % 100) for number in range(rows)]
    path = folder / name
    path.write_bytes(b"id,amount\r\n" + b"".join(line + b"\r\n" for line in lines))
    return path, lines


def values(found: list[tuple[int, RowKey, bytes]]) -> list[bytes]:
    return [value for _, _, value in found]


def child(command: str, pipeline: Pipeline, kafka: str, path: Path, failpoint: str = "") -> subprocess.Popen[str]:
    """A process that pushes one file, or watches a folder until SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, command, pipeline.name, kafka, str(path)],
        env={**os.environ, VARIABLE: failpoint},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    _children.append(process)
    return process


def _kill_children() -> None:
    while _children:
        with _children.pop() as process:
            process.kill()


def main(command: str, name: str, kafka: str, path: Path) -> None:
    """What a child process does."""
    if command == "push":
        for result in push([path], declared(name), kafka, SendOptions(limits=CHUNK)):
            print(result.state, result.sent)
        return

    def show(result: FileResult) -> None:
        print(result.state, result.file, flush=True)

    watch(
        path,
        declared(name),
        kafka,
        stop=stop_on_signals(),
        settle_s=1.5,
        poll_s=0.3,
        on_result=show,
        options=SendOptions(limits=CHUNK),
        retry_after_s=1.0,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
