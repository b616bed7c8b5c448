"""The fields of a CSV file's rows, split by Arrow where it is sure to see what the streaming job's parser sees."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from contracts.wire import cell_columns, split_as
from producers.dialect import Dialect, LineRows
from producers.rows import BOM, Rows

_MOST = 200
# What one of the two takes for something else: a line's end, the end of all input, a byte order mark within the file.
_UNSURE = ("\r", "\0", "\uffff", BOM.decode())


@dataclass(frozen=True, slots=True)
class Split:
    """Fields by column, as many as rows; `which` says of which rows, None: of all. The others have NULL."""

    columns: list[pa.Array]
    which: pa.Array | None = None


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
        self._unsure = (*_UNSURE, "\\") if dialect.backslash else _UNSURE
        self._mark = dialect.mark
        if not possible:
            return
        self._rows = LineRows(dialect, fields)
        self._parsing = csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            double_quote=not dialect.backslash,
            ignore_empty_lines=False,
        )
        # An empty text is NULL, `""` is the empty text.
        self._conversion = csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    def of(self, rows: Rows) -> Split | None:
        """The fields of these rows without a quote's marks; None if none of them is to be split."""
        if not self.names or rows.format != "csv":
            return None
        text = rows.text
        if text and not self._is_unsure(text):
            # Of rows with quotes `fields` also says that nothing stands between a closing one and its field's end.
            tidy = rows.fields == self._fields or not self._mark or self._mark not in text
            if tidy and (columns := self._parsed(text, len(rows))):
                return Split(columns)
        return self._those_that_are_tidy(rows)

    def _is_unsure(self, text: bytes) -> bool:
        # That a byte does not occur is seen far sooner than that a text does not.
        return any(one[:1] in text and one in text for one in map(str.encode, self._unsure))

    def _parsed(self, text: bytes, rows: int) -> list[pa.Array] | None:
        read = csv.ReadOptions(column_names=list(self.names), use_threads=False, block_size=len(text) + 1)
        try:
            table = csv.read_csv(
                pa.BufferReader(text), read_options=read, parse_options=self._parsing, convert_options=self._conversion
            )
        except pa.ArrowInvalid:  # a row with fewer or more fields, or a text that is not UTF-8
            return None
        return [column.combine_chunks() for column in table.columns] if len(table) == rows else None

    def _those_that_are_tidy(self, rows: Rows) -> Split | None:
        _, values = rows.arrays()
        which = self._rows.among(values)
        for one in self._unsure:
            which = pc.and_not(which, pc.match_substring(values, one))
        tidy = pc.filter(values, which).to_pylist()
        columns = self._parsed(b"\n".join([*tidy, b""]), len(tidy)) if tidy else None
        if columns is None:
            return None
        places = pc.if_else(which, pc.subtract(pc.cumulative_sum(which.cast(pa.int32())), 1), None)
        return Split([column.take(places) for column in columns], which)
