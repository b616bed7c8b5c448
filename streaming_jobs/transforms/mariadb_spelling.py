"""Values as Debezium spells those of MariaDB, where that is not the value's own text."""

from __future__ import annotations

from contracts.mariadb_spelling import is_latin1, is_unsigned_bigint
from contracts.stream import Column, Stream
from streaming_jobs.transforms.sql import text

_LARGEST_BASE64 = 12


def _of_mariadb(stream: Stream) -> bool:
    return stream.is_cdc and stream.table_source.system == "mariadb"


def spelled_sql(stream: Stream, column: Column, value: str) -> str:
    """SQL for the text of a column's value, given as Debezium wrote it; as it was where it is not written so.

    An unsigned bigint comes as the base64 of its bytes, the highest first, a sign before them. No decimal digits can
    be taken for that: as base64 each would begin with a bit for minus. A tinyint(1) comes as 0 or 1, also where the
    contract says boolean.
    """
    if not _of_mariadb(stream):
        return value
    if is_unsigned_bigint(column.source_type):
        bytes_ = f"{value} rlike '^[A-Za-f][A-Za-z0-9+/]*={{0,2}}\\\\z' and length({value}) <= {_LARGEST_BASE64}"
        return f"if({bytes_}, coalesce(conv(hex(try_to_binary({value}, 'base64')), 16, 10), {value}), {value})"
    if column.spark_type == "boolean":
        return f"case {value} when '0' then 'false' when '1' then 'true' else {value} end"
    return value


def readable_sql(stream: Stream, column: Column, value: str) -> str:
    """SQL that is false for a text in which Debezium lost a character; empty where it loses none."""
    if not (_of_mariadb(stream) and is_latin1(column.source_type)):
        return ""
    return f"not contains({value}, {text(chr(0xFFFD))})"
