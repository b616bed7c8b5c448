"""Reads asked for in a table of MariaDB: made by the script that we ship, obeyed once by the real Debezium."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pymysql
import pytest
from kafka import KafkaConsumer, TopicPartition
from pyspark.sql import SparkSession

from connectors import debezium, signals
from connectors.mariadb import plan as mariadb_plan
from connectors.mariadb import signal_table
from connectors.mariadb import source as mariadb
from connectors.plan import Plan
from connectors.reads import snapshots
from connectors.reads.reread import read_again
from connectors.reads.table_reads import Notes, open_parts, part_requested
from connectors.rest import Connect
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.errors import Fatal
from contracts.settings import Settings
from infra.local import deployment as local_deployment
from tests.conftest import WaitUntil
from tests.services.any_server import Mariadb, kill_part
from tests.services.mariadb_server import Server
from tests.services.mariadb_server import run as run_on_mariadb
from tests.services.test_any_source import new_source

SCRIPT = Path(signals.__file__).parent / "mariadb_signal_table.sql"


def typed(owner: MariadbEndpoint, refused: str) -> None:
    """What a refusal says, in a shell, where the script is; not as root on this machine."""
    (line,) = re.findall(r"^  mariadb -u root (.*)$", refused, re.MULTILINE)
    command = f"mariadb -h {owner.host} -P {owner.port} -u {owner.user} {line}"
    environment = {**os.environ, "MYSQL_PWD": owner.password.get_secret_value()}
    done = subprocess.run(
        command, shell=True, cwd=SCRIPT.parent, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def planned(source: Mariadb) -> Plan:
    found = Plan(source.name)
    mariadb_plan.add(found, source.pipeline, source.endpoints, source.settings)
    return found


@pytest.fixture(scope="module")
def asked_by_table(
    spark: SparkSession,
    endpoints: Endpoints,
    deployment: Settings,
    mariadb_process: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mariadb]:
    """Its connector ran before it was told of the table."""
    folder = tmp_path_factory.mktemp("signals")
    with new_source("mariadb", spark, endpoints, deployment, folder, mariadb_process) as source:
        assert isinstance(source, Mariadb)
        source.insert((1, 10), (2, 20), (3, 30))
        source.apply()
        file = folder / source.file
        named = {signals.TABLE: f"{source.name}.headrace_signals"}
        file.write_text(json.dumps({**json.loads(file.read_text()), **named}))
        (refused,) = planned(source).refusals
        assert "the table for signals does not exist" in refused
        for _ in range(2):  # safe to run again
            typed(source.endpoints.mariadb, refused)
        assert source.apply() == ["topic", "connector"]
        assert (planned(source).changes, planned(source).warnings) == ([], [])
        yield source


def read(source: Mariadb, where: str = "") -> int:
    return read_again(source.endpoints, source.part, f"{source.name}.orders", where, begins_within_s=90).rows


def asked_over_kafka(source: Mariadb) -> int:
    at = TopicPartition(debezium.signals_topic(source.part), 0)
    with closing(KafkaConsumer(bootstrap_servers=source.endpoints.kafka)) as consumer:
        return int(consumer.end_offsets([at])[at])


def test_a_table_is_read_when_a_row_asks_for_it(asked_by_table: Mariadb) -> None:
    source, first = asked_by_table, [("r", 1), ("r", 2), ("r", 3)]
    assert source.operations() == first
    assert (read(source), read(source, "id > 2 -- not more"), read(source)) == (3, 1, 3)
    source.insert((4, 40))
    assert source.operations() == [*first, *first, ("r", 3), *first, ("c", 4)]
    assert asked_over_kafka(source) == 0

    # Whoever owns the table may delete the old ones; that, and what else becomes of a row, asks for nothing.
    with closing(Notes(source.endpoints.kafka, source.part)) as notes:
        before = len(notes.all())
        source.run(
            "UPDATE {db}.headrace_signals SET data = concat(data, ' ');\n"
            "DELETE FROM {db}.headrace_signals LIMIT 1;\nTRUNCATE TABLE {db}.headrace_signals"
        )
        source.insert((5, 50))
        assert source.operations()[-1] == ("c", 5)
        assert len(notes.all()) == before
    assert read(source, "id = 5") == 1


def test_a_table_that_the_role_may_not_write_is_told_and_put_right(asked_by_table: Mariadb) -> None:
    source, role = asked_by_table, asked_by_table.endpoints.mariadb_replicator.user
    source.run(f"REVOKE INSERT ON {{db}}.headrace_signals FROM {role}@'%'")
    with pytest.raises(Fatal, match="denied") as denied:
        read(source)
    assert "headrace plan" in str(denied.value)
    (refused,) = planned(source).refusals
    assert "may not add a signal" in refused
    source.run(str(re.search(r"^  (GRANT .*);$", refused, re.MULTILINE)[1]))  # type: ignore[index]
    assert planned(source).refusals == []

    source.run("ALTER TABLE {db}.headrace_signals ADD COLUMN more int")
    (refused,) = planned(source).refusals
    assert "not as Debezium reads it" in refused
    source.run("ALTER TABLE {db}.headrace_signals DROP COLUMN more")
    assert (planned(source).refusals, planned(source).changes) == ([], [])
    assert read(source, "id = 1") == 1


def test_a_table_that_is_declared_later_is_read_when_a_row_asks_for_it(asked_by_table: Mariadb) -> None:
    source = asked_by_table
    source.run("CREATE TABLE {db}.returns LIKE {db}.orders;\nINSERT INTO {db}.returns VALUES (1, 10)")
    source.run("SET SESSION sql_log_bin = 0;\nINSERT INTO {db}.returns VALUES (2, 20)")
    source.streams += (source.stream("returns"),)
    assert source.apply() == ["topic", "connector", "first read"]
    source.create_lake()
    assert source.lake("returns") == source.rows("returns") == [(1, 10), (2, 20)]
    assert (asked_over_kafka(source), planned(source).changes) == (0, [])


@pytest.mark.timeout(800)  # Connect starts again, twice
def test_a_request_outlives_a_kill_of_the_connector_before_it_and_is_not_obeyed_again_after_it(
    asked_by_table: Mariadb, wait_until: WaitUntil
) -> None:
    source, name = asked_by_table, asked_by_table.name

    def ask(where: str) -> None:
        """As one who is killed before it sees the read begin."""
        part_requested(source.endpoints.kafka, source.part, f"{name}.orders")
        filtered = {"data-collection": f"{name}.orders", "filter": f"SELECT * FROM {name}.orders WHERE {where}"}
        read = {"type": "BLOCKING", "data-collections": [f"{name}.orders"], "additional-conditions": [filtered]}
        row = (uuid4().hex, "execute-snapshot", json.dumps(read))
        signal_table.write(source.endpoints, source.part, f"{name}.headrace_signals", row)

    def begun() -> int:
        return snapshots.reads_of(notes.all()).begun

    def started_again() -> None:
        local_deployment.up(source.settings)
        with Connect(source.endpoints.connect_url) as connect:
            connect.wait_running(debezium.connector_name(source.part), timeout_s=90)

    with closing(Notes(source.endpoints.kafka, source.part)) as notes:
        before, seen = begun(), source.operations()
        # A part that was asked for and not yet read; the next caller wants the whole table, while the part still waits.
        kill_part(source.settings, "connect")
        source.unseen("DELETE FROM {db}.orders WHERE id = 2")
        ask("id = 1")
        started_again()
        whole = [("r", key) for key, _ in source.rows("orders")]
        assert read(source) == len(whole)
        # Once, because the part may have come behind the first.
        seen += [("r", 1), *whole, *whole]
        assert source.operations() == seen
        assert begun() == before + 3
        assert open_parts(notes.all()) == {}
        assert source.lake() == source.rows("orders"), "what the whole read did not find is gone"

        # Killed while it reads: neither that nor what ended before is read again, and every change arrives.
        with mariadb.connected(source.endpoints.mariadb) as holding:
            holding.execute("SELECT get_lock('the read', 0)")
            ask("get_lock('the read', 120) = 1")
            wait_until(lambda: snapshots.reads_of(notes.all()).last == "IN_PROGRESS", 60, "the read to begin")
            source.insert((7, 70))
            kill_part(source.settings, "connect")
            holding.execute("SELECT release_lock('the read')")
        started_again()
        source.insert((8, 80))
        seen += [("c", 7), ("c", 8)]
        assert source.operations() == seen
        assert begun() == before + 4
        source.unseen("DELETE FROM {db}.orders WHERE id = 3")
        assert read(source) == len(source.rows("orders"))
        assert open_parts(notes.all()) == {}
        assert source.lake() == source.rows("orders")


def test_what_is_to_be_typed_passes_a_shell(mariadb_owner: MariadbEndpoint) -> None:
    name = f"signals_{uuid4().hex[:8]}"
    role = replace(mariadb_owner, user="o'ne\\ill")
    run_on_mariadb(mariadb_owner, f"CREATE DATABASE {name}")
    with mariadb.connected(mariadb_owner) as cursor:
        cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (role.user, role.password.get_secret_value()))
        try:
            (absent,) = signal_table.check(cursor, f"{name}.requests", role)
            typed(mariadb_owner, str(absent))
            assert signal_table.check(cursor, f"{name}.requests", role) == []
            assert signal_table.check_role(f"{name}.requests", role) == []
            cursor.execute(f"REVOKE INSERT ON {name}.requests FROM %s@'%%'", (role.user,))
            (denied,) = signal_table.check_role(f"{name}.requests", role)
            cursor.execute(denied.fix)
            assert signal_table.check_role(f"{name}.requests", role) == []
            cursor.execute("SET GLOBAL read_only = 1")
            (unwritable,) = signal_table.check_role(f"{name}.requests", role)
            assert "over Kafka" in unwritable.fix
            cursor.execute("SET GLOBAL read_only = 0")
            for refused in ("SELECT * FROM {}", "UPDATE {} SET data = ''", "DELETE FROM {}", "DROP TABLE {}"):
                with mariadb.connected(role) as its, pytest.raises(pymysql.err.OperationalError, match="denied"):
                    its.execute(refused.format(f"{name}.requests"))
        finally:
            cursor.execute("SET GLOBAL read_only = 0")
            cursor.execute(f"DROP DATABASE {name}")
            cursor.execute("DROP USER %s@'%%'", (role.user,))
