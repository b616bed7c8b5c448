"""Rows beyond those that are drawn, for files larger than memory: the drawn rows again, while what counts goes on.

A column counts if it is a sequence or a template with `{row}`, or with a column that counts; the line's number counts
too. All else of a row is written once and used again, so that a row costs a few microseconds, its hash included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain, islice

from contracts import canonical_python
from contracts.canonical import TAG
from contracts.spark_types import parse_type
from contracts.stream import Stream
from producers.generator.declaration import Generator
from producers.generator.render import Lines, csv_text
from producers.generator.values import Drawing, Values

BLOCK_ROWS = 100_000
_HOLE = "\0"


def counting(columns: Mapping[str, Generator]) -> list[str]:
    """The columns whose values go on from row to row through all rows."""
    found: list[str] = []
    for name, generator in columns.items():
        named = generator.template or ""
        if generator.null_share:
            continue
        if generator.sequence is not None or any("{" + other in named for other in ("row", *found)):
            found.append(name)
    return found


def can_go_on(stream: Stream, columns: Mapping[str, Generator]) -> bool:
    """Whether rows that repeat others but for what counts are all different events, in a format of plain lines."""
    counts = {*counting(columns), *(column.name for column in stream.columns if column.from_line)}
    return stream.file_source.format in ("csv", "log") and bool(counts & set(stream.key))


class FurtherRows:
    """`count` rows after the drawn ones. `columns` holds the drawn rows whole, `drawing` a new Drawing that begins at
    a given row; `first_line` is where the first further row stands in its file."""

    def __init__(
        self,
        stream: Stream,
        declared: Mapping[str, Generator],
        columns: Mapping[str, Values],
        lines_of: Lines,
        drawing: Callable[[int, int], Drawing],
        count: int,
        first_line: int,
    ) -> None:
        self.count, self.fingerprint = count, 0
        self._declared, self._columns, self._drawing, self._first_line = declared, columns, drawing, first_line
        self._counting = counting(declared)
        source = stream.file_source
        self._encoding, self._refused = source.encoding, {*'"\\\n []', source.delimiter, source.quote} - {""}
        self._line_columns = [column.name for column in stream.columns if column.from_line]
        self._parts = {c.name: canonical_python.part_of(parse_type(c.spark_type)) for c in stream.columns}
        self._of_block = len(next(iter(columns.values())))
        sent = [column.name for column in stream.sent_columns]
        self._in_line = [name for name in sent if name in self._counting]
        holes = [[_HOLE] * self._of_block if name in self._in_line else columns[name] for name in sent]
        self._line_pieces = _pieces(lines_of(zip(*holes, strict=True)))
        self._in_hash = [c.name for c in stream.columns if c.name in (*self._counting, *self._line_columns)]
        texts = [
            [_HOLE] * self._of_block if c.name in self._in_hash else list(map(self._parts[c.name], columns[c.name]))
            for c in stream.columns
        ]
        self._hash_pieces = _pieces(list(map("".join, zip([TAG] * self._of_block, *texts, strict=True))))

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """The rows' text, block by block, and how many they are; afterwards `fingerprint` is that of them all."""
        self.fingerprint = 0
        for begin in range(0, self.count, self._of_block):
            size = min(self._of_block, self.count - begin)
            drawing = self._drawing(begin, size)
            drawing.columns = {name: values[:size] for name, values in self._columns.items()}
            for name in self._counting:
                drawing.columns[name] = drawing.column(name, self._declared[name])
            first = self._first_line + begin
            drawing.columns.update((name, list(range(first, first + size))) for name in self._line_columns)
            self._add_up(drawing.columns)
            fields = [self._fields(name, drawing.columns[name]) for name in self._in_line]
            yield ("\n".join(islice(_filled(self._line_pieces, fields), size)) + "\n").encode(self._encoding), size

    def _fields(self, name: str, values: Sequence[object]) -> list[str]:
        texts = list(map(csv_text, values))
        if "" in texts or not self._refused.isdisjoint("".join(texts)):
            raise ValueError(f"`{name}` goes on from row to row, and has values that would need quotes")
        return texts

    def _add_up(self, columns: Mapping[str, Values]) -> None:
        parts = [list(map(self._parts[name], columns[name])) for name in self._in_hash]
        number = int.from_bytes
        for text in islice(_filled(self._hash_pieces, parts), len(next(iter(columns.values())))):
            self.fingerprint += number(sha256(text.encode()).digest()[:8]) >> 4


def _pieces(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """What stands before, between and after the holes of these texts, each of all texts."""
    return list(zip(*(text.split(_HOLE) for text in texts), strict=True))


def _filled(pieces: Sequence[Sequence[str]], values: Sequence[Sequence[str]]) -> Iterator[str]:
    if not values:
        return iter(pieces[0])
    # The last block may be shorter than the others.
    return map("".join, zip(*chain.from_iterable(zip(pieces, values, strict=False)), pieces[-1], strict=False))
