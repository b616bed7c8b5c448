"""The raw store: downloaded files as they came, `raw/<download>/<batch date>/<file>`, each beside what is known of it.

A file under its own name is always whole. Files are 0600 and folders 0700, whatever the umask.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from contracts.errors import Conflict

META_SUFFIX = ".meta.json"
PART_SUFFIX = ".part"
LOCK_FILE = ".lock"
LOCK_TIMEOUT_S = 300.0
_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Meta:
    """What is known of a kept file. `url` holds no secrets, `fetched_at` is an ISO 8601 UTC time, `etag` and
    `last_modified` are the server's own words, empty if it said none."""

    url: str
    fetched_at: str
    etag: str
    last_modified: str
    sha256: str
    bytes: int
    status: int


@dataclass(frozen=True, slots=True)
class Begun:
    """What the server said of the content that a part is the beginning of. `total` is its length in bytes, None if
    unknown; `digests` what its SHA-256 or MD5 must be, in hexadecimal digits by hashlib's name."""

    url: str
    etag: str
    last_modified: str
    total: int | None
    digests: Mapping[str, str]


_META = TypeAdapter(Meta)
_BEGUN = TypeAdapter(Begun)


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept file as it is on the disk; `meta` is None if it is missing or speaks of another content."""

    sha256: str
    meta: Meta | None


class RawFile:
    """One file of the store, for as long as its folder is locked. Nothing here is safe without that lock."""

    def __init__(self, folder: Path, file_name: str) -> None:
        self.path = folder / file_name
        self._part = folder / f"{file_name}{PART_SUFFIX}"
        self._begun = folder / f"{file_name}{PART_SUFFIX}.json"

    def kept(self) -> Kept | None:
        """The file that is there, read and hashed; None if there is none."""
        try:
            sha256 = digests(self.path, ("sha256",))["sha256"]
        except FileNotFoundError:
            return None
        try:
            meta = _META.validate_json(_meta_of(self.path).read_bytes())
        except (FileNotFoundError, ValidationError):
            meta = None
        return Kept(sha256, meta if meta and meta.sha256 == sha256 else None)

    def begin(self, begun: Begun) -> BinaryIO:
        """An empty part, open for writing. What there was of an earlier one is gone."""
        # In this order no crash leaves the bytes of one content beside the description of another.
        self.discard_part()
        write_whole(self._begun, _BEGUN.dump_json(begun))
        return _open(self._part, os.O_CREAT | os.O_EXCL)

    def begun(self) -> tuple[Begun, int] | None:
        """What an interrupted download left: its description and the number of bytes; None if nothing of use."""
        try:
            return _BEGUN.validate_json(self._begun.read_bytes()), self._part.stat().st_size
        except (FileNotFoundError, ValidationError):
            return None

    def go_on(self) -> BinaryIO:
        """The part, open for appending."""
        return _open(self._part, os.O_APPEND)

    def discard_part(self) -> None:
        """Forget what was downloaded so far. May be called when there is nothing."""
        self._part.unlink(missing_ok=True)
        self._begun.unlink(missing_ok=True)

    def part_digests(self, names: tuple[str, ...]) -> dict[str, str]:
        """The part's hashes in hexadecimal digits, by hashlib's names, as they are on the disk."""
        return digests(self._part, names)

    def keep_part(self, meta: Meta, earlier: Kept | None) -> None:
        """Make the part the file, durably. An earlier file of other content stays as `<stem>.<12 of its
        hash><suffix>`. After a crash the file is the earlier one, the new one, or absent, never a mixture."""
        with _open(self._part, 0) as part:
            os.fsync(part.fileno())
        if earlier:
            version = self.path.with_name(f"{self.path.stem}.{earlier.sha256[:_VERSION_DIGITS]}{self.path.suffix}")
            if earlier.meta:
                _meta_of(self.path).replace(_meta_of(version))
            self.path.replace(version)
        self._part.replace(self.path)
        # After the file: a description that is ahead of its file would let the server say that nothing changed.
        self.describe(meta)
        self.discard_part()

    def describe(self, meta: Meta) -> None:
        """Replace what is known of the file, durably."""
        write_whole(_meta_of(self.path), _META.dump_json(meta, indent=2))


class RawStore:
    """The folder `raw` of a data directory; nothing is created before a file is opened."""

    def __init__(self, data_dir: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.root = data_dir / "raw"
        self._lock_timeout_s = lock_timeout_s

    @contextmanager
    def open(self, name: str, batch_date: date, file_name: str) -> Iterator[RawFile]:
        """One file of a download's day, locked against other processes and threads until the block ends.

        Raises:
            Conflict: another one had the lock for the whole time-out.
        """
        folder = self.root / name / batch_date.isoformat()
        if any(part in ("", ".", "..") or Path(part).name != part for part in (name, file_name)):
            raise ValueError(f"{name}/{file_name} leads out of the store")
        self.root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for made in (self.root, folder.parent, folder):
            made.mkdir(mode=0o700, exist_ok=True)
            made.chmod(0o700)
        try:
            with FileLock(folder / LOCK_FILE, timeout=self._lock_timeout_s, mode=0o600):
                yield RawFile(folder, file_name)
        except Timeout:
            raise Conflict(
                f"{name}: another download of {batch_date} is under way",
                state="Nothing of this one was done.",
                next_step="wait for it and repeat",
                folder=folder,
            ) from None


def digests(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """A file's hashes in hexadecimal digits, by hashlib's names, read in one pass."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            for one in hashes.values():
                one.update(chunk)
    return {name: one.hexdigest() for name, one in hashes.items()}


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that a crash leaves the old one or the new one; what was renamed before is durable too."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with _open(new, os.O_CREAT | os.O_EXCL) as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _meta_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{META_SUFFIX}")


def _open(path: Path, flags: int) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    return os.fdopen(descriptor, "wb")
