"""`push --dry-run` judges a file's rows as the streaming job would, names the first that would be refused, and leaves
nothing behind."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from contracts.settings import SparkSettings
from contracts.stream import Column, FileSource, Rule, Stream
from headrace.dry_run import LocalJudge
from headrace.progress import Bar
from producers.push import Judged, Offender
from producers.scan import scan
from producers.send import Arrival

STREAM = Stream(
    "p",
    "orders",
    "p.files.orders",
    FileSource(r"orders_(?P<shop>[a-z]+)\.csv", "csv", unit="batch_date"),
    (
        Column("id", "bigint", required=True),
        Column("amount", "decimal(8,2)"),
        Column("note", "string"),
        Column("shop", "string", from_file_name=True),
        Column("batch_date", "date", required=True, from_batch_date=True),
    ),
    ("batch_date", "id"),
    rules=(
        Rule("not_negative", "amount >= 0", "amount"),
        Rule("of_its_shop", "shop = 'lisbon' and batch_date = date'2026-01-05'", "shop"),
    ),
)
GOOD = [f"{number},1.50,usual" for number in range(30)]
BAD = [
    "x,1,no number",
    "31,1.005,would be rounded",
    "32,-1,below",
    ",1,no key",
    "33,1",
    "34,1,one,too many",
    '35,1,"stray"text',
    "36,1,\udcff",
    "37,1,nul \0",
    "38,one,no number",
    "39,-2,the eleventh",
]
TOLD = (
    Offender(2, "type", "id", '"x" cannot be held as bigint without changing it'),
    Offender(5, "type", "amount", '"1.005" cannot be held as decimal(8,2) without changing it'),
    Offender(8, "not_negative", "amount", "not true: amount >= 0"),
    Offender(11, "required", "id", "required, and NULL"),
    Offender(14, "csv", "", "2 fields, the header has 3"),
    Offender(17, "csv", "", "4 fields, the header has 3"),
    Offender(20, "csv", "", "something stands between a closing quote and the end of its field"),
    Offender(23, "encoding", "", "the row is not UTF-8"),
    Offender(26, "nul_character", "", "the row holds U+0000"),
    Offender(29, "type", "amount", '"one" cannot be held as decimal(8,2) without changing it'),
)


def judged(folder: Path, spool: Path, rows: list[str]) -> Judged:
    path = folder / "orders_lisbon.csv"
    path.write_bytes("\n".join(["id,amount,note", *rows]).encode("utf-8", "surrogateescape"))
    judge = LocalJudge(SparkSettings(), spool, Bar())
    with path.open("rb") as source:
        scanned = scan(source, STREAM)
        assert not scanned.wrong
        return judge(source, Arrival(path.name, "2026-01-05", "2026-01-05"), scanned, STREAM)


def test_rows_are_counted_and_the_first_ten_that_would_be_refused_are_named(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = list(GOOD)
    for number, bad in enumerate(BAD):
        rows.insert(number * 3, bad)
    rows += ["7,1.5,usual", "8,1.50,other", '40,1,"open']
    found = judged(tmp_path, tmp_path / "spool", rows)
    assert (found.accepted, found.duplicate, found.conflicting, found.refused) == (30, 1, 1, 12)
    assert found.offenders == TOLD
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_file_of_a_header_alone_has_nothing_to_judge(tmp_path: Path) -> None:
    assert judged(tmp_path, tmp_path / "spool", []) == Judged(0, 0, 0, 0, ())
    assert list((tmp_path / "spool").iterdir()) == []
