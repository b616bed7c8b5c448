"""How rows of files and the files' states are written to Kafka: the only place that knows the bytes.

A row's record key is `file_hash \\t line \\t format \\t file_name[/batch_date] \\t header` in UTF-8 and its value the
row's own bytes, in UTF-8 if its file's encoding could be read. The header is last, so it may hold tabs itself. No Kafka
headers: they cost 1-2 µs a row. A record whose format is `chunk` stands for many rows: see Chunk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

RowFormat = Literal["csv", "json", "log", "unsplit"]
RecordFormat = Literal["csv", "json", "log", "unsplit", "chunk"]
SendState = Literal["claimed", "sending", "sent", "rejected"]

_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FILE_HASH = re.compile(r"[0-9a-f]{64}")


def check_file_name(file_name: str) -> None:
    """Refuse a file name that the wire cannot carry (tab, line break, folder, not UTF-8) with a ValueError."""
    if not file_name or any(character in file_name for character in "\t\r\n/\0"):
        raise ValueError(f"file name {file_name!r} is empty or holds a tab, a line break or a slash: rename the file")
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"file name {file_name!r} is not UTF-8: rename the file") from None


def _check_batch_date(text: str) -> None:
    if text and not _ISO_DATE.fullmatch(text):
        raise ValueError(f"batch date {text!r} is not written yyyy-mm-dd")


@dataclass(frozen=True, slots=True)
class RowKey:
    """Where a row of a file stood. `line` is the 1-based physical line where the row begins (for an element of a
    JSON array its ordinal); `header` the raw CSV header line, empty for JSON. `unsplit` marks text that the producer
    could not split into rows. `batch_date` is the date for which the file was pushed, empty if its contract asks for
    none."""

    file_hash: str
    line: int
    format: RecordFormat
    file_name: str
    header: str = ""
    batch_date: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be read back, with a ValueError."""
        if not FILE_HASH.fullmatch(self.file_hash):
            raise ValueError(f"file hash {self.file_hash!r} is not 64 lower-case hexadecimal digits")
        if self.line < 1:
            raise ValueError(f"line {self.line} is below 1")
        if self.format not in get_args(RecordFormat):
            raise ValueError(f"row format {self.format!r} is none of {get_args(RecordFormat)}")
        check_file_name(self.file_name)
        _check_batch_date(self.batch_date)


def encode_row_key(key: RowKey) -> bytes:
    """The record key; `decode_row_key` gives an equal RowKey back."""
    file = f"{key.file_name}/{key.batch_date}" if key.batch_date else key.file_name
    return f"{key.file_hash}\t{key.line}\t{key.format}\t{file}\t{key.header}".encode()


def decode_row_key(record_key: bytes) -> RowKey:
    """Read a record key.

    Raises:
        ValueError: these bytes are not a row key.
    """
    parts = record_key.decode().split("\t", 4)
    if len(parts) != 5 or not parts[1].isdecimal():
        raise ValueError(f"record key {record_key[:200]!r} does not have the five fields of a file row")
    file_hash, line, row_format, file, header = parts
    name, _, batch_date = file.partition("/")
    return RowKey(file_hash, int(line), row_format, name, header, batch_date)  # type: ignore[arg-type]  # checked there


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a file, kept in the lake's file system: the value of a record with format `chunk`.

    `path` (from the lake's root, `_chunks/…`) is a Parquet file with the columns CHUNK_COLUMNS in the order of the
    file, `bytes` long, of that `sha256`; it holds `rows` rows, the first of them at the line that the record's key
    names; `split` of them are. A chunk's file is written once and never changed.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    split: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be a chunk, with a ValueError."""
        if not _CHUNK_PATH.fullmatch(self.path):
            raise ValueError(f"{self.path!r} is no path of a chunk")
        if any(type(number) is not int or not 0 < number < 2**63 for number in (self.rows, self.bytes)):
            raise ValueError(f"{self.path}: {self.rows} rows in {self.bytes} bytes")
        if type(self.split) is not int or not 0 <= self.split <= self.rows:
            raise ValueError(f"{self.path}: {self.split} of {self.rows} rows are split")
        if not FILE_HASH.fullmatch(self.sha256):
            raise ValueError(f"{self.path}: {self.sha256!r} is no SHA-256")


CHUNK_COLUMNS = ("line", "format", "value", "split_as")
"""bigint, string (a RowFormat), binary, string: the `split_as` by which the row's fields stand in `cell_columns` too,
NULL if they do not. A chunk that was written before there were any lacks the last one."""


def cell_columns(fields: int) -> tuple[str, ...]:
    """The columns of a CSV file's chunk for the fields of its rows, strings in the order of its header. Of a row that
    is split, NULL is a field in which nothing stands, not even quotes."""
    return tuple(f"cell_{at}" for at in range(fields))


def split_as(delimiter: str, quote: str, backslash: bool) -> str:
    """What says by which rules a row was split: whoever reads by others splits its value anew."""
    return f"{delimiter} {quote} {'backslash' if backslash else 'doubled'}"


_CHUNK_PATH = re.compile(r"_chunks/[a-z][a-z0-9_]*/[a-z][a-z0-9_]*/[0-9a-f]{64}/[0-9a-f]{32}/[0-9]{12}\.parquet")


def encode_chunk(chunk: Chunk) -> bytes:
    """The value of a chunk's record."""
    return json.dumps(asdict(chunk), separators=(",", ":")).encode()


def decode_chunk(value: bytes) -> Chunk:
    """Read the value of a chunk's record; fields that a later version added are ignored.

    Raises:
        ValueError: these bytes are no chunk.
    """
    try:
        return Chunk(**_known(Chunk, json.loads(value)))
    except (TypeError, AttributeError, RecursionError) as problem:
        raise ValueError(f"record {value[:200]!r} is no chunk: {problem}") from None


def row_partition(file_hash: str, partitions: int) -> int:
    """The one partition that takes all rows of a file, so that they stay in line order."""
    return int(file_hash[:15], 16) % partitions


@dataclass(frozen=True, slots=True)
class FileState:
    """One record of the files topic. `rows` counts the events of the whole file, `sent` those committed to Kafka
    so far, in the transaction that carries this record; `sent_digest` is a SHA-256 of their lines and values (`""` if
    there are none, or a version sent them that kept no digest). `unit` is the part of the data that the file states
    (`""` if none), `batch_date` the date for which it was pushed (`""` if its contract asks for none), `archive` what
    it was unpacked from (`""` if nothing), `at` an ISO 8601 UTC time, `by` who sent it. The offset of the record with
    state `sent` is the file's revision."""

    stream: str
    hash: str
    file: str
    unit: str
    state: SendState
    rows: int
    sent: int
    bytes: int
    partition: int
    at: str
    by: str
    reason: str = ""
    sent_digest: str = ""
    batch_date: str = ""
    archive: str = ""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself or is of another type, with a ValueError."""
        texts = [self.stream, self.hash, self.file, self.unit, self.at, self.by, self.reason, self.sent_digest]
        texts += [self.batch_date, self.archive]
        numbers = (self.rows, self.sent, self.bytes, self.partition)
        if not all(isinstance(text, str) for text in texts) or any(type(number) is not int for number in numbers):
            raise ValueError("a field is of another type")
        if self.rows >= 2**63:
            raise ValueError(f"{self.rows} events are more than a bigint holds")
        if not FILE_HASH.fullmatch(self.hash):
            raise ValueError(f"file hash {self.hash!r} is not 64 lower-case hexadecimal digits")
        if self.state not in get_args(SendState):
            raise ValueError(f"state {self.state!r} is none of {get_args(SendState)}")
        if not 0 <= self.sent <= self.rows:
            raise ValueError(f"{self.file}: {self.sent} events sent of {self.rows}")
        if self.state == "sent" and self.sent != self.rows:
            raise ValueError(f"{self.file}: state sent with {self.sent} of {self.rows} events")
        check_file_name(self.file)
        _check_batch_date(self.batch_date)


def encode_file_state(state: FileState) -> tuple[bytes, bytes]:
    """Key and value of the record: the newest per stream and content hash survives compaction."""
    key = f"{state.stream}/{state.hash}".encode()
    return key, json.dumps(asdict(state), ensure_ascii=False, separators=(",", ":")).encode()


def decode_file_state(value: bytes) -> FileState:
    """Read a record's value; fields that a later version added are ignored.

    Raises:
        ValueError: these bytes are not a file state.
    """
    try:
        return FileState(**_known(FileState, json.loads(value)))
    except (TypeError, AttributeError, RecursionError) as problem:
        raise ValueError(f"record {value[:200]!r} is not a file state: {problem}") from None


def _known(kind: type[Chunk | FileState], found: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    return {name: item for name, item in found.items() if name in known}


def foreign_records(topic: str, offsets: Sequence[int]) -> str:
    """What a reader of the files topic says of records that `decode_file_state` refuses: it goes on without them."""
    listed = ", ".join(map(str, offsets))
    return (
        f"{topic}: the records at offsets {listed} are not the states of files and are passed over; only `push` and "
        "`watch` may write to this topic"
    )
