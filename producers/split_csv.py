"""CSV in any dialect: where each row begins and ends, and nothing else. The streaming job judges what is in it."""

from __future__ import annotations

import enum
import re
from collections.abc import Generator, Iterator
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

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
        end = text.rfind(b"\n") + 1
        whole = text[:end]
        if mark not in whole:
            line = yield from physical_rows(whole, line, "csv")
        elif (fields := line_rows.fields(whole)) is not None:
            line = yield from physical_rows(whole, line, "csv", fields=fields)
        else:
            line, end = yield from _with_long_quotes(whole, line, whole_row, line_rows)
        text = text[end:]
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

    def others(self, values: list[bytes]) -> list[int]:
        """Which of these lines are no whole row, if each began one."""
        return pc.indices_nonzero(pc.invert(self._any.among(pa.array(values, pa.binary())))).to_pylist()  # type: ignore[no-any-return]


def _with_long_quotes(
    text: bytes, line: int, whole_row: re.Pattern[bytes], line_rows: _LineRows
) -> Generator[Rows, None, tuple[int, int]]:
    """Rows of a text of whole lines of which some are no rows, since line ends stand within quotes. Only those are
    looked at one by one. Returns the line, and the place in the text, of the first row that it does not hold whole."""
    found = text.split(b"\n")
    starts = [0, *accumulate(len(value) + 1 for value in found)]
    lines: list[int] = []
    values: list[bytes] = []
    at, end = 0, len(found) - 1
    for other in line_rows.others(found[:-1]):
        if other < at:
            continue
        lines += range(line + at, line + other)
        values += found[at:other]
        at = other
        row = whole_row.match(text, starts[at])
        if not row:
            end = at
            break
        lines.append(line + at)
        values.append(row[0])
        at += 1 + row[0].count(b"\n")
    lines += range(line + at, line + end)
    values += found[at:end]
    values = [value.removesuffix(b"\r") for value in values] if b"\r" in text else values
    if b"" in values:
        kept = [(number, value) for number, value in zip(lines, values, strict=True) if value]
        lines, values = [number for number, _ in kept], [value for _, value in kept]
    yield from _sized(lines, values)
    return line + end, starts[end]


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
