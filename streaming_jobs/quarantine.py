"""What was refused: kept with its raw bytes, and a stream with too much of it parked."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import Conflict, Fatal
from contracts.failpoints import failpoint
from contracts.stream import Stream
from streaming_jobs.counts import Counts
from streaming_jobs.delta_commit import TableTransaction, met_another_writer
from streaming_jobs.lake import sql_text, sql_time, table_path
from streaming_jobs.ranges import Range
from streaming_jobs.tables import QUARANTINE, QUARANTINE_COLUMNS
from streaming_jobs.transforms.deduplicate import ACCEPTED, CONFLICTING, DUPLICATE, QUARANTINED

NEW_WINDOW: Mapping[str, object] = {"new_window": True}
"""In a commit's metadata: its rows and those before it do not count when a later batch is asked for its share."""
_SHOWN = 3
_REMEMBERED = 200
# Per process: partitions whose unfinished rows were removed, and the newest batches' (rows, quarantined) per history.
_settled: set[tuple[str, str]] = set()
_recent: dict[str, deque[tuple[int, int]]] = {}


class StreamParked(Fatal):
    """The share of bad rows is above the contract's limit, or under `stop` the source's fields changed;
    nothing of the batch was committed, other streams go on.

    `examples` holds up to three of the refused rows as (offset, rule, column, reason).
    """

    def __init__(
        self,
        what: str,
        examples: Sequence[tuple[int, str, str, str]],
        next_step: str = "correct the source or the contract; or accept the quarantine and resume the stream",
        **where: object,
    ) -> None:
        self.examples = tuple(examples)
        shown = "; ".join(f"offset {o}: {rule} {column} {reason}" for o, rule, column, reason in examples)
        super().__init__(
            f"{what}: {shown}",
            state="the stream stays at its position; nothing of these rows was committed",
            next_step=next_step,
            **where,
        )


def settle(spark: SparkSession, stream: Stream, lake_url: str, ranges: Sequence[Range]) -> None:
    """Remove the rows at or above the ranges' first offsets that an unfinished batch left behind.

    They would become visible with the history's next commit, although the contract may have changed in between.
    Looks once per process and partition; may be called at any time.
    """
    path = table_path(lake_url, stream.pipeline, QUARANTINE)
    unknown = [one for one in ranges if (path, one.app_id) not in _settled]
    if not unknown:
        return
    positions = TableTransaction(spark, path).positions()
    for one in unknown:
        if positions.get(one.app_id, 0) > one.first:
            place = f"{_place(stream, one)} and offset >= {one.first}"
            DeltaTable.forPath(spark, path).delete(place)
        _settled.add((path, one.app_id))


def unsettle(stream: Stream, lake_url: str, ranges: Sequence[Range]) -> None:
    """A batch failed after its quarantine may have been committed: `settle` must look again."""
    path = table_path(lake_url, stream.pipeline, QUARANTINE)
    _settled.difference_update((path, one.app_id) for one in ranges)


def commit_refused(
    spark: SparkSession,
    stream: Stream,
    lake_url: str,
    refused: DataFrame,
    ranges: Sequence[Range],
    run: str,
    now: datetime,
    *,
    replay: bool,
) -> int:
    """Write the refused rows of a classified frame; returns how many. Commits before the history does.

    In a replay, rows that the quarantine holds already are left as they are.
    """
    path = table_path(lake_url, stream.pipeline, QUARANTINE)
    ids = ", ".join(f"{sql_text(one.topic)}, {sql_text(one.topic_id)}" for one in {r.topic: r for r in ranges}.values())
    files = ("_file", "_file_hash", "_line")
    of_file = {name: name if name in refused.columns else "null" for name in files}
    rows = refused.where(f"_outcome = {QUARANTINED}").selectExpr(
        f"{sql_text(stream.name)} as stream",
        "_topic as topic",
        f"map({ids})[_topic] as topic_id",
        "_partition as `partition`",
        "_offset as `offset`",
        f"cast({of_file['_file']} as string) as file",
        f"cast({of_file['_file_hash']} as string) as file_hash",
        f"cast({of_file['_line']} as bigint) as line",
        "_refusal.rule as rule",
        "_refusal.column_name as column_name",
        "_refusal.reason as reason",
        "_raw as raw",
        "'open' as state",
        f"{sql_text(run)} as run",
        f"{sql_time(now)} as quarantined_at",
    )
    if replay:
        held = spark.read.format("delta").load(path).where(_places(stream, ranges))
        rows = rows.join(
            held.selectExpr("topic_id as _i", "`partition` as _p", "`offset` as _o", "line as _l"),
            F.expr("topic_id = _i and `partition` = _p and `offset` = _o and line <=> _l"),
            "left_anti",
        )
    transaction = TableTransaction(spark, path)
    written = transaction.write(rows.select(*(name for name, _ in QUARANTINE_COLUMNS)))
    if written == 0 and replay:
        return 0
    failpoint("before_quarantine_commit")
    transaction.commit({} if replay else {one.app_id: one.next for one in ranges}, {"headrace": 1, "run": run})
    failpoint("after_quarantine_commit")
    return written


def mark_fixed(
    spark: SparkSession, stream: Stream, lake_url: str, classified: DataFrame, ranges: Sequence[Range]
) -> None:
    """After a replay: open quarantined rows that the history now holds become `fixed`. May be called again.

    Raises:
        Conflict: another process changed these rows meanwhile; none was marked.
    """
    path = table_path(lake_url, stream.pipeline, QUARANTINE)
    place = f"{_places(stream, ranges)} and state = 'open'"
    if spark.read.format("delta").load(path).where(place).isEmpty():
        return
    passed = classified.where(f"_outcome in ({ACCEPTED}, {DUPLICATE}, {CONFLICTING})")
    line = "_line" if "_line" in passed.columns else "cast(null as bigint)"
    passed = passed.selectExpr("_topic", "_partition", "_offset", f"{line} as _line")
    same = f"topic = _topic and `partition` = _partition and `offset` = _offset and line <=> _line and {place}"
    merge = DeltaTable.forPath(spark, path).merge(passed, same)
    try:
        merge.whenMatchedUpdate(set={"state": "'fixed'"}).execute()
    except PySparkException as error:
        if not met_another_writer(error):
            raise
        raise Conflict("another process changed the quarantine first", state="No row was marked as fixed.") from error


def check_share(
    spark: SparkSession,
    stream: Stream,
    history: str,
    batch: Counts,
    refused: DataFrame,
    ranges: Sequence[Range],
) -> None:
    """Park the stream if too many rows are bad, counted over this batch and as many before it as make the minimum.

    Fewer rows in all than the minimum never park it: one bad row of one is not 100 %.

    Raises:
        StreamParked: the share is above `quarantine_limit`.
    """
    rows, bad = batch.rows, batch.quarantined
    for earlier, quarantined in reversed(_window(spark, history)):
        if rows >= stream.quarantine_minimum:
            break
        rows, bad = rows + earlier, bad + quarantined
    if rows < stream.quarantine_minimum or bad <= stream.quarantine_limit * rows:
        return
    raise StreamParked(
        f"{bad} of the last {rows} rows were refused, more than {stream.quarantine_limit:.1%}",
        examples_of(refused),
        stream=stream.name,
        offsets=", ".join(str(one) for one in ranges),
    )


def examples_of(refused: DataFrame) -> list[tuple[int, str, str, str]]:
    """Up to three refused rows as (offset, rule, column, reason)."""
    found = refused.where(f"_outcome = {QUARANTINED}").selectExpr("_offset", "_refusal.*").limit(_SHOWN).collect()
    return [(row["_offset"], row["rule"], row["column_name"], row["reason"]) for row in found]


def remember(history: str, batch: Counts, *, new_window: bool = False) -> None:
    """A batch was committed: it counts in the window of the next, or its bad rows were accepted and nothing does."""
    if new_window:
        _recent[history] = deque(maxlen=_REMEMBERED)
    elif history in _recent:
        _recent[history].append((batch.rows, batch.quarantined))


def _window(spark: SparkSession, history: str) -> deque[tuple[int, int]]:
    if history not in _recent:
        commits = DeltaTable.forPath(spark, history).history(_REMEMBERED).select("version", "userMetadata")
        found: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        for commit in sorted(commits.collect(), key=lambda row: int(row["version"])):
            said: Mapping[str, object] = json.loads(commit["userMetadata"] or "{}")
            if said.get("headrace") == 1 and said.get("kind") == "batch":
                if NEW_WINDOW.items() <= said.items():
                    found.clear()
                    continue
                ranges = said["ranges"]
                assert isinstance(ranges, list)
                found.append((sum(r["rows"] for r in ranges), sum(r["quarantined"] for r in ranges)))
        _recent[history] = found
    return _recent[history]


def _place(stream: Stream, one: Range) -> str:
    return f"stream = {sql_text(stream.name)} and topic_id = {sql_text(one.topic_id)} and `partition` = {one.partition}"


def _places(stream: Stream, ranges: Sequence[Range]) -> str:
    each = (f"({_place(stream, one)} and `offset` >= {one.first} and `offset` < {one.next})" for one in ranges)
    return f"({' or '.join(each)})"
