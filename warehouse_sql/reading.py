"""What is new in the lake for one table of the star schema, and the rows to merge. Reads only; writes nothing.

Temporary views are made in the session that is passed in: each target has its own (`newSession`), so that two of
them may work at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.current import current_of_files
from contracts.errors import ContractError
from contracts.stream import Pipeline, Stream
from warehouse_sql.declaration import Table, Warehouse

# Above this many keys a broadcast costs more than the shuffle it saves.
BROADCAST_KEYS = 2_000_000

WholeUnits = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class DimensionPlan:
    """The rows of `<stream>_state` that merges number (`_merged`) above `before` up to `after` have changed."""

    before: int
    after: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing new."""
        return self.after <= self.before


@dataclass(frozen=True, slots=True)
class FactPlan:
    """`revisions`: what each unit's rows come from now (`held_number`), where that is not what the target holds.

    `units` are to be restated: those, and the units that share event keys with them, whose winners may have changed.
    `rivals` share event keys with `units` and are read to know the winners.
    """

    revisions: Mapping[str, int]
    units: tuple[str, ...]
    rivals: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing new."""
        return not self.units

    @property
    def date_keys(self) -> tuple[int, ...]:
        """The units as yyyymmdd."""
        return tuple(date_key(unit) for unit in self.units)


def date_key(unit: str) -> int:
    """An ISO date as the number yyyymmdd; ContractError for anything else."""
    try:
        return int(date.fromisoformat(unit).strftime("%Y%m%d"))
    except ValueError as error:
        raise ContractError(
            f"unit {unit!r} is no ISO date, so it has no date_key",
            file="tables.yaml",
            write="a stream whose unit is written yyyy-mm-dd",
        ) from error


def plan_dimension(spark: SparkSession, stream: Stream, before: int) -> DimensionPlan | None:
    """What is new past `before`; None if the stream has no state table yet. Answered from file statistics."""
    name = f"{stream.history}_state"
    if not spark.catalog.tableExists(name):
        return None
    newest = spark.table(name).agg(F.max("_merged")).first()
    return DimensionPlan(before, newest[0] if newest and newest[0] is not None else before)


def whole_units(spark: SparkSession, pipeline: Pipeline) -> WholeUnits:
    """Each unit whose newest file the ledger calls whole, with its `held_number`, by stream.

    The number changes with a newer file, and with a replay that added rows of the file. A stream without history is
    absent: no file of it was ever read.
    """
    files = f"{pipeline.name}_lake.files"
    known = [stream for stream in pipeline.file_streams if spark.catalog.tableExists(stream.history)]
    if not known or not spark.catalog.tableExists(files):
        return {}
    units: dict[str, dict[str, int]] = {stream.name: {} for stream in known}
    whole = spark.table(files).where(F.col("complete") & F.col("newest") & F.col("stream").isin(list(units)))
    for row in whole.select("stream", "unit", "revision", "replayed").collect():
        units[row["stream"]][row["unit"]] = held_number(row["revision"], row["replayed"])
    return units


def plan_fact(spark: SparkSession, stream: Stream, whole: WholeUnits, applied: Mapping[str, int]) -> FactPlan | None:
    """The units to restate, given the `held_number` that the target has of each; None if no file was ever sent."""
    revisions = whole.get(stream.name)
    if revisions is None:
        return None
    changed = {unit: revision for unit, revision in revisions.items() if applied.get(unit) != revision}
    if not changed:
        return FactPlan({}, ())
    everything = set(revisions)
    units = {*changed, *_units_sharing_keys(spark, stream, changed, everything)}
    # Without a sharing unit there is none that could share with it.
    rivals = _units_sharing_keys(spark, stream, units, everything) if units != set(changed) else set()
    return FactPlan(changed, tuple(sorted(units)), tuple(sorted(rivals)))


def held_number(revision: int, replayed: int) -> int:
    """One number for what a unit's rows come from: the `revision` of its file and the history version of the last
    replay that added rows of it (0: none). Good for nothing but equality.

    The revision itself without a replay. Otherwise below -1, so that it is neither a revision nor what the Delta target
    writes for "not known": 62 bits of a digest of both. The version alone would not do, as one replay may add rows to
    several files of a unit.
    """
    if replayed == 0:
        return revision
    digest = hashlib.blake2b(f"{revision} {replayed}".encode(), digest_size=8).digest()
    return -2 - (int.from_bytes(digest) >> 2)


def _units_sharing_keys(spark: SparkSession, stream: Stream, some: Iterable[str], among: set[str]) -> set[str]:
    """Units of `among`, outside `some`, with an event key that any revision of a unit of `some` has.

    Any revision: a row that a correction takes away gives its key back to the unit where it was the loser. Reads the
    keys of the whole history, unless the unit is part of the key.
    """
    unit, some = stream.file_source.unit, set(some)
    if unit in stream.key or some >= among:
        return set()
    history = spark.table(stream.history)
    inside = F.col(unit).isin([date.fromisoformat(one) for one in some])
    keys = history.where(inside).select("_key").distinct()
    if keys.count() <= BROADCAST_KEYS:
        keys = F.broadcast(keys)
    rows = history.where(~inside).select("_key", unit).join(keys, "_key", "left_semi").select(unit).distinct()
    return {row[0].isoformat() for row in rows.collect()} & among


def dimension_rows(
    spark: SparkSession, warehouse: Warehouse, table: Table, stream: Stream, plan: DimensionPlan
) -> DataFrame:
    """The rows to merge into a dimension. A pending one waits: what makes it whole raises its `_merged` again."""
    state = spark.table(f"{stream.history}_state").where("_unavailable is null")
    state.where((F.col("_merged") > plan.before) & (F.col("_merged") <= plan.after)).createOrReplaceTempView("changes")
    return spark.sql(warehouse.source(table.name))


def fact_rows(spark: SparkSession, warehouse: Warehouse, pipeline: Pipeline, table: Table, plan: FactPlan) -> DataFrame:
    """The rows that the plan's dates have now."""
    stream = pipeline.stream(table.stream)
    for view in warehouse.views:
        spark.sql(warehouse.source(view)).createOrReplaceTempView(view)
    current = spark.sql(current_of_files(stream, {*plan.units, *plan.rivals}))
    days = [date.fromisoformat(unit) for unit in plan.units]
    current.where(F.col(stream.file_source.unit).isin(days)).createOrReplaceTempView("rows")
    return spark.sql(warehouse.source(table.name))


def generated_rows(spark: SparkSession, warehouse: Warehouse, table: Table, date_keys: Iterable[int]) -> DataFrame:
    """The rows of a generated table for these days."""
    days = [(key,) for key in sorted(set(date_keys))]
    spark.createDataFrame(days, "date_key int").createOrReplaceTempView("dates")
    return spark.sql(warehouse.source(table.name))


def members(staged: DataFrame, column: str, dimension: Table) -> DataFrame:
    """The distinct keys that `staged` names in a dimension, with the natural ids they hash."""
    return (
        staged.where(F.col(column).isNotNull())
        .select(F.col(column).alias(dimension.key), *dimension.natural)
        .distinct()
    )
