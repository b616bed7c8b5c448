"""Which files were sent, from the compacted files topic, and whether the lake has all of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from pyspark.sql import SparkSession

from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline
from contracts.wire import decode_file_state, foreign_records
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import FILES_SENT, ddl, issue_view, table_path
from streaming_jobs.positions import describe
from streaming_jobs.ranges import VERSIONS_PER_EPOCH, app_id, epoch_id, epoch_of

_log = logging.getLogger(__name__)
_VIEW = """
with sent as (
  select * except (n) from (
    select *, row_number() over (partition by stream, file_hash order by revision desc) as n from {lake}.files_sent
  ) where n = 1
), booked as (
  select *, coalesce(kind, 'batch') = 'batch' as first_time from {lake}.ledger_files
), arrived as (
  select stream, file_hash, sum(accepted) filter (where first_time) as accepted,
         sum(duplicate) filter (where first_time) as duplicate,
         sum(conflicting) filter (where first_time) as conflicting,
         sum(quarantined) filter (where first_time) as quarantined,
         max(history_version) filter (where not first_time) as replayed
  from booked group by stream, file_hash
), both as (
  select s.stream, s.file_hash, s.file, s.unit, s.rows, s.revision, s.state, s.reason, s.sent_at,
         coalesce(a.accepted, 0) as accepted, coalesce(a.duplicate, 0) as duplicate,
         coalesce(a.conflicting, 0) as conflicting, coalesce(a.quarantined, 0) as quarantined,
         coalesce(a.replayed, 0) as replayed
  from sent as s left join arrived as a on a.stream = s.stream and a.file_hash = s.file_hash
), judged as (
  select *, state = 'sent' and rows = accepted + duplicate + conflicting + quarantined as complete from both
)
select *,
       complete and 1 = row_number() over (
         partition by stream, if(unit = '', file_hash, unit), complete order by revision desc) as newest
from judged
"""


def refresh_files(
    spark: SparkSession, pipeline: Pipeline, kafka: str, lake_url: str, *, timeout_s: float = 30.0
) -> int:
    """Add the files that were sent or rejected since the last call; returns how many records were added.

    May be called twice, at once or after a crash: rows and position are one commit. A `revision` is the offset of the
    record, above every revision of an earlier incarnation of the topic. A topic that does not exist holds nothing. A
    record that is not a file's state is passed over with a warning: it must not hold back every other file.

    Raises:
        ServiceUnavailable: the broker did not answer in time; nothing was written.
    """
    issue_files_view(spark, pipeline)
    topic = describe(kafka, [pipeline.files_topic]).get(pipeline.files_topic)
    if topic is None:
        return 0
    transaction = TableTransaction(spark, table_path(lake_url, pipeline.name, "files_sent"))
    name = app_id(topic.topic_id, topic.name, 0)
    position = transaction.position(name) or 0
    era = epoch_of(topic.topic_id, transaction.positions())
    following, rows, strange = position, [], []
    for offset, value in _records(kafka, TopicPartition(topic.name, 0), position, timeout_s):
        following = offset + 1
        try:
            row = _row(value, era * VERSIONS_PER_EPOCH + offset)
        except ValueError:
            strange.append(offset)
        else:
            if row:
                rows.append(row)
    if strange:
        _log.warning("%s", foreign_records(topic.name, strange))
    if following == position:
        return 0
    if rows:
        transaction.write(spark.createDataFrame(rows, ddl(FILES_SENT)).coalesce(1))
    transaction.commit({name: following, epoch_id(topic.topic_id): era}, {"headrace": 1, "kind": "files"})
    return len(rows)


def issue_files_view(spark: SparkSession, pipeline: Pipeline) -> None:
    """`files`: every file that was sent or rejected, what became of its rows, whether it is whole and the newest.

    The counts are those of the first reading; `replayed` is the history version of the last replay that added rows of
    the file, 0 if none did.
    """
    lake = f"{pipeline.name}_lake"
    issue_view(spark, f"{lake}.files", _VIEW.format(lake=lake))


def _row(value: bytes | None, revision: int) -> tuple[object, ...] | None:
    """The row of FILES_SENT; None for a tombstone and for a file under way. ValueError: not a file's state."""
    if value is None:
        return None
    state = decode_file_state(value)
    if state.state not in ("sent", "rejected"):
        return None
    sent_at = datetime.fromisoformat(state.at)
    return (
        *(state.stream, state.hash, state.file, state.unit, state.rows),
        *(revision, state.state, state.reason, sent_at),
    )


def _records(kafka: str, where: TopicPartition, position: int, timeout_s: float) -> Iterator[tuple[int, bytes | None]]:
    """Every committed record from `position` to the end as it is now."""
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=kafka,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            metrics_enabled=False,
        )
        try:
            consumer.assign([where])
            # Compaction only takes records that a newer one of the same file replaces.
            reached = max(position, consumer.beginning_offsets([where])[where])
            end = consumer.end_offsets([where])[where]
            if reached < end:
                consumer.seek(where, reached)
            deadline = time.monotonic() + timeout_s
            while reached < end:
                for record in consumer.poll(timeout_ms=500).get(where, ()):
                    yield record.offset, record.value
                now = consumer.position(where, timeout_ms=int(timeout_s * 1000)) or reached
                if now > reached:
                    reached, deadline = now, time.monotonic() + timeout_s
                elif time.monotonic() > deadline:
                    raise _silent(where, f"nothing for {timeout_s:g} s at offset {reached} of {end}")
        finally:
            consumer.close()
    except KafkaError as error:
        raise _silent(where, repr(error)) from error


def _silent(where: TopicPartition, cause: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "the files topic could not be read",
        topic=where.topic,
        cause=cause,
        state="Nothing was written; the files known before are as they were.",
        next_step="check the broker (`headrace status`); the call is repeated",
    )
