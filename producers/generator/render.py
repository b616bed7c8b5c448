"""Rows as the text of files: the form a careful sender would write."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial

from contracts import access_log
from contracts.stream import Column, FileSource

Row = Mapping[str, object]
Lines = Callable[[Iterable[Sequence[object]]], list[str]]

_PATTERN = re.compile(r"([A-Za-z])\1*|'((?:[^']|'')*)'|.", re.DOTALL)
# By the letters of Java's DateTimeFormatter; every time that is drawn is UTC.
_STRFTIME = {
    **{"yyyy": "%Y", "y": "%Y", "yy": "%y", "MM": "%m", "MMM": "%b", "MMMM": "%B", "dd": "%d", "E": "%a", "EEEE": "%A"},
    **{"HH": "%H", "hh": "%I", "a": "%p", "mm": "%M", "ss": "%S", "SSSSSS": "%f"},
    **{"Z": "+0000", "X": "Z", "XX": "Z", "XXX": "Z", "x": "+00", "xx": "+0000", "xxx": "+00:00"},
}


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


def csv_lines(rows: Iterable[Sequence[object]], source: FileSource | None = None) -> list[str]:
    """One line per row, without the line's end. No value here holds a line break."""
    buffer = io.StringIO()
    if source:
        writer = csv.writer(
            buffer,
            delimiter=source.delimiter or ",",
            quotechar=source.quote or None,
            quoting=csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
            doublequote=not source.backslash,
            escapechar="\\" if source.backslash else None,
            lineterminator="\n",
        )
    else:
        writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(map(csv_text, row) for row in rows)
    return buffer.getvalue().split("\n")[:-1]


def json_lines(names: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """One JSON object per row."""
    write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=plain).encode
    return [write(dict(zip(names, row, strict=True))) for row in rows]


def log_lines(names: Sequence[str], combined: bool, rows: Iterable[Sequence[object]]) -> list[str]:
    """One line in the Common or the Combined Log Format per row; NULL is `-`.

    Raises:
        ValueError: a value would need escaping, or would be read as more than one field.
    """
    return [_log_line(dict(zip(names, map(csv_text, row), strict=True)), combined) for row in rows]


def _log_line(texts: Mapping[str, str], combined: bool) -> str:
    def field(name: str, refused: str) -> str:
        text = texts.get(name) or access_log.NULL
        if any(character in text for character in refused):
            raise ValueError(f"{name} {text!r} cannot stand in a line of an access log as it is")
        return text

    bare, quoted = ' "\\[]\n', '"\\\n'
    request = " ".join(texts[name] and field(name, bare) for name in ("method", "path", "protocol") if texts.get(name))
    if request and not (texts.get("method") and texts.get("path")):
        raise ValueError(f"{request!r} is no request: it needs method and path, or neither")
    place = " ".join(field(name, bare) for name in ("host", "ident", "user"))
    line = f'{place} [{field("time", "]")}] "{request or field("request", quoted)}" '
    line += f"{field('status', bare)} {field('bytes', bare)}"
    return line + (f' "{field("referer", quoted)}" "{field("agent", quoted)}"' if combined else "")


def lines_of(source: FileSource, columns: Sequence[Column]) -> Lines:
    """The function that writes rows (values in the order of `columns`) as lines of such a file."""
    names = [column.name for column in columns]
    if source.format == "log":
        write: Lines = partial(log_lines, names, source.log_pattern == access_log.COMBINED)
    elif source.format == "json":
        write = partial(json_lines, names)
    else:
        write = partial(csv_lines, source=source)
    writers = [_written(column, source) for column in columns]
    if not any(writers):
        return write
    return lambda rows: write(
        [w(v) if w else v for w, v in zip(writers, row, strict=True)]  # one row after the other: a block may be large
        for row in rows
    )


def _written(column: Column, source: FileSource) -> Callable[[object], object] | None:
    """How the values of a column are written that the contract lets be written in their own way."""
    if column.format:
        pattern = strftime_pattern(column.format)
        return lambda value: value.strftime(pattern) if isinstance(value, date) else value
    if source.decimal != "." and column.spark_type.startswith(("decimal", "double", "float")):
        mark = source.decimal
        return lambda value: str(value).replace(".", mark) if isinstance(value, Decimal | float) else value
    return None


def strftime_pattern(java: str) -> str:
    """A pattern in the letters of Java's DateTimeFormatter as one of `strftime`, for times in UTC.

    Raises:
        ValueError: it has letters that are not written here.
    """
    written = ""
    for part in _PATTERN.finditer(java):
        if part[1] and part[0] not in _STRFTIME:
            raise ValueError(f"sample data cannot be written as `{java}`: `{part[0]}` is not written here")
        if part[1]:
            written += _STRFTIME[part[0]]
        else:
            # Two quotes are one, within quotes too.
            written += (part[2].replace("''", "'") or "'" if part[2] is not None else part[0]).replace("%", "%%")
    return written


def broken(line: str, source: FileSource) -> str:
    """The line, broken off: a CSV row inside its second field, others in their middle."""
    if source.format == "csv":
        return line[: line.index(source.delimiter or ",") + 2]
    return line[: len(line) // 2]
