"""Read the metadata of a table's commits from its transaction log, incrementally.

The log's JSON files are read by their documented protocol, one Spark read for all tables together. `DESCRIBE HISTORY`
reads every commit each time; checkpoints of the log do not keep commit metadata at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import LedgerMismatch
from streaming_jobs.jvm import java

_COMMIT = "commitInfo struct<timestamp:bigint, userMetadata:string>"
_COUNTS = "accepted:bigint, duplicate:bigint, conflicting:bigint, quarantined:bigint"
_METADATA = (
    "struct<headrace:int, kind:string, run:string, "
    "ranges:array<struct<topic:string, topic_id:string, `partition`:int, `first`:bigint, `next`:bigint, `rows`:bigint, "
    f"{_COUNTS}, no_row:bigint, gap:bigint, records:bigint>>, "
    f"files:map<string, struct<{_COUNTS}>>, rescued:map<string, bigint>>"
)
_PLACE = r"/([^/]+)/_delta_log/(\d{20})\.json$"


def headrace_commits(spark: SparkSession, spans: Mapping[str, tuple[int, int]]) -> DataFrame:
    """The headrace commits in versions `[first, next)` of each table path in `spans`: columns `folder` (the table's
    folder name), `version`, `committed_at`, `meta`. Other commits (OPTIMIZE, schema changes) are left out.

    Raises:
        LedgerMismatch: the log no longer has the first of these commits.
    """
    files: list[str] = []
    for path, (first, following) in spans.items():
        if first < following and (lost := lost_commit(spark, path, first)):
            raise lost
        files += [commit_file(path, version) for version in range(first, following)]
    if not files:
        return spark.createDataFrame([], f"folder string, version bigint, committed_at timestamp, meta {_METADATA}")
    source = F.col("_metadata.file_path")
    lines = spark.read.schema(_COMMIT).json(files).where("commitInfo.userMetadata is not null")
    return lines.select(
        F.regexp_extract(source, _PLACE, 1).alias("folder"),
        F.regexp_extract(source, _PLACE, 2).cast("bigint").alias("version"),
        F.expr("timestamp_millis(commitInfo.timestamp)").alias("committed_at"),
        F.from_json("commitInfo.userMetadata", _METADATA).alias("meta"),
    ).where("meta.headrace = 1")


def lost_commit(spark: SparkSession, path: str, version: int) -> LedgerMismatch | None:
    """The error, if the log of the table at `path` no longer has that commit."""
    if exists(spark, commit_file(path, version)):
        return None
    return LedgerMismatch(
        f"the log of {path} no longer has commit {version}: it expired before it was booked",
        state="The ledger has nothing new of this table; its rows are not affected.",
        next_step="find out what else cuts the log",
    )


def commit_file(path: str, version: int) -> str:
    """Where the log keeps that commit of the table at `path`."""
    return f"{path}/_delta_log/{version:020d}.json"


def earliest_commit(spark: SparkSession, path: str) -> int:
    """The first version whose commit the log still has; 0 for a table whose log was never cut."""
    if exists(spark, commit_file(path, 0)):
        return 0
    folder = _jvm_path(spark, f"{path}/_delta_log")
    system = folder.getFileSystem(_configuration(spark))
    names = (str(status.getPath().getName()) for status in system.listStatus(folder))
    return min(int(name[:20]) for name in names if name.endswith(".json") and name[:20].isdigit() and len(name) == 25)


def commit_time(spark: SparkSession, path: str, version: int) -> datetime | None:
    """When that commit was made, by its file's time; None if there is no such commit (yet, or any more)."""
    return _file_time(spark, commit_file(path, version))


def vacuum_time(spark: SparkSession, path: str) -> datetime | None:
    """When the table was last vacuumed, by whomever; before that, when it was made."""
    vacuumed = _file_time(spark, f"{path}/_delta_log/_last_vacuum_info")
    return vacuumed or commit_time(spark, path, earliest_commit(spark, path))


def _file_time(spark: SparkSession, file: str) -> datetime | None:
    if not exists(spark, file):
        return None
    place = _jvm_path(spark, file)
    status = place.getFileSystem(_configuration(spark)).getFileStatus(place)
    return datetime.fromtimestamp(status.getModificationTime() / 1000, UTC)


def folders(spark: SparkSession, path: str) -> list[str]:
    """The names of the folders in a folder, sorted; none if it does not exist."""
    place = _jvm_path(spark, path)
    system = place.getFileSystem(_configuration(spark))
    if not system.exists(place):
        return []
    return sorted(str(status.getPath().getName()) for status in system.listStatus(place) if status.isDirectory())


def folder_times(spark: SparkSession, path: str) -> dict[str, datetime]:
    """When each folder in a folder last got or lost something; none if it does not exist."""
    place = _jvm_path(spark, path)
    system = place.getFileSystem(_configuration(spark))
    if not system.exists(place):
        return {}
    return {
        str(status.getPath().getName()): datetime.fromtimestamp(status.getModificationTime() / 1000, UTC)
        for status in system.listStatus(place)
        if status.isDirectory()
    }


def remove_folder(spark: SparkSession, path: str) -> bool:
    """Delete a folder with all that is in it; whether it is gone now by this."""
    place = _jvm_path(spark, path)
    return bool(place.getFileSystem(_configuration(spark)).delete(place, True))


def remove_empty_folder(spark: SparkSession, path: str) -> None:
    """Delete a folder that holds nothing; one that somebody has put something into meanwhile stays."""
    place = _jvm_path(spark, path)
    with suppress(Py4JJavaError):
        place.getFileSystem(_configuration(spark)).delete(place, False)


def table_exists(spark: SparkSession, path: str) -> bool:
    """Whether there is a Delta table at `path`."""
    return exists(spark, f"{path}/_delta_log")


def exists(spark: SparkSession, file: str) -> bool:
    """Whether there is a file or folder of this name."""
    path = _jvm_path(spark, file)
    return bool(path.getFileSystem(_configuration(spark)).exists(path))


def _jvm_path(spark: SparkSession, file: str) -> Any:
    return java(spark._jvm, "org.apache.hadoop.fs.Path")(file)


def _configuration(spark: SparkSession) -> Any:
    context: Any = spark._jsc
    return context.hadoopConfiguration()
