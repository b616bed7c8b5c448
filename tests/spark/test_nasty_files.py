"""Nasty files, each of which stands for a question that somebody answered wrongly once: what is in a file arrives as it
is, or is refused with what it held. Nothing is altered, nothing is lost; whether it goes row by row or in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from contracts.delimiter import delimiter_of
from contracts.stream import Stream
from producers.dialect import Dialect
from producers.values import RowJudge
from streaming_jobs.chunks import ChunkRecord
from tests.spark import nasty_csv, nasty_json, nasty_other
from tests.spark.in_chunks import BY_ROW, IN_CHUNKS, chunks_of, judged_each_way
from tests.spark.landing import records_of, scanned_file, to_kafka
from tests.spark.nasty_csv import Case, Group, Values

GROUPS: dict[str, Group] = nasty_csv.GROUPS | nasty_json.GROUPS | nasty_other.GROUPS
CASES = [
    pytest.param(
        name,
        case,
        id=f"{name}: {case.name}",
        marks=pytest.mark.xfail(strict=True, reason=case.bug) if case.bug else (),
    )
    for name, group in GROUPS.items()
    for case in group.cases
]
NEVER_SPLIT = ("beyond the end", "evolve", "stop")
"""No file of them names all columns in their order."""

TIMES = ("date", "timestamp", "timestamp_ntz")


@dataclass
class Outcome:
    """Of one file: its header, why it is wrong as a whole or cannot even be judged, its rows as judged and as sent, and
    as judged when they came in chunks, by the way these took."""

    header: str = ""
    wrong: str = ""
    failure: Exception | None = None
    rows: list[Row] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    chunked: dict[int, list[Row]] = field(default_factory=dict)


def content(stream: Stream, case: Case) -> bytes:
    return case.content.encode(stream.file_source.encoding) if isinstance(case.content, str) else case.content


def become(spark: SparkSession, stream: Stream, files: Mapping[str, bytes], folder: Path) -> dict[str, Outcome]:
    """As `land`, but every piece of a long row is kept, and times are texts: not every year is one in Python."""
    found = {name: Outcome() for name in files}
    names: dict[str, str] = {}
    records: list[tuple[bytes, bytes]] = []
    chunks: list[ChunkRecord] = []
    for name, held in files.items():
        try:
            scanned = scanned_file(stream, name, held, folder)
        except Exception as failure:  # of this file alone
            found[name].failure = failure
            continue
        found[name].header, found[name].wrong = scanned.header, scanned.wrong
        if not scanned.wrong:
            assert scanned.hash not in names, f"{name} holds what {names[scanned.hash]} holds"
            names[scanned.hash] = name
            records += records_of(stream, name, held, scanned)
            chunks += chunks_of(stream, name, held, scanned, folder)
    if records:
        typed = (f"cast(`{c.name}` as string)" if c.spark_type in TIMES else f"`{c.name}`" for c in stream.columns)
        values = ", ".join(f"'{c.name}', {value}" for c, value in zip(stream.columns, typed, strict=True))
        kept = ("_file_hash", "_file", "_line", "_partition", "_offset", "_raw", "_refusal", "_split")
        good = {f"named_struct({values})": "v", "_key": "_key", "_hash": "_hash"}
        row = (f"if(_refusal is null, {one}, null) as {name}" for one, name in good.items())
        frame = judged_each_way(spark, stream, to_kafka(spark, records), chunks, folder).selectExpr(*kept, *row)
        for one in sorted(frame.collect(), key=lambda one: one["_offset"]):
            outcome = found[names[one["_file_hash"]]]
            if one["_partition"] != BY_ROW:
                outcome.chunked.setdefault(one["_partition"], []).append(one)
                continue
            outcome.rows.append(one)
            outcome.sent.append(records[one["_offset"]][1])
        assert sum(len(outcome.rows) for outcome in found.values()) == len(records)
    return found


@pytest.fixture(scope="module")
def outcome(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Case], Outcome]:
    """What became of a file: all files of a contract in one job, the first time that one of them is asked for."""
    found: dict[str, dict[str, Outcome]] = {}

    def of(group: str, case: Case) -> Outcome:
        stream, cases = GROUPS[group].stream, GROUPS[group].cases
        if group not in found:
            files = {f"{number}.file": content(stream, one) for number, one in enumerate(cases)}
            found[group] = become(spark, stream, files, tmp_path_factory.mktemp("nasty"))
        return found[group][f"{cases.index(case)}.file"]

    return of


@pytest.mark.parametrize(("group", "case"), CASES)
def test_a_nasty_file_arrives_as_it_is_or_is_refused(
    outcome: Callable[[str, Case], Outcome], group: str, case: Case
) -> None:
    found, stream = outcome(group, case), GROUPS[group].stream
    if found.failure:
        raise found.failure
    if case.wrong:
        assert case.wrong in found.wrong
        return
    assert found.wrong == ""
    refusals = ((row["_line"], row["_refusal"]) for row in found.rows if row["_refusal"])
    refused = {line: f"{refusal.rule} {refusal.column_name}".strip() for line, refusal in refusals}
    accepted = {row["_line"]: plain(row["v"]) for row in found.rows if row["v"]}
    assert refused == case.refused
    assert accepted == {line: whole(stream, values) for line, values in case.accepted.items()}
    assert not accepted.keys() & refused.keys()
    every_byte_is_accounted_for(stream, content(stream, case), found)
    nothing_accepted_counts_as_certainly_bad(stream, found)


@pytest.mark.parametrize("group", GROUPS)
def test_in_chunks_a_nasty_file_is_what_it_is_row_by_row(outcome: Callable[[str, Case], Outcome], group: str) -> None:
    split = 0
    for case in GROUPS[group].cases:
        found = outcome(group, case)
        by_row = said(found.rows)
        for way, rows in found.chunked.items():
            assert said(rows) == by_row, (case.name, way)
            split += sum(row["_split"] for row in rows)
        assert (IN_CHUNKS in found.chunked) == bool(by_row)
    if GROUPS[group].stream.file_source.format == "csv" and group not in NEVER_SPLIT:
        assert split, "of some rows the fields were split before"


def said(rows: list[Row]) -> list[tuple[int, str]]:
    """All that was found of each row, but for the place of its record."""
    names = ("_file", "_raw", "_refusal", "v", "_key", "_hash")
    return sorted((row["_line"], " ".join(repr(row[name]) for name in names)) for row in rows)


def whole(stream: Stream, values: Values) -> dict[str, Any]:
    names = [column.name for column in stream.columns]
    if isinstance(values, tuple):
        return dict(zip(names, values, strict=True))
    assert values.keys() <= set(names)
    return {name: values.get(name) for name in names}


def plain(value: Any) -> Any:
    """The value as the cases write it: what Python takes for equal (0.0 and -0.0, 1.0 and 1.00) is text."""
    if isinstance(value, Row):
        return {name: plain(item) for name, item in value.asDict().items()}
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return str(value) if isinstance(value, Decimal) else bytes(value) if isinstance(value, bytearray) else value


def every_byte_is_accounted_for(stream: Stream, held: bytes, found: Outcome) -> None:
    """The rows that were judged are, put together, the file but for line ends (in JSON and logs, for blanks too)."""
    for row, sent in zip(found.rows, found.sent, strict=True):
        assert row["v"] or bytes(row["_raw"]) == sent, "a refused row keeps what it held"
    source = stream.file_source
    if source.format == "parquet":
        return
    if source.encoding != "utf-8":
        # As `producers.text` keeps bytes that are no text.
        held = held.decode(source.encoding, "headrace.keep").encode("utf-8", "surrogateescape")
    held = held.split(b"\n", source.skip_lines)[-1].removeprefix(b"\xef\xbb\xbf")
    header = found.header.encode() if source.format == "csv" and source.header else b""
    rows = header + b"".join(found.sent)
    around = {"csv": b"\r\n", "log": b" \t\r\n", "json": b" \t\r\n[],"}[source.format]
    assert rows.translate(None, around) == held.translate(None, around)


def nothing_accepted_counts_as_certainly_bad(stream: Stream, found: Outcome) -> None:
    source = stream.file_source
    dialect = Dialect(source.delimiter or delimiter_of(found.header), source.quote, source.backslash)
    judge = RowJudge(stream, found.header, dialect)
    good = [sent for row, sent in zip(found.rows, found.sent, strict=True) if row["v"]]
    assert [(row, wrong) for row in good if (wrong := judge.findings(source.row_format, row))] == []
