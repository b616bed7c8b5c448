"""Policy `stop`: a table's stream is parked in front of the first row that shows another table than the contract's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.stream import Stream
from streaming_jobs.lake import sql_text
from streaming_jobs.quarantine import StreamParked, examples_of
from streaming_jobs.ranges import Range
from streaming_jobs.transforms.deduplicate import QUARANTINED
from streaming_jobs.transforms.validate import EVOLUTION_RULES


class TableChange(NamedTuple):
    """What is other at the source's table than the contract declares, and what a person does about it."""

    what: str
    fix: str


TableChanges = Callable[[Stream], Sequence[TableChange]]
"""Asks the source in what its table, as it is now, no longer holds what the contract declares. Empty if it does; a
Retryable if the source does not answer."""

_MISFIT = "type"


class FieldsChanged(StreamParked):
    """Under `stop`: rows have other fields than the contract, or values that do not fit since the source's table was
    changed. `firsts` are their first offsets by partition; nothing from there on was committed."""

    def __init__(
        self,
        firsts: Mapping[int, int],
        stream: Stream,
        examples: Sequence[tuple[int, str, str, str]],
        at: str,
        changes: Sequence[TableChange] = (),
    ) -> None:
        self.firsts = dict(firsts)
        if changes:
            told = "; ".join(change.what for change in changes)
            what = f"values do not fit, and the table is no longer what the contract declares: {told}"
            fixes = "; ".join(dict.fromkeys(change.fix for change in changes))
            fix = f"{fixes}; or `headrace.evolution: quarantine` (refuses the rows that do not fit); `headrace apply`"
        else:
            what = "rows have other fields than the contract"
            fix = (
                f"declare the fields in {stream.file} as they are now, or change `headrace.evolution` to evolve (keeps "
                "undeclared fields) or quarantine (refuses these rows)"
            )
        super().__init__(
            f"{what}, and `headrace.evolution` is stop",
            examples,
            f"{fix}; then `headrace resume {stream.name}`",
            stream=stream.name,
            offsets=at,
        )


def fields_changed(
    stream: Stream, refused: DataFrame, ranges: Sequence[Range], table_changes: TableChanges | None
) -> FieldsChanged | None:
    """The error that parks a stream whose policy is `stop`, if a row of it says that the source's fields changed.

    Names say so themselves. A value that does not fit may also be an odd one of an unchanged table (`infinity`), for a
    change carries no type: there the source is asked. Once per batch, for what it said before says nothing of a change
    that this batch is the first to show. Without `table_changes` such rows are refused as under `quarantine`. Whoever
    resumes the stream without another contract meets the same rows, and this, again.

    Raises:
        Retryable: the source does not answer.
    """
    rules = ", ".join(map(sql_text, (*EVOLUTION_RULES, _MISFIT)))
    told = refused.where(f"_outcome = {QUARANTINED} and _refusal.rule in ({rules})")
    misfit = F.expr(f"_refusal.rule = {sql_text(_MISFIT)}").alias("misfit")
    found = told.groupBy("_partition", misfit).agg(F.min("_offset").alias("first")).collect()
    firsts = {row["_partition"]: row["first"] for row in found if not row["misfit"]}
    misfits = {row["_partition"]: row["first"] for row in found if row["misfit"]}
    # A misfit behind a row that parks the stream is judged when the stream gets there.
    misfits = {one: first for one, first in misfits.items() if first < firsts.get(one, first + 1)}
    changes = table_changes(stream) if table_changes and stream.is_cdc and misfits else ()
    if changes:
        firsts |= misfits
    if not firsts:
        return None
    changed = told if changes else told.where(f"_refusal.rule <> {sql_text(_MISFIT)}")
    changed_at = {f"{one.topic}-{one.partition}": firsts.get(one.partition) for one in ranges}
    at = ", ".join(f"{partition} from {first} on" for partition, first in changed_at.items() if first is not None)
    return FieldsChanged(firsts, stream, examples_of(changed), at, changes)
