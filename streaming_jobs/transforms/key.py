"""What identifies a row (`_key`), what it says (`_hash`) and what orders it (`_version`)."""

from __future__ import annotations

from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.canonical import key_spark, row_hash_spark
from contracts.spark_types import history_columns, parse_type
from contracts.stream import Stream
from streaming_jobs.ranges import VERSIONS_PER_EPOCH
from streaming_jobs.transforms.sql import name

CARRIED = ("_no_row", "_refusal")


def add_key(frame: DataFrame, stream: Stream, epoch: int) -> DataFrame:
    """The history's columns but for `_ingested_at`, and `_raw _no_row _refusal`; `_raw` of refused rows only.

    Of a refused row `_key` and `_hash` mean nothing: under a condition Spark would compute each value's text twice.

    A change's version is its topic's epoch and its offset; a file row's is the contract's version column (times in
    microseconds), 0 without one.
    """
    return frame.selectExpr(*_step(stream, epoch))


@lru_cache(maxsize=256)
def _step(stream: Stream, epoch: int) -> tuple[str, ...]:
    keyed = [stream.column(key) for key in stream.key]
    computed = {
        "_version": f"{_version(stream, epoch)} as _version",
        "_key": f"{key_spark(keyed)} as _key",
        "_hash": f"{row_hash_spark(stream)} as _hash",
    }
    columns = [column for column, _ in history_columns(stream) if column != "_ingested_at"]
    # Of most rows nobody needs the raw bytes any more: they would only be shuffled.
    raw = "if(_refusal is null, null, _raw) as _raw"
    return (*(computed.get(column, name(column)) for column in columns), raw, *CARRIED)


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
