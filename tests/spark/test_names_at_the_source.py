"""Changes carry the source's names of columns; rows, refusals' columns and keys have the contract's."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import Row, SparkSession

from contracts.stream import Column, Rule, Stream, TableSource
from contracts.unavailable import new_marker
from streaming_jobs.transforms.decode_change import decode_change
from streaming_jobs.transforms.decode_document import decode_document
from streaming_jobs.transforms.judge import judge
from tests.spark.test_streaming_decode import RECORD, envelope, refusals

STREAM = Stream(
    "p",
    "customers",
    "p.s.Customers",
    TableSource("s", "Customers"),
    (
        Column("customer_id", "bigint", required=True, field="customerId"),
        Column("unit_price", "decimal(5,2)", field="it's a `Unit\\Price`"),
        Column("note", "string", field="Note"),
        Column("scan", "binary", field="aScan"),
        Column("name", "string"),
    ),
    ("customer_id",),
    rules=(Rule("positive", "unit_price > 0", "unit_price"),),
)
PRICE = STREAM.column("unit_price").field
ROW = {"customerId": 1, PRICE: "1.50", "Note": "n", "aScan": "AAE=", "name": "Ada"}


def judged(spark: SparkSession, stream: Stream, *changes: tuple[bytes, Mapping[str, bytes]]) -> list[Row]:
    values = [
        (b'{"id":"1"}', value, "t", 0, n, datetime(2026, 1, 1, tzinfo=UTC), [*headers.items()] or None)
        for n, (value, headers) in enumerate(changes)
    ]
    frame = spark.createDataFrame(values, f"{RECORD}, headers array<struct<key:string,value:binary>>")
    of_document = stream.table_source.system == "mongodb"
    decoded = decode_document(frame) if of_document else decode_change(frame, stream)
    return judge(decoded, stream, 1).orderBy("_offset").collect()


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name not in names}


def test_changes_become_rows_by_the_contracts_names(spark: SparkSession) -> None:
    marker = new_marker()
    blob = base64.b64encode(marker.encode()).decode()
    lacking = ROW | {PRICE: "0.50", "Note": marker, "aScan": blob, "name": marker}
    old, new = (json.dumps({"customerId": number}).encode() for number in (1, 2))
    found = judged(
        spark,
        STREAM,
        (envelope("c", None, ROW), {}),
        (envelope("u", None, lacking), {}),
        (envelope("d", {"customerId": 1, PRICE: None}, None), {"__debezium.newkey": new}),
        (envelope("c", None, lacking | {"customerId": 2}), {"__debezium.oldkey": old}),
        (envelope("u", None, ROW | {PRICE: "-1"}), {}),
        (envelope("u", None, ROW | {PRICE: "1.234"}), {}),
        (envelope("u", None, without("customerId")), {}),
        (envelope("u", None, without("Note") | {"note": "other"}), {}),
        (envelope("u", None, ROW | {"customer_id": 9}), {}),
    )
    assert refusals(found) == [
        *[None] * 4,
        ("positive", "unit_price"),
        ("type", "unit_price"),
        ("missing_field", ""),
        ("undeclared_field", ""),
        ("undeclared_field", ""),
    ]
    first = found[0]
    assert (first.customer_id, first.unit_price, first.note, first.name) == (1, Decimal("1.50"), "n", "Ada")
    assert bytes(first.scan) == b"\x00\x01"
    assert [row._unavailable and sorted(row._unavailable) for row in found[:4]] == [
        None,
        ["name", "note", "scan"],
        None,
        ["name", "note", "scan"],
    ]
    assert (found[1].unit_price, found[1].note, found[1].scan, found[1]._hash) == (Decimal("0.50"), None, None, None)
    assert found[2].customer_id == 1
    assert (found[2]._moved_key, found[3]._moved_key) == (found[3]._key, found[0]._key)
    assert found[0]._key == found[1]._key == found[2]._key
    assert found[6]._refusal.reason == "missing: customerId"
    assert found[7]._refusal.reason == "not in the contract: note"


def test_an_undeclared_field_that_is_called_as_the_contract_calls_another_is_not_taken_for_it(
    spark: SparkSession,
) -> None:
    evolving = replace(STREAM, evolution="evolve")
    found = judged(
        spark,
        evolving,
        (envelope("c", None, ROW | {"customer_id": 9, "unit_price": "9", "newField": "x"}), {}),
        (envelope("c", None, without("Note") | {"note": "other"}), {}),
        (envelope("c", None, ROW), {}),
    )
    assert refusals(found) == [None] * 3
    assert [(row.customer_id, row.unit_price, row.note) for row in found] == [
        (1, Decimal("1.50"), "n"),
        (1, Decimal("1.50"), None),
        (1, Decimal("1.50"), "n"),
    ]
    assert [row._rescued for row in found] == [
        {"customer_id": "9", "unit_price": "9", "newField": "x"},
        {"note": "other"},
        None,
    ]


def test_a_document_whose_other_field_is_called_as_its_key_is_known_by_its_id(spark: SparkSession) -> None:
    columns = (Column("id", "string", required=True, field="_id"), Column("price", "bigint", field="unitPrice"))
    source = TableSource("s", "d", system="mongodb")
    stream = Stream("p", "d", "p.mongodb.s.d", source, columns, ("id",), evolution="evolve")
    found = judged(
        spark,
        stream,
        (envelope("c", None, '{"_id":"1","id":"2","unitPrice":3}'), {}),
        (envelope("d", None, None), {}),
    )
    assert refusals(found) == [None, None]
    assert [(row.id, row.price, row._rescued) for row in found] == [("1", 3, {"id": "2"}), ("1", None, None)]
