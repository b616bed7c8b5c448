"""Numbers and dates as people write them somewhere: what a contract declares of its files' spelling, and nothing else.

`1.234,50` is read only where the contract says so, and a text that is not written that way is refused, not guessed.
"""

from __future__ import annotations

from contracts.spark_types import INTEGERS, parse_type
from contracts.stream import Column, Stream
from streaming_jobs.transforms.faithful_cast import column_text
from streaming_jobs.transforms.sql import text

_NUMBERS = (*INTEGERS, "decimal", "double", "float")
_WORDS = "'NaN', 'Infinity', '-Infinity'"


def localised_sql(stream: Stream, column: Column) -> str:
    """SQL for the number that a text says in the stream's own spelling, written with a point and no thousands' marks;
    NULL for a text that is none. Empty where the spelling is the usual one, or the column holds no number."""
    if stream.is_cdc or column not in stream.sent_columns or parse_type(column.spark_type).name not in _NUMBERS:
        return ""
    mark, thousands = stream.file_source.decimal, stream.file_source.thousands
    if mark == "." and not thousands:
        return ""
    source = column_text(column.name)
    grouped = rf"[0-9]{{1,3}}(?:[{thousands}][0-9]{{3}})+|" if thousands else ""
    number = rf"^[+-]?(?:(?:{grouped}[0-9]+)(?:[{mark}][0-9]*)?|[{mark}][0-9]+)(?:[eE][+-]?[0-9]{{1,4}})?\z"
    bare = f"replace({source}, {text(thousands)}, '')" if thousands else source
    return (
        f"case when {source} rlike {text(number)} then replace({bare}, {text(mark)}, '.') "
        f"when {source} in ({_WORDS}) then {source} end"
    )


def formatted_sql(source: str, spark_type: str, pattern: str) -> str:
    """SQL for the date or time that a text says in this pattern; NULL for a text that is not written so.

    Spark resolves strictly: the 31st of February is none. Without a zone a timestamp is UTC.
    """
    return f"cast(try_to_timestamp({source}, {text(pattern)}) as {spark_type})"
