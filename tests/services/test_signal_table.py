"""Reads asked for in a table of the source: made by the script that we ship, obeyed once by the real Debezium."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from kafka import KafkaConsumer, TopicPartition
from psycopg2.errors import InsufficientPrivilege

from connectors import debezium
from connectors.plan import apply
from connectors.postgres import signal_table, source
from connectors.reads import snapshots
from connectors.reads.reread import read_again
from connectors.reads.table_reads import Notes
from connectors.rest import Connect
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import Fatal
from contracts.settings import Settings
from infra.local import deployment as local_deployment
from infra.local.layout import open_layout
from infra.local.postgres import bin_dir, endpoint
from tests.conftest import WaitUntil
from tests.services.any_server import kill_part
from tests.services.test_connectors_plan import Shop, new_shop, remove_shop
from tests.services.test_guardian_limits import running

SCRIPT = Path(signal_table.__file__).parents[1] / "signal_table.sql"


def psql(as_role: PostgresEndpoint, *arguments: str) -> None:
    program = [str(bin_dir() / "psql"), "-v", "ON_ERROR_STOP=1", "-h", as_role.host, "-p", str(as_role.port)]
    program += ["-U", as_role.user, "-d", as_role.database, *arguments]
    password = {"PGPASSWORD": as_role.password.get_secret_value()}
    done = subprocess.run(program, env=password, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("signals")
    shop = new_shop(endpoints, deployment, folder, "orders")
    (folder / "postgres.json").write_text(json.dumps({"signal.data.collection": f"headrace_signals.{shop.schema}"}))
    yield shop
    remove_shop(shop)
    shop.run("DROP SCHEMA IF EXISTS headrace_signals CASCADE")


@pytest.fixture(scope="module")
def asked_by_table(shop: Shop) -> Shop:
    """With its table, which takes requests."""
    (refused,) = shop.plan().refusals
    assert "the table for signals does not exist" in refused
    typed = re.search(rf"psql -d \w+ (-v role=\S+ -v table={shop.schema}) -f signal_table.sql", refused)
    assert typed
    for _ in range(2):  # safe to run again
        psql(shop.endpoints.source, *typed[1].split(), "-f", str(SCRIPT))
    shop.run("INSERT INTO orders VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, NULL)")
    planned = shop.plan()
    (access,) = [change for change in planned.changes if change.kind == "replication access"]
    assert f"publish headrace_signals.{shop.schema}, {shop.schema}.orders" in access.after
    apply(planned)
    assert shop.plan().changes == []
    assert shop.plan().warnings == []
    return shop


def read(shop: Shop, where: str = "") -> int:
    return read_again(shop.endpoints, shop.pipeline, f"{shop.schema}.orders", where, begins_within_s=90).rows


def operations(shop: Shop) -> list[tuple[str, int]]:
    return [(change["op"], change["after"]["id"]) for change, _ in shop.changes("orders")]


def requests(shop: Shop) -> list[tuple[str, str]]:
    """The table's rows."""
    with source.connected(shop.endpoints.source) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT type, data FROM headrace_signals.{shop.schema}")
        return cursor.fetchall()


def test_a_table_is_read_when_a_row_asks_for_it(asked_by_table: Shop) -> None:
    shop, first = asked_by_table, [("r", 1), ("r", 2), ("r", 3)]
    assert operations(shop) == first
    assert (read(shop), read(shop, "id > 2 -- not more"), read(shop)) == (3, 1, 3)
    shop.run("INSERT INTO orders VALUES (4, 4, NULL)")
    assert operations(shop) == [*first, *first, ("r", 3), *first, ("c", 4)]

    assert [kind for kind, _ in requests(shop)] == ["execute-snapshot"] * 3
    at = TopicPartition(debezium.signals_topic(shop.pipeline), 0)
    with closing(KafkaConsumer(bootstrap_servers=shop.endpoints.kafka)) as consumer:
        assert consumer.end_offsets([at]) == {at: 0}, "it was asked over Kafka"

    # Whoever owns the table may delete the old ones; that, and what else becomes of a row, asks for nothing.
    with closing(Notes(shop.endpoints.kafka, shop.pipeline)) as notes:
        before = len(notes.all())
        table = f"headrace_signals.{shop.schema}"
        shop.run(f"UPDATE {table} SET data = data || ' '; DELETE FROM {table}")
        shop.run(f"INSERT INTO orders VALUES (5, 5, NULL); TRUNCATE {table}")
        assert operations(shop)[-1] == ("c", 5)
        assert len(notes.all()) == before
    assert read(shop, "id = 5") == 1


def test_the_role_may_add_to_the_table_and_nothing_else(asked_by_table: Shop) -> None:
    table = f"headrace_signals.{asked_by_table.schema}"
    with closing(psycopg2.connect(**asked_by_table.endpoints.replicator.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for refused in (
                f"SELECT * FROM {table}",
                f"UPDATE {table} SET data = ''",
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
                "CREATE TABLE headrace_signals.mine (id int)",
            ):
                with pytest.raises(InsufficientPrivilege):
                    cursor.execute(refused)


def test_a_table_that_nobody_hears_is_told_and_put_right(asked_by_table: Shop) -> None:
    shop, table = asked_by_table, f"headrace_signals.{asked_by_table.schema}"
    role, publication = shop.endpoints.replicator.user, debezium.default_name(shop.pipeline)
    shop.run(f"REVOKE INSERT ON {table} FROM {role}")
    with pytest.raises(Fatal, match="permission denied") as denied:
        read(shop)
    assert "headrace plan" in str(denied.value)
    (refused,) = shop.plan().refusals
    shop.run(str(re.search(r"^  (GRANT .*)$", refused, re.MULTILINE)[1]))  # type: ignore[index]
    assert shop.plan().refusals == []

    shop.run(f"ALTER PUBLICATION {publication} DROP TABLE {table}")
    with pytest.raises(Fatal, match=f"publication {publication} does not have it"):
        read(shop)
    (change,) = shop.plan().changes
    assert change.after == f"publish {table}"
    change.apply()
    shop.run(f"ALTER TABLE {table} ADD COLUMN more int")
    (refused,) = shop.plan().refusals
    assert "not as Debezium reads it" in refused
    shop.run(f"ALTER TABLE {table} DROP COLUMN more")
    assert (shop.plan().refusals, shop.plan().changes) == ([], [])
    assert read(shop, "id = 1") == 1


CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: {name}.orders
name: Orders
version: 1.0.0
status: active
customProperties: [{{property: headrace.table, value: {name}.orders}}]
schema:
  - name: orders
    properties:
      - {{name: id, physicalType: bigint, primaryKey: true, primaryKeyPosition: 1, required: true}}
      - name: price
        logicalType: number
        physicalType: decimal(10,2)
        customProperties: [{{property: headrace.sourceType, value: "numeric(10,2)"}}]
      - name: paid_at
        logicalType: timestamp
        physicalType: timestamp
        customProperties: [{{property: headrace.sourceType, value: timestamptz}}]
"""


def test_who_is_interrupted_holds_no_table_and_what_was_asked_for_is_read(
    asked_by_table: Shop, deployment: Settings, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """By the command line: while it holds the tables, and while it waits for the lake, which nobody fills here."""
    shop, name = asked_by_table, asked_by_table.schema
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "orders.yaml").write_text(CONTRACT.format(name=name))
    # Who is started in the background ignores an interrupt, unless somebody says otherwise.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "headrace", "--pipeline", name]
    command += ["--pipeline-dir", str(tmp_path), "resnapshot", "orders", "--wait", "300"]
    environment = {**os.environ, "HEADRACE_DATA_DIR": str(deployment.data_dir)}
    # The local source would be a database of the pipeline's name.
    owner, replicator = shop.endpoints.source, shop.endpoints.replicator
    environment |= {"HEADRACE_SOURCE__HOST": owner.host, "HEADRACE_SOURCE__PORT": str(owner.port)}
    environment |= {"HEADRACE_SOURCE__DATABASE": owner.database}
    for part, role in (("SOURCE", owner), ("REPLICATOR", replicator)):
        environment[f"HEADRACE_{part}__USER"] = role.user
        environment[f"HEADRACE_{part}__PASSWORD"] = role.password.get_secret_value()

    said = tmp_path / "said"

    @contextmanager
    def typed() -> Iterator[subprocess.Popen[bytes]]:
        """Interrupted where the block ends, while it still waits."""
        with said.open("w") as errors:
            process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=errors)
        try:
            yield process
            assert process.poll() is None, said.read_text()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130, said.read_text()
        finally:
            process.kill()
            process.wait(timeout=30)
        assert "Interrupted; no table is held" in said.read_text()
        assert "Traceback" not in said.read_text()

    def held() -> bool:
        with source.connected(shop.endpoints.source) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'AccessShareLock' AND relation = %s::regclass "
                "AND pid <> pg_backend_pid())",
                (f"{name}.orders",),
            )
            (found,) = cursor.fetchone() or (False,)
        return bool(found)

    with closing(Notes(shop.endpoints.kafka, shop.pipeline)) as notes:
        with typed():
            wait_until(held, 60, "the tables to be held")
        wait_until(lambda: not held(), 5, "the tables to be let go")

        before = snapshots.reads_of(notes.all()).told
        with typed():
            wait_until(lambda: snapshots.reads_of(notes.all()).told >= before + 5, 90, "the read to end")
            wait_until(lambda: not held(), 5, "the tables to be let go")
            time.sleep(2)
    # Nobody stands in the way of the next.
    assert read(shop) == len({key for _, key in operations(shop)})


@pytest.mark.timeout(800)  # Connect starts again, twice
def test_a_request_outlives_a_kill_of_the_connector_before_it_and_is_not_obeyed_again_after_it(
    asked_by_table: Shop, deployment: Settings, wait_until: WaitUntil
) -> None:
    shop, table = asked_by_table, f"{asked_by_table.schema}.orders"
    administrator = endpoint(open_layout(deployment), shop.endpoints.source.database, "postgres")
    name = debezium.connector_name(shop.pipeline)

    def sender() -> int:
        with source.connected(administrator) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NOT NULL",
                (debezium.default_name(shop.pipeline),),
            )
            (pid,) = cursor.fetchone() or (0,)
        return int(pid)

    def begun() -> int:
        return snapshots.reads_of(notes.all()).begun

    with closing(Notes(shop.endpoints.kafka, shop.pipeline)) as notes:
        shop.changes("orders")
        before, seen, held = begun(), operations(shop), sender()
        os.kill(held, signal.SIGSTOP)  # sends nothing more
        try:
            with Connect(shop.endpoints.connect_url) as connect:
                snapshots.ask(shop.endpoints, shop.pipeline, connect, [table], "id = 2")
                snapshots.ask(shop.endpoints, shop.pipeline, connect, [table], "id = 3")
            assert begun() == before
            kill_part(shop.settings, "connect")
        finally:
            os.kill(held, signal.SIGCONT)
        local_deployment.up(shop.settings)
        wait_until(lambda: begun() == before + 2, 120, "the reads that were asked for before the kill")
        assert operations(shop) == [*seen, ("r", 2), ("r", 3)]

        # What it reads was told of and may be gone from its memory: it is not read a second time.
        kill_part(shop.settings, "connect")
        local_deployment.up(shop.settings)
        with Connect(shop.endpoints.connect_url) as connect:
            connect.wait_running(name, timeout_s=90)
        shop.run("INSERT INTO orders VALUES (6, 6, NULL)")
        assert operations(shop) == [*seen, ("r", 2), ("r", 3), ("c", 6)]
        assert begun() == before + 2
        assert read(shop, "id = 6") == 1


@pytest.mark.parametrize("schema", ["headrace_signals", "own"])
def test_what_is_to_be_typed_passes_a_shell(tmp_path: Path, schema: str) -> None:
    with running(tmp_path) as (_, superuser), source.connected(superuser) as connection:
        (absent,) = signal_table.check(connection, f"{schema}.sales", "o'neill")
    typed = shlex.split(absent.fix, comments=True)
    assert typed == ["psql", "-d", "narrow", "-v", "role=o'neill", "-v", "table=sales", "-f", "signal_table.sql"]
