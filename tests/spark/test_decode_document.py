"""Changes of MongoDB's documents as Debezium 3.5 writes them, by its documentation and its JSON writer.

`tests/services/test_mongodb.py` has those of a run.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

from pyspark.sql import Row, SparkSession

from contracts.stream import Column, Stream, TableSource
from streaming_jobs.transforms.decode_document import decode_document
from streaming_jobs.transforms.validate import cast_fields, validate

COLUMNS = (
    Column("product_id", "string", required=True, field="_id"),
    Column("product_name", "string", field="productName"),
    Column("price", "decimal(10,2)"),
    Column("sold", "bigint"),
    Column("size", "struct<widthMm:int,note:string>"),
    Column("tags", "array<string>"),
    Column("attributes", "map<string,string>"),
    Column("updated_at", "timestamp"),
    Column("ratio", "double"),
)
SOURCE = TableSource("shop", "products", system="mongodb")
STREAM = Stream("p", "products", "p.mongodb.shop.products", SOURCE, COLUMNS, ("product_id",))
OID = '{"$oid" : "596e275826f08b2730779e1f"}'
# JsonMode.STRICT, as Debezium's own settings write it.
DOCUMENT = (
    f'{{"_id" : {OID},"productName" : "Lámp 😀 {{\\"$oid\\":\\"not one\\"}}","price" : {{"$numberDecimal" : "12.50"}},'
    '"sold" : {"$numberLong" : "9007199254740993"},"size" : {"widthMm" : 30,"note" : "{x"},"tags" : ["a","b"],'
    '"attributes" : {"colour" : "oak"},"updated_at" : {"$date" : 1565545664123}}'
)


Change = tuple[str, str | None, str]


def decoded(spark: SparkSession, *changes: Change) -> list[Row]:
    """The rows of changes, each an operation, the document after it and the key of its record, in their order."""
    sent = []
    for offset, (op, after, key) in enumerate(changes):
        source = {"connector": "mongodb", "ts_ms": 1565545664000, "snapshot": "false", "db": "shop", "collection": "p"}
        envelope = {"before": None, "after": after, "source": source, "op": op, "ts_ms": 1565545664999}
        sent.append((offset, json.dumps({"id": key}), json.dumps(envelope)))
    frame = spark.createDataFrame(sent, "offset bigint, k string, v string").selectExpr(
        "'t' as topic",
        "0 as partition",
        "offset",
        "cast(k as binary) as key",
        "cast(v as binary) as value",
        "current_timestamp() as timestamp",
    )
    steps = frame.transform(decode_document).transform(cast_fields, STREAM).transform(validate, STREAM)
    return steps.orderBy("_offset").collect()


def test_a_document_becomes_typed_columns(spark: SparkSession) -> None:
    for row in decoded(spark, *((op, DOCUMENT, OID) for op in ("r", "c", "u"))):
        assert row["_refusal"] is None
        assert (row["product_id"], row["product_name"]) == ("596e275826f08b2730779e1f", 'Lámp 😀 {"$oid":"not one"}')
        assert (row["price"], row["sold"]) == (Decimal("12.50"), 9007199254740993)
        assert (row["size"].asDict(), row["tags"]) == ({"widthMm": 30, "note": "{x"}, ["a", "b"])
        assert row["attributes"] == {"colour": "oak"}
        assert row["updated_at"].astimezone(UTC) == datetime(2019, 8, 11, 17, 47, 44, 123000, UTC)
        assert row["_event_time"].astimezone(UTC) == datetime(2019, 8, 11, 17, 47, 44, tzinfo=UTC)


def test_a_delete_is_known_by_the_key_of_its_record_and_a_field_left_out_is_null(spark: SparkSession) -> None:
    keys = {OID: "596e275826f08b2730779e1f", "1004": "1004", '"a \\"b\\""': 'a "b"'}
    *deleted, sparse = decoded(spark, *(("d", None, key) for key in keys), ("c", f'{{"_id" : {OID}}}', OID))
    found = [(row["_refusal"], row["_op"], row["product_id"], row["price"]) for row in deleted]
    assert found == [(None, "d", known, None) for known in keys.values()]
    assert (sparse["_refusal"], sparse["price"], sparse["size"]) == (None, None, None)


def test_doubles_that_json_has_no_word_for(spark: SparkSession) -> None:
    """Debezium writes them bare; in a text the same letters stay as they are."""
    spoken = 'of NaN: NaN, -Infinity \\" : NaN,'
    documents = [
        f'{{"_id" : {OID},"productName" : "{spoken}","ratio" : {ratio},"sold" : -7,"tags" : [{ratio}]}}'
        for ratio in ("NaN", "Infinity", "-Infinity", "-1.5")
    ]
    rows = decoded(spark, *(("c", document, OID) for document in documents), ("d", None, "NaN"))
    assert [row["_refusal"] for row in rows] == [None] * 5
    *kept, deleted = rows
    assert [repr(row["ratio"]) for row in kept] == ["nan", "inf", "-inf", "-1.5"]
    assert {(row["product_name"], row["sold"]) for row in kept} == {(json.loads(f'"{spoken}"'), -7)}
    assert [row["tags"] for row in kept] == [["NaN"], ["Infinity"], ["-Infinity"], ["-1.5"]]
    assert deleted["product_id"] == "NaN"


def test_what_does_not_fit_is_refused(spark: SparkSession) -> None:
    wrong = [
        (None, "operation"),
        ("{", "json"),
        ('{"_id" : 1} 2', "json"),
        ('{"_id" : 1,"sold" : Nan}', "json"),
        (f'{{"_id" : {OID},"colour" : 1}}', "undeclared_field"),
        (f'{{"_id" : {OID},"productName" : "a","product_name" : "b"}}', "undeclared_field"),
        (f'{{"_id" : {OID},"productName" : {{"a" : 1}}}}', "type"),
        (f'{{"_id" : {OID},"price" : {{"$numberDecimal" : "12.505"}}}}', "type"),
        (f'{{"_id" : {OID},"updated_at" : {{"$timestamp" : {{"t" : 1,"i" : 2}}}}}}', "type"),
        (f'{{"_id" : {OID},"updated_at" : {{"$date" : 99999999999999999999}}}}', "type"),
        (f'{{"_id" : {OID},"size" : {{"widthMm" : 1.5}}}}', "type"),
        ('{"price" : 1}', "required"),
    ]
    rows = decoded(spark, *(("u", after, OID) for after, _ in wrong))
    assert [row["_refusal"]["rule"] for row in rows] == [rule for _, rule in wrong]
