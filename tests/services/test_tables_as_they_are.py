"""Tables that are not as one would draw them (computed columns, odd names, no primary key): from the contracts that
`init` drafts to the lake, which is the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg2 import errors
from pydantic import SecretStr
from pyspark.sql import SparkSession

from connectors.postgres import marker
from connectors.reads.reread import read_again
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.settings import Settings
from contracts.stream import Column, Stream, TableSource
from tests.services.drafted_lake import DraftedLake

COMPUTED = """
create table line (id bigint primary key, price numeric(10,2), pieces int,
                   total numeric(12,2) generated always as (price * pieces) stored,
                   label text generated always as ('no ' || id || repeat('.', 3000)) stored);
create table line_full (id bigint primary key, price numeric(10,2),
                        twice numeric(12,2) generated always as (price * 2) stored);
alter table line_full replica identity full;
alter table line alter column label set storage external;
insert into line (id, price, pieces) values (1, 1.50, 2), (2, 2.50, null), (3, 3, 3), (9, 9, 9);
insert into line_full (id, price) values (1, 1.50), (2, null), (3, 3), (9, 9);
"""
COMPUTED_CHANGES = """
insert into line (id, price, pieces) values (4, 4, 4), (5, 5, 5);
update line set pieces = 10 where id in (1, 4);
update line set id = 30 where id = 3;
delete from line where id = 2;
insert into line_full (id, price) values (4, 4);
update line_full set price = 10 where id in (1, 2);
update line_full set id = 30 where id = 3;
delete from line_full where id = 4;
"""
WHEN_READ = """
create table when_read (id int primary key, n int, doubled int generated always as (n * 2) virtual);
insert into when_read (id, n) values (1, 1), (2, 2);
"""
WHEN_READ_CHANGES = "insert into when_read (id, n) values (3, 3); update when_read set n = 10 where id = 1;"
NAMES = """
create table "order" ("select" int, "from" text, "table" int, primary key ("from", "select"));
create table "MixedCase" (id int primary key, "end" timestamptz, "user" text not null);
insert into "order" values (1, 'a', 1), (2, 'a', 2), (1, 'b', 3), (8, 'C', 8);
insert into "MixedCase" values (1, '2026-01-02 03:04:05.678901+02', 'Ada'), (2, null, ''), (9, now(), 'Kim');
"""
NAMES_CHANGES = """
insert into "order" values (9, 'c', 4); update "order" set "table" = 20 where "select" = 2;
update "order" set "from" = 'B' where "from" = 'b'; delete from "order" where "from" = 'a' and "select" = 1;
insert into "MixedCase" values (3, now(), 'Eve'); update "MixedCase" set "end" = now() where id = 2;
delete from "MixedCase" where id = 1;
"""
NO_PRIMARY_KEY = """
create table pass (code text not null, gate int not null, note text, seen text);
alter table pass replica identity full;
insert into pass select 'c' || n, n, repeat(md5(n::text), 400), 'once' from generate_series(1, 4) n;
"""
UNIQUE = "create unique index pass_once on pass (gate, code) include (seen);"
NO_PRIMARY_KEY_CHANGES = """
insert into pass values ('c5', 5, null, null); update pass set seen = 'twice' where gate = 1;
update pass set gate = 20 where code = 'c2'; delete from pass where code = 'c3';
"""
CAMEL = """
create table "Customer" ("customerId" int primary key, "unitPrice" numeric(10,2), "Order No" text, unit_price int,
                         "longNote" text, "aScan" bytea);
alter table "Customer" alter column "longNote" set storage external, alter column "aScan" set storage external;
insert into "Customer"
    select n, n + 0.5, 'no ' || n, -n, repeat('long ', 1000) || n, decode(repeat(md5(n::text), 200), 'hex')
    from generate_series(1, 9) n;
"""
CAMEL_BADGES = """
create table "OddBadge" ("Badge No" int not null unique, "holder's" text, "ownId" int primary key);
alter table "OddBadge" replica identity full;
insert into "OddBadge" select n, 'h' || n, -n from generate_series(1, 4) n;
"""
CAMEL_CHANGES = """
insert into "Customer" values (10, 10, null, null, repeat('new ', 2000), null);
update "Customer" set "unitPrice" = 20.25 where "customerId" in (1, 10);
update "Customer" set "customerId" = 200, "Order No" = 'moved' where "customerId" = 2;
update "Customer" set "longNote" = null where "customerId" = 3;
delete from "Customer" where "customerId" = 4;
update "OddBadge" set "Badge No" = 10 where "Badge No" = 1;
update "OddBadge" set "holder's" = null where "Badge No" = 2;
delete from "OddBadge" where "Badge No" = 3;
"""
HEAVY = """
create function pages(mb int) returns text language sql volatile as
  $$ select string_agg(md5(random()::text), '') from generate_series(1, mb * 32768) $$;
create table heavy (id int primary key, note text, scan bytea, doc jsonb);
insert into heavy values (1, pages(5), null, null), (2, '', decode(pages(5), 'hex'), null), (9, pages(5), null, null);
"""
HEAVY_CHANGES = """
insert into heavy values (3, null, null, jsonb_build_object('pages', pages(5)));
update heavy set scan = '' where id = 1;
update heavy set note = pages(5), scan = decode(pages(5), 'hex') where id = 2;
"""
BADGES = """
create table badge (id int primary key, code text not null unique, owner text);
alter table badge replica identity full;
insert into badge values (1, 'x1', 'Ada'), (2, 'x2', 'Eve'), (3, 'x3', 'Bob'), (9, 'x9', 'Kim');
"""
BADGES_CHANGES = """
update badge set code = 'x10' where id = 1; update badge set code = 'x1', owner = null where id = 2;
update badge set id = 30 where id = 3; delete from badge where id = 2;
"""


def badges(lake: DraftedLake) -> Stream:
    """The stream of a table by another key than its primary key."""
    columns = (Column("id", "int"), Column("code", "string", required=True), Column("owner", "string"))
    table = TableSource(lake.name, "badge")
    return Stream(lake.name, "badge", f"{lake.name}.{table.qualified}", table, columns, ("code",))


def odd_badges(lake: DraftedLake) -> Stream:
    """By another key than the primary key, of a name in which the list of keys would end."""
    columns = (
        Column("badge_no", "int", required=True, field="Badge No"),
        Column("holder", "string", field="holder's"),
        Column("own_id", "int", field="ownId"),
    )
    table = TableSource(lake.name, "OddBadge")
    return Stream(lake.name, "odd_badge", f"{lake.name}.{table.qualified}", table, columns, ("badge_no",))


def passes(lake: DraftedLake) -> Stream:
    """The stream of a table without a primary key, of which `init` makes none."""
    columns = (
        Column("code", "string", required=True),
        Column("gate", "int", required=True),
        Column("note", "string"),
        Column("seen", "string"),
    )
    table = TableSource(lake.name, "pass")
    return Stream(lake.name, "pass", f"{lake.name}.{table.qualified}", table, columns, ("gate", "code"))


@pytest.fixture
def lake(spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> Iterator[DraftedLake]:
    lake = DraftedLake(spark, endpoints, deployment, tmp_path)
    yield lake
    lake.drop()


@pytest.fixture
def old_lake(
    spark: SparkSession, endpoints: Endpoints, contrib_owner: PostgresEndpoint, deployment: Settings, tmp_path: Path
) -> Iterator[DraftedLake]:
    """Of a server that publishes no generated column: Postgres before 18."""
    replicator = replace(contrib_owner, user="replicator", password=SecretStr("theirs"))
    lake = DraftedLake(spark, replace(endpoints, source=contrib_owner, replicator=replicator), deployment, tmp_path)
    yield lake
    lake.drop()


def test_computed_columns_odd_names_and_keys_that_are_no_primary_keys_reach_the_lake(lake: DraftedLake) -> None:
    lake.ask(f"create schema {lake.name}")
    lake.ask(COMPUTED + WHEN_READ + NAMES + CAMEL + HEAVY + NO_PRIMARY_KEY + UNIQUE)
    assert [refused.table for refused in lake.draft()] == [f"{lake.name}.pass"]
    lake.ask(BADGES + CAMEL_BADGES)
    lake.declare(passes(lake), badges(lake), odd_badges(lake))
    columns = {stream.name: [column.name for column in stream.columns] for stream in lake.pipeline.streams}
    assert columns["line"] == ["id", "price", "pieces", "total", "label"]
    assert columns["when_read"] == ["id", "n"]
    assert columns["customer"] == ["customer_id", "unit_price_2", "order_no", "unit_price", "long_note", "a_scan"]
    lake.apply()
    marker.quiesced(lake.pipeline, lake.endpoints, timeout_s=120)  # so what follows are changes
    assert lake.plan().changes == []

    # One row of each table stays as the first read sent it.
    lake.ask(COMPUTED_CHANGES + WHEN_READ_CHANGES + NAMES_CHANGES + CAMEL_CHANGES + HEAVY_CHANGES)
    lake.ask(NO_PRIMARY_KEY_CHANGES + BADGES_CHANGES)
    part = f"{lake.name}.Customer"
    # In the source's words, as it is the source that understands them.
    assert read_again(lake.endpoints, lake.pipeline, part, '"customerId" > 100 and "Order No" = \'moved\'').rows == 1
    lake.ask('update "Customer" set "Order No" = \'again\' where "customerId" in (5, 200)')
    lake.take_in()
    source = lake.source()
    assert lake.lake() == source
    assert {name: len(rows) for name, rows in source.items()} == {
        "line": 5,
        "line_full": 4,
        "when_read": 3,
        "order": 4,
        "mixedcase": 3,
        "customer": 9,
        "odd_badge": 3,
        "heavy": 4,
        "pass": 4,
        "badge": 3,
    }


def test_before_postgres_18_a_computed_column_is_left_out_of_contracts_and_first_reads(old_lake: DraftedLake) -> None:
    lake = old_lake
    lake.ask(f"create schema {lake.name}")
    if int(lake.ask("show server_version_num")[0][0]) >= 180_000:
        pytest.skip("this machine's packages have no Postgres before 18")
    lake.ask(COMPUTED)
    lake.draft()
    written = lake.folder / "contracts" / "line.yaml"
    assert "# - total (numeric(12,2)) is left out: it is computed, and Postgres before 18" in written.read_text()
    lake.apply()
    lake.ask(COMPUTED_CHANGES)
    lake.take_in()
    source = lake.source()
    assert lake.lake() == source
    assert {name: len(rows) for name, rows in source.items()} == {"line": 5, "line_full": 4}

    line = lake.pipeline.stream("line")
    total = Column("total", "decimal(12,2)", source_type="numeric(12,2)")
    declared = replace(lake.pipeline, streams=(replace(line, columns=(*line.columns, total)),))
    (refused,) = lake.plan(declared).refusals
    assert f"{lake.name}.line.total: it is computed, and Postgres before 18" in refused
    assert f"{line.file}: remove it" in refused


def test_a_table_whose_changes_postgres_would_refuse_once_it_is_published_is_refused(lake: DraftedLake) -> None:
    """So that nobody's UPDATE fails at the source because of us."""
    lake.ask(f"create schema {lake.name}")
    lake.ask(WHEN_READ)
    lake.draft()
    lake.ask("alter table when_read replica identity full")
    (refused,) = lake.plan().refusals
    assert f"ALTER TABLE {lake.name}.when_read REPLICA IDENTITY DEFAULT;" in refused
    lake.ask("create publication proof_of_it for table when_read")
    with pytest.raises(errors.InvalidColumnReference, match="cannot update table"):
        lake.ask("update when_read set n = 3")
    lake.ask("drop publication proof_of_it; alter table when_read replica identity default")
    assert lake.plan().refusals == []


def test_a_key_that_no_unique_index_holds_is_refused(lake: DraftedLake) -> None:
    """Two rows of one key would be one row in the lake."""
    lake.ask(f"create schema {lake.name}")
    lake.ask(NO_PRIMARY_KEY)
    lake.declare(passes(lake))
    lake.ask("insert into pass values ('c1', 1, 'again', null)")
    for index in (
        "create index no_index on pass (gate, code)",
        "create unique index of_a_part on pass (gate, code) where note = 'again'",
        "create unique index of_more on pass (gate, code, note)",
        "create unique index of_an_expression on pass (gate, code, upper(note))",
    ):
        lake.ask(index)
    (refused,) = lake.plan().refusals
    assert "two rows of one key would be one in the lake" in refused
    assert f'CREATE UNIQUE INDEX CONCURRENTLY ON {lake.name}.pass ("gate", "code");' in refused
    lake.ask("delete from pass where note = 'again'; alter table pass add constraint later unique (code) deferrable")
    (refused,) = lake.plan().refusals
    assert "a deferrable constraint does not count" in refused
    lake.ask("create unique index enough on pass (code)")
    assert lake.plan().refusals == []

    lake.ask("alter table pass alter column code drop not null")
    (refused,) = lake.plan().refusals
    assert f'ALTER TABLE {lake.name}.pass ALTER COLUMN "code" SET NOT NULL;' in refused
    assert "NULL" in refused


def test_a_row_that_kafka_would_not_take_is_refused_before_the_first_read(lake: DraftedLake) -> None:
    lake.ask(f"create schema {lake.name}")
    lake.ask(HEAVY)
    lake.draft()
    assert lake.plan().refusals == []
    lake.ask("insert into heavy values (4, pages(25), null, null)")
    (refused,) = lake.plan().refusals
    assert f"{lake.name}.heavy: the largest row has 26 MB" in refused
    lake.ask("update heavy set note = null, scan = decode(pages(32), 'hex') where id = 4")  # as base64 a third more
    (refused,) = lake.plan().refusals
    assert "the largest row has 22 MB" in refused
    lake.ask("update heavy set scan = decode(pages(22), 'hex') where id = 4")
    assert lake.plan().refusals == []
    lake.ask("alter table heavy replica identity full")
    (refused,) = lake.plan().refusals
    assert "an update holds the row twice" in refused
