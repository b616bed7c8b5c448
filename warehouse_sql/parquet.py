"""Consolidated tables as partitioned Parquet with an external Hive table, for readers that do not know Delta.

A partition is rewritten when one of its facts was restated, or when a row it could not match has its dimension now.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from pyspark.sql import functions as F

from warehouse_sql.declaration import FACT_DATE, ParquetTable
from warehouse_sql.delta_target import POSITIONS, DeltaTarget
from warehouse_sql.reading import date_key
from warehouse_sql.report import TableReport
from warehouse_sql.sql_files import one_statement

_HIVE_READABLE = {
    # Only the partitions at hand are replaced.
    "spark.sql.sources.partitionOverwriteMode": "dynamic",
    # Plain Hive reads decimals and times in this form alone.
    "spark.sql.parquet.writeLegacyFormat": "true",
    "spark.sql.parquet.outputTimestampType": "INT96",
}

# Per process: tables whose unmatched rows were looked at since the last change; a killed process may have left some.
_looked_for: set[str] = set()


def create(target: DeltaTarget, table: ParquetTable, url: str) -> None:
    """Make the table, or register the files of one that the metastore lost. Safe to repeat; its facts exist."""
    _create(target, table.name, _query(target, table), _location(target, table, url))


def _query(target: DeltaTarget, table: ParquetTable) -> str:
    return one_statement(target.warehouse.folder / "parquet" / f"{table.name}.sql")


def _location(target: DeltaTarget, table: ParquetTable, url: str) -> str:
    return f"{url.rstrip('/')}/{target.pipeline.name}/{table.name}"


def rewrite(target: DeltaTarget, table: ParquetTable, url: str, changed: bool) -> TableReport:
    """Write the partitions that changed since this table's own position. Safe twice; a kill leaves work for the next.

    `changed`: something of the star schema was written just now; only then, and the first time in a process, rows are
    looked for that can be matched by now. A partition is replaced as a whole, but a reader may meet it in between:
    Parquet has no transactions.
    """
    started = time.monotonic()
    spark = target.spark
    location, query = _location(target, table, url), _query(target, table)
    if changed:
        _looked_for.discard(location)
    create(target, table, url)
    news = _restated(target, table)
    days = {date_key(unit) for unit in news}
    if location not in _looked_for:
        days |= _completed(target, table.name)
    if not days:
        _looked_for.add(location)
        return TableReport.skip(table.name, "parquet", False, None)
    for name, value in _HIVE_READABLE.items():
        spark.conf.set(name, value)
    rows = spark.sql(_bound(query, days)).persist()
    try:
        written = {row[FACT_DATE]: row["count"] for row in rows.groupBy(FACT_DATE).count().collect()}
        columns = [column for column in rows.columns if column != FACT_DATE]
        rows.select(*columns, FACT_DATE).repartition(FACT_DATE).write.insertInto(table.name, overwrite=True)
    finally:
        rows.unpersist()
    spark.catalog.refreshTable(table.name)
    _empty(target, table.name, location, days - set(written))
    _record(target, table.name, news)
    _looked_for.add(location)
    total = sum(written.values())
    return TableReport(table.name, "parquet", total, time.monotonic() - started, date_keys=tuple(sorted(days)))


def _bound(query: str, days: Iterable[int]) -> str:
    return query.replace(":date_keys", ", ".join(str(day) for day in sorted(days)))


def _create(target: DeltaTarget, name: str, query: str, location: str) -> None:
    if target.spark.catalog.tableExists(name):
        return
    fields = target.spark.sql(_bound(query, [0])).schema.fields
    columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in fields)
    target.spark.sql(
        f"create table if not exists {name} ({columns}) using parquet partitioned by ({FACT_DATE}) "
        f"location '{location}'"
    )
    path, filesystem = _filesystem(target, location)
    filesystem.mkdirs(path)
    # The files may be older than the metastore.
    target.spark.sql(f"msck repair table {name}")


def _restated(target: DeltaTarget, table: ParquetTable) -> dict[str, int]:
    """Per unit that moved: the sum of its restatements' numbers, which rises whenever one of the facts is restated."""
    now: dict[str, int] = {}
    for fact in table.inputs:
        for unit, number in target.restatements(fact).items():
            now[unit] = now.get(unit, 0) + number
    rows = target.spark.table(POSITIONS).where(F.col("target_table") == table.name).collect()
    held = {row["unit"]: row["revision"] for row in rows}
    return {unit: number for unit, number in now.items() if held.get(unit) != number}


def _completed(target: DeltaTarget, name: str) -> set[int]:
    path = target.warehouse.folder / "parquet" / "incomplete" / f"{name}.sql"
    if not path.is_file():
        return set()
    return {row[0] for row in target.spark.sql(one_statement(path)).collect()}


def _empty(target: DeltaTarget, name: str, location: str, days: set[int]) -> None:
    """Drop the partitions that have no row any more: a dynamic overwrite leaves them as they were."""
    if not days:
        return
    for day in days:
        target.spark.sql(f"alter table {name} drop if exists partition ({FACT_DATE} = {day})")
        path, filesystem = _filesystem(target, f"{location}/{FACT_DATE}={day}")
        filesystem.delete(path, True)


def _filesystem(target: DeltaTarget, location: str) -> tuple[Any, Any]:
    jvm: Any = target.spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(location)
    return path, path.getFileSystem(target.spark._jsparkSession.sessionState().newHadoopConf())


def _record(target: DeltaTarget, name: str, news: dict[str, int]) -> None:
    if not news:
        return
    held = target.spark.table(POSITIONS).where((F.col("target_table") == name) & ~F.col("unit").isin(list(news)))
    rows = [(name, unit, number, 0) for unit, number in news.items()]
    rows += [(name, row["unit"], row["revision"], 0) for row in held.collect()]
    schema = "target_table string, unit string, revision bigint, round bigint"
    frame = target.spark.createDataFrame(rows, schema).coalesce(1)
    frame.write.format("delta").mode("overwrite").option("replaceWhere", f"target_table = '{name}'").saveAsTable(
        POSITIONS
    )
