"""Debezium's JSON envelope (converter without schemas) to fields by name."""

from __future__ import annotations

from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.stream import Stream
from streaming_jobs.transforms.sql import (
    first_of,
    refusal,
    sealed_json,
    unpaired_surrogate,
    whole_json,
)

_ENVELOPE = (
    "struct<before:map<string,string>,after:map<string,string>,"
    "source:struct<ts_us:bigint,ts_ms:bigint,snapshot:string>,op:string,ts_ms:bigint,end:string>"
)
_ROW_OPS = "('r', 'c', 'u', 'd')"
_OTHER_OPS = "('t', 'm')"


def decode_change(frame: DataFrame, stream: Stream) -> DataFrame:
    """Kafka records to `_topic _partition _offset _event_time _op _snapshot _raw _fields _no_row _refusal`.

    A delete's `_fields` are those of `before`, of which only the key is used. `_no_row`: a tombstone, a truncate or
    a message. `_event_time` is when the source committed, in microseconds where it says so.
    """
    for step in _steps(stream):
        frame = frame.selectExpr(*step)
    return frame


@lru_cache(maxsize=256)
def _steps(stream: Stream) -> tuple[tuple[str, ...], ...]:
    del stream  # the envelope is the same for all; the signature is that of the other decoders
    parse = whole_json("_text", _ENVELOPE, '{"end":"%s"}')
    place = ("_topic", "_partition", "_offset", "_raw")
    read = (
        "topic as _topic",
        "partition as _partition",
        "offset as _offset",
        "value as _raw",
        "timestamp as _sent_at",
        "cast(value as string) as _text",
    )
    parsed = (*place, "_sent_at", "_text", f"if(is_valid_utf8(_text), {parse}, null) as _parsed")
    opened = (*place, "_sent_at", "_text", f"{sealed_json('_parsed', '.end', '_text')} as _change")
    broken = first_of(
        [
            ("_raw is null", f"cast(null as {'struct<rule:string,column_name:string,reason:string>'})"),
            ("length(_raw) = 0", refusal("json", "", "'the value is empty'")),
            ("not is_valid_utf8(_text)", refusal("encoding", "", "'the value is not UTF-8'")),
            (
                "_change is null",
                refusal("json", "", "'the value is not one JSON object with nothing before or after it'"),
            ),
            (
                unpaired_surrogate("_text"),
                refusal("encoding", "", "'the value holds half of a surrogate pair'"),
            ),
            (
                f"_change.op is null or _change.op not in {_ROW_OPS} and _change.op not in {_OTHER_OPS}",
                refusal("operation", "", "concat('unknown operation ', coalesce(_change.op, 'NULL'))"),
            ),
            (
                "_change.op = 'd' and _change.before is null",
                refusal("operation", "", "'a delete without the row before it'"),
            ),
            (
                "_change.op in ('r', 'c', 'u') and _change.after is null",
                refusal("operation", "", "'a change without the row after it'"),
            ),
        ]
    )
    micros = "coalesce(_change.source.ts_us, _change.source.ts_ms * 1000, _change.ts_ms * 1000)"
    decoded = (
        *place,
        f"coalesce(timestamp_micros({micros}), _sent_at) as _event_time",
        "_change.op as _op",
        "nullif(_change.source.snapshot, 'false') as _snapshot",
        "if(_change.op = 'd', _change.before, _change.after) as _fields",
        f"(_raw is null or coalesce(_change.op in {_OTHER_OPS}, false)) as _no_row",
        f"{broken} as _refusal",
    )
    return read, parsed, opened, decoded
