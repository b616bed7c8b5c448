"""What `plan` says of a MariaDB server and its tables, each asked of the real one; and that its statements help."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from connectors.finding import Finding
from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import changed, check
from contracts.endpoints import MariadbEndpoint
from contracts.errors import PlanRefused, ServiceUnavailable
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.proof_mariadb import mariadb_side
from tests.services.mariadb_server import run

ID = Column("id", "bigint", required=True)


@pytest.fixture
def database(mariadb_owner: MariadbEndpoint) -> Iterator[str]:
    name = f"shop_{uuid4().hex[:8]}"
    run(mariadb_owner, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield name
    run(mariadb_owner, f"DROP DATABASE {name}")


def part(database: str, table: str, *columns: Column) -> Pipeline:
    """One stream of these columns and the key `id`."""
    source = TableSource(database, table, system="mariadb")
    stream = Stream("p", table, f"p.mariadb.{source.qualified}", source, (ID, *columns), ("id",), file=Path("t.yaml"))
    return Pipeline("p.mariadb", (stream,), Path(), Path(), Path())


def findings(owner: MariadbEndpoint, database: str, *columns: Column, table: str = "t") -> list[Finding]:
    """What is found without what is said of the server."""
    with mariadb.connected(owner) as cursor:
        found = check(cursor, part(database, table, *columns), server_id="1")
    return [finding for finding in found if finding.table]


def server_findings(owner: MariadbEndpoint) -> list[Finding]:
    with mariadb.connected(owner) as cursor:
        return [finding for finding in check(cursor, part("none", "t"), server_id="7") if not finding.table]


def test_a_server_as_it_comes_is_refused_and_the_statements_help(mariadb_owner: MariadbEndpoint) -> None:
    loose = "SET GLOBAL sql_mode = 'STRICT_TRANS_TABLES';\nSET GLOBAL binlog_format = MIXED;\n"
    run(mariadb_owner, f"{loose}SET GLOBAL log_bin_compress = ON")
    found = server_findings(mariadb_owner)
    named = {finding.found.split()[0] for finding in found}
    assert named == {"binlog_format", "log_bin_compress", "server_id", "STRICT_TRANS_TABLES"}
    for finding in found:
        assert finding.level == "refusal"
        run(mariadb_owner, finding.fix.split("--")[0])
    try:
        assert server_findings(mariadb_owner) == []
    finally:
        run(mariadb_owner, "SET GLOBAL server_id = 7")


@pytest.mark.parametrize(
    ("kind", "declared", "expected"),
    [
        ("int unsigned", "int", "bigint"),
        ("bigint unsigned", "decimal(20,0)", "sourceType: bigint unsigned"),
        ("decimal(12,4)", "decimal(12,2)", "decimal(12,4)"),
        ("time", "string", "arrives as NULL"),
        ("float", "double", "16777200"),
        ("float", "double", ".`t` MODIFY `v` …;  -- make it a DOUBLE"),
        ("varchar(10) character set cp1251", "string", ".`t` CONVERT TO CHARACTER SET utf8mb4;"),
        ("decimal(40,2)", "decimal(38,2)", ".`t` MODIFY `v` …;  -- give it 38 digits at most"),
        ("uuid", "string", "CHAR(36)"),
        ("bit(12)", "binary", "another order"),
        ("enum('a','b,c')", "string", "a comma"),
        ("varchar(10) character set latin1", "string", "varchar(10) latin1"),
        ("varchar(10) character set cp1251", "string", "utf8mb4"),
        ("datetime", "date", "timestamp_ntz"),
        ("geometry", "binary", "does not know"),
    ],
)
def test_a_type_whose_values_would_arrive_altered_is_refused(
    mariadb_owner: MariadbEndpoint, database: str, kind: str, declared: str, expected: str
) -> None:
    run(mariadb_owner, f"CREATE TABLE {database}.t (id bigint PRIMARY KEY, v {kind})")
    (finding,) = findings(mariadb_owner, database, Column("v", declared))
    assert finding.level == "refusal"
    assert expected in str(finding)


@pytest.mark.parametrize(
    ("kind", "declared"),
    [
        ("mediumint unsigned", Column("v", "int")),
        ("bigint unsigned", Column("v", "decimal(20,0)", source_type="bigint unsigned")),
        ("decimal(12,4)", Column("v", "decimal(14,4)")),
        ("double", Column("v", "double")),
        ("year", Column("v", "int")),
        ("bit(1)", Column("v", "boolean")),
        ("enum('a','it''s b')", Column("v", "string")),
        ("json", Column("v", "struct<a:int>", json=True)),
        ("varchar(10) character set latin1", Column("v", "string", source_type="varchar(10) latin1")),
        ("datetime(6)", Column("v", "timestamp_ntz")),
        ("timestamp(6) null", Column("v", "timestamp")),
        ("varbinary(10)", Column("v", "binary")),
    ],
)
def test_a_type_whose_values_arrive_as_they_are_passes(
    mariadb_owner: MariadbEndpoint, database: str, kind: str, declared: Column
) -> None:
    run(mariadb_owner, f"CREATE TABLE {database}.t (id bigint PRIMARY KEY, v {kind})")
    assert findings(mariadb_owner, database, declared) == []


def test_rows_that_the_binlog_would_not_carry_are_refused(mariadb_owner: MariadbEndpoint, database: str) -> None:
    run(
        mariadb_owner,
        f"""CREATE TABLE {database}.parent (id bigint PRIMARY KEY);
CREATE TABLE {database}.t (id bigint PRIMARY KEY, d date,
    CONSTRAINT up FOREIGN KEY (id) REFERENCES {database}.parent (id) ON DELETE CASCADE);
CREATE TABLE {database}.keyless (id bigint);
CREATE TABLE {database}.odd (id bigint PRIMARY KEY, ip inet6)""",
    )
    with mariadb.connected(mariadb_owner) as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"INSERT INTO {database}.parent VALUES (1)")
        cursor.execute(f"INSERT INTO {database}.t VALUES (1, '2024-00-10')")
    told = [str(finding) for finding in findings(mariadb_owner, database, Column("d", "date"))]
    assert [text for text in told if "up ON DELETE CASCADE" in text and "DROP FOREIGN KEY" in text]
    assert [text for text in told if "zero date" in text and "UPDATE" in text]
    assert [text for text in told if "inet6" in text and ".odd.ip" in text], (
        "the definition of any table stops Debezium"
    )
    assert len(told) == 3
    (keyless,) = [one for one in findings(mariadb_owner, database, table="keyless") if one.table.endswith("keyless")]
    run(mariadb_owner, keyless.fix)
    assert [one for one in findings(mariadb_owner, database, table="keyless") if one.table.endswith("keyless")] == []


def test_a_column_that_the_connector_leaves_out_is_no_news(
    mariadb_owner: MariadbEndpoint, database: str, tmp_path: Path
) -> None:
    run(mariadb_owner, f"CREATE TABLE {database}.t (id bigint PRIMARY KEY, note text)")
    declared = replace(part(database, "t"), connectors_dir=tmp_path)
    with mariadb.connected(mariadb_owner) as cursor:
        assert [one.column for one in changed(cursor, declared)] == ["note"]
        (tmp_path / "mariadb.json").write_text(json.dumps({"column.exclude.list": rf"{database}\.t\.note"}))
        assert changed(cursor, declared) == []
        assert [one for one in check(cursor, declared, server_id="1") if one.column] == []


def test_the_role_is_made_with_what_it_needs_and_no_more(mariadb_owner: MariadbEndpoint, database: str) -> None:
    role = replace(mariadb_owner, user=f"reader_{uuid4().hex[:8]}", password=SecretStr("another's"))
    assert mariadb.access(role).missing([database])[0] == "create the role"
    mariadb.grant(mariadb_owner, role, [database])
    assert mariadb.access(role).missing([database]) == []
    assert mariadb.access(role).missing([database, "other"]) == ["grant SELECT, LOCK TABLES on other"]
    mariadb.grant(mariadb_owner, role, [database])
    run(mariadb_owner, f"CREATE TABLE {database}.t (id int PRIMARY KEY)")
    with mariadb.connected(role) as cursor:
        cursor.execute(f"SELECT * FROM {database}.t")
        with pytest.raises(Exception, match="denied"):
            cursor.execute(f"INSERT INTO {database}.t VALUES (1)")
    run(mariadb_owner, f"DROP USER {role.user}@'%'")


def test_no_log_of_the_server_has_the_password_of_the_role(
    mariadb_owner: MariadbEndpoint, database: str, tmp_path: Path
) -> None:
    role = replace(mariadb_owner, user=f"reader_{uuid4().hex[:8]}", password=SecretStr("Told nobody'\\7"))
    run(mariadb_owner, f"SET GLOBAL general_log_file = '{tmp_path / 'general.log'}';\nSET GLOBAL general_log = ON")
    mariadb.grant(mariadb_owner, role, [database])
    run(mariadb_owner, "SET GLOBAL general_log = OFF")
    with mariadb.connected(mariadb_owner) as cursor:
        cursor.execute("SHOW BINARY LOGS")
        newest = cursor.fetchall()[-1][0]
        cursor.execute("SHOW BINLOG EVENTS IN %s", (newest,))
        logged = "\n".join(str(row[-1]) for row in cursor.fetchall())
    general = (tmp_path / "general.log").read_text("utf-8")
    for text in (logged, general):
        assert f"'{role.user}'" in text
        assert "Told nobody" not in text
    assert mariadb.access(role).missing([database]) == []
    run(mariadb_owner, f"DROP USER {role.user}@'%'")


def test_what_another_is_to_run_makes_the_role(mariadb_owner: MariadbEndpoint, database: str) -> None:
    ours = replace(mariadb_owner, user=f"owner_{uuid4().hex[:8]}", password=SecretStr("ours"))
    role = replace(ours, user=f"reader_{uuid4().hex[:8]}", password=SecretStr("its own"))
    mariadb.grant(mariadb_owner, ours, [database])
    with pytest.raises(PlanRefused, match="may not") as refused:
        mariadb.grant(ours, role, [database])
    typed = re.search(r"for each database: mariadb (.*); then, in mariadb: (.*)$", refused.value.next_step or "")
    assert typed, refused.value.next_step
    try:
        subprocess.run(
            f"mariadb -h {mariadb_owner.host} -P {mariadb_owner.port} -u {mariadb_owner.user} {typed[1]}",
            shell=True,
            check=True,
            env=os.environ | {"MYSQL_PWD": mariadb_owner.password.get_secret_value()},
            cwd=mariadb.ROLE_SCRIPT.parent,
            timeout=60,
        )
        run(mariadb_owner, typed[2].replace("…", role.password.get_secret_value()))
        assert mariadb.access(role).missing([database]) == []
    finally:
        run(mariadb_owner, f"DROP USER IF EXISTS {ours.user}@'%', {role.user}@'%'")


def test_a_server_that_takes_no_such_statement_is_told(mariadb_owner: MariadbEndpoint, database: str) -> None:
    ours = replace(mariadb_owner, user=f"owner_{uuid4().hex[:8]}", password=SecretStr("ours"))
    mariadb.grant(mariadb_owner, ours, [database])
    run(mariadb_owner, f"GRANT CREATE USER ON *.* TO {ours.user}@'%' WITH GRANT OPTION;\nSET GLOBAL read_only = ON")
    try:
        with pytest.raises(PlanRefused, match="read-only") as refused:
            mariadb.grant(ours, replace(ours, user="reader"), [database])
        assert "may not" not in refused.value.what
        assert "headrace apply" in refused.value.next_step
    finally:
        run(mariadb_owner, f"SET GLOBAL read_only = OFF;\nDROP USER {ours.user}@'%'")


def test_a_zero_date_that_came_in_all_the_same_is_not_taken_for_none(
    mariadb_owner: MariadbEndpoint, database: str
) -> None:
    dates = (Column("d", "date"), Column("at", "timestamp_ntz"), Column("stamp", "timestamp"))
    run(mariadb_owner, f"CREATE TABLE {database}.t (id bigint PRIMARY KEY, d date, at datetime, stamp timestamp NULL)")
    (stream,) = part(database, "t", *dates).streams
    sides = []
    for zero in (
        "NULL, NULL, NULL",
        "'0000-00-00', NULL, NULL",
        "NULL, '2024-00-00', NULL",
        "NULL, NULL, '0000-00-00'",
    ):
        with mariadb.connected(mariadb_owner) as cursor:
            cursor.execute("SET sql_mode = ''")
            cursor.execute(f"REPLACE INTO {database}.t VALUES (1, {zero})")
        sides.append(mariadb_side(mariadb_owner, stream))
    assert len(set(sides)) == len(sides)


def test_what_is_locked_or_broken_off_is_an_outage(
    mariadb_owner: MariadbEndpoint, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb, "LOCK_WAIT_S", 1)
    run(mariadb_owner, f"CREATE TABLE {database}.t (id bigint PRIMARY KEY, day date)")
    with mariadb.connected(mariadb_owner) as other:
        other.execute(f"LOCK TABLES {database}.t WRITE")
        with pytest.raises(ServiceUnavailable, match="Lock wait timeout"):
            findings(mariadb_owner, database, Column("day", "date"))
    with pytest.raises(ServiceUnavailable, match="MariaDB broke off"):
        _killed(mariadb_owner)


def _killed(owner: MariadbEndpoint) -> None:
    with mariadb.connected(owner) as cursor, mariadb.connected(owner) as other:
        cursor.execute("SELECT connection_id()")
        other.execute("KILL %s", cursor.fetchone())
        cursor.execute("SELECT 1")


def test_a_server_that_goes_away_while_a_table_is_compared_is_no_difference(
    mariadb_owner: MariadbEndpoint, database: str
) -> None:
    run(mariadb_owner, f"CREATE TABLE {database}.t (id bigint PRIMARY KEY)")
    run(mariadb_owner, f"INSERT INTO {database}.t SELECT seq FROM {database}.seq_1_to_500000")
    (stream,) = part(database, "t").streams
    with ThreadPoolExecutor(1) as pool, mariadb.connected(mariadb_owner) as cursor:
        side = pool.submit(mariadb_side, mariadb_owner, stream)
        reading = f"SELECT id FROM information_schema.PROCESSLIST WHERE info LIKE 'SELECT `id` FROM `{database}`%'"
        while not side.done() and not cursor.execute(reading):
            time.sleep(0.01)
        (thread,) = cursor.fetchone() or (0,)
        cursor.execute(f"KILL {thread}")
        with pytest.raises(ServiceUnavailable, match="MariaDB broke off"):
            side.result()
