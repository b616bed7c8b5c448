"""Every format and dialect that a contract can declare, from a file's bytes to typed values."""

from __future__ import annotations

import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from contracts import access_log
from contracts.stream import Column, FileSource, Stream
from tests.spark.landing import DAY, Landed, land

COLUMNS = (Column("id", "bigint", required=True), Column("name", "string"), Column("amount", "decimal(10,2)"))
PATTERN = r"\w+\.\w+"


def declared(source: FileSource, columns: tuple[Column, ...] = COLUMNS, **more: object) -> Stream:
    return Stream("p", "rows", "p.files.rows", source, columns, ("id",), **more)  # type: ignore[arg-type]


def landed(spark: SparkSession, folder: Path, stream: Stream, content: bytes) -> Landed:
    return land(spark, stream, {"some.file": content}, folder)["some.file"]


def row(number: int, name: str | None, amount: str | None) -> dict[str, object]:
    return {"id": number, "name": name, "amount": None if amount is None else Decimal(amount)}


DIALECTS = {
    "semicolons": (FileSource(PATTERN, "csv", delimiter=";"), b"id;name;amount\n1;a,b;2.50\n"),
    "tabs": (FileSource(PATTERN, "csv", delimiter="\t"), b"id\tname\tamount\n1\ta,b\t2.50\n"),
    "found in the header": (FileSource(PATTERN, "csv", delimiter=""), b"id|name|amount\n1|a,b|2.50\n"),
    "single quotes": (FileSource(PATTERN, "csv", quote="'"), b"id,name,amount\n1,'a,b',2.50\n"),
    "no quotes": (FileSource(PATTERN, "csv", delimiter=";", quote=""), b'id;name;amount\n1;a,b;2.50\n2;"x;3\n'),
    "backslashes": (FileSource(PATTERN, "csv", backslash=True), b'id,name,amount\n1,"a,b",2.50\n2,"q\\"u\\\\",1\n'),
    "no header": (FileSource(PATTERN, "csv", header=False), b'1,"a,b",2.50\n'),
    "a preamble": (FileSource(PATTERN, "csv", skip_lines=2), b'made, "by\n\nid,name,amount\n1,"a,b",2.50\n'),
    "another order": (FileSource(PATTERN, "csv"), b'amount,id,name\n2.50,1,"a,b"\n'),
    "utf-16": (FileSource(PATTERN, "csv", encoding="utf-16"), 'id,name,amount\n1,"a,b",2.50\n'.encode("utf-16")),
    "a byte order mark": (FileSource(PATTERN, "csv"), b'\xef\xbb\xbfid,name,amount\r\n1,"a,b",2.50\r\n'),
}
ALSO = {"no quotes": {3: row(2, '"x', "3.00")}, "backslashes": {3: row(2, 'q"u\\', "1.00")}}


@pytest.mark.parametrize("case", DIALECTS)
def test_a_csv_dialect_is_read_as_declared(spark: SparkSession, tmp_path: Path, case: str) -> None:
    source, content = DIALECTS[case]
    found = landed(spark, tmp_path, declared(source), content)
    line = 1 if case == "no header" else 4 if case == "a preamble" else 2
    assert (found.wrong, found.refused) == ("", {})
    assert found.accepted == {line: row(1, "a,b", "2.50")} | ALSO.get(case, {})


def test_bytes_that_are_no_text_in_the_declared_encoding_are_refused_where_they_stand(
    spark: SparkSession, tmp_path: Path
) -> None:
    found = landed(
        spark,
        tmp_path,
        declared(FileSource(PATTERN, "csv", encoding="cp1252")),
        b"id,name,amount\n1,caf\xe9 \x80,1\n2,\x81,1\n3,ok,1\n",
    )
    assert found.accepted == {2: row(1, "café €", "1.00"), 4: row(3, "ok", "1.00")}
    assert found.refused == {3: "encoding"}
    assert (found.reasons[3], found.raw[3]) == ("the row is not CP1252", b"2,\x81,1")
    odd = landed(
        spark,
        tmp_path,
        declared(FileSource(PATTERN, "csv", encoding="utf-16-le")),
        "id,name,amount\n1,a,1\n2,b,1".encode("utf-16-le") + b"\x00",
    )
    assert (odd.accepted, odd.refused) == ({2: row(1, "a", "1.00")}, {3: "encoding"})


def test_numbers_dates_and_nulls_are_read_as_they_are_written_there(spark: SparkSession, tmp_path: Path) -> None:
    columns = (
        Column("id", "bigint", required=True),
        Column("amount", "decimal(10,2)"),
        Column("rate", "double"),
        Column("day", "date", format="dd.MM.yyyy"),
        Column("at", "timestamp", format="d/M/yyyy HH:mm"),
        Column("note", "string"),
    )
    source = FileSource(
        PATTERN, "csv", delimiter=";", decimal=",", thousands=".", nulls=("NA", "-"), encoding="latin-1"
    )
    lines = [
        b"id;amount;rate;day;at;note",
        b"1;1.234,50;0,5;31.12.2025;1/2/2026 03:04;h\xf6r",
        b"2;-12,5;1e3;NA;-;1.234,50",
        b"3;1.23,50;1;01.01.2025;NA;x",  # groups of three
        b"4;1234.5;1;01.01.2025;NA;x",  # a point is no decimal mark here
        b"5;1;1;31.02.2025;NA;x",
        b"6;1;1;2025-01-01;NA;x",
        b"7;1;1;01.01.25;NA;x",
        b"8;1;1;01.01.2025 ;NA;x",
        b"1.009;1,005;1;01.01.2025;NA;x",  # would be rounded
        b"1.010;1;;;;",
    ]
    found = landed(spark, tmp_path, declared(source, columns), b"\r\n".join(lines))
    assert found.refused == {4: "type amount", 5: "type amount"} | dict.fromkeys((6, 7, 8, 9), "type day") | {
        10: "type amount"
    }
    assert found.accepted == {
        2: {
            "id": 1,
            "amount": Decimal("1234.50"),
            "rate": 0.5,
            "day": date(2025, 12, 31),
            "at": datetime(2026, 2, 1, 3, 4),
            "note": "hör",
        },
        3: {"id": 2, "amount": Decimal("-12.50"), "rate": 1000.0, "day": None, "at": None, "note": "1.234,50"},
        11: {"id": 1010, "amount": Decimal("1.00"), "rate": None, "day": None, "at": None, "note": None},
    }


LOG = (
    *(Column(name, "string") for name in ("host", "user", "method", "path", "protocol", "request", "referer", "agent")),
    Column("time", "timestamp", required=True, format="dd/MMM/yyyy:HH:mm:ss Z"),
    Column("status", "int", required=True),
    Column("bytes", "bigint"),
    Column("id", "bigint", required=True, from_line=True),
    Column("batch_date", "date", required=True, from_batch_date=True),
)


def test_access_logs_are_read_by_their_pattern(spark: SparkSession, tmp_path: Path) -> None:
    source = FileSource(PATTERN, "log", log_pattern=access_log.COMBINED, nulls=("-",), unit="batch_date")
    stamp = "[10/Oct/2000:13:55:36 -0700]"
    lines = [
        f'203.0.113.9 - frank {stamp} "GET /a?b=%20 HTTP/1.0" 200 2326 "http://x/\\"q\\"" "Moz \\"a\\" (x)"',
        f'::1 - - {stamp} "-" 408 - "-" "-"',
        f'::1 - - {stamp} "\\x16\\x03\\x01" 400 0 "-" "-"',
        "",
        f'::1 - - {stamp} "GET / HTTP/1.1" 200 5',  # Common, not Combined
        '::1 - - [10/Oct/2000:25:55:36 -0700] "GET / HTTP/1.1" 200 5 "-" "-"',
        f'::1 - - {stamp} "GET /{"x" * 50_000} HTTP/1.1" 200 5 "-" "-"',
        f'::1 - - {stamp} "GET / HTTP/1.1" 200 5 "-" "\x1f"',
    ]
    found = landed(spark, tmp_path, declared(source, LOG), "\n".join(lines).encode())
    assert found.refused == {5: "log", 6: "type time", 8: "log"}
    first = found.accepted[1]
    assert first["time"] == datetime(2000, 10, 10, 20, 55, 36)
    assert (first["path"], first["status"], first["bytes"]) == ("/a?b=%20", 200, 2326)
    assert (first["referer"], first["agent"]) == ('http://x/\\"q\\"', 'Moz \\"a\\" (x)')
    assert (first["id"], first["batch_date"], first["request"]) == (1, date.fromisoformat(DAY), None)
    assert (found.accepted[2]["bytes"], found.accepted[2]["request"]) == (None, None)
    assert found.accepted[3]["request"] == "\\x16\\x03\\x01"
    assert len(found.accepted[7]["path"]) == 50_001


def test_a_pattern_of_ones_own_reads_other_logs(spark: SparkSession, tmp_path: Path) -> None:
    source = FileSource(PATTERN, "log", log_pattern=r"(?P<id>\d+) \[(?P<name>\w+)\](?: (?P<amount>\S+))?")
    found = landed(spark, tmp_path, declared(source), b"1 [web] 2.50\n2 [db]\n3 db\n4 [a_b] $1\n")
    assert found.accepted == {1: row(1, "web", "2.50"), 2: row(2, "db", None)}
    assert found.refused == {3: "log", 4: "type amount"}


def test_parquet_rows_are_read_with_the_types_of_the_contract(spark: SparkSession, tmp_path: Path) -> None:
    columns = (
        *COLUMNS,
        Column("at", "timestamp"),
        Column("day", "date"),
        Column("flag", "boolean"),
        Column("rate", "double"),
        Column("blob", "binary"),
        Column("tags", "array<string>"),
        Column("place", "struct<city:string,zip:int>"),
    )
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "name": ["ä\n\u0001", None],
            "amount": pa.array([Decimal("12.30"), None], pa.decimal128(12, 2)),
            "at": pa.array([datetime(2026, 1, 2, 3, 4, 5, 600), None], pa.timestamp("ns", "UTC")),
            "day": pa.array([date(2026, 1, 2), None]),
            "flag": [True, None],
            "rate": [0.1, None],
            "blob": [b"\x00\xff", None],
            "tags": [["a", None], None],
            "place": [{"city": "Lyon", "zip": 1}, None],
        }
    )
    packed = io.BytesIO()
    pq.write_table(table, packed)
    found = landed(spark, tmp_path, declared(FileSource(PATTERN, "parquet"), columns), packed.getvalue())
    assert (found.wrong, found.refused) == ("", {})
    first = found.accepted[1]
    assert first["at"] == datetime(2026, 1, 2, 3, 4, 5, 600)
    assert (first["amount"], first["name"], first["rate"]) == (Decimal("12.30"), "ä\n\u0001", 0.1)
    assert (bytes(first["blob"]), first["tags"], tuple(first["place"])) == (b"\x00\xff", ["a", None], ("Lyon", 1))
    assert {name for name, value in found.accepted[2].items() if value is not None} == {"id"}


def test_json_in_another_encoding_and_nested_values(spark: SparkSession, tmp_path: Path) -> None:
    columns = (*COLUMNS, Column("lines", "array<struct<sku:string,n:int>>"))
    source = FileSource(PATTERN, "json", encoding="utf-16")
    text = '[{"id":1,"name":"é","amount":1.50,"lines":[{"sku":"a","n":2}]},\n {"id":2,"lines":[{"sku":"a","m":2}]}]'
    found = landed(spark, tmp_path, declared(source, columns), text.encode("utf-16"))
    assert found.accepted[1]["lines"][0].asDict() == {"sku": "a", "n": 2}
    assert (found.accepted[1]["name"], found.accepted[1]["amount"]) == ("é", Decimal("1.50"))
    assert found.refused == {2: "type lines"}


ODD = [
    "",
    " ",
    "\t",
    "a",
    "é",
    "\u2028",
    "\x0b",
    "\x1f",
    "'",
    "\\",
    "#",
    "=1+1",
    "\ufeff",
    "\u00a0",
    "0",
    "-",
    "|",
    "NULL",
]


def test_rows_without_quotes_keep_every_character(spark: SparkSession, tmp_path: Path) -> None:
    """They are not read by the CSV parser, and say the same as if they were."""
    columns = (Column("id", "bigint", required=True), Column("a", "string"), Column("b", "string"))
    pairs = [(first, second) for first in ODD for second in ODD]
    for delimiter in (",", ";", "|", ""):
        plain, quoted = ["id,a,b"], ["id,a,b"]
        kept = [(first, second) for first, second in pairs if delimiter != "|" or "|" not in first + second]
        for number, (first, second) in enumerate(kept):
            plain.append(f"{number},{first},{second}")
            quoted.append(f'"{number}",{first},{second}')
        files = {
            f"{name}.file": "\n".join(lines).replace(",", delimiter or ",").encode()
            for name, lines in {"plain": plain, "quoted": quoted}.items()
        }
        found = land(spark, declared(FileSource(PATTERN, "csv", delimiter=delimiter), columns), files, tmp_path)
        wanted = {
            number + 2: {"id": number, "a": first or None, "b": second or None}
            for number, (first, second) in enumerate(kept)
        }
        assert found["plain.file"].refused == found["quoted.file"].refused == {}
        assert found["plain.file"].accepted == wanted
        assert found["quoted.file"].accepted == wanted
