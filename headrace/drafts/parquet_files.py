"""Parquet: the schema gives the types, as the rows arrive in JSON (`producers.arrow_json`); values only say what is
NULL and what repeats."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from contracts.columns import COLUMN_NAME
from contracts.errors import Fatal
from headrace.drafts.model import FoundColumn, FoundTable, Property, Typed
from headrace.drafts.values import MOST_DIGITS

PARQUET_MAGIC = b"PAR1"
_SIMPLE = {
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "int",
    "uint32": "bigint",
    "uint64": "decimal(20,0)",
    "float": "float",
    "double": "double",
    "bool": "boolean",
    "string": "string",
    "large_string": "string",
    "string_view": "string",
    "date32[day]": "date",
    "date64[ms]": "date",
}
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parquet_table(name: str, source: Path, rows: int) -> FoundTable:
    """The columns of a Parquet file.

    Raises:
        Fatal: it cannot be read, or names are no column names.
    """
    try:
        with pq.ParquetFile(source) as file:
            schema = file.schema_arrow
            batches = []
            for batch in file.iter_batches(batch_size=min(rows, 10_000)):
                batches.append(batch)
                if sum(batch.num_rows for batch in batches) >= rows:
                    break
            sample = pa.Table.from_batches(batches, schema=schema).slice(0, rows)
    except (pa.ArrowException, OSError, EOFError) as problem:
        raise Fatal(f"{name} cannot be read as Parquet: {problem}", next_step="look whether it is whole") from problem
    if wrong := [field.name for field in schema if not re.fullmatch(COLUMN_NAME, field.name)]:
        raise Fatal(
            f"{name}: the schema has names that no column can have: {', '.join(map(repr, wrong))}",
            state="Nothing was written.",
            next_step="lower-case letters, digits and _, a letter first: renaming is not supported yet",
        )
    columns = []
    for field, values in zip(schema, sample.columns, strict=True):
        spark_type = _spark_type(field.type)
        kind = Typed(spark_type or "string", "" if spark_type else "no type of Spark says the same; it comes as text")
        columns.append(FoundColumn(field.name, kind, _values(values), never_null=not field.nullable))
    return FoundTable((Property("fileFormat", "parquet"),), tuple(columns), sample.num_rows)


def _spark_type(kind: pa.DataType) -> str:
    """Spark's type for Arrow's; empty if there is none, for what comes as text then."""
    if isinstance(kind, pa.BaseExtensionType):
        return "string" if kind.extension_name in ("arrow.json", "arrow.uuid") else ""
    if types.is_dictionary(kind):
        return _spark_type(kind.value_type)
    if types.is_decimal(kind):
        fits = kind.precision <= MOST_DIGITS and 0 <= kind.scale <= kind.precision
        return f"decimal({kind.precision},{kind.scale})" if fits else ""
    if types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "binary"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"array<{_spark_type(kind.value_type) or 'string'}>"
    if types.is_map(kind):
        is_text = types.is_string(kind.key_type) or types.is_large_string(kind.key_type)
        return f"map<string,{_spark_type(kind.item_type) or 'string'}>" if is_text else ""
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        alike = len({field.name.lower() for field in fields}) < len(fields)
        if alike or not fields or not all(_FIELD.fullmatch(field.name) for field in fields):
            return ""
        return "struct<" + ",".join(f"{field.name}:{_spark_type(field.type) or 'string'}" for field in fields) + ">"
    return _SIMPLE.get(str(kind), "")


def _values(column: pa.ChunkedArray) -> list[object]:
    """One per row, None for NULL; equal ones for equal values where the type may be that of a key."""
    kind = column.type
    if types.is_timestamp(kind):
        column = column.cast(pa.int64())  # Python's datetime has no nanoseconds
    elif not (types.is_integer(kind) or types.is_date(kind) or types.is_decimal(kind) or types.is_string(kind)):
        return [None if is_null else True for is_null in column.is_null().to_pylist()]
    found: list[object] = column.to_pylist()
    return found
