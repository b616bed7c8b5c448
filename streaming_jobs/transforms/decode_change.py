"""Debezium's JSON envelope (converter without schemas) to fields by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.spark_types import parse_type
from contracts.stream import Column, Stream, System
from contracts.unavailable import MARKER_BASE64, MARKER_PATTERN, MARKER_PREFIX, may_be_unavailable
from streaming_jobs.transforms.sql import (
    NO_REFUSAL,
    first_of,
    refusal,
    sealed_json,
    text,
    unpaired_surrogate,
    whole_json,
)

_ENVELOPE = (
    "struct<before:map<string,string>,after:map<string,string>,"
    "source:struct<ts_us:bigint,ts_ms:bigint,snapshot:string>,op:string,ts_ms:bigint,end:string>"
)
_WITH_TRANSACTION = _ENVELOPE.replace(",end:", ",transaction:struct<id:string>,end:")
# What Debezium says where the primary key of a row was changed, which it sends as a delete and a create.
_MOVED = "get(filter(_headers, h -> h.key in ('__debezium.oldkey', '__debezium.newkey')), 0).value"
_OPERATIONS = "('r', 'c', 'u', 'd', 't', 'm')"


def decode_change(frame: DataFrame, stream: Stream) -> DataFrame:
    """Kafka records, best with their headers, to `_topic _partition _offset _event_time _op _snapshot _unavailable
    _moved _raw _fields _no_row _refusal`.

    A delete's `_fields` are those of `before`, of which only the key is used; a truncate has none, but is a version
    like any change. `_no_row`: a tombstone or a message. `_event_time` is when the source committed, in microseconds
    where it says so. `_unavailable`: the fields that hold a marker, NULL if none; only an update and the create of a
    changed primary key can lack a value, elsewhere the same text is somebody's. `_moved`: the other key's fields.
    With `consistent_cut` also `_transaction`, spelled as `transaction_id` spells it.
    """
    for step in _steps(stream, "headers" in frame.columns):
        frame = frame.selectExpr(*step)
    return frame


def transaction_id(system: System, text: str) -> str:
    """SQL for what names a transaction in rows and in Debezium's BEGIN and END alike. Postgres' id ends in an LSN,
    which differs between them."""
    return f"substring_index({text}, ':', 1)" if system == "postgres" else text


def _transaction(stream: Stream) -> str:
    named = transaction_id(stream.table_source.system, "_change.transaction.id")
    # A definition (in MariaDB TRUNCATE is one) commits by itself, and its END never comes.
    return f"if(_change.op = 't', null, {named})" if stream.table_source.system == "mariadb" else named


@lru_cache(maxsize=256)
def _steps(stream: Stream, with_headers: bool) -> tuple[tuple[str, ...], ...]:
    parse = whole_json("_text", _WITH_TRANSACTION if stream.consistent_cut else _ENVELOPE, '{"end":"%s"}')
    # `_raw` stands in no expression: where nobody keeps it, Spark does not carry it from step to step. Nor is the text
    # carried further than it must be, for each step copies what it hands on.
    place = ("_topic", "_partition", "_offset", "_raw", "_sent_at")
    # A step of its own: within `from_json` Spark interprets, and would make the text anew wherever it stands.
    read = (
        "topic as _topic",
        "partition as _partition",
        "offset as _offset",
        "value as _raw",
        "timestamp as _sent_at",
        f"{'headers' if with_headers else 'null'} as _headers",
        "cast(value as string) as _text",
    )
    parsed = (
        *place,
        f"cast({_MOVED if with_headers else 'null'} as string) as _moved_text",
        "_text",
        f"{sealed_json(f'if(is_valid_utf8(_text), {parse}, null)', '%s.end')} as _change",
    )
    unreadable = [
        ("_text = ''", refusal("json", "", "'the value is empty'")),
        ("_change is null and not is_valid_utf8(_text)", refusal("encoding", "", "'the value is not UTF-8'")),
    ]
    # All that is read of the text. Half of a pair has become a question mark there, or stands as an escape still; and
    # it is much the shorter to search, which Spark does byte by byte.
    sides = [f"map_keys(_change.{side}), map_values(_change.{side})" for side in ("before", "after")]
    fields = ["_change.source.snapshot", *(["_change.transaction.id"] if stream.consistent_cut else [])]
    said = f"concat_ws('', {', '.join((*sides, *fields))})"
    halved = " or ".join(f"contains({said}, {text(one)})" for one in ("?", chr(92) + "u"))
    opened = (
        *place,
        "_moved_text",
        "_text is null as _tombstone",
        f"{first_of(unreadable)} as _unreadable",
        f"{said} as _said",
        f"({halved}) and {unpaired_surrogate('_text')} as _unpaired",
        "_change",
    )
    broken = first_of(
        [
            ("_tombstone", NO_REFUSAL),
            ("_unreadable is not null", "_unreadable"),
            (
                "_change is null",
                refusal("json", "", "'the value is not one JSON object with nothing before or after it'"),
            ),
            ("_unpaired", refusal("encoding", "", "'the value holds half of a surrogate pair'")),
            (
                f"_change.op is null or _change.op not in {_OPERATIONS}",
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
        "_topic",
        "_partition",
        "_offset",
        "_raw",
        f"coalesce(timestamp_micros({micros}), _sent_at) as _event_time",
        "_change.op as _op",
        "nullif(_change.source.snapshot, 'false') as _snapshot",
        *((f"{_transaction(stream)} as _transaction",) if stream.consistent_cut else ()),
        f"{_unavailable(stream)} as _unavailable",
        "from_json(_moved_text, 'map<string,string>') as _moved",
        "if(_change.op = 'd', _change.before, _change.after) as _fields",
        "(_tombstone or coalesce(_change.op = 'm', false)) as _no_row",
        f"{broken} as _refusal",
    )
    return read, parsed, opened, decoded


def _unavailable(stream: Stream) -> str:
    columns = [stream.column(name) for name in may_be_unavailable(stream)]
    if not columns:
        return "cast(null as array<string>)"
    whole = text(f"^{MARKER_PATTERN}\\z")
    names = [column.source_name for column in columns]
    binary = [column.source_name for column in columns if parse_type(column.spark_type).name == "binary"]
    marked, hints = f"v rlike {whole}", [MARKER_PREFIX]
    if binary:
        decoded = f"coalesce(cast(try_to_binary(v, 'base64') as string) rlike {whole}, false)"
        marked = f"if(k in ({_listed(binary)}), startswith(v, {text(MARKER_BASE64)}) and {decoded}, {marked})"
        hints.append(MARKER_BASE64)
    # Most changes lack nothing, which one look at all of it tells.
    hint = " or ".join(f"contains(_said, {text(one)})" for one in hints)
    possible = "(_change.op = 'u' or _change.op = 'c' and _moved_text is not null)"
    fields = f"map_filter(_change.after, (k, v) -> k in ({_listed(names)}) and {marked})"
    found = f"if({possible} and ({hint}), {_as_declared(columns, f'map_keys({fields})')}, null)"
    return f"if(size({found}) > 0, {found}, null)"


def _as_declared(columns: Sequence[Column], names: str) -> str:
    """SQL for an array of the source's names as the contract has them."""
    whens = " ".join(f"when {text(one.field)} then {text(one.name)}" for one in columns if one.field)
    return f"transform({names}, n -> case n {whens} else n end)" if whens else names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(text(name) for name in names)
