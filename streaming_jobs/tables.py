"""The tables that the streaming job itself writes: each stream's history, and the pipeline's quarantine."""

from __future__ import annotations

from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from contracts.spark_types import history_columns
from contracts.stream import Pipeline, Stream
from streaming_jobs.lake import sql_text, table_path

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
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.checkpointInterval": "100",
    "delta.logRetentionDuration": "interval 30 days",
}


def create_tables(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> list[str]:
    """Make and register the history of every stream and the quarantine; the names of those that were made.

    May be called again at any time: what exists is left as it is, and registered again if the metastore lost it.
    """
    made = [create_quarantine(spark, pipeline.name, lake_url)]
    made += [create_history(spark, stream, lake_url) for stream in pipeline.streams]
    return [name for name in made if name]


def create_history(spark: SparkSession, stream: Stream, lake_url: str) -> str:
    """The history of one stream, as its contract says; its name if it was made, else an empty string."""
    skipping = ["_version", "_offset", "_partition"]
    if not stream.is_cdc:
        # A file's rows are looked up before they are accepted.
        skipping.append("_file_hash")
    return _create(
        spark,
        stream.history,
        table_path(lake_url, stream.pipeline, stream.name),
        history_columns(stream),
        stream.partition_by,
        {"delta.dataSkippingStatsColumns": ",".join(skipping)},
    )


def create_quarantine(spark: SparkSession, pipeline: str, lake_url: str) -> str:
    """The quarantine of a pipeline; its name if it was made, else an empty string."""
    return _create(
        spark,
        f"{pipeline}_lake.{QUARANTINE}",
        table_path(lake_url, pipeline, QUARANTINE),
        QUARANTINE_COLUMNS,
        "stream",
        {"delta.dataSkippingStatsColumns": "partition,offset"},
    )


def _create(
    spark: SparkSession,
    name: str,
    path: str,
    columns: tuple[tuple[str, str], ...],
    partition_by: str,
    properties: dict[str, str],
) -> str:
    spark.sql(f"create schema if not exists `{name.split('.')[0]}`")
    if DeltaTable.isDeltaTable(spark, path):
        spark.sql(f"create table if not exists {name} using delta location {sql_text(path)}")
        return ""
    ddl = ", ".join(f"`{column}` {kind}" for column, kind in columns)
    partitioned = f"partitioned by (`{partition_by}`)" if partition_by else ""
    listed = ", ".join(f"{sql_text(k)}={sql_text(v)}" for k, v in (_PROPERTIES | properties).items())
    spark.sql(
        f"create table if not exists {name} ({ddl}) using delta {partitioned} "
        f"location {sql_text(path)} tblproperties ({listed})"
    )
    return name
