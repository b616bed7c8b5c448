"""Every table of a pipeline, made where it is missing."""

from __future__ import annotations

from pyspark.sql import SparkSession

from headrace.app import App
from streaming_jobs.lake import create_derived
from streaming_jobs.tables import create_history_tables
from warehouse_sql.merge import create_tables


def lake_url(app: App) -> str:
    """The folder of all lakes."""
    return f"{app.endpoints.hdfs_url}/lake"


def create_all_tables(app: App, spark: SparkSession) -> None:
    """Lake and star schema, in Delta and in Postgres. May be called at any time; nothing that exists is changed
    except that columns are added."""
    create_history_tables(spark, app.pipeline, lake_url(app))
    create_derived(spark, app.pipeline, lake_url(app))
    create_tables(spark, app.pipeline, app.endpoints)
