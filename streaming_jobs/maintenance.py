"""Keep the number of files flat, and never cut away what a reader has not read.

Nothing here blocks a batch: compaction changes no data, and a blind append never conflicts with it. What meets
another writer is left for the next round.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from contracts.stream import Pipeline, Stream
from streaming_jobs.commit_log import commit_time, folders, table_exists, vacuum_time
from streaming_jobs.delta_commit import TableTransaction, expire_log, met_another_writer, read_positions
from streaming_jobs.lake import table_path
from streaming_jobs.tables import QUARANTINE

SMALL_BYTES = 32 * 1024 * 1024
# A query may go on reading files that a compaction has replaced, for that long.
KEEP_REMOVED = timedelta(days=1)
# HDFS lists the whole folder of a log at every batch, so it must stay short. What a batch did is in the ledger.
KEEP_LOG = timedelta(hours=12)
# A reader further behind than this holds the log.
HOLD_LOG = KEEP_LOG / 2
_VACUUM_EVERY = timedelta(hours=6)
# Per process: a table's version when it was last looked at, its files after it was last compacted, its last VACUUM.
_looked_at: dict[str, int] = {}
_compact: dict[str, int] = {}
_vacuumed: dict[str, datetime] = {}


@dataclass(frozen=True, slots=True)
class Maintained:
    """One table: files before and after, and what was refused or left for later, and why."""

    table: str
    files_before: int
    files_after: int
    vacuumed: bool = False
    note: str = ""


def maintain_histories(
    spark: SparkSession, pipeline: Pipeline, lake_url: str, *, many_files: int, now: datetime | None = None
) -> list[Maintained]:
    """`maintain_folder` for what batches append to: at any time, for a blind append never conflicts."""
    unread = {stream.name: slowest_reader(spark, stream, lake_url) for stream in pipeline.streams}
    folder = table_path(lake_url, pipeline.name, "")
    return maintain_folder(spark, folder, unread, only={*unread, QUARANTINE}, many_files=many_files, now=now)


def maintain_derived(
    spark: SparkSession, pipeline: Pipeline, lake_url: str, *, many_files: int, now: datetime | None = None
) -> list[Maintained]:
    """`maintain_folder` for the ledger, the states and the rest of the lake: between merges, which rewrite them too."""
    folder = table_path(lake_url, pipeline.name, "")
    derived = {*folders(spark, folder)} - {QUARANTINE, *(stream.name for stream in pipeline.streams)}
    return maintain_folder(spark, folder, {}, only=derived, many_files=many_files, now=now)


def maintain_folder(
    spark: SparkSession,
    folder: str,
    unread: Mapping[str, int | None],
    *,
    many_files: int,
    only: Collection[str] | None = None,
    now: datetime | None = None,
) -> list[Maintained]:
    """Compact each Delta table in `folder` that got `many_files` new files since it was last compacted; shorten its
    log; every few hours remove the files that no query can need.

    `unread`: by table, the first version that some reader still has to read. May be called at any time; what meets
    another writer is left for the next call.
    """
    own = spark.newSession()
    # Only small files are rewritten: what was compacted once stays, so the cost follows the change.
    own.conf.set("spark.databricks.delta.optimize.minFileSize", str(SMALL_BYTES))
    own.conf.set("spark.databricks.delta.optimize.maxFileSize", str(8 * SMALL_BYTES))
    # Delta asks for a week unless told otherwise; no version that old can be read, for the log is shorter.
    own.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    # VACUUM lists folders in that many tasks, 10,000 unless told otherwise, also where there is one folder.
    own.conf.set(
        "spark.sql.sources.parallelPartitionDiscovery.parallelism", str(4 * own.sparkContext.defaultParallelism)
    )
    moment = now or datetime.now(UTC)
    done = []
    for name in folders(own, folder):
        path = f"{folder.rstrip('/')}/{name}"
        if (only is None or name in only) and table_exists(own, path):
            done.append(_maintain(own, name, path, unread.get(name), moment, many_files))
    return [one for one in done if one]


def slowest_reader(spark: SparkSession, stream: Stream, lake_url: str) -> int | None:
    """The first version of the stream's history that some reader (ledger, files, state) has not read; None if there
    is no reader yet."""
    readers = [("ledger", f"ledger:{stream.name}"), ("ledger_files", f"ledger:{stream.name}")]
    if stream.is_cdc:
        readers.append((f"{stream.name}_state", f"history:{stream.name}"))
    found = []
    for table, app_id in readers:
        path = table_path(lake_url, stream.pipeline, table)
        if table_exists(spark, path):
            found.append(read_positions(spark, path).get(app_id, 0))
    return min(found, default=None)


def _maintain(
    spark: SparkSession, name: str, path: str, unread: int | None, now: datetime, many_files: int
) -> Maintained | None:
    """None if there was nothing to look at: no commit since the last time, no VACUUM due."""
    version = TableTransaction(spark, path).read_version
    if path not in _vacuumed:
        _vacuumed[path] = vacuum_time(spark, path) or now
    vacuum = now - _vacuumed[path] >= _VACUUM_EVERY
    if version == _looked_at.get(path) and not vacuum:
        return None
    table = DeltaTable.forPath(spark, path)
    files = after = _files(table)
    note = ""
    try:
        if files - _compact.get(path, 0) >= many_files:
            table.optimize().executeCompaction()
            _compact[path] = after = _files(table)
        late = commit_time(spark, path, unread) if unread is not None else None
        if late is not None and now - late >= HOLD_LOG:
            note = f"log kept: a reader has stood still since {late:%F %T}"
        else:
            expire_log(spark, path, KEEP_LOG)
        if vacuum and late is not None and now - late >= KEEP_REMOVED:
            vacuum = False
            note = f"{note}; not vacuumed: a reader has stood at version {unread} since {late:%F %T}".lstrip("; ")
        elif vacuum:
            table.vacuum(KEEP_REMOVED.total_seconds() / 3600)
            _vacuumed[path] = now
        _looked_at[path] = version
    except PySparkException as error:
        if not met_another_writer(error):
            raise
        vacuum = False
        note = f"left for the next round: {type(error).__name__}"
    return Maintained(name, files, after, vacuum, note)


def _files(table: DeltaTable) -> int:
    detail: Any = table.detail().select("numFiles").first()
    return int(detail["numFiles"])
