"""A source that goes away for long, and one whose replica is promoted: nothing is lost, and nothing goes on unsaid."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from pyspark.sql import SparkSession

from connectors import debezium
from connectors.guardian.guard import Guardian, Kept, Report
from connectors.plan import apply
from connectors.postgres import source
from connectors.postgres.server_checks import check_server
from connectors.removal import remove
from connectors.rest import Connect, ConnectorStatus
from contracts.endpoints import Endpoints
from contracts.settings import GuardSettings, Settings
from contracts.stream import Pipeline, Stream, TableSource
from headrace.app import App
from headrace.guarding import Guarding, source_overview
from headrace.running import keep_looking
from streaming_jobs.lake import create_derived
from streaming_jobs.tables import create_tables
from tests.services.failover_site import Replica, Site
from tests.services.test_cdc_order import COLUMNS, Shop

pytestmark = pytest.mark.timeout(800)

# A slot that a replica may copy; and no patience, so that the connector fails at once, as after minutes of trying.
OVERRIDES = {"slot.failover": True, "errors.max.retries": 0, "heartbeat.interval.ms": 300}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    site = Site(Settings(data_dir=folder / "first", pipeline="failover"), folder)
    yield site
    site.close()


@pytest.fixture(scope="module")
def shop(
    spark: SparkSession,
    endpoints: Endpoints,
    deployment: Settings,
    site: Site,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """A table in the site's database, read by the session's Connect."""
    name, folder = f"failover_{uuid4().hex[:8]}", tmp_path_factory.mktemp("failover")
    (folder / "postgres.json").write_text(json.dumps(OVERRIDES))
    orders = Stream(name, "orders", f"{name}.{name}.orders", TableSource(name, "orders"), COLUMNS, ("id",))
    here = replace(endpoints, source=site.endpoints.source, replicator=site.endpoints.replicator)
    shop = Shop(spark, Pipeline(name, (orders,), folder, folder, folder), here, deployment)
    shop.run(f"create schema {name}; create table {name}.orders (id bigint primary key, price numeric(10,2))")
    create_tables(spark, shop.pipeline, shop.lake_url)
    create_derived(spark, shop.pipeline, shop.lake_url)
    apply(shop.plan())
    yield shop
    remove(shop.pipeline, here, with_topics=True)
    spark.sql(f"drop schema {name}_lake cascade")


@pytest.fixture(autouse=True)
def ten_rows(shop: Shop) -> None:
    shop.run("delete from orders; insert into orders select n, n from generate_series(1, 10) as n")


def look(shop: Shop, kept: Kept | None = None, **options: Any) -> Report:
    """What `headrace run` sees that knows `kept`, or `headrace status` by itself."""
    return Guardian(shop.pipeline, shop.endpoints, GuardSettings(), kept, patience_s=30, **options).look()


def critical(report: Report) -> dict[str, str]:
    return {one.kind: one.what for one in report.concerns if one.severity == "critical"}


def failed(shop: Shop) -> bool:
    with Connect(shop.endpoints.connect_url) as connect:
        status = connect.status(debezium.connector_name(shop.pipeline))
        return bool(status and status.failed)


def test_a_source_that_is_away_for_longer_than_the_connector_tries(
    shop: Shop, site: Site, wait_until: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The guardian as `headrace run` has it beside its streams: nobody types anything."""
    guard = GuardSettings(every_s=1, restarts=2, restart_after_s=1)
    settings = Settings(pipeline=shop.pipeline.name, data_dir=tmp_path, guard=guard)
    app = cast(App, SimpleNamespace(pipeline=shop.pipeline, endpoints=shop.endpoints, settings=settings))
    halt, rounds, guarding = threading.Event(), list[Report](), Guarding(app)
    looking = threading.Thread(target=keep_looking, args=(lambda: rounds.append(guarding.round()), guard.every_s, halt))
    looking.start()
    try:
        site.kill_primary()
        wait_until(lambda: failed(shop), 60, "the connector gives up")
        looks = len(rounds) + 8
        wait_until(lambda: len(rounds) >= looks, 120, "more looks than there are restarts")
        assert not any(report.done for report in rounds), "a restart was spent"
        status = source_overview(app)
        assert {one["kind"]: one["severity"] for one in status["concerns"]} == {
            "source away": "warn",
            "connector failed": "warn",
        }
        site.up()
        shop.run("update orders set price = 20 where id = 2; delete from orders where id = 3")
        wait_until(lambda: any(report.done for report in rounds), 60, "the guardian restarts what failed")
        wait_until(lambda: not failed(shop) and not rounds[-1].concerns, 60, "nothing is wrong any more")
    finally:
        halt.set()
        looking.join(timeout=60)
    away = next(one for report in rounds for one in report.concerns if one.kind == "source away")
    told = [record.getMessage() for record in caplog.records if record.name == "headrace.run"]
    assert f"source: {away}" in told
    assert any(one.startswith("source: restarted what had failed") for one in told), told
    assert shop.current() == shop.source()
    assert shop.plan().changes == []


def test_a_promoted_replica_without_the_slot(shop: Shop, site: Site, wait_until: Any) -> None:
    known = look(shop).kept
    replica = site.replica(copies_slots=False)
    with source.connected(site.administrator(replica.port)) as connection:
        refused, *_ = check_server(connection, debezium.default_name(shop.pipeline))
    assert (refused.level, refused.what, refused.fix) == ("refusal", "the server is a standby", "name the primary")
    fail_over(shop, site, replica, wait_until)
    with Connect(shop.endpoints.connect_url) as connect:
        connect.restart(debezium.connector_name(shop.pipeline))
        wait_until(lambda: no_slot(connect.status(debezium.connector_name(shop.pipeline))), 60, "Debezium refuses")
    told_and_read_again(shop, known, "server changed", "slot missing")


def test_a_promoted_replica_that_has_the_slot_but_not_all_that_was_read(
    shop: Shop, site: Site, wait_until: Any
) -> None:
    """Debezium goes on with its slot, behind a position that this server reaches only later: what is written until then
    is never sent."""
    known, name = look(shop).kept, debezium.connector_name(shop.pipeline)
    replica = site.replica(copies_slots=True)
    wait_until(lambda: replica.has_slot(debezium.default_name(shop.pipeline)), 60, "the replica copies the slot")
    fail_over(shop, site, replica, wait_until)
    with Connect(shop.endpoints.connect_url) as connect:
        connect.restart(name)
        wait_until(lambda: not failed(shop), 60, "the connector runs")
        slot = f"select active from pg_replication_slots where slot_name = '{debezium.default_name(shop.pipeline)}'"
        wait_until(lambda: site.ask(slot), 60, "the slot is read")
        read_to = connect.source_lsn(name) or 0
        assert read_to > site.ask("select (pg_current_wal_lsn() - '0/0')::bigint"), "the race did not happen"
        assert not failed(shop), "it goes on as if all were well"
    told_and_read_again(shop, known, "server changed")


def fail_over(shop: Shop, site: Site, replica: Replica, wait_until: Any) -> None:
    """The lake has what the replica never gets; then the replica is the primary and gets rows of its own."""
    replica.cut_off()
    shop.run("insert into orders values (11, 11); update orders set price = -1 where id = 1")
    shop.run("delete from orders where id = 2")
    site.ask("select pg_logical_emit_message(true, 'padding', repeat('x', 20000000))")
    assert shop.current() == shop.source()
    site.kill_primary()
    wait_until(lambda: failed(shop), 60, "the connector gives up")
    replica.promote()
    shop.run("insert into orders values (13, 13); delete from orders where id = 4")


def told_and_read_again(shop: Shop, known: Kept, *kinds: str) -> None:
    """`status` and `plan` say it, nothing is restarted, `apply` reads every table, and then nothing is wrong."""
    for report in (look(shop, known), look(shop)):
        assert critical(report).keys() >= {*kinds}
        assert "another timeline" in critical(report)["server changed"]
        assert report.done == (), "it would go on behind a gap"
    planned = shop.plan()
    assert [change.kind for change in planned.changes] == ["connector"]
    assert "another timeline" in planned.changes[0].before
    apply(planned)
    assert shop.plan().changes == []
    shop.run("update orders set price = 50 where id = 5")
    assert shop.current() == shop.source()
    assert [key for key, _ in shop.source()] == [1, 2, 3, *range(5, 11), 13]
    assert critical(look(shop, report.kept)) == critical(look(shop)) == {}


def no_slot(status: ConnectorStatus | None) -> bool:
    return bool(status and "no longer available on the server" in status.trace.replace("\n", " "))
