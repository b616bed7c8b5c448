"""Read a whole file before anything of it is sent: its content hash, how many events it holds, and whether it is the
kind of file that the contract describes at all."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from contracts.stream import FileSource, Stream
from producers.rows import BOM, Rows
from producers.split_csv import split_csv
from producers.split_json import split_json

HEADER_LIMIT_BYTES = 32 * 1024
"""The header travels in the key of every row."""

_START_BYTES = 64 * 1024

_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"(\xb5/\xfd": "zstd", b"BZh": "bzip2"}


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass over a file found. `rows` counts the events that `FileRows` gives for it. A `wrong` that is not
    empty says why nothing of the file may be sent. `changed` says that the file grew or shrank during the pass:
    then the rest describes no state that the file ever had."""

    hash: str
    bytes: int
    rows: int
    header: str
    wrong: str
    changed: bool


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

    def hexdigest(self) -> str:
        """The SHA-256 of what was read so far."""
        return self._digest.hexdigest()


class FileRows:
    """The events of one file in order. The same content gives the same events each time, so that a count of events
    is a place in the file to go on from. `header` is the CSV header as it stands in the file, None if there is none.
    """

    def __init__(self, source: BinaryIO, declared: FileSource) -> None:
        self.reader = HashedReader(source)
        self.header: bytes | None = b""
        if declared.format == "json":
            self._batches = split_json(self.reader)
            return
        self._batches = split_csv(self.reader, declared.delimiter)
        first = next(self._batches, None)
        self.header = first.values[0] if first and first.format == "csv" else None
        if first and self.header is not None:
            self._batches = chain([Rows(first.format, first.lines[1:], first.values[1:])], self._batches)

    def __iter__(self) -> Iterator[Rows]:
        return self._batches


def scan(source: BinaryIO, stream: Stream, progress: Callable[[int], None] | None = None) -> Scan:
    """Read the file from its start to its end; `progress` gets the number of bytes read so far. Sends nothing."""
    before = os.fstat(source.fileno())
    declared = stream.file_source
    wrong = _not_text(source)
    file_rows = FileRows(source, declared)
    known = re.compile(b"|".join(re.escape(f'"{column.name}"'.encode()) for column in stream.sent_columns))
    rows, named = 0, False
    for batch in file_rows:
        rows += len(batch.values)
        if declared.format == "json" and not named:
            named = any(known.search(value) for value in batch.values)
        if progress:
            progress(file_rows.reader.bytes)
    header = ""
    if not wrong and declared.format == "csv":
        header, wrong = _header(file_rows.header, stream)
    elif not wrong and rows and not named:
        wrong = f"no value names any column of stream {stream.name}: {_names(stream)}"
    after = os.fstat(source.fileno())
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    changed = changed or file_rows.reader.bytes != after.st_size
    return Scan(file_rows.reader.hexdigest(), file_rows.reader.bytes, rows, header, wrong, changed)


def _not_text(source: BinaryIO) -> str:
    """Why this is no text with anything in it, as far as its start says; empty if it is one."""
    source.seek(0)
    first = source.read(_START_BYTES)
    start = first.removeprefix(BOM)
    while not start.strip() and (start := source.read(_START_BYTES)):
        pass
    if not start:
        nothing = {b"": "it is empty", BOM: "it holds a byte order mark and nothing else"}
        return nothing.get(first, "it holds only blank lines")
    for magic, name in _COMPRESSED.items():
        if first.startswith(magic):
            return f"it is compressed ({name}): send it uncompressed"
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "it is UTF-16: convert it to UTF-8"
    first_line = start.lstrip(b"\r\n").split(b"\n", 1)[0]
    return "its first line holds NUL bytes, so it is no text" if b"\0" in first_line else ""


def _header(raw: bytes | None, stream: Stream) -> tuple[str, str]:
    """The header as text, and why it cannot be one."""
    if raw is None or len(raw) > HEADER_LIMIT_BYTES:
        return "", f"its first row cannot be a header (an open quote, or over {HEADER_LIMIT_BYTES} bytes)"
    quoted = rb'(^|%s)"(?:[^"]|"")*+"' % re.escape(stream.file_source.delimiter.encode())
    if b"\r" in re.sub(quoted, b"", raw):
        return "", "its lines end in carriage returns alone: convert them to line feeds"
    try:
        header = raw.decode()
    except UnicodeDecodeError as problem:
        return "", f"its header is not UTF-8 (byte {problem.start + 1}): convert the file"
    one_line = header.replace("\r", " ").replace("\n", " ")
    names = [name.strip() for name in next(csv.reader([one_line], delimiter=stream.file_source.delimiter))]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        return header, f"its header names {', '.join(sorted(twice))} twice"
    if not {column.name for column in stream.sent_columns} & set(names):
        return header, f"its header {header[:200]!r} shares no column with stream {stream.name}: {_names(stream)}"
    return header, ""


def _names(stream: Stream) -> str:
    return ", ".join(column.name for column in stream.sent_columns)
