"""CSV in any dialect: where each row begins and ends, and nothing else. The streaming job judges what is in it."""

from __future__ import annotations

import enum
import re
from collections.abc import Generator, Iterator

from producers.dialect import Dialect, LineRows, fields_of
from producers.rows import BOM, CHUNK_BYTES, ROW_LIMIT_BYTES, ByteSource, Rows, physical_rows, split_lines, unsplit

_NEWLINE = 0x0A


class _State(enum.Enum):
    FIELD_START = enum.auto()
    PLAIN = enum.auto()
    QUOTED = enum.auto()
    ESCAPED = enum.auto()
    AFTER_QUOTE = enum.auto()


class _RowScan:
    """Finds the end of one row, over as many calls as it has chunks.

    A quote opens a field only at the field's start. A quote elsewhere is text: an inch mark must not swallow the rows
    after it.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._quote = dialect.mark[0]
        self._doubles = not dialect.backslash
        self._field_end = re.compile(b"[" + re.escape(dialect.delimiter.encode()) + rb"\n]")
        self._quote_end = re.compile(b"[" + re.escape(dialect.mark) + (b"" if self._doubles else rb"\\") + b"]")
        self.state = _State.FIELD_START

    def end(self, text: bytes, at: int) -> int:
        """Where the newline that ends the row stands, or -1 if the text ends first."""
        while at < len(text):
            if self.state is _State.ESCAPED:
                self.state = _State.QUOTED
                at += 1
            elif self.state is _State.QUOTED:
                found = self._quote_end.search(text, at)
                if not found:
                    return -1
                at = found.end()
                self.state = _State.ESCAPED if text[found.start()] != self._quote else _State.AFTER_QUOTE
            elif text[at] == self._quote and (
                self.state is _State.FIELD_START or (self._doubles and self.state is _State.AFTER_QUOTE)
            ):
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


def _whole_row(dialect: Dialect) -> re.Pattern[bytes]:
    """The same as `_RowScan`, several times faster, for a row that stands in the text as a whole."""
    delimiter = re.escape(dialect.delimiter.encode())
    other = b"[^" + delimiter + rb"\n]*+"
    field = b"(?:" + dialect.quoted() + other + b"|(?!" + re.escape(dialect.mark) + b")" + other + b")"
    return re.compile(field + b"(?:" + delimiter + field + b")*+(?=\n)")


RFC_4180 = Dialect()


def split_csv(
    source: ByteSource, dialect: Dialect = RFC_4180, *, line: int = 1, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[Rows]:
    """Give every row, the header among them, in order and in memory that does not grow with the file.

    A byte order mark and line ends (`\\n`, `\\r\\n`) outside quotes are left out, blank lines are no rows. Text after
    a quote that is never closed, and rows too long for a record, come as `unsplit`. The first line is number `line`.
    """
    if not dialect.quote:
        yield from split_lines(source, "csv", line=line, chunk_bytes=chunk_bytes)
        return
    whole_row, mark, line_rows = _whole_row(dialect), dialect.mark, _LineRows(dialect)
    text, first = b"", True
    while True:
        chunk = source.read(chunk_bytes)
        text += chunk
        if first and (len(text) >= len(BOM) or not chunk):
            text, first = text.removeprefix(BOM), False
        elif first:
            continue
        at = text.rfind(b"\n") + 1
        if mark in text and (fields := line_rows.fields(text[:at])) is not None:
            line = yield from physical_rows(text[:at], line, "csv", fields=fields)
        else:
            at = 0
        while at < len(text):
            quote = text.find(mark, at)
            plain = text.rfind(b"\n", at, quote if quote >= 0 else len(text)) + 1
            if quote < 0 and not chunk:
                plain = len(text)
            if plain > at:
                line = yield from physical_rows(text[at:plain], line, "csv")
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
            yield from _last_row(text, line, dialect)
            return
        if len(text) > ROW_LIMIT_BYTES:
            text, line = yield from _long_row(text, line, source, dialect, chunk_bytes)


class _LineRows:
    """Looks for texts whose lines are whole rows, first for those that have as many fields as the first row."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._fields: int | None = None
        self._any = LineRows(dialect)
        self._like_the_first = self._any

    def fields(self, text: bytes) -> int | None:
        """How many each row has, 0 if they differ; None if not each line is a row."""
        if self._fields is None:
            first = text.lstrip(b"\r\n").split(b"\n", 1)[0].removesuffix(b"\r")
            self._fields = len(fields_of(first.decode(errors="replace"), self._dialect))
            self._like_the_first = LineRows(self._dialect, self._fields)
        if self._fields and self._like_the_first.match(text):
            return self._fields
        return 0 if self._any.match(text) else None


def _sized(lines: list[int], values: list[bytes]) -> Iterator[Rows]:
    if values and len(max(values, key=len)) <= ROW_LIMIT_BYTES:
        yield Rows("csv", lines, values)
        return
    for line, value in zip(lines, values, strict=True):
        yield unsplit(value, line) if len(value) > ROW_LIMIT_BYTES else Rows("csv", [line], [value])


def _last_row(text: bytes, line: int, dialect: Dialect) -> Iterator[Rows]:
    """A row at the end of the file that no newline ends: a row, unless its quote is still open."""
    if not text:
        return
    scan = _RowScan(dialect)
    scan.end(text, 0)
    if scan.state in (_State.QUOTED, _State.ESCAPED):
        yield unsplit(text, line)
    elif text != b"\r":
        yield from _sized([line], [text.removesuffix(b"\r")])


def _long_row(
    text: bytes, line: int, source: ByteSource, dialect: Dialect, chunk_bytes: int
) -> Generator[Rows, None, tuple[bytes, int]]:
    """Pass on a row longer than a record, piece by piece; returns what follows it and the line that begins there."""
    scan = _RowScan(dialect)
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
