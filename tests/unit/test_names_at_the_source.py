"""A column whose source gives it a name that no contract's column can have: `headrace.field` says it, and whatever
speaks to the source uses it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.postgres.catalog import ForeignKey, SourceColumn, SourceTable
from connectors.postgres.checks import CatalogColumn, CatalogTable, compare
from connectors.postgres.key_checks import check_key, message_keys
from contracts.canonical import content_text_postgres
from contracts.errors import ContractError
from contracts.loader import load_stream
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.drafts.name import column_names
from headrace.drafts.tables import draft_tables

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.orders
version: 1.0.0
status: active
customProperties:
  - {{property: headrace.{source}}}
schema:
  - name: orders
    properties:
      - name: order_id
        physicalType: bigint
        primaryKey: true
        required: true
        customProperties: [{{property: headrace.field, value: orderId}}]
      - name: unit_price
        physicalType: decimal(10,2)
        customProperties: [{{property: headrace.field, value: '{field}'}}]
"""
STREAM = Stream(
    "shop",
    "orders",
    "shop.public.Orders",
    TableSource("public", "Orders"),
    (
        Column("order_id", "bigint", required=True, field="orderId"),
        Column("unit_price", "decimal(10,2)", field='Unit: "price", x;'),
        Column("note", "string"),
    ),
    ("order_id", "unit_price"),
    file=Path("orders.yaml"),
)
PRICE = 'Unit: "price", x;'


def load(folder: Path, source: str = "table, value: public.Orders", field: str = "Unit Price") -> Stream:
    file = folder / "orders.yaml"
    file.write_text(CONTRACT.format(source=source, field=field))
    return load_stream(file, "shop")


@pytest.mark.parametrize("system", ["", "}\n  - {property: headrace.source, value: mariadb"])
def test_a_contract_says_what_its_table_calls_a_column(tmp_path: Path, system: str) -> None:
    stream = load(tmp_path, f"table, value: public.Orders{system}")
    assert [(column.name, column.source_name) for column in stream.columns] == [
        ("order_id", "orderId"),
        ("unit_price", "Unit Price"),
    ]
    assert stream.key == ("order_id",)
    assert ([column.name for column in stream.at_source.columns], stream.at_source.key) == (
        ["orderId", "Unit Price"],
        ("orderId",),
    )
    assert stream.at_source.at_source == stream.at_source


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"field": "orderId"}, "two columns are the field `orderId`"),
        (
            {"source": "filePattern, value: 'a[.]csv'}\n  - {property: headrace.fileFormat, value: csv"},
            "only tables and documents have one",
        ),
    ],
)
def test_a_contract_whose_names_cannot_be_is_refused(tmp_path: Path, changed: dict[str, str], told: str) -> None:
    with pytest.raises(ContractError, match=told):
        load(tmp_path, **changed)


def found(name: str, kind: str, key: int = 0) -> SourceColumn:
    return SourceColumn(name, kind, "b", bool(key), key, virtual=False, unsent="", description="")


def table(name: str, *columns: SourceColumn, **more: object) -> SourceTable:
    made = SourceTable("public", name, "r", is_partition=False, identity="d", description="", columns=columns)
    return replace(made, **more)  # type: ignore[arg-type]


def test_the_connector_is_told_the_keys_that_the_table_has() -> None:
    """Debezium takes them for regular expressions, and the list ends or goes on at blanks, `:`, `,` and `;`."""
    part = Pipeline("shop", (STREAM,), Path(), Path(), Path())
    listed = message_keys(part, [table("Orders", found("orderId", "bigint", 1), primary=("orderId",))])
    name, _, keys = listed.partition(":")
    assert name == r"public\.Orders"
    first, second = keys.split(",")
    assert first == "orderId"
    assert not re.search(r"[\s:,;]", second)
    # Java's \x{…} is \x.. in Python.
    expression = re.sub(r"\\x\{(..)\}", r"\\x\1", second)
    assert re.fullmatch(expression, PRICE)
    assert not re.fullmatch(expression, PRICE.replace('"', "."))
    # The table's own key needs no word.
    assert message_keys(part, [table("Orders", primary=("orderId", PRICE))]) == ""


def test_what_is_to_be_typed_names_the_columns_as_the_source_does() -> None:
    columns = (found("orderId", "bigint"), found(PRICE, "numeric"), found("note", "text"))
    (refused,) = check_key(STREAM.at_source, table("Orders", *columns))
    assert 'ALTER COLUMN "orderId" SET NOT NULL;' in refused.fix
    assert 'CREATE UNIQUE INDEX CONCURRENTLY ON public."Orders" ("orderId", "Unit: ""price"", x;");' in refused.fix
    text = content_text_postgres(STREAM.at_source.columns)
    assert '"orderId"' in text
    assert '"Unit: ""price"", x;"' in text


def catalog(*names: str) -> CatalogTable:
    columns = {
        name: CatalogColumn(name, "text", "text", False, False, in_key=name == names[0], in_identity=False)
        for name in names
    }
    return CatalogTable("public.Orders", "d", columns)


def test_the_table_is_compared_by_its_own_names() -> None:
    stream = replace(
        STREAM,
        key=("order_id",),
        columns=(Column("order_id", "string", field="orderId"), Column("note", "string")),
    )
    assert compare(stream.at_source, catalog("orderId", "note")) == []
    (undeclared,) = compare(stream.at_source, catalog("orderId", "note", "order_id"))
    assert (undeclared.level, undeclared.column) == ("warning", "order_id")
    assert "headrace.field" not in undeclared.fix
    (undeclared,) = compare(stream.at_source, catalog("orderId", "note", "Order No"))
    assert "headrace.field: Order No" in undeclared.fix
    (missing,) = [one for one in compare(stream.at_source, catalog("order_id", "note")) if "not in" in one.what]
    assert (missing.column, missing.level) == ("orderId", "refusal")
    assert "headrace.field" in missing.fix
    (alike,) = [one for one in compare(stream.at_source, catalog("orderId", "note", "Note")) if "case" in one.what]
    assert (alike.level, alike.column) == ("refusal", "note, Note")
    assert 'RENAME COLUMN "Note" TO' in alike.fix


def test_names_are_made_of_words_each_once() -> None:
    made = column_names(
        ["customerId", "Order No", "customer_id", "CustomerID", "HTTPServer2Go", "_id", "2fa", "Größe", "名", "$", "ok"]
    )
    assert made == {
        "customer_id": "customer_id",
        "ok": "ok",
        "customerId": "customer_id_2",
        "Order No": "order_no",
        "CustomerID": "customer_id_3",
        "HTTPServer2Go": "http_server2_go",
        "_id": "id",
        "2fa": "column_2fa",
        "Größe": "groe",
        "名": "column",
        "$": "column_2",
    }


def test_a_drafted_contract_has_names_of_its_own_and_says_those_of_the_table(tmp_path: Path) -> None:
    people = table("Person", found("personId", "bigint", 1), found("fullName", "text"), found("emailAddress", "text"))
    key = ForeignKey(("Owner Id",), "public", "Person", ("personId",))
    pets = table("Pet", found("Pet: #", "bigint", 1), found("Owner Id", "bigint"), foreign_keys=(key,))
    drafts, refused = draft_tables([people, pets], "shop", {"column.exclude.list": r"public\.Person\.fullName"})
    assert refused == []
    file = tmp_path / "pet.yaml"
    file.write_text(drafts["public.Pet"].text)
    pet = load_stream(file, "shop")
    assert [(column.name, column.field) for column in pet.columns] == [("pet", "Pet: #"), ("owner_id", "Owner Id")]
    assert pet.key == ("pet",)
    assert "from: pet.owner_id\n        to: person.person_id\n" in drafts["public.Pet"].text
    person = drafts["public.Person"].text
    assert "# - fullName is left out: the connector excludes it" in person
    assert "classification: pii  # guess: its name is that of an e-mail address" in person

    (alike,) = draft_tables([table("Pet", found("id", "bigint", 1), found("ID", "bigint"))], "shop")[1]
    assert "Debezium takes them for one" in alike.why
    assert alike.fix == 'ALTER TABLE public."Pet" RENAME COLUMN "ID" TO …;'


def test_no_name_or_comment_of_the_source_writes_a_line_of_its_contract(tmp_path: Path) -> None:
    evil = "x\nstatus: retired #"
    odd = table(
        "Pet",
        found("id", "bigint", 1),
        replace(found(evil, f'"{evil}"'), kind="c"),
        found(f"{evil}2", "time without time zone"),
        replace(found("\x01\u2028\x85", "text"), description="two\n---\nlines\t"),
    )
    drafts, refused = draft_tables([replace(odd, description="a\r\n...\nb")], "shop")
    assert refused == []
    text = drafts["public.Pet"].text
    assert [line for line in text.splitlines() if line.lstrip().startswith("status")] == ["status: draft"]
    file = tmp_path / "pet.yaml"
    file.write_text(text, encoding="utf-8")
    pet = load_stream(file, "shop")
    assert [column.source_name for column in pet.columns] == ["id", f"{evil}2", "\x01\u2028\x85"]
    assert (pet.description, pet.columns[2].description) == ("a\r\n...\nb", "two\n---\nlines")
