"""The ledger is derived from the history's commits: exactly once, whoever asks and how often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from contracts.errors import LedgerMismatch
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import DERIVED, create_table, table_path
from streaming_jobs.ledger import balance, rebuild_ledger, refresh_ledger

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]
COUNTS = ("accepted", "duplicate", "conflicting", "quarantined", "no_row", "gap")


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> tuple[Pipeline, str]:
    name = f"d{abs(hash(tmp_path)) % 10**8}"
    streams = tuple(
        Stream(name, table, f"{name}.public.{table}", TableSource("public", table), (Column("id", "bigint"),), ("id",))
        for table in ("north", "south")
    )
    pipeline = Pipeline(name, streams, tmp_path, tmp_path, tmp_path)
    lake_url = f"file://{tmp_path}/lake"
    for table in ("ledger", "ledger_files"):
        create_table(spark, f"{name}_lake.{table}", table_path(lake_url, name, table), DERIVED[table])
    for stream in streams:
        create_table(spark, stream.history, table_path(lake_url, name, stream.name), (("id", "bigint"),))
    return pipeline, lake_url


def _batch(
    spark: SparkSession, lake: tuple[Pipeline, str], stream: str, first: int, following: int, kind: str = "batch",
    **counts: int,
) -> int:  # fmt: skip
    pipeline, lake_url = lake
    transaction = TableTransaction(spark, table_path(lake_url, pipeline.name, stream))
    transaction.write(spark.range(counts.get("accepted", 0)).coalesce(1))
    span: dict[str, Any] = {"topic": f"{stream}-topic", "topic_id": "T1", "partition": 0, "first": first}
    span |= {"next": following, **{name: counts.get(name, 0) for name in COUNTS}}
    span["rows"] = sum(span[name] for name in COUNTS[:-1])
    files = {"f" * 64: {"accepted": counts.get("accepted", 0), "duplicate": 0, "conflicting": 0, "quarantined": 0}}
    metadata = {"headrace": 1, "kind": kind, "run": "r", "at": "2026-01-01T00:00:00Z", "ranges": [span], "files": files}
    return transaction.commit({f"T1:{stream}-topic-0": following}, metadata)


def _ledger(spark: SparkSession, pipeline: Pipeline, table: str = "ledger") -> list[tuple[Any, ...]]:
    columns = ("stream", "kind", "first_offset", "last_offset", "accepted", "gap", "history_version")
    if table == "ledger_files":
        columns = ("stream", "file_hash", "accepted", "history_version")
    return sorted(map(tuple, spark.table(f"{pipeline.name}_lake.{table}").select(*columns).collect()))


def test_each_commit_is_booked_once_however_often_and_by_however_many(
    spark: SparkSession, lake: tuple[Pipeline, str]
) -> None:
    pipeline, lake_url = lake
    v1 = _batch(spark, lake, "north", 0, 12, accepted=9, quarantined=1, gap=2)
    v2 = _batch(spark, lake, "south", 0, 5, accepted=5)
    assert refresh_ledger(spark, pipeline, lake_url) == 2
    assert refresh_ledger(spark, pipeline, lake_url) == 0
    v3 = _batch(spark, lake, "north", 12, 13, gap=1)
    spark.sql(f"optimize {pipeline.name}_lake.south")  # a commit without headrace's metadata
    with ThreadPoolExecutor(2) as both:
        added = list(both.map(lambda _: refresh_ledger(spark, pipeline, lake_url), range(2)))
    assert sum(added) == 1
    assert _ledger(spark, pipeline) == [
        ("north", "batch", 0, 11, 9, 2, v1),
        ("north", "batch", 12, 12, 0, 1, v3),
        ("south", "batch", 0, 4, 5, 0, v2),
    ]
    assert len(_ledger(spark, pipeline, "ledger_files")) == 3
    assert [one.findings for one in balance(spark, pipeline)] == [(), ()]


def test_a_replay_is_booked_but_neither_balances_nor_completes_a_file_again(
    spark: SparkSession, lake: tuple[Pipeline, str]
) -> None:
    pipeline, lake_url = lake
    _batch(spark, lake, "north", 0, 10, accepted=10)
    _batch(spark, lake, "north", 0, 10, kind="replay", duplicate=10)
    assert refresh_ledger(spark, pipeline, lake_url) == 2
    north = balance(spark, pipeline)[0]
    assert (north.rows, north.accepted, north.duplicate, north.findings) == (10, 10, 0, ())
    assert len(_ledger(spark, pipeline, "ledger_files")) == 1


def test_what_does_not_balance_is_named_with_its_offsets(spark: SparkSession, lake: tuple[Pipeline, str]) -> None:
    pipeline, lake_url = lake
    _batch(spark, lake, "north", 0, 10, accepted=10)
    _batch(spark, lake, "north", 15, 20, accepted=5)  # 10-14 missing
    _batch(spark, lake, "north", 18, 22, accepted=4)  # 18-19 twice
    _batch(spark, lake, "north", 22, 30, accepted=5, gap=2)  # one offset in no count
    refresh_ledger(spark, pipeline, lake_url)
    north, south = balance(spark, pipeline)
    assert south.findings == ()
    text = "\n".join(north.findings)
    assert len(north.findings) == 3
    assert "offsets 10-14 are missing" in text
    assert "offsets 18-21" in text
    assert "up to 19 were booked before" in text
    assert "8 offsets are not records 5 + gap 2" in text


def test_a_rebuilt_ledger_equals_the_one_it_replaces(spark: SparkSession, lake: tuple[Pipeline, str]) -> None:
    pipeline, lake_url = lake
    for step in range(4):
        _batch(spark, lake, "north", step * 10, step * 10 + 10, accepted=9, gap=1)
    _batch(spark, lake, "south", 0, 3, accepted=3)
    refresh_ledger(spark, pipeline, lake_url)
    ledger = f"{pipeline.name}_lake.ledger"
    spark.sql(f"update {ledger} set aborted = 0, control = 1, proven_at = now() where first_offset = 0 and gap = 1")
    before, proven = _ledger(spark, pipeline), spark.table(ledger).where("proven_at is not null").collect()
    spark.sql(f"delete from {ledger} where stream = 'north' and first_offset > 5")
    assert rebuild_ledger(spark, pipeline, lake_url) == 5
    assert _ledger(spark, pipeline) == before
    assert spark.table(ledger).where("proven_at is not null").collect() == proven
    assert len(proven) == 1
    assert refresh_ledger(spark, pipeline, lake_url) == 0


def test_commits_that_expired_before_they_were_booked_are_an_error_and_hold_no_other_stream_back(
    spark: SparkSession, lake: tuple[Pipeline, str]
) -> None:
    pipeline, lake_url = lake
    spark.sql(f"alter table {pipeline.name}_lake.north set tblproperties ('delta.checkpointInterval'='1')")
    first = _batch(spark, lake, "north", 0, 10, accepted=10)
    _batch(spark, lake, "north", 10, 20, accepted=10)
    v1 = _batch(spark, lake, "south", 0, 5, accepted=5)
    path = table_path(lake_url, pipeline.name, "north").removeprefix("file://")
    for version in range(first):
        Path(f"{path}/_delta_log/{version:020d}.json").unlink()
    south = [("south", "batch", 0, 4, 5, 0, v1)]
    for _ in range(2):
        with pytest.raises(LedgerMismatch, match="no longer has commit 0"):
            refresh_ledger(spark, pipeline, lake_url)
        assert _ledger(spark, pipeline) == south
        assert _ledger(spark, pipeline, "ledger_files") == [("south", "f" * 64, 5, v1)]
    spark.sql(f"delete from {pipeline.name}_lake.ledger")
    with pytest.raises(LedgerMismatch, match="no longer has commit 0"):
        rebuild_ledger(spark, pipeline, lake_url)
    assert _ledger(spark, pipeline) == south
