"""Removes the chunks of large files that no reader can need any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession

from contracts.stream import Pipeline, Stream
from streaming_jobs.commit_log import folder_times, remove_empty_folder, remove_folder
from streaming_jobs.files import refresh_files

CHUNKS = "_chunks"
SEGMENT = timedelta(days=8)
"""Kafka lets a record go with its segment, which may stay open for a week: until then a replay may ask for it."""
_WHOLE = "select file_hash, state, complete from {lake}.files where stream = :stream"


def remove_old_chunks(
    spark: SparkSession, pipeline: Pipeline, kafka: str, lake_url: str, *, now: datetime | None = None
) -> int:
    """Delete the chunks of each file that the lake has whole, and those that an attempt to send left behind, once they
    are older than what Kafka keeps of the stream; returns how many files' chunks were deleted.

    The chunks of a file that was sent and is not whole stay, however old: they are the only copy. May be called at any
    time by whoever keeps the files table.

    Raises:
        ServiceUnavailable: the files topic could not be read; nothing was deleted.
    """
    moment = now or datetime.now(UTC)
    old = {stream: _old(spark, stream, lake_url, moment) for stream in pipeline.file_streams}
    if not any(old.values()):
        return 0
    # What was sent while nothing ran is known only after this.
    refresh_files(spark, pipeline, kafka, lake_url)
    return sum(_remove(spark, stream, lake_url, attempts) for stream, attempts in old.items())


def _folder(stream: Stream, lake_url: str) -> str:
    return f"{lake_url.rstrip('/')}/{CHUNKS}/{stream.pipeline}/{stream.name}"


def _old(spark: SparkSession, stream: Stream, lake_url: str, now: datetime) -> dict[str, list[str]]:
    """The old attempts of each file that has no young one. Each by its own age: a file whose old attempt was killed may
    be sent anew just now."""
    late = now - timedelta(days=stream.retention_days) - SEGMENT

    def old(folder: str) -> list[str]:
        return [name for name, changed in folder_times(spark, folder).items() if changed < late]

    folder = _folder(stream, lake_url)
    return {name: old(f"{folder}/{name}") for name in old(folder)}


def _remove(spark: SparkSession, stream: Stream, lake_url: str, old: dict[str, list[str]]) -> int:
    if not old:
        return 0
    known = spark.sql(_WHOLE.format(lake=stream.lake_schema), {"stream": stream.name}).collect()
    needed = {row["file_hash"] for row in known if row["state"] == "sent" and not row["complete"]}
    files = 0
    for name in old.keys() - needed:
        file = f"{_folder(stream, lake_url)}/{name}"
        files += sum(remove_folder(spark, f"{file}/{attempt}") for attempt in old[name]) > 0
        remove_empty_folder(spark, file)
    return files
