"""Canonical text: the golden cases that Spark and Postgres are held to as well, and that no two rows share a text."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.canonical import check_key, content_text_python, fingerprint_python, hash_python, key_python
from contracts.canonical_python import part_of
from contracts.spark_types import SparkType, parse_type, widens
from contracts.stream import Column

CASES = json.loads((Path(__file__).parent.parent / "data" / "canonical_cases.json").read_text(encoding="utf-8"))
PAIR = (Column("a", "string"), Column("b", "string"))


def typed(value: Any, spark_type: SparkType) -> Any:
    if value is None:
        return None
    match spark_type.name:
        case "decimal":
            return Decimal(str(value))
        case "date":
            return date.fromisoformat(value)
        case "timestamp" | "timestamp_ntz":
            return datetime.fromisoformat(value)
        case "double" | "float":
            return float(value)
        case "binary":
            return bytes.fromhex(value)
        case "array":
            return [typed(item, spark_type.inner[0]) for item in value]
        case "map":
            return {key: typed(item, spark_type.inner[1]) for key, item in value.items()}
        case "struct":
            members = zip(spark_type.fields, spark_type.inner, strict=True)
            return {name: typed(value.get(name), inner) for name, inner in members}
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['type']} {case['value']}"[:60])
def test_the_reference_gives_the_golden_text(case: dict[str, Any]) -> None:
    spark_type = parse_type(case["type"])
    assert part_of(spark_type)(typed(case["value"], spark_type)) == case["text"]


@given(st.lists(st.tuples(*[st.none() | st.text(alphabet="1:;N\t", max_size=4)] * 2), min_size=2, max_size=2))
def test_two_rows_share_a_text_only_if_they_are_equal(rows: list[tuple[str | None, str | None]]) -> None:
    text = content_text_python(PAIR)
    first, second = (text({"a": a, "b": b}) for a, b in rows)
    assert (first == second) == (rows[0] == rows[1])


def test_a_wider_integer_keeps_the_key_and_another_column_order_does_not() -> None:
    row = {"a": 7, "b": 8}
    narrow, wide = (Column("a", "int"), Column("b", "int")), (Column("a", "bigint"), Column("b", "bigint"))
    assert key_python(narrow)(row) == key_python(wide)(row)
    assert len(key_python(narrow)(row)) == 32
    assert key_python(narrow)(row) != key_python(narrow[::-1])(row)


def test_a_key_of_floating_point_or_nested_values_is_refused() -> None:
    for spark_type in ("double", "float", "array<int>", "struct<a:int>", "map<string,int>"):
        with pytest.raises(ValueError, match="a key needs values that print alike"):
            check_key([Column("a", spark_type)])


def test_a_fingerprint_ignores_order_and_sees_a_row_that_is_there_twice() -> None:
    digest = hash_python(PAIR)
    rows = [digest({"a": str(n), "b": None}) for n in range(20)]
    assert fingerprint_python(rows) == fingerprint_python(rows[::-1])
    assert fingerprint_python(rows)[1] != fingerprint_python([*rows, rows[3], rows[3]])[1]
    assert fingerprint_python([]) == (0, 0)


def test_a_large_integer_in_a_decimal_column_keeps_its_digits() -> None:
    text = content_text_python([Column("n", "decimal(20,0)")])
    assert text({"n": 2**64 - 1}) == text({"n": Decimal(2**64 - 1)}) == "h120:18446744073709551615;"


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        ("int", "bigint", True),
        ("tinyint", "int", True),
        ("bigint", "int", False),
        ("int", "int", False),
        ("decimal(5,2)", "decimal(12,2)", True),
        ("decimal(5,2)", "decimal(12,3)", False),  # 1.50 and 1.500 are two texts: keys and hashes would change
        ("decimal(5,2)", "decimal(4,2)", False),
        ("int", "decimal(12,0)", False),
        ("float", "double", False),
        ("date", "timestamp", False),
        ("array<int>", "array<bigint>", False),
    ],
)
def test_a_wider_type_leaves_every_text_as_it_was(old: str, new: str, wider: bool) -> None:
    assert widens(parse_type(old), parse_type(new)) == wider
