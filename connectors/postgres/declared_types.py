"""Which Spark type a contract should declare for a Postgres column, and which types cannot be carried at all.

What is here was seen with the real Debezium, as `connectors/debezium.py` configures it: `docs/types.md` is the record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_DIGITS = 38

_SIMPLE = {
    "smallint": "smallint",
    "integer": "int",
    "bigint": "bigint",
    "oid": "bigint",
    "real": "float",
    "double precision": "double",
    "boolean": "boolean",
    "bit(1)": "boolean",
    "money": "decimal(19,2)",
    "bytea": "binary",
    "date": "date",
    "timestamp with time zone": "timestamp",
    "timestamp without time zone": "timestamp_ntz",
    "vector": "array<float>",
    "halfvec": "array<float>",
}
_TEXTS = (
    *("text", "character varying", "character", '"char"', "uuid", "json", "jsonb", "xml", "cidr", "inet", "macaddr"),
    *("macaddr8", "tsvector", "interval", "int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
    *("citext", "ltree", "bpchar", "time without time zone", "time with time zone"),
)
_NO_ELEMENTS = ("interval", "money", "xml")
_UNSEEN_ELEMENTS = ("vector", "halfvec")
_GEOMETRY = ("point", "line", "lseg", "box", "path", "polygon", "circle")


@dataclass(frozen=True, slots=True)
class Declared:
    """`lossy` says which values arrive as others that look as good: the contract must say `headrace.lossy`. `note`
    is what a person may want to know. Both may be empty. With `json` it must say `headrace.json`."""

    spark_type: str
    lossy: str = ""
    note: str = ""
    json: bool = False


@dataclass(frozen=True, slots=True)
class NotCarried:
    """Why no column of this type can be declared, and whether Debezium leaves it out of a row, so that a contract
    without it is whole."""

    why: str
    left_out: bool


def declare(found: str, kind: str) -> Declared | NotCarried:
    """The Spark type for a Postgres type as `format_type` spells it; `kind` is pg_type.typtype, of an array its
    elements'."""
    if found.endswith("[]"):
        return _array(found.removesuffix("[]"), kind)
    if kind == "e":
        return Declared("string")
    if kind in ("c", "m", "d", "p"):
        what = {"c": "a composite type", "m": "a multirange", "d": "an array of a domain", "p": "a pseudo-type"}[kind]
        return NotCarried(f"Debezium sends nothing for {what}", left_out=True)
    base = " ".join(re.sub(r"\([^)]*\)", "", found).split())
    if found in _SIMPLE or base in _SIMPLE:
        return Declared(_SIMPLE.get(found) or _SIMPLE[base], note=_NOTES.get(base, ""))
    if base == "numeric":
        return _numeric(found)
    if base == "hstore":
        # As text it would be Debezium's JSON, whose keys are in an order of its own.
        return Declared("map<string,string>", json=True)
    if base in _TEXTS or base.startswith("interval"):
        named = "interval" if base.startswith("interval") else base
        return Declared("string", _LOSSY.get(named, ""), _NOTES.get(named, ""))
    if base in _REFUSED:
        return NotCarried(_REFUSED[base], left_out=False)
    if base in _GEOMETRY or base == "sparsevec":
        return NotCarried("Debezium sends an object of its own instead of the value's text", left_out=False)
    return NotCarried(f"Debezium sends nothing for type {found}", left_out=True)


_LOSSY = {
    "time without time zone": "24:00 arrives as 00:00",
    "time with time zone": "arrives as the same time in UTC, without its zone",
    "interval": "infinity arrives as no time at all",
}
_OLD_DAYS = "days before 1582-10-15 arrive as others"
_LOSSY_ELEMENTS = {
    "numeric": "an array with NaN or Infinity arrives as NULL",
    "date": _OLD_DAYS,
    "timestamp with time zone": _OLD_DAYS,
    "timestamp without time zone": _OLD_DAYS,
}
_NOTES = {
    "json": "the text as it is; `struct<…>`, `map<…,…>` or `array<…>` with headrace.json parse it",
    "jsonb": "the text as it is; `struct<…>`, `map<…,…>` or `array<…>` with headrace.json parse it",
    "interval": "ISO 8601, like P1Y2M3DT4H5M6.7S",
    "numeric": "any number of digits; decimal(38,18) quarantines those that do not fit",
}
_REFUSED = {
    "name": "Debezium sends NULL for it in a change",
    "bit": "Debezium sends its bits packed into bytes, last byte first",
    "bit varying": "Debezium sends its bits packed into bytes, without how many there are",
}


def _numeric(found: str) -> Declared:
    inside = re.search(r"\((\d+),(-?\d+)\)", found)
    if not inside:
        return Declared("string", note=_NOTES["numeric"])
    precision, scale = int(inside[1]), int(inside[2])
    precision, scale = (precision - scale, 0) if scale < 0 else (max(precision, scale), scale)
    if precision > _MOST_DIGITS:
        return Declared("string", note=f"Spark's decimal holds {_MOST_DIGITS} digits")
    return Declared(f"decimal({precision},{scale})")


def _array(element: str, kind: str) -> Declared | NotCarried:
    base = " ".join(re.sub(r"\([^)]*\)", "", element).split())
    if base in (*_NO_ELEMENTS, *_GEOMETRY) or base.startswith("interval"):
        return NotCarried(f"Debezium sends nothing for an array of {base}", left_out=True)
    if base == "hstore":
        return NotCarried("Debezium sends each element as JSON text, with keys in an order of its own", left_out=False)
    if base in _UNSEEN_ELEMENTS:
        return NotCarried(f"no Spark type is declared for an array of {base}", left_out=False)
    if base.startswith("bit"):
        return NotCarried(f"Debezium sends NULL for an array of {base}", left_out=False)
    inner = declare(element, kind)
    if isinstance(inner, NotCarried):
        return NotCarried(f"of an array: {inner.why}", inner.left_out)
    lossy = _LOSSY_ELEMENTS.get(base, inner.lossy)
    return Declared(f"array<{inner.spark_type}>", lossy, inner.note)
