"""Every SQL file of the bundled pipeline: it parses, it knows its tables, its merges compare versions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from contracts.canonical import key_spark
from contracts.errors import ContractError
from contracts.loader import load_pipeline
from warehouse_sql import declaration
from warehouse_sql.asking import _short, declared_columns
from warehouse_sql.sql_files import statements

PIPELINE = load_pipeline("edtech")
WAREHOUSE = declaration.load(PIPELINE)
FILES = sorted(WAREHOUSE.folder.rglob("*.sql"))
# What the engine makes before a file runs: views of new rows, staging, members; the lake's ledger for checks.
GIVEN = {"changes", "rows", "dates", "members", "files", *WAREHOUSE.views, *(t.staging for t in WAREHOUSE.tables)}
KNOWN = GIVEN | {t.name for t in WAREHOUSE.tables} | {p.name for p in WAREHOUSE.parquet}


def _dialect(path: Path) -> str:
    return "postgres" if "postgres" in path.relative_to(WAREHOUSE.folder).parts else "databricks"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(WAREHOUSE.folder)))
def test_a_file_parses_knows_its_tables_and_says_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("-- "), "the first line says grain, guard or purpose"
    for statement in statements(path):
        tree = sqlglot.parse_one(statement.replace("%(date_keys)s", "x"), dialect=_dialect(path))
        assert not isinstance(tree, exp.Command), "sqlglot could not read it"
        made = {cte.alias for cte in tree.find_all(exp.CTE)}
        assert {table.name for table in tree.find_all(exp.Table)} - made - {""} <= KNOWN
        folder = path.parent.name
        if folder in ("merge", "infer"):
            assert isinstance(tree, exp.Merge)
            _check_merge(tree, tree.find(exp.Table).name)  # type: ignore[union-attr]


def _check_merge(tree: exp.Merge, table: str) -> None:
    for when in tree.find_all(exp.When):
        if when.args["matched"]:
            condition = when.args["condition"]
            assert condition is not None, f"{table}: a MERGE that updates without looking at versions"
            # Of one version more may be known later: values that the source did not send.
            assert condition.sql() == "s._version >= t._version"


@pytest.mark.parametrize("table", WAREHOUSE.tables, ids=lambda table: table.name)
def test_delta_postgres_and_source_have_the_same_columns(table: declaration.Table) -> None:
    delta = declared_columns(WAREHOUSE, "delta", table.name)
    postgres = declared_columns(WAREHOUSE, "postgres", table.name)
    types = {"string": "text", "binary": "bytea", "timestamp": "timestamptz"}
    assert [(name, _short(types.get(kind, kind))) for name, kind in delta] == [(n, _short(k)) for n, k in postgres]
    source = sqlglot.parse_one(WAREHOUSE.source(table.name), dialect="databricks")
    assert isinstance(source, exp.Select)
    assert source.named_selects == [name for name, _ in delta]


def test_a_key_in_a_fact_is_the_key_that_its_dimension_has() -> None:
    """Neither looks the other up: both hash the natural id in the one canonical form."""
    for table in WAREHOUSE.tables:
        for column, target in table.references.items():
            dimension = WAREHOUSE.table(target)
            if dimension.kind != "dimension":
                continue
            stream = PIPELINE.stream(dimension.stream)
            assert stream.key == dimension.natural
            expected = key_spark([stream.column(name) for name in stream.key])
            assert expected in WAREHOUSE.source(table.name), f"{table.name}.{column}"


def test_statements_end_with_a_line_and_lose_their_comments(tmp_path: Path) -> None:
    path = tmp_path / "x.sql"
    path.write_text("-- what\nselect ';' as a;\n\nselect 2\n")
    assert statements(path) == ["select ';' as a", "select 2"]
    path.write_text("-- only a comment\n")
    with pytest.raises(ContractError, match=r"x\.sql"):
        statements(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("stream: students", "stream: pupils", "no stream 'pupils'"),
        ("dim_course, date_key", "dim_curse, date_key", "dim_curse"),
        ("kind: generated", "kind: generator", "kind"),
        ("stream: students\n", "stream: students\n    references: {a: dim_course}\n", "circle"),
        ("inputs: [", "inputs: [dim_date, ", "is no fact"),
        ("dim_date:\n", "dim_day:\n", "dim_date"),
    ],
)
def test_a_wrong_declaration_is_refused_and_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = tmp_path / "edtech"
    shutil.copytree(WAREHOUSE.folder, folder)
    text = (folder / "tables.yaml").read_text()
    assert old in text
    text = text.replace(old, new, 1)
    if says == "circle":
        text = text.replace("references: {instructor_key: dim_instructor}", "references: {b: dim_student}")
    (folder / "tables.yaml").write_text(text)
    with pytest.raises(ContractError, match=says) as refused:
        declaration.load(replace(PIPELINE, warehouse_sql_dir=folder))
    assert "tables.yaml" in str(refused.value)
