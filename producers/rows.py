"""What the splitters give: rows in the order of the file, and text that cannot be split, in bounded pieces."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

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


class Rows:
    """Consecutive events of one format. `lines[i]` is where `values[i]` begins: the 1-based physical line, for an
    element of a JSON array its ordinal. The values are the file's own bytes without line ends or separators.

    Lines that are a row each stay the text that they are until somebody asks for the values: a file that is only
    counted, or that goes into chunks, never has an object for each row.
    """

    __slots__ = ("_lines", "_text", "_values", "fields", "format")

    def __init__(
        self,
        row_format: RowFormat,
        lines: Sequence[int],
        values: list[bytes] | None,
        text: bytes = b"",
        fields: int = 0,
    ) -> None:
        """Without `values` each line of `text` is a row; it ends with a line end. `fields` is how many each row has, as
        far as the splitter has seen that by the way, else 0."""
        self.format = row_format
        self.fields = fields
        self._lines = lines
        self._values = values
        self._text = text

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def lines(self) -> Sequence[int]:
        """Where the values begin."""
        return self._lines

    @property
    def values(self) -> list[bytes]:
        """The values, in order."""
        if self._values is None:
            self._values = self._text.split(b"\n")
            self._values.pop()
        return self._values

    @property
    def text(self) -> bytes | None:
        """The lines, if each of them is a row."""
        return self._text or None

    @property
    def size(self) -> int:
        """How many bytes the values have."""
        return len(self._text) - len(self) if self._text else sum(map(len, self.values))

    def ended(self) -> bytes:
        """Every value and a line end behind it, as one text."""
        return self._text or b"\n".join([*self.values, b""])

    def part(self, start: int, end: int) -> Rows:
        """Those from `start` to before `end`, as of a slice."""
        if start <= 0 and end >= len(self):
            return self
        if not self._text:
            return Rows(self.format, self._lines[start:end], self.values[start:end])
        end = max(start, end)  # a split at most -1 times is one without end
        text = self._text.split(b"\n", start)[-1]
        if end < len(self):
            text = text[: len(text) - len(text.split(b"\n", end - start)[-1])]
        return Rows(self.format, self._lines[start:end], None, text, self.fields)

    def arrays(self) -> tuple[pa.Array, pa.Array]:
        """The lines, and the values, which Arrow splits without an object for each."""
        lines = self._lines
        lines = pa.arange(lines.start, lines.stop) if isinstance(lines, range) else pa.array(lines, pa.int64())
        if not self._text:
            return lines, pa.array(self.values, pa.binary())
        # The list's last value is what follows the last line end: nothing.
        return lines, pc.split_pattern(as_array(self._text), "\n").values.slice(0, len(self))


def as_array(text: bytes) -> pa.Array:
    """An array with this one value, which is not copied."""
    ends = pa.py_buffer(array("i", [0, len(text)]))
    return pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(text)])


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


def physical_rows(
    text: bytes, line: int, row_format: RowFormat, blank: bytes = b"", fields: int = 0
) -> Generator[Rows, None, int]:
    """Split text that holds whole lines only, each of them one row; the last line may lack its end. Returns the line
    that follows.

    A line is blank, and no row, if nothing is left of it without the bytes in `blank`. With `fields` each line is known
    to have so many.
    """
    if text and not text.endswith(b"\n"):
        text += b"\n"
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    while text:
        # Shorter than one record may be: so is each of its lines.
        end = len(text) if len(text) <= ROW_LIMIT_BYTES else text.rfind(b"\n", 0, ROW_LIMIT_BYTES) + 1
        if not end:
            end = text.index(b"\n") + 1
            value = text[: end - 1]
            if len(value) > ROW_LIMIT_BYTES and value.strip(blank or b"\n"):
                yield unsplit(value, line, physical=False)
                text, line = text[end:], line + 1
                continue
        lines, text = text[:end], text[end:]
        count = lines.count(b"\n")
        # Two fields have a delimiter between them: no line is blank.
        if fields > 1 or not _may_be_blank(lines, blank):
            yield Rows(row_format, range(line, line + count), None, lines, fields)
        elif kept := [(n, value) for n, value in enumerate(lines.split(b"\n"), line) if value.strip(blank or b"\n")]:
            yield Rows(row_format, [n for n, _ in kept], [value for _, value in kept])
        line += count
    return line


def _may_be_blank(lines: bytes, blank: bytes) -> bool:
    """Whether one of these lines is empty, or begins as a blank one may."""
    starts = b"\n" + blank
    if lines[0] in starts:
        return True
    # Ten times as fast as a search of Python's own: it leaps from line end to line end.
    behind_an_end = r"\n[" + "".join(rf"\x{{{byte:x}}}" for byte in starts) + "]"
    return bool(pc.match_substring_regex(as_array(lines), behind_an_end)[0].as_py())


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
        line = yield from physical_rows(text[:whole], line, row_format, blank)
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
