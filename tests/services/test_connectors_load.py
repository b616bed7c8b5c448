"""Files into a real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors.postgres.load import load, run_sql_file
from connectors.postgres.source import connected
from contracts.endpoints import Endpoints
from contracts.errors import Fatal


@pytest.fixture
def schema(endpoints: Endpoints, tmp_path: Path) -> Iterator[str]:
    name = f"load_{uuid4().hex[:8]}"
    ddl = tmp_path / "ddl.sql"
    ddl.write_text(
        f"CREATE SCHEMA {name};\n"
        f'CREATE TABLE {name}.people (id bigint PRIMARY KEY, "Full Name" text, profile jsonb, age int DEFAULT 7);\n'
    )
    run_sql_file(endpoints.source, ddl)
    yield name
    with connected(endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {name} CASCADE")


def rows(endpoints: Endpoints, schema: str) -> list[tuple[Any, ...]]:
    with connected(endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {schema}.people ORDER BY id")
        return cursor.fetchall()


def test_names_choose_columns_and_json_stays_json(endpoints: Endpoints, schema: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(
        b'\xef\xbb\xbfprofile,id,Full Name\n"{""city"": ""Z\xc3\xbcrich, CH""}",1,"Ada\nL."\n,2,\n{},3,""\n'
    )
    assert load(file, f"{schema}.people", endpoints.source) == 3
    assert rows(endpoints, schema) == [
        (1, "Ada\nL.", {"city": "Zürich, CH"}, 7),
        (2, None, None, 7),
        (3, "", {}, 7),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,age\n1,2\n2,old\n", "line 3, column age"),
        ("id\n1\n1\n", "already exists"),
        ("id,shoe_size\n1,2\n", "columns that .* lacks: shoe_size"),
        ("id,id\n1,2\n", "header of different column names"),
        ("", "header of different column names"),
    ],
)
def test_a_file_is_loaded_whole_or_not_at_all(
    endpoints: Endpoints, schema: str, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "people.csv"
    file.write_text(text)
    with pytest.raises(Fatal, match=said):
        load(file, f"{schema}.people", endpoints.source)
    assert rows(endpoints, schema) == []


def test_a_table_that_is_not_there_is_named_with_those_that_are(
    endpoints: Endpoints, schema: str, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("id\n1\n")
    with pytest.raises(Fatal, match=rf"no table {schema}\.poeple[^$]*{schema}\.people"):
        load(file, f"{schema}.poeple", endpoints.source)


def test_a_broken_script_changes_nothing_and_names_its_line(endpoints: Endpoints, schema: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sql"
    script.write_text(f"INSERT INTO {schema}.people (id) VALUES (1);\n\nSELECT nonsense;\n")
    with pytest.raises(Fatal, match=r"nonsense[^$]*script\.sql:3"):
        run_sql_file(endpoints.source, script)
    assert rows(endpoints, schema) == []
