"""Spark writes the same canonical text, key, hash and fingerprint as the reference."""

from __future__ import annotations

import json
from pathlib import Path

from pyspark.sql import SparkSession

from contracts import canonical_spark
from contracts.canonical import (
    fingerprint_python,
    hash_python,
    hash_spark,
    key_python,
    key_spark,
    table_fingerprint_spark,
)
from contracts.spark_types import parse_type
from contracts.stream import Column

CASES = json.loads((Path(__file__).parent.parent / "data" / "canonical_cases.json").read_text(encoding="utf-8"))


def test_spark_gives_the_golden_texts(spark: SparkSession) -> None:
    sent, columns, texts = [], [], []
    for n, case in enumerate(CASES):
        spark_type, value = parse_type(case["type"]), case["value"]
        nested = spark_type.is_nested
        sent.append(value if value is None or (isinstance(value, str) and not nested) else json.dumps(value))
        read = f"from_json(c{n}, '{spark_type.simple()}')" if nested else f"cast(c{n} as {spark_type.simple()})"
        columns.append(f"unhex(c{n}) as v{n}" if spark_type.name == "binary" else f"{read} as v{n}")
        texts.append(f"{canonical_spark.part(f'v{n}', spark_type)} as t{n}")
    # repartition: what is computed on a local relation never meets generated code.
    frame = spark.createDataFrame([sent], ", ".join(f"c{n} string" for n in range(len(sent)))).repartition(1)
    found = frame.selectExpr(*columns).repartition(1).selectExpr(*texts).collect()[0]
    wrong = {
        (c["type"], str(c["value"])): (text, c["text"])
        for c, text in zip(CASES, found, strict=True)
        if text != c["text"]
    }
    assert not wrong


def test_key_hash_and_fingerprint_are_the_references(spark: SparkSession) -> None:
    columns = (Column("id", "bigint"), Column("name", "string"), Column("marks", "map<string,array<int>>"))
    rows = [{"id": n, "name": None if n % 7 == 0 else f"é{n}", "marks": {"b": [n], "a": []}} for n in range(300)]
    frame = spark.createDataFrame(rows, "id bigint, name string, marks map<string,array<int>>")
    found = frame.selectExpr("id", f"{key_spark(columns[:2])} as k", f"{hash_spark(columns)} as h").collect()
    assert {(r.id, bytes(r.k), bytes(r.h)) for r in found} == {
        (row["id"], key_python(columns[:2])(row), hash_python(columns)(row)) for row in rows
    }
    shuffled = frame.repartition(5, "name").selectExpr(*_list(table_fingerprint_spark(columns))).collect()[0]
    assert (shuffled.row_count, int(shuffled.fingerprint)) == fingerprint_python(map(hash_python(columns), rows))
    empty = frame.limit(0).selectExpr(*_list(table_fingerprint_spark(columns))).collect()[0]
    assert (empty.row_count, int(empty.fingerprint)) == (0, 0)


def _list(select_list: str) -> tuple[str, str]:
    count, fingerprint = select_list.split(", ", 1)
    return count, fingerprint
