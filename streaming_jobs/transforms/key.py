"""What identifies a row (`_key`), what it says (`_hash`) and what orders it (`_version`)."""

from __future__ import annotations

from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.canonical import key_spark, row_hash_spark
from contracts.spark_types import history_columns, parse_type
from contracts.stream import Stream
from streaming_jobs.ranges import VERSIONS_PER_EPOCH
from streaming_jobs.transforms.faithful_cast import value_sql
from streaming_jobs.transforms.sql import let, name, text

CARRIED = ("_no_row", "_refusal")


def add_key(frame: DataFrame, stream: Stream, epoch: int) -> DataFrame:
    """The history's columns but for `_ingested_at`, and `_raw _no_row _refusal`; `_raw` of refused rows only.

    `_key` and `_hash` of a truncate are NULL, and `_hash` of a change that lacks values. Of a refused row they mean
    nothing: under a condition Spark would compute each value's text twice.

    A change's version is its topic's epoch and its offset; a file row's is the contract's version column (times in
    microseconds), 0 without one.
    """
    return frame.selectExpr(*_step(stream, epoch))


@lru_cache(maxsize=256)
def _step(stream: Stream, epoch: int) -> tuple[str, ...]:
    keyed = [stream.column(key) for key in stream.key]
    key_types = [(column, parse_type(column.spark_type)) for column in keyed]
    key, content, moved = key_spark(keyed), row_hash_spark(stream), ""
    if stream.is_cdc:
        key = _unless("_op = 't'", key)
        content = _unless("_op = 't' or _unavailable is not null", content)
        values = (
            f"{text(one.name)}, {value_sql(f'try_element_at(_moved, {text(one.source_name)})', kind)}"
            for one, kind in key_types
        )
        moved = let("k", f"named_struct({', '.join(values)})", key_spark(keyed, "k"))
    computed = {
        "_moved_key": f"if(_moved is null, null, {moved}) as _moved_key",
        "_version": f"{_version(stream, epoch)} as _version",
        "_key": f"{key} as _key",
        "_hash": f"{content} as _hash",
    }
    columns = [column for column, _ in history_columns(stream) if column != "_ingested_at"]
    # Of most rows nobody needs the raw bytes any more: they would only be shuffled.
    raw = "if(_refusal is null, null, _raw) as _raw"
    return (*(computed.get(column, name(column)) for column in columns), raw, *CARRIED)


def _unless(condition: str, value: str) -> str:
    # Not `if`: within a branch Spark does not share what occurs twice.
    return f"get(array({value}), if({condition}, null, 0))"


def _version(stream: Stream, epoch: int) -> str:
    if stream.is_cdc:
        return f"{epoch * VERSIONS_PER_EPOCH}L + _offset"
    if not stream.version:
        return "0L"
    column, kind = name(stream.version), parse_type(stream.column(stream.version).spark_type).name
    if kind in ("date", "timestamp_ntz"):
        column = f"cast({column} as timestamp)"
    value = (
        f"unix_micros({column})" if kind in ("date", "timestamp", "timestamp_ntz") else f"try_cast({column} as bigint)"
    )
    return f"coalesce({value}, 0L)"
