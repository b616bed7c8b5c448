"""A watcher of a folder on HDFS or S3, for the tests: in a thread, and told when it may send what it has copied."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from contracts.stream import Pipeline
from producers.push import FileResult, Sender, SendOptions
from producers.remote_folder import RemoteFolder, watch_remote
from producers.states import FilesTopic

Wait = Callable[[], object]


@dataclass
class Waiting:
    """Sends what its sender sends, once `wait` has come back."""

    sender: Sender
    wait: Wait

    def push_open(self, source: BinaryIO, file_name: str) -> list[FileResult]:
        """As OpenSender."""
        self.wait()
        return self.sender.push_open(source, file_name)


@contextmanager
def watching(
    folder: RemoteFolder, pipeline: Pipeline, kafka: str, options: SendOptions, wait: Wait = lambda: None
) -> Iterator[list[FileResult]]:
    """What it has told so far. It is still there at the end of the block. `wait` is called once a file is copied."""
    results: list[FileResult] = []
    stop = threading.Event()

    @contextmanager
    def sender() -> Iterator[Waiting]:
        with FilesTopic(kafka, pipeline) as known:
            yield Waiting(Sender(pipeline, kafka, known, options), wait)

    run = partial(
        watch_remote, folder, sender, stop=stop, spool=options.spool, on_result=results.append, settle_s=0.5, poll_s=0.2
    )
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield results
        assert thread.is_alive(), "the watcher has died"
    finally:
        stop.set()
        thread.join(130)  # as long as a test may hold a file
    assert not thread.is_alive()
