"""A table of the lake keeps its columns' types and its key: what is declared otherwise is refused, nothing written."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.errors import Fatal
from contracts.stream import Column, Stream, TableSource
from streaming_jobs.delta_commit import TableTransaction
from streaming_jobs.lake import create_table, table_path
from streaming_jobs.tables import create_history

WIDE = f"struct<{','.join(f'f{n}:decimal(9,2)' for n in range(60))}>"


@pytest.fixture
def things(spark: SparkSession, tmp_path: Path) -> Stream:
    pipeline = f"p{uuid.uuid4().hex[:12]}"
    columns = (Column("id", "bigint", required=True), Column("price", "decimal(5,2)"), Column("more", WIDE))
    stream = Stream(pipeline, "things", f"{pipeline}.s.things", TableSource("s", "things"), columns, ("id",))
    create_history(spark, stream, str(tmp_path))
    return stream


def path_of(stream: Stream, lake: Path) -> str:
    return table_path(str(lake), stream.pipeline, stream.name)


def test_what_is_declared_as_before_is_taken(spark: SparkSession, tmp_path: Path, things: Stream) -> None:
    assert not create_history(spark, things, str(tmp_path))
    gained = replace(things, columns=(*things.columns, Column("note", "string")))
    assert not create_history(spark, gained, str(tmp_path))
    assert "note" in spark.table(things.history).columns


@pytest.mark.parametrize("kind", ["string", "decimal(6,3)", "decimal(4,2)", "double"])
def test_a_column_declared_with_another_type_is_refused(
    spark: SparkSession, tmp_path: Path, things: Stream, kind: str
) -> None:
    changed = replace(things, columns=(things.columns[0], Column("Price", kind), Column("note", "string")))
    with pytest.raises(Fatal, match=r"price is decimal\(5,2\), declared ") as refused:
        create_history(spark, changed, str(tmp_path))
    assert refused.value.next_step == "declare the old type, or give the column another name"
    assert "note" not in spark.table(things.history).columns


def test_a_decimal_of_the_same_scale_gets_wider(spark: SparkSession, tmp_path: Path, things: Stream) -> None:
    transaction = TableTransaction(spark, path_of(things, tmp_path))
    transaction.write(spark.sql("select 1L as id, cast(1.5 as decimal(5,2)) as price"))
    transaction.commit({"a": 1}, {})
    wider = replace(things, columns=(things.columns[0], Column("price", "decimal(20,2)"), things.columns[2]))
    create_history(spark, wider, str(tmp_path))
    transaction = TableTransaction(spark, path_of(things, tmp_path))
    transaction.write(spark.sql("select 2L as id, cast(123456789012345678.25 as decimal(20,2)) as price"))
    transaction.commit({"a": 2}, {})
    found = spark.table(things.history).selectExpr("id", "cast(price as string)").collect()
    assert sorted(tuple(row) for row in found) == [(1, "1.50"), (2, "123456789012345678.25")]
    with pytest.raises(Fatal, match=r"price is decimal\(20,2\), declared decimal\(5,2\)"):
        create_history(spark, things, str(tmp_path))


def test_a_field_after_the_twenty_fifth_counts(spark: SparkSession, tmp_path: Path, things: Stream) -> None:
    changed = replace(
        things, columns=(*things.columns[:2], Column("more", WIDE.replace("f59:decimal(9,2)", "f59:int")))
    )
    with pytest.raises(Fatal, match="more is struct"):
        create_history(spark, changed, str(tmp_path))


def test_another_type_is_not_written(spark: SparkSession, tmp_path: Path, things: Stream) -> None:
    transaction = TableTransaction(spark, path_of(things, tmp_path))
    frame = spark.sql("select 1L as id, 'free' as price")
    with pytest.raises(Fatal, match=r"price is decimal\(5,2\), not string"):
        transaction.write(frame)
    assert not list(Path(path_of(things, tmp_path)).rglob("*.parquet"))
    required = spark.sql("select 1L as ID, cast(2 as decimal(5,2)) as price")
    assert not required.schema["ID"].nullable
    assert transaction.write(required) == 1


def test_another_key_is_refused_once_there_are_rows(spark: SparkSession, tmp_path: Path, things: Stream) -> None:
    other = replace(things, key=("price",))
    create_history(spark, other, str(tmp_path))
    create_history(spark, things, str(tmp_path))
    transaction = TableTransaction(spark, path_of(things, tmp_path))
    transaction.write(spark.sql("select 1L as id"))
    transaction.commit({"a": 1}, {})
    with pytest.raises(Fatal, match="identified by id, the contract now says price"):
        create_history(spark, other, str(tmp_path))
    create_history(spark, things, str(tmp_path))


def test_a_table_that_keeps_no_key_is_taken(spark: SparkSession, tmp_path: Path) -> None:
    name = f"p{uuid.uuid4().hex[:12]}_lake.old"
    for key in ((), ("id",)):
        create_table(spark, name, str(tmp_path / "old"), (("id", "bigint"),), key=key)
