"""Rows of a real MariaDB through the real Debezium, Kafka and Spark: what the lake shows is what the server holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from connectors import debezium
from connectors.broker import Offsets
from connectors.guardian.guard import Kept
from connectors.guardian.reader import ReaderGuardian
from connectors.mariadb import connector as mariadb_connector
from connectors.mariadb import plan as mariadb_plan
from connectors.mariadb import position as mariadb_position
from connectors.mariadb import source as mariadb
from connectors.plan import Plan, apply
from connectors.postgres.plan import plan
from connectors.reads.table_reads import Notes
from connectors.removal import remove
from connectors.rest import Connect
from connectors.topics import admin
from contracts.canonical import table_fingerprint_spark
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.settings import GuardSettings, Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from contracts.table_reads import NO_READS
from headrace.findings import Side
from headrace.proof_mariadb import mariadb_side
from streaming_jobs.counts import Counts
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived, table_path
from streaming_jobs.ledger import balance, refresh_ledger
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import merge_state
from streaming_jobs.tables import create_tables
from tests.services.mariadb_server import run

CONFIGURED = """SET GLOBAL sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE';
SET GLOBAL binlog_format = ROW;"""
"""What `plan` asks of a server that is as MariaDB comes."""
ORDERS = (
    ("id", "bigint unsigned", Column("id", "decimal(20,0)", required=True, source_type="bigint unsigned")),
    ("sku", "varchar(20) default 'none'", Column("sku", "string")),
    ("paid", "tinyint(1)", Column("paid", "boolean")),
    ("tiny", "tinyint unsigned", Column("tiny", "smallint")),
    ("medium", "mediumint", Column("medium", "int")),
    ("large", "int unsigned", Column("large", "bigint")),
    ("price", "decimal(20,4)", Column("price", "decimal(20,4)")),
    ("ratio", "double", Column("ratio", "double")),
    ("day", "date", Column("day", "date")),
    ("at", "datetime(6)", Column("at", "timestamp_ntz")),
    ("stamp", "timestamp(6) null", Column("stamp", "timestamp")),
    ("vintage", "year", Column("vintage", "int")),
    ("flag", "bit(1)", Column("flag", "boolean")),
    ("state", "enum('new','it''s old')", Column("state", "string")),
    ("marks", "set('x','y','z')", Column("marks", "string")),
    ("extra", "json", Column("extra", "struct<a:decimal(5,2),b:array<string>>", json=True)),
    ("old", "varchar(20) character set latin1", Column("old", "string", source_type="varchar(20) latin1")),
    ("raw", "varbinary(20)", Column("raw", "binary")),
)
FILLED = """(18446744073709551615, 'x€😀', 1, 255, -8388608, 4294967295, '1234567890123456.7800', 0.1e-10, '0070-01-02',
    '2024-03-31 02:30:00.123456', '2024-03-31 01:30:00.1234', 1999, 1, 'it''s old', 'x,z', '{"a": 1.50, "b": ["é"]}',
    'é', x'00ff00')"""
EMPTY = f"(1{', NULL' * (len(ORDERS) - 1)})"
EARLY = """(9223372036854775808, '', 0, 0, 0, 0, '-0.0001', -1.5, '9999-12-31', '0001-01-01 00:00:00',
    '2038-01-19 03:14:07', 2155, 0, 'new', '', '{}', '', x'')"""


@dataclass(frozen=True)
class Shop:
    """A database of its own, its pipeline and its lake."""

    spark: SparkSession
    pipeline: Pipeline
    endpoints: Endpoints
    settings: Settings

    def run(self, statements: str) -> None:
        run(self.endpoints.mariadb, statements.replace("{db}", self.pipeline.name))

    def plan(self) -> Plan:
        found = plan(self.pipeline, self.endpoints, self.settings)
        mariadb_plan.add(found, self.pipeline, self.endpoints, self.settings)
        assert found.refusals == []
        return found

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def through(self) -> Offsets:
        """The topics' ends once everything committed at the source is in them."""
        return mariadb_position.quiesced(self.pipeline.of("mariadb"), self.endpoints)

    def take_in(self) -> dict[str, Counts]:
        """Everything committed at the source into the lake and its state; what each stream's batch counted."""
        ends, counted = self.through(), {}
        with closing(Notes(self.endpoints.kafka, self.pipeline.of("mariadb"))) as notes:
            told = notes.table_reads()
        for stream in self.pipeline.streams:
            topic = describe(self.endpoints.kafka, [stream.topic])[stream.topic]
            whole = Range(topic.name, topic.topic_id, 0, 0, ends[stream.topic, 0])
            kafka, now = self.endpoints.kafka, datetime.now(UTC)
            done = ingest(self.spark, stream, [whole], self.lake_url, kafka, "run", "batch", now)
            counted[stream.name] = done.counts
            reads = told.get(stream.table_source.qualified, NO_READS)
            merge_state(self.spark, stream, self.lake_url, lambda _, reads=reads: reads)
        return counted

    def sides(self, stream: Stream) -> tuple[Side, Side]:
        """Rows and fingerprint of the table, and of the stream's current view."""
        select = table_fingerprint_spark(stream.columns)
        row = self.spark.sql(f"select {select} from {stream.history}_current").collect()[0]
        return mariadb_side(self.endpoints.mariadb, stream), (int(row[0]), int(row[1]))


def stream_of(pipeline: str, table: str, columns: tuple[Column, ...], *key: str) -> Stream:
    source = TableSource(pipeline, table, system="mariadb")
    return Stream(pipeline, table, f"{pipeline}.mariadb.{source.qualified}", source, columns, key)


@pytest.fixture
def shop(
    spark: SparkSession, endpoints: Endpoints, deployment: Settings, mariadb_owner: MariadbEndpoint, tmp_path: Path
) -> Iterator[Shop]:
    name = f"maria_{uuid4().hex[:8]}"
    role = replace(mariadb_owner, user=f"reader_{name}", password=SecretStr("another's"))
    lines = (Column("order_id", "int", required=True), Column("line", "smallint", required=True), Column("n", "int"))
    streams = (
        stream_of(name, "orders", tuple(column for _, _, column in ORDERS), "id"),
        stream_of(name, "order_lines", lines, "order_id", "line"),
    )
    reached = replace(endpoints, mariadb=mariadb_owner, mariadb_replicator=role)
    shop = Shop(spark, Pipeline(name, streams, tmp_path, tmp_path, tmp_path), reached, deployment)
    columns = ", ".join(f"`{column}` {kind}" for column, kind, _ in ORDERS)
    shop.run(
        f"""{CONFIGURED}
CREATE DATABASE {{db}} CHARACTER SET utf8mb4;
CREATE TABLE {{db}}.orders ({columns}, PRIMARY KEY (id));
CREATE TABLE {{db}}.order_lines (order_id int, line smallint, n int, PRIMARY KEY (order_id, line));
INSERT INTO {{db}}.orders VALUES {FILLED}, {EMPTY};
INSERT INTO {{db}}.order_lines VALUES (1, 1, 10), (1, 2, 20)"""
    )
    yield shop
    remove(shop.pipeline, reached, with_topics=True)
    shop.run(f"DROP DATABASE {{db}};\nDROP USER IF EXISTS {role.user}@'%'")
    for schema in (name, f"{name}_lake"):
        spark.sql(f"drop schema if exists {schema} cascade")


def test_what_the_lake_shows_is_what_the_server_holds(shop: Shop) -> None:
    orders, lines = shop.pipeline.streams
    planned = shop.plan()
    assert {change.kind for change in planned.changes} == {"topic", "replication access", "secret file", "connector"}
    apply(planned)
    assert shop.plan().changes == [], "a second plan is empty"
    create_tables(shop.spark, shop.pipeline, shop.lake_url)
    create_derived(shop.spark, shop.pipeline, shop.lake_url)

    # The first read, and after it the binlog, which sends the same values another way.
    first = shop.take_in()
    assert (first["orders"].accepted, first["order_lines"].accepted) == (2, 2)
    for stream in shop.pipeline.streams:
        source, lake = shop.sides(stream)
        assert source == lake
    others = ", ".join(f"`{column}`" for column, _, _ in ORDERS[1:])
    shop.run(
        f"""INSERT INTO {{db}}.orders VALUES {EARLY};
INSERT INTO {{db}}.orders SELECT 2, {others} FROM {{db}}.orders WHERE paid = 1;
UPDATE {{db}}.orders SET price = price + 1, extra = NULL WHERE id = 9223372036854775808;
UPDATE {{db}}.orders SET id = 3 WHERE id = 1;
DELETE FROM {{db}}.order_lines WHERE line = 2"""
    )
    with Connect(shop.endpoints.connect_url) as connect:
        name = debezium.connector_name(shop.pipeline.of("mariadb"))
        connect.restart(name)
        shop.run(
            """UPDATE {db}.orders SET sku = 'while it restarts' WHERE id = 2;
UPDATE {db}.order_lines SET order_id = 4 WHERE line = 1;
INSERT INTO {db}.order_lines VALUES (4, 2, 7)"""
        )
        connect.wait_running(name)
    shop.take_in()
    for stream in shop.pipeline.streams:
        source, lake = shop.sides(stream)
        assert source == lake, stream.name
    kept = shop.spark.sql(f"select id, sku, old from {orders.history}_current order by id").collect()
    assert [row["id"] for row in kept] == [2, 3, 9223372036854775808, Decimal(18446744073709551615)]
    assert (kept[-1]["sku"], kept[-1]["old"]) == ("x€😀", "é")

    # What does not arrive as it is at the source is refused; a TRUNCATE empties; every offset is in the ledger.
    shop.run(
        """INSERT INTO {db}.orders (id, old) VALUES (5, x'81');
INSERT INTO {db}.orders (id, paid) VALUES (6, 2);
TRUNCATE TABLE {db}.order_lines"""
    )
    last = shop.take_in()
    assert last["orders"].quarantined == 2
    assert last["order_lines"].accepted == 1
    assert shop.sides(lines) == ((0, 0), (0, 0))
    refresh_ledger(shop.spark, shop.pipeline, shop.lake_url)
    for one in balance(shop.spark, shop.pipeline):
        assert one.findings == ()
    changes = shop.spark.read.format("delta").load(table_path(shop.lake_url, shop.pipeline.name, lines.name))
    assert sorted(row[0] for row in changes.select("_op").collect()) == ["c", "c", "d", "d", "r", "r", "t"]


def test_a_connector_that_is_let_in_no_more_or_fails_is_told_and_restarted(shop: Shop, wait_until: Any) -> None:
    apply(shop.plan())
    part = shop.pipeline.of("mariadb")
    name, now = debezium.connector_name(part), [1000.0]
    role = shop.endpoints.mariadb_replicator
    guardian = ReaderGuardian(
        *(part, shop.endpoints, GuardSettings(restarts=1), Kept(restarts_total=4)),
        is_read=lambda: mariadb.is_read(role),
        patience_s=30,
        clock=lambda: now[0],
    )
    with Connect(shop.endpoints.connect_url) as connect:
        wait_until(lambda: str(connect.status(name)) == "connector RUNNING, tasks RUNNING", 60, "the connector runs")
        wait_until(lambda: mariadb.is_read(role), 60, "the log is read")
        assert guardian.look().concerns == ()

        # Somebody changed the password, and told nobody: Debezium tries for ever, and says that it runs.
        shop.run(f"ALTER USER {role.user}@'%' IDENTIFIED BY 'changed'")
        away = guardian.look().concerns
        assert [(one.kind, one.severity) for one in away] == [("source away", "warn")]
        assert "Access denied" in away[0].what
        now[0] += 100
        assert guardian.look().critical
        password = role.password.get_secret_value().replace("'", "''")
        shop.run(f"ALTER USER {role.user}@'%' IDENTIFIED BY '{password}'")
        assert guardian.look().concerns == ()

        # Without the tables' definitions it cannot begin, however often it is restarted.
        connect.stop(name)
        connect.wait_stopped(name)
        with admin(shop.endpoints.kafka) as client:
            history = mariadb_connector.history_topic(part)
            client.delete_topics([history])
            wait_until(lambda: history not in client.list_topics(), 60, "the topic is gone")
        connect.resume(name)
        wait_until(lambda: "FAILED" in str(connect.status(name)), 120, "the task fails")
        first = guardian.look()
        assert [(one.kind, one.severity) for one in first.concerns] == [("connector failed", "warn")]
        assert first.done == (f"restarted what had failed of connector {name}",)
        connect.wait_not_failed(name)
        wait_until(lambda: "FAILED" in str(connect.status(name)), 120, "it fails again")
        now[0] += 1000
        last = guardian.look()
        assert (last.done, last.critical, last.kept.restarts_total) == ((), True, 5)
        assert "history" in last.concerns[0].what
        assert last.concerns[0].steps[-1] == "headrace apply"
        connect.delete(name)
        assert [one.kind for one in guardian.look().concerns] == ["connector absent"]


def test_a_pipeline_without_a_named_server_says_what_to_write(endpoints: Endpoints) -> None:
    with pytest.raises(Exception, match=r"mariadb: \{host"), mariadb.connected(endpoints.mariadb):
        pass
