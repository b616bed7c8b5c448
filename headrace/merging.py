"""The rounds of merges: files and ledger, state tables and views, then the star schema in both targets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import get_args

from pyspark.sql import SparkSession

from connectors.reads.table_reads import Notes
from contracts.errors import Conflict, LedgerMismatch
from contracts.stream import Stream, System
from contracts.table_reads import NO_READS, TableReads
from headrace.app import App
from headrace.rounds import note_round, rounds_file
from headrace.tables import lake_url
from streaming_jobs.cut import move_cut
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.files import refresh_files
from streaming_jobs.gaps import stable_ends
from streaming_jobs.lake import table_path
from streaming_jobs.ledger import refresh_ledger
from streaming_jobs.state import merge_states
from warehouse_sql.merge import merge_round

# What somebody else did to a target (restored it from a backup) shows in the target's own positions, not in the lake.
LOOK_AT_TARGETS_EVERY_S = 300.0

Progress = Callable[[str, int, int], None]
"""What a round is at, tables done and in all (0: not known)."""

log = logging.getLogger("headrace.run")


class Merging:
    """The rounds of one process over one declaration, one at a time."""

    def __init__(self, app: App, spark: SparkSession, progress: Progress = lambda *_: None) -> None:
        self._app = app
        self._spark = spark
        self._progress = progress
        self._merged: dict[str, int] = {}
        self._looked_at_targets = float("-inf")

    @cached_property
    def _notes(self) -> dict[System, Notes]:
        """Each connector tells of its own reads."""
        parts = {system: self._app.pipeline.of(system) for system in get_args(System)}
        kafka = self._app.endpoints.kafka
        return {system: Notes(kafka, part) for system, part in parts.items() if part.cdc_streams}

    def round(self) -> int:
        """Bring everything up to what the lake holds; returns the rows written to the star schema.

        May be called at any time, also after a kill anywhere. Spared, and good, if the lake's tables have the versions
        of the last whole round that was good, unless that is `LOOK_AT_TARGETS_EVERY_S` ago.
        Raises the first error after every table was tried. How it went stands in `rounds_file`; a Conflict is no
        failure, the next round repeats it.
        """
        file, began = rounds_file(self._app.settings), datetime.now(UTC)
        try:
            rows = self._round(began)
        except Conflict:
            raise
        except Exception as error:
            note_round(file, began.isoformat(), error)
            raise
        note_round(file, began.isoformat())
        return rows

    def book(self) -> None:
        """Files and ledger alone, for a run that does not merge."""
        app, url = self._app, lake_url(self._app)
        refresh_files(self._spark, app.pipeline, app.endpoints.kafka, url)
        refresh_ledger(self._spark, app.pipeline, url)

    def _round(self, now: datetime) -> int:
        app, spark, url = self._app, self._spark, lake_url(self._app)
        # The histories before they are booked and merged: what is committed meanwhile makes the next round a whole one.
        # The ledger's tables after it, as booking commits to them.
        lake = self._versions([stream.name for stream in app.pipeline.streams])
        lost: LedgerMismatch | None = None
        self._progress("files and ledger", 0, 0)
        try:
            self.book()
        except LedgerMismatch as error:
            # The other streams are booked; one cut log must not hold back everybody's star schema.
            lost = error
        lake |= self._versions(["files_sent", "ledger_files"])
        # A read of a table that found no row changes no history.
        lake["reads"] = self._reads()
        lake["transactions"] = self._transactions()
        if not lost and lake == self._merged and time.monotonic() - self._looked_at_targets < LOOK_AT_TARGETS_EVERY_S:
            return 0
        self._merged = {}
        # The whole round reads from one cut: it moves here and nowhere else.
        waits = move_cut(spark, app.pipeline, url, app.endpoints.kafka, now)
        merge_states(spark, app.pipeline, url, self._told, partial(self._progress, "current states"))
        report = merge_round(
            spark, app.pipeline, app.endpoints, now=now, progress=partial(self._progress, "the star schema")
        )
        for table in report.tables:
            if table.rows:
                log.info("%s: %s rows into %s in %.1f s", table.table, f"{table.rows:,}", table.target, table.seconds)
        report.check()
        if lost:
            raise lost
        # A cut that waits for the lake may be reached by what came meanwhile.
        self._merged, self._looked_at_targets = {} if waits else lake, time.monotonic()
        return report.rows

    def _transactions(self) -> int:
        """How much the topics of transactions hold: an END may come after all rows of its transaction were merged."""
        pipeline = self._app.pipeline
        topics = [pipeline.of(system).transaction_topic for system in pipeline.cut_groups]
        return sum(end for _, end in stable_ends(self._app.endpoints.kafka, topics).values())

    def _reads(self) -> int:
        return sum(notes.end() for notes in self._notes.values())

    def _told(self, stream: Stream) -> TableReads:
        return self._notes[stream.table_source.system].table_reads().get(stream.table_source.qualified, NO_READS)

    def _versions(self, tables: list[str]) -> dict[str, int]:
        url, pipeline = lake_url(self._app), self._app.pipeline.name
        return {name: TableTransaction(self._spark, table_path(url, pipeline, name)).read_version for name in tables}
