"""How far the reads of tables are that a connector is at: from what it told, and from what is in the tables' topics."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace

from kafka import KafkaConsumer, TopicPartition

from connectors import broker
from connectors.reads import snapshots
from connectors.reads.table_reads import Note, Notes, is_anew
from contracts.stream import Pipeline


@dataclass(frozen=True, slots=True)
class TableRead:
    """One table (`schema.table`) of a read that is under way. `again`: it was read to its end before. `begun_ms`: when
    its own turn came, 0 if it waits for others. `rows`: how many of it are in Kafka, changes of that time among them;
    None if nobody asked."""

    table: str
    again: bool
    begun_ms: int
    rows: int | None = None

    def said(self, about: int | None = None) -> str:
        """In words; `about` is how many rows the source expects to have."""
        what = "reading again" if self.again else "first read"
        if not self.begun_ms:
            return f"{what}: waits for the tables before it"
        of = f" of about {about:,}" if about else ""
        return f"{what}: {self.rows or 0:,}{of} rows"


def reads_under_way(kafka: str, part: Pipeline) -> list[TableRead]:
    """The tables that the part's connector reads at this moment or will next; empty if no read is under way.

    ServiceUnavailable if Kafka does not answer.
    """
    with closing(Notes(kafka, part)) as notes:
        found = under_way(notes.all())
    topics = {stream.table_source.qualified: stream.topic for stream in part.cdc_streams}
    begun = {TopicPartition(topics[one.table], 0): one for one in found if one.begun_ms and one.table in topics}
    rows = _rows(kafka, {place: one.begun_ms for place, one in begun.items()})
    counted = {one.table: rows.get(place) for place, one in begun.items()}
    return [replace(one, rows=counted.get(one.table)) for one in found if one.table in topics]


def under_way(notes: Iterable[Note]) -> list[TableRead]:
    """What these notifications tell of the read that has not ended, tables that are done with left out."""
    notes = list(notes)
    if not snapshots.reads_of(notes).under_way:
        return []
    begun: dict[str, int] = {}
    ended: set[str] = set()
    before: set[str] = set()
    for note in notes:
        if is_anew(note):
            before, ended = set(), set()
        if note.get("aggregate_type") != "Initial Snapshot":
            continue
        kind, data = note.get("type"), note.get("additional_data") or {}
        if kind == "STARTED":
            begun, ended = {}, set()
        elif kind == "COMPLETED":
            before |= ended
        elif kind == "IN_PROGRESS":
            for table in filter(None, map(str.strip, str(data.get("data_collections", "")).split(","))):
                begun.setdefault(table, 0)
            begun[data["current_collection_in_progress"]] = int(note.get("sent_ms") or 1)
        elif kind == "TABLE_SCAN_COMPLETED" and data.get("status") in ("SUCCEEDED", "EMPTY"):
            ended.add(data["scanned_collection"])
    return [TableRead(table, table in before, at) for table, at in begun.items() if table not in ended]


def _rows(kafka: str, begun: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    """How many records came into each topic since a time, those of a transaction that is still open among them."""
    if not begun:
        return {}
    with (
        broker.answering(kafka, "Kafka did not say how much of the tables is read", state="The read goes on."),
        closing(KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, group_id=None)) as consumer,
    ):
        first = consumer.offsets_for_times(begun)
        ends = consumer.end_offsets(list(begun))
    # Without a record since then there is no row of it.
    return {place: int(ends[place]) - int(at.offset) if (at := first.get(place)) else 0 for place in begun}
