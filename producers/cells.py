"""The fields of a CSV file's rows, split by Arrow where it is sure to see what the streaming job's parser sees."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import csv

from contracts.wire import cell_columns, split_as
from producers.dialect import Dialect
from producers.rows import BOM, Rows

_MOST = 200
# What one of the two takes for something else: a line's end, the end of all input, a byte order mark within the file.
_UNSURE = (b"\r", b"\0", "\uffff".encode())


class Cells:
    """Splits rows into as many fields as the header has; `names` are the columns that a chunk keeps them in, `split_as`
    says by which rules.

    A row that is not split is no loss: whoever reads it splits it, or refuses it with the reason.
    """

    def __init__(self, dialect: Dialect, fields: int) -> None:
        possible = 1 < fields <= _MOST and (dialect.delimiter + dialect.quote).isascii()
        self.names = cell_columns(fields) if possible else ()
        self.split_as = split_as(dialect.delimiter, dialect.quote, dialect.backslash)
        self._fields = fields
        self._unsure = (*_UNSURE, b"\\") if dialect.backslash else _UNSURE
        self._mark = dialect.mark
        if not possible:
            return
        self._parse = csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            double_quote=not dialect.backslash,
            ignore_empty_lines=False,
        )
        # An empty text is NULL, `""` is the empty text.
        self._convert = csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    def of(self, rows: Rows) -> list[pa.Array] | None:
        """The fields of all these rows by column, without a quote's marks; None if one of them is not to be split."""
        text = rows.text
        if not self.names or text is None or text.startswith(BOM) or any(one in text for one in self._unsure):
            return None
        # Of rows with quotes `fields` also says that none has anything between a closing quote and its field's end.
        if self._mark and self._mark in text and rows.fields != self._fields:
            return None
        read = csv.ReadOptions(column_names=list(self.names), use_threads=False, block_size=len(text) + 1)
        try:
            table = csv.read_csv(
                pa.BufferReader(text), read_options=read, parse_options=self._parse, convert_options=self._convert
            )
        except pa.ArrowInvalid:  # a row with fewer or more fields, or a text that is not UTF-8
            return None
        return [column.combine_chunks() for column in table.columns] if len(table) == len(rows) else None
