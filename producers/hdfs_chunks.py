"""Keeps chunks on HDFS, over the NameNode's HTTP interface (WebHDFS)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from producers.chunks import CUT_BYTES
from producers.remote_hdfs import HdfsStore
from producers.remote_store import StoreUnavailable

ROOT = "_chunks"

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
        """As ChunkStore. What a killed attempt left stays until the file is sent, or until `run` finds it older than
        what Kafka keeps."""
        one = _Attempt(self._store, f"{ROOT}/{self._pipeline}/{stream}/{file_hash}", self._cut_bytes)
        try:
            yield one
        finally:
            one.end()


class _Hdfs(HdfsStore):
    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder; none if it is not there."""
        try:
            entries = self._json("GET", "LISTSTATUS", folder)["FileStatuses"]["FileStatus"]
        except FileNotFoundError:
            return []
        return [entry["pathSuffix"] for entry in entries if entry["type"] == "DIRECTORY"]

    def remove(self, folder: str) -> None:
        """Delete a folder with all that is in it, if it is there. What cannot be deleted now is left, with a warning:
        it takes room and nothing else."""
        try:
            self._json("DELETE", "DELETE", folder, recursive="true")
        except StoreUnavailable as problem:
            _log.warning("%s stays until `headrace run` finds it older than what Kafka keeps: %s", folder, problem)


class _Attempt:
    def __init__(self, store: _Hdfs, file: str, cut_bytes: int) -> None:
        self.cut_bytes = cut_bytes
        self._store = store
        self._file = file
        self._name = uuid.uuid4().hex
        self._kept = False
        self._others: list[str] = []

    def path(self, number: int) -> str:
        """As Attempt."""
        return f"{self._file}/{self._name}/{number:012d}.parquet"

    def put(self, path: str, content: bytes) -> None:
        """As Attempt."""
        self._store.write(self._absolute(path), content)

    def keep(self) -> None:
        """As Attempt."""
        self._others = [name for name in self._store.folders(self._absolute(self._file)) if name != self._name]
        self._kept = True

    def remove_others(self) -> None:
        """As Attempt."""
        for name in self._others:
            self._store.remove(self._absolute(f"{self._file}/{name}"))

    def end(self) -> None:
        """Remove what was written, unless it is kept."""
        if not self._kept:
            self._store.remove(self._absolute(f"{self._file}/{self._name}"))

    def _absolute(self, path: str) -> str:
        return f"{self._store.root}/{path}"
