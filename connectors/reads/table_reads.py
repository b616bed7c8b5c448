"""The notifications topic: what Debezium tells of its reads of tables, and between that what headrace asked for.

One partition, kept for ever, so its order is the order of events. Before anything makes the connector read, headrace
notes where each table's topic ends; Debezium's own second start of a read that a kill broke off is placed by its time.
Two things follow from that which no row can say: a read that found no row, or one, was whole; and rows read by a
condition are a part of the table.

A signal may be obeyed twice: Debezium stores its place in the topic of signals every few seconds, so a kill lets it
read a part once more that has long ended. So whatever comes is of a part, until the whole table is asked for; and that
is done once the place is stored (`snapshots.earlier_taken`, `snapshots.never_to_be_obeyed`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from connectors import broker, debezium, topics
from contracts.stream import Pipeline
from contracts.table_reads import FewRows, Place, TableReads

Note = Mapping[str, Any]

OURS = "headrace"
_BEFORE, _PART, _PART_ENDED, _SOURCE = "BEFORE_READ", "PART_REQUESTED", "PART_ENDED", "SOURCE"
_ANEW = "ALL_ANEW"


class Notes:
    """The topic's records so far, read on from where the last call ended; for one thread."""

    def __init__(self, kafka: str, pipeline: Pipeline) -> None:
        self._kafka, self._pipeline = kafka, pipeline
        self._place = TopicPartition(debezium.notifications_topic(pipeline), 0)
        self._consumer: KafkaConsumer | None = None
        self._found: list[Note] = []
        self._places: dict[tuple[str, int], Place | None] = {}
        self._next = 0

    def all(self) -> list[Note]:
        """Every record up to the end of this moment; empty if there is no such topic yet.

        ServiceUnavailable if the broker does not answer.
        """
        what = "Kafka did not say what the connector has read"
        try:
            with broker.answering(self._kafka, what, state="Nothing was changed.", topic=self._place.topic):
                self._read()
        except Exception:
            self.close()  # the next call begins anew
            raise
        return self._found

    def table_reads(self) -> dict[str, TableReads]:
        """What is to be known of each table (`schema.table`)."""
        return table_reads(self.all(), self._place_at)

    def _place_at(self, table: str, sent_ms: int) -> Place | None:
        if (table, sent_ms) not in self._places:
            self._places[table, sent_ms] = _place_at(self._kafka, self._pipeline, table, sent_ms)
        return self._places[table, sent_ms]

    def end(self) -> int:
        """A number that rises with every record; see `all`."""
        self.all()
        return self._next

    def close(self) -> None:
        """Let go of the connection; the next call opens it again."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _read(self) -> None:
        if self._consumer is None:
            self._consumer = broker.reader(self._kafka)
            self._next = 0
        consumer, place = self._consumer, self._place
        if self._next == 0:
            self._found = []
            if not broker.placed(consumer, place.topic):
                return
        for record in broker.rest(consumer, place):
            self._found.append({**json.loads(record.value), "sent_ms": record.timestamp})
        self._next = int(consumer.position(place))


@dataclass(frozen=True, slots=True)
class Source:
    """Which server the connector reads: one that was restored or promoted has another of these."""

    system_identifier: str
    timeline: int


def ends_before_read(kafka: str, pipeline: Pipeline, tables: Collection[str] = ()) -> None:
    """Notes where the topics end; call it before anything that makes the connector read `tables` (all, if none is
    named) from beginning to end."""
    named = {"tables": sorted(tables)} if tables else {}
    _write(kafka, pipeline, _BEFORE, {**named, "ends": ends(kafka, pipeline)})


def all_anew(kafka: str, pipeline: Pipeline) -> None:
    """Notes that what was read until now does not count any more: every table must be read."""
    _write(kafka, pipeline, _ANEW, {})


def is_anew(note: Note) -> bool:
    """Whether this is such a note."""
    return _ours(note, _ANEW)


def part_requested(kafka: str, pipeline: Pipeline, table: str) -> str:
    """Notes that what is read of `table` from here on is a part; returns what `part_ended` takes. Until that was called
    and the whole table is asked for, no read of it deletes what it did not find."""
    request = uuid.uuid4().hex
    _write(kafka, pipeline, _PART, {"id": request, "table": table, "ends": ends(kafka, pipeline)})
    return request


def part_ended(kafka: str, pipeline: Pipeline, requests: Iterable[str]) -> None:
    """Notes that every row of these reads is in Kafka and no more will come of them."""
    # Of uncommitted records too: the transaction that told of the end may not have reached the table's topic.
    reached = ends(kafka, pipeline, committed=False)
    for request in requests:
        _write(kafka, pipeline, _PART_ENDED, {"id": request, "ends": reached})


def parts_ended(kafka: str, pipeline: Pipeline) -> None:
    """`part_ended` of all whose caller did not see the end: of those that nobody obeys any more. Otherwise the next
    read of their tables, which is whole, would delete nothing."""
    with closing(Notes(kafka, pipeline)) as notes:
        requests = [one for interrupted in open_parts(notes.all()).values() for one in interrupted]
    if requests:
        part_ended(kafka, pipeline, requests)


def source_is(kafka: str, pipeline: Pipeline, source: Source) -> None:
    """Notes which server the connector reads from now on."""
    known = {"system_identifier": source.system_identifier, "timeline": source.timeline}
    _write(kafka, pipeline, _SOURCE, known)


def known_source(notes: Iterable[Note]) -> Source | None:
    """The server that was noted last."""
    found = [note["additional_data"] for note in notes if _ours(note, _SOURCE)]
    return Source(str(found[-1]["system_identifier"]), int(found[-1]["timeline"])) if found else None


def open_parts(notes: Iterable[Note]) -> dict[str, list[str]]:
    """By table, the reads of a part that are not known to have ended."""
    found: dict[str, str] = {}
    for note in notes:
        if _ours(note, _PART):
            found[note["additional_data"]["id"]] = note["additional_data"]["table"]
        elif _ours(note, _PART_ENDED):
            found.pop(note["additional_data"]["id"], None)
    return {table: [one for one in found if found[one] == table] for table in set(found.values())}


def table_reads(
    notes: Iterable[Note], place_at: Callable[[str, int], Place | None] = lambda *_: None
) -> dict[str, TableReads]:
    """What is to be known of each table (`schema.table`). `place_at` takes a table and a time in milliseconds, and says
    where the first record since then lies, or will."""
    parts: dict[str, dict[str, _Part]] = {}
    asked: dict[str, str] = {}
    few: dict[str, tuple[Place | int, int]] = {}
    ends: dict[str, Place] = {}
    begun: tuple[int, dict[str, Place]] = (0, {})
    for note in notes:
        data = note.get("additional_data") or {}
        if _ours(note, _BEFORE):
            ends = _places(data)
            for table in data.get("tables") or parts:
                for part in parts.get(table, {}).values():
                    part.whole_asked_for(ends.get(table))
        elif _ours(note, _PART):
            asked[data["id"]] = table = data["table"]
            parts.setdefault(table, {})[data["id"]] = _Part(_places(data)[table])
        elif _ours(note, _PART_ENDED) and data["id"] in asked:
            table = asked[data["id"]]
            parts[table][data["id"]].ended = _places(data)[table]
        elif note.get("aggregate_type") == "Initial Snapshot":
            if note.get("type") == "STARTED":
                # What was noted counts once: a second start follows rows that the first may have sent.
                begun, ends = (int(note.get("sent_ms", 0)), ends), {}
            table = data.get("scanned_collection", "")
            rows = int(data.get("total_rows_scanned", 2))
            whole = note.get("type") == "TABLE_SCAN_COMPLETED" and data.get("status") in ("SUCCEEDED", "EMPTY")
            a_part = any(part.end is None for part in parts.get(table, {}).values())
            if whole and rows < 2 and not a_part:
                few[table] = begun[1].get(table, begun[0]), rows
    found = {table: TableReads(tuple((one.first, one.end) for one in all_.values())) for table, all_ in parts.items()}
    for table, (place, rows) in few.items():
        # Before a time, only a process that is no more can have sent anything, or one that reads.
        found_at = place_at(table, place) if isinstance(place, int) else place
        if found_at:
            found[table] = TableReads(found.get(table, TableReads()).parts, FewRows(found_at, rows))
    return found


@dataclass(slots=True)
class _Part:
    """Where the rows of a read of a part lie, also those of a second one that nobody asked for: up to `end`."""

    first: Place
    ended: Place | None = None
    end: Place | None = None

    def whole_asked_for(self, place: Place | None) -> None:
        """The topic ended at `place`. One that is not known to have ended may still come between."""
        if self.ended is None or self.end is not None:
            return
        # What was not committed when it ended lies behind the committed end of a moment later.
        same = place is not None and place.topic_id == self.ended.topic_id
        self.end = place if place and same and place.offset > self.ended.offset else self.ended


def _ours(note: Note, kind: str) -> bool:
    return note.get("aggregate_type") == OURS and note.get("type") == kind


def _places(data: Mapping[str, Any]) -> dict[str, Place]:
    return {table: Place(topic_id, int(offset)) for table, (topic_id, offset) in data["ends"].items()}


def ends(kafka: str, pipeline: Pipeline, *, committed: bool = True) -> dict[str, tuple[str, int]]:
    """Where each table's topic ends; those that do not exist are left out. ServiceUnavailable if Kafka does not say."""
    declared = {stream.topic: stream.table_source.qualified for stream in pipeline.cdc_streams}
    level = "read_committed" if committed else "read_uncommitted"
    with _answering(kafka):
        with topics.admin(kafka) as client:
            present = sorted(set(client.list_topics()) & set(declared))
            ids = {one["name"]: str(one["topic_id"]) for one in client.describe_topics(present)} if present else {}
        with closing(
            KafkaConsumer(bootstrap_servers=kafka, isolation_level=level, enable_auto_commit=False, group_id=None)
        ) as consumer:
            found = consumer.end_offsets([TopicPartition(topic, 0) for topic in ids]) if ids else {}
    return {declared[place.topic]: (ids[place.topic], int(end)) for place, end in found.items()}


def _answering(kafka: str) -> AbstractContextManager[None]:
    return broker.answering(
        kafka, "Kafka did not say where the tables' topics end", state="The connector was asked for nothing more."
    )


def _place_at(kafka: str, pipeline: Pipeline, table: str, sent_ms: int) -> Place | None:
    now = ends(kafka, pipeline).get(table)
    if now is None:
        return None
    topic = next(stream.topic for stream in pipeline.cdc_streams if stream.table_source.qualified == table)
    partition = TopicPartition(topic, 0)
    with (
        _answering(kafka),
        closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, group_id=None)) as consumer,
    ):
        found = consumer.offsets_for_times({partition: sent_ms})[partition]
        kept_from = consumer.beginning_offsets([partition])[partition]
    # Without a record since then, all that there was when the end was asked for is older.
    place = int(found.offset) if found else now[1]
    # Those of that time may be deleted: then nobody knows.
    return Place(now[0], place) if place > kept_from else None


def _write(kafka: str, pipeline: Pipeline, kind: str, data: Mapping[str, Any]) -> None:
    note = {
        "id": uuid.uuid4().hex,
        "aggregate_type": OURS,
        "type": kind,
        "additional_data": dict(data),
        "timestamp": int(time.time() * 1000),
    }
    broker.send(
        kafka,
        debezium.notifications_topic(pipeline),
        json.dumps(note).encode(),
        partition=0,
        what=f"Kafka did not take a note of the connector's reads ({kind})",
        state="What was noted and asked for before stands. Whether this note was kept is not known; one too many does "
        "no harm.",
    )
