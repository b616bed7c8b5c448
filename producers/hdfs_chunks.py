"""Keeps chunks on HDFS, over the NameNode's HTTP interface (WebHDFS)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from producers.chunks import CUT_BYTES
from producers.remote_hdfs import HdfsStore

ROOT = "_chunks"


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
        """As ChunkStore. A killed attempt's chunks stay until the file is sent again, or `maintenance` removes them."""
        folder = f"{ROOT}/{self._pipeline}/{stream}/{file_hash}"
        self._store.remove(f"{self._store.root}/{folder}")
        mine = f"{folder}/{uuid.uuid4().hex}"
        try:
            yield _Attempt(self._store, mine, self._cut_bytes)
        except BaseException:
            self._store.remove(f"{self._store.root}/{mine}")
            raise


class _Hdfs(HdfsStore):
    def remove(self, folder: str) -> None:
        """Delete a folder with all that is in it, if it is there."""
        self._json("DELETE", "DELETE", folder, recursive="true")


@dataclass(frozen=True, slots=True)
class _Attempt:
    store: HdfsStore
    folder: str
    cut_bytes: int

    def path(self, number: int) -> str:
        """As Attempt."""
        return f"{self.folder}/{number:012d}.parquet"

    def put(self, path: str, content: bytes) -> None:
        """As Attempt."""
        self.store.write(f"{self.store.root}/{path}", content)
