"""Canonical text of one value as a Spark SQL expression. Needs a session whose time zone is UTC."""

from __future__ import annotations

from contracts.spark_types import INTEGERS, SparkType


def value_text(expression: str, spark_type: SparkType, depth: int = 0) -> str:
    """Spark SQL for the text of a value, NULL for NULL. `depth` keeps the names of nested lambdas apart."""
    name = spark_type.name
    if name in (*INTEGERS, "string", "boolean"):
        return expression if name == "string" else f"cast({expression} as string)"
    if name == "decimal":
        # Up to six digits BigDecimal never prints an exponent; beyond, 1E-7 appears unless ANSI mode is on.
        if spark_type.scale <= 6:
            return f"cast({expression} as string)"
        return f"format_number({expression}, '0.{'0' * spark_type.scale}')"
    if name == "date":
        return f"date_format({expression}, 'yyyy-MM-dd')"
    if name == "timestamp":
        return f"date_format({expression}, \"yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'\")"
    if name == "timestamp_ntz":
        return f"date_format({expression}, \"yyyy-MM-dd'T'HH:mm:ss.SSSSSS\")"
    if name in ("double", "float"):
        # Hexadecimal, because decimal digits of one double differ between Java versions and Postgres. + 0 makes -0 0.
        return f"if({expression} is null, null, format_string('%a', cast({expression} as double) + 0.0D))"
    if name == "binary":
        return f"lower(hex({expression}))"
    return _nested_text(expression, spark_type, depth)


def _nested_text(expression: str, spark_type: SparkType, depth: int) -> str:
    item = f"e{depth}"
    if spark_type.name == "array":
        element = part(item, spark_type.inner[0], depth + 1)
        return f"array_join(transform({expression}, {item} -> {element}), '')"
    if spark_type.name == "map":
        key, value = spark_type.inner
        entry = f"concat({part(f'{item}.key', key, depth + 1)}, {part(f'{item}.value', value, depth + 1)})"
        return f"array_join(array_sort(transform(map_entries({expression}), {item} -> {entry})), '')"
    parts = (
        part(f"{expression}.`{field}`", inner, depth + 1)
        for field, inner in zip(spark_type.fields, spark_type.inner, strict=True)
    )
    return f"if({expression} is null, null, concat({', '.join(parts)}))"


def part(expression: str, spark_type: SparkType, depth: int = 0) -> str:
    """Spark SQL for `N;` or `<length>:<text>;`."""
    text = value_text(expression, spark_type, depth)
    if spark_type.is_nested:
        # A lambda's argument is computed once; written out twice per level, depth d would cost 2^d.
        framed = f"concat(char_length(t{depth}), ':', t{depth}, ';')"
        return f"coalesce(element_at(transform(array({text}), t{depth} -> {framed}), 1), 'N;')"
    return f"coalesce(concat(char_length({text}), ':', {text}, ';'), 'N;')"


def sha256(text: str) -> str:
    """Spark SQL for the 32 bytes of the SHA-256 of a text."""
    return f"unhex(sha2({text}, 256))"


def first_60_bits(digest: str) -> str:
    """Spark SQL for the first 60 bits of a digest, as a number that a sum of 10^19 rows does not overflow."""
    return f"cast(conv(left(hex({digest}), 15), 16, 10) as decimal(38,0))"
