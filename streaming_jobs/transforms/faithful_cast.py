"""From the text that a source wrote to a typed value that says the same, or a refusal. Never rounds, cuts or guesses.

Two spellings are the same value exactly as follows; every other text is refused. Surrounding blanks never pass.

- integers: an optional sign, digits (leading zeros too), a fraction of zeros only; within the type's range.
- decimal(p,s): an optional sign, digits with an optional point; digits after the s-th only zeros. With an exponent:
  when the value needs at most s digits after the point.
- double, float: as above with an optional exponent, at most 17 (9) significant digits; not too large, not cut to 0;
  `NaN`, `Infinity`, `-Infinity`.
- boolean: `true`, `false` in any case.
- date: `yyyy-MM-dd`, a trailing `Z` passes (Debezium's `isostring`).
- timestamp: `yyyy-MM-dd`, `T` or a blank, `HH:mm:ss`, a fraction whose digits after the sixth are zeros, `Z` or an
  offset (`+02:00`, `+02`); without either it is UTC.
- timestamp_ntz: the same without an offset; a `Z` is Debezium's and passes.
- string: as it is, but U+0000 is refused (Postgres cannot hold it).
- binary: base64.
- array, map, struct, at any depth: JSON of that shape, each leaf by the rules above. Field names that are not declared
  and names that occur twice are refused; a missing field is NULL. A JSON number or boolean passes for a string, with
  the digits as written; a string that holds the JSON of a nested value passes for that value.
"""

from __future__ import annotations

from contracts.spark_types import INTEGERS, SparkType
from streaming_jobs.transforms.sql import json_array, json_object, let, name, sealed_json, text, unpaired_surrogate

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6}0*)?"
_NUMBER = "[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,4})?"


def value_sql(source: str, spark_type: SparkType, depth: int = 0) -> str:
    """SQL for the value of the text `source`; meaningful only where `faithful_sql` is true. NULL for NULL."""
    kind = spark_type.name
    if kind == "string":
        return source
    if kind in INTEGERS:
        return f"coalesce(try_cast({source} as {kind}), try_cast(try_cast({source} as decimal(38,0)) as {kind}))"
    if kind == "date":
        return f"try_cast(left({source}, 10) as date)"
    if kind == "timestamp_ntz":
        return f"try_cast(rtrim('Z', {source}) as timestamp_ntz)"
    if kind == "binary":
        return f"try_to_binary({source}, 'base64')"
    if spark_type.is_nested:
        item = f"v{depth}"
        body = _nested_value(item, spark_type, depth + 1)
        return f"cast({let(item, _parsed(source, spark_type, depth), body)} as {spark_type.simple()})"
    return f"try_cast({source} as {spark_type.simple()})"


def faithful_sql(source: str, spark_type: SparkType, depth: int = 0, *, value: str = "", root: str = "") -> str:
    """SQL that is true where the text `source`, not NULL, says exactly what `value_sql` gives; else false or NULL.

    `value`: where that value stands already. `root`: the JSON text that `source` is a member of.
    """
    kind = spark_type.name
    known = value or value_sql(source, spark_type, depth)
    spelled = _spelling(source, spark_type, known, depth, root)
    if value and kind in (*INTEGERS, "decimal", "date"):
        # The usual spelling, and much cheaper to see than a pattern.
        spelled = f"(cast({value} as string) = {source} or {spelled})"
    return f"({spelled} and {in_calendar(known, kind)})" if kind in CALENDAR else spelled


CALENDAR = {
    "date": ("date'0001-01-01'", "date'9999-12-31'"),
    "timestamp": ("timestamp'0001-01-01 00:00:00Z'", "timestamp'9999-12-31 23:59:59.999999Z'"),
    "timestamp_ntz": ("timestamp_ntz'0001-01-01 00:00:00'", "timestamp_ntz'9999-12-31 23:59:59.999999'"),
}


def in_calendar(value: str, kind: str) -> str:
    """SQL that is true for a date or time that every engine holds: Postgres has no year 0, Python none above 9999.
    `kind` is its type, one of CALENDAR."""
    first, last = CALENDAR[kind]
    return f"{value} between {first} and {last}"


def string_in_json(source: str, root: str) -> str:
    """SQL that is false for an object or array where a string is declared: Spark gives its text, written anew. A string
    that begins with a bracket stands in the JSON text with a quote before it."""
    return f"(left({source}, 1) not in ('{{', '[') or contains({root}, concat('\"', left({source}, 1))))"


def _spelling(source: str, spark_type: SparkType, value: str, depth: int, root: str) -> str:
    kind = spark_type.name
    if kind == "string":
        whole = f"not contains({source}, chr(0))"
        return f"({whole} and {string_in_json(source, root)})" if root else whole
    if kind in INTEGERS:
        return f"({source} rlike '^[+-]?[0-9]+([.]0+)?\\\\z' and {value} is not null)"
    if kind == "decimal":
        return f"({_decimal_spelling(source, spark_type.scale)} and {value} is not null)"
    if kind in ("double", "float"):
        return _floating(source, value, 17 if kind == "double" else 9)
    if kind == "boolean":
        return f"(lower({source}) in ('true', 'false'))"
    if kind == "date":
        return f"({source} rlike '^{_DATE}Z?\\\\z' and {value} is not null)"
    if kind in ("timestamp", "timestamp_ntz"):
        zone = "(Z|[+-][0-9]{2}(:?[0-9]{2})?)?" if kind == "timestamp" else "Z?"
        return f"({source} rlike '^{_DATE}{_TIME}{zone}\\\\z' and {value} is not null)"
    if kind == "binary":
        # Spark breaks the text into lines, of 76 characters.
        return f"(replace(base64({value}), '\\r\\n', '') = {source})"
    item = f"f{depth}"
    body = _nested_faithful(item, spark_type, depth + 1, root or source)
    nested = f"({source} = 'null' or coalesce({let(item, _parsed(source, spark_type, depth), body)}, false))"
    return nested if root else f"({nested} and not {unpaired_surrogate(source)})"


def _decimal_spelling(source: str, scale: int) -> str:
    fraction = f"[0-9]{{0,{scale}}}0*"
    plain = f"{source} rlike '^[+-]?([0-9]+([.]{fraction})?|[.](?=[0-9]){fraction})\\\\z'"
    digits = f"length(trim(trailing '0' from regexp_extract({source}, '[.]([0-9]+)', 1)))"
    exponent = f"try_cast(regexp_extract({source}, '[eE]([+-]?[0-9]+)', 1) as int)"
    scientific = f"{source} rlike '^[+-]?[0-9]+([.][0-9]+)?[eE][+-]?[0-9]{{1,3}}\\\\z'"
    return f"({plain} or ({scientific} and {digits} - {exponent} <= {scale}))"


def _floating(source: str, value: str, digits: int) -> str:
    mantissa = f"regexp_replace({source}, '[eE].*\\\\z', '')"
    significant = f"regexp_replace(regexp_replace({mantissa}, '[+.-]', ''), '^0+|0+\\\\z', '')"
    finite = (
        f"{source} rlike '^{_NUMBER}\\\\z' and length({significant}) <= {digits} "
        f"and abs({value}) < double('Infinity') and ({value} <> 0 or {significant} = '')"
    )
    return f"({source} in ('NaN', 'Infinity', '-Infinity') or ({finite}))"


def _parsed(source: str, spark_type: SparkType, depth: int) -> str:
    parse, seal = json_array(source) if spark_type.name == "array" else json_object(source)
    item = f"p{depth}"
    return let(item, parse, sealed_json(item, seal))


def _nested_value(parsed: str, spark_type: SparkType, depth: int) -> str:
    item = f"i{depth}"
    if spark_type.name == "array":
        return f"transform({parsed}, {item} -> {value_sql(item, spark_type.inner[0], depth)})"
    if spark_type.name == "map":
        keys = f"transform(map_keys({parsed}), {item} -> {value_sql(item, spark_type.inner[0], depth)})"
        values = f"transform(map_values({parsed}), {item} -> {value_sql(item, spark_type.inner[1], depth)})"
        # Two equal keys are refused by `_nested_faithful`; here they must not fail the batch.
        sound = f"{_unique(parsed)} and {_unique_list(keys)} and not exists({keys}, {item} -> {item} is null)"
        return f"if({sound}, map_from_arrays({keys}, {values}), null)"
    fields = zip(spark_type.fields, spark_type.inner, strict=True)
    parts = ", ".join(f"{text(f)}, {value_sql(_member(parsed, f), inner, depth)}" for f, inner in fields)
    return f"if({parsed} is null, null, named_struct({parts}))"


def _nested_faithful(parsed: str, spark_type: SparkType, depth: int, root: str) -> str:
    item = f"i{depth}"
    if spark_type.name == "array":
        leaf = faithful_sql(item, spark_type.inner[0], depth, root=root)
        return f"({parsed} is not null and forall({parsed}, {item} -> {item} is null or coalesce({leaf}, false)))"
    if spark_type.name == "map":
        key = faithful_sql(item, spark_type.inner[0], depth, root=root)
        value = faithful_sql(item, spark_type.inner[1], depth, root=root)
        keys = f"transform(map_keys({parsed}), {item} -> {value_sql(item, spark_type.inner[0], depth)})"
        all_keys = f"forall(map_keys({parsed}), {item} -> coalesce({key}, false))"
        all_values = f"forall(map_values({parsed}), {item} -> {item} is null or coalesce({value}, false))"
        return f"({_unique(parsed)} and {_unique_list(keys)} and {all_keys} and {all_values})"
    declared = ", ".join(text(field) for field in spark_type.fields)
    tests = [_unique(parsed), f"size(array_except(map_keys({parsed}), array({declared}))) = 0"]
    for field, inner in zip(spark_type.fields, spark_type.inner, strict=True):
        member = _member(parsed, field)
        tests.append(f"({member} is null or coalesce({faithful_sql(member, inner, depth, root=root)}, false))")
    return f"({' and '.join(tests)})"


def _member(parsed: str, field: str) -> str:
    return f"try_element_at({parsed}, {text(field)})"


def _unique(parsed: str) -> str:
    return _unique_list(f"map_keys({parsed})")


def _unique_list(items: str) -> str:
    return f"size({items}) = size(array_distinct({items}))"


def column_text(column: str) -> str:
    """The name of the column that holds what the source wrote for a contract's column."""
    return name(f"_text_{column}")
