"""Read a whole file before anything of it is sent: its content hash, how many events it holds, and whether it is the
kind of file that the contract describes at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

from contracts.delimiter import delimiter_of
from contracts.stream import Stream
from producers.cells import Cells
from producers.dialect import Dialect, fields_of
from producers.misfits import Misfits
from producers.rows import BOM, Rows, UnreadableFile, split_lines
from producers.split_csv import split_csv
from producers.split_json import split_json
from producers.split_parquet import parquet_wrong, split_parquet
from producers.text import as_utf8, first_line, skip_lines
from producers.unpack import unsupported
from producers.values import Values

HEADER_LIMIT_BYTES = 32 * 1024
"""The header travels in the key of every row."""

_START_BYTES = 64 * 1024
_SAMPLE_LINES = 1000


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over a file found. `rows` counts the events that `FileRows` gives for it. A `wrong` that is not
    empty says why nothing of the file may be sent. `changed` says that the file grew or shrank during the pass:
    then the rest describes no state that the file ever had. `delimiter` is the one that was found, if it was looked
    for."""

    hash: str
    bytes: int
    rows: int
    header: str
    wrong: str
    changed: bool
    delimiter: str = ""


class HashedReader:
    """A file's bytes from the start, hashed as they are read."""

    def __init__(self, source: BinaryIO) -> None:
        source.seek(0)
        self._source = source
        self._digest = hashlib.sha256()
        self.bytes = 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        chunk = self._source.read(size)
        self._digest.update(chunk)
        self.bytes += len(chunk)
        return chunk

    def read_all(self) -> None:
        """Read from the start to the end, for the hash alone."""
        self._source.seek(0)
        while self.read(1 << 20):
            pass

    def hexdigest(self) -> str:
        """The SHA-256 of what was read so far."""
        return self._digest.hexdigest()


class FileRows:
    """The events of one file in order. The same content gives the same events each time, so that a count of events
    is a place in the file to go on from; once they are all read, `reader` has hashed the whole file. `header` is the
    CSV header as it stands in the file, None if there is none, and `delimiter` the one it is read by.

    Iterating raises UnreadableFile if the file is not what its beginning says.
    """

    def __init__(self, source: BinaryIO, stream: Stream) -> None:
        declared = stream.file_source
        self.reader = HashedReader(source)
        self.header: bytes | None = b""
        self.dialect: Dialect | None = None
        if declared.format == "parquet":
            self._batches = self._of_parquet(source)
            return
        text = skip_lines(as_utf8(self.reader, declared.encoding), declared.skip_lines)
        line = declared.skip_lines + 1
        if declared.format == "json":
            self._batches = split_json(text)
            return
        if declared.format == "log":
            self._batches = split_lines(text, "log", line=line, blank=b" \t\r")
            return
        delimiter = declared.delimiter
        if not delimiter:
            start, text = first_line(text, HEADER_LIMIT_BYTES)
            delimiter = delimiter_of(start.decode(errors="replace"))
        self.dialect = Dialect(delimiter, declared.quote, declared.backslash)
        self._batches = split_csv(text, self.dialect, line=line)
        if not declared.header:
            self.header = delimiter.join(column.name for column in stream.sent_columns).encode()
            return
        first = next(self._batches, None)
        self.header = first.values[0] if first and first.format == "csv" else None
        if first and self.header is not None:
            self._batches = chain([first.part(1, len(first))], self._batches)

    def __iter__(self) -> Iterator[Rows]:
        return self._batches

    @property
    def delimiter(self) -> str:
        """The one a CSV file is read by, else empty."""
        return self.dialect.delimiter if self.dialect else ""

    def cells(self) -> Cells | None:
        """What splits the rows of a CSV file; None for other formats."""
        if not self.header or not self.dialect:
            return None
        return Cells(self.dialect, len(fields_of(self.header.decode(errors="replace"), self.dialect)))

    def _of_parquet(self, source: BinaryIO) -> Iterator[Rows]:
        try:
            yield from split_parquet(source)
        finally:
            self.reader.read_all()


def scan(source: BinaryIO, stream: Stream, progress: Callable[[int], None] | None = None) -> Scan:
    """Read the file from its start to its end; `progress` gets the number of bytes read so far. Sends nothing."""
    before = os.fstat(source.fileno())
    declared = stream.file_source
    try:
        wrong = parquet_wrong(source, stream) if declared.format == "parquet" else _not_text(source, stream)
        file_rows = FileRows(source, stream)
    except UnreadableFile as problem:
        reader = HashedReader(source)
        reader.read_all()
        return Scan(reader.hexdigest(), reader.bytes, 0, "", str(problem), False)
    header = ""
    if not wrong and declared.format == "csv":
        header, wrong = _header(file_rows.header, file_rows.delimiter, stream)
    dialect = file_rows.dialect or Dialect(quote=declared.quote, backslash=declared.backslash)
    misfits, values = Misfits(stream, header, dialect), Values(stream, header, dialect)
    known = re.compile(b"|".join(re.escape(f'"{column.name}"'.encode()) for column in stream.sent_columns))
    rows, named = 0, declared.format != "json"
    try:
        for batch in file_rows:
            rows += len(batch)
            named = named or bool(known.search(batch.ended()))
            misfits.add(batch)
            values.add(batch)
            if progress:
                progress(file_rows.reader.bytes)
    except UnreadableFile as problem:
        wrong = wrong or str(problem)
    if rows and not named:
        wrong = wrong or f"no value names any column of stream {stream.name}: {_names(stream)}"
    if not rows and not declared.header:
        wrong = wrong or "it holds no row"
    try:
        wrong = wrong or misfits.verdict() or values.verdict(lambda: FileRows(source, stream))
    except UnreadableFile as problem:  # it changed meanwhile
        wrong = str(problem)
    after = os.fstat(source.fileno())
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    changed = changed or file_rows.reader.bytes != after.st_size
    reader, found = file_rows.reader, "" if declared.delimiter else file_rows.delimiter
    return Scan(reader.hexdigest(), reader.bytes, rows, header, wrong, changed, found)


def _not_text(source: BinaryIO, stream: Stream) -> str:
    """Why this is no text with anything in it, as far as its start says; empty if it is one."""
    declared = stream.file_source
    source.seek(0)
    first = source.read(_START_BYTES)
    if kind := unsupported(source):
        return f"it is compressed ({kind}): send it as gzip, zip, tar or uncompressed"
    utf16 = first.startswith((b"\xff\xfe", b"\xfe\xff"))
    if utf16 and declared.encoding == "utf-8":
        return "it is UTF-16: declare `headrace.fileEncoding: utf-16`, or convert it to UTF-8"
    source.seek(0)
    text = as_utf8(source, declared.encoding)
    start = text.read(_START_BYTES)
    only_mark = start == BOM
    start = start.removeprefix(BOM)
    while not start.strip() and (more := text.read(_START_BYTES)):
        start = more
    if not start.strip():
        return (
            "it is empty"
            if not first
            else "it holds a byte order mark and nothing else"
            if only_mark or not start
            else "it holds only blank lines"
        )
    first_line = start.lstrip(b"\r\n").split(b"\n", 1)[0]
    if b"\0" in first_line:
        return "its first line holds NUL bytes, so it is no text" + (
            f" in {declared.encoding}" if declared.encoding != "utf-8" else ""
        )
    return _no_log(start, stream) if declared.format == "log" else ""


def _no_log(start: bytes, stream: Stream) -> str:
    pattern = re.compile(stream.file_source.log_pattern, re.ASCII)
    # The last line may go on behind the sample.
    lines = [line for line in start.split(b"\n")[stream.file_source.skip_lines : -1] if line.strip()]
    sample = islice((line.decode(errors="replace").removesuffix("\r") for line in lines), _SAMPLE_LINES)
    if lines and not any(pattern.fullmatch(line) for line in sample):
        return "none of its lines is as `headrace.logFormat` says"
    return ""


def _header(raw: bytes | None, delimiter: str, stream: Stream) -> tuple[str, str]:
    """The header as text, and why it cannot be one."""
    if raw is None or len(raw) > HEADER_LIMIT_BYTES:
        return "", f"its first row cannot be a header (an open quote, or over {HEADER_LIMIT_BYTES} bytes)"
    declared = stream.file_source
    dialect = Dialect(delimiter, declared.quote, declared.backslash)
    bare = re.sub(rb"(^|%s)%s" % (re.escape(delimiter.encode()), dialect.quoted()), b"", raw) if declared.quote else raw
    if b"\r" in bare:
        return "", "its lines end in carriage returns alone: convert them to line feeds"
    try:
        header = raw.decode()
    except UnicodeDecodeError as problem:
        if declared.encoding == "utf-8":
            hint = "declare `headrace.fileEncoding`, or convert the file"
            return "", f"its header is not UTF-8 (byte {problem.start + 1}): {hint}"
        return "", f"its header is not {declared.encoding}"
    if not declared.delimiter and delimiter_of(header) != delimiter:
        return header, "its header does not tell the delimiter: declare `headrace.fileDelimiter`"
    names = header_names(header, dialect)
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        return header, f"its header names {', '.join(sorted(twice))} twice"
    declared_names = {column.name for column in stream.sent_columns}
    if not declared_names & set(names):
        return header, f"its header {header[:200]!r} shares no column with stream {stream.name}: {_names(stream)}"
    if stream.evolution == "stop" and declared_names != set(names):
        said = [f"lacks {name}" for name in sorted(declared_names - set(names))]
        said += [f"names {name}, which the contract does not" for name in sorted(set(names) - declared_names)]
        return header, f"its header {', '.join(said)}: under `headrace.evolution: stop` nothing of it is sent"
    return header, ""


def header_names(header: str, dialect: Dialect) -> list[str]:
    """The names in a header, without the blanks around them."""
    return [name.strip() for name in fields_of(header, dialect)]


def _names(stream: Stream) -> str:
    return ", ".join(column.name for column in stream.sent_columns)
