"""What `push --dry-run` shows of rows that were only looked at."""

from __future__ import annotations

import pytest

from headrace.commands.move import _show_judged
from producers.push import FileResult, Judged, Offender


def result(file: str, judged: Judged | None) -> FileResult:
    return FileResult("orders", file, "a" * 64, "", 14, 0, "would_send", "", 0.0, judged=judged)


def test_what_would_become_of_the_rows_is_shown_and_the_first_that_would_be_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    offenders = (
        Offender(2, "type", "id", '"[x]" cannot be held as bigint'),
        Offender(30, "csv", "", "a quote is open"),
    )
    _show_judged([result("a.csv", Judged(21, 3, 4, 5, offenders)), result("b.csv", None)])
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert ["file", "accepted", "duplicate", "conflicting", "refused"] in lines
    assert ["a.csv", "21", "3", "4", "5"] in lines
    assert ["file", "line", "rule", "column", "reason"] in lines
    assert ["a.csv", "2", "type", "id", '"[x]"', "cannot", "be", "held", "as", "bigint"] in lines
    assert ["a.csv", "30", "csv", "a", "quote", "is", "open"] in lines
    assert "b.csv" not in shown


def test_where_no_row_would_be_refused_none_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _show_judged([result("a.csv", Judged(21, 0, 0, 0, ()))])
    shown = capsys.readouterr().out
    assert ["a.csv", "21", "0", "0", "0"] in [line.split() for line in shown.splitlines()]
    assert "would be refused" not in shown


def test_of_files_that_were_not_judged_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    _show_judged([result("a.csv", None)])
    assert capsys.readouterr().out == ""
