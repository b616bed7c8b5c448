"""The tables that the streaming job itself writes: each stream's history, and the pipeline's quarantine."""

from __future__ import annotations

from pyspark.sql import SparkSession

from contracts.spark_types import history_columns
from contracts.stream import Pipeline, Stream
from streaming_jobs.lake import create_table, table_path

QUARANTINE = "quarantine"
QUARANTINE_COLUMNS = (
    ("stream", "string"),
    ("topic", "string"),
    ("topic_id", "string"),
    ("partition", "int"),
    ("offset", "bigint"),
    ("file", "string"),
    ("file_hash", "string"),
    ("line", "bigint"),
    ("rule", "string"),
    ("column_name", "string"),
    ("reason", "string"),
    ("raw", "binary"),
    ("state", "string"),
    ("run", "string"),
    ("quarantined_at", "timestamp"),
)


def create_tables(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> list[str]:
    """Make and register the history of every stream and the quarantine; the names of those that were made.

    May be called again at any time: a column that a contract gained is added, all else of what exists stays; what the
    metastore lost is registered again.
    """
    made = {f"{pipeline.name}_lake.{QUARANTINE}": create_quarantine(spark, pipeline.name, lake_url)}
    made |= {stream.history: create_history(spark, stream, lake_url) for stream in pipeline.streams}
    return [name for name, new in made.items() if new]


def create_history(spark: SparkSession, stream: Stream, lake_url: str) -> bool:
    """The history of one stream, as its contract says; True if it was made."""
    skipping = ["_version", "_offset", "_partition"]
    if not stream.is_cdc:
        # A file's rows are looked up before they are accepted.
        skipping.append("_file_hash")
    path = table_path(lake_url, stream.pipeline, stream.name)
    return create_table(
        spark,
        stream.history,
        path,
        history_columns(stream),
        partition_by=stream.partition_by,
        skipping=skipping,
        key=stream.key,
    )


def create_quarantine(spark: SparkSession, pipeline: str, lake_url: str) -> bool:
    """The quarantine of a pipeline; True if it was made."""
    path = table_path(lake_url, pipeline, QUARANTINE)
    return create_table(
        spark,
        f"{pipeline}_lake.{QUARANTINE}",
        path,
        QUARANTINE_COLUMNS,
        partition_by="stream",
        skipping=("partition", "offset"),
    )
