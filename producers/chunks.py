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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.wire import CHUNK_COLUMNS, Chunk
from producers.cells import Cells
from producers.rows import Rows

CUT_BYTES = 64 * 1024 * 1024
"""Of the values in a chunk; packed it has about a quarter of that."""

_GROUP_ROWS = 1 << 16
"""Of a chunk's rows, for whoever reads one chunk with several cores."""

_COUNTED = CHUNK_COLUMNS.index("value") + 1
_SHORT = pa.dictionary(pa.int8(), pa.string())
_TYPES = (pa.int64(), _SHORT, pa.binary(), _SHORT)


class ChunkWriter(Protocol):
    """Where a file's chunks go, each of about `cut_bytes` of values."""

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


class Attempt(ChunkWriter, Protocol):
    """Where the chunks of one attempt to send one file go."""

    def keep(self) -> None:
        """From here on these chunks stay, whatever happens, and all of them are there: call it before the commit that
        makes them count, of which it may never be known whether it took place. May be called again."""
        ...

    def remove_others(self) -> None:
        """Remove the chunks of all other attempts: call it once this one's count, since from then on no other's can."""
        ...


class ChunkStore(Protocol):
    """Keeps the chunks of a pipeline's large files."""

    def attempt(self, stream: str, file_hash: str) -> AbstractContextManager[Attempt]:
        """Begin to send a file, beside others that may do the same. What is not kept is removed after the block."""
        ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk that was written, and the line at which it begins."""

    first_line: int
    chunk: Chunk


def cut(events: Iterable[Rows], to: ChunkWriter, cells: Cells | None = None) -> Iterator[Cut]:
    """Write all events as chunks, in order, and give each once it is durable. While one is written the next is read.
    `cells` splits the rows of a CSV file."""
    with ThreadPoolExecutor(1, thread_name_prefix="chunk") as writer:
        waiting: Future[Cut] | None = None
        for number, rows in enumerate(_collected(events, to.cut_bytes, cells)):
            following = writer.submit(_write, to, number, rows)
            if waiting:
                yield waiting.result()
            waiting = following
        if waiting:
            yield waiting.result()


def _collected(events: Iterable[Rows], cut_bytes: int, cells: Cells | None) -> Iterator[list[pa.RecordBatch]]:
    """Consecutive rows of about that many bytes."""
    names = cells.names if cells else ()
    types = zip((*CHUNK_COLUMNS, *names), (*_TYPES, *(pa.string() for _ in names)), strict=True)
    schema = pa.schema(list(types))
    batches: list[pa.RecordBatch] = []
    size = 0
    for rows in events:
        if not (count := len(rows)):
            continue
        lines, values = rows.arrays()
        columns = [pa.nulls(count, _SHORT), *(pa.nulls(count, pa.string()) for _ in names)]
        if cells and (split := cells.of(rows)):
            columns = [_same(cells.split_as, count, split.which), *split.columns]
        batch = pa.record_batch([lines, _same(rows.format, count), values, *columns], schema=schema)
        at_once = max(1, count * cut_bytes // values.nbytes)
        for start in range(0, count, at_once):
            batches.append(batch.slice(start, at_once))
            size += sum(column.nbytes for column in batches[-1].columns[:_COUNTED])
            if size >= cut_bytes:
                yield batches
                batches, size = [], 0
    if batches:
        yield batches


def _same(text: str, count: int, which: pa.Array | None = None) -> pa.DictionaryArray:
    """So many times this text, or NULL where `which` is false."""
    places = pa.array(bytes(count), pa.int8())
    return pa.DictionaryArray.from_arrays(places if which is None else pc.if_else(which, places, None), [text])


def _write(to: ChunkWriter, number: int, batches: list[pa.RecordBatch]) -> Cut:
    table = pa.Table.from_batches(batches).unify_dictionaries()
    packed = io.BytesIO()
    # Delta's and Spark's own codec for speed; a dictionary of values that are all different would be built for nothing.
    dictionaries = [name for name in table.column_names if name not in ("line", "value")]
    pq.write_table(
        table,
        packed,
        compression="zstd",
        compression_level=1,
        use_dictionary=dictionaries,
        write_statistics=["line", "split_as"],
        write_batch_size=_GROUP_ROWS,
        row_group_size=_GROUP_ROWS,
    )
    content = packed.getvalue()
    path = to.path(number)
    to.put(path, content)
    first = batches[0].column(0)[0].as_py()
    split = table.num_rows - table["split_as"].null_count
    return Cut(first, Chunk(path, table.num_rows, len(content), hashlib.sha256(content).hexdigest(), split))
