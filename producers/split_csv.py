"""CSV by RFC 4180: where each row begins and ends, and nothing else. The streaming job judges what is in it."""

from __future__ import annotations

import enum
import re
from collections.abc import Generator, Iterator

from producers.rows import BOM, CHUNK_BYTES, ROW_LIMIT_BYTES, ByteSource, Rows, physical_rows, unsplit

_QUOTE = 0x22
_NEWLINE = 0x0A


class _State(enum.Enum):
    FIELD_START = enum.auto()
    PLAIN = enum.auto()
    QUOTED = enum.auto()
    AFTER_QUOTE = enum.auto()


class _RowScan:
    """Finds the end of one row, over as many calls as it has chunks.

    A quote opens a field only at the field's start, and a second quote inside stands for one. A quote elsewhere is
    text: an inch mark must not swallow the rows after it.
    """

    def __init__(self, delimiter: bytes) -> None:
        self._field_end = re.compile(b"[" + re.escape(delimiter) + rb"\n]")
        self.state = _State.FIELD_START

    def end(self, text: bytes, at: int) -> int:
        """Where the newline that ends the row stands, or -1 if the text ends first."""
        while at < len(text):
            if self.state is _State.QUOTED:
                at = text.find(b'"', at) + 1
                if not at:
                    return -1
                self.state = _State.AFTER_QUOTE
            elif text[at] == _QUOTE and self.state in (_State.FIELD_START, _State.AFTER_QUOTE):
                self.state = _State.QUOTED
                at += 1
            else:
                found = self._field_end.search(text, at)
                if not found:
                    self.state = _State.PLAIN
                    return -1
                if text[found.start()] == _NEWLINE:
                    return found.start()
                self.state = _State.FIELD_START
                at = found.end()
        return -1


def _whole_row(delimiter: bytes) -> re.Pattern[bytes]:
    """The same as `_RowScan`, several times faster, for a row that stands in the text as a whole."""
    other = b"[^" + re.escape(delimiter) + rb"\n]*+"
    field = rb'(?:"(?:[^"]++|"")*+"' + other + rb'|(?!")' + other + b")"
    return re.compile(field + b"(?:" + re.escape(delimiter) + field + b")*+(?=\n)")


def split_csv(source: ByteSource, delimiter: str = ",", *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Rows]:
    """Give every row, the header among them, in order and in memory that does not grow with the file.

    A byte order mark and line ends (`\\n`, `\\r\\n`) outside quotes are left out, blank lines are no rows. Text after
    a quote that is never closed, and rows too long for a record, come as `unsplit`.
    """
    separator = delimiter.encode()
    whole_row = _whole_row(separator)
    text, line, first = b"", 1, True
    while True:
        chunk = source.read(chunk_bytes)
        text += chunk
        if first and (len(text) >= len(BOM) or not chunk):
            text, first = text.removeprefix(BOM), False
        elif first:
            continue
        at = 0
        while at < len(text):
            quote = text.find(b'"', at)
            plain = text.rfind(b"\n", at, quote if quote >= 0 else len(text)) + 1
            if quote < 0 and not chunk:
                plain = len(text)
            if plain > at:
                yield from physical_rows(text[at:plain], line, "csv")
                line += text.count(b"\n", at, plain)
                at = plain
            if quote < 0:
                break
            lines: list[int] = []
            values: list[bytes] = []
            while at < len(text):
                row = whole_row.match(text, at)
                if not row:
                    break
                if at < row.end() and text[at : row.end()] != b"\r":
                    lines.append(line)
                    values.append(row[0].removesuffix(b"\r"))
                line += 1 + row[0].count(b"\n")
                at = row.end() + 1
            yield from _sized(lines, values)
            if at < len(text):
                break
        text = text[at:]
        if not chunk:
            yield from _last_row(text, line, separator)
            return
        if len(text) > ROW_LIMIT_BYTES:
            text, line = yield from _long_row(text, line, source, separator, chunk_bytes)


def _sized(lines: list[int], values: list[bytes]) -> Iterator[Rows]:
    if values and len(max(values, key=len)) <= ROW_LIMIT_BYTES:
        yield Rows("csv", lines, values)
        return
    for line, value in zip(lines, values, strict=True):
        yield unsplit(value, line) if len(value) > ROW_LIMIT_BYTES else Rows("csv", [line], [value])


def _last_row(text: bytes, line: int, separator: bytes) -> Iterator[Rows]:
    """A row at the end of the file that no newline ends: a row, unless its quote is still open."""
    if not text:
        return
    scan = _RowScan(separator)
    scan.end(text, 0)
    if scan.state is _State.QUOTED:
        yield unsplit(text, line)
    elif text != b"\r":
        yield from _sized([line], [text.removesuffix(b"\r")])


def _long_row(
    text: bytes, line: int, source: ByteSource, separator: bytes, chunk_bytes: int
) -> Generator[Rows, None, tuple[bytes, int]]:
    """Pass on a row longer than a record, piece by piece; returns what follows it and the line that begins there."""
    scan = _RowScan(separator)
    end = scan.end(text, 0)
    while text:
        if end >= 0:
            yield unsplit(text[:end], line)
            return text[end + 1 :], line + text.count(b"\n", 0, end) + 1
        yield unsplit(text, line)
        line += text.count(b"\n")
        text = source.read(chunk_bytes)
        end = scan.end(text, 0)
    return b"", line
