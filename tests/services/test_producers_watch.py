"""A drop folder into a real Kafka, by watchers in processes of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from contracts.endpoints import Endpoints
from contracts.stream import Pipeline
from producers.push import FileResult
from producers.watch import watch
from tests.services.push_process import child, committed, orders, values, with_topics

WaitUntil = Callable[[Callable[[], object], float, str], object]


@pytest.fixture
def kafka(endpoints: Endpoints) -> str:
    return endpoints.kafka


@pytest.fixture
def pipeline(kafka: str) -> Iterator[Pipeline]:
    with with_topics(kafka) as pipeline:
        yield pipeline


def drop(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.rename(path)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_life_of_a_drop_folder(kafka: str, pipeline: Pipeline, tmp_path: Path, wait_until: WaitUntil) -> None:
    root = tmp_path / "drop"
    incoming, processed, rejected = (root / name for name in ("incoming", "processed", "rejected"))
    incoming.mkdir(parents=True)
    path, lines = orders(tmp_path, 100)
    content = path.read_bytes()
    drop(incoming / path.name, content)
    drop(incoming / "orders_2026-01-02.csv", b"x,y\n1,2\n")
    (incoming / "orders_2026-01-03.csv.part").write_bytes(content)
    (incoming / ".orders_2026-01-03.csv").write_bytes(content)
    (incoming / "orders_2026-01-04.csv").symlink_to(path)
    os.mkfifo(incoming / "orders_2026-01-05.csv")
    growing = incoming / "orders_2026-01-06.csv"
    process = child("watch", pipeline, kafka, root)
    with growing.open("wb", buffering=0) as unfinished:
        unfinished.write(b"id,amount\n7001,1\n7002,2\n70")

        def grown() -> bool:
            unfinished.write(b"0")
            return processed.exists() and files_in(processed) == [path.name]

        wait_until(grown, 60, "the whole file is processed and the growing one is not")
        size = unfinished.tell()
        unfinished.write(b",3\n")
    wait_until(lambda: growing.name in files_in(processed), 60, "the file that grew is processed")
    drop(incoming / path.name, content)
    wait_until(lambda: len(files_in(processed)) == 3, 60, "the repeated file is processed")
    process.send_signal(signal.SIGTERM)
    results = process.communicate(timeout=30)[0].splitlines()
    assert process.returncode == 0
    assert sorted(line.split()[0] for line in results) == ["already_sent", "rejected", "rejected", "rejected"] + 2 * [
        "sent"
    ]
    assert (processed / path.name).read_bytes() == content
    links = [f"orders_2026-01-0{day}.csv" for day in (2, 4, 5)]
    assert files_in(rejected) == sorted([*links, *(f"{name}.reason.txt" for name in links)])
    assert "shares no column" in (rejected / f"{links[0]}.reason.txt").read_text()
    assert (rejected / links[1]).is_symlink()
    assert path.exists()
    assert files_in(incoming) == [".orders_2026-01-03.csv", "orders_2026-01-03.csv.part"]
    found = values(committed(kafka, pipeline.stream("orders").topic))
    assert sorted(found) == sorted([*lines, b"7001,1", b"7002,2", b"70%0*d,3" % (size - 26, 0)])


def test_two_watchers_and_a_killed_one_lose_and_double_nothing(
    kafka: str, pipeline: Pipeline, tmp_path: Path, wait_until: WaitUntil
) -> None:
    root = tmp_path / "drop"
    incoming, processed = root / "incoming", root / "processed"
    incoming.mkdir(parents=True)
    expected: list[list[bytes]] = []

    def drop_another() -> None:
        day = date(2026, 1, 1) + timedelta(days=len(expected))
        lines = [b"%b-%d,1" % (day.isoformat().encode(), number) for number in range(5000)]
        drop(incoming / f"orders_{day}.csv", b"id,amount\n" + b"\n".join(lines))
        expected.append(lines)

    for _ in range(12):
        drop_another()
    killed = child("watch", pipeline, kafka, root, failpoint="before_kafka_commit:8")
    others = [child("watch", pipeline, kafka, root) for _ in range(2)]

    def dies() -> bool:
        if len(files_in(incoming)) < 3:
            drop_another()  # the others were quicker: it gets its share, however late it came
        return killed.poll() is not None

    wait_until(dies, 120, "one is killed")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: len(files_in(processed)) == len(expected), 120, "all files are processed")
    for process in others:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert files_in(incoming) == []
    assert sorted(values(committed(kafka, pipeline.stream("orders").topic))) == sorted(chain(*expected))


def test_what_the_system_tells_of_is_not_waited_for(
    kafka: str, pipeline: Pipeline, tmp_path: Path, wait_until: WaitUntil
) -> None:
    results: list[FileResult] = []
    stop = threading.Event()
    looks_s = 600.0
    watching = partial(watch, tmp_path / "drop", pipeline, kafka, settle_s=0, poll_s=looks_s, on_result=results.append)
    thread = threading.Thread(target=watching, kwargs={"stop": stop})
    thread.start()
    incoming = tmp_path / "drop" / "incoming"
    try:
        wait_until(incoming.is_dir, 60, "the folder is made")
        for day in (1, 2, 3):
            path, _ = orders(tmp_path, 10 + day, f"orders_2026-01-0{day}.csv")
            drop(incoming / path.name, path.read_bytes())
            wait_until(lambda: len(results) == day, 60, f"file {day} is sent")  # noqa: B023
    finally:
        stop.set()
        thread.join(60)
    assert [result.state for result in results] == ["sent"] * 3
    assert not thread.is_alive()
