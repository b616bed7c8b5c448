"""Arrow values as JSON text that says exactly the same, a whole column at a time."""

from __future__ import annotations

import datetime as dt
from binascii import b2a_base64
from collections.abc import Callable
from itertools import pairwise
from json.encoder import encode_basestring
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_EXTENSION = b"ARROW:extension:name"
_TEXT = pa.large_string()
_UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, counted from 1970-01-01."""


def json_objects(batch: pa.RecordBatch) -> list[bytes]:
    """Each row as one JSON object in UTF-8. Column names as they stand, NULL as null. Then:

    - integers, booleans: as in JSON. decimal: a string of all its digits, never with an exponent.
    - float, double: the shortest number that is the same value of the column's width, always with a point or an
      exponent; "NaN", "Infinity", "-Infinity".
    - string, JSON: a string. UUID: its 36 characters. Other bytes: base64.
    - date: yyyy-MM-dd. timestamp: yyyy-MM-ddTHH:mm:ss, then the digits of the unit (nanoseconds: six if three zeros
      follow), then Z if it has a zone. Years before 1 or after 9999 have a sign and six digits (ISO 8601 expanded),
      which the streaming job refuses.
    - time: HH:mm:ss and a fraction as above. duration: ISO 8601 in seconds (PT1.5S, PT-0.001S).
    - list: array. struct: object. map: object if its keys are strings and differ, else an array of [key, value].

    Raises:
        pa.ArrowException: a type has no text form (`without_text` says so beforehand).
    """
    if not batch.num_rows:
        return []
    rows = _object(batch.schema.names, batch.columns)
    _, offsets, data = rows.buffers()
    text, ends = data.to_pybytes(), memoryview(offsets).cast("q")[rows.offset : rows.offset + len(rows) + 1]
    return [text[start:end] for start, end in pairwise(ends)]


def without_text(field: pa.Field) -> str:
    """The type within the field that has no text form, as a phrase; empty if there is none."""
    kind = field.type
    extension = (field.metadata or {}).get(_EXTENSION)
    if isinstance(kind, pa.BaseExtensionType):
        return "" if kind.extension_name in ("arrow.json", "arrow.uuid") else f"of type {kind.extension_name}"
    if extension:
        return f"of the unknown type {extension.decode(errors='replace')}"
    if types.is_dictionary(kind):
        return without_text(pa.field(field.name, kind.value_type))
    if types.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        if len({child.name for child in inner}) != len(inner):
            return "a struct with two fields of one name"
        return next(filter(None, map(without_text, inner)), "" if inner else "a struct without fields")
    if types.is_map(kind):
        return without_text(kind.key_field) or without_text(kind.item_field)
    if _is_list(kind):
        return without_text(kind.value_field)
    return "" if types.is_null(kind) or _leaf(kind) else f"of type {kind}"


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether bytes that are no text stand in it at any depth."""
    if types.is_dictionary(kind):
        return holds_bytes(kind.value_type)
    return _is_binary(kind) or any(holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _is_list(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_binary(kind: pa.DataType) -> bool:
    plain = types.is_binary(kind) or types.is_large_binary(kind)
    return bool(plain or types.is_fixed_size_binary(kind) or types.is_binary_view(kind))


# Each function below takes an array and gives the JSON text of its values, NULL for NULL.


def _json(values: pa.Array) -> pa.Array:
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return _json(values.storage) if kind.extension_name == "arrow.json" else _uuid(values.storage)
    if types.is_null(kind):
        return pa.nulls(len(values), _TEXT)
    if types.is_dictionary(kind):
        return _json(values.dictionary).take(values.indices)
    if types.is_struct(kind):
        fields = [kind.field(i).name for i in range(kind.num_fields)]
        return pc.if_else(values.is_valid(), _object(fields, values.flatten()), pa.scalar(None, _TEXT))
    if types.is_map(kind):
        return _map(values)
    if _is_list(kind):
        return _joined(values, _json(values.flatten()), "[", "]")
    leaf = _leaf(kind)
    if not leaf:
        raise pa.ArrowNotImplementedError(f"type {kind} has no text form")
    return leaf(values)


def _object(names: list[str], columns: list[pa.Array]) -> pa.Array:
    parts: list[Any] = []
    for name, column in zip(names, columns, strict=True):
        parts += [_text("," if parts else "{", encode_basestring(name), ":"), _json(column)]
    return _join(*parts, _text("}"), null_handling="replace", null_replacement="null")


def _joined(lists: pa.Array, elements: pa.Array, start: str, end: str) -> pa.Array:
    """The elements, which belong to the lists in their order, as one text for each list."""
    lengths = pc.list_value_length(lists).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0]), pc.cumulative_sum(lengths.fill_null(0))])
    grouped = pa.LargeListArray.from_arrays(offsets, elements.fill_null("null"))
    text = _join(_text(start), pc.binary_join(grouped, _text(",")), _text(end))
    return pc.if_else(lists.is_valid(), text, pa.scalar(None, _TEXT))


def _map(values: pa.Array) -> pa.Array:
    kind = values.type
    entry = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
    lists = values.cast(pa.list_(entry))
    keys, items = lists.flatten().flatten()
    key, item = _json(keys).fill_null("null"), _json(items).fill_null("null")
    pairs = _joined(lists, _join(_text("["), key, _text(","), item, _text("]")), "[", "]")
    spelled = kind.key_type.value_type if types.is_dictionary(kind.key_type) else kind.key_type
    if not (types.is_string(spelled) or types.is_large_string(spelled)):
        return pairs
    each, at = key.to_pylist(), 0
    unique: list[bool] = []
    for length in pc.list_value_length(lists).fill_null(0).to_pylist():
        own = each[at : at + length]
        unique.append(len(set(own)) == length and "null" not in own)
        at += length
    return pc.if_else(pa.array(unique, pa.bool_()), _joined(lists, _join(key, _text(":"), item), "{", "}"), pairs)


def _leaf(kind: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    if types.is_boolean(kind) or types.is_integer(kind):
        return lambda values: values.cast(_TEXT)
    if types.is_floating(kind):
        return _floating
    if types.is_decimal(kind):
        return _decimal
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _string
    if _is_binary(kind):
        return lambda values: _each(values, lambda value: '"' + b2a_base64(value, newline=False).decode() + '"')
    if types.is_date(kind):
        return lambda values: _moment(values.cast(pa.date32()), pa.int32(), 1, 0)
    if types.is_timestamp(kind):
        return _timestamp
    if types.is_time(kind):
        return lambda values: _quoted(_spelled(values))
    return _duration if types.is_duration(kind) else None


def _floating(values: pa.Array) -> pa.Array:
    if values.type == pa.float16():
        values = values.cast(pa.float32())
    # Without a point -0 would be read as the integer 0.
    text = pc.replace_substring_regex(values.cast(_TEXT), "^(-?[0-9]+)$", r"\1.0")
    if pc.all(pc.is_finite(values), min_count=0).as_py():
        return text
    text = pc.replace_substring_regex(text, "^(-?)inf$", r'"\1Infinity"')
    return pc.if_else(pc.is_nan(values), _text('"NaN"'), text)


def _decimal(values: pa.Array) -> pa.Array:
    text = values.cast(pa.string()).cast(_TEXT)
    if pc.any(pc.match_substring(text, "E")).as_py():
        return _each(values, lambda value: f'"{value:f}"')
    return _quoted(text)


def _string(values: pa.Array) -> pa.Array:
    text = values.cast(_TEXT)
    if pc.any(pc.match_substring_regex(text, r'["\\\x00-\x1f]')).as_py():
        return _each(text, encode_basestring)
    return _quoted(text)


def _uuid(values: pa.Array) -> pa.Array:
    def spell(value: bytes) -> str:
        digits = value.hex()
        return f'"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"'

    return _each(values, spell)


def _timestamp(values: pa.Array) -> pa.Array:
    unit, zone = values.type.unit, values.type.tz
    # Arrow counts in UTC whatever the zone.
    return _moment(
        values.view(pa.timestamp(unit)), pa.int64(), 86_400 * 10 ** _UNITS[unit], _UNITS[unit], "Z" if zone else ""
    )


def _moment(values: pa.Array, integer: pa.DataType, day: int, digits: int, zone: str = "") -> pa.Array:
    """Dates and timestamps; `day` is how many of their units make one."""
    counts = values.view(integer)
    first, last = (min(max(at, -(1 << 63)), (1 << 63) - 1) for at in (_FIRST_DAY * day, (_LAST_DAY + 1) * day - 1))
    expanded = pc.or_(pc.less(counts, first), pc.greater(counts, last))
    far = pc.any(expanded).as_py()
    if far:
        values = pc.if_else(expanded, pa.scalar(None, values.type), values)
    text = pc.replace_substring(_spelled(values), " ", "T") if day > 1 else values.cast(_TEXT)
    if not far:
        return _quoted(text, zone)

    def spell(count: int) -> str:
        days, rest = divmod(count, day)
        cycles, days = divmod(days, 146_097)  # 400 years
        within = dt.date(1970, 1, 1) + dt.timedelta(days)
        date = f"{within.year + 400 * cycles:+07d}-{within:%m-%d}"
        if day == 1:
            return date
        seconds, fraction = divmod(rest, 10**digits)
        time = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{date}T{time}{f'.{fraction:0{digits}d}' if digits else ''}"

    return _quoted(pc.coalesce(text, _each(counts, spell)), zone)


def _spelled(values: pa.Array) -> pa.Array:
    """Timestamps and times as Arrow writes them, but nanoseconds that are microseconds as those."""
    text = values.cast(_TEXT)
    if values.type.unit != "ns":
        return text
    coarse = pa.timestamp("us") if types.is_timestamp(values.type) else pa.time64("us")
    counts = values.view(pa.int64())
    whole = pc.equal(pc.multiply(pc.divide(counts, 1000), 1000), counts)
    return pc.if_else(whole, values.cast(coarse, safe=False).cast(_TEXT), text)


def _duration(values: pa.Array) -> pa.Array:
    digits = _UNITS[values.type.unit]

    def spell(count: int) -> str:
        seconds, fraction = divmod(abs(count), 10**digits)
        parts = f"{seconds}.{fraction:0{digits}d}".rstrip("0").rstrip(".") if fraction else f"{seconds}"
        return f'"PT{"-" if count < 0 else ""}{parts}S"'

    return _each(values.view(pa.int64()), spell)


def _each(values: pa.Array, spell: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else spell(value) for value in values.to_pylist()], _TEXT)


def _quoted(text: pa.Array, end: str = "") -> pa.Array:
    return _join(_text('"'), text, _text(end, '"'))


def _join(*parts: Any, **options: str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, _text(""), **options)


def _text(*parts: str) -> pa.Scalar:
    return pa.scalar("".join(parts), _TEXT)
