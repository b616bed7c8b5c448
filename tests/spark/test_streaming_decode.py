"""Parsing never alters: each spelling is the value it says, or is refused with its rule, column and reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from contracts.expressions import check_row_rule
from contracts.spark_types import parse_type
from contracts.stream import Column, FileSource, Rule, Stream, TableSource
from contracts.unavailable import new_marker
from contracts.wire import RowKey, encode_row_key
from streaming_jobs.transforms.decode_change import decode_change
from streaming_jobs.transforms.decode_file_row import decode_file_row, open_records
from streaming_jobs.transforms.key import add_key
from streaming_jobs.transforms.row_rules import judge
from streaming_jobs.transforms.sql import first_of
from streaming_jobs.transforms.validate import cast_fields, validate

RECORD = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp"
SENT = datetime(2025, 3, 1, tzinfo=UTC)
HASH = "a" * 64

COLUMNS = (
    Column("id", "bigint", required=True),
    Column("price", "decimal(5,2)"),
    Column("at", "timestamp"),
    Column("day", "date"),
    Column("ratio", "double"),
    Column("ok", "boolean"),
    Column("note", "string"),
    Column("extra", "struct<a:int,b:array<decimal(4,1)>,c:map<string,string>>", json=True),
)
CDC = Stream("p", "things", "p.s.things", TableSource("s", "things"), COLUMNS, ("id",))
JSON = Stream("p", "things", "p.files.things", FileSource(r"things\.json", "json"), COLUMNS, ("id",))
CSV = Stream(
    "p",
    "rows",
    "p.files.rows",
    FileSource(r"rows_(?P<batch_date>\d{4}-\d{2}-\d{2})\.csv", "csv", unit="batch_date"),
    (
        Column("id", "string", required=True),
        Column("n", "int"),
        Column("score", "decimal(5,2)"),
        Column("batch_date", "date", from_file_name=True),
    ),
    ("id",),
    rules=(
        Rule("in_range", "score between 0 and 100", "score"),
        Rule("quotient", "100 / n > 1", "n"),
    ),
    partition_by="batch_date",
)


def records(spark: SparkSession, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> DataFrame:
    rows = [(key, value, "t", 0, offset, SENT) for offset, (key, value) in enumerate(pairs)]
    return spark.createDataFrame(rows, RECORD)


def judged(stream: Stream, frame: DataFrame) -> list[Row]:
    decoded = decode_change(frame, stream) if stream.is_cdc else decode_file_row(open_records(frame), stream)
    steps = decoded.transform(cast_fields, stream).transform(validate, stream)
    return steps.transform(add_key, stream, 1).orderBy("_offset").collect()


def from_json_file(spark: SparkSession, values: Sequence[bytes | str]) -> list[Row]:
    key = encode_row_key(RowKey(HASH, 1, "json", "things.json"))
    return judged(JSON, records(spark, [(key, v.encode() if isinstance(v, str) else v) for v in values]))


def from_csv_file(spark: SparkSession, header: str, values: Sequence[str]) -> list[Row]:
    key = encode_row_key(RowKey(HASH, 2, "csv", "rows_2025-03-01.csv", header))
    return judged(CSV, records(spark, [(key, value.encode()) for value in values]))


def refusals(rows: list[Row]) -> list[tuple[str, str] | None]:
    return [row._refusal and (row._refusal.rule, row._refusal.column_name) for row in rows]


def envelope(op: str, before: object, after: object, **source: object) -> bytes:
    full = {"ts_us": 1_700_000_000_123_456, "ts_ms": 1_700_000_000_123, "snapshot": "false", "lsn": 1, **source}
    return json.dumps(
        {"before": before, "after": after, "source": full, "op": op, "ts_ms": 1, "transaction": None}
    ).encode()


def test_seven_silent_alterations_are_refused(spark: SparkSession) -> None:
    found = from_json_file(
        spark,
        [
            '{"id":1,"price":1.239}',  # would be rounded
            '{"id":1,"price":"1.239"}',
            '{"id":1} and more',  # would be ignored
            '{"id":1},{"id":2}',
            '{"id":1}]',
            '{"id":1,"unknown":5}',  # would be ignored
            '{"id":1,"id":2}',  # the last would win
            '{"id":1,"at":"2025-03-01T10:00:00.123456789Z"}',  # nanoseconds would be cut
            "",  # would be a row of NULLs
            "[]",
            '{"id":12345678901234567890}',  # would be NULL
        ],
    )
    assert refusals(found) == [
        ("type", "price"),
        ("type", "price"),
        ("json", ""),
        ("json", ""),
        ("json", ""),
        ("undeclared_field", ""),
        ("duplicate_field", ""),
        ("type", "at"),
        ("json", ""),
        ("json", ""),
        ("type", "id"),
    ]
    assert found[0]._refusal.reason == '"1.239" cannot be held as decimal(5,2) without changing it'
    assert found[5]._refusal.reason == "not in the contract: unknown"


def test_one_value_in_several_spellings(spark: SparkSession) -> None:
    found = from_json_file(
        spark,
        [
            '{"id":"007","price":1.5,"at":"2025-03-01T12:00:00+02:00","ratio":1e3,"ok":"TRUE"}',
            '{"id":"+7","price":"1.500","at":"2025-03-01 10:00:00.000000000","ratio":"1000.0","ok":true}',
            '{"id":7.0,"price":15e-1,"at":"2025-03-01T10:00:00Z","ratio":1000,"ok":"true"}',
        ],
    )
    assert refusals(found) == [None, None, None]
    assert [(r.id, r.price, r.at, r.ratio, r.ok) for r in found] == [
        (7, Decimal("1.50"), datetime(2025, 3, 1, 10), 1000.0, True)
    ] * 3
    assert len({bytes(r._hash) for r in found}) == 1


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id", [" 7", "7.5", "1e3", "0x7", "seven", ""]),
        ("price", ["1000.00", "1.005", "1.2.3", " 1", "1,5", "", "1.5e-2", "NaN", ".", "15e-30"]),
        (
            "at",
            [
                "2025-02-30T00:00:00",
                "2025-03-01",
                "10:00:00",
                "2025-03-01T25:00:00Z",
                "infinity",
                "2025-03-01T10:00:00.1234567Z",
            ],
        ),
        ("day", ["2025-02-29", "2025-3-1", "2025-03-01T00:00:00", "20250301"]),
        ("ratio", ["0.1234567890123456789", "1e400", "1e-400", "nan", "1.2.3"]),
        ("ok", ["1", "yes", "t", ""]),
        ("note", ["nul\u0000character"]),
        ("extra", ['{"a":1.5}', '{"z":1}', '{"a":1}x', '{"a":1,"a":2}', '{"b":[1.25]}', "[1]", "{"]),
    ],
)
def test_what_is_not_the_value_is_refused(spark: SparkSession, column: str, values: list[str]) -> None:
    found = from_json_file(spark, [json.dumps({"id": 1} | {column: value}) for value in values])
    assert refusals(found) == [("type", column)] * len(values)


def test_nested_values_and_text_come_through_as_written(spark: SparkSession) -> None:
    inner = {"a": 1, "b": [1.5, None, "2.0"], "c": {"k": "v", "n": 1.10}}
    found = from_json_file(
        spark,
        [
            json.dumps({"id": 1, "extra": json.dumps(inner), "note": 'line\n"quoted" é 🙂'}),
            json.dumps({"id": 1, "extra": inner, "note": ""}),
            '{"id":1,"note":12.30,"extra":{"c":{"n":12.30}}}',
        ],
    )
    assert refusals(found) == [None] * 3
    assert found[0].extra == found[1].extra
    assert (found[0].extra.a, found[0].extra.b) == (1, [Decimal("1.5"), None, Decimal("2.0")])
    assert (found[0].note, found[1].note) == ('line\n"quoted" é 🙂', "")
    assert found[2].note == "12.30"
    assert found[2].extra.c == {"n": "12.30"}


def test_bytes_that_are_no_text_are_refused(spark: SparkSession) -> None:
    found = from_json_file(
        spark, [b'{"id":1,"note":"\xff"}', '{"id":1,"note":"\\ud83d"}', '{"id":1,"note":"\\ud83d\\ude42"}']
    )
    assert refusals(found) == [("encoding", ""), ("encoding", ""), None]


def test_csv_by_the_files_own_header(spark: SparkSession) -> None:
    found = from_csv_file(
        spark,
        "score,id,n",
        ['1.50,"a,b",2', '2,"say ""hi""\r\nthere",', ',"",3', "1,x", "1,x,2,3", '1,"x,2', "1\n,x,2", "101,x,2"],
    )
    assert [(r.id, r.n, r.score) for r in found[:3]] == [
        ("a,b", 2, Decimal("1.50")),
        ('say "hi"\r\nthere', None, Decimal("2.00")),
        ("", 3, None),
    ]
    assert {r.batch_date for r in found[:3]} == {date(2025, 3, 1)}
    assert refusals(found) == [
        None,
        None,
        None,
        ("csv", ""),
        ("csv", ""),
        ("csv", ""),
        ("type", "score"),
        ("in_range", "score"),
    ]
    assert found[3]._refusal.reason == "2 fields, the header has 3"


@pytest.mark.parametrize(
    ("header", "rule"),
    [("id,n,score,more", "undeclared_field"), ("id,n", "missing_field"), ("id,n,n", "duplicate_field")],
)
def test_csv_headers_that_are_not_the_contracts(spark: SparkSession, header: str, rule: str) -> None:
    row = ",".join("1" for _ in header.split(","))
    assert refusals(from_csv_file(spark, header, [row])) == [(rule, "")]


def test_a_rule_refuses_passes_or_fails(spark: SparkSession) -> None:
    found = from_csv_file(spark, "id,n,score", ["a,1,1", "a,,1", "a,0,1", "a,200,1", ",1,1"])
    assert refusals(found) == [None, None, ("quotient", "n"), ("quotient", "n"), ("required", "id")]
    assert found[2]._refusal.reason == "failed: 100 / n > 1"
    assert found[3]._refusal.reason == "not true: 100 / n > 1"


def test_what_raises_in_a_rule_refuses_its_row_alone(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [(6, 2, "7"), (1, 0, "x"), (2**31 - 1, 1, "2025-02-30"), (-(2**31), 1, "2025-02-28"), (None, None, None)],
        "a int, b int, s string",
    )
    rules = {
        "a / b + 1 > -1e10": [True, False, True, True, True],
        "cast(a % b as string) = '0'": [True, False, True, True, True],
        "a + b > -1e10": [True, True, False, True, True],
        "-a is null or -a < 1e10": [True, True, True, True, True],
        "-a < 1e10": [True, True, True, False, True],
        "cast(s as int) > 0": [True, False, False, False, True],
        "to_date(s) > date '2000-01-01'": [False, False, False, True, True],
    }
    for rule in rules:
        check_row_rule(rule, {"a": parse_type("int"), "b": parse_type("int"), "s": parse_type("string")})
    refused = (first_of(judge(Rule(f"r{n}", rule))) for n, rule in enumerate(rules))
    found = frame.selectExpr(*(f"({one}) is null as r{n}" for n, one in enumerate(refused))).collect()
    assert {rule: [row[n] for row in found] for n, rule in enumerate(rules)} == rules


def test_changes(spark: SparkSession) -> None:
    row = {
        "id": 1,
        "price": "1.50",
        "at": None,
        "day": "2025-03-01Z",
        "ratio": 0.1,
        "ok": True,
        "note": "x",
        "extra": None,
    }
    empty = dict.fromkeys(row, None) | {"id": 1}
    pairs: list[tuple[bytes | None, bytes | None]] = [
        (b"k", envelope("r", None, row, snapshot="first")),
        (b"k", envelope("c", None, row)),
        (b"k", envelope("u", empty, row)),
        (b"k", envelope("d", empty, None)),
        (b"k", None),
        (None, envelope("t", None, None)),
        (None, envelope("m", None, None)),
        (b"k", envelope("c", None, None)),
        (b"k", envelope("x", None, row)),
        (b"k", envelope("c", None, row | {"new": 1})),
        (b"k", envelope("c", None, {"id": 1})),
        (b"k", envelope("c", None, row | {"price": "1.501"})),
        (b"k", b"{}"),
        (b"k", envelope("c", None, row) + b"{}"),
    ]
    found = judged(CDC, records(spark, pairs))
    assert [r._no_row for r in found] == [False] * 4 + [True, False, True] + [False] * 7
    assert refusals(found) == [None] * 7 + [
        ("operation", ""),
        ("operation", ""),
        ("undeclared_field", ""),
        ("missing_field", ""),
        ("type", "price"),
        ("operation", ""),
        ("json", ""),
    ]
    assert [(r._op, r._snapshot, r._version) for r in found[:4]] == [
        ("r", "first", 10**15),
        ("c", None, 10**15 + 1),
        ("u", None, 10**15 + 2),
        ("d", None, 10**15 + 3),
    ]
    assert (found[3].id, found[3].price, found[3].note) == (1, None, None)
    assert found[1]._key == found[3]._key
    truncate = found[5]
    assert (truncate._op, truncate._version, truncate._key, truncate._hash) == ("t", 10**15 + 5, None, None)
    assert found[1]._event_time == datetime(2023, 11, 14, 22, 13, 20, 123456)


LARGE = Stream(
    "p",
    "docs",
    "p.s.docs",
    TableSource("s", "docs"),
    (
        Column("id", "bigint", required=True),
        Column("code", "string", required=True),
        Column("n", "int"),
        Column("note", "string", required=True),
        Column("data", "binary"),
        Column("extra", "struct<a:int>", json=True),
        Column("amount", "decimal(30,2)"),
    ),
    ("id", "code"),
    rules=(Rule("filled", "note is not null and length(note) > n", "note"), Rule("positive", "n > 0", "n")),
)


def test_a_value_that_was_not_sent_is_told_from_null_and_from_every_value(spark: SparkSession) -> None:
    marker = new_marker()
    blob = base64.b64encode(marker.encode()).decode()
    data = base64.b64encode(bytes(range(200))).decode()
    row = {"id": 1, "code": "a", "n": 1, "note": "text", "data": data, "extra": '{"a":1}', "amount": "1.50"}
    lacking = row | {"note": marker, "data": blob, "extra": marker, "amount": marker}
    old, new = (json.dumps({"id": 1, "code": code}).encode() for code in "ab")
    pairs: list[tuple[bytes, dict[str, bytes]]] = [
        (envelope("u", None, lacking), {}),
        (envelope("c", None, lacking | {"code": "b"}), {"x": b"1", "__debezium.oldkey": old}),
        (envelope("d", {"id": 1, "code": "a"}, None), {"__debezium.newkey": new}),
        (envelope("u", None, row | {"note": marker, "n": 0}), {}),
        (envelope("u", None, row | {"note": marker + "0"}), {}),
        (envelope("c", None, row | {"note": marker}), {}),  # an insert sends everything: this is somebody's text
        (envelope("u", None, row | {"data": base64.b64encode(marker.encode() + b"0").decode()}), {}),
        (envelope("u", None, row | {"note": None}), {}),
    ]
    values = [(b"k", value, "t", 0, n, SENT, [*headers.items()] or None) for n, (value, headers) in enumerate(pairs)]
    found = judged(LARGE, spark.createDataFrame(values, f"{RECORD}, headers array<struct<key:string,value:binary>>"))
    assert refusals(found) == [None, None, None, ("positive", "n"), None, None, None, ("required", "note")]
    assert [r._unavailable and sorted(r._unavailable) for r in found] == [
        ["amount", "data", "extra", "note"],
        ["amount", "data", "extra", "note"],
        None,
        ["note"],
        None,
        None,
        None,
        None,
    ]
    first = found[0]
    assert (first.n, first.note, first.data, first.extra, first.amount, first._hash) == (1, *[None] * 5)
    assert found[5].note == marker
    assert bytes(found[5].data) == bytes(range(200))
    assert [r._hash is None for r in found[:7]] == [True, True, False, True, False, False, False]
    assert (found[1]._moved_key, found[2]._moved_key) == (found[0]._key, found[1]._key)
    assert [r._moved_key for r in found[3:]] == [None] * 5


def test_a_row_says_which_transaction_wrote_it(spark: SparkSession) -> None:
    row = {"id": 1, "code": "a"}

    def sent(op: str, transaction: str | None) -> tuple[bytes, bytes]:
        change = json.loads(envelope(op, None, None if op == "t" else row))
        change["transaction"] = transaction and {"id": transaction, "total_order": 1, "data_collection_order": 1}
        return b"k", json.dumps(change).encode()

    columns = (Column("id", "bigint"), Column("code", "string"))
    postgres = replace(CDC, columns=columns, consistent_cut=True)
    found = judged(postgres, records(spark, [sent("r", None), sent("u", "571:53195832"), sent("t", "572:1")]))
    assert [one._transaction for one in found] == [None, "571", "572"]
    mariadb = replace(postgres, source=TableSource("s", "things", system="mariadb"))
    found = judged(mariadb, records(spark, [sent("r", None), sent("u", "0-7-15"), sent("t", "0-7-16")]))
    assert [one._transaction for one in found] == [None, "0-7-15", None], "the END of a definition never comes"


def test_no_step_asks_spark_to_run(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = records(spark, [(b"k", None)])
    forbidden: Callable[..., None] = lambda *_: pytest.fail("a transform collected")  # noqa: E731
    monkeypatch.setattr(type(frame), "collect", forbidden)
    frame.transform(decode_change, CDC).transform(cast_fields, CDC).transform(validate, CDC).transform(add_key, CDC, 1)
