"""How far the MariaDB connector has come: GTIDs, which name transactions and never order the rows of the lake.

Nothing is written to the source to find that out: on a replica a transaction of one's own would be an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition

from connectors import debezium
from connectors.broker import Offsets
from connectors.mariadb import source as mariadb
from connectors.reads import snapshots
from connectors.reads.table_reads import Notes
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline

_TOLD = 500
# A definition (CREATE, ALTER, TRUNCATE) has a beginning and no end in the topic of transactions.
_SETTLED_S = 3.0


def sequence_numbers(gtids: str) -> dict[str, int]:
    """`0-7-15,1-7-3` as the last sequence number of each domain."""
    found: dict[str, int] = {}
    for gtid in filter(None, (part.strip() for part in gtids.split(","))):
        domain, _, number = gtid.split("-")
        found[domain] = max(found.get(domain, 0), int(number))
    return found


def reached(target: Mapping[str, int], held: Mapping[str, int]) -> bool:
    """Whether everything up to `target` is in what is held."""
    return all(held.get(domain, 0) >= number for domain, number in target.items())


def first_read_runs(offset: Mapping[str, object]) -> bool:
    """Whether this stored offset is one of a first read, before which there was no stream.

    Debezium that was restarted while it read a table on demand streams on with that read's mark, until one has ended.
    """
    return offset.get("snapshot") not in (None, "BLOCKING")


def _reads_on_demand(offset: Mapping[str, object], notes: Notes) -> bool:
    """Whether it reads a table at this moment: rows that were committed long ago are on their way."""
    return offset.get("snapshot") == "BLOCKING" and snapshots.reads_of(notes.all()).under_way


def quiesced(part: Pipeline, endpoints: Endpoints, *, timeout_s: float = 60.0) -> Offsets:
    """Returns the end offset of each table's topic once every change that the server had committed before the call
    lies below it. ServiceUnavailable if that does not come to be in time, for example because the first read runs.
    """
    with mariadb.connected(endpoints.mariadb) as cursor:
        target = sequence_numbers(str(mariadb.variables(cursor, "gtid_binlog_pos").get("gtid_binlog_pos", "")))
    partitions = [TopicPartition(stream.topic, 0) for stream in part.cdc_streams]
    consumer = KafkaConsumer(
        bootstrap_servers=endpoints.kafka, isolation_level="read_committed", enable_auto_commit=False, group_id=None
    )
    told, notes = _Told(consumer, part.transaction_topic), Notes(endpoints.kafka, part)
    deadline = time.monotonic() + timeout_s
    seen: object = None
    since = time.monotonic()
    try:
        with Connect(endpoints.connect_url) as connect:
            while time.monotonic() < deadline:
                offset = connect.source_offset(debezium.connector_name(part))
                told.read()
                ends = {(p.topic, p.partition): int(end) for p, end in consumer.end_offsets(partitions).items()}
                if (now := (offset, ends, dict(told.begun))) != seen:
                    seen, since = now, time.monotonic()
                if offset and not first_read_runs(offset) and not _reads_on_demand(offset, notes):
                    kept = sequence_numbers(str(offset.get("gtids", "")))
                    ended = {d: max(kept.get(d, 0), told.ended.get(d, 0), told.begun.get(d, 1) - 1) for d in target}
                    begun = {d: max(ended[d], told.begun.get(d, 0)) for d in target}
                    settled = time.monotonic() - since >= _SETTLED_S
                    if reached(target, ended) or (settled and reached(target, begun)):
                        ends = consumer.end_offsets(partitions)
                        return {(p.topic, p.partition): int(end) for p, end in ends.items()}
                time.sleep(0.2)
    finally:
        consumer.close()
        notes.close()
    raise ServiceUnavailable(
        f"the changes up to {target} did not reach Kafka in {timeout_s:.0f} s",
        next_step="see that the connector runs and has finished its first read: `headrace status`",
        connector=debezium.connector_name(part),
    )


class _Told:
    """What the topic of transactions tells of the newest: by domain, the last that began and the last that ended."""

    def __init__(self, consumer: KafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._partition = TopicPartition(topic, 0)
        self.begun: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        consumer.assign([self._partition])
        first, end = (
            ask([self._partition])[self._partition] for ask in (consumer.beginning_offsets, consumer.end_offsets)
        )
        consumer.seek(self._partition, max(first, end - _TOLD))

    def read(self) -> None:
        """Takes in what came since the last call."""
        for records in self._consumer.poll(timeout_ms=200).values():
            for record in records:
                note = json.loads(record.value)
                held = self.begun if note["status"] == "BEGIN" else self.ended
                for domain, number in sequence_numbers(str(note["id"])).items():
                    held[domain] = max(held.get(domain, 0), number)
