"""Rows that a replay adds to a file reach the facts: its unit is planned once more, and no other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from contracts.spark_types import history_columns
from contracts.stream import Column, FileSource, Pipeline, Stream
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.files import issue_files_view
from streaming_jobs.lake import DERIVED, create_table, ddl, table_path
from streaming_jobs.ledger import rebuild_ledger, refresh_ledger
from warehouse_sql.reading import held_number, plan_fact, whole_units

MONDAY, TUESDAY, CORRECTION = "a" * 64, "b" * 64, "c" * 64
NAMES = ("accepted", "duplicate", "conflicting", "quarantined")


class Lake:
    """The commits of one file stream's history, the tables derived from them, and what a target holds of it."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark, self.url = spark, f"file://{folder}/lake"
        name = f"d{abs(hash(folder)) % 10**8}"
        columns = (Column("id", "bigint"), Column("day", "date", from_file_name=True))
        source = FileSource(r"e_(?P<day>.*)\.csv", "csv", unit="day")
        self.stream = Stream(name, "events", f"{name}.files.events", source, columns, ("id",))
        self.pipeline = Pipeline(name, (self.stream,), folder, folder, folder)
        for table, kinds in DERIVED.items():
            create_table(spark, f"{name}_lake.{table}", table_path(self.url, name, table), kinds)
        self.path = table_path(self.url, name, "events")
        create_table(spark, self.stream.history, self.path, history_columns(self.stream))
        issue_files_view(spark, self.pipeline)
        self.held: dict[str, int] = {}

    def sent(self, file_hash: str, unit: str, revision: int) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        row = ("events", file_hash, f"e_{unit}.csv", unit, 10, revision, "sent", "", at)
        frame = self.spark.createDataFrame([row], ddl(DERIVED["files_sent"]))
        frame.write.format("delta").mode("append").saveAsTable(f"{self.pipeline.name}_lake.files_sent")

    def commit(self, kind: str, **counts: tuple[int, int, int, int]) -> None:
        """A batch or a replay that met these files; `counts` by the hash's letter."""
        files = {letter * 64: dict(zip(NAMES, found, strict=True)) for letter, found in counts.items()}
        metadata: dict[str, Any] = {"headrace": 1, "kind": kind, "run": "r", "ranges": [], "files": files}
        TableTransaction(self.spark, self.path).commit({"T1:events-0": 1}, metadata)
        refresh_ledger(self.spark, self.pipeline, self.url)

    def restated(self) -> list[str]:
        """The units that a merge would restate now; the target holds them from then on."""
        plan = plan_fact(self.spark, self.stream, whole_units(self.spark, self.pipeline), self.held)
        assert plan is not None
        self.held |= plan.revisions
        return list(plan.units)

    def counted(self, file_hash: str) -> tuple[Any, ...]:
        files = self.spark.table(f"{self.pipeline.name}_lake.files").where(f"file_hash = '{file_hash}'")
        (row,) = files.select(*NAMES, "complete", "newest").collect()
        return tuple(row)


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    lake = Lake(spark, tmp_path)
    lake.sent(MONDAY, "2026-01-05", 4)
    lake.sent(TUESDAY, "2026-01-06", 9)
    lake.commit("batch", a=(8, 0, 0, 2), b=(10, 0, 0, 0))
    assert lake.restated() == ["2026-01-05", "2026-01-06"]
    assert lake.restated() == []
    return lake


def test_a_replay_that_adds_rows_restates_their_unit_once(lake: Lake) -> None:
    lake.commit("replay", a=(0, 8, 0, 2), b=(0, 10, 0, 0))
    assert lake.restated() == []
    lake.commit("replay", a=(2, 8, 0, 0), b=(0, 10, 0, 0))
    assert lake.restated() == ["2026-01-05"]
    assert lake.restated() == []
    assert lake.counted(MONDAY) == (8, 0, 0, 2, True, True)  # what the first reading found
    lake.commit("replay", a=(1, 9, 0, 0))
    assert lake.restated() == ["2026-01-05"]
    rebuild_ledger(lake.spark, lake.pipeline, lake.url)
    assert lake.restated() == []


def test_a_correction_after_a_replay_of_both_restates_the_unit(lake: Lake) -> None:
    lake.sent(CORRECTION, "2026-01-05", 12)
    lake.commit("batch", c=(5, 0, 0, 0))  # half of it
    lake.commit("replay", a=(2, 8, 0, 0), c=(1, 4, 0, 0))
    assert lake.restated() == ["2026-01-05"]
    lake.commit("batch", c=(5, 0, 0, 0))  # the rest: the same replay is now that of another file
    assert lake.restated() == ["2026-01-05"]
    assert lake.restated() == []


def test_a_replay_of_a_file_that_is_not_whole_restates_nothing(lake: Lake) -> None:
    lake.sent(CORRECTION, "2026-01-07", 12)
    lake.commit("batch", c=(5, 0, 0, 0))
    lake.commit("replay", c=(5, 5, 0, 0))
    assert lake.restated() == []


def test_what_was_booked_before_the_column_counts_as_a_batch(lake: Lake) -> None:
    lake.spark.sql(f"update {lake.pipeline.name}_lake.ledger_files set kind = null")
    assert lake.counted(MONDAY) == (8, 0, 0, 2, True, True)
    assert lake.restated() == []


def test_a_held_number_is_a_revision_or_below_minus_one() -> None:
    assert held_number(7, 0) == 7
    found = {held_number(revision, replayed) for revision in range(50) for replayed in range(1, 50)}
    assert len(found) == 50 * 49
    assert max(found) < -1
    assert min(found) >= -(2**63)
