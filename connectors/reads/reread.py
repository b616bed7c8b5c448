"""Reading one table again while its changes go on: asked for by a signal, followed to its end.

The connector pauses the stream of changes, reads, and goes on where it stopped (snapshots.py). A read of the whole
table also says which rows are gone; a read by a condition says nothing of the other rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from connectors import debezium
from connectors.mariadb.reread import MariadbTable
from connectors.postgres.reread import PostgresTable
from connectors.reads import snapshots
from connectors.reads.table_reads import Note, Notes, ends, ends_before_read, open_parts, part_ended, part_requested
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import Fatal, Retryable, ServiceUnavailable
from contracts.stream import Pipeline

_LOOK_EVERY_S = 1.0
_ASK_CONNECT_EVERY_S = 5.0

Progress = Callable[[int], None]
"""Takes how many records came into the table's topic since the read was asked for: rows, and changes beside them."""


@dataclass(frozen=True, slots=True)
class Reread:
    """`rows` were read; whoever has taken in the topic up to `end` has them all."""

    rows: int
    end: int


class Table(Protocol):
    """What the source systems differ in when one of their tables is read again."""

    def about_rows(self, where: str) -> int:
        """How many rows the database expects. Fatal if it does not understand the condition."""

    def prepare(self, *, timeout_s: float) -> None:
        """Called before each request; returns when nothing of before can come between. ServiceUnavailable if that
        takes longer, and nothing is held."""

    def wake(self) -> None:
        """Called now and then until the connector begins: what makes it take requests up where nothing changes."""

    def begun(self) -> None:
        """Called as soon as the connector reads, and in any case in the end: what `prepare` holds is given back."""

    def changed(self) -> str:
        """Why what was read since `prepare` may not be what the table holds, empty if it is."""


def about_rows(endpoints: Endpoints, part: Pipeline, table: str, where: str = "") -> int:
    """How many rows the source expects. Fatal if it does not understand the condition."""
    return _table(endpoints, part, table).about_rows(where)


def _table(endpoints: Endpoints, part: Pipeline, name: str) -> Table:
    source = next(one.table_source for one in part.cdc_streams if one.table_source.qualified == name)
    if source.system == "mariadb":
        return MariadbTable(endpoints, part, source)
    return PostgresTable(endpoints, part, source)


def read_again(
    endpoints: Endpoints,
    part: Pipeline,
    table: str,
    where: str = "",
    *,
    progress: Progress = lambda _: None,
    begins_within_s: float = 120.0,
) -> Reread:
    """Lets the connector of `part` read `table` again, or what of it `where` is true for; returns when all is in Kafka.

    One caller at a time, `apply` included: what one asked for would be taken for what the other did. May be called
    again after any interruption.

    Raises:
        Fatal: there is no connector, it failed, or the table cannot be read.
        Retryable: the read did not begin in time, was broken off by a restart of the connector, or does not count.
    """
    with closing(Notes(endpoints.kafka, part)) as notes, Connect(endpoints.connect_url) as connect:
        read = _Read(endpoints, part, table, notes, connect, progress, begins_within_s)
        if interrupted := open_parts(notes.all()).get(table, []):
            # Somebody asked for a part and did not see it end; perhaps it is still to come. Signals are obeyed in
            # their order: after this whole one it is over.
            read.whole()
            part_ended(endpoints.kafka, part, interrupted)
        return read.part(where) if where else read.whole()


class _Read:
    def __init__(
        self,
        endpoints: Endpoints,
        pipeline: Pipeline,
        table: str,
        notes: Notes,
        connect: Connect,
        progress: Progress,
        begins_within_s: float,
    ) -> None:
        self._endpoints, self._pipeline, self._table = endpoints, pipeline, table
        self._notes, self._connect, self._progress = notes, connect, progress
        self._begins_within_s = begins_within_s
        self._source = _table(endpoints, pipeline, table)

    def whole(self) -> Reread:
        with self._prepared() as mark:
            ends_before_read(self._endpoints.kafka, self._pipeline, [self._table])
            return self._signal_and_follow("", mark)

    def part(self, where: str) -> Reread:
        with self._prepared() as mark:
            request = part_requested(self._endpoints.kafka, self._pipeline, self._table)
            done = self._signal_and_follow(where, mark)
        part_ended(self._endpoints.kafka, self._pipeline, [request])
        return done

    @contextmanager
    def _prepared(self) -> Iterator[int]:
        """How many notes there were when nothing was read any more: what comes of the request is told behind them."""
        self._check_connector()
        self._nothing_is_read()
        self._progress(0)
        try:
            snapshots.earlier_taken(self._endpoints, self._pipeline, meanwhile=self._source.wake)
            self._source.prepare(timeout_s=self._begins_within_s)
            yield self._nothing_is_read()  # a request of before may have come by now
        finally:
            self._source.begun()

    def _nothing_is_read(self) -> int:
        if snapshots.reads_of(noted := self._notes.all()).under_way:
            raise snapshots.reads_already(debezium.connector_name(self._pipeline))
        return len(noted)

    def _signal_and_follow(self, where: str, mark: int) -> Reread:
        before = self._topic_end()
        snapshots.ask(self._endpoints, self._pipeline, self._connect, [self._table], where)
        asked = looked = time.monotonic()
        while True:
            told = self._notes.all()[mark:]
            state, rows = _outcome(told, self._table)
            if snapshots.reads_now(told, [self._table]):
                self._source.begun()
            if state == "done":
                self._check_source()
                return Reread(rows, self._topic_end())
            if state == "waiting":
                self._still_waits(asked)
            elif state != "reading":
                self._raise(state)
            self._progress(max(0, self._topic_end() - before))
            if time.monotonic() - looked >= _ASK_CONNECT_EVERY_S:
                looked = time.monotonic()
                self._check_connector()
            time.sleep(_LOOK_EVERY_S)

    def _still_waits(self, asked: float) -> None:
        self._source.wake()
        if time.monotonic() - asked > self._begins_within_s:
            raise ServiceUnavailable(
                f"the connector did not begin to read {self._table} within {self._begins_within_s:.0f} s",
                state="The request is kept, if Connect was not killed since: the connector reads the table as soon as "
                "it can. Alter none until then.",
                next_step="`headrace status`; then repeat it, which reads twice and changes nothing",
            )

    def _raise(self, state: str) -> None:
        if state == "failed":
            raise Fatal(
                f"the connector could not read {self._table}",
                state="Its changes go on.",
                next_step="look for the first ERROR in the Connect worker's log: `headrace logs connect`",
            )
        raise Retryable(
            f"the connector broke off reading {self._table}: it was restarted, or the Connect worker's log says why",
            state="What it had read is in the topic; nothing is deleted for it.",
            next_step="repeat it, then `headrace verify`",
        )

    def _check_source(self) -> None:
        if why := self._source.changed():
            raise Retryable(
                f"{self._table} was read, and may have been read wrong: {why}",
                state="What was read is in the topic.",
                next_step="repeat it",
            )

    def _check_connector(self) -> None:
        name = debezium.connector_name(self._pipeline)
        status = self._connect.status(name)
        if status is None or status.failed or status.connector in ("STOPPED", "PAUSED"):
            trace = f"\n{status.trace.strip()}" if status and status.trace else ""
            raise Fatal(
                f"connector {name} does not run: {status or 'there is none'}{trace}",
                state="The table was not read to its end.",
                next_step="`headrace plan` says why, `headrace apply` starts it",
            )

    def _topic_end(self) -> int:
        return ends(self._endpoints.kafka, self._pipeline, committed=False)[self._table][1]


def _outcome(
    notes: Iterable[Note], table: str
) -> tuple[Literal["waiting", "reading", "done", "failed", "broken off"], int]:
    """What became of a read of this table according to the notifications since it was asked for."""
    begun, rows = False, -1
    for note in notes:
        if note.get("aggregate_type") != "Initial Snapshot":
            continue
        kind, data = note.get("type"), note.get("additional_data") or {}
        if kind == "STARTED":
            begun, rows = True, -1
        elif kind == "TABLE_SCAN_COMPLETED" and data.get("scanned_collection") == table:
            if data.get("status") not in ("SUCCEEDED", "EMPTY"):
                return "failed", 0
            rows = int(data.get("total_rows_scanned", 0))
        elif kind == "COMPLETED":
            # Told after the last row, unlike the end of the scan.
            if rows >= 0:
                return "done", rows
            begun = False
        elif begun and kind in ("ABORTED", "SKIPPED"):
            return "broken off", 0
    return ("reading" if begun else "waiting"), 0
