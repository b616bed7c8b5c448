"""Columns of a contract: `physicalType` is Spark's type, and `logicalType` must say the same in ODCS' words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from open_data_contract_standard.model import SchemaObject, SchemaProperty

from contracts.custom_properties import ColumnProperties, read_properties
from contracts.date_format import wrong_format
from contracts.spark_types import SparkType, parse_type
from contracts.stream import Column
from contracts.yaml_document import Place, YamlDocument

COLUMN_NAME = r"[a-z][a-z0-9_]*"
_LOGICAL = {
    "tinyint": ("integer",),
    "smallint": ("integer",),
    "int": ("integer",),
    "bigint": ("integer",),
    "decimal": ("number",),
    "double": ("number",),
    "float": ("number",),
    "string": ("string",),
    "binary": ("string",),
    "boolean": ("boolean",),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "timestamp_ntz": ("timestamp",),
    "array": ("array",),
    "struct": ("object",),
    "map": ("map", "object"),
}


def read_columns(document: YamlDocument, place: Place, schema: SchemaObject) -> tuple[Column, ...]:
    """The columns of a schema; those of the key are required.

    Raises:
        ContractError: a name or a type is wrong, or two columns share a name.
    """
    columns = tuple(_columns(document, place, schema))
    if not columns:
        raise document.error("has no columns", place, "`properties:` with one entry per column")
    return columns


def _columns(document: YamlDocument, place: Place, schema: SchemaObject) -> Iterator[Column]:
    seen: set[str] = set()
    for index, found in enumerate(schema.properties or ()):
        at: Place = (*place, "properties", index)
        name = found.name or ""
        if not re.fullmatch(COLUMN_NAME, name):
            raise document.error(f"`{name}` is no column name", at, "lower-case letters, digits and _, a letter first")
        if name in seen:
            raise document.error(f"column `{name}` stands here a second time", at)
        seen.add(name)
        spark_type = _type(document, at, found)
        ours = read_properties(document, (*at, "customProperties"), found.customProperties, ColumnProperties)
        outside = ours.from_file_name or ours.from_batch_date or ours.from_line
        if ours.from_file_name and spark_type.name not in ("string", "date", "int", "bigint"):
            raise document.error(f"`{name}` comes from the file name: a {spark_type.simple()} cannot", at)
        if ours.from_batch_date and spark_type.name != "date":
            raise document.error(f"`{name}` is the batch date: a {spark_type.simple()} cannot be", at, "a date")
        if ours.from_line and spark_type.name != "bigint":
            raise document.error(f"`{name}` is the row's line: a {spark_type.simple()} cannot be", at, "a bigint")
        if ours.from_file_name + ours.from_batch_date + ours.from_line > 1:
            raise document.error(f"`{name}` comes from more than one place", at, "one `headrace.from…`")
        if ours.format_ and outside:
            raise document.error(f"`{name}` is no field of the row: its format is ISO 8601", at, "no `headrace.format`")
        if ours.format_ and spark_type.name not in ("date", "timestamp", "timestamp_ntz"):
            raise document.error(f"`{name}` has a format, but is a {spark_type.simple()}", at, "a date or timestamp")
        if ours.format_ and (wrong := wrong_format(ours.format_, spark_type.name)):
            raise document.error(f"the format of `{name}` is `{ours.format_}`: {wrong}", at)
        if ours.json_ and not spark_type.is_nested:
            raise document.error(
                f"`{name}` is JSON in a string, but its type is {spark_type.simple()}",
                at,
                "the type to parse it to (struct<…>, map<…,…>, array<…>), or no `headrace.json` to keep the text",
            )
        if found.unique and not found.primaryKey:
            raise document.error(f"`unique` at `{name}` is not enforced", at, "`unique` at a key column alone")
        yield Column(
            name=name,
            spark_type=spark_type.simple(),
            required=bool(found.required or found.primaryKey or outside),
            json=ours.json_,
            from_file_name=ours.from_file_name,
            from_batch_date=ours.from_batch_date,
            from_line=ours.from_line,
            format=ours.format_,
            source_type=ours.source_type,
            lossy=ours.lossy,
            pii="pii" in {(found.classification or "").lower(), *(tag.lower() for tag in found.tags or ())},
            description=(found.description or "").strip(),
            field=ours.field,
        )


def _type(document: YamlDocument, place: Place, found: SchemaProperty) -> SparkType:
    if not found.physicalType:
        raise document.error(f"`{found.name}` has no `physicalType`", place, "Spark's type, like `decimal(5,2)`")
    try:
        spark_type = parse_type(found.physicalType)
    except ValueError as problem:
        raise document.error(str(problem), (*place, "physicalType")) from None
    except RecursionError:
        raise document.error("the type is nested too deeply", (*place, "physicalType")) from None
    expected = _LOGICAL[spark_type.name]
    if found.logicalType and found.logicalType not in expected:
        raise document.error(
            f"`{found.name}` is {spark_type.simple()}, but its logicalType is {found.logicalType}",
            (*place, "logicalType"),
            f"`logicalType: {expected[0]}`",
        )
    return spark_type
