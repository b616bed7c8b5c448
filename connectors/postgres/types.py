"""Postgres' types against a contract's: the same type written otherwise, and whether one holds the other's values."""

from __future__ import annotations

import re
from dataclasses import replace

from sqlglot import exp
from sqlglot.errors import SqlglotError

from contracts.stream import Column

_INTEGER_BITS = {"smallint": 16, "integer": 32, "bigint": 64, "tinyint": 8, "int": 32, "long": 64, "short": 16}
_INTEGER_BITS["oid"] = 33  # without a sign
_TEXT = {
    *("text", "character varying", "character", "citext", "name", "uuid", "inet", "cidr"),
    *("json", "jsonb", "hstore", "xml"),
}
_OTHERS = {
    "boolean": {"boolean"},
    "bit": {"boolean"},
    "vector": {"array<float>", "array<double>"},
    "halfvec": {"array<float>", "array<double>"},
    "date": {"date"},
    "timestamp with time zone": {"timestamp"},
    "timestamp without time zone": {"timestamp", "timestamp_ntz"},
    "double precision": {"double"},
    "real": {"double", "float"},
    "bytea": {"binary"},
}


def same_type(declared: str, found: str) -> bool:
    """Whether two spellings name one Postgres type: `int8` and `bigint`, `varchar(20)` and `character varying(20)`."""
    return _canonical(declared) == _canonical(found)


def _canonical(spelling: str) -> str:
    plain = " ".join(spelling.lower().split())
    try:
        return exp.DataType.build(plain, dialect="postgres", udt=True).sql(dialect="postgres").lower()
    except (SqlglotError, ValueError):
        return plain


def fits(found: str, column: Column) -> bool:
    """Whether every value of the Postgres type `found` has a place in the column's Spark type.

    A string holds anything, because it takes the text that Debezium sends. A type nobody knows fits a string only.
    """
    spark = column.spark_type.lower().replace(" ", "")
    base, arguments = _split(found)
    if spark == "string":
        return True
    if column.json:
        return base in _TEXT
    if base.endswith("[]"):
        element = replace(column, spark_type=spark.removeprefix("array<").removesuffix(">"))
        return spark.startswith("array<") and fits(found.removesuffix("[]"), element)
    if base in _INTEGER_BITS and spark in _INTEGER_BITS:
        return _INTEGER_BITS[base] <= _INTEGER_BITS[spark]
    if spark.startswith("decimal"):
        return _fits_decimal(base, arguments, spark)
    return spark in _OTHERS.get(base, set())


def _fits_decimal(base: str, arguments: list[int], spark: str) -> bool:
    precision, scale = ([*map(int, re.findall(r"\d+", spark)), 0, 0])[:2] if "(" in spark else (10, 0)
    if base == "money":
        return scale >= 2 and precision - scale >= 17
    if base in _INTEGER_BITS:
        return precision - scale >= len(str(2 ** (_INTEGER_BITS[base] - 1)))
    if base != "numeric":
        return False
    if not arguments:
        return True  # any number: the row that does not fit is quarantined
    found_precision, found_scale = (*arguments, 0)[:2]
    return scale >= found_scale and precision - scale >= found_precision - found_scale


def _split(found: str) -> tuple[str, list[int]]:
    """`numeric(10,2)` -> numeric, [10, 2]; a time's precision is inside its name in Postgres' own spelling."""
    arguments = [int(number) for number in re.findall(r"\d+", "".join(re.findall(r"\(([\d,]+)\)", found)) or "")]
    if "," in found:
        inside = re.search(r"\((\d+),(-?\d+)\)", found)
        arguments = [int(inside[1]), int(inside[2])] if inside else arguments
    return " ".join(re.sub(r"\([\d,-]+\)", "", found).split()), arguments
