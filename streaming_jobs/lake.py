"""The lake's derived tables: where they lie, how they are made and registered.

History and quarantine are made by the streaming job; everything here can be rebuilt from them and from Kafka.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from zlib import crc32

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from contracts.errors import Fatal
from contracts.spark_types import parse_type, rescued_columns, widens
from contracts.stream import Pipeline, Stream
from streaming_jobs.delta_commit import differing_columns, types_by_name

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
    # Kafka's records: a chunk is one with many rows. NULL where an older headrace booked: as many as rows.
    ("records", "bigint"),
    # At the first range of a commit: in how many of its rows each field that the contract does not declare was kept.
    ("rescued", "map<string,bigint>"),
)
LEDGER_FILES: Columns = (
    ("stream", "string"),
    ("file_hash", "string"),
    ("accepted", "bigint"),
    ("duplicate", "bigint"),
    ("conflicting", "bigint"),
    ("quarantined", "bigint"),
    ("history_version", "bigint"),
    ("kind", "string"),
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
# How far readers see each stream of `Pipeline.cut_groups`: all rows below the version `bound`. Rewritten as a whole, in
# one commit, so that all views move at once. `last` is the greatest version below the bound that the history had then.
# `read_to` is an offset of the transactions' topic (`topic_id`), -1 while of one that was made again no END was read:
# every transaction that ended below it is whole in the lake. `next_*` is the cut that waits: all that ended below
# `next_read_to` is whole once the lake has each topic up to `next_end`; empty if nothing waits. `as_of`, `next_as_of`:
# when the topics were looked at for it.
CONSISTENT_CUT: Columns = (
    ("source", "string"),
    ("stream", "string"),
    ("bound", "bigint"),
    ("last", "bigint"),
    ("topic_id", "string"),
    ("read_to", "bigint"),
    ("as_of", "timestamp"),
    ("next_topic_id", "string"),
    ("next_read_to", "bigint"),
    ("next_stream_id", "string"),
    ("next_end", "bigint"),
    ("next_as_of", "timestamp"),
)
CUT_TABLE = "consistent_cut"
DERIVED: dict[str, Columns] = {"ledger": LEDGER, "ledger_files": LEDGER_FILES, "files_sent": FILES_SENT}

# The property of a history that keeps its natural key.
KEY = "headrace.key"
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    # `maintenance` cuts the log, not before the ledger and the state have read it.
    "delta.enableExpiredLogCleanup": "false",
}


def commits_per_checkpoint(name: str) -> int:
    """About a hundred, and of each table another number: a checkpoint takes seconds, and tables that commit equally
    often would all write theirs in one moment, in which every stream waits."""
    return 70 + crc32(name.encode()) % 60


def table_path(lake_url: str, pipeline: str, table: str) -> str:
    """The folder of a table; `lake_url` is the folder of the whole lake (`hdfs://…/lake`)."""
    return f"{lake_url.rstrip('/')}/{pipeline}/{table}"


def state_columns(stream: Stream) -> Columns:
    """One row per key, deleted keys included. `_merged` is the number of the merge that last changed the row.
    `_unavailable` names the columns whose value is not known yet: NULL unless the row is pending."""
    return (
        *((column.name, column.spark_type) for column in stream.columns),
        ("_key", "binary"),
        ("_version", "bigint"),
        ("_hash", "binary"),
        ("_deleted", "boolean"),
        ("_event_time", "timestamp"),
        ("_merged", "bigint"),
        ("_unavailable", "array<string>"),
        *rescued_columns(stream),
    )


def create_table(
    spark: SparkSession,
    name: str,
    path: str,
    columns: Columns,
    *,
    partition_by: str = "",
    skipping: Sequence[str] = (),
    key: Sequence[str] = (),
) -> bool:
    """Make an external Delta table at `path` and register it, or add the columns that it lacks and widen those that the
    declared type `widens`; True if it was made.

    May be called again at any time; a table that exists only in one of metastore and filesystem is completed.
    `skipping`: the columns with statistics per file; Delta's first 32 if there is none.
    `key`: the columns that identify a row, kept with the table.

    Raises:
        Fatal: a column exists with another type, or the table has rows under another key; nothing was changed.
    """
    spark.sql(f"create schema if not exists {name.split('.')[0]}")
    if DeltaTable.isDeltaTable(spark, path):
        spark.sql(f"create table if not exists {name} using delta location {sql_text(path)}")
        known = types_by_name(spark.table(name).schema)
        wider = _wider_columns(name, known, columns)
        if key:
            _check_key(spark, name, key)
        if wider:
            # https://docs.delta.io/latest/delta-type-widening.html: the files stay, readers widen what they read.
            spark.sql(f"alter table {name} set tblproperties ('delta.enableTypeWidening'='true')")
        for column, kind in wider:
            spark.sql(f"alter table {name} alter column `{column}` type {kind}")
        if missing := [(column, kind) for column, kind in columns if column.lower() not in known]:
            spark.sql(f"alter table {name} add columns ({ddl(missing)})")
        return False
    properties = _PROPERTIES | {"delta.checkpointInterval": str(commits_per_checkpoint(name))}
    if skipping:
        properties |= {"delta.dataSkippingStatsColumns": ",".join(skipping)}
    if key:
        properties |= {KEY: ",".join(key)}
    listed = ", ".join(f"{sql_text(property)}={sql_text(value)}" for property, value in properties.items())
    partitioned = f"partitioned by (`{partition_by}`)" if partition_by else ""
    spark.sql(
        f"create table if not exists {name} ({ddl(columns)}) using delta {partitioned} "
        f"location {sql_text(path)} tblproperties ({listed})"
    )
    return True


def _wider_columns(name: str, known: Mapping[str, str], columns: Columns) -> Columns:
    declared = types_by_name(cast(StructType, StructType.fromDDL(ddl(columns))))
    differing = differing_columns(known, declared)
    wider = [one for one in differing if widens(parse_type(known[one]), parse_type(declared[one]))]
    if others := [f"{one} is {known[one]}, declared {declared[one]}" for one in differing if one not in wider]:
        raise Fatal(
            f"{name}: a column of the lake keeps its type, or gets a wider one: {'; '.join(others)}",
            state="The table is as it was.",
            next_step="declare the old type, or give the column another name",
        )
    return [(one, declared[one]) for one in wider]


def _check_key(spark: SparkSession, name: str, key: Sequence[str]) -> None:
    properties = {row["key"]: row["value"] for row in spark.sql(f"show tblproperties {name}").collect()}
    known, declared = properties.get(KEY), ",".join(key)
    # Tables made before the key was kept have none: nothing to compare with.
    if known is None or known.lower() == declared.lower():
        return
    if not spark.table(name).isEmpty():
        raise Fatal(
            f"{name}: its rows are identified by {known}, the contract now says {declared}",
            state="The table is as it was.",
            next_step="declare the old primary key, or give the stream another name",
        )
    spark.sql(f"alter table {name} set tblproperties ({sql_text(KEY)}={sql_text(declared)})")


def create_derived(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> None:
    """Make the ledger, the files tables and each CDC stream's state table. May be called again at any time."""
    schema = f"{pipeline.name}_lake"
    for table, columns in DERIVED.items():
        create_table(spark, f"{schema}.{table}", table_path(lake_url, pipeline.name, table), columns)
    if pipeline.cut_groups:
        create_table(spark, f"{schema}.{CUT_TABLE}", table_path(lake_url, pipeline.name, CUT_TABLE), CONSISTENT_CUT)
    for stream in pipeline.cdc_streams:
        table = f"{stream.name}_state"
        path = table_path(lake_url, pipeline.name, table)
        create_table(spark, f"{schema}.{table}", path, state_columns(stream), skipping=("_version", "_merged"))


def ddl(columns: Columns) -> str:
    """The columns in Spark's DDL (`` `a` int, `b` string ``), every one nullable: rules refuse, not the writer."""
    return ", ".join(f"`{column}` {kind}" for column, kind in columns)


# Per process: the text each view was last given.
_issued: dict[str, str] = {}


def issue_view(spark: SparkSession, name: str, query: str, *, again: bool = False) -> None:
    """Make a view, or give it another text in one step.

    `create or replace view` drops the view first: a reader meets a moment without it [seen]. A text that this
    process gave before is not given `again` unless it must be, as after a change of types. May be called at any time.
    """
    if not spark.catalog.tableExists(name):
        spark.sql(f"create view if not exists {name} as {query}")
    elif again or _issued.get(name) != query:
        spark.sql(f"alter view {name} as {query}")
    _issued[name] = query


def sql_text(value: str) -> str:
    """A value as a Spark SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def sql_time(value: datetime) -> str:
    """An aware time as a Spark SQL timestamp literal."""
    return f"timestamp '{value.isoformat()}'"
