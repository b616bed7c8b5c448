"""Sample files in CSV, each with what a contract drafted from it has to say."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.unit.archives import zipped


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


LINE_NO = ("batch_date", "line_no")
ORDERS = b"order_id,amount\n1,19.90\n2,3.00\n"
_ORDER_TYPES = {"order_id": "bigint", "amount": "decimal(18,4)"}
CSV = {
    "a plain csv": Case("orders_2026-01-05.csv", ORDERS, _ORDER_TYPES, ("order_id",)),
    "gzip": Case("orders_2026-01-05.csv.gz", gzip.compress(ORDERS), _ORDER_TYPES, ("order_id",)),
    "a zip of one file": Case("export.zip", zipped({"orders.csv": ORDERS}), _ORDER_TYPES, ("order_id",)),
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
    "only a header": Case("a.csv", b"id,v\n", {"id": "string", "v": "string"}, LINE_NO, required=frozenset(LINE_NO)),
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
    "no key": Case("a.csv", b"a,b\nx,y\nx,y\n", {"a": "string", "b": "string"}, LINE_NO, {"header": True}),
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
}
