"""A table is altered while the connector lags behind it, and then read again through the real Debezium.

Debezium takes the columns of every table up from the catalog when it reads one, and decodes the changes that follow by
their place among them: changes of before must not be among those.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from connectors import debezium
from connectors.guardian.guard import Guardian
from connectors.plan import apply
from connectors.postgres import source
from connectors.postgres.unaltered import Unaltered
from connectors.reads.reread import read_again
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import ServiceUnavailable
from contracts.settings import GuardSettings, Settings
from contracts.stream import Column
from infra.local.layout import open_layout
from infra.local.postgres import endpoint
from tests.services.test_connectors_plan import Shop, new_shop, remove_shop

WaitUntil = Callable[..., object]
COLUMNS = (
    Column("id", "bigint", required=True, source_type="bigint"),
    Column("cost", "decimal(10,2)", source_type="numeric(10,2)"),
    Column("price", "decimal(10,2)", source_type="numeric(10,2)"),
)
ROWS = 1200
# Less than two hundred rows a second: it lags for seconds behind what is written at once.
SLOWLY = {"max.batch.size": 1, "max.queue.size": 2}


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("altered")
    (folder / "postgres.json").write_text(json.dumps(SLOWLY))
    shop = new_shop(endpoints, deployment, folder)
    for table in ("orders", "others"):
        shop.run(f"create table {table} (id bigint primary key, cost numeric(10,2), price numeric(10,2))")
    shop = replace(shop, pipeline=shop.with_streams(*(shop.stream(table, COLUMNS) for table in ("orders", "others"))))
    apply(shop.plan())
    yield shop
    remove_shop(shop)


@pytest.fixture
def administrator(deployment: Settings, endpoints: Endpoints) -> PostgresEndpoint:
    return endpoint(open_layout(deployment), endpoints.source.database, "postgres")


def rows(first: int, last: int) -> str:
    """What stands in each column says of which row and column it is."""
    return f"insert into orders (id, cost, price) select n, -n, n + 0.5 from generate_series({first}, {last}) n"


def sent(shop: Shop, administrator: PostgresEndpoint, wait_until: WaitUntil) -> None:
    """Postgres has sent all that was written; whether Debezium has taken it up is another matter."""
    slot = debezium.default_name(shop.pipeline)
    with source.connected(administrator, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_current_wal_flush_lsn()::text")
        (written,) = cursor.fetchone() or ("",)

        def all_of_it() -> bool:
            cursor.execute(
                "select sent_lsn >= %s::pg_lsn from pg_stat_replication join pg_replication_slots on active_pid = pid "
                "where slot_name = %s",
                (written, slot),
            )
            return bool((cursor.fetchone() or (False,))[0])

        wait_until(all_of_it, 30, "Postgres has sent what was written")


def signal_sent(shop: Shop) -> float:
    """When the newest request for a read came into Kafka."""
    at = TopicPartition(debezium.signals_topic(shop.pipeline), 0)
    with closing(KafkaConsumer(bootstrap_servers=shop.endpoints.kafka)) as consumer:
        consumer.assign([at])
        consumer.seek_to_beginning(at)
        found: dict[TopicPartition, list[ConsumerRecord]] = consumer.poll(timeout_ms=30_000)
    return float(found[at][-1].timestamp) / 1000


def test_changes_from_before_a_column_went_keep_their_places_when_another_table_is_read(
    shop: Shop, administrator: PostgresEndpoint, wait_until: WaitUntil
) -> None:
    shop.run(rows(1, 1))
    shop.changes("orders")  # so Postgres has sent its columns
    shop.run(rows(2, ROWS))
    # Or it would send the columns of before once more.
    sent(shop, administrator, wait_until)
    shop.run("alter table orders drop column cost; alter table orders add column cost numeric(10,2)")
    asked = time.time()
    read_again(shop.endpoints, shop.pipeline, f"{shop.schema}.others", begins_within_s=90)

    arrived = [change for change, _ in shop.changes("orders")]
    streamed = arrived[-1]["ts_ms"] / 1000
    assert streamed - asked > 2, "the connector was not behind, so nothing is tested"
    expected = [{"id": n, "cost": f"-{n}.00", "price": f"{n}.50"} for n in range(1, ROWS + 1)]
    assert [change["after"] for change in arrived] == expected
    assert signal_sent(shop) > streamed, "the read might have come between these changes, and did not by chance"


def test_no_table_can_be_altered_until_the_connector_reads(shop: Shop, administrator: PostgresEndpoint) -> None:
    held, altering = Unaltered(shop.endpoints, shop.pipeline), "set lock_timeout = '200ms'; alter table others "
    held.hold(timeout_s=60)
    shop.run(rows(ROWS + 1, ROWS + 1))
    with pytest.raises(ServiceUnavailable, match="locked by somebody else"):
        shop.run(f"{altering} add column more int")
    assert held.let_go() == held.let_go() == []
    shop.run(f"{altering} add column more int")

    # Somebody alters one: not asked for, and the other is not kept locked for it.
    with closing(psycopg2.connect(**shop.endpoints.source.dsn())) as other, other.cursor() as cursor:
        cursor.execute(f"alter table {shop.schema}.others add column yet_more int")
        with pytest.raises(ServiceUnavailable, match="was being altered"):
            held.hold(timeout_s=5)
        shop.run("set lock_timeout = '200ms'; alter table orders add column more int")

    # The server took the locks back, as it does by itself from whoever keeps them for too long.
    held.hold(timeout_s=60)
    with source.connected(administrator, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid, 5000) from pg_locks "
            "where mode = 'AccessShareLock' and relation = %s::regclass",
            (f"{shop.schema}.others",),
        )
        assert cursor.fetchall() == [(True,)]
    shop.run(f"{altering} drop column more")
    assert held.let_go() == [f"{shop.schema}.others"]


def test_each_row_with_a_domain_over_an_enum_is_taken_for_a_new_value_and_none_with_an_array_of_one(
    shop: Shop, administrator: PostgresEndpoint, wait_until: WaitUntil
) -> None:
    guardian = Guardian(shop.pipeline, shop.endpoints, GuardSettings(), patience_s=30)

    kinds: list[list[str]] = []

    def arrived(first: int) -> dict[int, tuple[str | None, str | None]]:
        """Cost and price, as each row came last."""
        newest = {change["after"]["id"]: change["after"] for change, _ in shop.changes("orders")}
        return {n: (row["cost"], row["price"]) for n, row in newest.items() if n >= first}

    def lagging(first: int) -> dict[int, tuple[str | None, str | None]]:
        """Rows that are read behind a drop that came while all but the first were on their way."""
        shop.run(rows(first, first))
        shop.changes("orders")  # so Postgres has sent its columns
        shop.run(rows(first + 1, first + ROWS))
        sent(shop, administrator, wait_until)
        shop.run("alter table orders drop column cost; alter table orders add column cost numeric(10,2)")
        dropped = time.time()
        kinds.append([concern.kind for concern in guardian.look().concerns])
        streamed = shop.changes("orders")[-1][0]["ts_ms"] / 1000
        assert streamed - dropped > 2, "the connector was not behind, so nothing is tested"
        return arrived(first)

    def in_their_places(first: int) -> dict[int, tuple[str | None, str | None]]:
        return {n: (f"-{n}.00", f"{n}.50") for n in range(first, first + ROWS + 1)}

    shop.run("create type tint as enum ('dim'); alter table orders add column tints tint[] default '{dim}'")
    shop.run("alter type tint add value 'red'")
    shop.run("alter table orders alter column tints set default '{red}'")
    assert lagging(3_001) == in_their_places(3_001)

    shop.run(
        "create domain tone as tint; create domain deep as tone; alter table orders add column tone deep default 'dim'"
    )
    shop.run("alter table orders drop column cost, drop column price, add cost numeric(10,2), add price numeric(10,2)")
    assert lagging(6_001) != in_their_places(6_001)
    assert kinds == [[], ["misread"]]
    read_again(shop.endpoints, shop.pipeline, f"{shop.schema}.orders", begins_within_s=90)
    assert arrived(6_001) == {n: (None, f"{n}.50") for n in range(6_001, 6_001 + ROWS + 1)}
    shop.run("alter table orders drop column tone")


def test_a_new_value_of_an_enum_ahead_of_a_drop_is_told_and_who_restarts_reads_all_in_its_place(
    shop: Shop, administrator: PostgresEndpoint, wait_until: WaitUntil
) -> None:
    first = 10_001
    shop.run("create type mood as enum ('calm'); alter table orders add column mood mood default 'calm'")
    shop.run(rows(first, first))
    shop.changes("orders")  # so Postgres has sent its columns
    shop.run("alter type mood add value 'glad'")
    shop.run(rows(first + 1, first + ROWS))
    shop.run(f"insert into orders (id, cost, price, mood) values ({first + ROWS + 1}, 0, 0, 'glad')")
    shop.run(rows(first + ROWS + 2, first + ROWS + 100))
    sent(shop, administrator, wait_until)
    shop.run("alter table orders drop column price; alter table orders add column price numeric(10,2)")
    (told,) = Guardian(shop.pipeline, shop.endpoints, GuardSettings(), patience_s=30).look().concerns
    assert told.kind == "misread"
    assert told.what.startswith(f"{shop.schema}.orders: ")
    assert told.steps[-1].startswith("headrace resnapshot orders  # ")
    subprocess.run(told.steps[0], shell=True, check=True, timeout=60)

    arrived = [change["after"] for change, _ in shop.changes("orders") if change["after"]["id"] >= first]
    by_id = {row["id"]: (row["cost"], row["price"], row["mood"]) for row in arrived}
    expected = {n: (f"-{n}.00", f"{n}.50", "calm") for n in range(first, first + ROWS + 101)}
    assert by_id == {**expected, first + ROWS + 1: ("0.00", "0.00", "glad")}
