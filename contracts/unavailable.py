"""What stands in a change for a value that the database did not send.

Postgres keeps a large value outside of its row (TOAST) and does not write it to its log again when an update leaves it
as it was. Debezium then writes a marker, its `unavailable.value.placeholder`. Ours has a form that nobody's value has
by accident, so that whoever reads a change knows it without asking which one a connector was given.
"""

from __future__ import annotations

import base64
import re
import secrets

from contracts.spark_types import INTEGERS, parse_type
from contracts.stream import Stream

MARKER_PREFIX = "__headrace_unavailable_"
MARKER_PATTERN = MARKER_PREFIX + "[0-9a-f]{32}"
# How the base64 of every marker begins: three characters are four.
MARKER_BASE64 = base64.b64encode(MARKER_PREFIX[:21].encode()).decode()
# Types of a fixed length stand in the row itself.
_ALWAYS_SENT = (*INTEGERS, "boolean", "date", "timestamp", "timestamp_ntz", "double", "float")


def new_marker() -> str:
    """A marker that was never used."""
    return MARKER_PREFIX + secrets.token_hex(16)


def is_marker(text: str) -> bool:
    """Whether a text is a marker, of whatever connector."""
    return re.fullmatch(MARKER_PATTERN, text, re.ASCII) is not None


def may_be_unavailable(stream: Stream) -> tuple[str, ...]:
    """The columns of a table's stream whose value a change may lack. A key's is always sent, and MariaDB and MongoDB
    send all of a row."""
    if not stream.is_cdc or stream.table_source.system != "postgres":
        return ()
    return tuple(
        column.name
        for column in stream.columns
        if column.name not in stream.key and parse_type(column.spark_type).name not in _ALWAYS_SENT
    )
