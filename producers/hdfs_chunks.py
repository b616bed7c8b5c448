"""Keeps chunks on HDFS, over the NameNode's HTTP interface (WebHDFS)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from contracts.errors import HeadraceError
from producers.chunks import CUT_BYTES
from producers.remote_hdfs import HdfsStore
from producers.remote_store import StoreUnavailable

ROOT = "_chunks"
PART = ".part"
DEAD_AFTER_S = 3600
"""Who has written no chunk for so long is taken for dead; if not, it begins anew."""

_log = logging.getLogger(__name__)


class HdfsChunks:
    """The chunks of one pipeline, below `<lake>/_chunks/<pipeline>/<stream>/<file hash>/<attempt>/`.

    `address` is the NameNode's HTTP address, `lake` the lake's folder on HDFS.
    """

    def __init__(self, address: str, lake: str, pipeline: str, user: str, *, cut_bytes: int = CUT_BYTES) -> None:
        self._store = _Hdfs(address, lake.rstrip("/"), user)
        self._pipeline = pipeline
        self._cut_bytes = cut_bytes

    @contextmanager
    def attempt(self, stream: str, file_hash: str) -> Iterator[_Attempt]:
        """As ChunkStore. What a killed attempt left goes when the file is sent, when another one begins an hour later,
        or when `run` finds it older than what Kafka keeps."""
        one = _Attempt(self._store, f"{ROOT}/{self._pipeline}/{stream}/{file_hash}", self._cut_bytes)
        one.begin()
        try:
            yield one
        finally:
            one.end()


class _Hdfs(HdfsStore):
    def make(self, folder: str) -> None:
        """Make a folder and those above it."""
        self._json("PUT", "MKDIRS", folder)

    def rename(self, folder: str, target: str) -> bool:
        """Whether there was such a folder; it has the other name now."""
        return self._rename(folder, target)

    def times(self, folder: str) -> dict[str, int]:
        """When each thing in a folder was last changed, by the NameNode's clock in milliseconds; empty without it."""
        with suppress(FileNotFoundError), self._told():
            entries = self._json("GET", "LISTSTATUS", folder)["FileStatuses"]["FileStatus"]
            return {entry["pathSuffix"]: entry["modificationTime"] for entry in entries}
        return {}

    def remove(self, folder: str) -> None:
        """Delete a folder with all that is in it, if it is there. What cannot be deleted is left, with a warning: it
        takes room and nothing else."""
        try:
            self._json("DELETE", "DELETE", folder, recursive="true")
        except (HeadraceError, OSError) as problem:
            _log.warning("%s stays until `headrace run` finds it older than what Kafka keeps: %s", folder, problem)


class _Attempt:
    """Writes into `<attempt>.part`, which gets its name when it is kept: nobody else removes what may still be sent
    unless it has that suffix, and who has lost his folder cannot rename it."""

    def __init__(self, store: _Hdfs, file: str, cut_bytes: int) -> None:
        self.cut_bytes = cut_bytes
        self._store = store
        self._file = file
        self._name = uuid.uuid4().hex
        self._written = 0
        self._kept = False

    def begin(self) -> None:
        """Make the folder, and remove those in which nothing has been written for long."""
        self._store.make(self._at(self._name + PART))
        times = self._store.times(self._at())
        late = times.pop(self._name + PART, 0) - DEAD_AFTER_S * 1000
        for name, changed in times.items():
            if name.endswith(PART) and changed < late:
                self._store.remove(self._at(name))

    def path(self, number: int) -> str:
        """As ChunkWriter."""
        return f"{self._file}/{self._name}/{number:012d}.parquet"

    def put(self, path: str, content: bytes) -> None:
        """As ChunkWriter."""
        try:
            self._store.write(self._at(self._name + PART, path.rpartition("/")[2]), content)
        except StoreUnavailable as problem:
            raise StoreUnavailable(
                f"a chunk could not be written: {problem.what}",
                state="Nothing of this file is in Kafka, and what was written of it is removed.",
                next_step="look whether HDFS answers and has room (headrace status), then push again: it begins anew.",
                chunk=path,
            ) from problem
        self._written += 1

    def keep(self) -> None:
        """As Attempt."""
        if self._kept:
            return
        # A try before, whose answer was lost, may have renamed it.
        self._store.rename(self._at(self._name + PART), self._at(self._name))
        there = len(self._store.times(self._at(self._name)))
        if there != self._written:
            raise StoreUnavailable(
                f"{there} of {self._written} chunks that were written are there",
                state="Nothing of this file is in Kafka.",
                next_step="push again: it begins anew.",
                folder=self._at(self._name),
            )
        self._kept = True

    def remove_others(self) -> None:
        """As Attempt."""
        for name in self._store.times(self._at()):
            if name != self._name:
                self._store.remove(self._at(name))

    def end(self) -> None:
        """Remove what was written, unless it is kept."""
        if not self._kept:
            for name in (self._name + PART, self._name):
                self._store.remove(self._at(name))

    def _at(self, *names: str) -> str:
        return "/".join((self._store.root, self._file, *names))
