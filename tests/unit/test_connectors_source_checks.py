"""What a source table must be like before anything is built on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from connectors.postgres.checks import CatalogColumn, CatalogTable, Finding, compare
from connectors.postgres.types import fits, same_type
from contracts.stream import Column, Evolution, Stream, TableSource

STREAM = Stream(
    "shop",
    "orders",
    "shop.sales.orders",
    TableSource("sales", "orders"),
    (Column("id", "bigint", source_type="int8"), Column("tags", "array<string>")),
    ("id",),
    file=Path("orders.yaml"),
)


def found(
    name: str, type_: str, *, key: bool = False, array: bool = False, toast: bool = False, base: str = ""
) -> CatalogColumn:
    return CatalogColumn(name, type_, base or type_, is_array=array, toastable=toast, in_key=key, in_identity=False)


def table(*columns: CatalogColumn, identity: str = "d") -> CatalogTable:
    return CatalogTable("sales.orders", identity, {column.name: column for column in columns})


ID = found("id", "bigint", key=True)
TAGS = found("tags", "text[]", array=True, toast=True)


def refusals(catalog: CatalogTable) -> list[Finding]:
    return [finding for finding in compare(STREAM, catalog) if finding.level == "refusal"]


def test_an_array_needs_replica_identity_full_and_the_alter_is_ready_to_run() -> None:
    (refused,) = refusals(table(ID, TAGS))
    assert (refused.table, refused.column) == ("sales.orders", "tags")
    assert refused.fix == "ALTER TABLE sales.orders REPLICA IDENTITY FULL;"
    assert refusals(table(ID, TAGS, identity="f")) == []


def test_a_column_that_no_change_holds_must_stand_behind_all_that_they_hold() -> None:
    user = replace(found("user", "bigint"), unsent=True)
    tags = replace(TAGS, is_array=False, toastable=False)
    (refused,) = [one for one in refusals(table(ID, user, tags)) if one.column == "user"]
    # A word that Postgres has for itself stands bare behind a dot, and nowhere else.
    assert 'ALTER TABLE sales.orders DROP COLUMN "user", ADD COLUMN "user"' in refused.fix
    assert [one for one in refusals(table(ID, tags, user)) if one.column == "user"] == []


def test_a_table_without_a_key_is_refused() -> None:
    (refused,) = refusals(table(found("id", "bigint"), found("tags", "text[]", array=True)))
    assert "no primary key" in refused.what


def test_a_key_that_deletes_do_not_carry_is_refused() -> None:
    other = found("number", "bigint", key=True)
    (refused,) = refusals(table(found("id", "bigint"), other, found("tags", "text[]", array=True)))
    assert (refused.declared, refused.found) == ("key id", "replica identity number")


def test_a_difference_names_table_column_declared_and_found() -> None:
    refused, missing = refusals(table(found("id", "integer", key=True)))
    assert (refused.table, refused.column, refused.declared, refused.found) == ("sales.orders", "id", "int8", "integer")
    assert missing.column == "tags"


def test_a_column_that_the_connector_leaves_out_is_no_news_unless_the_contract_declares_it() -> None:
    more = found("notes", "text[]", array=True, toast=True)
    tags = replace(TAGS, is_array=False, toastable=False)
    assert [one.column for one in compare(STREAM, table(ID, tags, more))] == ["notes", "notes"]
    assert compare(STREAM, table(ID, tags, more), left_out=["notes"]) == []
    (declared,) = compare(STREAM, table(ID, tags, more), left_out=["notes", "tags"])
    assert (declared.level, declared.column) == ("refusal", "tags")
    assert "the connector leaves the column out: rows without it are refused as missing_field" in declared.what
    assert "column.exclude.list" in declared.fix


@pytest.mark.parametrize(
    ("policy", "level", "gone", "came"),
    [
        ("evolve", "warning", "it is NULL in new rows", "its values are kept in `_rescued`"),
        ("quarantine", "refusal", "refused as missing_field", "refused as undeclared_field"),
        ("stop", "refusal", "parks the stream", "parks the stream"),
    ],
)
def test_a_column_that_went_or_came_is_told_with_what_becomes_of_the_rows(
    policy: Evolution, level: str, gone: str, came: str
) -> None:
    stream = replace(STREAM, evolution=policy)
    missing, undeclared = compare(stream, table(ID, found("size", "integer")))
    assert (missing.column, missing.level, undeclared.column, undeclared.level) == ("tags", level, "size", "warning")
    assert gone in missing.what
    assert came in undeclared.what


@pytest.mark.parametrize(
    ("policy", "becomes"),
    [
        ("evolve", "rows whose value does not fit are refused as type"),
        ("quarantine", "rows whose value does not fit are refused as type"),
        ("stop", "the first row whose value does not fit parks the stream"),
    ],
)
@pytest.mark.parametrize("other", [found("id", "text", key=True), found("id", "numeric", key=True)])
def test_another_type_is_told_with_what_becomes_of_the_values(
    policy: Evolution, becomes: str, other: CatalogColumn
) -> None:
    for declared in ("int8", ""):
        columns = (replace(STREAM.columns[0], source_type=declared), STREAM.columns[1])
        refused, *_ = compare(replace(STREAM, columns=columns, evolution=policy), table(other, TAGS, identity="f"))
        assert (refused.column, refused.level) == ("id", "refusal")
        assert becomes in str(refused)


def test_a_required_column_that_went_is_refused_also_under_evolve() -> None:
    columns = (*STREAM.columns, Column("size", "int", required=True))
    stream = replace(STREAM, columns=columns, evolution="evolve")
    (refused,) = (one for one in compare(stream, table(ID)) if one.level == "refusal")
    assert (refused.column, "refused as required" in refused.what) == ("size", True)


@pytest.mark.parametrize(
    ("type_", "base", "marked"),
    [
        ("text", "text", True),
        ("character varying(9000)", "varchar", True),
        ("bytea", "bytea", True),
        ("jsonb", "jsonb", True),
        ("numeric(30,10)", "numeric", True),
        ("inet", "inet", True),
        ("email", "text", True),  # a domain
        ("hstore", "hstore", False),
        ("bit varying", "varbit", False),
        ("polygon", "polygon", False),
        ("vector(1536)", "vector", False),
    ],
)
def test_only_what_carries_our_marker_does_without_replica_identity_full(type_: str, base: str, marked: bool) -> None:
    note = found("note", type_, toast=True, base=base)
    refused = [finding.column for finding in refusals(table(ID, found("tags", "text[]", array=True), note))]
    assert refused == ([] if marked else ["note"])


@pytest.mark.parametrize(
    ("declared", "catalog"),
    [
        ("int8", "bigint"),
        ("varchar(20)", "character varying(20)"),
        ("decimal(10, 2)", "numeric(10,2)"),
        ("timestamptz", "timestamp with time zone"),
        ("bool", "boolean"),
        ("float8", "double precision"),
        ("text[]", "text[]"),
        ("jsonb", "jsonb"),
        ("order_state", "order_state"),
    ],
)
def test_one_type_has_many_spellings(declared: str, catalog: str) -> None:
    assert same_type(declared, catalog)


@pytest.mark.parametrize(
    ("declared", "catalog"),
    [("numeric(10,2)", "numeric(12,2)"), ("int4", "bigint"), ("timestamptz", "timestamp without time zone")],
)
def test_other_types_differ(declared: str, catalog: str) -> None:
    assert not same_type(declared, catalog)


@pytest.mark.parametrize(
    ("catalog", "spark", "holds"),
    [
        ("integer", "bigint", True),
        ("bigint", "int", False),
        ("numeric(10,2)", "decimal(10,2)", True),
        ("numeric(10,2)", "decimal(10,4)", False),  # eight digits before the point do not fit into six
        ("numeric(12,4)", "decimal(12,2)", False),
        ("numeric", "decimal(18,2)", True),
        ("integer", "decimal(10,0)", True),
        ("bigint", "decimal(10,0)", False),
        ("timestamp with time zone", "timestamp", True),
        ("timestamp(3) with time zone", "timestamp", True),
        ("timestamp with time zone", "date", False),
        ("double precision", "decimal(10,2)", False),
        ("uuid", "string", True),
        ("text[]", "array<string>", True),
    ],
)
def test_whether_a_spark_type_holds_a_postgres_type(catalog: str, spark: str, holds: bool) -> None:
    assert fits(catalog, Column("c", spark)) is holds


def test_json_is_parsed_from_text_only() -> None:
    assert fits("jsonb", Column("c", "struct<a:int>", json=True))
    assert not fits("bigint", Column("c", "struct<a:int>", json=True))
