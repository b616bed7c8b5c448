"""Rows of a JSON sample, and the Spark type of JSON values: structs, arrays, maps where names are no field names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from contracts.columns import COLUMN_NAME
from contracts.errors import Fatal
from headrace.drafts.model import FoundColumn, FoundTable, Property, Typed
from headrace.drafts.sample import Sample
from headrace.drafts.values import decimal_type, is_bigint, text_type

_BLANK = re.compile(r"[ \t\r\n]*")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_FIELDS = 100
_DEEPEST = 20


def _refuse(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


# Decimal keeps the digits as they are written, and takes more of them than int does.
_DECODER = json.JSONDecoder(
    parse_float=Decimal,
    parse_int=lambda text: int(text) if len(text) <= 40 else Decimal(text),
    parse_constant=_refuse,
)


def looks_like_json(sample: Sample) -> bool:
    """Whether the file begins with a JSON object, or with an array of them."""
    start = sample.head.lstrip(" \t\r\n")
    if start.startswith("["):
        return start[1:].lstrip(" \t\r\n")[:1] in ("{", "]")
    return start.startswith("{") and _parsed(start.split("\n", 1)[0]) is not None


def json_table(sample: Sample, rows: int) -> FoundTable:
    """The columns of an array of objects, or of one object a line.

    Raises:
        Fatal: there is no object, or names of fields are no column names.
    """
    found, odd = [], 0
    values = _elements(sample) if sample.head.lstrip(" \t\r\n").startswith("[") else _lines(sample)
    for value in values:
        if isinstance(value, dict):
            found.append(value)
        else:
            odd += 1
        if len(found) == rows:
            break
    names = list(dict.fromkeys(name for row in found for name in row))
    if not names:
        raise Fatal(f"{sample.name} holds no JSON object to find columns in", next_step="a file with rows")
    if wrong := [name for name in names if not re.fullmatch(COLUMN_NAME, name)]:
        raise Fatal(
            f"{sample.name}: objects have names that no column can have: {', '.join(map(repr, wrong[:20]))}",
            state="Nothing was written.",
            next_step="lower-case letters, digits and _, a letter first: renaming is not supported yet",
        )
    columns = []
    for name in names:
        column = [row.get(name) for row in found]
        kind = json_type(column, with_format=True)
        columns.append(FoundColumn(name, kind, [_held(value, kind.spark_type) for value in column]))
    properties = [Property("fileFormat", "json")]
    if sample.encoding != "utf-8":
        properties.append(Property("fileEncoding", sample.encoding, sample.encoding_guess))
    checks = (f"{odd:,} sampled values are no JSON objects",) if odd else ()
    return FoundTable(tuple(properties), tuple(columns), len(found), checks)


def json_text_type(values: Sequence[str]) -> Typed | None:
    """The nested type of texts that all hold JSON objects or arrays; None if one does not, or they do not agree."""
    if not values or not all(text.startswith(("{", "[")) for text in values):
        return None
    parsed = [_parsed(text) for text in values]
    if any(value is None for value in parsed):
        return None
    found = json_type(parsed)
    nested = found.spark_type.startswith(("struct", "array", "map"))
    return Typed(found.spark_type, "all values are JSON", json=True) if nested else None


def json_type(values: Sequence[object], depth: int = 0, *, with_format: bool = False) -> Typed:
    """The narrowest type for these parsed values, None among them meaning NULL; a string where they differ in kind."""
    present = [value for value in values if value is not None]
    kinds = {_kind(value) for value in present}
    if not kinds:
        return Typed("string", "no value in the sample")
    if kinds == {"boolean"}:
        return Typed("boolean", "all values are true or false")
    if kinds <= {"integer", "decimal"}:
        return _number(present, kinds)
    if kinds == {"string"}:
        found = text_type([value for value in present if isinstance(value, str)], numbers=False)
        return found if with_format or not found.format else Typed("string", "texts")
    if depth < _DEEPEST and kinds == {"array"}:
        items = [item for value in present if isinstance(value, list) for item in value]
        return Typed(f"array<{json_type(items, depth + 1).spark_type}>", "all values are arrays")
    if depth < _DEEPEST and kinds == {"object"}:
        return _object([value for value in present if isinstance(value, dict)], depth)
    # Nothing says how it was written there, so it is no text.
    lost = "; a row in which it is an object or an array is refused" if kinds & {"array", "object"} else ""
    return Typed("string", f"the values are of several kinds{lost}")


def _object(values: Sequence[Mapping[str, object]], depth: int) -> Typed:
    names = list(dict.fromkeys(name for value in values for name in value))
    fields = all(_FIELD.fullmatch(name) for name in names) and len({name.lower() for name in names}) == len(names)
    if names and fields and len(names) <= _MOST_FIELDS:
        parts = (f"{name}:{json_type([value.get(name) for value in values], depth + 1).spark_type}" for name in names)
        return Typed(f"struct<{','.join(parts)}>", "all values are objects")
    inner = json_type([item for value in values for item in value.values()], depth + 1).spark_type
    return Typed(f"map<string,{inner}>", "all values are objects whose names are no names of fields, or too many")


def _number(values: Sequence[object], kinds: set[str]) -> Typed:
    if kinds == {"integer"}:
        if all(isinstance(value, int) and is_bigint(value) for value in values):
            return Typed("bigint", "all values are whole numbers")
        return Typed("string", "whole numbers too large for 64 bits")
    whole = fraction = 0
    for value in values:
        _, digits, exponent = Decimal(value).as_tuple()  # type: ignore[arg-type]
        assert isinstance(exponent, int), "NaN and Infinity are no JSON"
        whole = max(whole, len(digits) + exponent, 1)
        fraction = max(fraction, -exponent)
    spark_type = decimal_type(whole, fraction)
    if spark_type is None:
        return Typed("string", "numbers with more digits than a decimal holds")
    return Typed(spark_type, "all values are numbers; precision and scale have some room")


def _held(value: object, spark_type: str) -> object:
    """Equal for two values that are equal in the lake; of nested ones only whether they are NULL."""
    if value is None or isinstance(value, str):
        return value
    if spark_type == "string":
        return json.dumps(value, default=str)
    return True if isinstance(value, list | dict) else value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, Decimal):
        return "decimal"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _parsed(text: str) -> object:
    """None for what is no JSON (and for `null`)."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _lines(sample: Sample) -> Iterator[object]:
    lines = sample.head.split("\n")
    for line in lines if sample.whole else lines[:-1]:
        if line.strip(" \t\r"):
            yield _parsed(line)


def _elements(sample: Sample) -> Iterator[object]:
    text = sample.head
    at = text.index("[") + 1
    while True:
        at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] in ("]", ""):
            return
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            if sample.whole:
                yield None
            return
        at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
        yield value
        if text[at : at + 1] != ",":
            return
        at += 1
