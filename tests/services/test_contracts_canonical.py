"""Postgres writes the same canonical text, key, hash and fingerprint as the reference."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg2

from contracts import canonical_postgres
from contracts.canonical import fingerprint_python, hash_postgres, hash_python, key_postgres, key_python
from contracts.canonical import table_fingerprint_postgres as fingerprint
from contracts.endpoints import Endpoints
from contracts.spark_types import parse_type
from contracts.stream import Column

CASES = json.loads((Path(__file__).parent.parent / "data" / "canonical_cases.json").read_text(encoding="utf-8"))
POSTGRES = {"string": "text", "tinyint": "smallint", "timestamp": "timestamptz", "timestamp_ntz": "timestamp"}
POSTGRES |= {"double": "float8", "float": "float4", "binary": "bytea"}


def test_postgres_gives_the_golden_texts(endpoints: Endpoints) -> None:
    wrong = {}
    with psycopg2.connect(**endpoints.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("set local time zone 'America/New_York'")
        for case in CASES:
            spark_type, value = parse_type(case["type"]), case["value"]
            postgres = "jsonb" if spark_type.is_nested else POSTGRES.get(spark_type.name, spark_type.simple())
            sent = value if value is None or isinstance(value, str) else json.dumps(value)
            sent = f"\\x{sent}" if sent and spark_type.name == "binary" else sent
            text = canonical_postgres.part("v", spark_type)
            cursor.execute(f"select {text} from (select %s::text::{postgres} as v) as one", (sent,))
            found = cursor.fetchone()
            if found != (case["text"],):
                wrong[case["type"], str(value)] = (found, case["text"])
    assert not wrong


def test_a_day_that_no_lake_holds_is_neither_null_nor_another_day(endpoints: Endpoints) -> None:
    """A first read sends 44 BC as 44 AD: `verify` must see it."""
    text = canonical_postgres.part("v", parse_type("date"))
    days = ["0044-03-15 BC", "0044-03-15", "infinity", "-infinity", None, "10000-01-01", "1000-01-01"]
    with psycopg2.connect(**endpoints.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(f"select count(distinct {text}) from unnest(%s::date[]) as days (v)", (days,))
        assert cursor.fetchone() == (len(days),)


def test_a_json_null_is_null_and_neither_key_order_nor_number_spelling_matters(endpoints: Endpoints) -> None:
    spark_type = parse_type("struct<a:decimal(6,2),b:array<int>,c:map<string,string>>")
    text = canonical_postgres.part("v", spark_type)
    with psycopg2.connect(**endpoints.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(f"select {text} from (values ('null'::jsonb)) as one (v)")
        assert cursor.fetchone() == ("N;",)
        one = '{"a":1.5,"b":[1],"c":{"x":"1","y":"2"}}'
        other = '{"c":{"y":"2","x":"1"}, "b":[1], "a":1.50, "unknown":7}'
        cursor.execute(
            f"select count(distinct {text}), count(*) from (values (%s::json), (%s::json)) as two (v)", (one, other)
        )
        assert cursor.fetchone() == (1, 2)
        cursor.execute(f"select count(*) from (values ('[]'::jsonb)) as one (v) where {text} is null")
        assert cursor.fetchone() == (0,)


def test_key_hash_and_fingerprint_are_the_references(endpoints: Endpoints) -> None:
    columns = (Column("id", "bigint"), Column("name", "string"), Column("marks", "map<string,array<int>>"))
    rows = [{"id": n, "name": None if n % 7 == 0 else f"é{n}", "marks": {"b": [n], "a": []}} for n in range(300)]
    with psycopg2.connect(**endpoints.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("create temporary table t (id int, name varchar(20), marks jsonb) on commit drop")
        sent = [(row["id"], row["name"], json.dumps(row["marks"])) for row in rows]
        cursor.executemany("insert into t values (%s, %s, %s)", sent)
        cursor.execute(f"select id, {key_postgres(columns[:2])}, {hash_postgres(columns, 't')} from t")
        found = {(number, bytes(key), bytes(digest)) for number, key, digest in cursor}
        cursor.execute(f"select {fingerprint(columns)} from t")
        assert tuple(map(int, cursor.fetchone() or ())) == fingerprint_python(map(hash_python(columns), rows))
        cursor.execute(f"select {fingerprint(columns)} from t where false")
        assert tuple(map(int, cursor.fetchone() or ())) == (0, 0)
    assert found == {(row["id"], key_python(columns[:2])(row), hash_python(columns)(row)) for row in rows}
