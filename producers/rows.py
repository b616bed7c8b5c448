"""What the splitters give: rows in the order of the file, and text that cannot be split, in bounded pieces."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.wire import RowFormat

CHUNK_BYTES = 1 << 20
"""How much of a file is held at once."""

ROW_LIMIT_BYTES = 900_000
"""A longer row cannot be one Kafka record of the default size (1 MB with key): it goes out as unsplit pieces."""

PIECE_BYTES = 256 * 1024
"""The most unsplit text in one record."""

BOM = b"\xef\xbb\xbf"


class UnreadableFile(ValueError):
    """The file begins as what it should be, but cannot be read as such. The message continues a sentence about the
    file. No part of such a file may be sent."""


class ByteSource(Protocol):
    """Anything with a blocking `read`; empty bytes mean the end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive events of one format. `lines[i]` is where `values[i]` begins: the 1-based physical line, for an
    element of a JSON array its ordinal. The values are the file's own bytes without line ends or separators."""

    format: RowFormat
    lines: Sequence[int]
    values: list[bytes]


def unsplit(text: bytes, line: int, *, physical: bool = True) -> Rows:
    """Cut text that is no row into records, at line ends where there are any; joined, the values are the text.

    `physical` counts lines on within the text; without it every piece keeps `line` (a JSON ordinal).
    """
    lines: list[int] = []
    values: list[bytes] = []
    start = 0
    while start < len(text):
        end = min(start + PIECE_BYTES, len(text))
        if end < len(text):
            end = text.rfind(b"\n", start, end) + 1 or end
        lines.append(line)
        values.append(text[start:end])
        if physical:
            line += values[-1].count(b"\n")
        start = end
    return Rows("unsplit", lines, values)


def physical_rows(text: bytes, line: int, row_format: RowFormat, blank: bytes = b"") -> Iterator[Rows]:
    """Split text that holds whole lines only, each of them one row; the last line may lack its end.

    A line is blank, and no row, if nothing is left of it without the bytes in `blank`.
    """
    if not text:
        return
    values = text.split(b"\n")
    if not values[-1]:
        values.pop()
    if b"\r" in text:
        values = [value[:-1] if value.endswith(b"\r") else value for value in values]
    lines: Sequence[int] = range(line, line + len(values))
    if b"" in values or (blank and not all(map(bytes.strip, values))):
        kept = [(number, value) for number, value in zip(lines, values, strict=True) if value.strip(blank or b"\n")]
        lines, values = [number for number, _ in kept], [value for _, value in kept]
    if len(text) <= ROW_LIMIT_BYTES or not values or len(max(values, key=len)) <= ROW_LIMIT_BYTES:
        if values:
            yield Rows(row_format, lines, values)
        return
    for number, value in zip(lines, values, strict=True):
        long = len(value) > ROW_LIMIT_BYTES
        yield unsplit(value, number, physical=False) if long else Rows(row_format, [number], [value])


def split_lines(
    source: ByteSource, row_format: RowFormat, *, line: int = 1, blank: bytes = b"", chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Rows]:
    """Give every line that is not blank as a row, in memory that does not grow with the file; the first is `line`.

    A byte order mark and line ends are left out; lines too long for a record come as `unsplit`.
    """
    text, first = b"", True
    while True:
        chunk = source.read(chunk_bytes)
        text += chunk
        if first and (len(text) >= len(BOM) or not chunk):
            text, first = text.removeprefix(BOM), False
        elif first:
            continue
        whole = text.rfind(b"\n") + 1 if chunk else len(text)
        yield from physical_rows(text[:whole], line, row_format, blank)
        line += text.count(b"\n", 0, whole)
        text = text[whole:]
        if not chunk:
            return
        if len(text) > ROW_LIMIT_BYTES:
            text = yield from _long_line(text, line, source, chunk_bytes)
            line += 1


def _long_line(text: bytes, line: int, source: ByteSource, chunk_bytes: int) -> Generator[Rows, None, bytes]:
    """Pass on a line longer than a record, piece by piece; returns what follows it."""
    while text:
        end = text.find(b"\n")
        yield unsplit(text if end < 0 else text[:end], line, physical=False)
        if end >= 0:
            return text[end + 1 :]
        text = source.read(chunk_bytes)
    return b""
