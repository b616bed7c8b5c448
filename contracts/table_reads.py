"""What is told about the reads of one table and cannot be seen from the rows in its topic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """An offset in the topic of a table; offsets are only compared within one topic id."""

    topic_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class FewRows:
    """A read of the whole table that found `rows` rows, none or one: too few for a first and a last one. What lay
    before `place` in the topic was sent before the read began, so a key that only occurs there is gone at the source
    unless it was read again."""

    place: Place
    rows: int


@dataclass(frozen=True, slots=True)
class TableReads:
    """`parts`: where the rows of reads of a part lie, from a place up to another, or to None until the whole table is
    asked for: they say nothing of other keys. `few`: the newest read with too few rows."""

    parts: tuple[tuple[Place, Place | None], ...] = ()
    few: FewRows | None = None


NO_READS = TableReads()
