"""How a CSV file is written, and what can be told of its text without looking at one row after the other."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from producers.rows import as_array

_ONE_LINE = str.maketrans("\r\n\0", "   ")
_EXPRESSION_FIELDS = 200
"""The expression for rows of more fields would grow too large."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One character each. An empty `quote` quotes nothing; with `backslash` a backslash takes the next character's
    meaning within quotes, otherwise two quotes stand for one."""

    delimiter: str = ","
    quote: str = '"'
    backslash: bool = False

    @property
    def mark(self) -> bytes:
        """The quote."""
        return self.quote.encode()

    def quoted(self) -> bytes:
        """A regular expression for a quoted text, its quotes included."""
        mark = re.escape(self.mark)
        if self.backslash:
            return mark + rb"(?:[^\\" + mark + rb"]++|\\[\s\S])*+" + mark
        return mark + b"(?:[^" + mark + b"]++|" + mark + mark + b")*+" + mark


def fields_of(row: str, dialect: Dialect) -> list[str]:
    """The fields of one row, for counting and for the names in a header; none if it cannot be read."""
    if not dialect.quote or dialect.quote not in row:
        return row.split(dialect.delimiter)
    # The module's own limit of a field is 128 KiB; a row may be longer than that.
    csv.field_size_limit(max(len(row), csv.field_size_limit()))
    reader = csv.reader(
        [row.translate(_ONE_LINE)],
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        doublequote=not dialect.backslash,
        escapechar="\\" if dialect.backslash else None,
    )
    try:
        return next(reader)
    except csv.Error:
        return []


class LineRows:
    """Tells in one pass whether each line of a text is a whole row: what `split_csv` finds row by row otherwise. Quick
    where that is so, which it is for most files."""

    def __init__(self, dialect: Dialect, fields: int = 0) -> None:
        """With `fields` each row must have so many, and nothing behind a closing quote but the field's end."""
        row = _expression(dialect, fields) if fields <= _EXPRESSION_FIELDS else ""
        self._text = rf"\A(?:{row}\n)*\z" if row else ""
        self._row = rf"\A{row}\z" if row else ""

    def match(self, text: bytes) -> bool:
        """Whether it is so. A text that may be looked at in no other way than row by row is none."""
        return bool(self._text and pc.match_substring_regex(as_array(text), self._text)[0].as_py())

    def among(self, values: pa.Array) -> pa.Array:
        """Which of these values are one such row on one line."""
        if not self._row:
            return pa.array([False] * len(values), pa.bool_())
        return pc.match_substring_regex(values, self._row)


def _expression(dialect: Dialect, fields: int) -> str:
    delimiter, mark = _escaped(dialect.delimiter), _escaped(dialect.quote)
    other = rf"[^{delimiter}\n]*"
    inner = rf"(?:[^{mark}\\\n]|\\[^\n])*" if dialect.backslash else rf"(?:[^{mark}\n]|{mark}{mark})*"
    plain = rf"(?:[^{mark}{delimiter}\n]{other})?" if dialect.quote else other
    # Two quotes stand for one: the second of them does not close, and RE2 has no possessive repetition to say so.
    behind = "" if fields else other if dialect.backslash else plain
    field = rf"(?:{mark}{inner}{mark}{behind}|{plain})" if dialect.quote else plain
    repeated = rf"{{{fields - 1}}}" if fields else "*"
    return rf"{field}(?:{delimiter}{field}){repeated}"


def _escaped(character: str) -> str:
    return rf"\x{{{ord(character):x}}}" if character else ""
