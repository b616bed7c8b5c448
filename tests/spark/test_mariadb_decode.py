"""What Debezium 3.5.0 wrote of MariaDB's values, read back: as they are at the source, or refused."""

from __future__ import annotations

import json

import pytest
from pyspark.sql import Row, SparkSession

from contracts.stream import Column, Stream, TableSource
from streaming_jobs.transforms.decode_change import decode_change
from streaming_jobs.transforms.validate import cast_fields

COLUMNS = (
    Column("id", "decimal(20,0)", required=True, source_type="bigint(20) unsigned"),
    Column("paid", "boolean", source_type="tinyint(1)"),
    Column("old", "string", source_type="varchar(20) latin1"),
    Column("new", "string"),
)
STREAM = Stream("p", "t", "p.mariadb.d.t", TableSource("d", "t", system="mariadb"), COLUMNS, ("id",))


def decoded(spark: SparkSession, **values: object) -> Row:
    """The row of an insert with these values, of which the id is 1 unless it is given."""
    after = {"id": "AQ==", "paid": None, "old": None, "new": None, **values}
    source = {"connector": "mariadb", "ts_us": 1795640973000000, "snapshot": "false", "gtid": "0-7-9"}
    envelope = json.dumps({"before": None, "after": after, "source": source, "op": "c", "ts_ms": 1795640973836})
    frame = spark.createDataFrame([(STREAM.topic, envelope)], "topic string, text string").selectExpr(
        "topic", "0 as partition", "0L as offset", "cast(text as binary) as value", "current_timestamp() as timestamp"
    )
    (row,) = frame.transform(decode_change, STREAM).transform(cast_fields, STREAM).collect()
    return row


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        ("AA==", 0),
        ("AQ==", 1),
        ("AP8=", 255),
        ("f/////////8=", 2**63 - 1),
        ("AIAAAAAAAAAA", 2**63),
        ("AP//////////", 2**64 - 1),
    ],
)
def test_an_unsigned_bigint_is_read_from_its_bytes(spark: SparkSession, sent: str, number: int) -> None:
    row = decoded(spark, id=sent)
    assert (row["_refusal"], row["id"]) == (None, number)


@pytest.mark.parametrize("sent", ["////////", "gA==", "not base64", "AQ", "AQAAAAAAAAAA", "AQAAAAAAAAAAAAAA", ""])
def test_bytes_that_are_no_unsigned_bigint_are_refused(spark: SparkSession, sent: str) -> None:
    assert decoded(spark, id=sent)["_refusal"]["column_name"] == "id"


@pytest.mark.parametrize("sent", [1234, 12345678, 0, 99])
def test_digits_are_not_taken_for_bytes(spark: SparkSession, sent: int) -> None:
    """The column became a signed one at the source: its numbers come as numbers and mean what they say."""
    row = decoded(spark, id=sent)
    assert (row["_refusal"], row["id"]) == (None, sent)


def test_a_tinyint_is_a_boolean_only_where_it_is_one(spark: SparkSession) -> None:
    assert [decoded(spark, paid=value)["paid"] for value in (0, 1, True, False, None)] == [
        False,
        True,
        True,
        False,
        None,
    ]
    assert decoded(spark, paid=2)["_refusal"]["column_name"] == "paid"


def test_a_character_that_debezium_lost_is_refused_where_latin1_has_it(spark: SparkSession) -> None:
    assert decoded(spark, old="é\ufffd")["_refusal"]["column_name"] == "old"
    kept = decoded(spark, old="é", new="\ufffd")
    assert (kept["_refusal"], kept["old"], kept["new"]) == (None, "é", "\ufffd")
