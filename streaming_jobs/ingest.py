"""One batch of one stream: Kafka's records of given ranges become rows of its history, each once, all accounted for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pyspark.sql import DataFrame, SparkSession

from contracts.errors import LedgerMismatch
from contracts.failpoints import failpoint
from contracts.spark_types import RESCUED, RESCUED_TYPE, history_columns
from contracts.stream import Stream
from streaming_jobs.chunks import cut_at_chunks
from streaming_jobs.classify import classify, files_in
from streaming_jobs.counts import Counts, GroupCounter, commit_metadata, per_file, per_range, total
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.kafka_scan import kafka_errors, read_ranges
from streaming_jobs.lake import sql_text, sql_time, table_path
from streaming_jobs.quarantine import (
    NEW_WINDOW,
    check_share,
    commit_refused,
    mark_fixed,
    remember,
    settle,
    unsettle,
)
from streaming_jobs.ranges import Range, check_disjoint, epoch_id, epoch_of, offsets_sql
from streaming_jobs.stopping import TableChanges, fields_changed
from streaming_jobs.transforms.deduplicate import WRITTEN

Kind = Literal["batch", "replay"]
_MANY = 20_000
"""Of more rows than that the few refused ones are judged again alone, rather than all of them."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one batch did. `version` is the history's new version, None if the table had all of the ranges already.

    `below_position` counts the offsets that were asked for and not read because the table has them (in a replay: that
    were not read because no batch has been there).
    """

    version: int | None
    ranges: Mapping[Range, Counts]
    files: Mapping[str, Counts]
    below_position: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> Counts:
        """The sum over all ranges."""
        return total(list(self.ranges.values()))


def ingest(
    spark: SparkSession,
    stream: Stream,
    ranges: Sequence[Range],
    lake_url: str,
    kafka: str,
    run: str,
    kind: Kind,
    now: datetime,
    *,
    records: DataFrame | None = None,
    park: bool = True,
    without_lost: bool = False,
    max_chunk_rows: int | None = None,
    table_changes: TableChanges | None = None,
) -> BatchResult:
    """Bring the records of `ranges` into the history of `stream`, with their position and their counts in one commit.

    May be called again with the same or overlapping ranges: what lies below the table's own position is not read.
    A batch with no row commits its position all the same. On return everything is durable; after an exception the
    history is as it was. Different streams may be ingested at the same time; of two writers on one stream one gets
    Conflict. The tables exist (`tables.create_tables`).

    `kind="replay"` reads offsets below the position instead: rows the history holds are duplicates, missing ones are
    written with the version they always had, positions stay. `records` are the records of just these ranges, if the
    caller has them already; `kafka` is not read then. `park=False` accepts any share of bad rows (to resume a stream);
    later batches count their share from there on. `without_lost` goes on without chunks that are lost.
    `max_chunk_rows` ends a range before the chunk with which its batch would have more rows: the result says which
    ranges were taken, and the rest is for the next call. `table_changes` says whether values that do not fit come of a
    change of the table, which parks a stream under `stop`; without it they are refused as odd ones.

    Raises:
        Conflict: another writer moved a position; repeat from the table's positions.
        LedgerMismatch: the counts do not balance, or the ranges begin above the table's position.
        StreamParked: too many rows are bad, or under `stop` the source's fields changed; then what came before the
            first such row was committed. ChunkLost: rows of a large file are not there.
        OffsetsLost, ServiceUnavailable: from Kafka; a Retryable from the source.
    """
    clock = _Clock()
    check_disjoint(ranges)
    history = table_path(lake_url, stream.pipeline, stream.name)
    transaction = TableTransaction(spark, history)
    positions = transaction.positions()
    unread = _unread(stream, ranges, positions, kind)
    skipped = sum(map(len, ranges)) - sum(map(len, unread))
    if not unread:
        return BatchResult(None, {}, {}, skipped)
    if kind == "batch":
        settle(spark, stream, lake_url, unread)
    clock.lap("start")

    def read() -> DataFrame:
        if records is None:
            group = f"headrace-{stream.pipeline}-{stream.name}"
            return read_ranges(spark, kafka, unread, group, headers=stream.is_cdc)
        return records.where(" or ".join(map(_within, unread)))

    with kafka_errors(unread, stream.name):
        raw = read()
        seen = [] if stream.is_cdc else files_in(raw)
        chunks = [chunk for file in seen for chunk in file.chunks]
        if max_chunk_rows and chunks and (cut := cut_at_chunks(unread, chunks, max_chunk_rows)) != unread:
            unread = cut
            raw = read()
            seen = files_in(raw)
        found = classify(
            *(spark, stream, raw, lake_url, unread, positions),
            replay=kind == "replay",
            without_lost=without_lost,
            seen=seen,
        )
        classified = found.rows
        counter = GroupCounter(found.groups)
        clock.lap("plan")
        # What was observed is computed: the raw bytes, which only the quarantine wants, would all be read for it.
        written = transaction.write(_history_rows(counter.observe(classified.drop("_raw")), stream, now))
        clock.lap("write")
        counts = counter.of(classified, written, found.expected)
        by_range = per_range(unread, counts)
        by_file = per_file(counts)
        metadata = commit_metadata(kind, run, now.isoformat(), by_range, by_file, found.beyond)
        if not park:
            metadata |= NEW_WINDOW
        if fields := counter.rescued(lambda: transaction.written(f"{RESCUED} {RESCUED_TYPE}")):
            metadata |= {"rescued": fields}
        batch = total(list(by_range.values()))
        if batch.quarantined:
            refused = classified
            if found.only_lines and batch.rows > _MANY and (lines := counter.refused_lines()) is not None:
                refused = found.only_lines(lines)
            stops = kind == "batch" and stream.evolution == "stop"
            if stops and (stop := fields_changed(stream, refused, unread, table_changes)):
                parts = (one.below(stop.firsts.get(one.partition, one.next)) for one in unread)
                if before := [part for part in parts if len(part)]:
                    # What came before the change fits the contract of before, and perhaps not the next one.
                    ingest(
                        *(spark, stream, before, lake_url, kafka, run, kind, now),
                        records=records,
                        park=park,
                        without_lost=without_lost,
                        table_changes=table_changes,
                    )
                raise stop
            if park and kind == "batch":
                check_share(spark, stream, history, batch, refused, unread)
            unsettle(stream, lake_url, unread)
            held = commit_refused(spark, stream, lake_url, refused, unread, run, now, replay=kind == "replay")
            if held != batch.quarantined and kind == "batch":
                raise LedgerMismatch(
                    f"{batch.quarantined} rows were refused, and {held} were written to the quarantine",
                    state="nothing was committed to the history; the next batch removes these rows from the quarantine",
                    next_step="keep the log and report this",
                    stream=stream.name,
                )
            clock.lap("quarantine")

    failpoint("before_history_commit")
    version = transaction.commit(_positions_after(unread, positions, kind), metadata)
    failpoint("after_history_commit")
    clock.lap("commit")
    if kind == "batch":
        remember(history, batch, new_window=not park)
    else:
        mark_fixed(spark, stream, lake_url, classified, unread)
    return BatchResult(version, by_range, by_file, skipped, clock.seconds)


def write_off(
    spark: SparkSession, stream: Stream, ranges: Sequence[Range], lake_url: str, run: str, now: datetime
) -> None:
    """Move the position over ranges that Kafka has lost; the history's commit, and so the ledger, says that they are.

    Raises:
        Conflict: another writer moved a position; repeat from the table's positions.
    """
    transaction = TableTransaction(spark, table_path(lake_url, stream.pipeline, stream.name))
    positions = transaction.positions()
    nothing = dict.fromkeys(ranges, Counts())
    metadata = commit_metadata("lost", run, now.isoformat(), nothing, {})
    transaction.commit(_positions_after(ranges, positions, "batch"), metadata)


def _unread(stream: Stream, ranges: Sequence[Range], positions: Mapping[str, int], kind: Kind) -> list[Range]:
    found = []
    for one in ranges:
        position = positions.get(one.app_id)
        if kind == "replay":
            part = one.below(position)
        else:
            if position is not None and one.first > position:
                raise LedgerMismatch(
                    f"the batch begins at {one.first}, the table stands at {position}: what lies between would be lost",
                    state="nothing was read",
                    next_step="repeat from the table's positions",
                    stream=stream.name,
                    range=one,
                )
            part = one.above(position)
        if len(part):
            found.append(part)
    return found


def _positions_after(ranges: Sequence[Range], positions: Mapping[str, int], kind: Kind) -> dict[str, int]:
    if kind == "replay":
        # The same positions again: nothing moves, but a batch at the same time is a conflict.
        return {one.app_id: positions[one.app_id] for one in ranges}
    after = {one.app_id: one.next for one in ranges}
    for one in ranges:
        if epoch_id(one.topic_id) not in positions:
            after[epoch_id(one.topic_id)] = epoch_of(one.topic_id, positions)
    return after


def _history_rows(classified: DataFrame, stream: Stream, now: datetime) -> DataFrame:
    # A literal stands in the generated code, which would be compiled anew for every batch; an array's element does not.
    times = f"element_at(array({sql_time(now)}), cast(_partition * 0 + 1 as int))"
    names = [name for name, _ in history_columns(stream)]
    columns = (f"{times} as _ingested_at" if name == "_ingested_at" else f"`{name}`" for name in names)
    return classified.where(WRITTEN).selectExpr(*columns)


def _within(one: Range) -> str:
    return f"(topic = {sql_text(one.topic)} and partition = {one.partition} and {offsets_sql('offset', one)})"


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        here = time.perf_counter()
        self.seconds[name] = here - self._last
        self._last = here
