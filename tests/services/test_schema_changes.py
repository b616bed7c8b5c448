"""The source changes its tables while data flow, through the real Debezium: what becomes of every row is what the
contract's policy says, and none is lost between the change and whoever reacts to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from pyspark.sql import SparkSession

from connectors.plan import Plan, apply
from connectors.postgres import marker, source
from connectors.postgres.plan import plan
from connectors.reads import snapshots
from connectors.removal import remove
from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.settings import Settings
from contracts.stream import Column, Evolution, Pipeline, Stream, TableSource
from headrace.app import App
from headrace.evolution import definitions, source_changes, table_changes
from headrace.proof import source_equals_lake
from streaming_jobs.counts import Counts
from streaming_jobs.ingest import Kind, ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import create_views, merge_state
from streaming_jobs.stopping import FieldsChanged, TableChanges
from streaming_jobs.tables import create_tables
from tests.services.at_once import at_once

COLUMNS = (
    Column("id", "bigint", required=True, source_type="bigint"),
    Column("price", "decimal(5,2)", source_type="numeric(5,2)"),
    Column("note", "string", source_type="text"),
    Column("size", "int", source_type="integer"),
)
TABLE = (
    "create table {0} (id bigint primary key, price numeric(5,2), note text not null default 'n', size int default 9)"
)
# After each change rows come at once: nobody has reacted yet.
CHANGES = """
    insert into {0} values (1, 1.00, 'a', 1), (2, 2.00, 'b', null);
    alter table {0} drop column size;
    insert into {0} values (3, 3.00, 'c');
    alter table {0} rename column note to remark;
    insert into {0} values (4, 4.00, 'd');
    alter table {0} add column discount numeric(5,3) default 0.5;
    insert into {0} values (5, 5.00, 'e', 1.250);
    alter table {0} alter column price type numeric(12,2);
    insert into {0} values (6, 6.00, 'f', null), (7, 12345678.90, 'g', null);
    alter table {0} alter column price type text using price::text;
    insert into {0} values (8, '8.00', 'h', null), (9, 'cheap', 'i', null);
    update {0} set remark = 'A' where id = 1;
    delete from {0} where id = 2;
"""
# What is there afterwards but for two prices that are none any more, and one that got too large.
ARRIVED = {
    1: ("1.00", None, {"remark": "A", "discount": "0.500"}),
    3: ("3.00", "c", None),
    4: ("4.00", None, {"remark": "d"}),
    5: ("5.00", None, {"remark": "e", "discount": "1.250"}),
    6: ("6.00", None, {"remark": "f", "discount": None}),
    8: ("8.00", None, {"remark": "h", "discount": None}),
}
MEANWHILE: dict[Evolution, tuple[str, str]] = {  # of a row without a column, and of a row with one more
    "evolve": ("it is NULL in new rows", "its values are kept in `_rescued`"),
    "quarantine": (
        "rows without it are refused as missing_field and wait in the quarantine",
        "rows with it are refused as undeclared_field and wait in the quarantine",
    ),
    "stop": ("the first row without it parks the stream", "the first row with it parks the stream"),
}
UNDECLARED = "the table has a column that stream to_{} does not declare"
DECLARING = Lock()  # as `apply` does it: one at a time
POLICIES: tuple[Evolution, ...] = ("evolve", "quarantine", "stop")


@dataclass(frozen=True)
class Shop:
    """One table per policy."""

    spark: SparkSession
    pipeline: Pipeline
    endpoints: Endpoints
    settings: Settings
    ends: dict[str, int] = field(default_factory=dict)

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def run(self, statements: str) -> list[tuple[Any, ...]]:
        with source.connected(self.endpoints.source) as connection, connection.cursor() as cursor:
            cursor.execute(f"set search_path = {self.pipeline.name}; {statements}")
            return cursor.fetchall() if cursor.description else []

    def create_tables(self) -> None:
        create_tables(self.spark, self.pipeline, self.lake_url)
        create_derived(self.spark, self.pipeline, self.lake_url)

    def plan(self) -> Plan:
        return plan(self.pipeline, self.endpoints, self.settings)

    def declared(self, stream: Stream) -> Stream:
        """The stream, with what its tables lack for it."""
        pipeline = replace(self.pipeline, streams=(stream,))
        with DECLARING:
            for create in (create_tables, create_derived, create_views):
                create(self.spark, pipeline, self.lake_url)
        return stream

    def arrived(self) -> None:
        """All that was committed is in Kafka."""
        found = marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)
        self.ends.update({topic: end for (topic, _), end in found.items()})

    def ingest(self, stream: Stream, kind: Kind = "batch", table_changes: TableChanges | None = None) -> Counts:
        topic = describe(self.endpoints.kafka, [stream.topic])[stream.topic]
        whole = Range(topic.name, topic.topic_id, 0, 0, self.ends[topic.name])
        place = (self.lake_url, self.endpoints.kafka, "run", kind, datetime.now(UTC))
        return ingest(self.spark, stream, [whole], *place, table_changes=table_changes).counts

    def current(self, stream: Stream) -> dict[int, tuple[Any, ...]]:
        merge_state(self.spark, stream, self.lake_url)
        rescued = "_rescued" if stream.rescues else "null"
        columns = ("id", "cast(price as string)", "note", rescued)
        rows = self.spark.table(f"{stream.history}_current").selectExpr(*columns).collect()
        return {row[0]: tuple(row[1:]) for row in rows}


@pytest.fixture
def shop(spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> Iterator[Shop]:
    name = f"changing_{uuid4().hex[:8]}"
    streams = tuple(
        replace(
            Stream(
                name, f"to_{policy}", f"{name}.{name}.to_{policy}", TableSource(name, f"to_{policy}"), COLUMNS, ("id",)
            ),
            evolution=policy,
            file=Path(f"{policy}.yaml"),
        )
        for policy in POLICIES
    )
    shop = Shop(spark, Pipeline(name, streams, tmp_path, tmp_path, tmp_path), endpoints, deployment)
    shop.run(f"create schema {name}")
    for policy in POLICIES:
        shop.run(TABLE.format(f"to_{policy}"))
    yield shop
    remove(shop.pipeline, endpoints, with_topics=True)
    shop.run(f"drop schema {name} cascade")
    spark.sql(f"drop schema if exists {name}_lake cascade")


def test_every_row_around_a_schema_change_is_where_the_policy_puts_it(shop: Shop) -> None:
    at_once(lambda step: step(), (lambda: apply(shop.plan()), shop.create_tables))
    app = cast(App, SimpleNamespace(pipeline=shop.pipeline, endpoints=shop.endpoints))
    assert source_changes(app) == []
    for policy in POLICIES:
        shop.run(CHANGES.format(f"to_{policy}"))
    evolve, quarantine, stop = shop.pipeline.streams

    # The status announces it: dropped, renamed, added, another type. Here is what is to be done, too.
    announced = source_changes(app)
    assert len(announced) == 5 * len(POLICIES)
    for policy in POLICIES:
        table, told = f"{shop.pipeline.name}.to_{policy}", MEANWHILE[policy]
        where = [text.replace("\n", " ") for text in announced if text.startswith(f"{table}.")]
        for column, what in (
            ("size", f"the column is not in the table: {told[0]} (declared integer, found nothing)"),
            ("note", f"the column is not in the table: {told[0]} (declared text, found nothing)"),
            ("remark", f"{UNDECLARED.format(policy)}: {told[1]} (declared nothing, found text)"),
            ("discount", f"{UNDECLARED.format(policy)}: {told[1]} (declared nothing, found numeric(5,3))"),
            ("price", "the table has another type (declared numeric(5,2), found text)"),
        ):
            (found,) = [text for text in where if text.startswith(f"{table}.{column}: {what}")]
            assert f"{policy}.yaml: " in found

    # The plan announces it, by policy. A column that is only tolerated refuses nothing.
    planned = shop.plan()
    told, refused = "\n".join(planned.warnings), "\n".join(planned.refusals)
    for column in ("remark", "discount"):
        assert (
            f"to_evolve.{column}: the table has a column that stream to_evolve does not declare: its values are kept"
            in told
        )
        assert (
            f"to_stop.{column}: the table has a column that stream to_stop does not declare: the first row with it"
            in told
        )
    for column in ("note", "size"):
        assert f"to_evolve.{column}: the column is not in the table: it is NULL in new rows" in told
        assert f"to_quarantine.{column}: the column is not in the table: rows without it are refused" in refused
    for policy in POLICIES:
        assert f"to_{policy}.price: the table has another type" in refused

    # Nor does the proof break off.
    assert definitions(app) == [], "nobody has installed the script"
    findings = [(finding.equal, "column" in finding.detail) for finding in source_equals_lake(app)]
    assert findings == [(False, True)] * len(POLICIES)

    shop.arrived()
    mended: list[Stream] = []

    def evolve_refuses_two_prices_that_are_none() -> None:
        assert shop.ingest(evolve) == Counts(accepted=9, quarantined=2)
        assert shop.current(evolve) == ARRIVED
        waiting = shop.spark.table(f"{evolve.lake_schema}.quarantine").where("stream = 'to_evolve'")
        assert {(row["rule"], row["column_name"]) for row in waiting.collect()} == {("type", "price")}
        assert {key for (key,) in shop.run("select id from to_evolve")} == {*ARRIVED, 7, 9}

    def quarantine_keeps_what_came_after_the_first_change_for_a_replay() -> None:
        assert shop.ingest(quarantine) == Counts(accepted=2, quarantined=9)
        assert shop.current(quarantine).keys() == {1, 2}
        # NULL in a column that has a default is NULL.
        sizes = shop.spark.table(quarantine.history).select("id", "size").collect()
        assert {row["id"]: row["size"] for row in sizes} == {1: 1, 2: None}
        evolving = shop.declared(replace(quarantine, evolution="evolve"))
        assert shop.ingest(evolving, "replay") == Counts(accepted=7, duplicate=2, quarantined=2)
        assert shop.current(evolving) == ARRIVED
        # A wider type: the lake's columns follow, and a replay brings the row that did not fit.
        columns = (COLUMNS[0], replace(COLUMNS[1], spark_type="decimal(12,2)"), *COLUMNS[2:])
        wider = shop.declared(replace(evolving, columns=columns))
        assert shop.ingest(wider, "replay") == Counts(accepted=1, duplicate=9, quarantined=1)
        large = {7: ("12345678.90", None, {"remark": "g", "discount": None})}
        assert shop.current(wider) == {**ARRIVED, **large}

    def stop_leaves_it_unread_until_the_contract_is_another() -> None:
        with pytest.raises(FieldsChanged, match=r"(?s)missing: size.*stop\.yaml"):
            shop.ingest(stop)
        assert shop.current(stop).keys() == {1, 2}
        mended.append(shop.declared(replace(stop, evolution="evolve")))
        assert shop.ingest(mended[0]) == Counts(accepted=7, quarantined=2)
        assert shop.current(mended[0]) == ARRIVED

    at_once(
        lambda policy: policy(),
        (
            evolve_refuses_two_prices_that_are_none,
            quarantine_keeps_what_came_after_the_first_change_for_a_replay,
            stop_leaves_it_unread_until_the_contract_is_another,
        ),
    )

    # A dropped table: the lake keeps its rows, the others go on, and once it is there again it is read from the start.
    shop.run("drop table to_stop; insert into to_evolve values (10, '10.00', 'j', null)")
    assert "to_stop: the table does not exist in database" in "\n".join(shop.plan().refusals)
    gone = [text for text in source_changes(app) if "to_stop" in text]
    assert [text.splitlines()[0].split(" in database")[0] for text in gone] == [
        f"{shop.pipeline.name}.to_stop: the table does not exist"
    ]
    shop.arrived()
    assert shop.ingest(evolve) == Counts(accepted=1)
    assert shop.current(mended[0]) == ARRIVED
    shop.run(f"{TABLE.format('to_stop')}; insert into to_stop values (20, 1.00, 'new', 1)")
    remark = (COLUMNS[0], Column("remark", "string", source_type="text"))
    others = [replace(one, evolution="evolve", columns=remark) for one in (evolve, quarantine)]
    pipeline = replace(shop.pipeline, streams=(*others, stop))
    planned = plan(pipeline, shop.endpoints, shop.settings)
    assert [change.kind for change in planned.changes] == ["replication access", "first read"]
    apply(planned)
    assert not [text for text in source_changes(app) if "to_stop" in text], "it is there again, as it is declared"
    shop.run("insert into to_stop values (21, 2.00, 'newer', 2)")
    shop.arrived()
    assert shop.ingest(stop) == Counts(accepted=2)
    assert shop.current(stop) == {20: ("1.00", "new", None), 21: ("2.00", "newer", None)}

    stop_stands_in_front_of_a_type_that_changed(shop, stop)

    # A field that is declared at last has its value in new rows; for the old ones the table is read again.
    snapshots.request(shop.endpoints, pipeline, [others[0].table_source.qualified])
    shop.arrived()
    shop.ingest(shop.declared(others[0]))
    merge_state(shop.spark, others[0], shop.lake_url)
    found = shop.spark.table(f"{evolve.history}_current").select("id", "remark").collect()
    assert sorted((row["id"], row["remark"]) for row in found) == shop.run(
        "select id, remark from to_evolve order by id"
    )


def stop_stands_in_front_of_a_type_that_changed(shop: Shop, stop: Stream) -> None:
    """Rows 20 and 21 are in its lake."""
    app = cast(App, SimpleNamespace(pipeline=replace(shop.pipeline, streams=(stop,)), endpoints=shop.endpoints))
    ask = partial(table_changes, shop.endpoints)

    # An odd value of a type that is as it was, if under another name, stops nothing.
    shop.run("""
        create domain amount as numeric(5,2);
        alter table to_stop alter column price type amount;
        insert into to_stop values (22, 'NaN', 'odd', 3), (23, 3.00, 'even', 3)
    """)
    shop.arrived()
    assert source_changes(app) == []
    assert shop.ingest(stop, table_changes=ask) == Counts(accepted=1, quarantined=1)

    # Somebody widens a column while rows come.
    shop.run("""
        insert into to_stop values (24, 4.00, 'before', 4);
        alter table to_stop alter column size type bigint;
        insert into to_stop values (25, 5.00, 'fits', 5), (26, 6.00, 'large', 3000000000), (27, 7.00, 'after', 7)
    """)
    shop.arrived()
    (announced,) = source_changes(app)
    wider = "to_stop.size: the table has another type (declared integer, found bigint)"
    assert announced.splitlines() == [
        f"{shop.pipeline.name}.{wider}",
        "  the first row whose value does not fit parks the stream",
        "  stop.yaml: headrace.sourceType: bigint, and a physicalType that holds it (the lake widens integers, and "
        "decimals of one scale), or change the table back",
    ]
    nowhere = replace(shop.endpoints, replicator=replace(shop.endpoints.replicator, port=1))
    with pytest.raises(ServiceUnavailable, match=r"(?s)does not say whether its table was changed.*batch is repeated"):
        shop.ingest(stop, table_changes=partial(table_changes, nowhere))
    for _ in range(2):  # whoever resumes it with the same contract meets it again
        with pytest.raises(FieldsChanged, match=rf"(?s){re.escape(wider)}.*type size") as parked:
            shop.ingest(stop, table_changes=ask)
        assert "Next: stop.yaml: headrace.sourceType: bigint, and a physicalType that holds it" in str(parked.value)
    assert shop.current(stop).keys() == {20, 21, 23, 24, 25}
    columns = (*COLUMNS[:3], replace(COLUMNS[3], spark_type="bigint", source_type="bigint"))
    following = shop.declared(replace(stop, columns=columns))
    assert shop.ingest(following, table_changes=ask) == Counts(accepted=2)

    # One that the lake has no place for: the contract may let the values wait that do not fit.
    shop.run("""
        alter table to_stop alter column size type text;
        insert into to_stop values (28, 8.00, 'number', '8'), (29, 9.00, 'word', 'many'), (30, 1.00, 'ten', '10')
    """)
    shop.arrived()
    with pytest.raises(FieldsChanged, match=r"declared bigint, found text(?s:.*)`headrace.evolution: quarantine`"):
        shop.ingest(following, table_changes=ask)
    assert shop.ingest(replace(following, evolution="quarantine")) == Counts(accepted=1, quarantined=1)
    assert shop.current(following).keys() == {20, 21, *range(23, 29), 30}
    refresh_ledger(shop.spark, app.pipeline, shop.lake_url)
    assert [one.findings for one in balance(shop.spark, app.pipeline)] == [()]
