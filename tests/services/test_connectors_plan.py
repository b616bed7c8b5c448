"""Plan and apply against the real Connect, Kafka and Postgres; Debezium writes what the design counts on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, TopicPartition

from connectors import debezium, topics
from connectors.plan import Plan, apply, plan_topics
from connectors.postgres import marker, source
from connectors.postgres.plan import plan
from connectors.removal import remove
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import Fatal, PlanRefused
from contracts.settings import Settings
from contracts.stream import Column, FileSource, Pipeline, Stream, TableSource
from streaming_jobs.transactions import look

COLUMNS = (
    Column("id", "bigint", required=True, source_type="int8"),
    Column("price", "decimal(10,2)", source_type="numeric(10,2)"),
    Column("paid_at", "timestamp", source_type="timestamptz"),
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Shop:
    """A pipeline of its own, in a schema of its own."""

    pipeline: Pipeline
    endpoints: Endpoints
    settings: Settings

    @property
    def schema(self) -> str:
        return self.pipeline.name

    def run(self, statements: str) -> None:
        with source.connected(self.endpoints.source, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET search_path = {self.schema}; {statements}")

    def plan(self, pipeline: Pipeline | None = None) -> Plan:
        return plan(pipeline or self.pipeline, self.endpoints, self.settings)

    def stream(self, table: str, columns: tuple[Column, ...] = COLUMNS) -> Stream:
        topic = f"{self.pipeline.name}.{self.schema}.{table}"
        return Stream(self.pipeline.name, table, topic, TableSource(self.schema, table), columns, ("id",))

    def with_streams(self, *streams: Stream) -> Pipeline:
        return replace(self.pipeline, streams=streams)

    def changes(self, table: str) -> list[tuple[Any, Any]]:
        """Every change of a table that was committed before now: (envelope, headers)."""
        pipeline = self.with_streams(self.stream(table))
        ((topic, partition), end), *_ = marker.quiesced(pipeline, self.endpoints).items()
        at = TopicPartition(topic, partition)
        consumer = KafkaConsumer(bootstrap_servers=self.endpoints.kafka, isolation_level="read_committed")
        found = []
        try:
            consumer.assign([at])
            consumer.seek_to_beginning(at)
            while consumer.position(at) < end:
                for records in consumer.poll(timeout_ms=500).values():
                    found += [(json.loads(record.value), dict(record.headers)) for record in records]
        finally:
            consumer.close()
        return found


def new_shop(endpoints: Endpoints, deployment: Settings, folder: Path, *tables: str) -> Shop:
    name = f"shop_{uuid4().hex[:8]}"
    shop = Shop(Pipeline(name, (), folder, folder, folder), endpoints, deployment)
    with source.connected(endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
        for table in tables:
            cursor.execute(
                f"CREATE TABLE {name}.{table} (id bigint PRIMARY KEY, price numeric(10,2), paid_at timestamptz)"
            )
    return replace(shop, pipeline=shop.with_streams(*(shop.stream(table) for table in tables)))


def remove_shop(shop: Shop) -> None:
    remove(shop.pipeline, shop.endpoints, with_topics=True)
    with source.connected(shop.endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {shop.schema} CASCADE")


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = new_shop(endpoints, deployment, tmp_path_factory.mktemp("shop"), "orders")
    shop.run("INSERT INTO orders VALUES (1, 1.50, '2026-01-02 03:04:05.678901+02')")
    yield shop
    remove_shop(shop)


@pytest.fixture(scope="module")
def applied(shop: Shop) -> Shop:
    planned = shop.plan()
    assert {change.kind for change in planned.changes} == {"topic", "replication access", "secret file", "connector"}
    assert planned.refusals == []
    apply(planned)
    return shop


def test_a_second_plan_is_empty(applied: Shop) -> None:
    assert applied.plan().changes == []
    assert apply(applied.plan()) == 0


def test_the_stored_config_holds_no_password(applied: Shop) -> None:
    with Connect(applied.endpoints.connect_url) as connect:
        stored = connect.config(debezium.connector_name(applied.pipeline))
    assert stored is not None
    assert stored["database.password"].startswith("${directory:")
    secret = applied.endpoints.replicator.password.get_secret_value()
    assert secret
    assert secret not in json.dumps(stored)


def test_a_setting_changed_behind_our_back_is_found_and_put_right(applied: Shop) -> None:
    name = debezium.connector_name(applied.pipeline)
    with Connect(applied.endpoints.connect_url) as connect:
        stored = connect.config(name)
        assert stored is not None
        connect.put(name, {**stored, "poll.interval.ms": "900"})
        (change,) = applied.plan().changes
        assert "poll.interval.ms = 900" in change.before
        change.apply()
        assert connect.config(name) == stored
    assert applied.plan().changes == []


def test_every_kind_of_change_arrives_exactly(applied: Shop) -> None:
    applied.run(
        """
        INSERT INTO orders VALUES (2, 12345678.90, NULL);
        UPDATE orders SET price = 0.10 WHERE id = 1;
        UPDATE orders SET id = 3 WHERE id = 2;
        DELETE FROM orders WHERE id = 1;
        TRUNCATE orders;
        """
    )
    changes = applied.changes("orders")
    told = [(change["op"], (change["before"] or {}).get("id"), change["after"]) for change, _ in changes]
    first = {"id": 1, "price": "1.50", "paid_at": "2026-01-02T01:04:05.678901Z"}
    assert told == [
        ("r", None, first),
        ("c", None, {"id": 2, "price": "12345678.90", "paid_at": None}),
        ("u", None, {**first, "price": "0.10"}),
        ("d", 2, None),
        ("c", None, {"id": 3, "price": "12345678.90", "paid_at": None}),
        ("d", 1, None),
        ("t", None, None),
    ]
    # The headers of a key change are what an unchanged large value is found by.
    assert changes[4][1] == {"__debezium.oldkey": b'{"id":2}'}
    assert changes[0][0]["source"]["snapshot"] in ("last", "first_in_data_collection", "last_in_data_collection")
    assert all(change["transaction"]["id"] for change, _ in changes[1:])


def test_what_a_transaction_wrote_before_its_table_was_published_arrives(applied: Shop) -> None:
    applied.run("CREATE TABLE late (id bigint PRIMARY KEY, price numeric(10,2), paid_at timestamptz)")
    wider = applied.with_streams(*applied.pipeline.streams, applied.stream("late"))
    with source.connected(applied.endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {applied.schema}.late VALUES (1, 1, NULL)")
        applying = threading.Thread(target=lambda: apply(applied.plan(wider)))
        applying.start()
        applying.join(timeout=15)
        waited = applying.is_alive()
    applying.join(timeout=120)
    assert waited, "the table was read although a transaction of before its publication was open"
    assert applied.plan(wider).changes == []
    assert [change["after"]["id"] for change, _ in applied.changes("late")] == [1]
    apply(applied.plan())


def test_more_partitions_are_refused(applied: Shop) -> None:
    name = applied.pipeline.name
    drops = Stream(name, "drops", f"{name}.files.drops", FileSource("x", "csv"), COLUMNS, ("id",), partitions=2)
    declared = replace(applied.pipeline, streams=(drops,))
    try:
        apply(applied.plan(declared))
        planned = applied.plan(replace(declared, streams=(replace(drops, partitions=3),)))
        with pytest.raises(PlanRefused, match="has 2 partitions and 3 are declared"):
            apply(planned)
    finally:
        remove(declared, applied.endpoints, with_topics=True)


def test_a_topic_of_transactions_that_somebody_made_with_two_partitions_is_refused(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    name = f"shop_{uuid4().hex[:8]}"
    orders = Stream(name, "orders", f"{name}.s.orders", TableSource("s", "orders"), COLUMNS, ("id",))
    pipeline = Pipeline(name, (orders,), tmp_path, tmp_path, tmp_path)
    topics.create(endpoints.kafka, topics.Topic(pipeline.transaction_topic, 2))
    try:
        planned = Plan(name)
        plan_topics(planned, pipeline, endpoints)
        (refused,) = planned.refusals
        assert f"topic {name}.transaction has 2 partitions" in refused
        assert f"PUT /connectors/{name}/stop" in refused
        with pytest.raises(Fatal, match="more than one partition"):
            look(cast(Any, None), endpoints.kafka, pipeline.transaction_topic, "postgres", (orders,), ("", 0), NOW)
    finally:
        with topics.admin(endpoints.kafka) as client:
            client.delete_topics([pipeline.transaction_topic])


def test_a_table_that_differs_from_its_contract_is_refused_before_anything_changes(shop: Shop) -> None:
    shop.run("CREATE TABLE odd (id bigint PRIMARY KEY, price numeric(12,2), scores integer[])")
    declared = shop.with_streams(shop.stream("odd", (*COLUMNS, Column("scores", "array<int>"))))
    planned = shop.plan(declared)
    text = "\n".join(planned.refusals)
    assert f"{shop.schema}.odd.price: the table has another type (declared numeric(10,2), found numeric(12,2))" in text
    assert f"{shop.schema}.odd.paid_at: the column is not in the table" in text
    assert f"ALTER TABLE {shop.schema}.odd REPLICA IDENTITY FULL;" in text
    with pytest.raises(PlanRefused):
        apply(planned)
    shop.run("ALTER TABLE odd REPLICA IDENTITY FULL")
    assert "REPLICA IDENTITY" not in "\n".join(shop.plan(declared).refusals)


def test_a_task_that_may_not_read_fails_with_its_trace(
    endpoints: Endpoints, deployment: Settings, tmp_path: Path
) -> None:
    # Without patience, which is five minutes otherwise.
    (tmp_path / "postgres.json").write_text('{"errors.max.retries": 0}')
    broken = new_shop(endpoints, deployment, tmp_path, "orders")
    try:
        *before, connector = broken.plan().changes
        for change in before:
            change.apply()
        broken.run(f"REVOKE SELECT ON orders FROM {endpoints.replicator.user}")
        with pytest.raises(Fatal, match="permission denied for table orders"):
            connector.apply()
        # The next plan sees both what is missing and what failed, and puts it right.
        planned = broken.plan()
        assert [change.kind for change in planned.changes] == ["replication access", "connector"]
        apply(planned)
        assert broken.plan().changes == []
    finally:
        remove_shop(broken)
