"""Rows that the streaming job refuses for certain, by their values: a file full of them is not what its name says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from contracts.stream import Column, Stream
from contracts.wire import RowFormat
from producers.dialect import Dialect, fields_of
from producers.rows import Rows
from producers.spellings import refuses

_SAMPLE = 500
_SAMPLE_BYTES = 32 << 20
_EXAMPLES = 3
_SHOWN = 50
_ROW = ""
_ANYTHING = object()
"""A value that is not judged here."""
Finding = tuple[str, str, str]
"""Column (empty: the row itself), what is wrong with it, and its text."""


class Values:
    """Looks at rows spread evenly over a file as it is read. Only if too many of them are bad, the whole file is read
    once more and counted: a good file costs next to nothing."""

    def __init__(self, stream: Stream, header: str, dialect: Dialect) -> None:
        self._stream = stream
        self._judge = RowJudge(stream, header, dialect)
        self._sample: list[tuple[RowFormat, bytes]] = []
        self._bytes = 0
        self._every = 1
        self.rows = 0

    def add(self, batch: Rows) -> None:
        """Take these rows in: of all rows so far, every n-th is in the sample, from 500 to 1,000 of them."""
        for value in _spread(batch, -self.rows % self._every, self._every):
            self._sample.append((batch.format, value))
            self._bytes += len(value)
        self.rows += len(batch)
        while len(self._sample) > 2 * _SAMPLE or (self._bytes > _SAMPLE_BYTES and len(self._sample) > 1):
            self._sample = self._sample[::2]
            self._bytes = sum(len(value) for _, value in self._sample)
            self._every *= 2

    def verdict(self, again: Callable[[], Iterable[Rows]]) -> str:
        """Why the file is refused; empty if it is not. `again` reads its rows from the start."""
        stream = self._stream
        if stream.evolution == "stop" and (strange := self._undeclared()):
            return (
                f"its rows name {', '.join(sorted(strange))}, which the contract does not: under "
                "`headrace.evolution: stop` nothing of it is sent"
            )
        if self.rows < stream.quarantine_minimum or stream.quarantine_limit >= 1:
            return ""
        bad = sum(bool(self._judge.findings(form, value)) for form, value in self._sample)
        return self._count(again()) if bad > stream.quarantine_limit * len(self._sample) else ""

    def _undeclared(self) -> set[str]:
        declared = {column.name for column in self._stream.sent_columns}
        found: set[str] = set()
        for form, value in self._sample:
            if form == "json":
                with suppress(RecursionError):
                    found |= (_json_fields(value) or {}).keys() - declared
        return found

    def _count(self, batches: Iterable[Rows]) -> str:
        rows = bad = 0
        counts: Counter[str] = Counter()
        examples: list[str] = []
        for batch in batches:
            for line, value in zip(batch.lines, batch.values, strict=True):
                rows += 1
                findings = self._judge.findings(batch.format, value)
                bad += bool(findings)
                for column, wrong, text in findings:
                    counts[f"{column} {wrong}".strip()] += 1
                    if len(examples) < _EXAMPLES and text:
                        examples.append(f"line {line}: {column} {self._shown(column, text)}")
        limit = self._stream.quarantine_limit
        if bad <= limit * rows:
            return ""
        listed = ", ".join(f"{what} in {count:,}" for what, count in counts.most_common(5))
        shown = f" ({'; '.join(examples)})" if examples else ""
        return (
            f"{bad:,} of its {rows:,} rows ({bad / rows:.1%}) hold what the contract refuses, more than {limit:.1%}: "
            f"{listed}{shown}"
        )

    def _shown(self, column: str, text: str) -> str:
        return "(not shown)" if self._stream.column(column).pii else json.dumps(text[:_SHOWN], ensure_ascii=False)


def _spread(batch: Rows, first: int, every: int) -> list[bytes]:
    """Every n-th value from `first` on; of rows that are still one text, those that stand about there."""
    if batch.text is None or every == 1:
        return batch.values[first::every]
    found = []
    for number in range(first, len(batch), every):
        start = batch.text.rfind(b"\n", 0, number * len(batch.text) // len(batch)) + 1
        found.append(batch.text[start : batch.text.index(b"\n", start)])
    return found


class RowJudge:
    """What is certainly wrong with one row of a CSV or JSON file; of a log's lines nothing is known here."""

    def __init__(self, stream: Stream, header: str, dialect: Dialect) -> None:
        source = stream.file_source
        self._dialect = dialect
        self._names = [name.strip(" ") for name in fields_of(header, dialect)] if header else []
        self._nulls = frozenset(source.nulls)
        needed = {*stream.key, stream.partition_by, *(column.name for column in stream.columns if column.required)}
        self._columns = [
            (column.name, column.name in needed, refuses(column, source), _named(column))
            for column in stream.sent_columns
        ]

    def findings(self, form: RowFormat, row: bytes) -> list[Finding]:
        """All of it; empty for a row that may be good."""
        with suppress(RecursionError):  # JSON nested deeper than Python reads is for the streaming job to judge
            return self._findings(form, row)
        return []

    def _findings(self, form: RowFormat, row: bytes) -> list[Finding]:
        if form == "unsplit":
            return [(_ROW, "rows that cannot be told apart", "")]
        if form == "csv" and self._names:
            fields = self._csv_fields(row)
            wrong = "rows without the header's number of fields"
        elif form == "json":
            fields, wrong = _json_fields(row), "rows that are no JSON object"
        else:
            return []
        if fields is None:
            return [(_ROW, wrong, "")]
        found: list[Finding] = []
        for name, needed, refused, wanted in self._columns:
            value = fields.get(name)
            if value is None or value in self._nulls:
                if needed:
                    found.append((name, "is empty", ""))
            elif refused and isinstance(value, str) and refused(value):
                found.append((name, wanted, value))
        return found

    def _csv_fields(self, row: bytes) -> Mapping[str, object] | None:
        text = row.decode(errors="replace")
        values = fields_of(text, self._dialect)
        if len(values) != len(self._names):
            return None
        # Between quotes nothing is a text of its own, without them it is NULL: here nobody knows which it was.
        empty = _ANYTHING if self._dialect.quote and self._dialect.quote in text else None
        return {name: value or empty for name, value in zip(self._names, values, strict=True)}


def _json_fields(row: bytes) -> Mapping[str, object] | None:
    """Each field as the text that the streaming job casts, None for NULL; None if it is no object."""
    try:
        # Numbers are looked at as they are written.
        found = json.loads(row.decode(errors="replace"), parse_int=str, parse_float=str, parse_constant=str)
    except ValueError:
        return None
    return {name: _json_text(value) for name, value in found.items()} if isinstance(found, dict) else None


def _json_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else _ANYTHING


def _named(column: Column) -> str:
    return f"is no {column.spark_type}" + (f" written {column.format}" if column.format else "")
