"""Rows that do not even have the header's number of fields: a file full of them is not what its name says."""

from __future__ import annotations

import pyarrow.compute as pc

from contracts.stream import Stream
from producers.dialect import Dialect, LineRows, fields_of
from producers.rows import Rows

_LOOKED_AT = 100_000
"""Rows with quotes that are parsed for their number of fields; those after them pass for fitting."""


class Misfits:
    """Counts them as a file is read. For what else the streaming job refuses see `producers.values`."""

    def __init__(self, stream: Stream, header: str, dialect: Dialect) -> None:
        self._stream = stream
        self._dialect = dialect
        self._fields = len(fields_of(header, dialect)) if header else 0
        self.rows = 0
        self.misfits = 0
        self._looked_at = 0
        self._fitting = LineRows(dialect, self._fields)

    def add(self, batch: Rows) -> None:
        """Take these rows in."""
        self.rows += len(batch)
        if batch.format == "unsplit":
            self.misfits += len(batch)
        elif batch.format == "csv" and self._fields and not self._all_fit(batch):
            _, values = batch.arrays()
            values = values.filter(pc.not_equal(pc.count_substring(values, self._dialect.delimiter), self._fields - 1))
            # A delimiter within quotes is none. The few rows of which that is not seen at once are looked at one by
            # one, as far as that costs little.
            for value in values.filter(pc.invert(self._fitting.among(values))).to_pylist():
                row = value.decode(errors="replace")
                if self._dialect.quote and self._dialect.quote in row:
                    if self._looked_at >= _LOOKED_AT:
                        continue
                    self._looked_at += 1
                self.misfits += len(fields_of(row, self._dialect)) != self._fields

    def _all_fit(self, batch: Rows) -> bool:
        return batch.fields == self._fields or (batch.text is not None and self._fitting.match(batch.text))

    def verdict(self) -> str:
        """Why the file is refused; empty if it is not."""
        stream = self._stream
        if self.rows < stream.quarantine_minimum or self.misfits <= stream.quarantine_limit * self.rows:
            return ""
        return (
            f"{self.misfits:,} of its {self.rows:,} rows do not have the {self._fields} fields of its header or cannot "
            f"be told apart, more than {stream.quarantine_limit:.1%}"
        )
