"""The star schema in Delta.

**Position.** Each write carries Delta's own transaction id, so data and position are one commit: for a dimension the
number of the last state merge it holds, for a fact the number of its restatement (unique and rising: the clock's
microseconds). Which units a restatement brings to which revision is announced in `merge_positions` *before* it, under
that number: rows above the fact's own number belong to a write that never happened and count for nothing. Delta skips
a number below one it has seen. So whatever two merges at once do, a unit's recorded revision is never newer than its
rows: at worst a date is restated once more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.errors import Conflict
from contracts.failpoints import failpoint
from contracts.stream import Pipeline
from warehouse_sql import reading
from warehouse_sql.declaration import Table, Warehouse
from warehouse_sql.report import TableReport

APP_ID = "headrace-merge"
POSITIONS = "merge_positions"
_TXN = ("spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion")


def create_delta_tables(spark: SparkSession, warehouse: Warehouse, warehouse_url: str) -> None:
    """Make the schema and every table that is missing; registers tables that exist only as files. Safe to repeat."""
    name = warehouse.pipeline
    spark.sql(f"create database if not exists {name} location '{warehouse_url.rstrip('/')}/{name}'")
    session = _session(spark, name)
    for known in (*(table.name for table in warehouse.tables), POSITIONS):
        # Delta makes no table of its own where files are: what a lost metastore knew is registered by its place.
        location = f"{warehouse_url.rstrip('/')}/{name}/{known}"
        if not session.catalog.tableExists(known) and DeltaTable.isDeltaTable(session, location):
            session.sql(f"create table if not exists {known} using delta location '{location}'")
    for table in warehouse.tables:
        for statement in warehouse.sql("delta", "ddl", table.name):
            session.sql(statement)
    session.sql(
        f"create table if not exists {POSITIONS} "
        "(target_table string not null, unit string not null, revision bigint not null, round bigint not null) "
        "using delta partitioned by (target_table) tblproperties ('delta.enableDeletionVectors' = 'false')"
    )


class DeltaTarget:
    """Merges into `<pipeline>`'s Delta tables. One at a time per instance; it works in a session of its own."""

    name = "delta"

    def __init__(self, spark: SparkSession, pipeline: Pipeline, warehouse: Warehouse) -> None:
        self.pipeline = pipeline
        self.warehouse = warehouse
        self.spark = _session(spark, pipeline.name)
        self._locations: dict[str, str] = {}

    def position(self, table: str) -> int:
        """The number of the last merge or restatement that `table` holds; 0 for none."""
        jvm: Any = self.spark._jvm
        # The log's transaction ids have no public reader in Delta 4; two calls, tested against the pinned version.
        log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(self.spark._jsparkSession, self._location(table))
        none = getattr(getattr(jvm.scala, "None$"), "MODULE$")
        found = log.update(False, none, none).transactions().get(APP_ID)
        return int(found.get()) if found.isDefined() else 0

    def _location(self, table: str) -> str:
        if table not in self._locations:
            detail = self.spark.sql(f"describe detail {table}").first()
            assert detail is not None
            self._locations[table] = detail["location"]
        return self._locations[table]

    def revisions(self, table: str) -> dict[str, int]:
        """What each unit's rows in a fact come from, see `reading.held_number`."""
        rows = self._valid_positions(table, self.position(table)).collect()
        return {row["unit"]: row["revision"] for row in rows}

    def merge_dimension(self, table: Table) -> TableReport:
        """Merge what is new in the dimension's stream. Safe twice and in any order."""
        started = time.monotonic()
        before = self.position(table.name)
        stream = self.pipeline.stream(table.stream)
        plan = reading.plan_dimension(self.spark, stream, before)
        if plan is None or plan.is_empty:
            return TableReport.skip(table.name, self.name, plan is None, before)
        rows_to_merge = reading.dimension_rows(self.spark, self.warehouse, table, stream, plan)
        rows_to_merge.createOrReplaceTempView(table.staging)
        self._infer(table)
        failpoint("before_merge_commit")
        with self._transaction(plan.after):
            rows = self._affected(self.warehouse.sql("delta", "merge", table.name)[0])
        failpoint("after_merge_commit")
        return TableReport(table.name, self.name, rows, time.monotonic() - started, str(before), str(plan.after))

    def plan_fact(self, table: Table, whole: reading.WholeUnits) -> reading.FactPlan | None:
        """What of a fact is to be restated, given what is whole in the lake."""
        return reading.plan_fact(self.spark, self.pipeline.stream(table.stream), whole, self.revisions(table.name))

    def merge_generated(self, table: Table, date_keys: tuple[int, ...]) -> TableReport:
        """Insert the days that are missing. Safe twice."""
        started = time.monotonic()
        if not date_keys:
            return TableReport.skip(table.name, self.name, False, 0)
        days = reading.generated_rows(self.spark, self.warehouse, table, date_keys)
        days.createOrReplaceTempView(table.staging)
        rows = self._affected(self.warehouse.sql("delta", "merge", table.name)[0])
        return TableReport(table.name, self.name, rows, time.monotonic() - started, "", "")

    def restate_fact(self, table: Table, plan: reading.FactPlan) -> TableReport:
        """Replace the plan's dates in one commit.

        Raises:
            Conflict: another merge restated the table meanwhile; it may have to be restated again.
        """
        started = time.monotonic()
        before = self.position(table.name)
        staged = reading.fact_rows(self.spark, self.warehouse, self.pipeline, table, plan).persist()
        try:
            staged.createOrReplaceTempView(table.staging)
            rows = staged.count()
            self._infer(table)
            # Not before the rows are staged, which may take long: with a number below that of a merge that was written
            # meanwhile, the announcement would count and the write would be skipped.
            number = max(before + 1, time.time_ns() // 1000)
            self._announce(table.name, plan, before, number)
            dates = ", ".join(str(key) for key in plan.date_keys)
            statement = self.warehouse.sql("delta", "replace", table.name)[0].replace(":date_keys", dates)
            failpoint("before_merge_commit")
            with self._transaction(number):
                self.spark.sql(statement)
            self._check_written(table.name, number)
            failpoint("after_merge_commit")
        finally:
            staged.unpersist()
        return TableReport(
            table.name, self.name, rows, time.monotonic() - started, str(before), str(number), plan.date_keys
        )

    def forget_members(self, dimension: Table) -> TableReport:
        """Delete the inferred members that no row names any more. Safe twice.

        Which members a target met on its way depends on when it looked; which are left must not. Reads the key columns
        of what refers to the dimension, if it has inferred members at all.
        """
        started = time.monotonic()
        key = dimension.key
        members = self.spark.table(dimension.name).where(F.col(dimension.inferred)).select(key)
        if members.isEmpty():
            return TableReport.skip(dimension.name, self.name, False, None)
        for other, columns in self.warehouse.referring(dimension.name).items():
            for column in columns:
                named = self.spark.table(other).select(F.col(column).alias(key))
                members = members.join(named, key, "left_anti")
        if members.isEmpty():
            return TableReport.skip(dimension.name, self.name, False, None)
        target = DeltaTable.forName(self.spark, dimension.name).alias("t")
        same = f"t.`{key}` = s.`{key}` and t.`{dimension.inferred}`"
        done = target.merge(members.alias("s"), same).whenMatchedDelete().execute().first()
        rows = int(done["num_affected_rows"]) if done is not None else 0
        return TableReport(dimension.name, self.name, rows, time.monotonic() - started)

    def restatements(self, table: str) -> dict[str, int]:
        """The number of the restatement that last wrote each unit of a fact."""
        rows = self._valid_positions(table, self.position(table)).collect()
        return {row["unit"]: row["round"] for row in rows}

    def _valid_positions(self, table: str, position: int) -> Any:
        rows = self.spark.table(POSITIONS).where((F.col("target_table") == table) & (F.col("round") <= position))
        return rows.groupBy("unit").agg(F.max_by("revision", "round").alias("revision"), F.max("round").alias("round"))

    def _announce(self, table: str, plan: reading.FactPlan, position: int, number: int) -> None:
        """Write what this restatement will hold, and drop what others announced and never wrote."""
        held = {
            row["unit"]: (row["revision"], row["round"]) for row in self._valid_positions(table, position).collect()
        }
        rows = [(table, unit, revision, written) for unit, (revision, written) in held.items()]
        for unit in plan.units:
            revision = plan.revisions.get(unit, held.get(unit, (-1, 0))[0])
            rows.append((table, unit, revision, number))
        schema = "target_table string, unit string, revision bigint, round bigint"
        frame = self.spark.createDataFrame(rows, schema).coalesce(1)
        frame.write.format("delta").mode("overwrite").option("replaceWhere", f"target_table = '{table}'").saveAsTable(
            POSITIONS
        )

    def _check_written(self, table: str, number: int) -> None:
        if self.position(table) == number:
            return
        raise Conflict(
            "another merge restated the table at the same time",
            table=f"{self.pipeline.name}.{table}",
            state="What each date holds is recorded; nothing is lost or doubled.",
            next_step="run the merge again; let one process own the merges of a pipeline",
        )

    def _infer(self, table: Table) -> None:
        staged = self.spark.table(table.staging)
        for column, target in table.references.items():
            dimension = self.warehouse.table(target)
            if dimension.kind != "dimension":
                continue
            known = self.spark.table(dimension.name).select(dimension.key)
            missing = reading.members(staged, column, dimension).join(known, dimension.key, "left_anti")
            if missing.isEmpty():
                continue
            missing.createOrReplaceTempView("members")
            self.spark.sql(self.warehouse.sql("delta", "infer", dimension.name)[0])

    def _affected(self, statement: str) -> int:
        done = self.spark.sql(statement).first()
        return int(done["num_affected_rows"]) if done is not None else 0

    @contextmanager
    def _transaction(self, version: int) -> Iterator[None]:
        """Every Delta write inside carries this transaction id; one with an id not above the table's is skipped."""
        values: Mapping[str, str] = {_TXN[0]: APP_ID, _TXN[1]: str(version)}
        for key, value in values.items():
            self.spark.conf.set(key, value)
        try:
            yield
        finally:
            for key in values:
                self.spark.conf.unset(key)


def _session(spark: SparkSession, database: str) -> SparkSession:
    session = spark.newSession()
    session.sql(f"use {database}")
    return session
