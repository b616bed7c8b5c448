"""The ledger: what became of every offset, derived from the commits of the history tables.

Nothing lies between source and reader for its sake: it is written after the fact, and can be written again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from contracts.errors import Conflict, LedgerMismatch
from contracts.stream import Pipeline
from streaming_jobs.commit_log import earliest_commit, headrace_commits, lost_commit, table_exists
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import sql_text, table_path

_RANGES = """
select folder as stream, meta.kind as kind, meta.run as run, r.topic, r.topic_id, r.partition,
       r.first as first_offset, r.next - 1 as last_offset, r.rows, r.accepted, r.duplicate, r.conflicting,
       r.quarantined, r.no_row, r.gap, cast(null as bigint) as aborted, cast(null as bigint) as control,
       cast(null as timestamp) as proven_at, version as history_version, committed_at,
       coalesce(r.records, r.rows) as records, if(place = 0, meta.rescued, null) as rescued
from {commits} lateral view posexplode(meta.ranges) as place, r
where r.next > r.first
"""
# A replay reads what a batch has read before: only that it added rows is of interest, see `files.issue_files_view`.
_FILES = """
select folder as stream, file_hash, f.accepted, f.duplicate, f.conflicting, f.quarantined, version as history_version,
       meta.kind as kind
from {commits} lateral view explode(meta.files) as file_hash, f
where meta.kind = 'batch' or (meta.kind = 'replay' and f.accepted + f.conflicting > 0)
"""
_PROOF = ["aborted", "control", "proven_at"]
# What was proven, and of what: a proof of other counts proves nothing.
_PLACE = ["stream", "kind", "history_version", "topic_id", "partition", "first_offset", "last_offset", "rows", "gap"]
_TABLES = {"ledger": _RANGES, "ledger_files": _FILES}
_again = retry(
    retry=retry_if_exception_type(Conflict), stop=stop_after_attempt(5), wait=wait_random(0.05, 0.5), reraise=True
)


@dataclass(frozen=True, slots=True)
class StreamBalance:
    """One stream's ledger added up over its batches (replays count apart). Sound if `findings` is empty."""

    stream: str
    ranges: int = 0
    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    conflicting: int = 0
    quarantined: int = 0
    no_row: int = 0
    gap: int = 0
    aborted: int = 0
    control: int = 0
    unproven: int = 0
    findings: tuple[str, ...] = field(default=())


def refresh_ledger(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> int:
    """Book the history commits that are not booked yet; returns how many ledger rows were added.

    May be called twice, by two processes at once, or after a crash: rows and the position they bring the ledger to
    are one commit. Streams whose history does not exist yet are passed over.

    Raises:
        LedgerMismatch: a history's log no longer has commits that are to be booked. Every other stream was booked.
    """
    lost: list[LedgerMismatch] = []
    added = {table: _book(spark, pipeline, lake_url, table, lost) for table in ("ledger_files", "ledger")}
    if lost:
        raise lost[0]
    return added["ledger"]


@_again
def _book(spark: SparkSession, pipeline: Pipeline, lake_url: str, table: str, lost: list[LedgerMismatch]) -> int:
    """Book every stream that can be; `lost` gets the error of each that cannot."""
    transaction = TableTransaction(spark, table_path(lake_url, pipeline.name, table))
    spans: dict[str, tuple[int, int]] = {}
    positions: dict[str, int] = {}
    for stream in pipeline.streams:
        history = table_path(lake_url, pipeline.name, stream.name)
        if not table_exists(spark, history):
            continue
        following = TableTransaction(spark, history).read_version + 1
        booked = transaction.position(f"ledger:{stream.name}") or 0
        if following <= booked:
            continue
        if problem := lost_commit(spark, history, booked):
            lost.append(problem)
        else:
            spans[history] = (booked, following)
            positions[f"ledger:{stream.name}"] = following
    if not spans:
        return 0
    rows = transaction.write(_rows(spark, table, spans))
    transaction.commit(positions, {"headrace": 1, "kind": "ledger"})
    return rows


def _rows(spark: SparkSession, table: str, spans: dict[str, tuple[int, int]]) -> DataFrame:
    return spark.sql(_TABLES[table], commits=headrace_commits(spark, spans)).coalesce(1)


def rebuild_ledger(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> int:
    """Book every commit again that the histories' logs still have; returns the number of ledger rows written.

    Rows of commits that have expired stay as they are: nothing could replace them; so do proofs, which Kafka may no
    longer allow to repeat. Readers see the old rows or the new, never a part. Only for the pipeline's lease holder,
    and while nobody replays.
    Raises as `refresh_ledger`, after the other streams are done.
    """
    written = 0
    lost: list[LedgerMismatch] = []
    for table in _TABLES:
        path = table_path(lake_url, pipeline.name, table)
        _book(spark, pipeline, lake_url, table, lost)
        spans: dict[str, tuple[int, int]] = {}
        stays = ["false"]
        booked = TableTransaction(spark, path).positions()
        for stream in pipeline.streams:
            history = table_path(lake_url, pipeline.name, stream.name)
            following = booked.get(f"ledger:{stream.name}", 0)
            if following == 0:
                continue
            first = earliest_commit(spark, history)
            spans[history] = (first, following)
            stays.append(f"(stream = {sql_text(stream.name)} and history_version < {first})")
        known = [sql_text(stream.name) for stream in pipeline.streams]
        stays.append(f"stream not in ({', '.join(known)})")
        held = spark.read.format("delta").load(path)
        booked_again = _rows(spark, table, spans)
        if table == "ledger":
            booked_again = _with_proofs(booked_again, held)
        frame = held.where(" or ".join(stays)).unionByName(booked_again).coalesce(1)
        frame.write.format("delta").mode("overwrite").save(path)
        if table == "ledger":
            written = spark.read.format("delta").load(path).count()
    if lost:
        raise lost[0]
    return written


def _with_proofs(rows: DataFrame, held: DataFrame) -> DataFrame:
    proofs = held.where("proven_at is not null").select(*_PLACE, *_PROOF)
    return rows.drop(*_PROOF).join(proofs, _PLACE, "left")


_SUMS = """
select stream, count(*) as ranges, sum(rows) as rows, sum(accepted) as accepted, sum(duplicate) as duplicate,
       sum(conflicting) as conflicting, sum(quarantined) as quarantined, sum(no_row) as no_row, sum(gap) as gap,
       coalesce(sum(aborted), 0) as aborted, coalesce(sum(control), 0) as control,
       count_if(proven_at is null) as unproven
from {ledger} where kind = 'batch' group by stream
"""
BROKEN = """
with batch as (
  select *, coalesce(lag(last_offset) over (
    partition by stream, topic, topic_id, partition order by first_offset, last_offset, history_version), -1) + 1 as due
  from {ledger} where kind in ('batch', 'lost')
), place as (
  select * except (records), coalesce(records, rows) as records,
         concat(topic, '-', partition, ' offsets ', first_offset, '-', last_offset,
                   ' (history version ', history_version, ')') as range
  from batch
)
select stream, concat(topic, '-', partition, ': offsets ', due, '-', first_offset - 1, ' are missing') as finding
from place where first_offset > due
union all
select stream, concat(range, ': offsets up to ', due - 1, ' were booked before') from place where first_offset < due
union all
select stream, concat(range, ': ', rows, ' rows are not accepted + duplicate + conflicting + quarantined + no-row')
from place where rows <> accepted + duplicate + conflicting + quarantined + no_row
union all
select stream, concat(range, ': ', last_offset - first_offset + 1, ' offsets are not records ', records, ' + gap ', gap)
from place where last_offset - first_offset + 1 <> records + gap
union all
select stream, concat(range, ': gap ', gap, ' is not aborted ', aborted, ' + control ', control)
from place where proven_at is not null and gap <> aborted + control
order by stream, finding
"""
"""What is wrong with the table `{ledger}`: stream and finding, for each offset booked twice or never, each sum off."""


def balance(spark: SparkSession, pipeline: Pipeline) -> list[StreamBalance]:
    """Whether every offset is booked exactly once and every sum adds up; one answer per stream of the pipeline.

    Judges the ledger as it stands: call `refresh_ledger` first.
    """
    ledger = spark.table(f"{pipeline.name}_lake.ledger")
    sums = {row["stream"]: row.asDict() for row in spark.sql(_SUMS, ledger=ledger).collect()}
    findings: dict[str, list[str]] = {}
    for row in spark.sql(BROKEN, ledger=ledger).collect():
        findings.setdefault(row["stream"], []).append(row["finding"])
    return [
        StreamBalance(
            **{"stream": stream.name, **sums.get(stream.name, {})}, findings=tuple(findings.get(stream.name, ()))
        )
        for stream in pipeline.streams
    ]
