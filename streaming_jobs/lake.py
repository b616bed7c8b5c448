"""The lake's derived tables: where they lie, how they are made and registered.

History and quarantine are made by the streaming job; everything here can be rebuilt from them and from Kafka.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pyspark.sql import SparkSession

from contracts.stream import Pipeline, Stream

Columns = Sequence[tuple[str, str]]

LEDGER: Columns = (
    ("stream", "string"),
    ("kind", "string"),
    ("run", "string"),
    ("topic", "string"),
    ("topic_id", "string"),
    ("partition", "int"),
    ("first_offset", "bigint"),
    ("last_offset", "bigint"),
    ("rows", "bigint"),
    ("accepted", "bigint"),
    ("duplicate", "bigint"),
    ("conflicting", "bigint"),
    ("quarantined", "bigint"),
    ("no_row", "bigint"),
    ("gap", "bigint"),
    ("aborted", "bigint"),
    ("control", "bigint"),
    ("proven_at", "timestamp"),
    ("history_version", "bigint"),
    ("committed_at", "timestamp"),
)
LEDGER_FILES: Columns = (
    ("stream", "string"),
    ("file_hash", "string"),
    ("accepted", "bigint"),
    ("duplicate", "bigint"),
    ("conflicting", "bigint"),
    ("quarantined", "bigint"),
    ("history_version", "bigint"),
)
FILES_SENT: Columns = (
    ("stream", "string"),
    ("file_hash", "string"),
    ("file", "string"),
    ("unit", "string"),
    ("rows", "bigint"),
    ("revision", "bigint"),
    ("state", "string"),
    ("reason", "string"),
    ("sent_at", "timestamp"),
)
DERIVED: dict[str, Columns] = {"ledger": LEDGER, "ledger_files": LEDGER_FILES, "files_sent": FILES_SENT}

_PROPERTIES = (
    "'delta.enableDeletionVectors'='false', 'delta.checkpointInterval'='100', "
    "'delta.logRetentionDuration'='interval 30 days'"
)


def table_path(lake_url: str, pipeline: str, table: str) -> str:
    """The folder of a table; `lake_url` is the folder of the whole lake (`hdfs://…/lake`)."""
    return f"{lake_url.rstrip('/')}/{pipeline}/{table}"


def state_columns(stream: Stream) -> Columns:
    """One row per key, deleted keys included. `_merged` is the number of the merge that last changed the row."""
    return (
        *((column.name, column.spark_type) for column in stream.columns),
        ("_key", "binary"),
        ("_version", "bigint"),
        ("_hash", "binary"),
        ("_deleted", "boolean"),
        ("_event_time", "timestamp"),
        ("_merged", "bigint"),
    )


def create_table(spark: SparkSession, name: str, path: str, columns: Columns, properties: str = _PROPERTIES) -> None:
    """Make an external Delta table at `path` and register it; add columns that an older one lacks.

    May be called again at any time; a table that exists only in one of metastore and filesystem is completed.
    """
    schema = name.split(".")[0]
    spark.sql(f"create schema if not exists {schema}")
    ddl = ", ".join(f"`{column}` {kind}" for column, kind in columns)
    if _is_delta(spark, path):
        spark.sql(f"create table if not exists {name} using delta location '{path}'")
        known = {column.lower() for column in spark.table(name).columns}
        missing = ", ".join(f"`{column}` {kind}" for column, kind in columns if column.lower() not in known)
        if missing:
            spark.sql(f"alter table {name} add columns ({missing})")
    else:
        spark.sql(
            f"create table if not exists {name} ({ddl}) using delta location '{path}' tblproperties ({properties})"
        )


def create_derived(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> None:
    """Make the ledger, the files tables and each CDC stream's state table. May be called again at any time."""
    schema = f"{pipeline.name}_lake"
    for table, columns in DERIVED.items():
        create_table(spark, f"{schema}.{table}", table_path(lake_url, pipeline.name, table), columns)
    for stream in pipeline.cdc_streams:
        table = f"{stream.name}_state"
        properties = _PROPERTIES + ", 'delta.dataSkippingStatsColumns'='_version,_merged'"
        create_table(
            spark,
            f"{schema}.{table}",
            table_path(lake_url, pipeline.name, table),
            state_columns(stream),
            properties,
        )


# Per process: the text each view was last given.
_issued: dict[str, str] = {}


def issue_view(spark: SparkSession, name: str, query: str) -> None:
    """Make a view, or give it another text in one step.

    `create or replace view` drops the view first: a reader meets a moment without it [seen]. A text that this
    process gave before is not given again. May be called at any time.
    """
    if not spark.catalog.tableExists(name):
        spark.sql(f"create view if not exists {name} as {query}")
    elif _issued.get(name) != query:
        spark.sql(f"alter view {name} as {query}")
    _issued[name] = query


def _is_delta(spark: SparkSession, path: str) -> bool:
    from delta.tables import DeltaTable

    return bool(DeltaTable.isDeltaTable(spark, path))


def sql_text(value: str) -> str:
    """A value as a Spark SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def sql_time(value: datetime) -> str:
    """An aware time as a Spark SQL timestamp literal."""
    return f"timestamp '{value.isoformat()}'"
