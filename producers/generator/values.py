"""Draws whole columns of values. The same seed and names give the same values, on every machine.

Each column has a random stream of its own, seeded by its name, so that one more column leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random

from producers.generator.declaration import Generator, Numbers

Values = list[object]


class Drawing:
    """One table's columns for `rows` rows. `known` holds the columns of tables that others refer to, `unit` the
    file's day, `first_row` how many rows earlier files of the stream had."""

    def __init__(
        self,
        seed: str,
        rows: int,
        lists: Mapping[str, Sequence[object]],
        known: Mapping[str, Mapping[str, Values]],
        unit: date | None = None,
        first_row: int = 0,
    ) -> None:
        self._seed, self._rows, self._lists, self._known = seed, rows, lists, known
        self._unit, self._first_row = unit, first_row
        self._random = Random()  # noqa: S311  # sample data, not secrets
        self.columns: dict[str, Values] = {}

    def draw(self, declared: Mapping[str, Generator]) -> dict[str, Values]:
        """All columns, in the order in which they are declared: templates see those above them."""
        for name, generator in declared.items():
            self.columns[name] = self.column(name, generator)
        return self.columns

    def column(self, name: str, generator: Generator) -> Values:
        """One column's values."""
        self._random = Random(f"{self._seed}/{name}")  # noqa: S311
        return self._draw(generator, self._rows)

    def _draw(self, generator: Generator, count: int) -> Values:
        values = self._dense(generator, count)
        if generator.null_share:
            chance = self._random.random
            return [None if chance() < generator.null_share else value for value in values]
        return values

    def _dense(self, g: Generator, count: int) -> Values:
        if g.sequence is not None:
            start = g.sequence + self._first_row
            return list(range(start, start + count))
        if g.template is not None:
            return self._template(g.template, count)
        if g.words:
            parts = [self._random.choices(self._lists[name], k=count) for name in g.words]
            return [" ".join(map(str, row)) for row in zip(*parts, strict=True)]
        if g.choice:
            values = g.choice.values or self._lists[g.choice.of]
            return self._random.choices(values, g.choice.weights, k=count)
        if g.number:
            return self._numbers(g.number, count)
        if g.boolean is not None:
            return self._random.choices((True, False), (g.boolean, 1 - g.boolean), k=count)
        if g.date_:
            days = (g.date_.last - g.date_.first).days + 1
            first = g.date_.first
            span: list[object] = [first + timedelta(days=day) for day in range(days)]
            return self._random.choices(span, k=count)
        if g.timestamp:
            return self._timestamps(g.timestamp.first, g.timestamp.last, count)
        return self._dependent(g, count)

    def _dependent(self, g: Generator, count: int) -> Values:
        if g.later:
            earlier = self.columns[g.later.than]
            delays = self._random.choices(range(g.later.seconds + 1), k=count)
            pairs = zip(earlier, delays, strict=True)
            return [at + timedelta(seconds=s) if isinstance(at, datetime) else None for at, s in pairs]
        if g.reference:
            population = self._known[g.reference.table][g.reference.column]
            found = self._random.choices(population, k=count)
            if g.reference.unknown:
                beyond = max(value for value in population if isinstance(value, int))
                chance = self._random.random
                return [beyond + 1 + i % 97 if chance() < g.reference.unknown else v for i, v in enumerate(found)]
            return found
        if g.sample:
            members, low, high = self._lists[g.sample.of], g.sample.min, g.sample.max
            draw, size = self._random.sample, self._random.randint
            return [draw(members, min(size(low, high), len(members))) for _ in range(count)]
        if g.object is not None:
            members = [self._draw(member, count) for member in g.object.values()]
            names = tuple(g.object)
            return [dict(zip(names, row, strict=True)) for row in zip(*members, strict=True)]
        assert g.map
        values = [self._draw(g.map.value, count) for _ in g.map.keys]
        sizes = self._random.choices(range(len(g.map.keys) + 1), k=count)
        rows = zip(sizes, zip(*values, strict=True), strict=True)
        return [dict(list(zip(g.map.keys, row, strict=True))[:size]) for size, row in rows]

    def _template(self, template: str, count: int) -> Values:
        write: Callable[..., str] = template.format
        unit = self._unit.strftime("%Y%m%d") if self._unit else ""
        names = [name for name in self.columns if "{" + name in template]
        used = zip(*(self.columns[name] for name in names), strict=True) if names else iter([()] * count)
        first = self._first_row + 1
        return [
            write(row=row, unit=unit, **dict(zip(names, values, strict=True))) for row, values in enumerate(used, first)
        ]

    def _numbers(self, number: Numbers, count: int) -> Values:
        scale = 10**number.digits
        low, high = round(number.min * scale), round(number.max * scale)
        if number.mean is None or number.deviation is None:
            span = high - low + 1
            chance = self._random.random
            drawn = [low + int(chance() * span) for _ in range(count)]
        else:
            gauss, mean, deviation = self._random.gauss, number.mean * scale, number.deviation * scale
            drawn = [min(high, max(low, round(gauss(mean, deviation)))) for _ in range(count)]
        if not number.digits:
            return list(drawn)
        return [Decimal(value).scaleb(-number.digits) for value in drawn]

    def _timestamps(self, first: datetime | None, last: datetime | None, count: int) -> Values:
        if first is None or last is None:
            assert self._unit, "a time of the file's day needs a file"
            first = datetime.combine(self._unit, time(), UTC)
            last = first + timedelta(seconds=86_399)
        first = first.replace(tzinfo=first.tzinfo or UTC)
        seconds = int((last.replace(tzinfo=last.tzinfo or UTC) - first).total_seconds()) + 1
        return [first + timedelta(seconds=second) for second in self._random.choices(range(seconds), k=count)]
