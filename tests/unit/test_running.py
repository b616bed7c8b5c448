"""The threads of `headrace run`: none ends in silence, and a declaration that cannot be taken up harms nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.errors import Conflict, Fatal, ServiceUnavailable
from contracts.settings import Settings
from headrace import running
from headrace.app import App
from headrace.commands.local import status
from headrace.merging import Merging
from headrace.overview import merges_overview, streams_overview
from headrace.rounds import Rounds, note_round, read_rounds, rounds_file
from headrace.running import STREAMS_FIRST_S, StreamsFirst, rounds, take_up
from streaming_jobs.stream_status import StreamStatus, write_status
from warehouse_sql.report import MergeReport, TableReport

ORDERS = """apiVersion: v3.1.0
kind: DataContract
id: shop.orders
version: 1.0.0
status: active
customProperties:
  - {property: headrace.table, value: shop.orders}
schema:
  - name: orders
    properties:
      - {name: id, physicalType: bigint, primaryKey: true, primaryKeyPosition: 1}
"""


class Watched:
    """A declaration that does what it is told at each look."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def changed(self) -> bool:
        if self.error:
            raise self.error
        return True


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(Settings(data_dir=tmp_path))


def test_a_thread_that_fails_halts_the_run() -> None:
    halt = threading.Event()
    with pytest.raises(RuntimeError, match="no such luck"):
        rounds([], [], cast(Any, Watched(RuntimeError("no such luck"))), threading.Event(), halt, lambda: True)
    assert halt.is_set()


def test_a_new_declaration_halts_the_run() -> None:
    halt = threading.Event()
    rounds([], [], cast(Any, Watched()), threading.Event(), halt, lambda: True)
    assert halt.is_set()


def test_overrides_of_a_connector_that_are_no_json_harm_nothing(tmp_path: Path) -> None:
    for folder in ("contracts", "connectors"):
        (tmp_path / folder).mkdir()
    (tmp_path / "contracts" / "orders.yaml").write_text(ORDERS, encoding="utf-8")
    app = App(Settings(data_dir=tmp_path, pipeline="shop", pipeline_dir=tmp_path))
    assert take_up(app, lambda _: None) is not app
    (tmp_path / "connectors" / "postgres.json").write_text("{", encoding="utf-8")
    assert take_up(app, lambda _: None) is app, "its guardian could not begin, and the run would end"


def test_the_streams_come_first(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(at: str, **lags: int | None) -> None:
        flowing = [StreamStatus(name, "flowing", 1, 1, lag, 1, 1, None) for name, lag in lags.items()]
        parked = StreamStatus("parked", "parked", 1, 9, 8, 0, 0, None)
        write_status(app.status_file, "edtech", "run", at, [*flowing, parked])

    later = "9999-01-01T00:00:00+00:00"
    may_begin = StreamsFirst(app.status_file)
    assert not may_begin()
    say("2026-01-01T00:00:00+00:00", quiz=0, student=0)  # what an earlier run left
    assert not may_begin()
    say(later, quiz=0, student=5)
    assert not may_begin()
    say(later, quiz=None, student=0)  # each was there once
    assert may_begin()
    say(later, quiz=7, student=7)
    assert may_begin()
    slow = StreamsFirst(app.status_file)
    assert not slow()
    over = time.monotonic() + STREAMS_FIRST_S
    monkeypatch.setattr(running.time, "monotonic", lambda: over)
    assert slow()


@pytest.mark.parametrize("error", [Fatal("Postgres refused"), ValueError("[PARSE_SYNTAX_ERROR]")])
def test_the_old_declaration_goes_on_when_the_tables_of_the_new_one_cannot_be_made(
    app: App, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fails(_: App) -> None:
        raise error

    assert take_up(app, fails) is app
    assert str(error) in caplog.text
    assert "Next:" in caplog.text
    assert take_up(app, lambda _: None) is not app


def test_a_part_that_is_away_is_waited_for(app: App) -> None:
    def fails(_: App) -> None:
        raise ServiceUnavailable("away")

    with pytest.raises(ServiceUnavailable):
        take_up(app, fails)


def test_rounds_are_noted(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome: list[Exception | None] = [None, Fatal("two keys", next_step="look"), Conflict("later"), None]

    def merge(*_: object) -> int:
        if error := outcome.pop(0):
            raise error
        return 3

    monkeypatch.setattr(Merging, "_round", merge)
    merging = Merging(app, cast(Any, None))
    assert merges_overview(app) == {}
    assert merging.round() == 3
    assert merges_overview(app)["error"] == ""
    for wrong in (Fatal, Conflict):
        with pytest.raises(wrong):
            merging.round()
        shown = merges_overview(app)
        assert shown["error"] == "two keys\nNext: look"
        assert shown["failed"]
        assert shown["last round"]
    merging.round()
    assert merges_overview(app)["error"] == ""
    assert merges_overview(app)["failed"] is None


def test_a_broken_or_absent_folder_of_the_rounds_file_stops_nothing(app: App, caplog: pytest.LogCaptureFixture) -> None:
    file = rounds_file(app.settings)
    assert file.match("*.status.json")  # what `reset` deletes
    file.write_text("{", "utf-8")
    assert read_rounds(file) is None
    note_round(file, "2026-01-01T00:00:00+00:00")
    assert read_rounds(file) == Rounds("2026-01-01T00:00:00+00:00")
    note_round(file / "no folder", "2026-01-01T00:00:00+00:00")
    assert "cannot be written" in caplog.text


def test_a_stream_that_is_no_longer_declared_is_shown(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.overview._live", lambda _: {})
    monkeypatch.setattr("headrace.overview._refused", lambda _: None)
    old = StreamStatus("gone", "flowing", 1, 1, 0, 1, 1, None)
    write_status(app.status_file, "edtech", "run", "2026-01-01T00:00:00+00:00", [old])
    (row,) = streams_overview(app)
    assert (row["state"], row["target s"]) == ("no longer declared", None)


def test_status_fails_with_the_newest_round(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.setattr("infra.local.deployment.status", lambda _: [])
    note_round(rounds_file(app.settings), "2026-01-01T00:00:00+00:00")
    good = CliRunner().invoke(status, obj=app)
    assert good.exit_code == 0
    assert "merges: last round" in good.output
    note_round(rounds_file(app.settings), "2026-01-01T00:00:00+00:00", Fatal("two keys", next_step="look"))
    bad = CliRunner().invoke(status, obj=app)
    assert bad.exit_code == 1
    assert "two keys\nNext: look" in bad.output


def test_every_error_of_a_round_is_logged_and_the_first_raised(caplog: pytest.LogCaptureFixture) -> None:
    tables = tuple(TableReport(name, "delta", error=Fatal(f"{name} is wrong")) for name in ("one", "two"))
    with pytest.raises(Fatal, match="one is wrong"):
        MergeReport(tables).check()
    assert "two is wrong" in caplog.text
