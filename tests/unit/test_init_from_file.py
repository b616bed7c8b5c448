"""From the bytes of a sample file to a contract that loads, says what is a guess, and holds no value of the file."""

from __future__ import annotations

import csv
import gzip
import io
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import Fatal
from contracts.loader import load_stream
from contracts.settings import Settings
from contracts.stream import Stream
from headrace.app import App
from headrace.commands.init import init
from headrace.drafts.draft import check_draft, draft_contract, write_contract

_DEFAULTS = {
    "format": "csv",
    "unit": "batch_date",
    "delimiter": ",",
    "quote": '"',
    "backslash": False,
    "header": True,
    "skip_lines": 0,
    "encoding": "utf-8",
    "nulls": (),
    "decimal": ".",
    "thousands": "",
}


@dataclass(frozen=True)
class Case:
    """`types` names every sent column in order; `source` what differs from the defaults of a file source."""

    file_name: str
    content: bytes
    types: Mapping[str, str]
    key: tuple[str, ...]
    source: Mapping[str, object] = field(default_factory=dict)
    required: frozenset[str] | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    json: frozenset[str] = frozenset()
    pii: frozenset[str] = frozenset()
    guesses: tuple[str, ...] = ()


def _parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


def _zip(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return target.getvalue()


_LINE_NO = ("batch_date", "line_no")
_ORDERS = b"order_id,amount\n1,19.90\n2,3.00\n"
_ORDER_TYPES = {"order_id": "bigint", "amount": "decimal(18,4)"}
_COMMON = b'10.0.0.7 - ada [05/Jan/2026:10:00:00 +0000] "GET /a?b=%20c HTTP/1.1" 200 512\n'
_COMBINED = _COMMON.rstrip() + b' "http://x.example/" "Mozilla/5.0 (X11; \\"odd\\")"\n'
_LOG_TYPES = {
    "host": "string",
    "ident": "string",
    "user": "string",
    "time": "timestamp",
    "method": "string",
    "path": "string",
    "protocol": "string",
    "request": "string",
    "status": "bigint",
    "bytes": "bigint",
}
_LOG_TIME = {"time": "dd/MMM/yyyy:HH:mm:ss Z"}

CASES = {
    "a plain csv": Case("orders_2026-01-05.csv", _ORDERS, _ORDER_TYPES, ("order_id",)),
    "gzip": Case("orders_2026-01-05.csv.gz", gzip.compress(_ORDERS), _ORDER_TYPES, ("order_id",)),
    "a zip of one file": Case("export.zip", _zip(orders__csv=_ORDERS), _ORDER_TYPES, ("order_id",)),
    "crlf": Case(
        "a.csv", b"id,b\r\n1,x\r\n2,\r\n", {"id": "bigint", "b": "string"}, ("id",), required=frozenset(["id"])
    ),
    "no newline at the end": Case("a.csv", b"id,n\n1,5\n2,7", {"id": "bigint", "n": "bigint"}, ("id",)),
    "semicolons and decimal commas": Case(
        "a.csv",
        b"id;v\n1;1,50\n2;20\n",
        {"id": "bigint", "v": "decimal(18,4)"},
        ("id",),
        {"delimiter": ";", "decimal": ","},
    ),
    "thousands with dots": Case(
        "a.csv",
        b"id;v\n1;1.234,50\n2;2.000\n",
        {"id": "bigint", "v": "decimal(18,4)"},
        ("id",),
        {"delimiter": ";", "decimal": ",", "thousands": "."},
    ),
    "thousands with commas in quotes": Case(
        "a.csv", b'id,v\n1,"1,234.50"\n2,7\n', {"id": "bigint", "v": "decimal(18,4)"}, ("id",), {"thousands": ","}
    ),
    "thousands with apostrophes": Case(
        "a.csv",
        b"id,v\n1,1'234.50\n2,12'000'000\n",
        {"id": "bigint", "v": "decimal(18,4)"},
        ("id",),
        {"thousands": "'"},
    ),
    "groups of digits without a fraction are no numbers": Case(
        "a.csv",
        b"id;v;w\n1;130 123;1.234\n2;240 567;2.500\n",
        {"id": "bigint", "v": "string", "w": "decimal(18,5)"},
        ("id",),
        {"delimiter": ";"},
    ),
    "tabs": Case("a.tsv", b"id\tv\n1\ta,b\n2\tc,d\n", {"id": "bigint", "v": "string"}, ("id",), {"delimiter": "\t"}),
    "bars": Case("a.txt", b"id|v\n1|Doe, J\n2|Roe, K\n", {"id": "bigint", "v": "string"}, ("id",), {"delimiter": "|"}),
    "a single column": Case("a.csv", b"id\n1\n2\n", {"id": "bigint"}, ("id",)),
    "a single column of texts with commas": Case(
        "a.csv", b"v\nx\ny\nz,1\n", {"v": "string"}, ("v",), {"delimiter": ";"}
    ),
    "single quotes": Case("a.csv", b"id,v\n1,'x,1'\n2,'y'\n", {"id": "bigint", "v": "string"}, ("id",), {"quote": "'"}),
    "single quotes around plain texts": Case(
        "a.csv", b"id,v\n1,'x'\n2,'y'\n", {"id": "bigint", "v": "string"}, ("id",), {"quote": "'"}
    ),
    "a key is never NULL": Case(
        "a.csv", b"id,v\n1,a\n,b\n", {"id": "bigint", "v": "string"}, ("v",), required=frozenset(["v"])
    ),
    "an apostrophe is no quote": Case("a.csv", b"id,v\n1,'tis\n2,y\n", {"id": "bigint", "v": "string"}, ("id",)),
    "quotes that quote nothing": Case(
        "a.tsv",
        b'id\tv\n1\t"odd\n2\tx\n3\t"y\n4\tz\n',
        {"id": "bigint", "v": "string"},
        ("id",),
        {"delimiter": "\t", "quote": ""},
    ),
    "a backslash before quotes": Case(
        "a.csv",
        b'id,v\n1,"a \\"b\\" c, d"\n2,"x"\n',
        {"id": "bigint", "v": "string"},
        ("id",),
        {"backslash": True},
    ),
    "doubled quotes and line breaks": Case(
        "a.csv", b'id,v\n1,"a ""b""\n, c"\n2,x\n', {"id": "bigint", "v": "string"}, ("id",)
    ),
    "lines before the header": Case(
        "a.csv",
        b"Report of the week\n\nid;v;w\n1;a;2\n2;b;2\n",
        {"id": "bigint", "v": "string", "w": "bigint"},
        ("id",),
        {"delimiter": ";", "skip_lines": 2},
    ),
    "no header": Case(
        "a.csv",
        b"1,2026-01-05\n2,2026-01-05\n",
        {"column_1": "bigint", "column_2": "date"},
        ("column_1",),
        {"header": False},
    ),
    "no header, a word stands again": Case(
        "a.csv",
        b"red,x\nblue,y\nred,z\n",
        {"column_1": "string", "column_2": "string"},
        ("column_2",),
        {"header": False},
    ),
    "only a header": Case("a.csv", b"id,v\n", {"id": "string", "v": "string"}, _LINE_NO, required=frozenset(_LINE_NO)),
    "a byte order mark": Case("a.csv", b"\xef\xbb\xbfid,v\n1,\xc3\xa9\n", {"id": "bigint", "v": "string"}, ("id",)),
    "utf-16 with a mark": Case(
        "a.csv", "id,v\n1,é\n2,x\n".encode("utf-16"), {"id": "bigint", "v": "string"}, ("id",), {"encoding": "utf-16"}
    ),
    "utf-16 without a mark": Case(
        "a.csv",
        "id,v\n1,é\n".encode("utf-16-le"),
        {"id": "bigint", "v": "string"},
        ("id",),
        {"encoding": "utf-16-le"},
        guesses=("headrace.fileEncoding",),
    ),
    "cp1252": Case(
        "a.csv",
        b"id,v\n1,caf\xe9 \x80\n",
        {"id": "bigint", "v": "string"},
        ("id",),
        {"encoding": "cp1252"},
        guesses=("headrace.fileEncoding",),
    ),
    "leading zeros stay": Case(
        "a.csv", b"postcode,city\n01067,x\n10115,y\n", {"postcode": "string", "city": "string"}, ("postcode",)
    ),
    "a plus sign and an exponent stay texts": Case(
        "a.csv", b"id,v,w\n1,+49,1e5\n2,7,2\n", {"id": "bigint", "v": "string", "w": "string"}, ("id",)
    ),
    "numbers beyond 64 bits stay texts": Case(
        "a.csv", b"id,v\n1,9223372036854775808\n2,1\n", {"id": "bigint", "v": "string"}, ("id",)
    ),
    "booleans": Case("a.csv", b"id,v\n1,true\n2,FALSE\n", {"id": "bigint", "v": "boolean"}, ("id",)),
    "german dates": Case(
        "a.csv",
        b"id,d\n1,05.01.2026\n2,31.12.2025\n",
        {"id": "bigint", "d": "date"},
        ("id",),
        formats={"d": "dd.MM.yyyy"},
    ),
    "british dates": Case(
        "a.csv",
        b"id,d\n1,05/01/2026\n2,31/12/2025\n",
        {"id": "bigint", "d": "date"},
        ("id",),
        formats={"d": "dd/MM/yyyy"},
    ),
    "american dates": Case(
        "a.csv",
        b"id,d\n1,05/01/2026\n2,12/31/2025\n",
        {"id": "bigint", "d": "date"},
        ("id",),
        formats={"d": "MM/dd/yyyy"},
    ),
    "dates that may be either": Case(
        "a.csv",
        b"id,d\n1,05/01/2026\n2,12/11/2025\n",
        {"id": "bigint", "d": "date"},
        ("id",),
        formats={"d": "dd/MM/yyyy"},
        guesses=("whether day or month comes first is open",),
    ),
    "dates that are both are texts": Case(
        "a.csv", b"id,d\n1,31/01/2026\n2,01/31/2026\n", {"id": "bigint", "d": "string"}, ("id",)
    ),
    "a day that does not exist": Case("a.csv", b"id,d\n1,2026-02-30\n", {"id": "bigint", "d": "string"}, ("id",)),
    "timestamps": Case(
        "a.csv",
        b"id,a,b,c\n1,2026-01-05T10:00:00Z,2026-01-05 10:00:00.123,2026-01-05 10:00\n",
        {"id": "bigint", "a": "timestamp", "b": "timestamp", "c": "string"},
        ("id",),
        guesses=("read as UTC",),
    ),
    "nanoseconds would be cut": Case(
        "a.csv", b"id,a\n1,2026-01-05T10:00:00.123456789Z\n", {"id": "bigint", "a": "string"}, ("id",)
    ),
    "words for NULL": Case(
        "a.csv",
        b"id,v,w,x\n1,NA,\\N,NA\n2,5,2026-01-05,b\n3,N/A,-,c\n",
        {"id": "bigint", "v": "bigint", "w": "date", "x": "string"},
        ("id",),
        {"nulls": ("N/A", "NA", "-", "\\N")},
        required=frozenset(["id", "batch_date"]),
    ),
    "quoted nothing in a column of numbers": Case(
        "a.csv", b'"id","v"\n"1",""\n"2","5"\n', {"id": "bigint", "v": "bigint"}, ("id",), {"nulls": ("",)}
    ),
    "a word for NULL among texts is a text": Case(
        "a.csv",
        b"id,v\n1,NA\n2,DE\n",
        {"id": "bigint", "v": "string"},
        ("id",),
        required=frozenset(["id", "v", "batch_date"]),
    ),
    "json in a column": Case(
        "a.csv",
        b'id,v\n1,"{""a"": 1, ""b"": [1.50]}"\n2,"{""b"": null}"\n',
        {"id": "bigint", "v": "struct<a:bigint,b:array<decimal(18,4)>>"},
        ("id",),
        json=frozenset(["v"]),
    ),
    "text that only begins as json": Case("a.csv", b"id,v\n1,[x]\n2,{}\n", {"id": "bigint", "v": "string"}, ("id",)),
    "a key of two columns": Case(
        "a.csv",
        b"note,order_id,line_no\nx,1,1\nx,1,2\nx,2,1\ny,2,2\n",
        {"note": "string", "order_id": "bigint", "line_no": "bigint"},
        ("order_id", "line_no"),
    ),
    "no key": Case("a.csv", b"a,b\nx,y\nx,y\n", {"a": "string", "b": "string"}, _LINE_NO, {"header": True}),
    "its own line_no and batch_date": Case(
        "a_2026-01-05.csv",
        b"line_no,batch_date\n1,2026-01-05\n1,2026-01-05\n",
        {"line_no": "bigint", "batch_date": "date"},
        ("file_batch_date", "file_line_no"),
        {"unit": "file_batch_date"},
    ),
    "columns named as YAML's words": Case(
        "on.csv", b"no,yes,null\n1,a,b\n2,c,d\n", {"no": "bigint", "yes": "string", "null": "string"}, ("no",)
    ),
    "persons": Case(
        "a.csv",
        b"id,first_name,contact,born,phone_1,account,score\n"
        b"1,Ada,ada@example.org,1990-01-01,+49 30 1234567,DE89 3704 0044 0532 0130 00,5\n",
        {
            "id": "bigint",
            "first_name": "string",
            "contact": "string",
            "born": "date",
            "phone_1": "string",
            "account": "string",
            "score": "bigint",
        },
        ("id",),
        pii=frozenset(["first_name", "contact", "phone_1", "account"]),
    ),
    "json lines": Case(
        "a.jsonl",
        b'{"id": 1, "at": "2026-01-05T10:00:00Z", "ok": true}\n{"id": 2, "at": null, "note": "12"}\n',
        {"id": "bigint", "at": "timestamp", "ok": "boolean", "note": "string"},
        ("id",),
        {"format": "json"},
        required=frozenset(["id", "batch_date"]),
    ),
    "a json array over many lines": Case(
        "a.json",
        b'[\n {"id": "x", "tags": ["a"], "v": 1},\n {"id": "y", "tags": [], "v": 1.25}\n]\n',
        {"id": "string", "tags": "array<string>", "v": "decimal(18,4)"},
        ("id",),
        {"format": "json"},
    ),
    "json objects within objects": Case(
        "a.json",
        b'{"id": 1, "d": {"Kind": "x", "s": {"w": 1}}, "m": {"a-b": 1, "c d": 2}, "z": {}}\n',
        {
            "id": "bigint",
            "d": "struct<Kind:string,s:struct<w:bigint>>",
            "m": "map<string,bigint>",
            "z": "map<string,string>",
        },
        ("id",),
        {"format": "json"},
    ),
    "json dates as people write them, within objects too": Case(
        "a.json",
        b'{"id": 1, "d": "05.01.2026", "v": {"d": "05.01.2026", "e": "2026-01-05"}}\n',
        {"id": "bigint", "d": "date", "v": "struct<d:string,e:date>"},
        ("id",),
        {"format": "json"},
        formats={"d": "dd.MM.yyyy"},
    ),
    "json numbers that equal texts": Case(
        "a.json",
        b'[{"v": 1}, {"v": "1"}, {"v": 12345678901234567890123}]',
        {"v": "string"},
        _LINE_NO,
        {"format": "json"},
    ),
    "json of several kinds": Case(
        "a.json",
        b'{"id": 1, "v": 1, "w": [1, "a"], "x": {"a": 1}}\n{"id": 2, "v": "b", "w": [], "x": [1]}\n',
        {"id": "bigint", "v": "string", "w": "array<string>", "x": "string"},
        ("id",),
        {"format": "json"},
    ),
    "json names that differ in case": Case(
        "a.json",
        b'{"id": 1, "v": {"a": 1, "A": 2}}\n',
        {"id": "bigint", "v": "map<string,bigint>"},
        ("id",),
        {"format": "json"},
    ),
    "parquet": Case(
        "a_2026-01-05.parquet",
        _parquet(
            pa.table(
                {
                    "id": pa.array([1, 2], pa.int32()),
                    "price": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
                    "at": pa.array([1, 2], pa.timestamp("ns", "UTC")),
                    "local": pa.array([1, 2], pa.timestamp("us")),
                    "tags": pa.array([["a"], []], pa.list_(pa.string())),
                    "d": pa.array([{"x": 1.5}, None], pa.struct([("x", pa.float64())])),
                    "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
                    "raw": pa.array([b"x", b"y"]),
                    "at_time": pa.array([time(10), time(11)], pa.time64("us")),
                    "word": pa.array(["a", "b"]).dictionary_encode(),
                }
            )
        ),
        {
            "id": "int",
            "price": "decimal(10,2)",
            "at": "timestamp",
            "local": "timestamp_ntz",
            "tags": "array<string>",
            "d": "struct<x:double>",
            "m": "map<string,bigint>",
            "raw": "binary",
            "at_time": "string",
            "word": "string",
        },
        ("id",),
        {"format": "parquet"},
    ),
    "parquet within gzip": Case(
        "a.parquet.gz", gzip.compress(_parquet(pa.table({"id": [1]}))), {"id": "bigint"}, ("id",), {"format": "parquet"}
    ),
    "a common access log": Case(
        "access.log",
        _COMMON * 3 + b'::1 - - [05/Jan/2026:10:00:01 +0000] "-" 408 -\n',
        _LOG_TYPES,
        _LINE_NO,
        {"format": "log", "nulls": ("-",)},
        required=frozenset(["host", "time", "status", *_LINE_NO]),
        formats=_LOG_TIME,
        pii=frozenset(["host", "user"]),
    ),
    "a combined access log": Case(
        "access.log.gz",
        gzip.compress(_COMBINED * 2),
        {**_LOG_TYPES, "referer": "string", "agent": "string"},
        _LINE_NO,
        {"format": "log", "nulls": ("-",)},
        formats=_LOG_TIME,
        pii=frozenset(["host", "user"]),
    ),
}


def _draft(folder: Path, name: str, content: bytes, **options: object) -> tuple[str, Stream]:
    file = folder / name
    file.write_bytes(content)
    draft = draft_contract(file, "shop", **options)  # type: ignore[arg-type]
    written = folder / f"{draft.stream}.yaml"
    write_contract(draft, written, "shop")
    assert written.read_text(encoding="utf-8") == draft.text
    return draft.text, load_stream(written, "shop")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_sample_becomes_a_contract_that_loads(case: Case, tmp_path: Path) -> None:
    options = {"header": True} if case.source.get("header") is True else {}
    text, stream = _draft(tmp_path, case.file_name, case.content, stream="sample", **options)
    source = stream.file_source
    assert {column.name: column.spark_type for column in stream.sent_columns} == dict(case.types)
    assert [column.name for column in stream.sent_columns] == list(case.types)
    assert stream.key == case.key
    assert {name: getattr(source, name) for name in _DEFAULTS} == {**_DEFAULTS, **case.source}
    assert {c.name: c.format for c in stream.columns if c.format} == case.formats
    assert {c.name for c in stream.columns if c.json} == case.json
    assert {c.name for c in stream.columns if c.pii} == case.pii
    if case.required is not None:
        assert {c.name for c in stream.columns if c.required} | {"batch_date"} == case.required | {"batch_date"}
    for what in case.guesses:
        assert any(what in line and "# guess: " in line for line in text.splitlines()), what


@pytest.mark.parametrize(
    ("name", "pattern", "stream_name", "origin"),
    [
        ("orders_2026-01-05.csv", r"orders_(?P<batch_date>\d{4}-\d{2}-\d{2})\.csv", "orders", "name"),
        ("orders.csv", r"orders\.csv", "orders", "push"),
        ("Orders 20260105 (final).csv", r"Orders\ \d{8}\ \(final\)\.csv", "orders_final", "push"),
        ("a_20261345.csv", r"a_20261345\.csv", "a", "push"),
        (
            "2026-01-05_2026-01-06_x-7.csv",
            r"(?P<batch_date>\d{4}-\d{2}-\d{2})_\d{4}-\d{2}-\d{2}_x\-7\.csv",
            "x",
            "name",
        ),
        ("a_2026-02-30.csv", r"a_2026\-02\-30\.csv", "a", "push"),
    ],
)
def test_a_file_name_becomes_a_pattern_for_its_like(
    name: str, pattern: str, stream_name: str, origin: str, tmp_path: Path
) -> None:
    _, stream = _draft(tmp_path, name, _ORDERS)
    assert stream.file_source.pattern == pattern
    assert stream.file_source.match(name) is not None
    assert stream.name == stream_name
    unit = stream.column("batch_date")
    assert (unit.from_file_name, unit.from_batch_date) == (origin == "name", origin == "push")
    assert stream.partition_by == "batch_date"


@pytest.mark.parametrize(
    ("name", "content", "options", "told"),
    [
        ("a.csv", b"Order ID,b\n1,2\n", {}, "'Order ID'"),
        ("a.csv", b"id,Id\n1,2\n", {}, "'Id'"),
        ("a.csv", b"id,id\n1,2\n", {}, "names id twice"),
        ("a.json", b'{"userId": 1}\n', {}, "'userId'"),
        ("a.json", b'{"id": \n 1}\n', {}, "neither an array of objects nor one object a line"),
        ("a.json", b"[]", {}, "no JSON object"),
        ("a.parquet", _parquet(pa.table({"ID": [1]})), {}, "'ID'"),
        ("a.parquet", b"PAR1 and no more", {}, "cannot be read as Parquet"),
        ("a.csv", b"", {}, "is empty"),
        ("a.csv", b"\xef\xbb\xbf\n\n", {}, "is empty"),
        ("a.csv", b"id,v\n1,\x00\x01\n", {}, "is no text"),
        ("a.csv", b"id,v\r1,2\r", {}, "carriage return"),
        ("a.gz", gzip.compress(_ORDERS)[:-9], {}, "cannot be unpacked"),
        ("a.zip", _zip(a__csv=_ORDERS, b__csv=_ORDERS), {}, "a zip of 2 files"),
        ("a.bz2", b"BZh91AY&SY", {}, "is bzip2"),
        ("files.csv", _ORDERS, {}, "no name for the stream"),
        ("2026.csv", _ORDERS, {}, "no name for the stream"),
        ("a.csv", _ORDERS, {"stream": "../a"}, "may not name a stream"),
        ("a.csv", _ORDERS, {"key": ["nothing"]}, "--key names nothing"),
    ],
)
def test_what_cannot_be_a_stream_is_refused_and_nothing_is_written(
    name: str, content: bytes, options: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(Fatal, match=re.escape(told)):
        _draft(tmp_path, name, content, **options)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_no_value_of_the_sample_stands_in_the_contract(tmp_path: Path) -> None:
    values = ["Zaphod", "z4ph@example.org", "4711.0815", "1979-10-12", "SECRET-9", "+44 20 7946 0000"]
    nested = '{"inner_text": "Marvin", "n": 424242}'
    rows = io.StringIO()
    csv.writer(rows).writerows([["a", "b", "c", "d", "e", "f", "g"], [*values, nested], [*values, nested]])
    for name, content in (("x.csv", rows.getvalue()), ("y.json", '{"s": "Zaphod", "m": {"Marvin 424242": 4711}}')):
        text, _ = _draft(tmp_path, name, content.encode())
        assert not [value for value in (*values, "Marvin", "424242", "4711") if value in text]


def test_the_end_of_a_file_is_read_as_well(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(400_000))
    _, stream = _draft(tmp_path, "big.csv", f"id,v\n{rows}400000,late text\n".encode(), rows=1000)
    assert [column.spark_type for column in stream.sent_columns] == ["bigint", "string"]
    _, small = _draft(tmp_path, "small.csv", b"id,v\n1,1\n2,2\n3,3\n4,late text\n", rows=2)
    assert [column.spark_type for column in small.sent_columns] == ["bigint", "string"]


def test_a_file_cut_within_a_row_loses_only_that_row(tmp_path: Path) -> None:
    rows = b"".join(b'{"id": %d, "v": {"w": "%s"}}\n' % (i, b"x" * 200) for i in range(10_000))
    text, stream = _draft(tmp_path, "big.json", rows, rows=500)
    assert "sample of 500 rows" in text
    assert "no JSON objects" not in text
    assert stream.column("v").spark_type == "struct<w:string>"


def test_a_file_with_blank_lines_is_cut_without_a_broken_row(tmp_path: Path) -> None:
    rows = b"".join(b'{"id": %d, "v": "%s"}\n\n' % (i, b"x" * 1000) for i in range(5_000))
    text, stream = _draft(tmp_path, "big.json", rows, rows=4_000)
    assert "no JSON objects" not in text
    assert stream.key == ("id",)


def test_an_object_with_very_many_names_is_a_map_and_names_none(tmp_path: Path) -> None:
    members = ", ".join(f'"user_{i}": {i}' for i in range(150))
    text, stream = _draft(tmp_path, "a.json", f'{{"id": 1, "v": {{{members}}}}}\n'.encode())
    assert stream.column("v").spark_type == "map<string,bigint>"
    assert "user_" not in text


def test_a_few_odd_values_make_a_string_and_the_contract_says_how_many(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i}\n" for i in range(200))
    text, stream = _draft(tmp_path, "a.csv", f"id,v\n{rows}200,odd\n200,1,2\n".encode())
    assert stream.column("v").spark_type == "string"
    assert "1 of 201 values are no whole numbers" in text
    assert "1 sampled rows have another number of fields" in text


def test_a_named_key_is_no_guess_and_its_repetitions_are_told(tmp_path: Path) -> None:
    content = b"a,b\nx,1\nx,2\nx,2\n"
    text, stream = _draft(tmp_path, "a.csv", content, key=["b", "a"])
    assert stream.key == ("b", "a")
    assert "primaryKey: true\n" in text
    assert "1 of 3 sampled rows have that of another row" in text
    _, lined = _draft(tmp_path, "b.csv", content, key=["batch_date", "a", "line_no"])
    assert lined.key == ("batch_date", "a", "line_no")


def test_a_column_that_is_nearly_a_key_is_named_but_not_taken(tmp_path: Path) -> None:
    rows = "".join(f"{i},x\n" for i in range(100))
    text, stream = _draft(tmp_path, "a.csv", f"order_id,v\n{rows}7,x\n".encode())
    assert stream.key == ("batch_date", "line_no")
    assert "order_id is one but for 1 of 101 sampled rows (--key)" in text


def test_a_first_line_that_only_looks_like_names_is_to_be_checked(tmp_path: Path) -> None:
    texts, _ = _draft(tmp_path, "a.csv", b"city,country\nBerlin,DE\n")
    typed, _ = _draft(tmp_path, "b.csv", b"city,people\nBerlin,7\n")
    assert ("only their look" in texts, "only their look" in typed) == (True, False)


def test_a_key_that_the_loader_refuses_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="does not load"):
        _draft(tmp_path, "a.json", b'{"id": 1, "v": {"w": 1}}', key=["v"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_the_command_writes_a_private_file_once_unless_it_is_forced(tmp_path: Path) -> None:
    sample = tmp_path / "orders_2026-01-05.csv"
    sample.write_bytes(_ORDERS)
    app = App(Settings(pipeline="shop", pipeline_dir=tmp_path))
    arguments = ["--from-file", str(sample)]
    written = tmp_path / "contracts" / "orders.yaml"

    shown = CliRunner().invoke(init, [*arguments, "--dry-run"], obj=app)
    assert shown.exit_code == 0, shown.output
    assert not written.exists()

    done = CliRunner().invoke(init, arguments, obj=app)
    assert done.exit_code == 0, done.output
    assert written.read_text() == shown.stdout
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert [stream.name for stream in app.pipeline.streams] == ["orders"]

    again = CliRunner().invoke(init, [*arguments, "--key", "amount"], obj=app)
    assert isinstance(again.exception, Fatal)
    assert written.read_text() == shown.stdout
    forced = CliRunner().invoke(init, [*arguments, "--key", "amount", "--force"], obj=app)
    assert forced.exit_code == 0, forced.output
    assert load_stream(written, "shop").key == ("amount",)
    assert [file.name for file in written.parent.iterdir()] == ["orders.yaml"]

    lone = tmp_path / "elsewhere" / "b.yaml"
    other = CliRunner().invoke(init, [*arguments, "--stream", "b", "--out", str(lone), "--no-header"], obj=app)
    assert other.exit_code == 0, other.output
    assert not load_stream(lone, "shop").file_source.header


_TEXT = st.text("abcXYZ é,\"'\n", max_size=8).map(lambda text: f"T{text}")
_VALUES = {
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "decimal": st.decimals(-(10**9), 10**9, places=2, allow_nan=False).map(lambda number: f"{number:.2f}"),
    "boolean": st.sampled_from(["true", "false"]),
    "date": st.dates(min_value=date(1000, 1, 1)).map(date.isoformat),
    "timestamp": st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat),
    "string": _TEXT,
}


@st.composite
def _tables(draw: st.DrawFn) -> tuple[list[str], list[str], list[list[str]], str, int]:
    names = draw(st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=2, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(sorted(_VALUES))) for _ in names]
    rows = draw(st.lists(st.tuples(*(_VALUES[kind] for kind in kinds)).map(list), min_size=1, max_size=20))
    delimiter, quoting = draw(st.sampled_from(",;\t|")), draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    return names, kinds, rows, delimiter, quoting


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=_tables())
def test_any_csv_of_typed_columns_becomes_a_contract_that_loads(
    table: tuple[list[str], list[str], list[list[str]], str, int], tmp_path: Path
) -> None:
    names, kinds, rows, delimiter, quoting = table
    file = tmp_path / "typed.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, delimiter=delimiter, quoting=quoting, lineterminator="\n")
        writer.writerows([names, *rows])
    stream = check_draft(draft_contract(file, "shop", header=True), "shop")
    assert stream.file_source.delimiter == delimiter
    assert [column.name for column in stream.sent_columns] == names
    assert [column.spark_type.split("(")[0] for column in stream.sent_columns] == kinds


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text("a1,;\t\"'\n\\[{}]:-. ", max_size=80).map(str.encode))
def test_any_bytes_become_a_contract_that_loads_or_a_refusal(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "any.csv"
    file.write_bytes(content)
    try:
        draft = draft_contract(file, "shop")
    except Fatal:
        return
    check_draft(draft, "shop")
