"""The few things a watched folder needs from an object store or from HDFS: list, look, read, move, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from contracts.errors import ServiceUnavailable

PIECE_BYTES = 1024**2
CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 30.0
STILL_THERE = "Files that were not moved yet are still in incoming/."

Moved = Literal["moved", "gone", "changed", "taken"]
"""`gone`: nothing is there any more; `changed`: another file has the name, and stays; `taken`: the target's name is."""


class StoreUnavailable(ServiceUnavailable):
    """The store did not answer, or not as it should; every file is where it was."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the store told of it at one moment; two that `look` gave and that are equal hold the same content.

    `tag` is S3's ETag or HDFS' file id; a listing of S3 has none. `finished` is false while HDFS knows a writer, and
    for what only stands for a folder.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    tag: str = ""
    finished: bool = True


class Store(Protocol):
    """One folder on a store. Paths begin with `root`, which has no slash at its end.

    Every call may raise StoreUnavailable (try again later) or Fatal (a person must act), and nothing else.
    """

    root: str
    longest_name_bytes: int

    def list_incoming(self) -> list[RemoteFile]:
        """The files directly below `incoming/`, in no order."""

    def look(self, path: str) -> RemoteFile | None:
        """What this path holds now; None if nothing. One or two requests."""

    def read(self, path: str) -> Iterator[bytes]:
        """The content, in pieces of PIECE_BYTES at most; ends early if the file is gone."""

    def move(self, file: RemoteFile, target: str) -> Moved:
        """Move this very file, never over another one. May be called again after any error."""

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, over one that is there."""


def left_its_place(file: RemoteFile, now: RemoteFile | None) -> Literal["gone", "changed"] | None:
    """What became of a file of which `look` says `now`; None if it is still this very file."""
    if now is None:
        return "gone"
    return None if now == file else "changed"
