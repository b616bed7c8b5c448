"""Canonical text of one value as a Postgres SQL expression, equal to Spark's of the same value.

A nested column is `jsonb` (or text that holds JSON) in Postgres; the declared Spark type says how to read it, field
by field, so that neither the order of JSON keys nor the spelling of numbers matters.
"""

from __future__ import annotations

import re

from contracts.spark_types import INTEGERS, SparkType, parse_type
from contracts.stream import Column


def quoted(name: str) -> str:
    """The name in quotes, as a statement may always have it."""
    return '"' + name.replace('"', '""') + '"'


def value_text(expression: str, spark_type: SparkType, depth: int = 0) -> str:
    """Postgres SQL for the text of a value of the declared type, NULL for NULL."""
    name = spark_type.name
    if name == "string":
        # As it is printed; a cast of its own would write inet with a mask and char(n) without blanks.
        return f"case when ({expression}) is not null then concat({expression}) end"
    if name in INTEGERS:
        return f"({expression})::bigint::text"
    if name == "boolean":
        return f"({expression})::boolean::text"
    if name == "decimal":
        return f"({expression})::numeric({spark_type.precision},{spark_type.scale})::text"
    if name == "date":
        day = f"({expression})::date"
        return _in_calendar(day, f"to_char({day}, 'YYYY-MM-DD')")
    if name == "timestamp":
        utc = f"(({expression})::timestamptz at time zone 'UTC')"
        return _in_calendar(utc, f"""to_char({utc}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")
    if name == "timestamp_ntz":
        local = f"({expression})::timestamp"
        return _in_calendar(local, f"""to_char({local}, 'YYYY-MM-DD"T"HH24:MI:SS.US')""")
    if name == "double":
        return _double_text(f"({expression})::float8")
    if name == "float":
        return _double_text(f"({expression})::float4::float8")
    if name == "binary":
        return f"encode(({expression})::bytea, 'hex')"
    return _nested_text(f"({expression})::jsonb", spark_type, depth)


def _in_calendar(value: str, text: str) -> str:
    """`text`; but Postgres' own of what no lake holds: it would give a day BC as that AD, and infinity as NULL."""
    return f"case when {value} >= '0001-01-01' and {value} < '10000-01-01' then {text} else ({value})::text end"


def as_declared(expression: str, column: Column) -> str:
    """Postgres SQL for a column's value in a type that `value_text` reads as its Spark type, where its own is not.

    `column.source_type` says what it is at the source.
    """
    base = " ".join(re.sub(r"\([^)]*\)", "", column.source_type.lower()).split())
    spark_type = parse_type(column.spark_type)
    if spark_type.is_nested and not column.json:
        if base in ("vector", "halfvec"):
            return f"to_jsonb(({expression})::float4[])"
        if base in ("json[]", "jsonb[]"):
            return f"to_jsonb(({expression})::text[])"
        if base == "time with time zone[]":
            each = as_declared("e", Column("e", "string", source_type="time with time zone"))
            return (
                f"case when {expression} is not null then coalesce((select jsonb_agg({each} order by n) "
                f"from unnest({expression}) with ordinality u(e, n)), '[]') end"
            )
        if base.endswith("[]"):
            # Of an array of arrays, whose row is quarantined, nothing may be read as an element's type.
            return f"case when array_ndims({expression}) > 1 then null else to_jsonb({expression}) end"
        return f"to_jsonb({expression})"
    if base == "bit" and spark_type.name == "boolean":
        return f"({expression})::int::boolean"
    if base == "time with time zone":
        utc = f"((({expression}) at time zone 'UTC')::time::text || 'Z')"
        return f"case when {expression} = '24:00+00' then '24:00:00Z' else {utc} end"
    if base.startswith("interval") and not base.endswith("[]") and spark_type.name == "string":
        return _iso_interval(f"({expression})")
    return expression


def _iso_interval(value: str) -> str:
    """As Debezium writes it: all six parts, each with its sign."""
    names = {"year": "Y", "month": "M", "day": "DT", "hour": "H", "minute": "M"}
    wholes = ", ".join(f"extract({part} from {value})::bigint, '{letter}'" for part, letter in names.items())
    text = f"concat('P', {wholes}, trim_scale(extract(second from {value})::numeric), 'S')"
    # Debezium has no word for infinity (Postgres 17), of which there are no parts here.
    return f"case when isfinite({value}) then {text} else ({value})::text end"


def _double_text(value: str) -> str:
    """Java's `%a`, from the bits: sign, 11 bits of exponent, 52 of fraction."""
    bits = f"('x' || encode(float8send({value}), 'hex'))::bit(64)"
    exponent = f"(substring({bits} from 2 for 11)::int)"
    digits = f"lpad(to_hex(substring({bits} from 13)::bigint), 13, '0')"
    fraction = f"coalesce(nullif(rtrim({digits}, '0'), ''), '0')"
    sign = f"case when {value} < 0 then '-' else '' end"
    return (
        f"case when {value} in ('NaN', 'Infinity', '-Infinity') then ({value})::text when {value} = 0 then '0x0.0p0' "
        f"when {exponent} = 0 then {sign} || '0x0.' || {fraction} || 'p-1022' "
        f"else {sign} || '0x1.' || {fraction} || 'p' || ({exponent} - 1023)::text end"
    )


def _nested_text(json: str, spark_type: SparkType, depth: int) -> str:
    item = f"e{depth}"
    if spark_type.name == "struct":
        parts = (
            _json_part(json, f"'{field}'", inner, depth + 1)
            for field, inner in zip(spark_type.fields, spark_type.inner, strict=True)
        )
        return f"case when jsonb_typeof({json}) <> 'null' then {' || '.join(parts)} end"
    if spark_type.name == "array":
        element = _json_part(f"jsonb_build_array({item}.value)", "0", spark_type.inner[0], depth + 1)
        rows = f"jsonb_array_elements(nullif({json}, 'null')) with ordinality {item}(value, n)"
        text = f"(select string_agg({element}, '' order by {item}.n) from {rows})"
        return f"case when jsonb_typeof({json}) <> 'null' then coalesce({text}, '') end"
    key, value = spark_type.inner
    entry = (
        f"({part(f'{item}.key', key, depth + 1)} || "
        f'{_json_part(f"jsonb_build_array({item}.value)", "0", value, depth + 1)}) collate "C"'
    )
    rows = f"jsonb_each(nullif({json}, 'null')) {item}(key, value)"
    text = f"(select string_agg({entry}, '' order by {entry}) from {rows})"
    return f"case when jsonb_typeof({json}) <> 'null' then coalesce({text}, '') end"


def _json_part(json: str, path: str, spark_type: SparkType, depth: int) -> str:
    """`part` of a member of a JSON value: JSON null and a missing member are both NULL."""
    return part(f"({json} {'->' if spark_type.is_nested else '->>'} {path})", spark_type, depth)


def part(expression: str, spark_type: SparkType, depth: int = 0) -> str:
    """Postgres SQL for `N;` or `<length>:<text>;`."""
    text = value_text(expression, spark_type, depth)
    return f"coalesce(char_length({text})::text || ':' || ({text}) || ';', 'N;')"


def sha256(text: str) -> str:
    """Postgres SQL for the 32 bytes of the SHA-256 of a text."""
    return f"sha256(convert_to({text}, 'UTF8'))"


def first_60_bits(digest: str) -> str:
    """Postgres SQL for the first 60 bits of a digest as a bigint."""
    return f"('x' || left(encode({digest}, 'hex'), 15))::bit(60)::bigint"
