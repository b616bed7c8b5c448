"""Large files as chunks in the lake's file system: Parquet files of rows, which one Kafka record each stands for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.wire import CHUNK_COLUMNS, Chunk
from producers.rows import Rows

CUT_BYTES = 64 * 1024 * 1024
"""Of the values in a chunk; packed it has about a quarter of that."""

_GROUP_ROWS = 1 << 16
"""Of a chunk's rows, for whoever reads one chunk with several cores."""

_SCHEMA = pa.schema(
    list(zip(CHUNK_COLUMNS, (pa.int64(), pa.dictionary(pa.int8(), pa.string()), pa.binary()), strict=True))
)


class Attempt(Protocol):
    """Where the chunks of one attempt to send one file go, each of about `cut_bytes` of values."""

    @property
    def cut_bytes(self) -> int:
        """A chunk is closed when its values hold so many bytes."""
        ...

    def path(self, number: int) -> str:
        """The path of a chunk, as the wire's Chunk spells it."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Write a chunk. On return it is durable."""
        ...


class ChunkStore(Protocol):
    """Keeps the chunks of a pipeline's large files."""

    def attempt(self, stream: str, file_hash: str) -> AbstractContextManager[Attempt]:
        """Begin to send a file. What earlier attempts left of this file is removed: call it only while nobody else can
        commit it. After an exception in the block its own chunks are removed too."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk that was written, and the line at which it begins."""

    first_line: int
    chunk: Chunk


def cut(events: Iterable[Rows], attempt: Attempt) -> Iterator[Cut]:
    """Write all events as chunks, in order, and give each once it is durable. While one is written the next is read."""
    with ThreadPoolExecutor(1, thread_name_prefix="chunk") as writer:
        waiting: Future[Cut] | None = None
        for number, rows in enumerate(_collected(events, attempt.cut_bytes)):
            following = writer.submit(_write, attempt, number, rows)
            if waiting:
                yield waiting.result()
            waiting = following
        if waiting:
            yield waiting.result()


def _collected(events: Iterable[Rows], cut_bytes: int) -> Iterator[list[pa.RecordBatch]]:
    """Consecutive rows of about that many bytes."""
    batches: list[pa.RecordBatch] = []
    size = 0
    for rows in events:
        if not len(rows):
            continue
        formats = pa.DictionaryArray.from_arrays(pa.array(bytes(len(rows)), pa.int8()), [rows.format])
        lines, values = rows.arrays()
        batch = pa.record_batch([lines, formats, values], schema=_SCHEMA)
        at_once = max(1, len(values) * cut_bytes // values.nbytes)
        for start in range(0, len(values), at_once):
            batches.append(batch.slice(start, at_once))
            size += batches[-1].nbytes
            if size >= cut_bytes:
                yield batches
                batches, size = [], 0
    if batches:
        yield batches


def _write(attempt: Attempt, number: int, batches: list[pa.RecordBatch]) -> Cut:
    table = pa.Table.from_batches(batches).unify_dictionaries()
    packed = io.BytesIO()
    # Delta's and Spark's own codec for speed; a dictionary of values that are all different would be built for nothing.
    pq.write_table(
        table,
        packed,
        compression="zstd",
        compression_level=1,
        use_dictionary=["format"],
        write_statistics=["line"],
        write_batch_size=_GROUP_ROWS,
        row_group_size=_GROUP_ROWS,
    )
    content = packed.getvalue()
    path = attempt.path(number)
    attempt.put(path, content)
    first = batches[0].column(0)[0].as_py()
    return Cut(first, Chunk(path, table.num_rows, len(content), hashlib.sha256(content).hexdigest()))
