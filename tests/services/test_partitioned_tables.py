"""A partitioned table is one stream: rows of every partition, and every change of them, come as the table's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.plan import apply
from connectors.postgres import source
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Pipeline
from tests.services.test_connectors_plan import Shop, remove_shop

COLUMNS = (Column("id", "bigint", required=True), Column("day", "date", required=True), Column("note", "string"))
DDL = """
create table visits (id bigint, day date, note text, primary key (id, day)) partition by range (day);
create table visits_1 partition of visits for values from ('2026-01-01') to ('2026-02-01');
create table visits_2 partition of visits for values from ('2026-02-01') to ('2026-03-01');
insert into visits values (1, '2026-01-05', 'a'), (2, '2026-02-05', 'b');
"""


@pytest.fixture
def shop(endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> Iterator[Shop]:
    name = f"parts_{uuid4().hex[:8]}"
    shop = Shop(Pipeline(name, (), tmp_path, tmp_path, tmp_path), endpoints, deployment)
    with source.connected(endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {name}")
    shop.run(DDL)
    stream = replace(shop.stream("visits", COLUMNS), key=("id", "day"))
    shop = replace(shop, pipeline=shop.with_streams(stream))
    yield shop
    remove_shop(shop)


def test_rows_and_changes_of_all_partitions_come_as_the_tables(shop: Shop) -> None:
    shop.run("alter table visits replica identity full")
    text = "\n".join(shop.plan().refusals)
    assert f"ALTER TABLE {shop.schema}.visits_1 REPLICA IDENTITY FULL;" in text
    assert f"ALTER TABLE {shop.schema}.visits_2 REPLICA IDENTITY FULL;" in text
    shop.run("alter table visits_1 replica identity full; alter table visits_2 replica identity full")
    planned = shop.plan()
    assert planned.refusals == []
    apply(planned)
    shop.run(
        """
        create table visits_3 partition of visits for values from ('2026-03-01') to ('2026-04-01');
        insert into visits values (3, '2026-03-05', 'c');
        update visits set note = 'd' where id = 1;
        update visits set day = '2026-02-06' where id = 1;
        delete from visits where id = 2;
        """
    )
    told = [
        (change["op"], (change["before"] or {}).get("day"), (change["after"] or {}).get("day"))
        for change, _ in shop.changes("visits")
    ]
    assert sorted(told[:2]) == [("r", None, "2026-01-05Z"), ("r", None, "2026-02-05Z")]
    assert told[2:] == [
        ("c", None, "2026-03-05Z"),
        ("u", "2026-01-05Z", "2026-01-05Z"),
        ("d", "2026-01-05Z", None),
        ("c", None, "2026-02-06Z"),
        ("d", "2026-02-05Z", None),
    ]


def test_days_before_christ_are_refused_before_they_are_read(shop: Shop) -> None:
    shop.run(
        "create table visits_0 partition of visits for values from (minvalue) to ('2026-01-01');"
        "insert into visits values (9, '0044-03-15 BC', 'e')"
    )
    (refused,) = shop.plan().refusals
    assert f"{shop.schema}.visits.day: there are dates BC, which a first read sends as the same days AD" in refused
    shop.run("delete from visits where id = 9; insert into visits values (10, '-infinity', 'f')")
    assert shop.plan().refusals == []
