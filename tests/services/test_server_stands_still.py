"""A database server that is there and says nothing any more: what waits for it ends, what takes long does not."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors import answering
from connectors.mariadb import source as mariadb
from connectors.postgres import lost_slot, source
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ServiceUnavailable
from infra.local.layout import LOOPBACK
from tests.services.mariadb_server import Server
from tests.services.test_guardian_limits import running


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresEndpoint, int]]:
    """Who may do everything in the database, and the server's process."""
    folder = tmp_path_factory.mktemp("still")
    with running(folder) as (_, administrator):
        (pid, *_) = (folder / "postgres" / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        yield administrator, int(pid)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "EVERY_S", 0.3)
    monkeypatch.setattr(answering, "ANSWER_S", 2)


def family(pid: int) -> list[int]:
    """The process and its children."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        except OSError:  # it has ended
            continue
        if int(parent) == pid:
            found.append(int(stat.parent.name))
    return found


@contextmanager
def frozen(pid: int, *, after_s: float = 0.5) -> Iterator[None]:
    """The server and all of its processes stand still a moment after the block has begun."""
    stopped: list[int] = []

    def freeze() -> None:
        # The first makes no more of the others.
        os.kill(pid, signal.SIGSTOP)
        stopped.extend(family(pid))
        for one in stopped[1:]:
            os.kill(one, signal.SIGSTOP)

    timer = threading.Timer(after_s, freeze)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)


def ends(wait: Callable[[], object]) -> ServiceUnavailable:
    """What it raises, within seconds: far before the query's own end."""
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="answer any more, and lets nobody in") as broken:
        wait()
    assert time.monotonic() - began < 30
    return broken.value


def test_postgres(postgres: tuple[PostgresEndpoint, int]) -> None:
    owner, pid = postgres

    def wait(seconds: float) -> None:
        with source.connected(owner) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(%s)", (seconds,))

    wait(1.5)  # the server lets others in meanwhile
    with frozen(pid):
        assert str(owner.port) in str(ends(lambda: wait(900)))
    wait(0)


def test_mariadb(mariadb_process: Server) -> None:
    def wait(seconds: float) -> None:
        with mariadb.connected(mariadb_process.owner) as cursor:
            cursor.execute("SELECT sleep(%s)", (seconds,))

    wait(1.5)
    with frozen(mariadb_process.child.pid):
        ends(lambda: wait(900))
    wait(0)


@pytest.mark.parametrize("system", ["postgres", "mariadb"])
def test_whoever_waits_for_seconds_only_is_told_so_also_by_a_server_that_is_busy(
    request: pytest.FixtureRequest, system: str
) -> None:
    if system == "postgres":
        owner, pid = request.getfixturevalue("postgres")
        asked = replace(owner, answer_s=2)
    else:
        server = request.getfixturevalue("mariadb_process")
        asked, pid = replace(server.owner, answer_s=2), server.child.pid

    def wait(seconds: float) -> None:
        if system == "postgres":
            with source.connected(asked) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", (seconds,))
        else:
            with mariadb.connected(asked) as cursor:
                cursor.execute("SELECT sleep(%s)", (seconds,))

    def told(what: str) -> None:
        began = time.monotonic()
        with pytest.raises(ServiceUnavailable, match=what):
            wait(900)
        assert time.monotonic() - began < 6

    wait(0.5)
    told("within 2 s|statement timeout|max_statement_time")
    with frozen(pid, after_s=0.7):
        told("within 2 s|statement timeout")
        told("did not accept the connection")
    wait(0)


@contextmanager
def silent_at(port: int, statement: bytes) -> Iterator[int]:
    """A port before the server's, of a network that is gone from the moment at which this statement is sent."""
    gone, held = threading.Event(), list[socket.socket]()

    def carry(come: socket.socket, on: socket.socket) -> None:
        with suppress(OSError):
            while part := come.recv(65_536):
                if statement in part:
                    gone.set()
                if gone.is_set():
                    return
                on.sendall(part)
            on.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):  # closed: the end
            while True:
                near, _ = listener.accept()
                held.append(near)
                if not gone.is_set():
                    far = socket.create_connection((LOOPBACK, port))
                    held.append(far)
                    for pair in ((near, far), (far, near)):
                        threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server((LOOPBACK, 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for one in held:
                one.close()


def test_who_asks_which_server_it_is_is_not_held_up(postgres: tuple[PostgresEndpoint, int]) -> None:
    owner, _ = postgres
    with silent_at(owner.port, b"IDENTIFY_SYSTEM") as port:
        ends(lambda: lost_slot.identify(replace(owner, port=port)))
    assert lost_slot.identify(owner).timeline == 1


def test_who_asks_what_a_role_may_do_is_not_held_up(mariadb_process: Server) -> None:
    owner = mariadb_process.owner
    with silent_at(owner.port, b"SHOW GRANTS") as port:
        ends(lambda: mariadb.access(replace(owner, port=port)))
    assert mariadb.access(owner).known
    assert not mariadb.access(replace(owner, password=SecretStr("another"))).known


def test_no_thread_and_no_socket_is_left(postgres: tuple[PostgresEndpoint, int]) -> None:
    def watching() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "headrace-answering"]

    def sockets() -> int:
        links = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        return sum(str(link).startswith("socket:") for link in links)

    with source.connected(postgres[0]):
        (thread,) = watching()
        before = sockets()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert sockets() == before - 2, "the connection's and the watcher's"
