"""Debezium's envelope for MongoDB, in which a document is a text in MongoDB's extended JSON, to fields by name."""

from __future__ import annotations

from functools import cache

from pyspark.sql import DataFrame

from streaming_jobs.transforms.sql import (
    NO_REFUSAL,
    first_of,
    json_array,
    json_object,
    refusal,
    sealed_json,
    text,
    unpaired_surrogate,
    whole_json,
)

_ENVELOPE = (
    "struct<before:string,after:string,source:struct<ts_ms:bigint,snapshot:string>,op:string,ts_ms:bigint,end:string>"
)
# `{"$oid": "…"}` says what `"…"` says. Within a string its quotes would be escaped, so none is met there.
_WRAPPED = (
    r'\{\s*"\$(?:oid|numberLong|numberInt|numberDouble|numberDecimal|symbol|uuid)"\s*:\s*'
    r'("(?:[^"\\]|\\.)*+")\s*\}'
)
# Doubles for which JSON has no word; Debezium writes them bare. What stands before one, from the end of the one before,
# is taken whole, and strings with it: the same letters in a string are not met.
_BARE = r'\G((?:[^"NI-]++|-(?!I)|"(?:[^"\\]|\\.)*+")*+)(-?(?:NaN|Infinity))'
_ROW_OPS, _OTHER_OPS = "('r', 'c', 'u', 'd')", "('t', 'm')"


def decode_document(frame: DataFrame) -> DataFrame:
    """Kafka records to what `decode_change` gives.

    ObjectIds and numbers are their plain text, digits as MongoDB wrote them. A delete carries no document: its one
    field is the `_id`, from the record's key. An update without its document is refused: it was not to be had any more.
    """
    for step in _steps():
        frame = frame.selectExpr(*step)
    return frame


def _plain(json: str) -> str:
    quoted = f"""regexp_replace({json}, {text(_BARE)}, '$1"$2"')"""
    worded = f"if(contains({json}, 'NaN') or contains({json}, 'Infinity'), {quoted}, {json})"
    return f"regexp_replace({worded}, {text(_WRAPPED)}, '$1')"


@cache
def _steps() -> tuple[tuple[str, ...], ...]:
    place = ("_topic", "_partition", "_offset", "_raw")
    carried = (*place, "_sent_at", "_key_text", "_text")
    read = (
        "topic as _topic",
        "partition as _partition",
        "offset as _offset",
        "value as _raw",
        "timestamp as _sent_at",
        "cast(key as string) as _key_text",
        "cast(value as string) as _text",
    )
    parse = whole_json("_text", _ENVELOPE, '{"end":"%s"}')
    parsed = (*carried, f"if(is_valid_utf8(_text), {parse}, null) as _parsed")
    opened = (*carried, f"{sealed_json('_parsed', '%s.end')} as _change")
    kept = (*carried, "_change")
    spelled = (
        *kept,
        f"{_plain('_change.after')} as _document",
        # The key's own text is JSON: one value, in the first place of an array.
        f"""concat('[', {_plain("get_json_object(_key_text, '$.id')")}, ']') as _id_text""",
    )
    fields, fields_seal = json_object("_document")
    one, one_seal = json_array("_id_text")
    typed = (*kept, "_document", "_id_text", f"{fields} as _fields_parsed", f"{one} as _id_parsed")
    unsealed = (
        *kept,
        f"{sealed_json('_fields_parsed', fields_seal)} as _fields",
        f"get({sealed_json('_id_parsed', one_seal)}, 0) as _id",
    )
    broken = first_of(
        [
            ("_raw is null", NO_REFUSAL),
            ("length(_raw) = 0", refusal("json", "", "'the value is empty'")),
            ("not is_valid_utf8(_text)", refusal("encoding", "", "'the value is not UTF-8'")),
            (
                "_change is null",
                refusal("json", "", "'the value is not one JSON object with nothing before or after it'"),
            ),
            (
                f"{unpaired_surrogate('_text')} or {unpaired_surrogate('_change.after')}",
                refusal("encoding", "", "'the value holds half of a surrogate pair'"),
            ),
            (
                f"_change.op is null or _change.op not in {_ROW_OPS} and _change.op not in {_OTHER_OPS}",
                refusal("operation", "", "concat('unknown operation ', coalesce(_change.op, 'NULL'))"),
            ),
            ("_change.op = 'd' and _id is null", refusal("operation", "", "'a delete without a key'")),
            (
                "_change.op in ('r', 'c', 'u') and _change.after is null",
                refusal("operation", "", "'a change without the document after it'"),
            ),
            (
                "_change.op in ('r', 'c', 'u') and _fields is null",
                refusal("json", "", "'the document is not one JSON object'"),
            ),
        ]
    )
    decoded = (
        *place,
        "coalesce(timestamp_millis(coalesce(_change.source.ts_ms, _change.ts_ms)), _sent_at) as _event_time",
        "_change.op as _op",
        "nullif(_change.source.snapshot, 'false') as _snapshot",
        "cast(null as array<string>) as _unavailable",
        "cast(null as map<string,string>) as _moved",
        "if(_change.op = 'd', map('_id', _id), _fields) as _fields",
        f"(_raw is null or coalesce(_change.op in {_OTHER_OPS}, false)) as _no_row",
        f"{broken} as _refusal",
    )
    return read, parsed, opened, spelled, typed, unsealed, decoded
