"""Two watchers of one folder on HDFS that have both seen a file: each row once in Kafka, and neither of them dies."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from contracts.endpoints import Endpoints
from contracts.stream import Pipeline
from producers.push import FileResult, SendOptions
from producers.remote_folder import ChangedMeanwhile, open_folder
from producers.remote_hdfs import HdfsStore
from producers.remote_store import RemoteFile
from tests.conftest import WaitUntil
from tests.services.push_process import CHUNK, committed, orders, values, with_topics
from tests.services.remote_watcher import Wait, watching

pytestmark = [pytest.mark.services, pytest.mark.timeout(200)]


class Folder:
    """A folder on HDFS with two watchers, and the file that is dropped there."""

    def __init__(self, endpoints: Endpoints, pipeline: Pipeline, tmp_path: Path) -> None:
        self.endpoints, self.pipeline, self.spool = endpoints, pipeline, tmp_path / "spool"
        self.path, self.lines = orders(tmp_path, 5000)
        self.root = f"/drop/{pipeline.name}"
        self.store = HdfsStore(endpoints.webhdfs_url, self.root, getpass.getuser())
        url = f"{endpoints.hdfs_url}{self.root}"
        self.first, self.second = (
            open_folder(url, webhdfs_url=endpoints.webhdfs_url, user=getpass.getuser()) for _ in range(2)
        )

    @contextmanager
    def watched(
        self, first: Wait, second: Wait, options: SendOptions | None = None
    ) -> Iterator[tuple[list[FileResult], list[FileResult]]]:
        """Each watcher waits so once it has copied the file; `options` are the first's."""
        of_first, of_second, kafka = options or SendOptions(spool=self.spool), SendOptions(spool=self.spool), self.kafka
        with (
            watching(self.first, self.pipeline, kafka, of_first, first) as firsts,
            watching(self.second, self.pipeline, kafka, of_second, second) as seconds,
        ):
            self.store.write(f"{self.root}/incoming/{self.path.name}", self.path.read_bytes())
            yield firsts, seconds

    @property
    def kafka(self) -> str:
        return self.endpoints.kafka

    def held(self) -> dict[str, list[str]]:
        """What is in the three folders; one that is missing is empty."""
        found: dict[str, list[str]] = {"incoming": [], "processed": [], "rejected": []}
        for folder, names in found.items():
            with suppress(FileNotFoundError):
                statuses = self.store._json("GET", "LISTSTATUS", f"{self.root}/{folder}")["FileStatuses"]["FileStatus"]
                names += [one["pathSuffix"] for one in statuses]
        return found

    def sent(self) -> list[bytes]:
        return values(committed(self.kafka, self.pipeline.stream("orders").topic))

    def assert_sent_once(self, wait_until: WaitUntil) -> None:
        moved = {"incoming": [], "processed": [self.path.name], "rejected": []}
        wait_until(lambda: self.held() == moved, 30, "the file is moved once")
        assert self.sent() == self.lines


@pytest.fixture
def folder(endpoints: Endpoints, tmp_path: Path) -> Iterator[Folder]:
    with with_topics(endpoints.kafka) as pipeline:
        yield Folder(endpoints, pipeline, tmp_path)


class Meeting:
    """Both have copied the file; the second goes on when it is told to."""

    def __init__(self) -> None:
        self.first, self.second, self.turn = (threading.Event() for _ in range(3))

    def of_first(self) -> None:
        self.first.set()
        assert self.second.wait(60)

    def of_second(self) -> None:
        self.second.set()
        assert self.first.wait(60)
        assert self.turn.wait(60)


def test_one_has_sent_the_file_that_the_other_has_copied(folder: Folder, wait_until: WaitUntil) -> None:
    both = Meeting()
    with folder.watched(both.of_first, both.of_second) as (first, second):
        wait_until(lambda: bool(first), 60, "the first has sent it")
        both.turn.set()
        wait_until(lambda: bool(second), 60, "the second has looked at it")
        folder.assert_sent_once(wait_until)
    assert [(one.state, one.sent) for one in first + second] == [("sent", 5000), ("already_sent", 5000)]


def test_one_takes_over_what_the_other_is_in_the_middle_of(folder: Folder, wait_until: WaitUntil) -> None:
    both, half, taken = Meeting(), threading.Event(), threading.Event()

    def slow(_: str, sent: int, __: int) -> None:
        if sent == 2000:  # committed
            half.set()
            assert taken.wait(60)

    with folder.watched(
        both.of_first, both.of_second, SendOptions(spool=folder.spool, limits=CHUNK, progress=slow)
    ) as (first, second):
        wait_until(half.is_set, 60, "the first is in the middle of it")
        assert folder.sent() == folder.lines[:2000]
        both.turn.set()
        wait_until(lambda: bool(second), 60, "the second has sent the rest")
        taken.set()
        wait_until(lambda: bool(first), 60, "the first has noticed")
        folder.assert_sent_once(wait_until)
    assert [(one.state, one.sent) for one in second] == [("sent", 5000)]
    assert [one.state for one in first] == ["given_up"]


def test_one_has_moved_the_file_that_the_other_is_about_to_copy(
    folder: Folder, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    about_to, gone = threading.Event(), list[ChangedMeanwhile]()
    fetch = folder.second.fetch

    def late(file: RemoteFile, spool: Path, *told: None) -> Path:
        about_to.set()
        wait_until(lambda: not folder.store.list_incoming(), 60, "the first has moved it")
        try:
            return fetch(file, spool, *told)
        except ChangedMeanwhile as problem:
            gone.append(problem)
            raise

    monkeypatch.setattr(folder.second, "fetch", late)
    with folder.watched(lambda: about_to.wait(60), lambda: None) as (first, second):
        wait_until(lambda: bool(gone), 60, "the second finds nothing to copy")
        folder.assert_sent_once(wait_until)
    assert [one.state for one in first] == ["sent"]
    assert second == []
