"""Have the ledger's gaps proven by the independent reader, and write down what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import Conflict
from contracts.stream import Pipeline
from streaming_jobs.delta_commit import met_another_writer
from streaming_jobs.gaps import Booked, Reading, read_ranges
from streaming_jobs.lake import table_path

_PLACE = "stream string, history_version bigint, topic_id string, `partition` int, first_offset bigint"
_SAME = " and ".join(
    f"t.{name} = s.{name}" for name in ("stream", "history_version", "topic_id", "partition", "first_offset")
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A range that could not be proven, and why."""

    stream: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    problem: str


@dataclass(frozen=True, slots=True)
class ProofReport:
    """`proven` ranges hold exactly what was booked; their gaps were `aborted` rows and `control` records."""

    proven: int
    offsets: int
    aborted: int
    control: int
    findings: tuple[Finding, ...]


def prove_gaps(
    spark: SparkSession,
    pipeline: Pipeline,
    kafka: str,
    lake_url: str,
    *,
    now: datetime | None = None,
    limit: int = 10_000,
    timeout_s: float = 30.0,
    progress: Callable[[int], None] | None = None,
) -> ProofReport:
    """Prove up to `limit` ranges that are not proven yet. Newest first: what can never be proven holds nothing back.

    A range with a finding stays unproven and is tried again by the next call. May be called twice and at once.

    Raises:
        ServiceUnavailable: the broker did not answer; nothing was written.
        Conflict: another proof wrote first; its result stands.
    """
    path = table_path(lake_url, pipeline.name, "ledger")
    ledger = spark.read.format("delta").load(path).withColumn("records", F.coalesce("records", "rows"))
    unproven = ledger.where("proven_at is null and kind <> 'lost'").orderBy(F.desc("committed_at"))
    open_rows = unproven.limit(limit).collect()
    booked = [
        Booked(r.topic, r.topic_id, r.partition, r.first_offset, r.last_offset + 1, r.records, r.gap) for r in open_rows
    ]
    readings = read_ranges(kafka, booked, timeout_s=timeout_s, progress=progress)
    proven, findings = [], []
    for row, reading in zip(open_rows, readings, strict=True):
        if reading.problem:
            findings.append(
                Finding(row.stream, row.topic, row.partition, row.first_offset, row.last_offset, reading.problem)
            )
        else:
            place = (row.stream, row.history_version, row.topic_id, row.partition, row.first_offset)
            proven.append((*place, reading.aborted_count, reading.control_count))
    if proven:
        frame = spark.createDataFrame(proven, f"{_PLACE}, aborted bigint, control bigint").coalesce(1)
        _write(spark, path, frame, now or datetime.now(UTC))
    sound = [reading for reading in readings if not reading.problem]
    return ProofReport(
        proven=len(sound),
        offsets=sum(reading.booked.next - reading.booked.first for reading in sound),
        aborted=_total(sound, lambda reading: reading.aborted_count),
        control=_total(sound, lambda reading: reading.control_count),
        findings=tuple(findings),
    )


def _total(readings: Iterable[Reading], number: Callable[[Reading], int]) -> int:
    return sum(number(reading) for reading in readings)


def _write(spark: SparkSession, path: str, frame: DataFrame, now: datetime) -> None:
    values = {"aborted": "s.aborted", "control": "s.control", "proven_at": f"timestamp '{now.isoformat()}'"}
    try:
        (
            DeltaTable.forPath(spark, path)
            .alias("t")
            .merge(frame.alias("s"), _SAME)
            .whenMatchedUpdate("t.proven_at is null", dict(values))
            .execute()
        )
    except PySparkException as error:
        if not met_another_writer(error):
            raise
        raise Conflict(
            "another process changed the ledger first",
            state="No range of this call was marked as proven.",
            next_step="ask again; nothing is proven twice",
            path=path,
        ) from error
