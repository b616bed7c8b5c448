"""Ports and secrets are chosen once; processes are recognised by more than a number."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from contracts.errors import Fatal
from contracts.settings import PostgresSettings, Settings
from infra import jars, preflight
from infra.java import parse_version
from infra.local import process
from infra.local.deployment import endpoints
from infra.local.layout import LOOPBACK, is_free, open_layout
from infra.local.part import Part
from infra.local.start import _depths


def test_ports_and_secrets_are_the_same_at_every_later_look(tmp_path: Path) -> None:
    first = open_layout(Settings(data_dir=tmp_path))
    with socket.create_server((LOOPBACK, first.ports["kafka"])):  # as when the part runs
        again = open_layout(Settings(data_dir=tmp_path))
    assert (again.ports, again.secrets) == (first.ports, first.secrets)
    assert len(set(first.ports.values())) == len(first.ports)


def test_a_taken_port_is_not_chosen(tmp_path: Path) -> None:
    ports = open_layout(Settings(data_dir=tmp_path)).ports
    (tmp_path / "ports.json").unlink()
    with socket.create_server((LOOPBACK, ports["kafka"])):
        assert ports["kafka"] not in open_layout(Settings(data_dir=tmp_path)).ports.values()


def test_secrets_are_for_the_owner_alone_and_never_printed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    secrets = open_layout(settings).secrets
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    assert len(set(secrets.values())) == len(secrets)
    assert not any(secret in repr(endpoints(settings)) for secret in secrets.values())


def test_an_address_in_the_settings_replaces_the_local_part(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, source=PostgresSettings(host="db", database="shop", user="me"))
    found = endpoints(settings)
    assert (found.source.host, found.source.database, found.replicator.user) == ("db", "shop", "me")
    assert found.warehouse.host == LOOPBACK


def test_a_pid_that_the_kernel_gave_to_somebody_else_is_not_ours() -> None:
    mine, inits = process.start_mark(os.getpid()), process.start_mark(1)  # a parent may be of the same clock tick
    assert mine
    assert inits
    ours = process.Record("part", os.getpid(), mine, 0, "log", None, 15, 1)
    reused = process.Record("part", os.getpid(), inits, 0, "log", None, 15, 1)
    assert process.alive(ours)
    assert not process.alive(reused)
    assert process.members(reused) == []
    process.stop(reused)  # would end this very test run


def test_parts_that_wait_for_one_another_are_refused() -> None:
    def part(name: str, *after: str) -> Part:
        return Part(name=name, argv=(), ready=lambda: None, after=after)

    assert _depths([part("c", "b"), part("b", "a", "not here"), part("a")]) == {"a": 0, "b": 1, "c": 2}
    with pytest.raises(Fatal, match="a -> b -> a"):
        _depths([part("a", "b"), part("b", "a")])


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21"', 21),
        ("", None),
    ],
)
def test_java_versions(text: str, major: int | None) -> None:
    assert parse_version(text) == major


def test_every_declared_jar_is_locked_and_nothing_else() -> None:
    declared = {f"{conf.removesuffix('->default')}/{name}-{revision}.jar" for name, revision, conf in jars.declared()}
    assert declared == set(jars.read_lock())


def test_a_jar_with_another_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "a.jar").write_bytes(b"as released")
    locked = jars.checksums(tmp_path)
    jars.verify(tmp_path, locked)
    (tmp_path / "spark" / "a.jar").write_bytes(b"as altered")
    with pytest.raises(Fatal, match=r"spark/a\.jar"):
        jars.verify(tmp_path, locked)


def test_preflight_names_a_pyspark_that_the_jars_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight._jars() == []
    monkeypatch.setattr(preflight, "version", lambda package: "4.1.0" if package == "pyspark" else "4.4.0")
    (finding,) = preflight._jars()
    assert finding.stops
    assert "pyspark 4.1.0" in finding.what
    assert "4.0.2" in finding.what


def test_preflight_names_who_holds_a_port(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        findings = [finding for finding in preflight.preflight(tmp_path, [port]) if finding.subject == "ports"]
        assert f"pid {os.getpid()}" in findings[0].what
    assert is_free(port)
