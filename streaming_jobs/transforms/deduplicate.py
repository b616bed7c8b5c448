"""What becomes of each row: `_outcome`, one of the five numbers below."""

from __future__ import annotations

from pyspark.sql import DataFrame

ACCEPTED, DUPLICATE, CONFLICTING, QUARANTINED, NO_ROW = range(5)
WRITTEN = f"_outcome in ({ACCEPTED}, {CONFLICTING})"
_NO_ROW = f"when _no_row then {NO_ROW}"
_REFUSED = f"when _refusal is not null then {QUARANTINED}"


def outcome_of_changes(frame: DataFrame, present: DataFrame | None = None) -> DataFrame:
    """Every change is a version of its own and accepted. Duplicate: only where `present`, the history's `_version`s
    (epoch and offset), holds it, in a replay, whatever the contract says of it now."""
    if present is None:
        return frame.selectExpr("*", f"case {_NO_ROW} {_REFUSED} else {ACCEPTED} end as _outcome")
    known = present.selectExpr("_version as _known").distinct()
    joined = frame.join(known, frame["_version"] == known["_known"], "left")
    outcome = f"case {_NO_ROW} when _known is not null then {DUPLICATE} {_REFUSED} else {ACCEPTED} end as _outcome"
    return joined.selectExpr(*(f"`{column}`" for column in frame.columns), outcome)


def outcome_of_file_rows(frame: DataFrame, present: DataFrame) -> DataFrame:
    """The event is (file, key). Same content as an earlier row of the event, in this batch or in `present` (the
    history's rows of the same files): duplicate. Other content: conflicting, and kept.

    Which of two conflicting rows counts as the first depends on the order of arrival; what readers see does not.
    """
    known = present.groupBy("_file_hash", "_key").agg({"_hash": "collect_set"})
    known = known.toDF("_known_file", "_known_key", "_known_hashes")
    columns = [f"`{column}`" for column in frame.columns]
    # A refused row's key means nothing; it must neither meet the others nor fill one partition.
    event = "_file_hash, if(_refusal is null, _key, cast(concat_ws(':', _offset, _line) as binary))"
    # Two windows over one partitioning, the sorted one first: one shuffle and one sort.
    ranked = frame.selectExpr(
        *columns,
        f"lag(_hash) over (partition by {event} order by _hash, _offset, _line) as _before",
    ).selectExpr(
        *columns,
        "_before",
        f"min_by(_hash, struct(_offset, _line)) over (partition by {event}) as _first_hash",
    )
    joined = ranked.join(
        known,
        (ranked["_file_hash"] == known["_known_file"]) & (ranked["_key"] == known["_known_key"]),
        "left",
    )
    outcome = (
        f"case {_NO_ROW} {_REFUSED} "
        f"when _before <=> _hash or coalesce(array_contains(_known_hashes, _hash), false) then {DUPLICATE} "
        f"when _known_hashes is not null or _first_hash <> _hash then {CONFLICTING} else {ACCEPTED} end as _outcome"
    )
    return joined.selectExpr(*columns, outcome)


def keep_present(frame: DataFrame, present: DataFrame) -> DataFrame:
    """In a replay: a row whose file and line `present` holds is a duplicate, however the contract of today reads it."""
    known = present.selectExpr("_file_hash as _known_file", "_line as _known_line").distinct()
    same = (frame["_file_hash"] == known["_known_file"]) & (frame["_line"] == known["_known_line"])
    outcome = f"if(_known_line is not null, {DUPLICATE}, _outcome) as _outcome"
    columns = (f"`{column}`" for column in frame.columns if column != "_outcome")
    return frame.join(known, same, "left").selectExpr(*columns, outcome)
