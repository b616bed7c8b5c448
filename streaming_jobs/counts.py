"""How many rows of a batch became what, per range and per file: taken while the rows are written, and checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from contracts.errors import LedgerMismatch
from contracts.spark_types import RESCUED
from contracts.wire import FILE_HASH
from streaming_jobs.lake import sql_text
from streaming_jobs.ranges import Range
from streaming_jobs.transforms.deduplicate import WRITTEN

_OUTCOMES = ("accepted", "duplicate", "conflicting", "quarantined", "no_row")
_FEW = 3  # groups for which plain sums are cheaper than the histogram
_NOTED_LINES = 1000
_NAMED_FIELDS, _NAME_LENGTH = 50, 100
Group = tuple[int, str]  # partition, file hash ("" for a change, and for a record that names no file)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of some rows. `accepted` and `conflicting` are in the history."""

    accepted: int = 0
    duplicate: int = 0
    conflicting: int = 0
    quarantined: int = 0
    no_row: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.accepted + self.duplicate + self.conflicting + self.quarantined + self.no_row

    @property
    def written(self) -> int:
        """Those in the history."""
        return self.accepted + self.conflicting

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in _OUTCOMES))


def total(counts: Sequence[Counts]) -> Counts:
    """Their sum."""
    return sum(counts, Counts())


class GroupCounter:
    """Counts outcomes per group during the write, in one aggregate.

    One histogram over the number (group, outcome) is exact while it has a bin for each: it joins the closest bins
    first, and those of one number are closest. A sum per group and outcome would cost more than the rest of a batch
    with many groups. Spark observes a task twice when it is retried: see `of`.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._observation = Observation()
        self._sure = False

    def observe(self, frame: DataFrame) -> DataFrame:
        """The same rows; `_outcome`, `_partition` and, in file streams, `_file_hash` are counted as they pass."""
        noted = []
        if "_line" in frame.columns:
            line = f"if(_outcome = {_OUTCOMES.index('quarantined')}, cast(coalesce(_line, -1) as double), null)"
            noted.append(F.expr(f"to_json(histogram_numeric({line}, {_NOTED_LINES}))").alias("refused"))
        if RESCUED in frame.columns:
            kept = f"if({WRITTEN}, {RESCUED}, null)"
            names = f"to_json(array_sort(map_keys({kept})))"
            noted += [F.expr(f"count({kept})").alias("rescued")]
            noted += [F.expr(f"{end}({names})").alias(f"rescued_{end}") for end in ("min", "max")]
        if len(self.groups) <= _FEW:
            sums = [
                F.expr(f"count_if({self._number(frame)} = {position} and _outcome = {outcome})").alias(
                    str(position * 8 + outcome)
                )
                for position in range(1, len(self.groups) + 1)
                for outcome in range(len(_OUTCOMES))
            ]
            return frame.observe(self._observation, *sums, *noted)
        bins = max(8, len(self.groups) * len(_OUTCOMES) + len(_OUTCOMES))
        number = f"cast({self._number(frame)} * 8 + _outcome as double)"
        return frame.observe(
            self._observation, F.expr(f"to_json(histogram_numeric({number}, {bins}))").alias("bins"), *noted
        )

    @cached_property
    def _found(self) -> dict[str, Any]:
        # Asked for once, after the write: it crosses into the JVM for each value, and once more to learn of the end.
        return self._observation.get

    def refused_lines(self) -> list[int] | None:
        """The lines of the quarantined rows of files, -1 for one without; None if there were too many to note them.

        Exact like the counts: a histogram joins no two values while it has a bin for each.
        """
        bars = json.loads(self._found.get("refused") or "[]")
        return [round(bar["x"]) for bar in bars] if len(bars) < _NOTED_LINES else None

    def rescued(self, written: Callable[[], DataFrame]) -> dict[str, int]:
        """In how many of the written rows each undeclared field was kept, after `of`; the most frequent by name.

        Almost always all rows of a batch have the same ones: then the first and the last set of names are equal.
        `written` reads `_rescued` of what was written, for when they are not.
        """
        found = self._found
        rows = int(found.get("rescued") or 0)
        if not rows:
            return {}
        if self._sure and found["rescued_min"] == found["rescued_max"]:
            fields = Counter(dict.fromkeys(json.loads(found["rescued_min"]), rows))
        else:
            each = written().selectExpr(f"explode(map_keys({RESCUED})) as field").groupBy("field").count()
            fields = Counter({str(row["field"]): int(row["count"]) for row in each.collect()})
        ranked = fields.most_common()
        shown = {name[:_NAME_LENGTH]: count for name, count in ranked[:_NAMED_FIELDS]}
        if rest := ranked[_NAMED_FIELDS:]:
            shown[f"({len(rest)} other fields)"] = sum(count for _, count in rest)
        return shown

    def of(self, frame: DataFrame, written: int, expected: Mapping[Group, int] | None) -> dict[Group, Counts]:
        """The counts, after the observed `frame` was written as `written` rows.

        `expected`: how many records each group has, if they were counted before. What was observed is taken if it
        agrees with both; otherwise the rows are read and counted again.

        Raises:
            LedgerMismatch: the second count does not agree either.
        """
        found = self._found
        if "bins" in found:
            # Histograms of two tasks are merged by laying their bins side by side: one number may have several. Where
            # Spark joins them it weighs their centres in floating point: 17 may come out as 16.999….
            observed = Counter[int]()
            for bar in json.loads(found["bins"] or "[]"):
                observed[round(bar["x"])] += round(bar["y"])
        else:
            observed = Counter({int(number): int(rows) for number, rows in found.items() if number.isdecimal()})
        counts = self._collect(observed)
        self._sure = _agrees(counts, written, expected)
        if not self._sure:
            again = frame.groupBy((F.expr(self._number(frame)) * 8 + F.col("_outcome")).alias("number")).count()
            counts = self._collect({int(row["number"]): int(row["count"]) for row in again.collect()})
        if not _agrees(counts, written, expected):
            raise LedgerMismatch(
                f"counted {total(list(counts.values()))}, but {written} rows were written"
                + (f" of {sum(expected.values())} read" if expected is not None else ""),
                state="nothing of this batch was committed",
                next_step="keep the log and report this: a batch that is read twice must be the same twice",
            )
        return counts

    def _number(self, frame: DataFrame) -> str:
        if "_file_hash" not in frame.columns:
            return f"array_position(array({', '.join(str(partition) for partition, _ in self.groups)}), _partition)"
        listed = ", ".join(sql_text(f"{partition}/{name}") for partition, name in self.groups)
        return f"array_position(array({listed}), concat(_partition, '/', coalesce(_file_hash, '')))"

    def _collect(self, bins: Mapping[int, int]) -> dict[Group, Counts]:
        found: dict[Group, dict[str, int]] = {group: {} for group in self.groups}
        for number, rows in bins.items():
            position, outcome = divmod(number, 8)
            if position:  # 0: no group that was announced; the sums will not agree
                found[self.groups[position - 1]][_OUTCOMES[outcome]] = rows
        return {group: Counts(**outcomes) for group, outcomes in found.items()}


def _agrees(counts: Mapping[Group, Counts], written: int, expected: Mapping[Group, int] | None) -> bool:
    if total(list(counts.values())).written != written:
        return False
    return expected is None or all(counts[group].rows == expected.get(group, 0) for group in counts)


def per_range(ranges: Sequence[Range], counts: Mapping[Group, Counts]) -> dict[Range, Counts]:
    """The counts of each range (a batch has one range per partition)."""
    return {
        one: total([found for (partition, _), found in counts.items() if partition == one.partition]) for one in ranges
    }


def per_file(counts: Mapping[Group, Counts]) -> dict[str, Counts]:
    """The counts of each file."""
    found: dict[str, Counts] = {}
    for (_, file_hash), counted in counts.items():
        if FILE_HASH.fullmatch(file_hash):  # else the record's key is not that of a file row, and it is refused
            found[file_hash] = found.get(file_hash, Counts()) + counted
    return found


def commit_metadata(
    kind: str,
    run: str,
    at: str,
    ranges: Mapping[Range, Counts],
    files: Mapping[str, Counts],
    rows_beyond_records: Mapping[int, int] | None = None,
) -> dict[str, object]:
    """What the history's commit says of its batch. A record holds one row, a chunk's record more:
    `rows_beyond_records` says by partition how many more.

    Raises:
        LedgerMismatch: a range has more records than offsets.
    """
    listed = []
    for one, found in ranges.items():
        records = found.rows - (rows_beyond_records or {}).get(one.partition, 0)
        gap = len(one) - records
        if gap < 0:
            raise LedgerMismatch(
                f"{one} has {len(one)} offsets, and {records} records were counted",
                state="nothing of this batch was committed",
                next_step="keep the log and report this",
            )
        listed.append(
            {"topic": one.topic, "topic_id": one.topic_id, "partition": one.partition, "first": one.first}
            | {"next": one.next, "rows": found.rows}
            | {name: getattr(found, name) for name in _OUTCOMES}
            | {"gap": gap, "records": records}
        )
    per_hash = {name: {outcome: getattr(found, outcome) for outcome in _OUTCOMES[:4]} for name, found in files.items()}
    return {"headrace": 1, "kind": kind, "run": run, "at": at, "ranges": listed, "files": per_hash}
