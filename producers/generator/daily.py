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
from producers.generator.further import BLOCK_ROWS, FurtherRows, can_go_on
from producers.generator.render import broken, lines_of
from producers.generator.values import Drawing, Values


def hashes_of(columns: Sequence[Column], rows: Mapping[str, Sequence[object]], count: int) -> list[bytes]:
    """`_hash` of each row, column by column: several times faster than row by row."""
    parts = [map(canonical_python.part_of(parse_type(c.spark_type)), rows[c.name]) for c in columns]
    tags = [TAG] * count
    return [sha256("".join(row).encode()).digest() for row in zip(tags, *parts, strict=True)]


@dataclass(slots=True)
class Made:
    """A file's text and its books. The file is `head`, the blocks of `further`, `text`. `keys`, `versions` and
    `hashes` are those of the rows that reach the history, without the further ones; `to_repeat` are rows that a later
    day may repeat."""

    head: bytes
    text: bytes
    rows: int
    quarantined: dict[str, int]
    further: FurtherRows | None
    outcomes: Counter[str] = field(default_factory=Counter)
    keys: list[object] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
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
        self._seed, self._all_rows = seed, rows
        # The others repeat these: memory must not grow with the file.
        self._rows = min(rows, BLOCK_ROWS) if can_go_on(stream, declared.columns) else rows
        self._names = [column.name for column in stream.sent_columns]
        source = stream.file_source
        self._lines_of = lines_of(source, stream.sent_columns)
        self._head = "-\n" * source.skip_lines
        if source.format == "csv" and source.header:
            self._head += (source.delimiter or ",").join(self._names) + "\n"
        self._first_line = self._head.count("\n") + 1

    def make(self, number: int, days: int, unit: date, repeat: Sequence[dict[str, object]]) -> Made:
        """The file of day `number` of `days`; `repeat` are rows of the day before."""
        dirt = self._declared.dirt
        chance = Random(f"{self._seed}/{self._stream.name}/{unit}/dirt")  # noqa: S311
        drawing, columns = self._drawn(number, unit)
        cut_days = {day % days for day in dirt.cut_short.days} if dirt.cut_short else set()
        marked = iter(self._marked(chance, number in cut_days))
        if dirt.late:
            values = columns[dirt.late.column]
            for index in chance.sample(range(self._rows), dirt.late.rows):
                at = values[index]
                assert isinstance(at, datetime)
                values[index] = at - timedelta(days=chance.randint(1, dirt.late.days))
        further = self._further(number, unit, columns)
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
                refuse(index, self._line(columns, index, {column: None}), "required")
        for wrong in dirt.wrong:
            for n in range(wrong.rows):
                index = next(marked)
                value = wrong.values[n % len(wrong.values)]
                refuse(index, self._line(columns, index, {wrong.column: value}), wrong.rule)
        for _ in range(dirt.broken.rows if dirt.broken else 0):
            assert dirt.broken
            index = next(marked)
            refuse(index, broken(lines[index], self._stream.file_source), dirt.broken.rule)
        cut = next(marked) if number in cut_days else None
        if cut is not None and dirt.cut_short:
            refuse(cut, broken(lines[cut], self._stream.file_source), dirt.cut_short.rule)

        again = [{n: columns[n][i] for n in self._names} for i in islice(marked, dirt.duplicates_within)]
        if dirt.conflicting:
            again += self._conflicts(drawing, columns, list(islice(marked, dirt.conflicting.rows)))
        again += repeat
        lines += self._lines_of([[row[name] for name in self._names] for row in again])
        to_repeat = [{name: columns[name][i] for name in self._names} for i in islice(marked, dirt.duplicates_across)]
        columns = {name: [*columns[name], *(row[name] for row in again)] for name in self._names}
        order = [index for index in range(len(lines)) if index != cut]
        if dirt.shuffled:
            chance.shuffle(order)
        order += [] if cut is None else [cut]
        text = "\n".join(lines[index] for index in order) + ("" if cut is not None else "\n")
        made = self._made(text, dict(sorted(quarantined.items())), len(lines), further)
        self._book(made, columns, unit, order, refused)
        made.to_repeat = to_repeat
        return made

    def correct(self, number: int, unit: date) -> Made:
        """A second, clean file for that day: the same rows with one column drawn again."""
        assert self._declared.correction
        _, columns = self._drawn(number, unit)
        name = self._declared.correction.column
        again = self._drawing(number, unit, f"{unit}/corrected")
        again.columns = columns
        columns = {**columns, name: again.column(name, self._declared.columns[name])}
        lines = self._lines_of(zip(*(columns[n] for n in self._names), strict=True))
        made = self._made("\n".join(lines) + "\n", {}, self._rows, self._further(number, unit, columns))
        self._book(made, columns, unit, range(self._rows), ())
        return made

    def _drawn(self, number: int, unit: date) -> tuple[Drawing, dict[str, Values]]:
        restated = self._declared.restates
        drawing = self._drawing(number, unit, "" if restated else str(unit))
        columns = drawing.draw(self._declared.columns)
        if restated:
            again = self._drawing(number, unit, f"{unit}/restated")
            again.columns = columns
            changed = Random(f"{self._seed}/{self._stream.name}/{unit}/restated").sample(  # noqa: S311
                range(self._rows), min(restated.rows, self._rows)
            )
            for name in restated.columns:
                values = again.column(name, self._declared.columns[name])
                for index in changed:
                    columns[name][index] = values[index]
        return drawing, columns

    def _drawing(self, number: int, unit: date, seed: str, begin: int = 0, rows: int | None = None) -> Drawing:
        first_row = begin + (0 if self._declared.restates else number * self._all_rows)
        size = self._rows if rows is None else rows
        seed = f"{self._seed}/{self._stream.name}/{seed}"
        return Drawing(seed, size, self._data.lists, self._known, unit, first_row)

    def _further(self, number: int, unit: date, columns: Mapping[str, Values]) -> FurtherRows | None:
        count = self._all_rows - self._rows
        if not count:
            return None
        outside = self._with_outside(columns, unit, [0] * self._rows)

        def drawing(begin: int, rows: int) -> Drawing:
            return self._drawing(number, unit, "further", self._rows + begin, rows)

        return FurtherRows(
            self._stream, self._declared.columns, outside, self._lines_of, drawing, count, self._first_line
        )

    def _made(self, text: str, quarantined: dict[str, int], rows: int, further: FurtherRows | None) -> Made:
        encoding = self._stream.file_source.encoding
        beyond = further.count if further else 0
        return Made(self._head.encode(encoding), text.encode(encoding), rows + beyond, quarantined, further)

    def _book(
        self,
        made: Made,
        columns: Mapping[str, Values],
        unit: date,
        order: Sequence[int],
        refused: Sequence[int] | set[int],
    ) -> None:
        """What becomes of the rows, which stand in the file in this order: the event is (file, key)."""
        further = made.further.count if made.further else 0
        lines = [0] * len(order)
        for line, index in enumerate(order, self._first_line + further):
            lines[index] = line
        whole = self._with_outside(columns, unit, lines)
        hashes = hashes_of(self._stream.columns, whole, len(order))
        keys = list(zip(*(whole[name] for name in self._stream.key), strict=True))
        versions = self._versions(whole, len(order))
        seen: dict[object, set[bytes]] = {}
        made.outcomes["accepted"] = further
        for index, (key, version, digest) in enumerate(zip(keys, versions, hashes, strict=True)):
            if index in refused:
                continue
            known = seen.setdefault(key, set())
            made.outcomes["duplicate" if digest in known else "conflicting" if known else "accepted"] += 1
            if digest not in known:
                known.add(digest)
                made.keys.append(key)
                made.versions.append(version)
                made.hashes.append(digest)

    def _versions(self, columns: Mapping[str, Values], count: int) -> list[int]:
        """What orders two rows of one key, as `_version` does."""
        if not self._stream.version:
            return [0] * count
        epoch = datetime.fromisoformat("1970-01-01T00:00:00Z")
        step = timedelta(microseconds=1)
        return [
            (value - epoch) // step if isinstance(value, datetime) else value if isinstance(value, int) else 0
            for value in columns[self._stream.version]
        ]

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

    def _with_outside(self, columns: Mapping[str, Values], unit: date, lines: Sequence[int]) -> Mapping[str, Values]:
        """With the columns that do not stand in a row."""
        outside: dict[str, Values] = {}
        for column in self._stream.columns:
            if column.from_line:
                outside[column.name] = list(lines)
            elif column.from_file_name or column.from_batch_date:
                outside[column.name] = [unit if column.spark_type == "date" else str(unit)] * len(lines)
        return {**columns, **outside}

    def _line(self, columns: Mapping[str, Values], index: int, changed: Mapping[str, object]) -> str:
        return self._lines_of([[changed[n] if n in changed else columns[n][index] for n in self._names]])[0]

    def _conflicts(
        self, drawing: Drawing, columns: Mapping[str, Values], indexes: Sequence[int]
    ) -> list[dict[str, object]]:
        """These rows with another value in the declared column."""
        assert self._declared.dirt.conflicting
        name = self._declared.dirt.conflicting.column
        others = drawing.column(f"{name}/conflicting", self._declared.columns[name])
        rows: list[dict[str, object]] = []
        for index in indexes:
            there = columns[name][index]
            other = next((value for value in others[index:] + others[:index] if value != there), there)
            if other == there:
                raise Fatal(
                    f"{self._declared.file}: `{name}` has one value only, so that no row can conflict with another",
                    next_step=f"another column in `conflicting`, or more values for `{name}`",
                )
            rows.append({n: other if n == name else columns[n][index] for n in self._names})
        return rows
