"""The disk of MariaDB's binlog: told by the script that we ship, to nobody else than it says, and compared with what
the binlog may still take."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pymysql
import pytest
from pydantic import SecretStr

from connectors import disk_checks
from connectors.finding import Finding
from connectors.guardian.guard import Report
from connectors.guardian.reader import ReaderGuardian
from connectors.mariadb import binlog_disk
from connectors.mariadb import log as mariadb_log
from connectors.mariadb import source as mariadb
from connectors.mariadb.binlog_disk import Room
from contracts.endpoints import MariadbEndpoint
from contracts.errors import HeadraceError
from contracts.loader import load_pipeline
from contracts.settings import GuardSettings, Settings
from infra.local.deployment import endpoints
from infra.mariadb import plugins, server
from tests.conftest import WaitUntil, missing_service
from tests.services import mariadb_server
from tests.services.mariadb_server import run

DAY = 86_400


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb_server.Server]:
    folder = tmp_path_factory.mktemp("disks")
    try:
        server()
        plugin_dir = plugins(folder)
    except HeadraceError as error:
        missing_service(str(error))
    with mariadb_server.started(folder, f"--plugin-dir={plugin_dir}") as started:
        yield started


@pytest.fixture
def owner(machine: mariadb_server.Server) -> MariadbEndpoint:
    return machine.owner


@pytest.fixture
def role(owner: MariadbEndpoint) -> Iterator[MariadbEndpoint]:
    """As `apply` makes it."""
    found = replace(owner, user="reader", password=SecretStr("another"))
    run(owner, "SET GLOBAL binlog_expire_logs_seconds = 0;\nCREATE DATABASE shop")
    mariadb.grant(owner, found, ["shop"])
    yield found
    run(owner, "DROP USER reader;\nDROP DATABASE shop")


def client(owner: MariadbEndpoint, arguments: str) -> None:
    """What a person types behind `mariadb -u root`."""
    done = subprocess.run(
        f"mariadb -h {owner.host} -P {owner.port} -u {owner.user} {arguments}",
        shell=True,
        env=os.environ | {"MYSQL_PWD": owner.password.get_secret_value()},
        cwd=binlog_disk.SCRIPT.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def uninstall(owner: MariadbEndpoint) -> None:
    head = binlog_disk.SCRIPT.read_text(encoding="utf-8").split("To take it away again:")[1].split("\n\n")[0]
    statements = re.findall(r"^--   (.*;)$", head, re.MULTILINE)
    client(owner, f"-e {shlex.quote(' '.join(statements))}")


@pytest.fixture
def installed(owner: MariadbEndpoint, role: MariadbEndpoint) -> Iterator[MariadbEndpoint]:
    """The script, run twice as `plan` says, and taken away as it says."""
    (hint,) = (one for one in findings(role) if one.level == "hint")
    typed = re.search(r"mariadb -u root (.*)$", hint.fix)
    assert typed, hint.fix
    for _ in range(2):
        client(owner, typed[1])
    yield role
    uninstall(owner)


def findings(role: MariadbEndpoint) -> list[Finding]:
    return disk_checks.check_binlog(looked(role), role.user)


def looked(role: MariadbEndpoint) -> Room:
    found = binlog_disk.look(role)
    assert found
    return found


def asked(role: MariadbEndpoint, statement: str) -> list[tuple[object, ...]]:
    with mariadb.connected(role) as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_the_figures_are_those_of_the_file_system_that_the_binlog_lies_on(
    owner: MariadbEndpoint, installed: MariadbEndpoint
) -> None:
    ((base,),) = asked(owner, "SELECT @@log_bin_basename")
    found = os.statvfs(Path(str(base)).parent)
    room = looked(installed)
    assert (room.disk.answer, room.disk.total_bytes) == ("told", found.f_blocks * found.f_frsize)
    assert abs(room.disk.free_bytes - found.f_bavail * found.f_frsize) < 2**30
    held = sum(int(str(row[1])) for row in asked(owner, "SHOW BINARY LOGS"))
    assert (room.held_bytes, room.file_bytes) == (held, 2**30)
    assert 0 < room.per_s < held


def test_the_role_gets_the_two_figures_and_nothing_more_and_the_binlog_holds_nothing_of_it(
    owner: MariadbEndpoint, installed: MariadbEndpoint
) -> None:
    assert asked(installed, "SELECT * FROM information_schema.DISKS") == []
    grants = "\n".join(str(line) for (line,) in asked(installed, "SHOW GRANTS"))
    assert "FILE" not in grants
    assert "GRANT EXECUTE ON PROCEDURE `headrace_disk`.`of_binlog`" in grants
    definer = replace(owner, user="headrace_disk", password=SecretStr(""))
    with pytest.raises(HeadraceError), mariadb.connected(definer):
        pass
    run(owner, "CREATE USER other IDENTIFIED BY 'x'")
    try:
        other = replace(owner, user="other", password=SecretStr("x"))
        with pytest.raises(pymysql.err.OperationalError, match="execute command denied"):
            asked(other, "CALL headrace_disk.of_binlog()")
    finally:
        run(owner, "DROP USER other")
    (file, *_), *_ = asked(owner, "SHOW BINARY LOGS")
    logged = "\n".join(str(row[5]) for row in asked(owner, f"SHOW BINLOG EVENTS IN '{file}'"))
    assert "CREATE DATABASE shop" in logged
    assert "headrace_disk" not in logged


def test_a_procedure_of_somebody_else_is_not_called(owner: MariadbEndpoint, role: MariadbEndpoint) -> None:
    run(
        owner,
        "CREATE DATABASE headrace_disk;\nCREATE PROCEDURE headrace_disk.of_binlog() SQL SECURITY INVOKER SELECT 1, 2;\n"
        "GRANT EXECUTE ON PROCEDURE headrace_disk.of_binlog TO reader",
    )
    try:
        assert looked(role).disk.answer == "absent"
    finally:
        uninstall(owner)
    assert asked(owner, "SELECT 1 FROM mysql.procs_priv") == []


def test_plan_tells_a_binlog_without_an_end_and_its_statement_helps(
    owner: MariadbEndpoint, installed: MariadbEndpoint
) -> None:
    (endless,) = findings(installed)
    assert endless.level == "warning"
    assert endless.what.startswith("the binlog is kept for ever: it has ")
    assert endless.what.endswith(" free on its disk")
    run(owner, endless.fix.split("--")[0])
    assert findings(installed) == []


def guarded(role: MariadbEndpoint) -> Report:
    part, found = load_pipeline("softcart").of("mariadb"), endpoints(Settings(pipeline="softcart"))
    nobody = replace(found, connect_url="http://127.0.0.1:1")
    room = partial(binlog_disk.look, role)
    return ReaderGuardian(part, nobody, GuardSettings(), room=room, patience_s=0.1).look()


def test_who_reads_the_binlog_is_counted_and_a_server_that_needs_no_reader_says_nothing_of_it(
    owner: MariadbEndpoint, role: MariadbEndpoint, tmp_path: Path, wait_until: WaitUntil
) -> None:
    (_, needed), *_ = [
        *asked(owner, "SHOW GLOBAL VARIABLES LIKE 'slave_connections_needed_for_purge'"),
        ("before 11.4", 0),
    ]
    room = looked(role)
    assert (room.readers_needed, room.readers) == (int(str(needed)), 0)
    assert room.held_back == (room.readers_needed > 0)
    ((file, *_), *_) = asked(owner, "SHOW BINARY LOGS")
    reads = ["mariadb-binlog", "--read-from-remote-server", "--stop-never", "--raw", f"--result-file={tmp_path}/"]
    reads += [f"--host={role.host}", f"--port={role.port}", f"--user={role.user}", str(file)]
    environment = os.environ | {"MYSQL_PWD": role.password.get_secret_value()}
    with subprocess.Popen(reads, env=environment) as reader:
        try:
            wait_until(lambda: looked(role).readers == 1, 30, "its one reader is seen")
        finally:
            reader.kill()


def test_a_plugin_that_is_taken_away_is_told_and_hides_nothing_else(
    owner: MariadbEndpoint, installed: MariadbEndpoint
) -> None:
    run(owner, f"SET GLOBAL binlog_expire_logs_seconds = {DAY}")
    report = guarded(installed)
    assert [one.kind for one in report.concerns] == ["connect away"]
    assert report.disk_bytes == looked(installed).disk.total_bytes
    run(owner, "UNINSTALL PLUGIN disks")
    (failed,) = findings(installed)
    assert (failed.level, "DISKS" in failed.what) == ("warning", True)
    report = guarded(installed)
    assert {one.kind for one in report.concerns} == {"connect away", "disk unknown"}
    assert report.disk_bytes is None


def test_a_binlog_that_was_made_anew_does_not_come_to_what_was_read(
    owner: MariadbEndpoint, role: MariadbEndpoint
) -> None:
    ((file, *_),) = asked(owner, "SHOW MASTER STATUS")
    ((gtids,),) = asked(owner, "SELECT @@gtid_binlog_pos")
    read_to = {"file": file, "gtids": gtids}
    assert mariadb_log.unread(read_to, mariadb_log.look(role), 0) is None
    for statement in ("RESET MASTER", "CREATE TABLE shop.t (id int)"):
        run(owner, statement)
        left = mariadb_log.unread(read_to, mariadb_log.look(role), 0)
        assert left
        assert (left.gone, left.set_back) == (True, True)


def test_of_a_server_without_a_binlog_nothing_is_told(machine: mariadb_server.Server, role: MariadbEndpoint) -> None:
    machine.kill()
    machine.start("--skip-log-bin")
    assert binlog_disk.look(role) is None
    assert mariadb_log.look(role).files == ()
    assert [one.kind for one in guarded(role).concerns] == ["connect away"]
