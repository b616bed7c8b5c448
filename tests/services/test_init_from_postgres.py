"""Contracts from a real catalog: `plan` accepts what `init` writes; what has no contract says why and what to type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from connectors.postgres import source
from connectors.postgres.plan import plan
from contracts.endpoints import Endpoints
from contracts.loader import load_pipeline
from contracts.settings import PostgresSettings, Settings
from contracts.stream import Column
from headrace.app import App
from headrace.commands.init import init

DDL = """
create type mood as enum ('sad', 'ok');
create domain price as numeric(10,2);
create type pair as (a int, b int);
create table customer (id bigint generated always as identity primary key, email varchar(80) not null, mood mood,
                       doubled bigint generated always as (id * 2) virtual);
comment on table customer is 'Who buys: "all" of them';
comment on column customer.email is 'where to write to';
create table "order" ("select" int, "from" uuid, customer_id bigint references customer, price price, place pair,
                      at time, tags text[], note jsonb, primary key ("from", "select"));
alter table "order" replica identity full;
create table visit (day date, id int, primary key (id, day)) partition by range (day);
create table visit_2026 partition of visit for values from ('2026-01-01') to ('2027-01-01');
create table log (line text);
create table once (code text not null unique);
create table by_index (code text not null unique, label text);
alter table by_index replica identity using index by_index_code_key;
create table camel ("customerId" int primary key, "fullName" text, full_name text, "Order No" int unique);
create table camel_line ("lineNo" int primary key, "customerId" int references camel);
create table alike (id int primary key, "ID" int);
create table "odd name" (id int primary key);
create table "MixedCase" (id int primary key);
create table bits (id int primary key, flags bit varying);
create table floating (id real primary key);
create view everybody as select * from customer;
create unlogged table passing (id int primary key);
create table lines (id int primary key, tags text[]);
create table deferred (id int primary key deferrable);
create table files (id int primary key);
create table "x
status: retired" (id int primary key);
"""
MADE = {"customer", "order", "visit", "by_index", "MixedCase", "camel", "camel_line"}
# Written, and what `plan` will want first.
AHEAD = {
    "passing": ("the table is unlogged", "SET LOGGED;"),
    "lines": ("lines.tags: an unchanged large value", "REPLICA IDENTITY FULL;"),
    "deferred": ("no unique index", "CREATE UNIQUE INDEX"),
}
REFUSED = {
    "log": ("no primary key", "ADD PRIMARY KEY"),
    "once": ("no primary key", 'REPLICA IDENTITY USING INDEX "once_code_key";'),
    "alike": ("upper and lower case", 'RENAME COLUMN "ID" TO'),
    "odd name": ("Kafka has no topic", '"odd name" RENAME TO'),
    "bits": ("without how many there are", "column.exclude.list"),
    "floating": ("do not print alike", "a key of integers"),
    "files": ("may not name a stream", "by hand, under another name"),
    "x\nstatus: retired": ("Kafka has no topic", "RENAME TO"),
}


class Shop:
    def __init__(self, schema: str, endpoints: Endpoints, deployment: Settings, folder: Path) -> None:
        self.schema, self.endpoints, self.folder = schema, endpoints, folder
        owner = endpoints.source
        self.settings = Settings(
            pipeline=schema,
            pipeline_dir=folder,
            data_dir=deployment.data_dir,
            source=PostgresSettings(
                host=owner.host, port=owner.port, database=owner.database, user=owner.user, password=owner.password
            ),
        )
        self.app = App(self.settings)
        self.app.endpoints = endpoints

    def init(self, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(init, ["--from-postgres", *arguments], obj=self.app, env=environment)

    def run(self, statements: str) -> None:
        with source.connected(self.endpoints.source, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"set search_path = {self.schema}; {statements}")


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(f"init_{uuid4().hex[:8]}", endpoints, deployment, tmp_path_factory.mktemp("init"))
    shop.run(f"create schema {shop.schema}; {DDL}")
    yield shop
    shop.run(f"drop schema {shop.schema} cascade")


@pytest.fixture(scope="module")
def rows(shop: Shop) -> dict[str, dict[str, str]]:
    """What `init` said of each table of the schema; the contracts are written."""
    done = shop.init("--schema", shop.schema, "--json")
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == 1, (done.output, done.exception)  # some are refused
    return {row["table"].removeprefix(f"{shop.schema}."): row for row in json.loads(done.stdout)}


def test_what_has_a_contract_is_written_and_the_rest_is_refused_with_what_to_type(
    rows: dict[str, dict[str, str]],
) -> None:
    assert {name for name, row in rows.items() if row["contract"] == "written"} == {*MADE, *AHEAD}
    assert {name for name, row in rows.items() if "`plan` will refuse it" in row["why"]} == {*AHEAD}
    assert {name for name, row in rows.items() if row["contract"] == "refused"} == set(REFUSED)
    for name, (why, fix) in {**REFUSED, **AHEAD}.items():
        assert why in rows[name]["why"], name
        assert fix in rows[name]["fix"], name


def test_a_contract_says_what_the_catalog_says(shop: Shop, rows: dict[str, dict[str, str]]) -> None:
    assert rows["customer"]["file"] == str(shop.folder / "contracts" / "customer.yaml")
    pipeline = load_pipeline(shop.schema, shop.folder)
    customer, order = pipeline.stream("customer"), pipeline.stream("order")
    assert customer.description == 'Who buys: "all" of them'
    assert customer.columns == (
        Column("id", "bigint", required=True, source_type="bigint"),
        Column(
            "email",
            "string",
            required=True,
            source_type="character varying(80)",
            pii=True,
            description="where to write to",
        ),
        Column("mood", "string", source_type=f"{shop.schema}.mood"),
    )
    assert order.key == ("from", "select")
    assert [(c.name, c.spark_type, c.source_type, c.lossy) for c in order.columns[2:]] == [
        ("customer_id", "bigint", "bigint", False),
        ("price", "decimal(10,2)", "numeric(10,2)", False),
        ("at", "string", "time without time zone", True),
        ("tags", "array<string>", "text[]", False),
        ("note", "string", "jsonb", False),
    ]
    assert pipeline.stream("mixedcase").topic == f"{shop.schema}.{shop.schema}.MixedCase"
    assert pipeline.stream("by_index").key == ("code",)
    camel = pipeline.stream("camel")
    assert camel.key == ("customer_id",)
    assert {column.name: column.field for column in camel.columns} == {
        "customer_id": "customerId",
        "full_name_2": "fullName",
        "full_name": "",
        "order_no": "Order No",
    }
    line = pipeline.stream("camel_line").file.read_text()
    assert "from: camel_line.customer_id\n        to: camel.customer_id\n" in line
    text = order.file.read_text()
    assert "from: order.customer_id\n        to: customer.id\n" in text
    assert f"# - place ({shop.schema}.pair) is left out: Debezium sends nothing for a composite type" in text
    assert "# - at (time without time zone): 24:00 arrives as 00:00" in text
    assert "classification: pii  # guess: its name is that of an e-mail address" in customer.file.read_text()
    assert "# - doubled (bigint) is left out: it is computed when it is read" in customer.file.read_text()


def test_plan_accepts_the_contracts_and_refuses_what_they_must_not_say(
    shop: Shop, rows: dict[str, dict[str, str]]
) -> None:
    pipeline = load_pipeline(shop.schema, shop.folder)
    planned = plan(pipeline, shop.endpoints, shop.settings)
    assert {text.partition(":")[0].split(".")[1] for text in planned.refusals} == {*AHEAD}
    for name in AHEAD:
        pipeline.stream(name).file.unlink()
    pipeline = load_pipeline(shop.schema, shop.folder)
    planned = plan(pipeline, shop.endpoints, shop.settings)
    assert planned.refusals == []
    assert [text for text in planned.warnings if ".camel" in text] == []
    order = pipeline.stream("order").file
    written = order.read_text()
    try:
        order.write_text(written.replace("value: true}", "value: false}"))
        (refused,) = plan(load_pipeline(shop.schema, shop.folder), shop.endpoints, shop.settings).refusals
        assert f"{shop.schema}.order.at: 24:00 arrives as 00:00" in refused
        assert "headrace.lossy: true" in refused
    finally:
        order.write_text(written)


def test_what_is_there_stays_unless_it_is_forced(shop: Shop, rows: dict[str, dict[str, str]], tmp_path: Path) -> None:
    ours = tmp_path / "customer.yaml"
    ours.write_text("ours")
    arguments = ["--tables", f"{shop.schema}.customer", "--out", str(tmp_path)]
    kept = shop.init(*arguments)
    assert kept.exit_code == 0
    assert "kept" in kept.stdout
    assert ours.read_text() == "ours"
    shown = shop.init(*arguments, "--dry-run")
    assert ours.read_text() == "ours"
    assert shop.init(*arguments, "--force").exit_code == 0
    assert ours.read_text() == shown.stdout


def test_another_database_is_named_by_a_url_and_its_password_never_is(shop: Shop, tmp_path: Path) -> None:
    owner, table = shop.endpoints.source, f"{shop.schema}.customer"
    url = f"postgresql://{owner.user}@{owner.host}:{owner.port}/{owner.database}"
    secret = owner.password.get_secret_value()
    out = ["--out", str(tmp_path), "--tables", table]
    written = shop.init("--url", url, *out, PGPASSWORD=secret)
    assert written.exit_code == 0, written.output
    assert (tmp_path / "customer.yaml").exists()
    refused = shop.init("--url", url.replace("@", f":{secret}@"), *out)
    assert "--url holds a password" in str(refused.exception)
    assert secret not in str(refused.exception) + refused.output


def test_a_name_that_is_no_table_is_refused_before_anything_is_written(shop: Shop, tmp_path: Path) -> None:
    tables = ",".join(f"{shop.schema}.{name}" for name in ("customer", "costumer"))
    refused = shop.init("--tables", tables, "--out", str(tmp_path / "new"))
    assert f"{shop.schema}.costumer names no table" in str(refused.exception)
    assert not (tmp_path / "new").exists()
    everybody = shop.init("--tables", f"{shop.schema}.everybody,{shop.schema}.visit_2026", "--json")
    assert [row["why"][:9] for row in json.loads(everybody.stdout)] == ["it is a v", "it is a p"]


def test_a_contract_never_takes_the_place_of_another_tables(shop: Shop, tmp_path: Path) -> None:
    shop.run(f"create schema {shop.schema}_b; create table {shop.schema}_b.customer (id int primary key)")
    try:
        out = ["--out", str(tmp_path), "--json", "--force"]
        assert shop.init("--tables", f"{shop.schema}.customer", *out).exit_code == 0
        file = tmp_path / "customer.yaml"
        written = file.read_text()
        other = shop.init("--tables", f"{shop.schema}_b.customer", *out)
        assert other.exit_code == 1
        (row,) = json.loads(other.stdout)
        assert (row["contract"], row["why"]) == ("refused", f"{file} is the contract of {shop.schema}.customer")
        assert file.read_text() == written
        ours = file.rename(tmp_path / "buyers.yaml")
        (row,) = json.loads(shop.init("--tables", f"{shop.schema}.customer", *out).stdout)
        assert (row["contract"], row["file"]) == ("kept", str(ours))
        assert not file.exists()
    finally:
        shop.run(f"drop schema {shop.schema}_b cascade")


def test_a_folder_that_cannot_be_written_is_no_contract_of_any_table(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = ["--out", str(tmp_path / "file" / "contracts")]
    refused = shop.init("--tables", f"{shop.schema}.customer", *out, "--json")
    assert refused.exit_code == 1, refused.exception
    (row,) = json.loads(refused.stdout)
    assert row["contract"] == "refused"
    assert "cannot be written: Not a directory" in row["why"]
