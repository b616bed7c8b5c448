"""Parquet files: whether a file is one that the contract can mean, and each of its rows as one JSON object that says
exactly what the row holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.stream import Stream
from producers.arrow_json import holds_bytes, json_objects, without_text
from producers.rows import ROW_LIMIT_BYTES, Rows, UnreadableFile, unsplit

_BATCH_BYTES = 64 << 20
"""About how much decoded data is held at once; fewer rows than asked for are read where rows are that long."""

_READ_BYTES = 1 << 20
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"


def parquet_wrong(source: BinaryIO, stream: Stream) -> str:
    """Why this is no Parquet file for the stream, as far as both ends of it say; empty if it is one.

    The rows are not read: `split_parquet` may still raise. The source's position is left anywhere.

    Raises:
        OSError: the source itself failed.
    """
    size = source.seek(0, 2)
    if not size:
        return "it is empty"
    source.seek(0)
    start = source.read(4)
    source.seek(max(size - 4, 0))
    end = source.read(4)
    if start == _ENCRYPTED:
        return "it is encrypted: send it decrypted"
    if start != _MAGIC:
        return "it is no Parquet file: it does not begin with PAR1"
    if end != _MAGIC or size < 12:
        return "it is cut short: it begins as Parquet, but does not end with PAR1"
    try:
        with _reading():
            file = _open(source)
            schema, metadata = file.schema_arrow, file.metadata
            names = schema.names
            without = {field.name: phrase for field in schema if (phrase := without_text(field))}
    except UnreadableFile as problem:
        return f"its footer cannot be read: {problem}"
    if twice := {name for name in names if names.count(name) > 1}:
        return f"its schema names {', '.join(sorted(twice))} twice"
    for name, phrase in without.items():
        return f"its column {name} is {phrase}, which has no text form: leave it out or write another type"
    declared = {column.name: column.spark_type for column in stream.sent_columns}
    if not declared.keys() & set(names):
        found = ", ".join(names)
        return f"its columns ({found[:200]}) share none with stream {stream.name}: {', '.join(declared)}"
    for field in schema:
        expected = declared.get(field.name, "")
        if holds_bytes(field.type) and "string" in expected and "binary" not in expected:
            # The base64 of a text would pass for another text.
            return f"its column {field.name} holds bytes, the contract says {expected}: write text, or declare binary"
    if metadata.num_rows != sum(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)):
        return "its footer contradicts itself: the row groups have not as many rows as the file"
    return "" if metadata.num_rows else "it holds no row"


def split_parquet(source: BinaryIO, *, batch_rows: int = 8192) -> Iterator[Rows]:
    """Give each row as one JSON object in UTF-8, in order, with its ordinal from 1; the same rows at every call.
    Memory holds a batch, not a row group; only a row too long for a record comes as `unsplit`.

    `json_objects` says how each type is spelled.

    Raises:
        UnreadableFile: at the latest after the last row; what was given before is to be thrown away.
        OSError: the source itself failed.
    """
    with _reading():
        file = _open(source)
        exact = _exact_int96(file, source)
    ordinal = 1
    for group in range(file.metadata.num_row_groups):
        first, part = ordinal, file.metadata.row_group(group)
        row_bytes = part.total_byte_size // max(part.num_rows, 1) + 1
        size = max(1, min(batch_rows, _BATCH_BYTES // row_bytes))
        with _reading():
            batches = file.iter_batches(size, row_groups=[group], use_threads=False)
        while True:
            with _reading():
                batch = next(batches, None)
                if batch is None:
                    break
                batch.validate(full=True)
                exact(batch, group, ordinal - first)
            step = max(1, batch.num_rows * _BATCH_BYTES // max(batch.nbytes, _BATCH_BYTES))
            for at in range(0, batch.num_rows, step):
                with _reading():
                    values = json_objects(batch.slice(at, step))
                yield from _sized(values, ordinal)
                ordinal += len(values)
        if ordinal - first != part.num_rows:
            raise UnreadableFile(f"row group {group + 1} holds {ordinal - first} rows, its footer says {part.num_rows}")
    if ordinal - 1 != file.metadata.num_rows:
        raise UnreadableFile(f"it holds {ordinal - 1} rows, its footer says {file.metadata.num_rows}")
    _no_overlap(file.metadata, source)


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, UnicodeDecodeError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise  # the disk's, not the file's
        raise UnreadableFile(" ".join(str(problem).split())[:300]) from problem


def _open(source: BinaryIO, int96: str = "us") -> pq.ParquetFile:
    # INT96 as nanoseconds in 64 bits wraps round before 1677 and after 2262.
    return pq.ParquetFile(
        source,
        pre_buffer=False,
        buffer_size=_READ_BYTES,
        page_checksum_verification=True,
        coerce_int96_timestamp_unit=int96,
    )


def _no_overlap(metadata: pq.FileMetaData, source: BinaryIO) -> None:
    """Raises UnreadableFile if the footer stands where pages should: bytes in front of it were lost on the way.
    Only for a file that was read: asked for the place of an encrypted column, Arrow ends the process."""
    source.seek(-8, 2)
    footer = source.tell() - int.from_bytes(source.read(4), "little")
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(group.num_columns if group.num_rows else 0):
            column = group.column(j)
            start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)), default=0)
            if start + column.total_compressed_size > footer:
                raise UnreadableFile(f"bytes are missing before its footer: {column.path_in_schema} does not fit")


def _exact_int96(file: pq.ParquetFile, source: BinaryIO) -> Callable[[pa.RecordBatch, int, int], None]:
    """A check that reading INT96 as microseconds lost nothing, to be called for each batch in order."""
    leaves = [file.schema.column(i) for i in range(len(file.schema))]
    columns = sorted({leaf.path.split(".")[0] for leaf in leaves if leaf.physical_type == "INT96"})
    if not columns:
        return lambda batch, group, at: None
    fine = _open(source, "ns")
    batches: dict[int, Iterator[pa.RecordBatch]] = {}

    def check(batch: pa.RecordBatch, group: int, at: int) -> None:
        if not at:
            batches.clear()
            batches[group] = fine.iter_batches(batch.num_rows, row_groups=[group], columns=columns, use_threads=False)
        other = next(batches[group], None)
        for name in columns:
            # Both wrap round alike, so they differ only by digits after the sixth.
            if other is None or not batch[name].cast(other[name].type, safe=False).equals(other[name]):
                raise pa.ArrowInvalid(f"column {name} holds INT96 times finer than a microsecond: write INT64 instead")

    return check


def _sized(values: list[bytes], ordinal: int) -> Iterator[Rows]:
    if values and len(max(values, key=len)) <= ROW_LIMIT_BYTES:
        yield Rows("json", range(ordinal, ordinal + len(values)), values)
        return
    for number, value in enumerate(values, ordinal):
        long = len(value) > ROW_LIMIT_BYTES
        yield unsplit(value, number, physical=False) if long else Rows("json", [number], [value])
