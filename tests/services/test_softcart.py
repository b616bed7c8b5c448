"""The softcart pipeline's MariaDB side: its SQL runs, its tables are what the contracts say, its backup restores."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pymysql
import pytest
from pydantic import SecretStr

from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import check
from contracts.endpoints import MariadbEndpoint
from contracts.loader import load_pipeline
from headrace.proof_mariadb import mariadb_side
from producers.generator.declaration import load_sample_data
from producers.generator.generate import generate
from tests.services.mariadb_server import run

PIPELINE = load_pipeline("softcart")
SQL = {name: (PIPELINE.connectors_dir / f"{name}.sql").read_text("utf-8") for name in ("source_ddl", "administration")}


@pytest.fixture(scope="module")
def owner(mariadb_owner: MariadbEndpoint) -> Iterator[MariadbEndpoint]:
    run(mariadb_owner, SQL["source_ddl"])
    run(mariadb_owner, SQL["administration"])
    yield mariadb_owner
    run(mariadb_owner, "DROP DATABASE sales;\nDROP DATABASE inventory")
    run(mariadb_owner, "DROP USER shop@'%', stockkeeper@'%', headrace_owner@'%';\nDROP USER backup@'localhost'")


def test_the_tables_are_what_the_contracts_say(owner: MariadbEndpoint) -> None:
    run(owner, SQL["source_ddl"] + SQL["administration"])  # both may run again
    with mariadb.connected(owner) as cursor:
        assert [
            one for one in check(cursor, PIPELINE.of("mariadb"), server_id="1") if one.level != "warning" and one.table
        ] == []


def test_its_owner_may_make_the_role(owner: MariadbEndpoint) -> None:
    run(owner, "SET PASSWORD FOR headrace_owner@'%' = PASSWORD('a secret')")
    run(owner, "ALTER USER headrace_owner@'%' ACCOUNT UNLOCK")
    ours = replace(owner, user="headrace_owner", password=SecretStr("a secret"))
    role = replace(owner, user="softcart_reader", password=SecretStr("another's"))
    databases = mariadb.databases(PIPELINE.of("mariadb"))
    mariadb.grant(ours, role, databases)
    assert mariadb.access(role).missing(databases) == []
    run(owner, "DROP USER softcart_reader@'%'")


def test_sample_data_are_loaded_as_they_are_and_come_back_from_a_backup(owner: MariadbEndpoint, tmp_path: Path) -> None:
    declared = load_sample_data(PIPELINE.contracts_dir / "sample_data.yaml", PIPELINE)
    answer = generate(declared, PIPELINE, tmp_path, [date(2026, 2, 1)], scale=0.1)
    load = (PIPELINE.connectors_dir / "load.sql").read_text("utf-8").replace("INFILE '", f"INFILE '{tmp_path}/")
    password = owner.password.get_secret_value()
    connection = pymysql.connect(
        host=owner.host, port=owner.port, user=owner.user, password=password, local_infile=True, autocommit=True
    )
    with connection, connection.cursor() as cursor:
        for statement in filter(str.strip, load.split(";\n")):
            cursor.execute(statement)
    expected = {table.stream: (table.rows, table.fingerprint) for table in answer.tables}

    def held() -> dict[str, tuple[int, int]]:
        return {s.name: mariadb_side(owner, s) for s in PIPELINE.of("mariadb").cdc_streams}

    assert held() == expected
    options = tmp_path / "options.cnf"
    options.write_text(f"[client]\nhost={owner.host}\nport={owner.port}\nuser={owner.user}\npassword={password}\n")
    kept = {tmp_path / "backups" / f"softcart-{age}.sql.gz": age for age in (13, 16)} | {tmp_path / "backups" / "x": 16}
    (tmp_path / "backups").mkdir()
    for path, days in kept.items():
        path.touch()
        os.utime(path, (time.time() - days * 86_400,) * 2)
    script = [str(PIPELINE.connectors_dir / "backup.sh"), str(tmp_path / "backups")]
    environment = {**os.environ, "MYSQL_OPTIONS": str(options)}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert [path.exists() for path in kept] == [True, False, True], "14 days of backups are kept, and nothing else goes"
    run(owner, "DELETE FROM sales.order_lines;\nDELETE FROM sales.orders;\nDELETE FROM inventory.stock")
    restore = f"gunzip -c {done.stdout.strip()} | mariadb --defaults-extra-file={options}"
    subprocess.run(restore, shell=True, check=True, timeout=60)  # our own words
    assert held() == expected
