"""One round of merges: the lake's news into the star schema, in every target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Literal

from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.stream import Pipeline
from warehouse_sql import declaration, parquet
from warehouse_sql.declaration import Table, Warehouse
from warehouse_sql.delta_target import DeltaTarget, create_delta_tables
from warehouse_sql.postgres_target import PostgresTarget, create_postgres_tables
from warehouse_sql.reading import FactPlan, WholeUnits, whole_units
from warehouse_sql.report import MergeReport, TableReport

TargetName = Literal["delta", "postgres"]
Target = DeltaTarget | PostgresTarget
TARGETS: tuple[TargetName, ...] = ("postgres", "delta")
Progress = Callable[[int, int], None]
"""Tables tried so far and in all, of all targets."""

# Per process: dimensions without a member to forget since what refers to them was last written; a killed process, or
# one that failed in between, has left some.
_members_seen: set[tuple[str, TargetName, str]] = set()


def warehouse_url(endpoints: Endpoints) -> str:
    """The folder of the star schema's Delta and Parquet tables, one folder per pipeline in it."""
    return f"{endpoints.hdfs_url.rstrip('/')}/warehouse"


def create_tables(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    targets: Sequence[TargetName] = TARGETS,
    url: str | None = None,
) -> None:
    """Make what is missing in the targets. Safe to repeat; `url` overrides `warehouse_url`."""
    warehouse = declaration.load(pipeline)
    if "delta" in targets:
        folder = url or warehouse_url(endpoints)
        create_delta_tables(spark, warehouse, folder)
        target = DeltaTarget(spark, pipeline, warehouse)
        for consolidated in warehouse.parquet:
            parquet.create(target, consolidated, folder)
    if "postgres" in targets:
        create_postgres_tables(endpoints.warehouse, warehouse)


def merge_round(
    spark: SparkSession,
    pipeline: Pipeline,
    endpoints: Endpoints,
    targets: Sequence[TargetName] = TARGETS,
    now: datetime | None = None,
    url: str | None = None,
    progress: Progress = lambda *_: None,
) -> MergeReport:
    """Bring every target up to what the lake holds now; the targets work at once, each from its own positions.

    May be called again at any time, also after a kill anywhere: nothing is doubled or lost. Needs `create_tables`
    before. A table that fails is in the report with its error and stays as it was; the others go on.
    `now` stands in the report. `progress` is called from each target's thread.
    """
    warehouse = declaration.load(pipeline)
    folder = url or warehouse_url(endpoints)
    in_all = len(targets) * len(warehouse.tables) + ("delta" in targets) * len(warehouse.parquet)
    tried: set[tuple[str, str]] = set()

    def told(report: TableReport) -> None:
        tried.add((report.target, report.table))
        progress(len(tried), in_all)

    progress(0, in_all)
    with ThreadPoolExecutor(max_workers=len(targets) + 1, thread_name_prefix="merge") as pool:
        # Before any fact is read: a unit's recorded revision is never newer than its rows.
        whole = pool.submit(whole_units, spark, pipeline)
        rounds = [
            pool.submit(_round, spark, pipeline, warehouse, endpoints, name, folder, whole, told) for name in targets
        ]
        return MergeReport(tuple(report for done in rounds for report in done.result()), now)


def _round(
    spark: SparkSession,
    pipeline: Pipeline,
    warehouse: Warehouse,
    endpoints: Endpoints,
    name: TargetName,
    folder: str,
    whole: Future[WholeUnits],
    told: Callable[[TableReport], None],
) -> list[TableReport]:
    target: Target
    if name == "delta":
        target = DeltaTarget(spark, pipeline, warehouse)
    else:
        target = PostgresTarget(spark, pipeline, warehouse, endpoints.warehouse)
    reports: list[TableReport] = []

    def note(*found: TableReport) -> None:
        reports.extend(found)
        for report in found:
            told(report)

    def attempt(table: str, work: Callable[[], TableReport]) -> TableReport:
        try:
            report = work()
        except Exception as error:  # the other tables must go on; the report carries it, `check` raises it
            report = TableReport(table, name, error=error)
        note(report)
        return report

    together: list[list[Table]] = []
    if isinstance(target, PostgresTarget):
        # Several tables of Delta cannot commit together.
        groups = [{stream.name for stream in streams} for streams in pipeline.cut_groups.values()]
        together = [[table for table in warehouse.dimensions if table.stream in names] for names in groups]
        for tables in filter(None, together):
            try:
                note(*target.merge_dimensions(tables))
            except Exception as error:
                note(*(TableReport(table.name, name, error=error) for table in tables))
    merged = {table.name for tables in together for table in tables}
    for table in warehouse.dimensions:
        if table.name not in merged:
            attempt(table.name, lambda table=table: target.merge_dimension(table))  # type: ignore[misc]
    plans: dict[str, FactPlan] = {}
    days = set[int]()
    for table in warehouse.facts:
        try:
            plan = target.plan_fact(table, whole.result())
            if plan is None or plan.is_empty:
                note(TableReport.skip(table.name, name, plan is None, None))
            else:
                days.update(plan.date_keys)
                plans[table.name] = plan
        except Exception as error:
            note(TableReport(table.name, name, error=error))
    for table in warehouse.tables:
        if table.kind == "generated":
            done = attempt(table.name, lambda table=table: target.merge_generated(table, tuple(sorted(days))))  # type: ignore[misc]
            if done.error:
                # Facts would name days that have no row.
                plans.clear()
    for table in warehouse.facts:
        if table.name in plans:
            attempt(table.name, lambda table=table: target.restate_fact(table, plans[table.name]))  # type: ignore[misc]
    tried = {report.table for report in reports if not report.skipped}
    for table in warehouse.dimensions:
        place = (folder, name, table.name)
        if tried & {*warehouse.referring(table.name)}:
            _members_seen.discard(place)
        if place not in _members_seen:
            done = attempt(table.name, lambda table=table: target.forget_members(table))  # type: ignore[misc]
            if not done.error:
                _members_seen.add(place)
    if isinstance(target, DeltaTarget):
        # A date whose file became empty wrote no row, and yet its partition has to go.
        changed = any(not report.skipped and not report.error for report in reports)
        for consolidated in warehouse.parquet:
            attempt(
                consolidated.name,
                lambda consolidated=consolidated: parquet.rewrite(target, consolidated, folder, changed),  # type: ignore[misc]
            )
    return reports
