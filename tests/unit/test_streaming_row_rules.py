"""Row rules are rewritten only where they can fail, and keep their meaning."""

from __future__ import annotations

from streaming_jobs.transforms.row_rules import safe_sql


def test_a_rule_that_cannot_fail_is_left_as_written() -> None:
    rule = r"`email` rlike '^[^@\\s]+@[^@\\s]+$' and year(`day`) > 2000"
    assert safe_sql(rule) == (rule, "")


def test_what_can_fail_gives_null_and_says_so() -> None:
    safe, failed = safe_sql("a / b > cast(c as int)")
    assert safe == "TRY_DIVIDE(a, b) > TRY_CAST(c AS INT)"
    assert "(TRY_DIVIDE(a, b)) is null and (a) is not null and (b) is not null" in failed
    assert "(TRY_CAST(c AS INT)) is null and (c) is not null" in failed


def test_what_stands_inside_an_operation_can_fail_too() -> None:
    safe, failed = safe_sql("a / b + c > cast(d % e as int)")
    assert safe == "TRY_ADD(TRY_DIVIDE(a, b), c) > TRY_CAST(TRY_MOD(d, e) AS INT)"
    assert "(TRY_DIVIDE(a, b)) is null and (a) is not null" in failed
    assert "(TRY_MOD(d, e)) is null and (d) is not null" in failed


def test_texts_that_are_no_dates_and_the_smallest_number_fail_alone() -> None:
    assert safe_sql("to_date(a) < b")[0] == "TRY_CAST(a AS DATE) < b"
    assert safe_sql("a::int > -1")[0] == "TRY_CAST(a AS INT) > -1"
    assert safe_sql("-a < 3")[0] == "TRY_SUBTRACT(0, a) < 3"


def test_a_try_form_of_the_contract_may_give_null() -> None:
    rule = "try_cast(a as int) > 1"
    assert safe_sql(rule) == (rule, "")


def test_a_cast_of_a_literal_is_not_asked_about() -> None:
    assert safe_sql("d >= cast('1900-01-01' as date)")[1] == ""
