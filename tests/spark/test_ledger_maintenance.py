"""Compaction keeps every row, position and view; log expiry and VACUUM wait for the slowest reader."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.spark_types import history_columns
from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.delta_commit import TableTransaction, read_positions
from streaming_jobs.lake import DERIVED, create_table, table_path
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.maintenance import KEEP_LOG, maintain_histories, slowest_reader

pytestmark = [pytest.mark.spark, pytest.mark.timeout(400)]


def test_many_small_files_become_one_and_nothing_else_changes(spark: SparkSession, tmp_path: Path) -> None:
    name = "d_maintain"
    columns = (Column("id", "bigint"),)
    stream = Stream(name, "north", f"{name}.public.north", TableSource("public", "north"), columns, ("id",))
    pipeline, lake_url = Pipeline(name, (stream,), tmp_path, tmp_path, tmp_path), f"file://{tmp_path}/lake"
    path = table_path(lake_url, name, "north")
    for table in ("ledger", "ledger_files"):
        create_table(spark, f"{name}_lake.{table}", table_path(lake_url, name, table), DERIVED[table])
    create_table(spark, stream.history, path, history_columns(stream))
    blank = [f"cast(null as {kind}) as {column}" for column, kind in history_columns(stream) if column != "id"]
    for step in range(5):
        transaction = TableTransaction(spark, path)
        transaction.write(spark.range(step, step + 1, numPartitions=1).selectExpr("id", *blank))
        span = {"topic": "t", "topic_id": "T", "partition": 0, "first": step, "next": step + 1, "rows": 1}
        span |= {"accepted": 1, "duplicate": 0, "conflicting": 0, "quarantined": 0, "no_row": 0, "gap": 0}
        transaction.commit({"T:t-0": step + 1}, {"headrace": 1, "kind": "batch", "ranges": [span], "files": {}})
    assert slowest_reader(spark, stream, lake_url) == 0

    late = datetime.now(UTC) + timedelta(days=21)
    (north,) = [
        one for one in maintain_histories(spark, pipeline, lake_url, many_files=4, now=late) if one.table == "north"
    ]
    assert (north.files_before, north.files_after) == (5, 1)
    assert not north.vacuumed  # the ledger has read nothing yet
    assert "log kept" in north.note
    assert sorted(row.id for row in spark.table(stream.history).collect()) == [0, 1, 2, 3, 4]
    assert read_positions(spark, path) == {"T:t-0": 5}

    assert refresh_ledger(spark, pipeline, lake_url) == 5
    assert balance(spark, pipeline)[0].findings == ()
    (north,) = [
        one for one in maintain_histories(spark, pipeline, lake_url, many_files=4, now=late) if one.table == "north"
    ]
    assert (north.vacuumed, north.note) == (True, "")

    log = Path(path.removeprefix("file://")) / "_delta_log"
    spark.sql(f"alter table {stream.history} set tblproperties ('delta.checkpointInterval'='1')")
    spark.sql(f"optimize {stream.history}")
    commits = sorted(log.glob("*.json"))
    for age, commit in enumerate(reversed(commits)):
        at = time.time() - KEEP_LOG.total_seconds() - 60 * age - 120
        os.utime(commit, (at, at))
    refresh_ledger(spark, pipeline, lake_url)
    maintain_histories(spark, pipeline, lake_url, many_files=4)
    assert len(list(log.glob("*.json"))) < len(commits)
    assert read_positions(spark, path) == {"T:t-0": 5}

    spark.sql(f"drop table {stream.history}")  # external: the metastore forgets it, the files stay
    assert not create_table(spark, stream.history, path, history_columns(stream))
    assert spark.table(stream.history).count() == 5
