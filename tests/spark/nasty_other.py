"""Nasty numbers, dates and words in CSV, nasty Parquet files and log lines, and what must become of each."""

# A case is a line, however long: only so the tables can be read and compared.
# ruff: noqa: E501, RUF001
# fmt: off

from __future__ import annotations

import io
from datetime import date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts import access_log
from contracts.stream import Column, FileSource
from tests.spark.nasty_csv import COLUMNS, Case, csv, declared


def of(
    column: str, accepted: dict[str, Any], refused: tuple[str, ...] = (), mark: str = ","
) -> tuple[str, dict[int, Any], dict[int, str]]:
    """A file that spells values of one column, as they are written in CSV; what each is, and which are none."""
    lines = [f"{number}{mark}{spelled}" for number, spelled in enumerate((*accepted, *refused), 2)]
    rows = {line: {"id": line} | {column: value} for line, value in enumerate(accepted.values(), 2)}
    none = dict.fromkeys(range(2 + len(accepted), 2 + len(lines)), f"type {column}")
    return "\n".join([f"id{mark}{column}", *lines]), rows, none


local = partial(of, mark=";")


VALUES = (
    Column("id", "bigint", required=True),
    Column("tiny", "tinyint"),
    Column("small", "smallint"),
    Column("whole", "int"),
    Column("large", "bigint"),
    Column("one", "decimal(10,1)"),
    Column("huge", "decimal(38,18)"),
    Column("rate", "double"),
    Column("ratio", "float"),
    Column("flag", "boolean"),
    Column("day", "date"),
    Column("at", "timestamp"),
    Column("local", "timestamp_ntz"),
    Column("blob", "binary"),
    Column("note", "string"),
)
NO_NUMBERS = ('"1,5"', "1 000", "1_000", "0x1F", "1e", "1d", "1f", "1L", "½", "１２", "١٢", "²", "--1", "+-1", "1-", "- 1", " 1", "1 ", "\u00a01", '""', "NULL", "nan", "inf", "one", "$1", "1%", "−1")

SPELLED = (
    Case("integers", *of("whole", {"007": 7, "+5": 5, "-0": 0, "-12": -12, "1.0": 1, "2147483647": 2**31 - 1, "-2147483648": -(2**31), '"3"': 3}, (*NO_NUMBERS, "2147483648", "1.5", "1.", ".0", "1e3", "NaN", "Infinity", "true", "1.00000000000000000001"))),
    Case("tiny integers", *of("tiny", {"127": 127, "-128": -128}, ("128", "-129", "256", "1e2"))),
    Case("small integers", *of("small", {"32767": 32767, "-32768": -32768}, ("32768", "-32769", "65536"))),
    Case("large integers", *of("large", {"9223372036854775807": 2**63 - 1, "-9223372036854775808": -(2**63), "9223372036854775807.0": 2**63 - 1, "0" * 60 + "1": 1}, ("9223372036854775808", "-9223372036854775809", "18446744073709551616", "9223372036854775807.5", "9" * 400))),
    Case("decimals", *of("one", {"1.10": "1.1", "1.1000": "1.1", "1.": "1.0", ".5": "0.5", "-.5": "-0.5", "+007.5": "7.5", "1e3": "1000.0", "5E-1": "0.5", "999999999.9": "999999999.9", "-0": "0.0"}, (*NO_NUMBERS, ".", "1.11", "1.05", "1E400", "1e-2", "10e-2", "9999999999", "999999999.95", "NaN", "Infinity", "1.1.1", "1e3.0", "1e99999999999"))),
    Case("decimals of many digits", *of("huge", {"12345678901234567890.123456789012345678": "12345678901234567890.123456789012345678", "0.000000000000000001": "1E-18"}, ("123456789012345678901", "0.0000000000000000001", "1e20", "12345678901234567890.1234567890123456789"))),
    Case("floating numbers", *of("rate", {"1e3": "1000.0", "-0": "-0.0", "-0.0": "-0.0", "1.": "1.0", ".5": "0.5", "NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "1e-320": "1e-320", "0e999": "0.0", "0.30000000000000004": "0.30000000000000004", "9007199254740993": "9007199254740992.0"}, (*NO_NUMBERS, "1E400", "1e-400", "0.300000000000000040001", "+Infinity", "Inf", "1e99999", "."))),
    Case("floating numbers of 32 bits", *of("ratio", {"0.1": "0.10000000149011612", "16777216": "16777216.0"}, ("0.1000000001", "1e39", "1e-50"))),
    Case("booleans", *of("flag", {"true": True, "FALSE": False, "True": True}, ("yes", "no", "1", "0", "T", "f", "Y", "on", " true", "true ", '""', "wahr", "\uff54rue"))),
    Case("dates", *of("day", {"2026-01-05": "2026-01-05", "2024-02-29": "2024-02-29", "0001-01-01": "0001-01-01", "9999-12-31": "9999-12-31", "1582-10-10": "1582-10-10", "2026-01-05Z": "2026-01-05"}, ("2026-02-30", "2025-02-29", "1900-02-29", "0000-00-00", "2026-00-10", "2026-13-01", "2026-1-5", "1/2/03", "05.01.2026", "20260105", "26-01-05", "10000-01-01", "+10000-01-01", "-0001-01-01", "45000", "45000.5", "1767571200", "2026-01-05T00:00:00", "2026-01-05 12:00:00", "2026-01", "2026", "2026-W01-1", "2026-005", "today", "now", "epoch", " 2026-01-05", "2026-01-05 ", '""', "２０２６-01-05", "2026‐01‐05"))),
    Case("a year zero", *of("day", {}, ("0000-01-01", "0000-12-31"))),
    Case("times", *of("at", {"2026-01-05T23:59:59": "2026-01-05 23:59:59", "2026-01-05 00:00:00Z": "2026-01-05 00:00:00", "2026-01-05T01:00:00+02:00": "2026-01-04 23:00:00", "2026-01-05T01:00:00-0130": "2026-01-05 02:30:00", "2026-01-05T01:00:00+05": "2026-01-04 20:00:00", "2026-01-05T00:00:00.123456000": "2026-01-05 00:00:00.123456", "2026-01-05T00:00:00.1": "2026-01-05 00:00:00.1", "9999-12-31T23:59:59.999999Z": "9999-12-31 23:59:59.999999", "0001-01-02T00:00:00": "0001-01-02 00:00:00"}, ("2026-01-05T24:00:00", "2016-12-31T23:59:60Z", "2026-01-05T00:00:00.1234567", "2026-01-05T00:00:00.000000001", "2026-01-05", "2026-01-05T00:00", "2026-01-05T1:00:00", "2026-01-05T25:00:00", "2026-01-05T00:60:00", "2026-02-30T00:00:00", "0000-00-00 00:00:00", "10000-01-01T00:00:00", "2026-01-05T00:00:00 Z", "2026-01-05T00:00:00z", "2026-01-05T00:00:00+19:00", "2026-01-05T00:00:00+02:60", "2026-01-05T00:00:00 Europe/Paris", "2026-01-05T00:00:00CET", "2026-01-05t00:00:00", "2026-01-05  00:00:00", "1767571200", "46027.5", "now", "00:00:00", '"2026-01-05T00:00:00,5"', "2026-01-05T00:00:00."))),
    Case("a time in the year zero", *of("at", {}, ("0000-01-01T00:00:00", "0001-01-01T00:00:00+01:00"))),
    Case("times without a zone", *of("local", {"2026-03-29T02:30:00": "2026-03-29 02:30:00", "2026-01-05 00:00:00.000001Z": "2026-01-05 00:00:00.000001"}, ("2026-01-05T00:00:00+00:00", "2026-01-05T00:00:00+02:00", "2026-01-05T24:00:00", "2026-01-05T00:00:00.0000001", "2026-01-05T00:00:00ZZ"))),
    Case("bytes", *of("blob", {"AP8=": b"\0\xff", '""': b"", "QUJD": b"ABC"}, ("AP8", "AP9=", "A", "AP8==", "A P8=", "-_8=", "0x00ff", "é"))),
    Case("texts that look like something else", *of("note", {"007": "007", "1.10": "1.10", "1E400": "1E400", "true": "true", "NaN": "NaN", "null": "null", "NULL": "NULL", "None": "None", "2026-02-30": "2026-02-30", "\\N": "\\N", "#N/A": "#N/A", " ": " "})),
    Case("declared words for NULL", "id,whole,note\n1,NA,NA\n2,-,-\n3,na,na\n4,N/A,N/A\n5,-1,--\n6, NA,\n", {2: {"id": 1}, 3: {"id": 2}, 6: {"id": 5, "whole": -1, "note": "--"}}, {4: "type whole", 5: "type whole", 7: "type whole"}),
    Case("a declared word for NULL as the key", "id,note\nNA,x\n-,x\n,x\n1,x\n", {5: {"id": 1, "note": "x"}}, {2: "required id", 3: "required id", 4: "required id"}),
    Case("a declared word for NULL within quotes", 'id,note\n1,"NA"\n2,"-"\n', {2: {"id": 1}, 3: {"id": 2}}),
    Case("every column, in the contract's order", ",".join(c.name for c in VALUES) + "\n2,-128,+5,007,9223372036854775807.0,5E-1,1e3,-0.0,16777216,FALSE,2024-02-29,2026-01-05T01:00:00+02:00,2026-03-29 02:30:00,AP8=,\\N\n3,NA,-,NA,-,NA,-,NA,-,NA,-,NA,-,NA,-\n" + "".join(f"{line}{',' * (line - 3)}x{',' * (17 - line)}\n" for line in range(4, 17)), {2: (2, -128, 5, 7, 2**63 - 1, "0.5", "1000.000000000000000000", "-0.0", "16777216.0", False, "2024-02-29", "2026-01-04 23:00:00", "2026-03-29 02:30:00", b"\0\xff", "\\N"), 3: {"id": 3}}, {line: f"type {VALUES[line - 3].name}" for line in range(4, 17)}),
    Case("a key in other spellings", "id,note\n001,a\n+2,b\n3.0,c\n", {2: {"id": 1, "note": "a"}, 3: {"id": 2, "note": "b"}, 4: {"id": 3, "note": "c"}}),
)

LOCAL = (
    Column("id", "bigint", required=True),
    Column("amount", "decimal(10,2)"),
    Column("rate", "double"),
    Column("day", "date", format="d.M.yyyy"),
    Column("short", "date", format="dd/MM/yy"),
    Column("at", "timestamp", format="yyyy-MM-dd HH:mm:ss Z"),
)
LOCALLY = (
    Case("a comma and blanks in numbers", *local("amount", {"1 234,5": "1234.50", "-1 234 567": "-1234567.00", "1234,5": "1234.50", ",5": "0.50", "5,": "5.00", "1,5e1": "15.00"}, ("1.5", "1 23,5", "12 34", "1234 567", "1  234", "1\u00a0234", "1\u202f234", "1,2,3", " 1", "1 ", "1 234 ", "1,005", "1,234 5", "NaN"))),
    Case("a comma in floating numbers", *local("rate", {"1,5": "1.5", "NaN": "nan", "-Infinity": "-inf", "1 000,25": "1000.25"}, ("1.5", "nan", "1,5,", "1E400"))),
    Case("every column, in the contract's order", "id;amount;rate;day;short;at\n1 002;1 234,5;-,5e1;31.12.2025;01/02/03;2026-01-05 01:00:00 +0200\n3;;;;;\n4;1.5;;;;\n5;;1.5;;;\n6;;;31.02.2026;;\n7;;;;1/2/03;\n8;;;;;2026-01-05 01:00:00\n", {2: (1002, "1234.50", "-5.0", "2025-12-31", "2003-02-01", "2026-01-04 23:00:00"), 3: {"id": 3}}, {4: "type amount", 5: "type rate", 6: "type day", 7: "type short", 8: "type at"}),
    Case("a key with blanks", "id;rate\n1 000;1\n1000 1;1\n1.000;1\n", {2: {"id": 1000, "rate": "1.0"}}, {3: "type id", 4: "type id"}),
    Case("days first", *local("day", {"31.12.2025": "2025-12-31", "1.2.2026": "2026-02-01", "01.02.2026": "2026-02-01", "001.2.2026": "2026-02-01"}, ("31.02.2026", "2026-02-01", "12/31/2025", "1.13.2026", "1.2.26", "1.2.2026 ", " 1.2.2026", "1.2.2026 00:00", "0.1.2026", "1. 2.2026", "1.2.10000", "1.2.02026"))),
    Case("years out of any calendar", *local("day", {}, ("1.1.0000", "1.1.-2025", "1.1.+10000"))),
    Case("years of two digits", *local("short", {"01/02/03": "2003-02-01", "31/12/99": "2099-12-31"}, ("1/2/03", "01/02/2003", "32/01/03", "02/13/03"))),
    Case("an offset in a pattern", *local("at", {"2026-01-05 01:00:00 +0200": "2026-01-04 23:00:00"}, ("2026-01-05 24:00:00 +0000", "2026-01-05 23:59:60 +0000", "2026-01-05 01:00:00", "2026-01-05 01:00:00 Z", "2026-01-05 01:00:00 +02:00", "2026-01-05 01:00:00 +0260", "2026-01-05 01:00:00 +0200x"))),
)

def parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    packed = io.BytesIO()
    pq.write_table(table, packed)
    return packed.getvalue()


def columns(**arrays: Any) -> bytes:
    """A Parquet file with these columns."""
    return parquet(pa.table(arrays))


STORED = (
    *COLUMNS,
    Column("at", "timestamp"),
    Column("day", "date"),
    Column("rate", "double"),
    Column("place", "struct<city:string,zip:int>"),
    Column("tags", "array<string>"),
)
IDS = pa.array([1, 2])
WHOLE = columns(id=IDS, name=["a", "b"])
PARQUET = (
    Case("CSV that was renamed", "id,name\n1,a\n", wrong="does not begin with PAR1"),
    Case("Parquet cut at its end", WHOLE[:-6], wrong="cut short"),
    Case("Parquet cut in the middle and mended", WHOLE[:40] + WHOLE[60:], wrong=" "),
    Case("a table without rows", columns(id=pa.array([], pa.int64())), wrong="holds no row"),
    Case("other columns", columns(x=IDS), wrong="share none"),
    Case("a column too many", columns(id=IDS, x=IDS), {}, {1: "undeclared_field", 2: "undeclared_field"}),
    Case("columns too few are NULL", columns(id=IDS), {1: {"id": 1}, 2: {"id": 2}}),
    Case("no key", columns(name=["a"]), {}, {1: "required id"}),
    Case("NULL at every depth", columns(id=IDS, place=pa.array([None, {"city": None, "zip": 1}], pa.struct({"city": pa.string(), "zip": pa.int32()})), tags=[[None], []]), {1: {"id": 1, "tags": [None]}, 2: {"id": 2, "place": {"city": None, "zip": 1}, "tags": []}}),
    Case("times in nanoseconds", columns(id=pa.array([1, 2]), at=pa.array([1_000, 1_001], pa.timestamp("ns"))), {1: {"id": 1, "at": "1970-01-01 00:00:00.000001"}}, {2: "type at"}),
    Case("times of another zone", columns(id=pa.array([1]), at=pa.array([datetime(2026, 1, 5)], pa.timestamp("ms", "Asia/Tokyo"))), {1: {"id": 1, "at": "2026-01-05 00:00:00"}}),
    Case("times out of any calendar", columns(id=IDS, at=pa.array([-(2**62), 2**62], pa.timestamp("us"))), {}, {1: "type at", 2: "type at"}),
    Case("decimals that do not fit", columns(id=pa.array([1, 2, 3]), amount=pa.array([Decimal("1.230"), Decimal("1.234"), Decimal("123456789.000")], pa.decimal128(20, 3))), {1: {"id": 1, "amount": "1.23"}}, {2: "type amount", 3: "type amount"}),
    Case("decimals of 256 bits", columns(id=pa.array([1, 2]), amount=pa.array([Decimal(5), Decimal(10) ** 60], pa.decimal256(70, 0))), {1: {"id": 1, "amount": "5.00"}}, {2: "type amount"}),
    Case("a column of a dictionary", columns(id=IDS, name=pa.array(["a", None]).dictionary_encode()), {1: {"id": 1, "name": "a"}, 2: {"id": 2}}),
    Case("a column of the type time", columns(id=IDS, name=pa.array([time(1, 2, 3, 4), None])), {1: {"id": 1, "name": "01:02:03.000004"}, 2: {"id": 2}}),
    Case("a time where a timestamp is declared", columns(id=pa.array([1]), at=pa.array([time(1, 2, 3)])), {}, {1: "type at"}),
    Case("a date where a timestamp is declared", columns(id=pa.array([1]), at=pa.array([date(2026, 1, 5)])), {}, {1: "type at"}),
    Case("a timestamp where a date is declared", columns(id=pa.array([1]), day=pa.array([datetime(2026, 1, 5)])), {}, {1: "type day"}),
    Case("floating numbers for integers and decimals", columns(id=pa.array([1.0, 2.5, float("nan")]), amount=pa.array([0.1, 0.1, 0.1])), {1: {"id": 1, "amount": "0.10"}}, {2: "type id", 3: "type id"}),
    Case("floating numbers at their ends", columns(id=pa.array([1, 2, 3, 4]), rate=pa.array([float("nan"), float("-inf"), -0.0, 5e-324])), {1: {"id": 1, "rate": "nan"}, 2: {"id": 2, "rate": "-inf"}, 3: {"id": 3, "rate": "-0.0"}, 4: {"id": 4, "rate": "5e-324"}}),
    Case("integers without a sign", columns(id=pa.array([2**63 - 1, 2**64 - 1], pa.uint64())), {1: {"id": 2**63 - 1}}, {2: "type id"}),
    Case("texts with everything in them", columns(id=pa.array([1, 2, 3]), name=['"\\\n\r\t\x01\x7f\u2028\ufeff😀', "a\0b", "1.50"]), {1: {"id": 1, "name": '"\\\n\r\t\x01\x7f\u2028\ufeff😀'}, 3: {"id": 3, "name": "1.50"}}, {2: "type name"}),
    Case("texts that look like escapes", columns(id=IDS, name=["\\u0041", "\\u0000"]), {1: {"id": 1, "name": "\\u0041"}, 2: {"id": 2, "name": "\\u0000"}}),
    Case("a text that looks like half of a pair", columns(id=pa.array([1]), name=["\\ud83d"]), {1: {"id": 1, "name": "\\ud83d"}}),
    Case("bytes where text is declared", columns(id=pa.array([1]), name=[b"abc"]), wrong="holds bytes"),
    Case("a struct where text is declared", columns(id=pa.array([1]), name=[{"x": 1.5, "y": 1}]), {}, {1: "type name"}),
    Case("a struct with a field too many", columns(id=pa.array([1]), place=[{"city": "a", "zip": 1, "x": 2}]), {}, {1: "type place"}),
    Case("a column twice", parquet(pa.Table.from_arrays([IDS, IDS], names=["id", "id"])), wrong="twice"),
)

LINE = tuple(Column(n, "string") for n in ("host", "user", "method", "path", "protocol", "request", "referer", "agent"))
REST = (
    Column("time", "timestamp", required=True, format="dd/MMM/yyyy:HH:mm:ss Z"),
    Column("status", "int", required=True),
    Column("bytes", "bigint"),
    Column("id", "bigint", required=True, from_line=True),
)
STAMP = "[10/Oct/2000:13:55:36 -0700]"
AT = {"time": "2000-10-10 20:55:36", "status": 200}
GET = {"method": "GET", "path": "/", "protocol": "HTTP/1.1"}
GOOD = f'h - - {STAMP} "GET / HTTP/1.1" 200 1 "-" "-"'
SEEN = {1: {"host": "h", "id": 1, "bytes": 1} | GET | AT}


def log(*lines: str) -> str:
    """A good line, which tells that this is a log, and these."""
    return "\n".join([GOOD, *lines])


COMBINED = (
    Case("addresses of IPv6", log(f'2001:db8::1%eth0 - - {STAMP} "GET / HTTP/1.1" 200 1 "-" "-"', f'[::1]:80 - - {STAMP} "GET / HTTP/1.1" 200 1 "-" "-"'), SEEN | {2: {"host": "2001:db8::1%eth0", "id": 2, "bytes": 1} | GET | AT, 3: {"host": "[::1]:80", "id": 3, "bytes": 1} | GET | AT}),
    Case("a user with blanks and brackets", log(f'h - Jo [x] Do {STAMP} "GET / HTTP/1.1" 200 1 "-" "-"'), SEEN | {2: {"host": "h", "user": "Jo [x] Do", "id": 2, "bytes": 1} | GET | AT}),
    Case("a user without characters", log(f'h -  {STAMP} "GET / HTTP/1.1" 200 1 "-" "-"'), SEEN, {2: "log"}),
    Case("escaped quotes", log(f'h - - {STAMP} "GET /\\"x\\" HTTP/1.1" 200 1 "a\\"b" "c\\\\"'), SEEN | {2: {"host": "h", "method": "GET", "path": '/\\"x\\"', "protocol": "HTTP/1.1", "referer": 'a\\"b', "agent": "c\\\\", "id": 2, "bytes": 1} | AT}),
    Case("quotes that nobody escaped", log(f'h - - {STAMP} "GET / HTTP/1.1" 200 1 "a"b" "c"'), SEEN, {2: "log"}),
    Case("an agent without its closing quote", log(f'h - - {STAMP} "GET / HTTP/1.1" 200 1 "-" "Moz'), SEEN, {2: "log"}),
    Case("bytes that are missing", log(f'h - - {STAMP} "GET / HTTP/1.1" 200 - "-" "-"', f'h - - {STAMP} "GET / HTTP/1.1" 200 "-" "-"', f'h - - {STAMP} "GET / HTTP/1.1" 200 x "-" "-"'), SEEN | {2: {"host": "h", "id": 2} | GET | AT}, {3: "log", 4: "type bytes"}),
    Case("requests that are none", log(f'h - - {STAMP} "" 200 1 "-" "-"', f'h - - {STAMP} "\\x16\\x03" 200 1 "-" "-"', f'h - - {STAMP} "GET" 200 1 "-" "-"', f'h - - {STAMP} "GET /a b HTTP/1.1" 200 1 "-" "-"', f'h - - {STAMP} " " 200 1 "-" "-"'), SEEN | {2: {"host": "h", "id": 2, "bytes": 1} | AT, 3: {"host": "h", "request": "\\x16\\x03", "id": 3, "bytes": 1} | AT, 4: {"host": "h", "request": "GET", "id": 4, "bytes": 1} | AT, 5: {"host": "h", "request": "GET /a b HTTP/1.1", "id": 5, "bytes": 1} | AT, 6: {"host": "h", "request": " ", "id": 6, "bytes": 1} | AT}),
    Case("a request of an old protocol", log(f'h - - {STAMP} "GET /" 200 1 "-" "-"'), SEEN | {2: {"host": "h", "method": "GET", "path": "/", "id": 2, "bytes": 1} | AT}),
    Case("an address of 200,000 characters", log(f'h - - {STAMP} "GET /{"x" * 200_000} HTTP/1.1" 200 1 "-" "-"'), SEEN | {2: {"host": "h", "method": "GET", "path": "/" + "x" * 200_000, "protocol": "HTTP/1.1", "id": 2, "bytes": 1} | AT}),
    Case("an address of 200,000 characters in the first line", f'h - - {STAMP} "GET /{"y" * 200_000} HTTP/1.1" 200 1 "-" "-"\n{GOOD}\n', {1: {"host": "h", "method": "GET", "path": "/" + "y" * 200_000, "protocol": "HTTP/1.1", "id": 1, "bytes": 1} | AT, 2: SEEN[1] | {"id": 2}}),
    Case("a line longer than a record", log("x" * 1_000_000, GOOD), SEEN | {3: SEEN[1] | {"id": 3}}, {2: "unsplit"}),
    Case("Common among Combined", log(GOOD[:-8]), SEEN, {2: "log"}),
    Case("nothing but Common", f'h - - {STAMP} "GET / HTTP/1.1" 200 1\n', wrong="as `headrace.logFormat` says"),
    Case("text behind the line", log(GOOD + " 17ms", GOOD + " "), SEEN, {2: "log", 3: "log"}),
    Case("carriage returns too many", log(GOOD + "\r\r", GOOD + "\r"), SEEN | {3: SEEN[1] | {"id": 3}}, {2: "log"}),
    Case("a line cut short", log(GOOD[:40]), SEEN, {2: "log"}),
    Case("times that are none", log(*(GOOD.replace(STAMP, f"[{t}]") for t in ("31/Feb/2000:00:00:00 +0000", "10/Okt/2000:00:00:00 +0000", "10/Oct/2000:24:00:00 +0000", "10/Oct/2000:00:00:00", "10/Oct/2000:00:00:00.5 +0000"))), SEEN, dict.fromkeys(range(2, 7), "type time")),
    Case("status that is none", log(GOOD.replace(" 200 ", " - "), GOOD.replace(" 200 ", " 2x0 "), GOOD.replace(" 200 ", " 99999999999 ")), SEEN, {2: "required status", 3: "type status", 4: "type status"}),
    Case("bytes that are no text in a log", log("").encode() + GOOD.replace("/ ", "/\xe9 ").encode("latin-1"), SEEN, {2: "encoding"}),
    Case("lines of blanks in a log are no lines", log("", " \t", "\r", GOOD), SEEN | {5: SEEN[1] | {"id": 5}}),
    Case("text that looks like a reference to a group in a log", log(f'h - - {STAMP} "GET / HTTP/1.1" 200 1 "$1" "\\\\1${{x}}"'), SEEN | {2: SEEN[1] | {"id": 2, "referer": "$1", "agent": "\\\\1${x}"}}),
    Case("the mark that stands between fields", log(f'h - - {STAMP} "GET / HTTP/1.1" 200 1 "\x1f" "-"'), SEEN, {2: "log"}),
    Case("line separators of Unicode in an agent", log(f'h - - {STAMP} "GET / HTTP/1.1" 200 1 "-" "a\u2028\x85b"'), SEEN | {2: SEEN[1] | {"id": 2, "agent": "a\u2028\x85b"}}),
)
COMMON = (
    Case("Common", f'h - - {STAMP} "GET / HTTP/1.1" 200 1\n', SEEN),
    Case("Combined among Common", f'h - - {STAMP} "GET / HTTP/1.1" 200 1\n{GOOD}\n', SEEN, {2: "log"}),
    Case("a mark before a log", f'\ufeffh - - {STAMP} "GET / HTTP/1.1" 200 1', SEEN),
)
OWN = (
    Case("a pattern of one's own", "1 [web] 2.50\n2 [db]\n3 [é] 1\n", {1: (1, "web", "2.50"), 2: (2, "db", None)}, {3: "log"}),
    Case("a match in the middle of a line", "1 [web]\nx 1 [web]\n1 [web] 2 3\n", {1: (1, "web", None)}, {2: "log", 3: "log"}),
    Case("digits that are not ASCII", "1 [web]\n\u0661 [web]\n", {1: (1, "web", None)}, {2: "log"}),
    Case("values that do not fit their type", "1 [a]\n99999999999999999999 [a]\n2 [a] 1.239\n3 [a] -\n", {1: (1, "a", None)}, {2: "type id", 3: "type amount", 4: "type amount"}),
    Case("not one line of this log", "a\nb\n", wrong="as `headrace.logFormat` says"),
)
OWN_PATTERN = r"(?P<id>\d+) \[(?P<name>\w+)\](?: (?P<amount>\S+))?"


def lines_of(pattern: str, *nulls: str) -> FileSource:
    """Logs of this pattern."""
    return FileSource(r".*", "log", log_pattern=pattern, nulls=nulls)


GROUPS = {
    "values": declared(csv(nulls=("NA", "-")), *SPELLED, columns=VALUES, evolution="evolve"),
    "spellings": declared(csv(delimiter=";", decimal=",", thousands=" "), *LOCALLY, columns=LOCAL, evolution="evolve"),
    "parquet": declared(FileSource(r".*", "parquet"), *PARQUET, columns=STORED),
    "combined log": declared(lines_of(access_log.COMBINED, "-"), *COMBINED, columns=(*LINE, *REST)),
    "common log": declared(lines_of(access_log.COMMON, "-"), *COMMON, columns=(*LINE[:-2], *REST)),
    "own log": declared(lines_of(OWN_PATTERN), *OWN),
}
