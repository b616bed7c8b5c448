"""Sample files in JSON, Parquet and as logs, each with what a contract drafted from it has to say."""

from __future__ import annotations

import gzip
import io
from datetime import time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.sample_csv import LINE_NO, Case


def parquet(table: pa.Table) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target)
    return target.getvalue()


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
OTHER = {
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
        LINE_NO,
        {"format": "json"},
    ),
    "json of several kinds": Case(
        "a.json",
        b'{"id": 1, "v": 1, "w": [1, "a"], "x": {"a": 1}}\n{"id": 2, "v": "b", "w": [], "x": [1]}\n',
        {"id": "bigint", "v": "string", "w": "array<string>", "x": "string"},
        ("id",),
        {"format": "json"},
        guesses=("of several kinds; a row in which it is an object or an array is refused",),
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
        parquet(
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
        "a.parquet.gz", gzip.compress(parquet(pa.table({"id": [1]}))), {"id": "bigint"}, ("id",), {"format": "parquet"}
    ),
    "a common access log": Case(
        "access.log",
        _COMMON * 3 + b'::1 - - [05/Jan/2026:10:00:01 +0000] "-" 408 -\n',
        _LOG_TYPES,
        LINE_NO,
        {"format": "log", "nulls": ("-",)},
        required=frozenset(["host", "time", "status", *LINE_NO]),
        formats=_LOG_TIME,
        pii=frozenset(["host", "user"]),
    ),
    "a combined access log": Case(
        "access.log.gz",
        gzip.compress(_COMBINED * 2),
        {**_LOG_TYPES, "referer": "string", "agent": "string"},
        LINE_NO,
        {"format": "log", "nulls": ("-",)},
        formats=_LOG_TIME,
        pii=frozenset(["host", "user"]),
    ),
}
