"""What Debezium 3.5.0 wrote of MariaDB's values, read back: as they are at the source, or refused."""

from __future__ import annotations

import json

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


def decoded(spark: SparkSession, *inserted: dict[str, object]) -> list[Row]:
    """The rows of inserts of these values, in their order; what is not given is NULL, and the id 1."""
    sent = []
    for offset, values in enumerate(inserted):
        after = {"id": "AQ==", "paid": None, "old": None, "new": None, **values}
        source = {"connector": "mariadb", "ts_us": 1795640973000000, "snapshot": "false", "gtid": "0-7-9"}
        envelope = {"before": None, "after": after, "source": source, "op": "c", "ts_ms": 1795640973836}
        sent.append((offset, json.dumps(envelope)))
    frame = spark.createDataFrame(sent, "offset bigint, text string").selectExpr(
        "'t' as topic", "0 as partition", "offset", "cast(text as binary) as value", "current_timestamp() as timestamp"
    )
    return frame.transform(decode_change, STREAM).transform(cast_fields, STREAM).orderBy("_offset").collect()


def test_an_unsigned_bigint_is_read_from_its_bytes(spark: SparkSession) -> None:
    numbers = {
        "AA==": 0,
        "AQ==": 1,
        "AP8=": 255,
        "f/////////8=": 2**63 - 1,
        "AIAAAAAAAAAA": 2**63,
        "AP//////////": 2**64 - 1,
        # The column became a signed one at the source: digits come as a number and mean what they say.
        1234: 1234,
        12345678: 12345678,
        0: 0,
    }
    rows = decoded(spark, *({"id": sent} for sent in numbers))
    assert [(row["_refusal"], row["id"]) for row in rows] == [(None, number) for number in numbers.values()]


def test_bytes_that_are_no_unsigned_bigint_are_refused(spark: SparkSession) -> None:
    wrong = ("////////", "gA==", "not base64", "AQ", "AQAAAAAAAAAA", "AQAAAAAAAAAAAAAA", "")
    for row in decoded(spark, *({"id": sent} for sent in wrong)):
        assert row["_refusal"]["column_name"] == "id"


def test_what_is_not_the_sources_value_is_refused(spark: SparkSession) -> None:
    """A tinyint is a boolean only where it is one; a character of latin1 that Debezium lost is U+FFFD."""
    *booleans, two, lost, kept = decoded(
        spark,
        *({"paid": value} for value in (0, 1, True, False, None, 2)),
        {"old": "é\ufffd"},
        {"old": "é", "new": "\ufffd"},
    )
    assert [row["paid"] for row in booleans] == [False, True, True, False, None]
    assert two["_refusal"]["column_name"] == "paid"
    assert lost["_refusal"]["column_name"] == "old"
    assert (kept["_refusal"], kept["old"], kept["new"]) == (None, "é", "\ufffd")
