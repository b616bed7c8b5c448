"""A file whose values are for a large part none of the declared types is refused whole, and nothing of it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.stream import Column, FileSource, Stream
from producers.rows import Rows
from producers.scan import scan
from producers.split_csv import RFC_4180
from producers.values import RowJudge, Values

STREAM = Stream(
    "shop",
    "orders",
    "shop.files.orders",
    FileSource(".*", "csv", nulls=("NA",)),
    (
        Column("id", "int", required=True),
        Column("amount", "decimal(5,2)"),
        Column("day", "date", format="dd.MM.yyyy"),
        Column("mail", "boolean", pii=True),
        Column("note", "string"),
    ),
    ("id",),
    quarantine_limit=0.1,
    quarantine_minimum=10,
)
HEADER = "id,amount,day,mail,note"
GOOD = "7,1.50,01.02.2026,true,anything"


def wrong(folder: Path, stream: Stream, rows: list[str], header: str = HEADER) -> str:
    path = folder / "file"
    path.write_text("\n".join([header, *rows] if header else rows) + "\n")
    with path.open("rb") as source:
        return scan(source, stream).wrong


def test_the_reason_names_columns_share_and_three_examples_none_of_them_private(tmp_path: Path) -> None:
    rows = [GOOD] * 20
    rows[3] = "7,much,32.02.2026,true,"  # 32 has the shape of a day: in doubt a value passes
    rows[5] = "NA,1.5,1.2.26,no way,"
    rows[9] = '"","",,"perhaps",""'  # nothing between quotes may be a text of its own
    assert wrong(tmp_path, STREAM, rows) == (
        "3 of its 20 rows (15.0%) hold what the contract refuses, more than 10.0%: mail is no boolean in 2, "
        "amount is no decimal(5,2) in 1, id is empty in 1, day is no date written dd.MM.yyyy in 1 "
        '(line 5: amount "much"; line 7: day "1.2.26"; line 7: mail (not shown))'
    )
    assert wrong(tmp_path, STREAM, [*rows, *[GOOD] * 10]) == ""  # 10% is not more than the limit
    assert wrong(tmp_path, replace(STREAM, quarantine_minimum=21), rows) == ""
    assert wrong(tmp_path, replace(STREAM, quarantine_limit=0.15), rows) == ""


def test_bad_values_and_rows_without_the_right_number_of_fields_count_together(tmp_path: Path) -> None:
    rows = [GOOD] * 18 + ["7,1.50"] + ["x" + GOOD]
    assert wrong(tmp_path, STREAM, rows) == ""
    rows[0] = "7,1.50,,,,,,"
    assert "rows without the header's number of fields in 2, id is no int in 1" in wrong(tmp_path, STREAM, rows)


def test_rows_of_json_are_judged_by_what_they_say(tmp_path: Path) -> None:
    stream = replace(STREAM, source=FileSource(".*", "json"))
    good = '{"id": 1, "amount": 1.50, "day": "01.02.2026", "mail": true, "note": {"a": 1}}'
    assert wrong(tmp_path, stream, [good] * 20, "") == ""
    bad = ['{"amount": null}', '{"id": 1, "amount": 1.501}', "id 1"]
    said = wrong(tmp_path, stream, [good] * 17 + bad, "")
    assert "3 of its 20 rows (15.0%)" in said
    for part in ("id is empty in 1", "amount is no decimal(5,2) in 1", "rows that are no JSON object in 1", '"1.501"'):
        assert part in said
    deep = '{"id": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert RowJudge(stream, "", RFC_4180).findings("json", deep.encode()) == []


def test_under_stop_a_file_of_json_with_another_field_is_refused_whole(tmp_path: Path) -> None:
    stream = replace(STREAM, source=FileSource(".*", "json"), evolution="stop")
    said = wrong(tmp_path, stream, ['{"id": 1}', '{"id": 2, "size": 3}'], "")
    assert said == (
        "its rows name size, which the contract does not: under `headrace.evolution: stop` nothing of it is sent"
    )
    assert wrong(tmp_path, replace(stream, evolution="quarantine"), ['{"id": 1}', '{"id": 2, "size": 3}'], "") == ""


def test_a_column_that_the_file_lacks_is_empty_in_every_row(tmp_path: Path) -> None:
    tolerant = replace(STREAM, evolution="evolve")
    assert "id is empty in 20" in wrong(tmp_path, tolerant, ["1.5,a"] * 20, "amount,note")


@pytest.mark.parametrize("rows", [499, 1000, 5000, 123_456])
def test_the_sample_is_spread_over_the_file_and_a_good_file_is_not_read_again(rows: int) -> None:
    values = Values(STREAM, HEADER, RFC_4180)
    for first in range(0, rows, 700):
        part = range(first, min(first + 700, rows))
        values.add(Rows("csv", part, [f"{number},1,,,".encode() for number in part]))
    taken = [int(value.split(b",")[0]) for _, value in values._sample]
    assert min(rows, 500) <= len(taken) <= 1000
    assert taken == list(range(0, rows, max(1, taken[-1] // (len(taken) - 1))))
    assert values.verdict(lambda: pytest.fail("read again")) == ""


def test_rows_that_are_bad_only_at_the_end_are_found_and_long_rows_fill_no_memory() -> None:
    values = Values(STREAM, HEADER, RFC_4180)
    filler = b"x" * 100_000

    def batches() -> Iterator[Rows]:
        for number in range(3000):
            yield Rows("csv", [number], [b"%s,1,,,%s" % (b"1" if number < 2400 else b"one", filler)])

    for batch in batches():
        values.add(batch)
    assert values._bytes <= 32 << 20
    assert "600 of its 3,000 rows (20.0%)" in values.verdict(batches)


def test_numbers_are_judged_in_the_spelling_of_the_file(tmp_path: Path) -> None:
    columns = (Column("id", "int"), Column("amount", "decimal(7,2)"))
    stream = replace(STREAM, columns=columns, source=FileSource(".*", "csv", delimiter=";", decimal=",", thousands="."))
    judge = RowJudge(stream, "id;amount", replace(RFC_4180, delimiter=";"))
    for good in ("1;1.234,50", "1.000;1234,5", "1;,5", "1;1e3"):
        assert judge.findings("csv", good.encode()) == []
    for bad in ("1;1,234.50", "1;12.34", "1,5;1", "1;1.234.567,00"):
        assert len(judge.findings("csv", bad.encode())) == 1
