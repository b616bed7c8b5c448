"""A bucket of a local object store that is a watched folder, and a sender that judges its files by their content."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import boto3  # type: ignore[import-untyped]

from producers import remote_folder
from producers.push import FileResult, ResultState
from producers.remote_folder import RemoteFolder, open_folder, watch_remote

NAME = "orders_2026-01-01.csv"
Moment = Callable[[], object]


class Bucket:
    """A bucket, a folder on it, and a sender that keeps what it is given and judges it by its content."""

    def __init__(self, endpoint: str, client: Any, name: str, spool: Path) -> None:
        self.endpoint, self.client, self.name, self.spool = endpoint, client, name, spool
        self.client.create_bucket(Bucket=name)
        self.folder = self.open()
        self.sent: list[tuple[str, str]] = []
        self.results: list[FileResult] = []
        self.under_way: Moment = lambda: None
        self.modes: list[int] = []
        self.copies: list[str] = []

    def open(self) -> RemoteFolder:
        return open_folder(f"s3://{self.name}/drop", s3_endpoint=self.endpoint)

    def drop(self, content: str | bytes, name: str = NAME, **more: Any) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.client.put_object(Bucket=self.name, Key=f"drop/incoming/{name}", Body=body, **more)

    def take_away(self, name: str = NAME) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"drop/incoming/{name}")

    def holds(self) -> dict[str, str]:
        """Every object but the markers of folders."""
        held = {}
        for found in self.client.list_objects_v2(Bucket=self.name).get("Contents", []):
            key = found["Key"]
            with suppress(self.client.exceptions.NoSuchKey):  # It may be moved at this moment.
                if not key.endswith("/"):
                    body = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
                    held[key.removeprefix("drop/")] = body.decode()
        return held

    def push_open(self, source: BinaryIO, file_name: str) -> list[FileResult]:
        """`bad` is rejected, `busy` given up, `a;b` an archive with these members; a content is sent once."""
        self.modes += [path.stat().st_mode & 0o777 for path in self.spool.iterdir()]
        self.copies += [path.name for path in self.spool.rglob("*") if path.is_file()]
        text = source.read().decode()
        self.under_way()
        return [self._result(file_name, part) for part in text.split(";")]

    def _result(self, name: str, text: str) -> FileResult:
        state: ResultState = "sent"
        if text.startswith("bad"):
            state = "rejected"
        elif text.startswith("busy"):
            state = "given_up"
        elif text in [content for _, content in self.sent]:
            state = "already_sent"
        else:
            self.sent.append((name, text))
        return FileResult("orders", name, sha256(text.encode()).hexdigest(), "", 1, 1, state, f"it is {text}", 0.0)

    @contextmanager
    def sender(self) -> Iterator[Bucket]:
        yield self

    def sweep(self, folder: RemoteFolder | None = None) -> None:
        """One look at what is there, without time to settle."""
        self.spool.mkdir(exist_ok=True)
        watcher = remote_folder._Watcher(folder or self.folder, self, self.spool, retry_after_s=0)
        watcher.sweep(0, threading.Event(), self.results.append)


def connect(endpoint: str) -> Any:
    keys = {"aws_access_key_id": "of-the-tests", "aws_secret_access_key": "of-the-tests"}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 25
    while not so():
        assert time.monotonic() < end, "it did not come to be within 25 s"
        time.sleep(0.02)


class Watching:
    """watch_remote in a thread of its own; what it raised is raised at the end."""

    def __init__(self, bucket: Bucket, folder: RemoteFolder | None = None, **more: Any) -> None:
        self.stop = threading.Event()
        self.error: Exception | None = None
        self._arguments = {"settle_s": 0.0, "poll_s": 0.05, "retry_after_s": 0.1, **more}
        self._bucket, self._folder = bucket, folder or bucket.folder
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        bucket = self._bucket
        try:
            watch_remote(
                *(self._folder, self._arguments.pop("sender_factory", bucket.sender)),
                stop=self.stop,
                spool=bucket.spool,
                on_result=bucket.results.append,
                **self._arguments,
            )
        except Exception as problem:
            self.error = problem

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error
