"""Canonical text of one value as a Postgres SQL expression, equal to Spark's of the same value.

A nested column is `jsonb` (or text that holds JSON) in Postgres; the declared Spark type says how to read it, field
by field, so that neither the order of JSON keys nor the spelling of numbers matters.
"""

from __future__ import annotations

from contracts.spark_types import INTEGERS, SparkType


def value_text(expression: str, spark_type: SparkType, depth: int = 0) -> str:
    """Postgres SQL for the text of a value of the declared type, NULL for NULL."""
    name = spark_type.name
    if name == "string":
        return f"({expression})::text"
    if name in INTEGERS:
        return f"({expression})::bigint::text"
    if name == "boolean":
        return f"({expression})::boolean::text"
    if name == "decimal":
        return f"({expression})::numeric({spark_type.precision},{spark_type.scale})::text"
    if name == "date":
        return f"to_char(({expression})::date, 'YYYY-MM-DD')"
    if name == "timestamp":
        utc = f"({expression})::timestamptz at time zone 'UTC'"
        return f"""to_char({utc}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    if name == "timestamp_ntz":
        return f"""to_char(({expression})::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
    if name in ("double", "float"):
        return _double_text(f"({expression})::float8")
    if name == "binary":
        return f"encode({expression}, 'hex')"
    return _nested_text(f"({expression})::jsonb", spark_type, depth)


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
