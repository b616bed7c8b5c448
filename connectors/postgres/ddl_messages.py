"""What the source told of its own DDL, if `ddl_capture.sql` is installed there: logical messages among the markers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors import broker, debezium
from contracts.stream import Pipeline

_WHAT = "Kafka did not say which DDL the source told of"


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

    @property
    def place(self) -> str:
        """In the WAL, as Postgres writes it."""
        return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"


def told(kafka: str, pipeline: Pipeline) -> list[Told]:
    """Every message that Kafka has of the schemas of the pipeline's tables, in the order of the WAL; empty if there is
    no such topic yet.

    ServiceUnavailable if the broker does not answer.
    """
    # A message knows no publication: those of another pipeline's tables come, too.
    schemas = {stream.table_source.schema for stream in pipeline.cdc_streams}

    def read(value: bytes | None, offset: int) -> list[Told]:
        one = _read(value, offset)
        return [one] if one and one.schema in schemas else []

    return broker.collected(kafka, debezium.message_topic(pipeline), read, what=_WHAT)


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
    except broker.UNREADABLE:
        return None
