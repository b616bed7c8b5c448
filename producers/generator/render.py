"""Rows as the text of files: the form a careful sender would write."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial

from contracts.stream import Column, FileFormat

Row = Mapping[str, object]


def plain(value: object) -> object:
    """A value as JSON can hold it: times are ISO 8601 in UTC, decimals keep their digits as text in CSV only."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value


def csv_text(value: object) -> str:
    """A CSV field before quoting; NULL is the empty field."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=plain)
    return str(plain(value))


def csv_lines(rows: Iterable[Sequence[object]], delimiter: str) -> list[str]:
    """One line per row, without the line's end. No value here holds a line break."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerows(map(csv_text, row) for row in rows)
    return buffer.getvalue().split("\n")[:-1]


def json_lines(names: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """One JSON object per row."""
    write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=plain).encode
    return [write(dict(zip(names, row, strict=True))) for row in rows]


def lines_of(
    file_format: FileFormat, columns: Sequence[Column], delimiter: str
) -> Callable[[Iterable[Sequence[object]]], list[str]]:
    """The function that writes rows (values in the order of `columns`) as lines of this format."""
    if file_format == "json":
        return partial(json_lines, [column.name for column in columns])
    return partial(csv_lines, delimiter=delimiter)


def broken(line: str, file_format: FileFormat, delimiter: str) -> str:
    """The line, broken off: a CSV row inside its second field, JSON in its middle."""
    if file_format == "json":
        return line[: len(line) // 2]
    first = line.index(delimiter)
    return line[: first + 2]
