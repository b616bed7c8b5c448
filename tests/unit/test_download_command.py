"""`headrace download`: which downloads and days it fetches, what it pushes, and how it says what failed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from contracts.errors import Fatal, ServiceUnavailable
from contracts.loader import load_pipeline
from contracts.settings import Settings
from contracts.stream import FileSource, Pipeline
from headrace import progress
from headrace.app import App
from headrace.commands import download as command
from headrace.progress import ROWS, Bar
from producers.push import FileResult
from tests.unit.download_server import DAY, OLD, SECRET, Origin, content, sha256, status


class Shell:
    """`headrace download …` of a pipeline whose two downloads come from the local server."""

    def __init__(self, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = load_pipeline("edtech").file_streams[0]
        streams = (replace(stream, name="rows", source=FileSource(r"(rates|prices)_.*\.csv", "csv", "")),)
        (tmp_path / "downloads.yaml").write_text(
            f"downloads:\n  rates: {{url: '{origin.url}/r/{{batch_date}}', file: 'rates_{{batch_date}}.csv',"
            f" attempts: 1, query: {{key: '${{RATES_KEY}}'}}}}\n"
            f"  prices: {{url: '{origin.url}/p/{{batch_date}}', file: 'prices_{{batch_date}}.csv', attempts: 1}}\n"
        )
        self.app = App(Settings(data_dir=tmp_path / "data"))
        self.app.__dict__["pipeline"] = Pipeline("shop", streams, tmp_path, tmp_path, tmp_path)
        self.pushed: list[tuple[str, date]] = []
        self.result = FileResult("rows", "x", "f" * 64, "", 3, 3, "sent", "", 0.1)
        monkeypatch.setenv("RATES_KEY", SECRET)
        monkeypatch.setattr(command, "push_downloaded", self.push)

    def push(self, app: App, path: Path, batch_date: date, bar: Bar) -> list[FileResult]:
        assert path.read_bytes() == OLD
        bar.show("sending", path.name, 2, 3, unit=ROWS)
        self.pushed.append((path.name, batch_date))
        return [self.result]

    def run(self, *options: str) -> Result:
        return CliRunner().invoke(command.download, options, obj=self.app)


@pytest.fixture
def shell(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(origin, tmp_path, monkeypatch)


def test_every_declared_download_of_the_day_is_fetched_and_pushed(shell: Shell) -> None:
    done = shell.run("--batch-date", "2026-03-07", "--json")
    assert done.exit_code == 0, done.output
    assert shell.pushed == [("rates_2026-03-07.csv", DAY), ("prices_2026-03-07.csv", DAY)]
    rows = json.loads(done.stdout)
    assert [(row["state"], row["pushed"], row["rows"], row["sha256"]) for row in rows] == [
        ("fetched", "sent", 3, sha256(OLD))
    ] * 2
    assert "hush" not in done.output


def test_a_terminal_sees_what_comes_and_what_is_sent(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = shell.run("rates", "--batch-date", "2026-03-06", "--json")
    assert silent.stderr == ""
    terminal = Console(force_terminal=True, width=160, file=StringIO())
    monkeypatch.setattr(progress, "progress_console", terminal)
    real = Bar.show

    def slowly(bar: Bar, *step: Any, **unit: str) -> None:
        time.sleep(0.02)
        real(bar, *step, **unit)
        bar._progress.refresh()  # a picture of each step

    monkeypatch.setattr(Bar, "show", slowly)
    seen = shell.run("rates", "--batch-date", "2026-03-07", "--json")
    assert json.loads(seen.stdout)[0]["state"] == "fetched"
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.file.getvalue())  # type: ignore[attr-defined]
    assert re.search(r"fetching rates 2026-03-07 [^\r]* [\d.]+/330\.0 kB [\d.]+ [kM]B/s [^\r]* left", shown)
    assert re.search(r"sending rates_2026-03-07\.csv [^\r]* 2/3 rows", shown)


def test_an_unchanged_file_is_pushed_too(shell: Shell) -> None:
    shell.run("rates", "--batch-date", "2026-03-07")
    done = shell.run("rates", "--batch-date", "2026-03-07")
    assert "unchanged" in done.output
    assert shell.pushed == [("rates_2026-03-07.csv", DAY)] * 2


def test_without_a_day_it_is_today(shell: Shell) -> None:
    shell.run("rates")
    assert shell.pushed[0][1] in (date.today(), date.fromordinal(date.today().toordinal() - 1))


def test_a_back_fill_goes_day_by_day(shell: Shell) -> None:
    shell.run("prices", "--from", "2026-02-27", "--to", "2026-03-01")
    assert [day.isoformat() for _, day in shell.pushed] == ["2026-02-27", "2026-02-28", "2026-03-01"]


def test_no_push_only_keeps(shell: Shell, origin: Origin) -> None:
    assert shell.run("--no-push").exit_code == 0
    assert shell.pushed == []
    assert len(origin.asked) == 2


def test_a_dry_run_asks_for_nothing_and_shows_no_secret(
    shell: Shell, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = shell.run("--dry-run", "--batch-date", "2026-03-07")
    assert f"{origin.url}/r/2026-03-07?key=${{RATES_KEY}}" in done.output
    assert "hush" not in done.output
    monkeypatch.delenv("RATES_KEY")
    (rates, prices) = json.loads(shell.run("--dry-run", "--json").stdout)
    assert (rates["variables_not_set"], prices["variables_not_set"]) == ("RATES_KEY", "")
    assert origin.asked == []
    assert not shell.app.settings.data_dir.exists()


def test_a_failure_ends_the_command_and_is_shown(shell: Shell, origin: Origin) -> None:
    origin.script.append(status(404))
    done = shell.run("--json")
    assert isinstance(done.exception, Fatal)
    assert [(row["download"], row["state"]) for row in json.loads(done.stdout)] == [("rates", "failed")]
    assert len(origin.asked) == 1


def test_keep_going_does_the_others_and_tells_the_worst(shell: Shell, origin: Origin) -> None:
    origin.script.extend([status(503), content, status(404), content])
    done = shell.run("--keep-going", "--json", "--from", "2026-03-07", "--to", "2026-03-08")
    assert isinstance(done.exception, Fatal)
    assert [row["state"] for row in json.loads(done.stdout)] == ["failed", "fetched", "failed", "fetched"]
    assert len(shell.pushed) == 2
    origin.script.append(status(503))
    assert isinstance(shell.run("--keep-going").exception, ServiceUnavailable)


def test_a_file_that_the_push_refuses_is_exit_code_1(shell: Shell) -> None:
    shell.result = replace(shell.result, state="rejected", reason="it is empty")
    done = shell.run("rates")
    assert done.exit_code == 1
    assert "it is empty" in done.output


WRONG_OPTIONS = {
    "no download": ["nothing"],
    "give one or the other": ["--batch-date", "2026-01-01", "--from", "2026-01-01", "--to", "2026-01-02"],
    "go together": ["--from", "2026-01-01"],
    "lies before": ["--from", "2026-01-02", "--to", "2026-01-01"],
}


@pytest.mark.parametrize("told", WRONG_OPTIONS)
def test_options_that_make_no_sense_are_wrong_usage(shell: Shell, origin: Origin, told: str) -> None:
    done = shell.run(*WRONG_OPTIONS[told])
    assert done.exit_code == 2
    assert told in done.output
    assert origin.asked == []
