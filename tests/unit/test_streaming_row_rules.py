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


def test_a_cast_of_a_literal_is_not_asked_about() -> None:
    assert safe_sql("d >= cast('1900-01-01' as date)")[1] == ""
