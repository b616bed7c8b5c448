"""Unpack an archive that came in (gzip, zip, tar, tar.gz) into spooled files, so that the rest reads plain files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from producers.archive_tar import tar_entries
from producers.archive_zip import zip_entries
from producers.archives import (
    ArchiveRefused,
    Entry,
    Spend,
    gunzipped,
    pieces_of,
    plain,
    shown,
)

__all__ = ["ArchiveRefused", "Member", "UnpackLimits", "is_archive", "unpacked", "unsupported"]

RATIO_FROM_BYTES = 64 << 20
"""Up to here a file of one repeated row is no bomb, whatever its ratio."""

_HEAD_BYTES = 512
_READ = {"gzip": rb"\x1f\x8b", "zip": rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", "tar": rb"(?s:.{257})ustar(?:\0|  \0)"}
_NOT_READ = {
    "bzip2": rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    "zstd": rb"\(\xb5/\xfd",
    "xz": rb"\xfd7zXZ\0",
    "7z": rb"7z\xbc\xaf'\x1c",
    "rar": rb"Rar!\x1a\x07",
}


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What one archive may become. `bytes`: unpacked bytes, a tar's own headers included; `ratio`: unpacked bytes per
    packed byte, counted above RATIO_FROM_BYTES; `members`: files, without folders and what macOS adds.

    Rows that differ deflate to 1/10 to 1/200; deflate ends at 1/1032, bzip2 beyond 1/1000000."""

    bytes: int = 64 * 2**30
    ratio: int = 500
    members: int = 10_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive. `inside` is its name as it stands there, `name` the last part of that (for a gzip both
    are the archive's name without .gz), `path` the spooled file."""

    name: str
    inside: str
    path: Path


def is_archive(source: BinaryIO) -> str:
    """Say by the content what `unpacked` would read: "gzip", "zip", "tar", "tar.gz", or "" for anything else.

    Leaves the position at 0. A damaged archive is one too: `unpacked` says what is wrong with it.
    """
    kind = _kind(_head(source), _READ)
    if kind == "gzip":
        try:
            if _kind(gunzipped(source, lambda _: None)(_HEAD_BYTES), _READ) == "tar":
                kind = "tar.gz"
        except ArchiveRefused:
            pass
        source.seek(0)
    return kind


def unsupported(source: BinaryIO) -> str:
    """Say by the content which archive it is that `unpacked` does not read ("bzip2", "zstd", "xz", "7z", "rar"), or "".

    Leaves the position at 0.
    """
    return _kind(_head(source), _NOT_READ)


@contextmanager
def unpacked(
    source: BinaryIO,
    name: str,
    folder: Path,
    limits: UnpackLimits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[Member]]:
    """Give the members of an archive in its order, at least one, each complete and checked against its checksum.

    The files stand in a private folder below `folder` (which is made if missing) and are gone on leaving; what a
    process that was killed left there goes with the next call. `progress` is told where in the archive the reading is,
    and of how many bytes. `name` is the archive's; only that of a gzip's member comes from it.

    Raises:
        ArchiveRefused: no archive, damaged, cut, above a limit, or it holds what is no plain file with a plain name,
            another archive, or one name twice. Nothing of it may be used, and nothing of it is left.
        OSError: the source cannot be read or the folder cannot be written (a full disk); nothing is left.
    """
    limits = limits or UnpackLimits()
    kind = is_archive(source)
    if not kind:
        other = unsupported(source)
        raise ArchiveRefused(f"it is packed with {other}, which is not read" if other else "it is no archive")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(folder)
    with tempfile.TemporaryDirectory(prefix=f"unpacked-{os.getpid()}-", dir=folder) as spool:
        yield _spooled(_entries(kind, source, name, _counter(source, limits, progress)), Path(spool), limits)


def _clear(folder: Path) -> None:
    """Remove what processes that are no more have unpacked: many gigabytes may stand there."""
    for left in folder.glob("unpacked-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _entries(kind: str, source: BinaryIO, name: str, spend: Spend) -> Iterator[Entry]:
    if kind == "zip":
        return zip_entries(source, spend)
    if kind == "gzip":
        inside = re.sub(r"(?<=.)\.gz(?:ip)?\Z", "", name, flags=re.IGNORECASE | re.DOTALL)
        return iter([Entry(inside, pieces_of(gunzipped(source, spend)))])
    return tar_entries(gunzipped(source, spend) if kind == "tar.gz" else plain(source, spend))


def _spooled(entries: Iterable[Entry], spool: Path, limits: UnpackLimits) -> list[Member]:
    members: list[Member] = []
    seen: set[tuple[str, ...]] = set()
    for entry in entries:
        parts = tuple(part for part in entry.inside.split("/") if part not in ("", "."))
        if parts in seen:
            raise ArchiveRefused(f"it holds two members of one name: {shown(entry.inside)}")
        seen.add(parts)
        if len(members) == limits.members:
            raise ArchiveRefused(f"it holds more than {limits.members} files")
        path = spool / f"{len(members) + 1:06}"
        _write(entry, path)
        members.append(Member(entry.inside.rpartition("/")[2], entry.inside, path))
    if not members:
        raise ArchiveRefused("it holds no file")
    return members


def _write(entry: Entry, path: Path) -> None:
    head = b""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        for piece in entry.pieces:
            if len(head) < _HEAD_BYTES:
                head += piece[:_HEAD_BYTES]
                if kind := _kind(head, _READ | _NOT_READ):
                    raise ArchiveRefused(f"it holds another archive: {shown(entry.inside)} ({kind})")
            target.write(piece)


def _counter(source: BinaryIO, limits: UnpackLimits, progress: Callable[[int, int], None] | None) -> Spend:
    """Count what really comes out; what headers say of sizes plays no part."""
    packed_bytes = source.seek(0, os.SEEK_END)
    unpacked_bytes = 0

    def spend(count: int) -> None:
        nonlocal unpacked_bytes
        unpacked_bytes += count
        if unpacked_bytes > limits.bytes:
            raise ArchiveRefused(f"it holds more than {limits.bytes} bytes")
        if unpacked_bytes > max(RATIO_FROM_BYTES, limits.ratio * packed_bytes):
            raise ArchiveRefused(f"it unpacks to more than {limits.ratio} times its {packed_bytes} bytes")
        if progress and count:
            progress(source.tell(), packed_bytes)

    return spend


def _head(source: BinaryIO) -> bytes:
    source.seek(0)
    head = source.read(_HEAD_BYTES)
    source.seek(0)
    return head


def _kind(head: bytes, kinds: dict[str, bytes]) -> str:
    return next((kind for kind, magic in kinds.items() if re.match(magic, head)), "")
