"""First reads of tables: which are done, and asking the connector to read a table that was added while it ran.

Debezium reads all tables when it first starts and never again by itself; a table added later would miss the rows it
already had. So it is asked by a signal for a *blocking* snapshot of those tables: it pauses the stream of changes,
reads them, and goes on where it stopped. A change between the pause and the read arrives after the row that already
shows it, so the last offset of a key still holds its newest content. What was read is told in the notifications topic,
in the same transactions as the rows.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from connectors import broker, debezium, signals
from connectors.guardian import steps
from connectors.mariadb import signal_table as mariadb_table
from connectors.postgres import marker, unaltered
from connectors.postgres import signal_table as postgres_table
from connectors.postgres.source import outlast_open_transactions
from connectors.reads.table_reads import Note, Notes, ends_before_read, is_anew
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import Fatal, Retryable, ServiceUnavailable
from contracts.stream import Pipeline, TableSource

# A snapshot that an error broke off is begun again by the connector itself.
_UNDER_WAY = {"STARTED", "DATA_COLLECTIONS_RESOLVED", "IN_PROGRESS", "TABLE_SCAN_COMPLETED", "RESUMED", "ABORTED"}
# Told only after the connector reached the database and, if it reads tables, has read the first.
_WORKS = {"TABLE_SCAN_COMPLETED", "COMPLETED", "SKIPPED"}
# A large table is IN_PROGRESS for hours; one that may not be read at all, only for a moment.
_READING_S = 3.0


@dataclass(frozen=True, slots=True)
class Reads:
    """`done`: tables (`schema.table`) read from beginning to end. `last`: the newest notification of a snapshot, empty
    if there is none yet. `begun`: how many snapshots were started, `begun_ms` when the last was. `told`: how many
    notifications there are. `since_ms`: of each table that is done, when the snapshot began that read it last."""

    done: frozenset[str]
    last: str
    begun: int
    told: int = 0
    begun_ms: int = 0
    since_ms: Mapping[str, int] = field(default_factory=dict)

    @property
    def under_way(self) -> bool:
        """Whether a snapshot runs. A connector that restarts says so, so a killed snapshot does not stay under way."""
        return self.last in _UNDER_WAY


def reads(kafka: str, pipeline: Pipeline) -> Reads:
    """What the notifications topic tells up to its end."""
    with closing(Notes(kafka, pipeline)) as notes:
        return reads_of(notes.all())


def reads_of(notes: Iterable[Note]) -> Reads:
    """What these notifications tell."""
    done: set[str] = set()
    since: dict[str, int] = {}
    last, begun, told, begun_ms = "", 0, 0, 0
    for note in notes:
        if is_anew(note):
            done.clear()
            since.clear()
        if note.get("aggregate_type") != "Initial Snapshot":
            continue
        last = str(note.get("type", ""))
        if last == "STARTED":
            begun, begun_ms = begun + 1, int(note.get("timestamp") or 0)
        told += 1
        data = note.get("additional_data") or {}
        if last == "TABLE_SCAN_COMPLETED":
            if data.get("status") in ("SUCCEEDED", "EMPTY"):
                done.add(data["scanned_collection"])
                since[data["scanned_collection"]] = begun_ms
            else:
                last = "ABORTED"  # the scan of this table ended with an error
    return Reads(frozenset(done), last, begun, told, begun_ms, since)


def reads_now(notes: Iterable[Note], tables: Iterable[str]) -> bool:
    """Whether these notifications tell that a snapshot with one of the tables reads, or has ended. That it has started
    is told before it takes up the tables' definitions."""
    wanted = set(tables)
    for note in notes:
        data = note.get("additional_data") or {}
        named = {*map(str.strip, str(data.get("data_collections", "")).split(",")), data.get("scanned_collection")}
        named.add(data.get("current_collection_in_progress"))
        if note.get("aggregate_type") == "Initial Snapshot" and wanted & named:
            return True
    return False


def missing(
    pipeline: Pipeline, found: Reads, running: Mapping[str, str], unpublished: Collection[str] = ()
) -> list[str]:
    """The declared tables that must still be read although the connector runs: those that its config or the publication
    did not include until now (whatever was read of them before has a gap after it), and those whose read never
    ended."""
    included = set(running.get("table.include.list", "").split(","))
    declared = sorted(stream.table_source.qualified for stream in pipeline.cdc_streams)
    added = [name for name in declared if re.escape(name) not in included or name in unpublished]
    if found.under_way or not found.last:
        return added  # the first read of the others is under way or about to begin
    return [name for name in declared if name in added or name not in found.done]


def request(endpoints: Endpoints, pipeline: Pipeline, tables: Iterable[str], *, timeout_s: float = 120.0) -> None:
    """Asks the connector of Postgres for a blocking snapshot of `tables`, see `begin`. ServiceUnavailable also if a
    transaction from before the tables were published stays open, or the connector does not come to the end of the
    changes (`unaltered`)."""
    earlier_taken(endpoints, pipeline, meanwhile=lambda: marker.emit(endpoints.source))
    outlast_open_transactions(endpoints.source, timeout_s=timeout_s)
    tables, held = list(tables), unaltered.Unaltered(endpoints, pipeline)
    try:
        held.hold(timeout_s=timeout_s)
        # A restarted connector looks for its place in the WAL until the next change comes, and takes no other request
        # meanwhile, nor does it send heartbeats; in an idle database that would be for ever.
        begin(endpoints, pipeline, tables, meanwhile=lambda: marker.emit(endpoints.source), timeout_s=timeout_s)
    finally:
        altered = held.let_go()
    if altered:
        raise ServiceUnavailable(
            unaltered.why(altered),
            state=f"{', '.join(tables)}: the read goes on.",
            next_step="`headrace resnapshot STREAM` for each of them",
        )


def earlier_taken(
    endpoints: Endpoints, part: Pipeline, *, meanwhile: Callable[[], object] = lambda: None, timeout_s: float = 30.0
) -> None:
    """Returns when the connector has noted in Kafka, as it does every five seconds, that it has taken up every request
    of before, and reads nothing. `meanwhile` is called now and then until it has.

    What it has noted it never obeys again. Otherwise a part of a table that a kill lets it read once more would come
    behind what is noted of the next read, and pass for that. And Debezium for MariaDB hangs on two requests that wait
    at once, as after a kill of their callers or of Connect: two of its threads pause for the first, and stay so (seen
    with 3.5.0).

    Raises:
        Retryable: it reads tables. ServiceUnavailable: it takes nothing up in time.
    """
    name, at = debezium.connector_name(part), TopicPartition(debezium.signals_topic(part), 0)
    deadline = time.monotonic() + timeout_s
    with (
        broker.answering(endpoints.kafka, "which requests were taken up is not known", state="Nothing was asked for."),
        _in_its_name(endpoints.kafka, part) as reader,
    ):
        # Kafka's client asks for what is noted for ever, unless it is told otherwise.
        patience_ms = round(timeout_s * 1000)
        # What is kept no longer nobody takes up any more.
        while reader.end_offsets([at])[at] > max(
            reader.committed(at, timeout_ms=patience_ms) or 0, reader.beginning_offsets([at])[at]
        ):
            meanwhile()
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"connector {name} has not taken up an earlier request to read tables within {timeout_s:.0f} s",
                    state="That one is kept; nothing else was asked for.",
                    next_step="`headrace status` says whether it runs; where it does and nothing moves, start it "
                    f"anew: {steps.start_anew(name, endpoints.connect_url)[0]}",
                )
            time.sleep(0.5)
    while reads(endpoints.kafka, part).under_way:
        if time.monotonic() > deadline:
            raise reads_already(name)
        time.sleep(0.5)


def never_to_be_obeyed(kafka: str, part: Pipeline) -> None:
    """Notes, for a connector that is stopped, that it has taken up every request of before. One without a position
    reads every table by itself; a part of one that it was asked for before would come behind that and pass for a read
    of the whole. ServiceUnavailable if Kafka does not take it."""
    at = TopicPartition(debezium.signals_topic(part), 0)
    with (
        broker.answering(kafka, "requests of before still stand", state="The connector was not started."),
        _in_its_name(kafka, part) as writer,
    ):
        if end := writer.end_offsets([at])[at]:
            writer.commit({at: OffsetAndMetadata(end, "", -1)})


def _in_its_name(kafka: str, part: Pipeline) -> closing[KafkaConsumer]:
    """Sees and moves which signals the connector has taken up."""
    group = debezium.signals_group(part)
    return closing(KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False))


def reads_already(connector: str) -> Retryable:
    """The error of whoever asks for a read during one."""
    return Retryable(
        "the connector reads tables at this moment",
        state="Nothing was asked for.",
        next_step="repeat it when that has ended",
        connector=connector,
    )


def begin(
    endpoints: Endpoints,
    part: Pipeline,
    tables: Iterable[str],
    *,
    meanwhile: Callable[[], object] = lambda: None,
    timeout_s: float = 120.0,
) -> None:
    """Asks for a blocking snapshot of `tables` and returns when it has begun, not when it has ended: that may take
    hours. Asking twice reads twice, which changes no table. ServiceUnavailable if it does not begin in time."""
    names = list(tables)
    with closing(Notes(endpoints.kafka, part)) as notes, Connect(endpoints.connect_url) as connect:
        ends_before_read(endpoints.kafka, part, names)
        before = len(notes.all())
        ask(endpoints, part, connect, names)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            meanwhile()
            if reads_now(notes.all()[before:], names):
                return
            time.sleep(1.0)
    raise ServiceUnavailable(
        f"the connector did not begin to read {', '.join(names)} within {timeout_s:.0f} s",
        state="The request is kept: the connector reads the tables as soon as it runs. Alter none until then.",
        next_step="`headrace plan` shows whether it did",
        pipeline=part.name,
    )


def ask(endpoints: Endpoints, part: Pipeline, connect: Connect, tables: Iterable[str], where: str = "") -> None:
    """Asks the connector to read `tables`, or of one table what a condition in SQL is true for, where it takes requests
    as it runs: in a table of the source, or over Kafka. Signals are obeyed one after another.

    ServiceUnavailable if that does not answer, Fatal if the table is not fit for it.
    """
    running = connect.config(debezium.connector_name(part))
    name = signals.heard(running)
    if running is None or not name:
        signal(endpoints.kafka, part, tables, where)
        return
    request = _request(part, list(tables), where)
    row = (request["id"], request["type"], json.dumps(request["data"]))
    if part.of("mariadb").cdc_streams:
        mariadb_table.write(endpoints, part, name, row)
    else:
        postgres_table.write(endpoints, part, name, running["publication.name"], row)


def signal(kafka: str, pipeline: Pipeline, tables: Iterable[str], where: str = "") -> None:
    """As `ask`, over Kafka. ServiceUnavailable if Kafka does not take it."""
    names = list(tables)
    broker.send(
        kafka,
        debezium.signals_topic(pipeline),
        json.dumps(_request(pipeline, names, where)).encode(),
        key=pipeline.name.encode(),
        what=f"Kafka did not take the request to read {', '.join(names)}",
        state="Changes go on. Whether the request was kept is not known; asking twice reads twice, which changes no "
        "table.",
    )


def _request(pipeline: Pipeline, names: list[str], where: str) -> dict[str, Any]:
    """Blocking, not incremental: an incremental snapshot that is asked for over Kafka fills its first chunk beside the
    stream, so a change at that moment can be sent before the older row; a TRUNCATE can be, too.
    """
    data: dict[str, object] = {"type": "BLOCKING", "data-collections": [re.escape(name) for name in names]}
    if where:
        (table,) = names
        source = next(one.table_source for one in pipeline.cdc_streams if one.table_source.qualified == table)
        # Debezium parses this name although it calls it an expression.
        data["additional-conditions"] = [{"data-collection": table, "filter": select(source, where)}]
    return {"id": uuid.uuid4().hex, "type": "execute-snapshot", "data": data}


def select(table: TableSource, where: str, *, within: tuple[str, str] = ("(", ")")) -> str:
    """The rows of a table that the condition is true for, in its system's SQL."""
    mark = "`" if table.system == "mariadb" else '"'
    quoted = ".".join(mark + name.replace(mark, mark * 2) + mark for name in (table.schema, table.table))
    # On a line of its own: the condition may end with a comment.
    return f"SELECT * FROM {quoted} WHERE {within[0]}\n{where}\n{within[1]}"


def not_taken(system: str, said: str, table: TableSource) -> Fatal:
    """The error for a condition that the database does not understand."""
    return Fatal(
        f"{system} does not take the condition: {said}",
        state="Nothing was asked for.",
        next_step="write what could stand behind WHERE in a query of this table alone",
        table=table.qualified,
    )


def wait_works(kafka: str, pipeline: Pipeline, connect: Connect, *, told: int, timeout_s: float = 90.0) -> None:
    """Returns when the connector, started after `told` notifications, has told that it works. RUNNING alone says
    little: Debezium keeps a task that may not read its tables RUNNING, and tries for ever.

    Fatal with the trace if it failed, ServiceUnavailable if it tells nothing in time.
    """
    name = debezium.connector_name(pipeline)
    deadline = time.monotonic() + timeout_s
    reading_since: float | None = None
    while (now := time.monotonic()) < deadline:
        connect.wait_running(name, timeout_s=timeout_s, settled_s=0)
        found = reads(kafka, pipeline)
        if found.told > told and found.last in _WORKS:
            return
        if found.told == told or found.last != "IN_PROGRESS":
            reading_since = None
        elif reading_since is None:
            reading_since = now
        elif now - reading_since >= _READING_S:
            return
        time.sleep(0.3)
    raise ServiceUnavailable(
        f"connector {name} runs, but told nothing of its first read within {timeout_s:.0f} s"
        if found.last != "ABORTED"
        else f"connector {name} runs, but its first read is broken off again and again",
        state="It goes on trying.",
        next_step="look for the first ERROR in the Connect worker's log",
        connect=connect.url,
    )
