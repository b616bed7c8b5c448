"""What holds for the tables of any source: written once, run for each kind through the real Debezium, Kafka and Spark.

Each ends with what the lake shows as current being what the source holds. What only one system has is in the files of
that system.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
import requests
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pydantic import SecretStr
from pyspark.sql import SparkSession

from connectors import debezium, password
from connectors.guardian.guard import Report
from connectors.reads.reread import read_again
from contracts.canonical import table_fingerprint_spark
from contracts.endpoints import Endpoints
from contracts.errors import HeadraceError
from contracts.settings import GuardSettings, Settings
from headrace.app import App
from headrace.guarding import Guarding
from headrace.running import keep_looking
from infra.local import deployment as local_deployment
from infra.local import process
from infra.local.layout import data_dir
from tests.conftest import WaitUntil
from tests.services.any_documents import Mongodb
from tests.services.any_server import SLOW, Mariadb, Postgres, SqlSource, kill_part
from tests.services.any_source import Source

SERVERS = ("postgres", "mariadb")
with_a_server = pytest.mark.parametrize("source", SERVERS, indirect=True)


def server_of(kind: str, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{kind}_process") if kind != "postgres" else None


def everything_in(topic: str, kafka: str) -> Iterator[bytes]:
    """Key and value of each of its records, as they are."""
    settings = {"bootstrap.servers": kafka, "group.id": "none", "enable.partition.eof": True}
    with closing(Consumer(settings)) as reader:
        for number in reader.list_topics(topic, timeout=10).topics[topic].partitions:
            reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING)])
            while not (record := reader.poll(30)) or not record.error():
                assert record is not None, "no answer"
                yield (record.key() or b"") + (record.value() or b"")


@contextmanager
def new_source(
    kind: str, spark: SparkSession, endpoints: Endpoints, settings: Settings, folder: Path, server: Any
) -> Iterator[Source]:
    """One of this kind, its table made, its lake too; removed at the end with all that is its."""
    name = f"any_{uuid4().hex[:8]}"
    given = (spark, endpoints, settings, folder, name)
    source: Source
    if kind == "mariadb":
        role = replace(server.owner, user=f"reader_{name}", password=SecretStr(f"reads {uuid4().hex}"))
        reached = replace(endpoints, mariadb=server.owner, mariadb_replicator=role)
        source = Mariadb(spark, reached, settings, folder, name, server=server)
    elif kind == "mongodb":
        reached = replace(endpoints, mongodb=server.reader)
        source = Mongodb(spark, reached, settings, folder, name, server=server)
    else:
        source = Postgres(*given)
    try:
        source.make()
        source.create_lake()
        yield source
    finally:
        source.remove()


@pytest.fixture(scope="module", params=[*SERVERS, "mongodb"])
def source(
    request: pytest.FixtureRequest,
    spark: SparkSession,
    endpoints: Endpoints,
    deployment: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Source]:
    """Its connector runs, and has read three orders; the tests share it, each with keys of its own."""
    kind, folder = request.param, tmp_path_factory.mktemp("source")
    with new_source(kind, spark, endpoints, deployment, folder, server_of(kind, request)) as made:
        made.insert((1, 10), (2, 20), (3, 30))
        made.apply()
        yield made


@pytest.fixture
def slow_source(
    request: pytest.FixtureRequest, spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path
) -> Iterator[SqlSource]:
    """One of its own: nothing of it is applied, and its first read will be slow."""
    kind = request.param
    with new_source(kind, spark, endpoints, deployment, tmp_path, server_of(kind, request)) as made:
        assert isinstance(made, SqlSource)
        settings = tmp_path / made.file
        settings.write_text(json.dumps({**SLOW, **(json.loads(settings.read_text()) if settings.exists() else {})}))
        yield made


def test_what_was_there_before_is_read(source: Source) -> None:
    assert source.lake() == source.rows("orders") == [(1, 10), (2, 20), (3, 30)]


def test_inserts_updates_replaced_rows_and_deletes(source: Source) -> None:
    source.insert((4, 40), (5, 50), (6, 60))
    source.update(1, 11)
    source.update(4, 41)
    source.replace(4, 42)
    source.replace(3, 31)
    source.delete(5)
    source.delete(2)
    source.delete(6)
    source.insert((6, 61))
    assert source.lake() == source.rows("orders") == [(1, 11), (3, 31), (4, 42), (6, 61)]


@with_a_server
def test_a_primary_key_that_is_changed(source: SqlSource) -> None:
    source.insert((11, 1), (12, 2), (13, 3), (14, 4))
    source.run("UPDATE {db}.orders SET id = 15 WHERE id = 11")
    # Onto the key of a row that goes in the same transaction; and a key that is free again is taken by another row.
    source.at_once("DELETE FROM {db}.orders WHERE id = 12", "UPDATE {db}.orders SET id = 12 WHERE id = 13")
    source.at_once("UPDATE {db}.orders SET id = 16 WHERE id = 14", "INSERT INTO {db}.orders VALUES (14, 5)")
    shown = source.lake()
    assert shown == source.rows("orders")
    assert [row for row in shown if row[0] > 10] == [(12, 3), (14, 5), (15, 1), (16, 4)]


@with_a_server
def test_a_truncate_and_the_same_key_again(source: SqlSource) -> None:
    source.insert((21, 1), (22, 1))
    source.run("TRUNCATE TABLE {db}.orders")
    source.insert((21, 2))
    assert source.lake() == source.rows("orders") == [(21, 2)]


@with_a_server
def test_a_transaction_of_fifty_thousand_rows(source: SqlSource) -> None:
    source.at_once(
        f"INSERT INTO {{db}}.orders SELECT n, n FROM {source.numbers(100_001, 150_000)}",
        "UPDATE {db}.orders SET price = -1 WHERE id = 100001",
        "DELETE FROM {db}.orders WHERE id = 100002",
    )
    shown = source.lake()
    assert shown == source.rows("orders")
    assert len([row for row in shown if row[0] > 100_000]) == 50_000 - 1
    source.run("TRUNCATE TABLE {db}.orders")


@with_a_server
def test_a_table_that_is_declared_while_the_connector_runs_is_read_from_its_beginning(source: SqlSource) -> None:
    """Its columns have names that no contract's can have."""

    def run(statements: str) -> None:
        source.run(statements.replace("|", source.mark))

    run("CREATE TABLE {db}.late (|orderId| bigint PRIMARY KEY, |Unit Price| decimal(10,2))")
    run("INSERT INTO {db}.late VALUES (1, 1), (2, 2), (4, 4), (5, 5)")
    late, names = source.stream("late"), {"id": "orderId", "price": "Unit Price"}
    late = replace(late, columns=tuple(replace(column, field=names[column.name]) for column in late.columns))
    source.streams = (*source.streams, late)
    changed = source.apply()
    assert set(changed) - {"replication access"} == {"topic", "connector", "first read"}
    assert changed[-1] == "first read"
    assert source.plan().changes == []
    run("INSERT INTO {db}.late VALUES (3, 3);\nDELETE FROM {db}.late WHERE |orderId| = 1")
    run("UPDATE {db}.late SET |Unit Price| = 40 WHERE |orderId| = 4")
    run("UPDATE {db}.late SET |orderId| = 50 WHERE |orderId| = 5")
    source.create_lake()
    assert source.lake("late") == source.rows("late") == [(2, 2), (3, 3), (4, 40), (50, 5)]
    spelled = table_fingerprint_spark(late.columns)
    (shown,) = source.spark.sql(f"select {spelled} from {late.history}_current").collect()
    assert tuple(map(int, shown)) == source.proven(late), "what `verify` compares"


@with_a_server
def test_a_read_on_demand_of_a_part_brings_what_was_never_sent(source: SqlSource) -> None:
    source.insert((31, 1), (32, 2))
    before = source.through()
    source.unseen("UPDATE {db}.orders SET price = -price WHERE id = 32")
    table = source.streams[0].table_source.qualified
    done = read_again(source.endpoints, source.part, table, "id between 32 and 40 -- not 31", begins_within_s=90)
    assert done.rows == 1
    orders = source.streams[0].topic, 0
    assert done.end - before[orders] <= 3, "the change was sent, too: a row and the ends of transactions are expected"
    shown = source.lake()
    assert shown == source.rows("orders")
    assert [row for row in shown if row[0] in (31, 32)] == [(31, 1), (32, -2)]


@contextmanager
def guarded(source: SqlSource, folder: Path) -> Iterator[list[Report]]:
    """The guardian as `headrace run` has it beside its streams, and what it saw in each round."""
    guard = GuardSettings(every_s=1, restarts=2, restart_after_s=1)
    settings = Settings(pipeline=source.name, data_dir=folder, guard=guard)
    app = cast(App, SimpleNamespace(pipeline=source.pipeline, endpoints=source.endpoints, settings=settings))
    halt, rounds, guarding = threading.Event(), list[Report](), Guarding(app, source.kind)
    looking = threading.Thread(target=keep_looking, args=(lambda: rounds.append(guarding.round()), guard.every_s, halt))
    looking.start()
    try:
        yield rounds
    finally:
        halt.set()
        looking.join(timeout=60)


def kinds(report: Report) -> set[str]:
    return {one.kind for one in report.concerns}


@with_a_server
def test_a_server_that_is_killed_while_its_changes_are_read_and_stays_away(
    source: SqlSource, wait_until: WaitUntil, tmp_path: Path
) -> None:
    """kill -9: what it had committed arrives, the rest never was, and the changes after it go on. Nobody types anything
    but what starts the server again; no restart of the connector is spent before that."""
    begun, killed = source.committed(), threading.Event()
    written: list[int] = []

    def write() -> None:
        with suppress(Exception):  # the server goes
            while not killed.is_set():
                key = 1000 + len(written)
                source.insert((key, key))
                written.append(key)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        wait_until(lambda: source.committed() > begun + 20, 60, "its changes are read")
        source.kill()
    finally:
        killed.set()
        writing.join(timeout=60)
    with guarded(source, tmp_path) as rounds:
        wait_until(lambda: len(rounds) >= 8, 60, "more looks than there are restarts")
        away = list(rounds)
        source.start()
        assert {key for key, _ in source.rows("orders")} >= set(written), "the server itself has lost what it committed"
        source.insert((2000, 1))
        source.delete(1000)
        shown = source.lake()
        wait_until(lambda: not kinds(rounds[-1]), 60, "nothing is wrong any more")
    assert all("source away" in kinds(report) for report in away)
    assert not any(report.done for report in away), "a restart was spent"
    assert shown == source.rows("orders")
    assert {key for key, _ in shown} >= {2000, *written[1:]}


@with_a_server
def test_no_password_in_what_connect_keeps_or_shows(source: SqlSource, wait_until: WaitUntil) -> None:
    """Neither the right one nor one that the server refuses: the connector's own words are looked at, too."""
    config, wrong = source.folder / source.file, f"wrong {uuid4().hex}"
    config.write_text(json.dumps({"errors.max.retries": "0"}))
    source.apply()
    name = debezium.connector_name(source.part)
    at = f"{source.endpoints.connect_url}/connectors"
    password.write(source.settings.data_dir, source.part.name, SecretStr(wrong))
    requests.post(f"{at}/{name}/restart?includeTasks=true", timeout=60).raise_for_status()

    def trace() -> str:
        tasks = requests.get(f"{at}/{name}/status", timeout=60).json()["tasks"]
        return next((task["trace"] for task in tasks if task["state"] == "FAILED"), "")

    said = wait_until(trace, 90, "the login fails")
    assert "authentication failed" in said or "Access denied" in said, said
    shown = [
        f"{at}?expand=info&expand=status",
        *(f"{at}/{name}{more}" for more in ("", "/config", "/tasks", "/status")),
    ]
    kept = [requests.get(where, timeout=60).content for where in shown]
    stored = list(everything_in("_connect_configs", source.endpoints.kafka))
    kept += [*stored, *everything_in("_connect_status", source.endpoints.kafka)]
    kept.append(process.log_file(data_dir(source.settings), "connect").read_bytes())
    reference = b"${directory:"
    assert any(reference in one and name.encode() in one for one in stored), "the topic was not read"
    assert said.splitlines()[0].encode() in kept[-1], "the log was not read"
    for secret in (source.password, wrong):
        assert secret
        assert not [one for one in kept if secret.encode() in one]
    source.apply()
    wait_until(lambda: not trace(), 60, "it is let in again")


@pytest.mark.parametrize("slow_source", SERVERS, indirect=True)
@pytest.mark.timeout(800)  # Connect starts again
def test_rows_of_a_killed_first_read_that_the_source_has_deleted_do_not_stay(
    slow_source: SqlSource, wait_until: WaitUntil
) -> None:
    """No delete of them is ever sent: the next complete read sweeps what it did not find again."""
    source = slow_source
    source.run(f"INSERT INTO {{db}}.orders SELECT n, n FROM {source.numbers(1, 20_000)}")

    def applied() -> None:
        with suppress(HeadraceError):  # Connect is killed below
            source.apply()

    applying = threading.Thread(target=applied, daemon=True)
    applying.start()
    wait_until(lambda: source.committed() > 500, 120, "the first rows of the first read")
    kill_part(source.settings, "connect")
    emitted = source.committed()
    assert emitted < 20_000
    source.run("DELETE FROM {db}.orders WHERE id <= 10")
    local_deployment.up(source.settings)
    applying.join(timeout=180)
    assert not applying.is_alive()
    changes = source.operations()
    assert {operation for operation, _ in changes} == {"r"}, "the deletes were sent"
    assert {key for _, key in changes} >= set(range(1, 11)), "the race did not happen: no row to sweep was sent"
    shown = source.lake()
    assert len(shown) == 20_000 - 10
    assert shown == source.rows("orders")
