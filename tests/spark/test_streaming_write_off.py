"""Offsets that Kafka lost, and a person accepted: the position moves over them, and the ledger says what they were."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from contracts.stream import Column, Pipeline, Stream, TableSource
from streaming_jobs.delta_commit import read_positions
from streaming_jobs.ingest import write_off
from streaming_jobs.lake import DERIVED, create_table, table_path
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.ranges import Range, app_id
from streaming_jobs.tables import create_history


def test_what_is_written_off_is_booked_as_lost(spark: SparkSession, tmp_path: Path) -> None:
    name, lake_url = "d_lost", f"file://{tmp_path}/lake"
    columns = (Column("id", "bigint"),)
    stream = Stream(name, "north", f"{name}.public.north", TableSource("public", "north"), columns, ("id",))
    pipeline = Pipeline(name, (stream,), tmp_path, tmp_path, tmp_path)
    create_history(spark, stream, lake_url)
    for table in ("ledger", "ledger_files"):
        create_table(spark, f"{name}_lake.{table}", table_path(lake_url, name, table), DERIVED[table])

    write_off(spark, stream, [Range(stream.topic, "T", 0, 0, 45)], lake_url, "run", datetime.now(UTC))
    refresh_ledger(spark, pipeline, lake_url)

    assert read_positions(spark, table_path(lake_url, name, "north"))[app_id("T", stream.topic, 0)] == 45
    booked = spark.table(f"{name}_lake.ledger").select("kind", "first_offset", "last_offset", "rows", "gap").collect()
    assert [tuple(row) for row in booked] == [("lost", 0, 44, 0, 45)]
    assert balance(spark, pipeline)[0].findings == ()
