"""Values as Debezium spells those of MariaDB and of MongoDB, where that is not the value's own text."""

from __future__ import annotations

from contracts.mariadb_spelling import is_latin1, is_unsigned_bigint
from contracts.stream import Column, Stream, System
from streaming_jobs.transforms.sql import text

_DATE = r'^\{"\$date":"?(-?[0-9]{1,15})"?\}\z'
_UNSIGNED = r"^[A-Za-f][A-Za-z0-9+/]*={0,2}\z"


def is_document(stream: Stream) -> bool:
    """Whether the rows are MongoDB's documents."""
    return _comes_from(stream, "mongodb")


def _comes_from(stream: Stream, system: System) -> bool:
    return stream.is_cdc and stream.table_source.system == system


def spelled_sql(stream: Stream, column: Column, value: str) -> str:
    """SQL for the text of a column's value, given as Debezium wrote it; as it was where it is not written so.

    MariaDB: an unsigned bigint comes as the base64 of its bytes, the highest first, a sign before them. No decimal
    digits can be taken for that: as base64 each would begin with a bit for minus. A tinyint(1) comes as 0 or 1, also
    where the contract says boolean. MongoDB: a date comes as milliseconds.
    """
    if _comes_from(stream, "mariadb") and is_unsigned_bigint(column.source_type):
        # Nine bytes are eight after one that only holds the sign.
        nine = f"(length({value}) < 12 or right({value}, 1) = '=' or {value} rlike '^A[A-P]')"
        bytes_ = f"{value} rlike {text(_UNSIGNED)} and length({value}) in (4, 8, 12) and {nine}"
        return f"if({bytes_}, coalesce(conv(hex(try_to_binary({value}, 'base64')), 16, 10), {value}), {value})"
    if _comes_from(stream, "mariadb") and column.spark_type == "boolean":
        return f"case {value} when '0' then 'false' when '1' then 'true' else {value} end"
    if is_document(stream) and column.spark_type in ("timestamp", "timestamp_ntz"):
        millis = f"cast(regexp_extract({value}, {text(_DATE)}, 1) as bigint)"
        return f"if({value} rlike {text(_DATE)}, cast(timestamp_millis({millis}) as string), {value})"
    return value


def readable_sql(stream: Stream, column: Column, value: str) -> str:
    """SQL that is false for a text that is not the source's: one in which Debezium lost a character of latin1, or the
    object or array of a document where a string is declared. Empty where there is no such text."""
    if _comes_from(stream, "mariadb") and is_latin1(column.source_type):
        return f"not contains({value}, {text(chr(0xFFFD))})"
    if is_document(stream) and column.spark_type == "string":
        # A string that begins with a bracket stands in the change with an escaped quote before it.
        quoted = f"contains(cast(_raw as string), concat({text(chr(92) + chr(34))}, left({value}, 1)))"
        return f"(left({value}, 1) not in ('{{', '[') or {quoted})"
    return ""
