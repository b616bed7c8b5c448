"""Makes one daily file: clean rows, the declared dirt, and what must become of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import islice
from random import Random

from contracts import canonical_python
from contracts.canonical import TAG
from contracts.errors import Fatal
from contracts.spark_types import parse_type
from contracts.stream import Column, Stream
from producers.generator.declaration import DailyFile, SampleData
from producers.generator.render import broken, lines_of
from producers.generator.values import Drawing, Values


def hashes_of(columns: Sequence[Column], rows: Mapping[str, Sequence[object]], count: int) -> list[bytes]:
    """`_hash` of each row, column by column: several times faster than row by row."""
    parts = [map(canonical_python.part_of(parse_type(c.spark_type)), rows[c.name]) for c in columns]
    tags = [TAG] * count
    return [sha256("".join(row).encode()).digest() for row in zip(tags, *parts, strict=True)]


@dataclass(slots=True)
class Made:
    """A file's text and its books: `keys` and `hashes` of the rows that reach the history, and the rows that a later
    day may repeat."""

    text: bytes
    rows: int
    accepted: int
    duplicate: int
    conflicting: int
    quarantined: dict[str, int]
    keys: list[object]
    hashes: list[bytes]
    to_repeat: list[dict[str, object]] = field(default_factory=list)


class DailyMaker:
    """Makes the files of one stream, day by day in order: keys go on counting, duplicates come from the day before."""

    def __init__(
        self,
        stream: Stream,
        declared: DailyFile,
        data: SampleData,
        seed: int,
        rows: int,
        known: Mapping[str, Mapping[str, Values]],
    ) -> None:
        self._stream, self._declared, self._data, self._known = stream, declared, data, known
        self._seed, self._rows = seed, rows
        self._names = [column.name for column in stream.sent_columns]
        source = stream.file_source
        self._lines_of = lines_of(source.format, stream.sent_columns, source.delimiter)
        self._header = source.delimiter.join(self._names) + "\n" if source.format == "csv" else ""

    def make(self, number: int, days: int, unit: date, repeat: Sequence[dict[str, object]]) -> Made:
        """The file of day `number` of `days`; `repeat` are rows of the day before."""
        dirt = self._declared.dirt
        chance = Random(f"{self._seed}/{self._stream.name}/{unit}/dirt")  # noqa: S311
        drawing = self._drawing(number, unit)
        columns = drawing.draw(self._declared.columns)
        cut_days = {day % days for day in dirt.cut_short.days} if dirt.cut_short else set()
        marked = iter(self._marked(chance, number in cut_days))
        if dirt.late:
            values = columns[dirt.late.column]
            for index in chance.sample(range(self._rows), dirt.late.rows):
                at = values[index]
                assert isinstance(at, datetime)
                values[index] = at - timedelta(days=chance.randint(1, dirt.late.days))
        all_columns = self._with_unit(columns, unit)
        hashes = hashes_of(self._stream.columns, all_columns, self._rows)
        lines = self._lines_of(zip(*(columns[name] for name in self._names), strict=True))
        quarantined: Counter[str] = Counter()
        refused: set[int] = set()

        def refuse(index: int, line: str, rule: str) -> None:
            lines[index] = line
            quarantined[rule] += 1
            refused.add(index)

        for column, amount in dirt.nulls.items():
            for _ in range(amount):
                index = next(marked)
                refuse(index, self._line(columns, index, {column: None}), f"{column}_required")
        for wrong in dirt.wrong:
            for n in range(wrong.rows):
                index = next(marked)
                value = wrong.values[n % len(wrong.values)]
                refuse(index, self._line(columns, index, {wrong.column: value}), wrong.rule)
        for _ in range(dirt.broken.rows if dirt.broken else 0):
            assert dirt.broken
            index = next(marked)
            refuse(index, self._broken(lines[index]), dirt.broken.rule)
        cut = next(marked) if number in cut_days else None
        if cut is not None and dirt.cut_short:
            refuse(cut, self._broken(lines[cut]), dirt.cut_short.rule)

        key = self._keys(columns)
        keys = [k for index, k in enumerate(key) if index not in refused]
        kept = [h for index, h in enumerate(hashes) if index not in refused]
        duplicates = [next(marked) for _ in range(dirt.duplicates_within)]
        lines += [lines[index] for index in duplicates]
        if dirt.conflicting:
            self._conflict(
                drawing, columns, unit, [next(marked) for _ in range(dirt.conflicting.rows)], lines, key, keys, kept
            )
        if repeat:
            carried = {name: [row[name] for row in repeat] for name in self._names}
            lines += self._lines_of(zip(*carried.values(), strict=True))
            keys += self._keys(carried)
            kept += hashes_of(self._stream.columns, self._with_unit(carried, unit), len(repeat))
        to_repeat = [{name: columns[name][i] for name in self._names} for i in islice(marked, dirt.duplicates_across)]
        last = [lines.pop(cut)] if cut is not None else []
        if dirt.shuffled:
            chance.shuffle(lines)
        conflicting = dirt.conflicting.rows if dirt.conflicting else 0
        text = self._header + "\n".join(lines + last) + ("" if last else "\n")
        return Made(
            text=text.encode(),
            rows=len(lines) + len(last),
            accepted=len(keys) - conflicting,
            duplicate=len(duplicates),
            conflicting=conflicting,
            quarantined=dict(sorted(quarantined.items())),
            keys=keys,
            hashes=kept,
            to_repeat=to_repeat,
        )

    def correct(self, number: int, unit: date) -> Made:
        """A second, clean file for that day: the same rows with one column drawn again."""
        assert self._declared.correction
        drawing = self._drawing(number, unit)
        columns = dict(drawing.draw(self._declared.columns))
        name = self._declared.correction.column
        columns[name] = self._drawing(number, unit, "/corrected").column(name, self._declared.columns[name])
        lines = self._lines_of(zip(*(columns[n] for n in self._names), strict=True))
        hashes = hashes_of(self._stream.columns, self._with_unit(columns, unit), self._rows)
        text = self._header + "\n".join(lines) + "\n"
        return Made(text.encode(), self._rows, self._rows, 0, 0, {}, self._keys(columns), hashes)

    def _drawing(self, number: int, unit: date, again: str = "") -> Drawing:
        seed = f"{self._seed}/{self._stream.name}/{unit}{again}"
        return Drawing(seed, self._rows, self._data.lists, self._known, unit, number * self._rows)

    def _marked(self, chance: Random, cut: bool) -> list[int]:
        """Different rows, as many as will be touched or repeated."""
        dirt = self._declared.dirt
        wanted = sum(dirt.nulls.values()) + sum(wrong.rows for wrong in dirt.wrong) + dirt.duplicates_within
        wanted += (dirt.broken.rows if dirt.broken else 0) + (dirt.conflicting.rows if dirt.conflicting else 0)
        wanted += dirt.duplicates_across + cut
        needed = max(wanted, dirt.late.rows if dirt.late else 0)
        if needed > self._rows:
            raise Fatal(
                f"{self._declared.file}: {needed} dirty rows are declared, but a day has {self._rows}",
                next_step="raise the scale, or lower the amounts of dirt",
            )
        return chance.sample(range(self._rows), wanted)

    def _with_unit(self, columns: Mapping[str, Values], unit: date) -> Mapping[str, Values]:
        count = len(next(iter(columns.values())))
        named: dict[str, Values] = {
            column.name: [unit if column.spark_type == "date" else str(unit)] * count
            for column in self._stream.columns
            if column.from_file_name
        }
        return {**columns, **named}

    def _keys(self, columns: Mapping[str, Values]) -> list[object]:
        return list(zip(*(columns[name] for name in self._stream.key), strict=True))

    def _line(self, columns: Mapping[str, Values], index: int, changed: Mapping[str, object]) -> str:
        return self._lines_of([[changed[n] if n in changed else columns[n][index] for n in self._names]])[0]

    def _broken(self, line: str) -> str:
        return broken(line, self._stream.file_source.format, self._stream.file_source.delimiter)

    def _conflict(
        self,
        drawing: Drawing,
        columns: Mapping[str, Values],
        unit: date,
        indexes: Sequence[int],
        lines: list[str],
        key: Sequence[object],
        keys: list[object],
        kept: list[bytes],
    ) -> None:
        """Repeat these rows with another value in the declared column."""
        assert self._declared.dirt.conflicting
        name = self._declared.dirt.conflicting.column
        others = drawing.column(f"{name}/conflicting", self._declared.columns[name])
        for index in indexes:
            there = columns[name][index]
            other = next((value for value in others[index:] + others[:index] if value != there), there)
            if other == there:
                raise Fatal(
                    f"{self._declared.file}: `{name}` has one value only, so that no row can conflict with another",
                    next_step=f"another column in `conflicting`, or more values for `{name}`",
                )
            row = {n: [other if n == name else columns[n][index]] for n in self._names}
            lines += self._lines_of([[row[n][0] for n in self._names]])
            keys.append(key[index])
            kept += hashes_of(self._stream.columns, self._with_unit(row, unit), 1)
