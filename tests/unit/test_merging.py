"""A round is spared only when nothing was committed to the lake since the last good one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from contracts.errors import Fatal, LedgerMismatch
from contracts.settings import Settings
from headrace import merging
from headrace.app import App
from headrace.merging import LOOK_AT_TARGETS_EVERY_S, Merging
from headrace.rounds import read_rounds, rounds_file
from warehouse_sql.report import MergeReport, TableReport

ROWS = 3


class Lake(Merging):
    """Rounds over a lake of which only the tables' versions are known."""

    def __init__(self, folder: Path) -> None:
        own = Settings(data_dir=folder, kafka={"bootstrap_servers": "127.0.0.1:1"})  # type: ignore[arg-type]
        self.told: list[tuple[str, int, int]] = []
        super().__init__(App(own), cast(Any, None), lambda *step: self.told.append(step))
        self.tables = {"students": 7, "files_sent": 2, "ledger_files": 4}
        self.commit_during = ""
        self.fails: Exception | None = None
        self.lost: LedgerMismatch | None = None

    def book(self) -> None:
        if self.lost:
            raise self.lost

    def _versions(self, tables: list[str]) -> dict[str, int]:
        return {name: self.tables[name] for name in tables if name in self.tables}  # not every stream has a table here

    def _reads(self) -> int:
        return self.tables.get("reads", 0)

    def merge(self, *_: object, progress: Callable[[int, int], None], **__: object) -> MergeReport:
        progress(0, 14)
        if self.commit_during:
            self.tables[self.commit_during] += 1
            self.commit_during = ""
        failed, self.fails = self.fails, None
        return MergeReport((TableReport("dim_student", "delta", ROWS, error=failed),))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    lake = Lake(tmp_path)
    monkeypatch.setattr(merging, "lake_url", lambda _: "")
    monkeypatch.setattr(merging, "merge_states", lambda *given: given[-1](0, 2))
    monkeypatch.setattr(merging, "merge_round", lake.merge)
    return lake


def test_a_round_tells_what_it_is_at(lake: Lake) -> None:
    lake.round()
    assert lake.told == [("files and ledger", 0, 0), ("current states", 0, 2), ("the star schema", 0, 14)]


@pytest.mark.parametrize("table", ["students", "files_sent", "ledger_files", "quiz_attempts", "reads"])
def test_a_lake_is_merged_again_when_something_was_committed(lake: Lake, table: str) -> None:
    assert [lake.round(), lake.round()] == [ROWS, 0]
    lake.tables[table] = lake.tables.get(table, 0) + 1
    assert [lake.round(), lake.round()] == [ROWS, 0]


def test_what_is_committed_during_a_round_is_merged_by_the_next(lake: Lake) -> None:
    lake.commit_during = "students"
    assert [lake.round(), lake.round(), lake.round()] == [ROWS, ROWS, 0]


def test_a_round_that_failed_is_repeated(lake: Lake) -> None:
    assert [lake.round(), lake.round()] == [ROWS, 0]
    lake.tables["students"] += 1
    lake.fails = Fatal("two keys")
    with pytest.raises(Fatal):
        lake.round()
    lake.tables["students"] -= 1
    assert lake.round() == ROWS


def test_a_cut_log_is_said_in_every_round(lake: Lake) -> None:
    assert [lake.round(), lake.round()] == [ROWS, 0]
    lake.lost = LedgerMismatch("cut")
    for _ in range(2):
        with pytest.raises(LedgerMismatch):
            lake.round()


def test_the_targets_are_looked_at_from_time_to_time(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [lake.round(), lake.round()] == [ROWS, 0]
    later = merging.time.monotonic() + LOOK_AT_TARGETS_EVERY_S
    monkeypatch.setattr(merging.time, "monotonic", lambda: later)
    assert [lake.round(), lake.round()] == [ROWS, 0]


def test_a_spared_round_is_a_good_one(lake: Lake) -> None:
    good = []
    for _ in range(2):
        lake.round()
        noted = read_rounds(rounds_file(lake._app.settings))
        assert noted is not None
        good.append(noted.good_at)
    assert good[0] < good[1]
