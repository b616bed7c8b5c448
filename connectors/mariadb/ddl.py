"""What MariaDB's binlog told of its DDL: Debezium keeps it in the history of the tables' definitions, which it needs
itself, in the order of the binlog. Nothing is installed at the source for it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors import broker
from connectors.mariadb import connector as mariadb_connector
from contracts.stream import Pipeline

_COMMANDS = {"CREATE": "CREATE TABLE", "ALTER": "ALTER TABLE", "DROP": "DROP TABLE"}
# A part of the name in double quotes; one within it stands twice.
_PART = re.compile(r'"((?:[^"]|"")*)"')
# What Debezium calls their length is not one, or says how wide they are shown, if somebody wrote it.
_WITHOUT_LENGTH = ("enum", "set", "smallint", "mediumint", "int", "integer", "bigint", "year")
_WHAT = "Kafka did not say which DDL MariaDB's binlog told of"
# It is never deleted.
_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Told:
    """One DDL command on one table (`database.table`). `columns`: name and type of each afterwards, empty of one that
    is gone. `was`: the name that it had before, and `was_in` its database; both empty if that is the same. Debezium 3.5
    tells them of RENAME TABLE, and not of ALTER TABLE … RENAME. `file` and `position` are its place in the binlog,
    between those of the rows of before and of after; `offset` that in the topic."""

    schema: str
    qualified: str
    command: str
    columns: tuple[tuple[str, str], ...]
    was: str
    was_in: str
    at: datetime
    file: str
    position: int
    offset: int

    @property
    def place(self) -> str:
        """In the binlog, as SHOW BINLOG EVENTS takes it."""
        return f"{self.file}:{self.position}"


def told(kafka: str, part: Pipeline) -> list[Told]:
    """What the history's last ten thousand records tell of the databases of the part's tables, in the order of the
    binlog; not of how the tables were when one was read. Empty if there is no such topic yet.

    ServiceUnavailable if the broker does not answer.
    """
    databases = {stream.table_source.schema for stream in part.cdc_streams}

    def read(value: bytes | None, offset: int) -> list[Told]:
        return [one for one in _read(value, offset) if _concerns(one, databases)]

    return broker.collected(kafka, mariadb_connector.history_topic(part), read, what=_WHAT, at_most=_AT_MOST)


def _concerns(one: Told, databases: Collection[str]) -> bool:
    # Of one that is taken to another database this is the last that we are told.
    return one.schema in databases or one.was_in in databases


def newest(commands: list[Told]) -> list[Told]:
    """Of each table the last one, by name. What has another name by now is told under that alone."""
    by_name: dict[str, Told] = {}
    for one in commands:
        by_name.pop(one.was, None)
        by_name[one.qualified] = one
    return [by_name[name] for name in sorted(by_name)]


def _read(value: bytes | None, offset: int) -> list[Told]:
    try:
        record: Mapping[str, Any] = json.loads(value or b"null")
        position = record["position"]
        if position.get("snapshot"):
            return []
        at = datetime.fromtimestamp(int(position["ts_sec"]), UTC)
        place = (str(position["file"]), int(position["pos"]))
        return [_told(one, at, *place, offset) for one in record["tableChanges"] if one["type"] in _COMMANDS]
    except broker.UNREADABLE:
        return []


def _told(change: Mapping[str, Any], at: datetime, file: str, position: int, offset: int) -> Told:
    schema, table = _name(change["id"])
    columns = tuple((str(one["name"]), _kind(one)) for one in (change.get("table") or {}).get("columns", ()))
    before = _name(change["previousId"]) if change.get("previousId") else (schema, table)
    was_in, was = (before[0], ".".join(before)) if before != (schema, table) else ("", "")
    command = _COMMANDS[change["type"]]
    return Told(schema, f"{schema}.{table}", command, columns, was, was_in, at, file, position, offset)


def _name(identity: str) -> tuple[str, str]:
    schema, table = (part.replace('""', '"') for part in _PART.findall(identity))
    return schema, table


def _kind(column: Mapping[str, Any]) -> str:
    """As a definition says it, but for the values of an ENUM or SET."""
    base, *rest = str(column["typeName"]).lower().split()
    numbers = [str(column[one]) for one in ("length", "scale") if column.get(one) is not None]
    return " ".join([f"{base}({','.join(numbers)})" if numbers and base not in _WITHOUT_LENGTH else base, *rest])
