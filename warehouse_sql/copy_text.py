"""Rows of a DataFrame as the text that Postgres' COPY reads, made by Spark and handed on in bounded pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.errors import Fatal

_LINES_AT_ONCE = 5_000
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
_PLAIN = (T.BooleanType, T.IntegralType, T.DecimalType, T.FractionalType, T.DateType)


def copy_lines(frame: DataFrame) -> DataFrame:
    """One column `line`: each row in COPY's text format (tab, `\\N` for NULL), columns in the frame's order.

    Raises:
        Fatal: a column is nested; a warehouse table has flat columns.
    """
    fields = [F.coalesce(_text(field), F.lit("\\N")) for field in frame.schema.fields]
    return frame.select(F.concat_ws("\t", *fields).alias("line"))


def _text(field: T.StructField) -> Column:
    column = F.col(f"`{field.name}`")
    if isinstance(field.dataType, T.StringType):
        for raw, escaped in _ESCAPES:
            column = F.replace(column, F.lit(raw), F.lit(escaped))
        return column
    if isinstance(field.dataType, T.BinaryType):
        return F.concat(F.lit("\\\\x"), F.lower(F.hex(column)))
    if isinstance(field.dataType, T.TimestampType):
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'")
    if isinstance(field.dataType, T.TimestampNTZType):
        return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
    if isinstance(field.dataType, _PLAIN):
        return column.cast("string")
    raise Fatal(
        "a nested column cannot be published to Postgres",
        column=field.name,
        type=field.dataType.simpleString(),
        state="Nothing was written.",
        next_step="select its parts in the table's source SQL",
    )


class CopyReader:
    """A file that psycopg2 reads in COPY; holds one piece of lines at a time. `rows` counts what was read.

    psycopg2 turns what is raised here into a server error of its own; `error` keeps the real one.

    Raises:
        Fatal: a text holds U+0000, which Postgres cannot store; names column and first column of the row.
    """

    def __init__(self, frame: DataFrame, table: str) -> None:
        self.rows = 0
        self.error: Exception | None = None
        self._table = table
        self._columns = frame.columns
        self._lines: Iterator[str] = (row[0] for row in copy_lines(frame).toLocalIterator())
        self._buffer = b""
        self._start = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; empty at the end."""
        if self._start >= len(self._buffer):
            try:
                self._fill()
            except Exception as error:
                self.error = error
                raise
        end = len(self._buffer) if size < 0 else self._start + size
        piece = self._buffer[self._start : end]
        self._start += len(piece)
        return piece

    def readline(self, size: int = -1) -> bytes:
        """Present because psycopg2 asks for it; COPY never calls it."""
        return self.read(size)

    def _fill(self) -> None:
        lines = list(islice(self._lines, _LINES_AT_ONCE))
        text = "\n".join(lines)
        if "\0" in text:
            self._refuse(next(line for line in lines if "\0" in line))
        self.rows += len(lines)
        self._buffer = (text + "\n").encode() if lines else b""
        self._start = 0

    def _refuse(self, line: str) -> None:
        values = line.split("\t")
        at = next(index for index, value in enumerate(values) if "\0" in value)
        raise Fatal(
            "a text holds U+0000, which Postgres cannot store",
            table=self._table,
            column=self._columns[at],
            row=f"{self._columns[0]} {values[0].removeprefix(chr(92) * 2)}",
            state="Nothing of this table was published; its position stays.",
            next_step="correct the row at its source, or remove the character in the table's source SQL",
        )
