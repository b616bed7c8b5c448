"""The whole local stack: every part answers, on loopback only, and they work together."""

from __future__ import annotations

import getpass
import uuid

import psutil
import pytest
import requests
from pyhive import hive

from contracts.endpoints import Endpoints
from contracts.settings import Settings
from infra.local import deployment as local_deployment
from infra.local import hdfs, process
from infra.local.layout import open_layout
from tests.conftest import WaitUntil


def unique_name() -> str:
    return f"infra_{uuid.uuid4().hex[:8]}"


def test_every_part_runs(deployment: Settings) -> None:
    found = local_deployment.status(deployment)
    assert [(part.name, part.state) for part in found] == [(name, "running") for name in local_deployment.PARTS]


def test_only_loopback_listens(deployment: Settings) -> None:
    for name, record in process.records(deployment.data_dir.absolute()).items():
        for member in process.members(record):
            for connection in member.net_connections():
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr[0] in ("127.0.0.1", "::ffff:127.0.0.1"), name


def test_a_delta_table_is_written_and_read_over_hiveserver2_with_two_replicas(
    deployment: Settings, endpoints: Endpoints, wait_until: WaitUntil
) -> None:
    schema = unique_name()
    connection = hive.connect(host=endpoints.sql_host, port=endpoints.sql_port, username=getpass.getuser())
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"create schema {schema}")
            location = f"{endpoints.hdfs_url}/{schema}/t"
            cursor.execute(f"create table {schema}.t using delta location '{location}' as select 7 as x")
            cursor.execute(f"select sum(x) from {schema}.t")
            assert cursor.fetchall() == [(7,)]
            cursor.execute(f"drop table {schema}.t")
            cursor.execute(f"drop schema {schema}")
    finally:
        connection.close()
    where = f"{hdfs.http_url(open_layout(deployment))}/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"

    def state() -> dict[str, int]:
        found: dict[str, int] = requests.get(where, timeout=30).json()["beans"][0]
        return found

    assert state()["BlocksTotal"] > 0
    # A client that asked for the default of three would leave every block short of one, for ever.
    wait_until(lambda: state()["LowRedundancyBlocks"] == 0, 60, "every block has its two replicas")


def test_a_stranger_reads_and_changes_nothing(endpoints: Endpoints) -> None:
    connection = hive.connect(host=endpoints.sql_host, port=endpoints.sql_port, username="stranger")
    try:
        with connection.cursor() as cursor:
            cursor.execute("show schemas")
            assert ("default",) in cursor.fetchall()
            with pytest.raises(hive.OperationalError, match="Permission denied: user=stranger"):
                cursor.execute(f"create schema {unique_name()}")
    finally:
        connection.close()


def test_connect_runs_exactly_once_and_reads_passwords_from_the_secrets_folder_alone(
    deployment: Settings, endpoints: Endpoints
) -> None:
    folder = deployment.data_dir.absolute() / "secrets"
    (folder / "infra_test").write_text("headrace_slot")
    answers = {}
    for where in (folder, deployment.data_dir.absolute()):
        config = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "topic.prefix": "infra_test",
            "database.hostname": endpoints.replicator.host,
            "database.port": str(endpoints.replicator.port),
            "database.user": endpoints.replicator.user,
            "database.password": endpoints.replicator.password.get_secret_value(),
            "database.dbname": endpoints.replicator.database,
            "slot.name": f"${{directory:{where}:infra_test}}",
            "plugin.name": "pgoutput",
            "exactly.once.support": "required",
        }
        url = f"{endpoints.connect_url}/connector-plugins/PostgresConnector/config/validate"
        answer = requests.put(url, json={**config, "name": "infra_test"}, timeout=60).json()
        answers[where] = {entry["value"]["name"]: entry["value"] for entry in answer["configs"]}
    (folder / "infra_test").unlink()
    assert answers[folder]["slot.name"]["errors"] == []
    assert answers[folder]["exactly.once.support"]["errors"] == []
    assert answers[deployment.data_dir.absolute()]["slot.name"]["errors"] != []


def test_logs_are_there_for_every_part(deployment: Settings) -> None:
    for name in local_deployment.PARTS:
        local_deployment.logs(deployment, name)
    with pytest.raises(Exception, match="choose among"):
        local_deployment.logs(deployment, "nobody")
