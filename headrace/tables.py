"""Every table of a pipeline, made where it is missing."""

from __future__ import annotations

from pyspark.sql import SparkSession

from contracts.errors import Conflict, LeaseHeld
from headrace.app import App
from headrace.lease import Lease
from streaming_jobs import tables as lake_tables
from streaming_jobs.lake import create_derived
from streaming_jobs.state import create_views
from warehouse_sql import merge as warehouse

# Not longer, for who waits streams nothing and hears no signal.
WAIT_FOR_TABLES_S = 60.0


def lake_url(app: App) -> str:
    """The folder of all lakes."""
    return f"{app.endpoints.hdfs_url}/lake"


def create_all_tables(app: App, spark: SparkSession, command: str) -> None:
    """Lake and star schema, in Delta and in Postgres. May be called at any time; nothing that exists is changed
    except that columns are added or get a wider type. `command` is the caller's name, for another one that has to wait.

    Raises:
        Conflict: another process makes the tables of this pipeline and did not end in `WAIT_FOR_TABLES_S`.
    """
    # Delta, the metastore and Postgres each refuse the second of two that make one table: `apply` beside a `run` that
    # takes up the same contract.
    lease = Lease(app.endpoints.warehouse, f"{app.pipeline.name} tables", command, wait_s=WAIT_FOR_TABLES_S)
    try:
        with lease:
            lake_tables.create_tables(spark, app.pipeline, lake_url(app))
            create_derived(spark, app.pipeline, lake_url(app))
            create_views(spark, app.pipeline, lake_url(app))
            warehouse.create_tables(spark, app.pipeline, app.endpoints)
    except LeaseHeld as held:
        raise Conflict(
            f"the tables are being made elsewhere: {held.what}", state="No table was made.", next_step="repeat it"
        ) from held
