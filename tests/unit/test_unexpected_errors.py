"""What nobody expected ends in one line and exit code 3: 1 would say that the proof found a difference."""

from __future__ import annotations

import logging

import click
import pytest

from headrace import __main__ as program


def exit_code(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> object:
    def main(**_: object) -> None:
        raise raised

    monkeypatch.setattr(program.cli, "main", main)
    with pytest.raises(SystemExit) as ended:
        program.main()
    return ended.value.code


def test_an_unexpected_error_is_one_line_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="headrace"):
        assert exit_code(monkeypatch, KeyError("one\ntwo")) == 3
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "unexpected KeyError" in told
    assert "--verbose" in told
    assert "Traceback" in caplog.text
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (SystemExit(7), 7), (click.UsageError("no"), 2), (click.Abort(), 130)],
)
def test_what_ends_a_program_on_purpose_keeps_its_code(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    assert exit_code(monkeypatch, raised) == code
