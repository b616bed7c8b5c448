"""What the source told of its own DDL, if `ddl_capture.sql` is installed there: logical messages among the markers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from connectors import debezium
from connectors.broker import answering
from contracts.stream import Pipeline

_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class Told:
    """One DDL command on one table. `columns`: name and type of each afterwards, empty of a table that is gone or that
    no publication sends. `lsn` is the message's place in the WAL, so between those of the rows of before and of after;
    `offset` its place in the topic."""

    schema: str
    table: str
    command: str
    identity: str
    oid: int
    columns: tuple[tuple[str, str], ...]
    at: datetime
    lsn: int
    offset: int

    @property
    def qualified(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.table}"


def told(kafka: str, pipeline: Pipeline) -> list[Told]:
    """Every message that Kafka has of the schemas of the pipeline's tables, in the order of the WAL; empty if there is
    no such topic yet.

    ServiceUnavailable if the broker does not answer.
    """
    place = TopicPartition(debezium.message_topic(pipeline), 0)
    # A message knows no publication: those of another pipeline's tables come, too.
    schemas = {stream.table_source.schema for stream in pipeline.cdc_streams}
    found: list[Told] = []
    what = "Kafka did not say which DDL the source told of"
    with answering(kafka, what, state="Nothing was changed.", topic=place.topic):
        consumer = KafkaConsumer(
            bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False, group_id=None
        )
        try:
            # Asking for a topic by name might make it.
            if place.topic not in consumer.topics():
                return []
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            end = consumer.end_offsets([place])[place]
            # The position also passes the control records at the end, which poll never returns.
            deadline = time.monotonic() + _PATIENCE_S
            while consumer.position(place) < end:
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"not read to its end within {_PATIENCE_S} s")
                for records in consumer.poll(timeout_ms=500).values():
                    read = (_read(record.value, record.offset) for record in records)
                    found += [one for one in read if one and one.schema in schemas]
        finally:
            consumer.close()
    return found


def newest(messages: list[Told]) -> list[Told]:
    """Of each table the last one, by name. What has another name by now is told under that alone."""
    last = {one.oid: one for one in messages}
    by_name = {one.qualified: one for one in sorted(last.values(), key=lambda one: one.offset)}
    return [by_name[name] for name in sorted(by_name)]


def _read(value: bytes | None, offset: int) -> Told | None:
    """None for a marker, and for whatever else somebody wrote with our prefix."""
    try:
        record: Mapping[str, Any] = json.loads(value or b"null")
        if record["message"]["prefix"] != debezium.DDL_PREFIX:
            return None
        source = record["source"]
        said = json.loads(base64.b64decode(record["message"]["content"]))
        return Told(
            schema=str(said["schema"]),
            table=str(said["table"]),
            command=str(said["command"]),
            identity=str(said["identity"]),
            oid=int(said["oid"]),
            columns=tuple((str(name), str(kind)) for name, kind in said.get("columns") or ()),
            at=datetime.fromtimestamp(source["ts_ms"] / 1000, UTC),
            lsn=int(source["lsn"]),
            offset=offset,
        )
    except (ValueError, KeyError, TypeError):
        return None
