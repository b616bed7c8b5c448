"""What a round of merges did, per table and target."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table in one target. `skipped` says why nothing was written; `error` what went wrong."""

    table: str
    target: str
    rows: int = 0
    seconds: float = 0.0
    before: str = ""
    after: str = ""
    date_keys: tuple[int, ...] = ()
    skipped: str = ""
    error: Exception | None = None

    @classmethod
    def skip(cls, table: str, target: str, no_source: bool, position: int | None) -> TableReport:
        """Nothing to do: the lake has no such table yet, or nothing new in it."""
        why = "the lake has no rows of its stream yet" if no_source else "nothing new in the lake"
        stands = "" if position is None else str(position)
        return cls(table, target, before=stands, after=stands, skipped=why)


@dataclass(frozen=True, slots=True)
class MergeReport:
    """All tables of all targets, in the order they were done."""

    tables: tuple[TableReport, ...] = field(default=())
    at: datetime | None = None

    @property
    def errors(self) -> tuple[Exception, ...]:
        """What went wrong; the other tables are merged all the same."""
        return tuple(table.error for table in self.tables if table.error is not None)

    @property
    def rows(self) -> int:
        """Rows written in all targets."""
        return sum(table.rows for table in self.tables)

    def check(self) -> None:
        """Log every error and raise the first, if there was one."""
        for table in self.tables:
            if table.error is not None:
                log.error("%s in %s was not merged: %s", table.table, table.target, table.error)
        if self.errors:
            raise self.errors[0]
