"""The life of a deployment, with its two quickest parts and one process of the caller's own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg2
import pytest

from contracts.errors import Fatal, ServiceUnavailable
from contracts.settings import Settings
from headrace.overview import crashes
from infra import jars
from infra.local import deployment, process
from infra.local.layout import LOOPBACK, open_layout
from infra.local.part import NotReady, Part, PartStatus

SMALL = ("postgres",)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(data_dir=tmp_path / "deployment")
    yield settings
    deployment.down(settings)


def by_name(settings: Settings) -> dict[str, PartStatus]:
    return {part.name: part for part in deployment.status(settings)}


def sleeper(folder: Path, name: str = "sleeper") -> Part:
    """A process with a child of its own, ready when it says so."""
    said = folder / f"{name}.said"
    script = f"sleep 1000 & echo started; : > {said}; wait"  # no third process

    def ready() -> None:
        if not said.exists():
            raise NotReady("not yet")

    return Part(name=name, argv=("sh", "-c", script), ready=ready)


def test_a_second_up_changes_nothing_and_down_leaves_no_process(settings: Settings, tmp_path: Path) -> None:
    deployment.up(settings, SMALL, [sleeper(tmp_path)])
    before = by_name(settings)
    assert {name for name, part in before.items() if part.state == "running"} == {"postgres", "sleeper"}
    assert all(before[name].memory_bytes for name in ("postgres", "sleeper"))
    deployment.up(settings, SMALL, [sleeper(tmp_path)])
    assert [part.pid for part in by_name(settings).values()] == [part.pid for part in before.values()]
    deployment.down(settings, ["sleeper"])
    deployment.up(settings, (), [sleeper(tmp_path)])  # on its own, after the parts
    assert deployment.down(settings) == ["sleeper", "postgres"]
    assert process.strays(settings.data_dir) == []
    assert deployment.down(settings) == []


def test_a_crashed_part_is_named_with_its_last_lines_and_started_again_with_its_data(settings: Settings) -> None:
    source = deployment.up(settings, SMALL).source
    with psycopg2.connect(**source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("create table kept as select 42 as answer")
    connection.close()
    pid = by_name(settings)["postgres"].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    with suppress(psutil.NoSuchProcess):  # gone already
        psutil.wait_procs([psutil.Process(pid)], timeout=60)
    crashed = by_name(settings)["postgres"]
    assert crashed.state == "crashed"
    assert any("ready to accept connections" in line for line in crashed.last_lines)
    (told,) = crashes(deployment.status(settings))
    assert told.startswith("postgres crashed; the end of ")
    assert "ready to accept connections" in told

    said: list[str] = []
    deployment.up(settings, SMALL, progress=lambda part, message: said.append(f"{part} {message}"))
    assert any(line.startswith(f"postgres had crashed (pid {pid})") for line in said)
    with psycopg2.connect(**source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("select answer from kept")
        assert cursor.fetchone() == (42,)
    connection.close()


def test_a_part_that_was_dying_when_up_looked_at_it_is_started_again(settings: Settings, tmp_path: Path) -> None:
    part = sleeper(tmp_path)
    deployment.up(settings, (), [part])
    (pid,) = (one.pid for one in process.records(settings.data_dir).values())

    def ready() -> None:
        if process.records(settings.data_dir)["sleeper"].pid == pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise NotReady("dying")
        part.ready()

    said: list[str] = []
    deployment.up(
        settings, (), [replace(part, ready=ready)], progress=lambda name, message: said.append(f"{name} {message}")
    )
    assert f"sleeper had crashed (pid {pid}); starting it again" in said
    assert by_name(settings)["sleeper"].state == "running"


def test_a_deployment_whose_starter_was_killed_is_still_managed(settings: Settings) -> None:
    script = f"""
import os, signal
from pathlib import Path
from contracts.settings import Settings
from infra.local import deployment
def kill_myself(part, message):
    if message.startswith("ready"):
        os.kill(os.getpid(), signal.SIGKILL)
deployment.up(Settings(data_dir=Path({str(settings.data_dir)!r})), {SMALL!r}, progress=kill_myself)
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=120, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert by_name(settings)["postgres"].state == "running"
    assert deployment.down(settings) == ["postgres"]
    assert process.strays(settings.data_dir) == []


def test_down_finds_what_no_pid_file_knows(settings: Settings, tmp_path: Path) -> None:
    deployment.up(settings, (), [sleeper(tmp_path)])
    process.forget(settings.data_dir, "sleeper")
    assert len(process.strays(settings.data_dir)) == 2
    deployment.down(settings)
    assert process.strays(settings.data_dir) == []


def test_passwords_are_asked_for_and_the_replicator_may_replicate(settings: Settings) -> None:
    addresses = deployment.up(settings, SMALL)
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(**{**addresses.source.dsn(), "password": "wrong"})
    for endpoint in (addresses.source, addresses.replicator, addresses.warehouse):
        connection = psycopg2.connect(**endpoint.dsn())
        with connection.cursor() as cursor:
            cursor.execute(
                "select rolreplication, rolsuper, current_setting('wal_level') from pg_roles where rolname = %s",
                (endpoint.user,),
            )
            assert cursor.fetchone() == (endpoint.user == "debezium", False, "logical")
        connection.close()


def test_reset_forgets_the_data_and_keeps_the_ports(settings: Settings) -> None:
    source = deployment.up(settings, SMALL).source
    connection = psycopg2.connect(**source.dsn())
    with connection, connection.cursor() as cursor:
        cursor.execute("create table gone (x int)")
    connection.close()
    for ours in ("checkpoints", "trusted"):
        (settings.data_dir / ours).mkdir()
    (settings.data_dir / "edtech.status.json").touch()
    (settings.data_dir / "somebody_elses").mkdir()
    deployment.reset(settings)
    left = {path.name for path in settings.data_dir.iterdir()}
    assert left == {"ports.json", "secrets.json", "deployment.lock", "somebody_elses"}
    assert process.strays(settings.data_dir) == []
    assert deployment.up(settings, SMALL).source == source
    connection = psycopg2.connect(**source.dsn())
    with connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_tables where tablename = 'gone'")
        assert cursor.fetchone() == (0,)
    connection.close()


def test_a_taken_port_and_a_part_that_ends_are_told_with_what_to_do(settings: Settings, tmp_path: Path) -> None:
    port = open_layout(settings).ports["postgres"]
    with socket.create_server((LOOPBACK, port)), pytest.raises(Fatal, match=rf"port {port} .* pid {os.getpid()} "):
        deployment.up(settings, SMALL)
    broken = Part("broken", ("sh", "-c", "echo no such luck; exit 3"), ready=sleeper(tmp_path).ready)
    with pytest.raises(ServiceUnavailable, match=r"(?s)broken ended.*no such luck"):
        deployment.up(settings, (), [broken])


def test_a_mirror_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MAVEN_REPOSITORY", "http://127.0.0.1:9/")
    with pytest.raises(ServiceUnavailable, match="HEADRACE_MAVEN_REPOSITORY"):
        jars._retrieve(tmp_path / "jars", tmp_path / "ivy", lambda _message: None)
    assert not list(tmp_path.glob("jars/*/*.jar"))


def test_pid_files_are_whole_json(settings: Settings, tmp_path: Path) -> None:
    deployment.up(settings, (), [sleeper(tmp_path)])
    (file,) = process.run_dir(settings.data_dir).glob("*")
    assert json.loads(file.read_text())["name"] == "sleeper"
