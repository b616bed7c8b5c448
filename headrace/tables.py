"""Every table of a pipeline, made where it is missing."""

from __future__ import annotations

from pyspark.sql import SparkSession

from headrace.app import App
from streaming_jobs import tables as lake_tables
from streaming_jobs.lake import create_derived
from streaming_jobs.state import create_views
from warehouse_sql import merge as warehouse


def lake_url(app: App) -> str:
    """The folder of all lakes."""
    return f"{app.endpoints.hdfs_url}/lake"


def create_all_tables(app: App, spark: SparkSession) -> None:
    """Lake and star schema, in Delta and in Postgres. May be called at any time; nothing that exists is changed
    except that columns are added."""
    lake_tables.create_tables(spark, app.pipeline, lake_url(app))
    create_derived(spark, app.pipeline, lake_url(app))
    create_views(spark, app.pipeline)
    warehouse.create_tables(spark, app.pipeline, app.endpoints)
