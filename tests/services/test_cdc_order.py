"""Races at the source through the real Debezium: what the lake shows as current is what the source holds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg2.extensions import connection as PostgresConnection
from pyspark.sql import SparkSession

from connectors import debezium
from connectors.plan import Plan, apply
from connectors.postgres import marker
from connectors.postgres.plan import plan
from connectors.reads.table_reads import Notes
from connectors.removal import remove
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from contracts.table_reads import NO_READS
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import merge_state
from streaming_jobs.tables import create_tables

COLUMNS = (
    Column("id", "bigint", required=True, source_type="int8"),
    Column("price", "decimal(10,2)", source_type="numeric(10,2)"),
)
Row = tuple[int, Decimal | int | None]


@dataclass(frozen=True)
class Shop:
    """One table of a source, its topic and its lake."""

    spark: SparkSession
    pipeline: Pipeline
    endpoints: Endpoints
    settings: Settings

    @property
    def stream(self) -> Stream:
        return self.pipeline.streams[0]

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def connect(self) -> closing[PostgresConnection]:
        options = f"-c search_path={self.pipeline.name}"
        return closing(psycopg2.connect(**self.endpoints.source.dsn(), options=options))

    def run(self, statements: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statements)
            connection.commit()

    def source(self) -> list[Row]:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("select id, price from orders order by id")
            return cursor.fetchall()

    def plan(self) -> Plan:
        planned = plan(self.pipeline, self.endpoints, self.settings)
        assert planned.refusals == []
        return planned

    def through(self) -> int:
        """The topic's end once everything committed at the source is in it."""
        return marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)[self.stream.topic, 0]

    def lsns(self) -> list[tuple[str, int, int]]:
        """Every change as (operation, id, LSN), in the topic's order."""
        self.through()
        at = TopicPartition(self.stream.topic, 0, OFFSET_BEGINNING)
        settings = {"bootstrap.servers": self.endpoints.kafka, "group.id": "none", "enable.partition.eof": True}
        found: list[tuple[str, int, int]] = []
        with closing(Consumer(settings | {"isolation.level": "read_committed"})) as reader:
            reader.assign([at])
            while True:
                record = reader.poll(30)
                assert record is not None, "no answer"
                if record.error():
                    return found  # the end
                change = json.loads(record.value() or b"")
                row = change["after"] or change["before"]
                found.append((change["op"], int(row["id"]), int(change["source"]["lsn"])))

    def current(self) -> list[Row]:
        """Read what the topic has, merge it, and ask the view."""
        topic = describe(self.endpoints.kafka, [self.stream.topic])[self.stream.topic]
        whole = Range(topic.name, topic.topic_id, 0, 0, self.through())
        ingest(self.spark, self.stream, [whole], self.lake_url, self.endpoints.kafka, "run", "batch", datetime.now(UTC))
        with closing(Notes(self.endpoints.kafka, self.pipeline)) as notes:
            told = notes.table_reads().get(self.stream.table_source.qualified, NO_READS)
        merge_state(self.spark, self.stream, self.lake_url, lambda _: told)
        rows = self.spark.table(f"{self.stream.history}_current").select("id", "price").collect()
        return sorted((row["id"], row["price"]) for row in rows)


@pytest.fixture
def shop(spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path) -> Iterator[Shop]:
    name = f"order_{uuid4().hex[:8]}"
    orders = Stream(name, "orders", f"{name}.{name}.orders", TableSource(name, "orders"), COLUMNS, ("id",))
    shop = Shop(spark, Pipeline(name, (orders,), tmp_path, tmp_path, tmp_path), endpoints, deployment)
    shop.run(f"create schema {name}; create table {name}.orders (id bigint primary key, price numeric(10,2))")
    create_tables(spark, shop.pipeline, shop.lake_url)
    create_derived(spark, shop.pipeline, shop.lake_url)
    yield shop
    remove(shop.pipeline, endpoints, with_topics=True)
    shop.run(f"drop schema {name} cascade")
    spark.sql(f"drop schema {name}_lake cascade")


def test_a_transaction_that_is_open_when_the_snapshot_starts_wins_over_the_snapshot(shop: Shop) -> None:
    shop.run("insert into orders values (1, 1), (2, 2)")
    *before, connector = shop.plan().changes
    for change in before:
        change.apply()
    # A slot that is there already, as after any broken first start: the snapshot then waits for nobody.
    slot = debezium.default_name(shop.pipeline)
    with closing(psycopg2.connect(**shop.endpoints.replicator.dsn())) as replicator, replicator.cursor() as cursor:
        cursor.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        replicator.commit()
    with shop.connect() as open_before, open_before.cursor() as cursor:
        cursor.execute("update orders set price = 10 where id = 1; insert into orders values (3, 30)")
        shop.run("insert into orders values (4, 4)")  # moves the WAL on, so that the snapshot's LSN is behind it
        connector.apply()
        shop.through()
        open_before.commit()
    changes = shop.lsns()
    assert [operation for operation, key, _ in changes if key == 1] == ["r", "u"], changes
    first, update = (change for change in changes if change[1] == 1)
    assert first[2] > update[2], "the race did not happen: the snapshot's row does not have the greater LSN"
    assert shop.current() == shop.source() == [(1, 10), (2, 2), (3, 30), (4, 4)]


def test_a_delete_that_races_a_new_insert_of_its_key_leaves_the_row_alive(shop: Shop, wait_until: Any) -> None:
    shop.run("insert into orders values (1, 1)")
    apply(shop.plan())
    with shop.connect() as deleting, deleting.cursor() as cursor:
        cursor.execute("delete from orders where id = 1")
        # Its row is in the WAL before it waits for the deleting transaction on the key.
        inserting = threading.Thread(target=shop.run, args=("insert into orders values (1, 3)",))
        inserting.start()
        waiting = "select count(*) from pg_locks where not granted and locktype = 'transactionid'"

        def waits() -> bool:
            cursor.execute(waiting)
            return cursor.fetchone() != (0,)

        wait_until(waits, 20, "the insert to wait for the delete")
        cursor.execute("insert into orders values (1, 2); delete from orders where id = 1")
        deleting.commit()
        inserting.join(timeout=20)
    changes = shop.lsns()
    assert [operation for operation, _, _ in changes] == ["r", "d", "c", "d", "c"]
    assert changes[3][2] > changes[4][2], "the race did not happen: the insert does not have the smaller LSN"
    assert shop.current() == shop.source() == [(1, 3)]


def test_rows_of_one_copy_that_share_an_lsn_are_rows_of_their_own(shop: Shop) -> None:
    shop.run("insert into orders values (1, 1)")
    apply(shop.plan())
    with shop.connect() as copying, copying.cursor() as cursor:
        for first in (10, 20):  # the second while the stream is known to run
            cursor.copy_expert("copy orders from stdin", StringIO("".join(f"{first + n}\t{n}\n" for n in range(5))))
            copying.commit()
            shop.through()
    shop.run("update orders set price = -price where id in (11, 12, 23); delete from orders where id in (13, 24)")
    shop.run("update orders set id = 140 where id = 14; insert into orders values (13, 130)")
    changes = shop.lsns()
    copied = [[lsn for what, key, lsn in changes if what == "c" and first <= key < first + 5] for first in (10, 20)]
    assert [len(lsns) for lsns in copied] == [6, 5]  # 13 came twice
    shared = [len(lsns) - len(set(lsns)) for lsns in copied]
    assert min(shared) > 0, f"no two rows of a COPY share an LSN, so nothing is tested: {copied}"
    assert shop.current() == shop.source()
    assert len(shop.source()) == 10
