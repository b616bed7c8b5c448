"""What the readers of archives share: a member, the names it may have, the refusal; and reading through a gzip."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

PIECE_BYTES = 1 << 20
"""The most that is unpacked at once."""


class ArchiveRefused(ValueError):
    """Nothing of this archive may be used. The message is the reason, as the end of a sentence about it ("it …")."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file in an archive. `pieces` can be read once, and only until the next entry is asked for."""

    inside: str
    pieces: Iterator[bytes]


Read = Callable[[int], bytes]
"""Exactly as many bytes as asked for; fewer at the end only."""

Spend = Callable[[int], None]
"""Is told each number of unpacked bytes, a tar's own headers included, and raises when it is too much."""


def gunzipped(source: BinaryIO, spend: Spend) -> Read:
    """Read the content of a gzip, of all its parts. The reader raises ArchiveRefused where it is damaged or cut."""
    source.seek(0)
    packed = gzip.GzipFile(fileobj=source, mode="rb")

    def read(size: int) -> bytes:
        try:
            piece = packed.read(size)
        except EOFError:
            raise ArchiveRefused("it is cut off") from None
        except (gzip.BadGzipFile, zlib.error) as problem:  # BadGzipFile is an OSError, a full disk is another
            raise ArchiveRefused(f"it is damaged, or other bytes follow its end: {problem}") from None
        spend(len(piece))
        return piece

    return read


def plain(source: BinaryIO, spend: Spend) -> Read:
    """Read a file as it is."""
    source.seek(0)

    def read(size: int) -> bytes:
        piece = source.read(size)
        spend(len(piece))
        return piece

    return read


def pieces_of(read: Read) -> Iterator[bytes]:
    """All that is left, in pieces."""
    while piece := read(PIECE_BYTES):
        yield piece


def shown(name: str) -> str:
    """A member's name as it can stand in a message: on one line, printable, not endless."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= 200 else text[:200] + "…"


def wanted(name: str) -> bool:
    """False for what macOS adds to archives. Raises ArchiveRefused for a name that no file may have."""
    check_name(name)
    *folders, base = name.split("/")
    if base in ("", "."):
        raise ArchiveRefused(f"it holds a file without a name: {shown(name)}")
    return not ("__MACOSX" in folders or base == ".DS_Store" or base.startswith("._"))


def check_name(name: str) -> None:
    """Refuse a name that could mean a place outside the archive, or that other systems read as another."""
    wrong = ""
    if "\0" in name:
        wrong = "with a NUL in its name"
    elif "\\" in name:
        wrong = "with a backslash in its name"
    elif name.startswith("/") or re.match("[A-Za-z]:", name):
        wrong = "with an absolute name"
    elif ".." in name.split("/"):
        wrong = "whose name leads out of the archive"
    elif any("\ud800" <= character <= "\udfff" for character in name):
        wrong = "whose name is not UTF-8"
    if wrong:
        raise ArchiveRefused(f"it holds a member {wrong}: {shown(name)}")
