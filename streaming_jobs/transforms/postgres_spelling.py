"""What Debezium writes otherwise than Postgres, put back; and what it writes for values that it did not understand.

By `headrace.sourceType`, where the contract declares a text; seen with the real parts (`docs/types.md`). Pure SQL.
"""

from __future__ import annotations

import re

from contracts.spark_types import parse_type
from contracts.stream import Column, Stream
from streaming_jobs.transforms.sql import refusal

_NUMERIC = {"NAN": "NaN", "POSITIVE_INFINITY": "Infinity", "NEGATIVE_INFINITY": "-Infinity"}


def is_from_postgres(stream: Stream) -> bool:
    """Whether the rows are a Postgres table's changes."""
    return stream.is_cdc and stream.table_source.system == "postgres"


def as_source_writes(value: str, column: Column) -> str:
    """SQL for the text as Postgres prints the value of this column of a table, where Debezium's is known to differ."""
    found, spark = _base(column.source_type), parse_type(column.spark_type)
    if found == "numeric" and spark.name == "string":
        whens = " ".join(f"when '{theirs}' then '{ours}'" for theirs, ours in _NUMERIC.items())
        return f"case {value} {whens} else {value} end"
    if found == "time without time zone" and spark.name == "string":
        return f"rtrim('Z', {value})"
    if found == "time without time zone[]" and spark.simple() == "array<string>":
        return f"replace({value}, 'Z\"', '\"')"  # a time has no other Z
    return value


def misunderstood(source: str, column: Column) -> list[tuple[str, str]]:
    """Findings on the text `source` of a table's column: what stands there may be, or is, another value's."""
    spark = parse_type(column.spark_type)
    findings = []
    if spark.name == "array" and not column.json:
        # An array of arrays: of each inner one Debezium sends NULL, or the name and address of its Java object.
        lost = (
            f"{source} rlike '^\\\\[null(,null)*\\\\]\\\\z' or contains({source}, '\"[') and {source} rlike '{_JAVA}'"
        )
        reason = "'an array of arrays, or one of NULLs alone: Debezium sends both as if they were one'"
        findings.append((lost, refusal("type", column.name, reason)))
    if "date" in (spark.name, _base(column.source_type)):
        # The first read goes through Java's old calendar, which has no such days, and gives those ten days later.
        days = f"_op = 'r' and {source} rlike '1582-10-(1[5-9]|2[0-4])'"
        reason = "'a first read gives these days also for 1582-10-05 to 14: update the row at its source'"
        findings.append((days, refusal("type", column.name, reason)))
    return findings


_JAVA = r'"\\[+[A-Z][a-zA-Z.]*;?@[0-9a-f]+"'


def _base(source_type: str) -> str:
    return " ".join(re.sub(r"\([^)]*\)", "", source_type.lower()).split())
