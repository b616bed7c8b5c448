"""What a CSV sample holds: header, columns and their types, and the stream's properties that say how it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from contracts.columns import COLUMN_NAME
from contracts.errors import Fatal
from headrace.drafts.csv_files import Layout, csv_rows, find_layout
from headrace.drafts.json_files import json_text_type
from headrace.drafts.model import FoundColumn, FoundTable, Property, Typed
from headrace.drafts.sample import HEAD_LIMIT_BYTES, Sample
from headrace.drafts.values import NULL_MARKERS, PLAIN, NumberStyle, number_style, text_type

_MARKERS = frozenset(("", *NULL_MARKERS))
_TAIL_ROWS = 2_000
_Column = list[str | None]


def csv_table(sample: Sample, rows: int, header: bool | None = None) -> FoundTable:
    """The columns of a CSV file; `header` says whether its first line names them, None lets the sample say.

    Raises:
        Fatal: the names are no column names, or two are equal.
    """
    if "\r" in sample.head and "\n" not in sample.head:
        raise Fatal(f"{sample.name}: its lines end with a carriage return alone", next_step="convert it to newlines")
    layout = find_layout(sample.head, whole=sample.whole)
    found, odd = _rows(sample, layout, rows)
    if not found:
        raise Fatal(f"{sample.name}: no whole row in the first {HEAD_LIMIT_BYTES >> 20} MiB", next_step="a CSV file")
    has_header, why = _has_header(found) if header is None else (header, "")
    if has_header:
        names = [(name or "").strip(" ") for name in found[0]]
        _refuse_names(sample.name, names)
        found = found[1:]
    else:
        names = [f"column_{i + 1}" for i in range(layout.width)]
    texts: list[_Column] = [list(column) for column in zip(*found, strict=True)] or [[] for _ in names]
    written = ({text for text in column if text is not None and text not in _MARKERS} for column in texts)
    style = number_style(written, layout.dialect.delimiter)
    types, nulls = _types(names, texts, style)
    columns = tuple(
        FoundColumn(name, kind, [None if text in nulls else text for text in column])
        for name, kind, column in zip(names, types, texts, strict=True)
    )
    properties = [*_dialect_properties(layout), Property("fileHeader", has_header, why)]
    if sample.encoding != "utf-8":
        properties.append(Property("fileEncoding", sample.encoding, sample.encoding_guess))
    if nulls:
        where = sorted({name for names_of in nulls.values() for name in names_of}, key=names.index)
        properties.append(Property("fileNulls", list(nulls), f"without them {', '.join(where)} could not be typed"))
    if style != PLAIN:
        properties.append(Property("fileDecimal", style.decimal, "more columns are numbers with it"))
        if style.thousands:
            properties.append(Property("fileThousands", style.thousands, "more columns are numbers with it"))
    checks = [f"{odd:,} sampled rows have another number of fields than {layout.width}"] if odd else []
    if not has_header:
        checks.append("the columns' names: the file has no header line")
    elif header is None and all(kind.spark_type == "string" for kind in types):
        checks.append("the columns' names: only their look says that the first line is no row")
    if nulls:
        checks.append("headrace.fileNulls: in every column these texts mean NULL, in a string column too")
    return FoundTable((Property("fileFormat", "csv"), *properties), columns, len(found), tuple(checks))


def _rows(sample: Sample, layout: Layout, limit: int) -> tuple[list[tuple[str | None, ...]], int]:
    """The rows that have the layout's width, those of the end too, and how many others there were in the beginning."""
    skipped = sample.head.split("\n", layout.skip_lines)[-1]
    head = [row.fields for row in csv_rows(skipped, layout.dialect)]
    if not sample.whole:
        head.pop()  # cut anywhere
    tail = [row.fields for row in csv_rows(sample.tail, layout.dialect)] or head[limit + 1 :]
    head, tail = head[: limit + 1], tail[-_TAIL_ROWS:]
    # The end may begin within a quoted field; then hardly a row has the right width.
    fitting = [row for row in tail if len(row) == layout.width]
    kept = [row for row in head if len(row) == layout.width]
    return kept + (fitting if len(fitting) * 10 >= len(tail) * 9 else []), len(head) - len(kept)


def _has_header(rows: Sequence[tuple[str | None, ...]]) -> tuple[bool, str]:
    first, others = rows[0], rows[1:]
    filled = [(text or "").strip(" ") for text in first]
    if any(text_type([text]).spark_type != "string" or re.fullmatch(r"[+-]?[0-9.,]+", text) for text in filled if text):
        return False, "the first line holds a number, a date or a truth value"
    if any(first[i] is not None and any(row[i] == first[i] for row in others) for i in range(len(first))):
        return False, "a field of the first line stands again in its column"
    if all(re.fullmatch(COLUMN_NAME, text) for text in filled) and len(set(filled)) == len(filled):
        return True, "the first line holds only names"
    return True, "the first line holds only texts"


def _refuse_names(file_name: str, names: Sequence[str]) -> None:
    wrong = [name for name in names if not re.fullmatch(COLUMN_NAME, name)]
    if wrong:
        raise Fatal(
            f"{file_name}: the header has names that no column can have: {', '.join(map(repr, wrong))}",
            state="Nothing was written.",
            next_step="a header of lower-case letters, digits and _, a letter first: renaming is not supported yet "
            "(or --no-header, if its first line is a row)",
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Fatal(f"{file_name}: the header names {', '.join(twice)} twice", state="Nothing was written.")


def _types(
    names: Sequence[str], columns: Sequence[_Column], style: NumberStyle
) -> tuple[list[Typed], dict[str, list[str]]]:
    """The type of each column, and each text that must mean NULL for it, with the columns that need it."""
    types: list[Typed] = []
    nulls: dict[str, list[str]] = {}
    for name, column in zip(names, columns, strict=True):
        values = [text for text in column if text is not None]
        found = json_text_type(values) or text_type(values, style)
        marked = {text for text in values if text in _MARKERS}
        if found.spark_type == "string" and marked and len(marked) < len(set(values)):
            core = [text for text in values if text not in marked]
            narrower = json_text_type(core) or text_type(core, style)
            if narrower.spark_type != "string":
                found = narrower
                for text in sorted(marked):
                    nulls.setdefault(text, []).append(name)
        types.append(found)
    return types, nulls


def _dialect_properties(layout: Layout) -> list[Property]:
    dialect = layout.dialect
    why = f"{layout.share:.0%} of the rows then have {layout.width} fields"
    found = []
    if layout.width == 1:
        found.append(Property("fileDelimiter", dialect.delimiter, "there is one column"))
    elif dialect.delimiter != ",":
        found.append(Property("fileDelimiter", dialect.delimiter, why))
    if dialect.quote != '"':
        found.append(Property("fileQuote", dialect.quote or "none", why))
    if dialect.backslash:
        found.append(Property("fileEscape", "backslash", "a backslash stands before quotes within fields"))
    if layout.skip_lines:
        found.append(Property("fileSkipLines", layout.skip_lines, "these lines have fewer fields than the rows"))
    return found
