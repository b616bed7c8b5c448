"""A rule that could stop the stream is refused when the contract is read, with what to write instead."""

from __future__ import annotations

import pytest

from contracts.expressions import check_row_rule
from contracts.spark_types import parse_type

COLUMNS = {
    "s": parse_type("string"),
    "n": parse_type("int"),
    "d": parse_type("date"),
    "a": parse_type("array<int>"),
    "m": parse_type("map<string,int>"),
}


@pytest.mark.parametrize(
    ("rule", "instead"),
    [
        ("element_at(a, 1) > 1", "write try_element_at"),
        ("a[0] > 1", "write get"),
        ("to_date(s, 'yyyy') > d", "try_to_timestamp"),
        ("n > 1 or exists(a, x -> x div n > 1)", "write floor"),
        ("raise_error('x') is null", "state the rule without it"),
        ("bigint(s) > 1", "write cast(… as bigint)"),
        ("s > 5", "compares a text with a number"),
        ("n in ('1', 'x')", "compares a text with a int"),
        ("d >= 'some day'", "compares a text with a date"),
    ],
)
def test_what_raises_on_some_rows_is_refused(rule: str, instead: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_row_rule(rule, COLUMNS)
    assert instead in str(refused.value)


@pytest.mark.parametrize(
    "rule",
    [
        "try_element_at(a, 1) > 1",
        "get(a, 0) > 1",
        "m['k'] > 1",
        "n / 2 > 1",
        "to_date(s) > d",
        "year(d) > 2000",
        "d >= '2020-01-01'",
        "s in ('a', 'b')",
        "n between -1 and 2",
        "cast(s as int) > 5",
    ],
)
def test_what_refuses_just_its_rows_is_not(rule: str) -> None:
    check_row_rule(rule, COLUMNS)
