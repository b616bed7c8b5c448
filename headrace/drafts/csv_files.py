"""Rows of a CSV sample, and its dialect: the one in which most rows have the same number of fields."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

_DELIMITERS = "\t|;,"
"""The rarer a character is in plain text, the earlier: of two that fit as well, the first is taken."""

_LOOK_CHARACTERS = 200_000
_LOOK_ROWS = 500


@dataclass(frozen=True, slots=True)
class Dialect:
    """An empty `quote` quotes nothing."""

    delimiter: str = ","
    quote: str = '"'
    backslash: bool = False


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row that is not blank: its first physical line, its fields (None: neither characters nor quotes), how many of
    them are quoted, and how many have something behind their closing quote or none."""

    line: int
    fields: tuple[str | None, ...]
    quoted: int
    dirty: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A dialect with what it made of a sample: fields per row, lines before the first such row, and the share of rows
    that have as many."""

    dialect: Dialect
    width: int
    skip_lines: int
    share: float


@lru_cache(maxsize=32)
def _field(dialect: Dialect) -> re.Pattern[str]:
    other = f"[^{re.escape(dialect.delimiter)}\n]*+"
    end = f"(?P<end>{re.escape(dialect.delimiter)}|\n|\\Z)"
    if not dialect.quote:
        return re.compile(f"(?P<plain>{other})(?P<quoted>(?!))?(?P<rest>(?!))?{end}")
    quote = re.escape(dialect.quote)
    inside = rf"(?:[^{quote}\\]++|\\.)*+" if dialect.backslash else f"(?:[^{quote}]++|{quote}{quote})*+"
    return re.compile(f"(?:{quote}(?P<quoted>{inside}){quote}(?P<rest>{other})|(?P<plain>{other})){end}", re.DOTALL)


def csv_rows(text: str, dialect: Dialect) -> Iterator[CsvRow]:
    """Every row of a text that begins at the start of one."""
    field, at, line = _field(dialect), 0, 1
    while at < len(text):
        start, first_line = at, line
        fields: list[str | None] = []
        quoted = dirty = 0
        while True:
            found = field.match(text, at)
            assert found, "any text is a field"
            at = found.end()
            ends_row = found["end"] != dialect.delimiter
            if found["quoted"] is not None:
                quoted += 1
                dirty += bool(found["rest"].removesuffix("\r") if ends_row else found["rest"])
                fields.append(_unescaped(found["quoted"], dialect))
            else:
                plain = found["plain"].removesuffix("\r") if ends_row else found["plain"]
                dirty += bool(dialect.quote) and plain.startswith(dialect.quote)
                fields.append(plain or None)
            if ends_row:
                break
        line += text.count("\n", start, at)
        if fields != [None]:
            yield CsvRow(first_line, tuple(fields), quoted, dirty)


def _unescaped(text: str, dialect: Dialect) -> str:
    if dialect.backslash:
        return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
    return text.replace(dialect.quote * 2, dialect.quote)


def find_layout(text: str, *, whole: bool) -> Layout:
    """The layout of a sample that has at least one row."""
    cut = len(text) if whole and len(text) <= _LOOK_CHARACTERS else text.rfind("\n", 0, _LOOK_CHARACTERS) + 1
    look = text[:cut] or text
    quotings = [('"', False), *([('"', True)] if '\\"' in look else []), ("'", False), ("", False)]
    best: tuple[float, Layout] | None = None
    for quote, backslash in quotings:
        for delimiter in _DELIMITERS:
            dialect = Dialect(delimiter, quote, backslash)
            rows = _first_rows(look, dialect)
            if quote == "'" and not _is_quoted_by(rows):
                continue
            layout = _layout(rows, dialect)
            score = (layout.share if layout.width > 1 else 0.0) - sum(row.dirty > 0 for row in rows) / len(rows)
            if quote == "'":
                score += 0.001  # whole columns in single quotes: they are no part of the values
            if best is None or score > best[0]:
                best = (score, layout)
    assert best
    if best[1].width > 1:
        return best[1]
    singles = [Dialect(delimiter) for delimiter in reversed(_DELIMITERS)]
    return max((_layout(_first_rows(look, single), single) for single in singles), key=lambda layout: layout.share)


def _first_rows(text: str, dialect: Dialect) -> list[CsvRow]:
    return [row for row, _ in zip(csv_rows(text, dialect), range(_LOOK_ROWS), strict=False)]


def _layout(rows: Sequence[CsvRow], dialect: Dialect) -> Layout:
    counts = Counter(len(row.fields) for row in rows)
    width = max(counts, key=lambda n: (counts[n], n))
    first = next(i for i, row in enumerate(rows) if len(row.fields) == width)
    # What stands before a table is short and narrower than it.
    before = rows[:first]
    is_preamble = 0 < first <= 10 and all(len(row.fields) < width for row in before) and len(rows) - first > 1
    kept = rows[first:] if is_preamble else rows
    share = sum(len(row.fields) == width for row in kept) / len(rows)
    return Layout(dialect, width, rows[first].line - 1 if is_preamble else 0, share)


def _is_quoted_by(rows: Sequence[CsvRow]) -> bool:
    """Whether every row has quoted fields, and none has a quote elsewhere: an apostrophe may begin a word."""
    clean = [row for row in rows[1:] if not row.dirty]
    return len(clean) == len(rows) - 1 > 0 and all(row.quoted for row in clean)
