"""The MariaDB side of the proof: the tables' rows, read in full and fingerprinted here.

MariaDB's SQL cannot print every type as the other engines do; so the rows come here and the reference makes their text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from pymysql.cursors import SSCursor

from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import quoted, quoted_name
from contracts.canonical import fingerprint_python, hash_python
from contracts.endpoints import MariadbEndpoint
from contracts.spark_types import SparkType, parse_type
from contracts.stream import Stream
from headrace.findings import Side

_Read = Callable[[object], object]


def mariadb_side(endpoint: MariadbEndpoint, stream: Stream) -> Side:
    """Rows and fingerprint of a MariaDB table; every row of it goes through this process. ServiceUnavailable if the
    server does not answer to the end."""
    stream = stream.at_source
    digest = hash_python(stream.columns)
    return fingerprint_python(digest(row) for row in _rows(endpoint, stream))


def _rows(endpoint: MariadbEndpoint, stream: Stream) -> Iterator[Mapping[str, object]]:
    readers = [(column.name, _reader(parse_type(column.spark_type))) for column in stream.columns]
    listed = ", ".join(quoted_name(name) for name, _ in readers)
    with mariadb.connected(endpoint, SSCursor) as cursor:
        cursor.execute(f"SELECT {listed} FROM {quoted(stream.table_source.qualified)}")
        while rows := cursor.fetchmany(10_000):
            for row in rows:
                yield {name: None if v is None else read(v) for (name, read), v in zip(readers, row, strict=True)}


def _reader(kind: SparkType) -> _Read:
    """From what the driver gives to what the reference takes."""
    if kind.name == "boolean":
        return lambda value: bool(int.from_bytes(value, "big") if isinstance(value, bytes) else value)
    # The driver gives a zero date as text. No lake holds it: as the earliest date it makes the difference be seen.
    if kind.name == "timestamp":
        return lambda value: (value if isinstance(value, datetime) else datetime.min).replace(tzinfo=UTC)
    if kind.name == "timestamp_ntz":
        return lambda value: value if isinstance(value, datetime) else datetime.min
    if kind.name == "date":
        return lambda value: value if isinstance(value, date) else date.min
    if kind.is_nested:
        return lambda value: _nested(kind, json.loads(str(value), parse_float=str, parse_int=str))
    return lambda value: value


def _nested(kind: SparkType, value: object) -> object:
    """JSON by its declared type; its numbers come as they are written."""
    if value is None:
        return None
    if kind.name == "struct" and isinstance(value, dict):
        fields = zip(kind.fields, kind.inner, strict=True)
        return {field: _nested(inner, value.get(field)) for field, inner in fields}
    if kind.name == "map" and isinstance(value, dict):
        return {name: _nested(kind.inner[1], item) for name, item in value.items()}
    if kind.name == "array" and isinstance(value, list):
        return [_nested(kind.inner[0], item) for item in value]
    return _leaf(kind, value)


def _leaf(kind: SparkType, value: object) -> object:
    if kind.name in ("tinyint", "smallint", "int", "bigint"):
        return int(Decimal(str(value)))
    if kind.name == "decimal":
        return Decimal(str(value))
    if kind.name in ("double", "float"):
        return float(str(value))
    if kind.name == "date":
        return date.fromisoformat(str(value))
    if kind.name in ("timestamp", "timestamp_ntz"):
        found = datetime.fromisoformat(str(value))
        return found.replace(tzinfo=found.tzinfo or UTC) if kind.name == "timestamp" else found.replace(tzinfo=None)
    if kind.name == "string" and isinstance(value, bool):
        return str(value).lower()
    return value
