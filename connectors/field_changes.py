"""What becomes of rows whose table lacks a declared column, has one more or another type, by the contract's policy."""

from __future__ import annotations

import re
from collections.abc import Collection

from connectors.finding import Finding
from contracts.columns import COLUMN_NAME
from contracts.stream import Column, Stream

_UNDECLARED = {
    "evolve": "its values are kept in `_rescued`",
    "quarantine": "rows with it are refused as undeclared_field and wait in the quarantine",
    "stop": "the first row with it parks the stream",
}
_MISSING = {
    "evolve": "it is NULL in new rows",
    "quarantine": "rows without it are refused as missing_field and wait in the quarantine",
    "stop": "the first row without it parks the stream",
}
_MISFIT = "rows whose value does not fit are refused as type and wait in the quarantine"
_MISFITS = {
    "evolve": _MISFIT,
    "quarantine": _MISFIT,
    "stop": "the first row whose value does not fit parks the stream",
}


def misfits(stream: Stream) -> str:
    """What becomes of values that a column of another type holds and the declared one does not."""
    return _MISFITS[stream.evolution]


def missing(stream: Stream, table: str, column: Column, present: Collection[str]) -> Finding:
    """A declared column that is not among those of the table. What the policy tolerates refuses nothing."""
    fix = (
        f"remove or rename the column, or say with headrace.field what the table calls it; it has {', '.join(present)}"
    )
    return _lacking(stream, table, column, "the column is not in the table", f"{stream.file}: {fix}")


def left_out(stream: Stream, table: str, column: Column, config: str) -> Finding:
    """A declared column that the connector leaves out, as `config` says. What the policy tolerates refuses nothing."""
    fix = f"{config}: take it out of column.exclude.list; or {stream.file}: remove the column"
    return _lacking(stream, table, column, "the connector leaves the column out", fix)


def _lacking(stream: Stream, table: str, column: Column, what: str, fix: str) -> Finding:
    needed = column.required or column.name in stream.key
    becomes = "rows without it are refused as required" if stream.rescues and needed else _MISSING[stream.evolution]
    return Finding(
        "warning" if stream.rescues and not needed else "refusal",
        f"{what}: {becomes}",
        table=table,
        column=column.name,
        declared=column.source_type or column.spark_type,
        fix=fix,
    )


def undeclared(stream: Stream, table: str, column: str, kind: str, config: str) -> Finding:
    """A column of the table that the stream does not declare; `config` is the file where it may be excluded."""
    under = "" if re.fullmatch(COLUMN_NAME, column) else f" under another name with headrace.field: {column}"
    return Finding(
        "warning",
        f"the table has a column that stream {stream.name} does not declare: {_UNDECLARED[stream.evolution]}",
        table=table,
        column=column,
        found=kind,
        fix=f"{stream.file}: declare it{under}, or exclude it with column.exclude.list in {config}",
    )
