"""Tables of a real MariaDB read again through the real Debezium, and what is said of them before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymysql
import pytest
import requests

from connectors import debezium
from connectors.guardian.reader import ReaderGuardian
from connectors.mariadb import log as mariadb_log
from connectors.mariadb import position as mariadb_position
from connectors.mariadb import source as mariadb
from connectors.mariadb.reread import MariadbTable, try_lock
from connectors.plan import apply
from connectors.reads import snapshots
from connectors.reads.reread import about_rows
from connectors.reads.table_reads import Notes
from connectors.rest import Connect
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.errors import Fatal, Retryable, ServiceUnavailable
from contracts.settings import GuardSettings
from contracts.stream import Column, Pipeline
from headrace.app import App
from headrace.proof import source_equals_lake
from headrace.rereading import planned_reads, read_streams_again
from infra.local import process
from infra.local.layout import data_dir
from streaming_jobs.lake import create_derived
from streaming_jobs.tables import create_tables
from tests.conftest import WaitUntil
from tests.services.mariadb_server import run
from tests.services.test_mariadb import Shop, shop, stream_of

__all__ = ["shop"]


def unseen(shop: Shop, statements: str) -> None:
    """Changes that the binlog never had."""
    shop.run(f"SET SESSION sql_log_bin = 0;\n{statements}")


def app_of(shop: Shop) -> App:
    app = App(shop.settings)
    app.__dict__ |= {"pipeline": shop.pipeline, "endpoints": shop.endpoints}
    shop.spark.sql(f"create schema {shop.pipeline.name}")
    return app


def read(app: App, stream: str, where: str = "") -> int:
    (done,) = read_streams_again(app, [stream], where, wait_s=None, progress=lambda *_: None)
    return int(done["rows read"])


def connection(shop: Shop) -> pymysql.Connection[Any]:
    at = shop.endpoints.mariadb
    assert at.password
    password = at.password.get_secret_value()
    return pymysql.connect(host=at.host, port=at.port, user=at.user, password=password, database=shop.pipeline.name)


@contextmanager
def writing(shop: Shop) -> Iterator[list[int]]:
    """Rows are inserted, changed and deleted all the while; the list tells how many times."""
    done, stop = [0], threading.Event()

    def write() -> None:
        with closing(connection(shop)) as opened, opened.cursor() as cursor:
            while not stop.is_set():
                n = done[0]
                cursor.execute(f"INSERT INTO order_lines VALUES ({1_000_000 + n}, 1, 0), ({1_000_000 + n}, 2, 0)")
                cursor.execute(f"UPDATE order_lines SET n = {n} WHERE order_id = {n * 7 % 20_000} AND line = 3")
                cursor.execute(f"DELETE FROM order_lines WHERE order_id = {1_000_000 + n // 2} AND line = 1")
                cursor.execute(f"DELETE FROM order_lines WHERE order_id = {n * 11 % 20_000} AND line = 3")
                opened.commit()
                done[0] += 1
                time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def lines(shop: Shop) -> Shop:
    """Of the shop one table alone: the other is left to the tests of what the types become."""
    return replace(shop, pipeline=replace(shop.pipeline, streams=shop.pipeline.streams[1:]))


def test_what_the_log_never_had_is_there_after_the_table_was_read_again(lines: Shop) -> None:
    shop, app, (stream,) = lines, app_of(lines), lines.pipeline.streams
    apply(shop.plan())
    create_tables(shop.spark, shop.pipeline, shop.lake_url)
    create_derived(shop.spark, shop.pipeline, shop.lake_url)
    shop.through()

    # By a condition: what it is true for is read, nothing is deleted, not even what it was true for.
    unseen(
        shop,
        """UPDATE {db}.order_lines SET n = -n;
INSERT INTO {db}.order_lines VALUES (2, 1, 30);
DELETE FROM {db}.order_lines WHERE line = 2""",
    )
    assert read(app, "order_lines", where="order_id = 1 # not 2") == 1
    shop.take_in()
    shown = f"select order_id, line, n from {stream.history}_current order by 1, 2"
    assert [tuple(row) for row in shop.spark.sql(shown).collect()] == [(1, 1, -10), (1, 2, 20)]

    the_connector_is_restarted_while_it_reads(shop, app)
    a_request_whose_caller_was_killed_comes_first(shop, app)

    # Whole, while a transaction is open and others come and go; so much of it that changes fall into the read.
    unseen(shop, "INSERT INTO {db}.order_lines SELECT seq, 3, seq FROM {db}.seq_1_to_20000")
    with closing(connection(shop)) as opened, opened.cursor() as cursor, writing(shop) as written:
        cursor.execute("UPDATE order_lines SET n = 77 WHERE order_id = 2 AND line = 1")
        cursor.execute("DELETE FROM order_lines WHERE order_id = 1 AND line = 1")
        (planned,) = planned_reads(app, ["order_lines"], "")
        before = written[0]
        assert read(app, "order_lines") > 15_000
        assert written[0] > before + 10
        opened.commit()
    assert planned["rows gone from the source"] == "are deleted in the current state"
    assert planned["rows, about"] > 10_000
    shop.take_in()
    (finding,) = source_equals_lake(app)
    assert finding.equal, finding
    assert shop.sides(stream)[0][0] > 10_000

    # No row is left to say so: the connector tells it, and from where on it counts.
    unseen(shop, "DELETE FROM {db}.order_lines")
    assert read(app, "order_lines") == 0
    with closing(Notes(shop.endpoints.kafka, shop.pipeline.of("mariadb"))) as notes:
        few = notes.table_reads()[stream.table_source.qualified].few
    assert few
    assert few.rows == 0

    # A definition that is altered meanwhile may have been mixed up with the one before.
    table = MariadbTable(shop.endpoints, shop.pipeline.of("mariadb"), stream.table_source)
    table.prepare(timeout_s=60)
    assert table.changed() == ""
    shop.run("ALTER TABLE {db}.order_lines COMMENT 'another'")
    assert "altered" in table.changed()

    the_log_is_dropped_before_it_was_read(shop)
    shop.take_in()
    source, lake = shop.sides(stream)
    assert source == lake


def the_connector_is_restarted_while_it_reads(shop: Shop, app: App) -> None:
    """The changes go on, whatever the connector says of itself until the next read has ended."""
    part = shop.pipeline.of("mariadb")
    name = debezium.connector_name(part)
    seen: list[str] = []

    def restart_once_it_reads() -> None:
        with Connect(shop.endpoints.connect_url) as connect:
            deadline = time.monotonic() + 60
            while "snapshot" not in (connect.source_offset(name) or {}) and time.monotonic() < deadline:
                time.sleep(0.05)
            try:
                mariadb_position.quiesced(part, shop.endpoints, timeout_s=0.5)
            except ServiceUnavailable as error:
                seen.append(str(error))
            log = process.log_file(data_dir(shop.settings), "connect")
            told = log.stat().st_size
            where = f"{shop.endpoints.connect_url}/connectors/{name}/restart?includeTasks=true"
            requests.post(where, timeout=60).raise_for_status()
            # Once it stops it ends at the next row, for which a task that is stopped may not wait for long.
            deadline = time.monotonic() + 60
            while b"Stopping down connector" not in log.read_bytes()[told:] and time.monotonic() < deadline:
                time.sleep(0.05)
        holding.execute("SELECT release_lock('the read')")

    # Its first row waits for a lock: however long all that takes, it is in the middle.
    with mariadb.connected(shop.endpoints.mariadb) as holding:
        holding.execute("SELECT get_lock('the read', 0)")
        assert holding.fetchone() == (1,)
        thread = threading.Thread(target=restart_once_it_reads)
        thread.start()
        try:
            with pytest.raises(Retryable, match="broke off reading"):
                read(app, "order_lines", where="get_lock('the read', 120) = 1")
        finally:
            thread.join()
    assert seen, "rows that are on their way were not waited for"
    with Connect(shop.endpoints.connect_url) as connect:
        shop.run("INSERT INTO {db}.order_lines VALUES (5, 5, 5)")
        shop.through()
        assert (connect.source_offset(name) or {})["snapshot"] == "BLOCKING"


def a_request_whose_caller_was_killed_comes_first(shop: Shop, app: App) -> None:
    """Two that wait at once would let the connector hang."""
    part = shop.pipeline.of("mariadb")
    name, (stream,) = debezium.connector_name(part), part.streams
    with Connect(shop.endpoints.connect_url) as connect:
        connect.stop(name)
        connect.wait_stopped(name)
        snapshots.signal(shop.endpoints.kafka, part, [stream.table_source.qualified], "order_id = 1")
        with pytest.raises(ServiceUnavailable, match="not taken up an earlier request"):
            snapshots.earlier_taken(shop.endpoints, part, timeout_s=2)
        connect.resume(name)
    deadline = time.monotonic() + 60
    while True:
        try:
            assert read(app, "order_lines", where="order_id = 2") == 1
        except Retryable:  # it reads
            assert time.monotonic() < deadline
            time.sleep(1)
        else:
            break
    shop.through()


def the_log_is_dropped_before_it_was_read(shop: Shop) -> None:
    """It is told, and the steps read every table again."""
    part, role = shop.pipeline.of("mariadb"), shop.endpoints.mariadb_replicator
    name = debezium.connector_name(part)
    reads, log = partial(mariadb.is_read, role), partial(mariadb_log.look, role)
    guardian = ReaderGuardian(part, shop.endpoints, GuardSettings(), is_read=reads, log=log, patience_s=30)
    with Connect(shop.endpoints.connect_url) as connect:
        assert guardian.look().concerns == ()
        connect.stop(name)
        connect.wait_stopped(name)
        assert guardian.look().concerns == ()
        shop.run("INSERT INTO {db}.order_lines VALUES (9, 9, 9), (9, 8, 8);\nFLUSH BINARY LOGS")
        shop.run("SET GLOBAL binlog_expire_logs_seconds = 1")
        soon = guardian.look().concerns
        shop.run("SET GLOBAL binlog_expire_logs_seconds = 864000")
        assert [(one.kind, one.severity) for one in soon] == [("log in danger", "critical")]
        assert guardian.look().concerns == ()

        newest = log().files[-1]
        deadline = time.monotonic() + 30
        while log().files[0] != newest and time.monotonic() < deadline:
            shop.run(f"PURGE BINARY LOGS TO '{newest}'")  # keeps what the engine may need after a crash
            time.sleep(0.1)
        lost = guardian.look().concerns
        assert [(one.kind, one.severity) for one in lost] == [("log lost", "critical")]
        assert lost[0].steps == ("headrace apply", "headrace verify --wait 600")
        planned = shop.plan()
        (change,) = planned.changes
        assert change.kind == "connector"
        assert "dropped a part of its binlog" in change.before
        apply(planned)
    assert guardian.look().concerns == ()
    assert shop.plan().changes == []


@pytest.fixture
def counted(mariadb_owner: MariadbEndpoint, endpoints: Endpoints) -> Iterator[tuple[Endpoints, Pipeline]]:
    """A table of a thousand rows that nobody captures."""
    name = f"counted_{uuid4().hex[:8]}"
    run(mariadb_owner, f"CREATE DATABASE {name};\nCREATE TABLE {name}.t (id int PRIMARY KEY, v int)")
    run(mariadb_owner, f"INSERT INTO {name}.t SELECT seq, seq FROM {name}.seq_1_to_1000")
    stream = stream_of(name, "t", (Column("id", "int", required=True), Column("v", "int")), "id")
    part = Pipeline(name, (stream,), Path(), Path(), Path())
    yield replace(endpoints, mariadb=mariadb_owner, mariadb_replicator=mariadb_owner), part
    run(mariadb_owner, f"DROP DATABASE {name}")


def test_a_condition_that_mariadb_refuses_is_not_asked_for(counted: tuple[Endpoints, Pipeline]) -> None:
    endpoints, part = counted
    table = part.streams[0].table_source.qualified
    assert 900 < about_rows(endpoints, part, table) < 1100
    assert 0 < about_rows(endpoints, part, table, "id > 900 -- of 1000") < 300
    assert about_rows(endpoints, part, table, "id = 1 AND false") == 0
    union = f"true) UNION ALL SELECT * FROM {table} WHERE (true"
    for wrong in ("no_column > 3", "id > (", f"true); DELETE FROM {table}; SELECT (1", union):
        with pytest.raises(Fatal, match="MariaDB does not take the condition"):
            about_rows(endpoints, part, table, wrong)
    assert 900 < about_rows(endpoints, part, table) < 1100


def test_no_read_begins_behind_a_statement_that_writes_for_long(
    counted: tuple[Endpoints, Pipeline], wait_until: WaitUntil
) -> None:
    endpoints, part = counted
    owner = endpoints.mariadb
    slow = f"UPDATE {part.streams[0].table_source.qualified} SET v = sleep(300) WHERE id = 1"

    def write_until_killed() -> None:
        with suppress(ServiceUnavailable):
            run(owner, slow)

    thread = threading.Thread(target=write_until_killed, daemon=True)
    with mariadb.connected(owner) as cursor:

        def writes() -> int:
            cursor.execute(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'UPDATE%' AND STATE = 'User sleep'"
            )
            row = cursor.fetchone()
            return int(row[0]) if row else 0

        thread.start()
        number = wait_until(writes, 60, "the statement has its lock")
        try:
            with pytest.raises(ServiceUnavailable, match="writes has run that long"):
                try_lock(owner, wait_s=1)
        finally:
            cursor.execute(f"KILL QUERY {number}")
            thread.join()
    try_lock(owner)
    run(owner, slow.replace("sleep(300)", "5"))
