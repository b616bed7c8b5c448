"""The bundled pipelines beside the first: they load, their SQL parses and knows its tables, and both engines agree."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from contracts.canonical import key_spark
from contracts.loader import load_pipeline
from contracts.stream import Column, Pipeline
from producers.generator.declaration import load_sample_data
from warehouse_sql import declaration
from warehouse_sql.asking import _short, declared_columns
from warehouse_sql.expected import expected_rows
from warehouse_sql.extract import extract_sql
from warehouse_sql.sql_files import statements

PIPELINES = {name: load_pipeline(name) for name in ("citizens", "weblog")}
WAREHOUSES = {name: declaration.load(pipeline) for name, pipeline in PIPELINES.items()}
FILES = [(name, path) for name, warehouse in WAREHOUSES.items() for path in sorted(warehouse.folder.rglob("*.sql"))]
TABLES = [(name, table.name) for name, warehouse in WAREHOUSES.items() for table in warehouse.tables]
ENGINE_TYPES = {"string": "text", "binary": "bytea", "timestamp": "timestamptz"}


def given(pipeline: Pipeline) -> set[str]:
    """What is there before a file runs."""
    warehouse = WAREHOUSES[pipeline.name]
    tables = {table.name for table in warehouse.tables} | {table.staging for table in warehouse.tables}
    lake = {f"{stream.name}_current" for stream in pipeline.file_streams}
    return {"rows", "dates", "files", *warehouse.views, *tables, *lake}


@pytest.mark.parametrize(("name", "path"), FILES, ids=lambda value: str(value).rpartition("warehouse_sql/")[2])
def test_a_file_parses_knows_its_tables_and_says_what_it_is(name: str, path: Path) -> None:
    folder = path.relative_to(WAREHOUSES[name].folder).parts
    dialect = "postgres" if "postgres" in folder else "databricks"
    assert path.read_text("utf-8").startswith("-- "), "the first line says grain, guard or purpose"
    for statement in statements(path):
        tree = sqlglot.parse_one(statement.replace("%(date_keys)s", "x"), dialect=dialect)
        assert not isinstance(tree, exp.Command), "sqlglot could not read it"
        for table in tree.find_all(exp.Table):
            assert table.name in given(PIPELINES[name])
            assert table.db in ("", f"{name}_lake")


@pytest.mark.parametrize(("name", "table"), TABLES)
def test_delta_postgres_and_source_have_the_same_columns(name: str, table: str) -> None:
    warehouse = WAREHOUSES[name]
    delta = declared_columns(warehouse, "delta", table)
    postgres = declared_columns(warehouse, "postgres", table)
    assert [(n, _short(ENGINE_TYPES.get(kind, kind))) for n, kind in delta] == [(n, _short(k)) for n, k in postgres]
    source = sqlglot.parse_one(warehouse.source(table), dialect="databricks")
    assert isinstance(source, exp.Select)
    names = [column for column, _ in delta]
    assert source.named_selects == names
    verb = "replace" if warehouse.table(table).kind == "fact" else "merge"
    inserted = sqlglot.parse_one(warehouse.sql("postgres", verb, table)[-1], dialect="postgres")
    if isinstance(inserted, exp.Insert):
        assert inserted.named_selects == names
        assert [column.name for column in inserted.this.expressions] == names
        replaced = sqlglot.parse_one(warehouse.sql("delta", verb, table)[0], dialect="databricks")
        select = replaced.find(exp.Select)
        assert select is not None
        assert select.named_selects == names


@pytest.mark.parametrize("name", PIPELINES)
def test_each_column_that_a_source_reads_is_one_of_its_stream(name: str) -> None:
    pipeline, warehouse = PIPELINES[name], WAREHOUSES[name]
    for table in warehouse.facts:
        stream = pipeline.stream(table.stream)
        known = {column.name for column in stream.columns} | {"_key"}
        tree = sqlglot.parse_one(warehouse.source(table.name), dialect="databricks")
        inner = tree.find(exp.Subquery)
        assert inner is not None
        read = {column.name for column in inner.find_all(exp.Column)}
        assert read <= known
        assert read >= known - {"_key", "batch_date", "log_date"} - _left_out(name)
        assert sqlglot.parse_one(expected_rows(warehouse, pipeline, table), dialect="databricks")


def _left_out(name: str) -> set[str]:
    weblog = {"ident", "user", "method", "protocol", "request", "referer", "agent", "line_no"}
    return weblog if name == "weblog" else set()


@pytest.mark.parametrize("name", PIPELINES)
def test_queries_and_checks_read_columns_that_the_tables_have(name: str) -> None:
    warehouse = WAREHOUSES[name]
    columns = {c for table in warehouse.tables for c, _ in declared_columns(warehouse, "delta", table.name)}
    of_files = {"stream", "unit", "complete", "newest", "accepted", "replayed"}
    found = {**warehouse.named("queries"), **{f"check {n}": q for n, q in warehouse.named("checks").items()}}
    assert len(found) >= 5
    for what, query in found.items():
        tree = sqlglot.parse_one(query, dialect="databricks")
        made = {alias.alias for alias in tree.find_all(exp.Alias)}
        assert {column.name for column in tree.find_all(exp.Column)} <= columns | made | of_files, what


@pytest.mark.parametrize("name", PIPELINES)
def test_a_day_restates_no_other_day(name: str) -> None:
    """The unit is part of the key, so that no other unit can hold the same events (`reading.plan_fact`)."""
    for stream in PIPELINES[name].file_streams:
        assert stream.key[0] == stream.file_source.unit == stream.partition_by


def test_the_register_comes_whole_each_day_in_one_large_file() -> None:
    stream = PIPELINES["citizens"].stream("citizens")
    assert stream.key == ("batch_date", "citizen_id")
    assert stream.version == "updated_at"
    assert stream.batch_date_column == stream.column("batch_date")
    assert stream.file_source.bulk_bytes == 268_435_456
    assert stream.file_source.match("citizens_data.csv") == {}
    assert stream.file_source.match("citizens_data_2026-01-05.csv") is None
    assert stream.column("citizen_id").spark_type == "string"
    open_columns = {column.name for column in stream.columns if not column.pii}
    assert open_columns == {"region", "registered_at", "updated_at", "batch_date"}
    rules = {rule.name for rule in stream.rules}
    assert {"birth_before_registration", "registration_before_update", "annual_income_minimum"} <= rules


def test_two_equal_lines_of_an_access_log_are_two_events() -> None:
    stream = PIPELINES["weblog"].stream("access_log")
    assert stream.key == ("log_date", "line_no")
    assert stream.column("line_no").from_line
    assert stream.file_source.nulls == ("-",)
    assert [column.name for column in stream.columns if column.pii] == ["host", "user"]
    assert stream.file_source.match("access_2026-01-05.log") == {"log_date": "2026-01-05"}
    assert stream.file_source.match("access.log") is None
    assert stream.column("time").format == "dd/MMM/yyyy:HH:mm:ss Z"


def test_the_key_of_traffic_hashes_its_grain() -> None:
    grain = [Column("date_key", "int"), Column("host", "string"), Column("path", "string"), Column("status", "int")]
    source = WAREHOUSES["weblog"].source("fact_traffic")
    assert f"{key_spark(grain)} as traffic_key" in source
    tree = sqlglot.parse_one(source, dialect="databricks")
    assert [column.name for column in tree.args["group"].expressions] == [column.name for column in grain]


def test_the_extract_gives_pages_in_an_order() -> None:
    tree = sqlglot.parse_one(extract_sql(PIPELINES["weblog"], "weblog"), dialect="databricks")
    assert isinstance(tree, exp.Select)
    expected = "day hour host path query status_class bytes referer_host browser"
    assert tree.named_selects == expected.split()
    assert [ordered.this.name for ordered in tree.args["order"].expressions] == ["log_date", "line_no"]
    read = {column.name for column in tree.find_all(exp.Column)}
    assert read <= {column.name for column in PIPELINES["weblog"].stream("access_log").columns}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_sample_data_are_declared_for_every_stream_and_rule_that_rows_can_break(name: str) -> None:
    pipeline = PIPELINES[name]
    data = load_sample_data(pipeline.contracts_dir / "sample_data.yaml", pipeline)
    assert [daily.stream for daily in data.daily_files] == [stream.name for stream in pipeline.streams]
    for daily in data.daily_files:
        broken = {wrong.rule for wrong in daily.dirt.wrong} | {f"{column}_required" for column in daily.dirt.nulls}
        declared = {rule.name for rule in chain(pipeline.stream(daily.stream).rules)}
        assert broken - {"type"} <= declared
        assert daily.dirt.broken
        assert daily.dirt.broken.rule == pipeline.stream(daily.stream).file_source.format
