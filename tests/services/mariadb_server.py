"""A MariaDB server of the tests' own: a child process on loopback, its data in a folder that is thrown away."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr

from connectors.mariadb import source as mariadb
from contracts.endpoints import MariadbEndpoint
from contracts.errors import ServiceUnavailable
from infra.local.layout import LOOPBACK, is_free
from infra.mariadb import server
from tests.services import child_server

OWNER = "shop_owner"
_FIRST_PORT = 19_400


@dataclass
class Server:
    """A server that a test may kill; `owner` has every privilege in it."""

    owner: MariadbEndpoint
    command: list[str]
    log: Path
    child: subprocess.Popen[bytes]

    def kill(self) -> None:
        """kill -9."""
        self.child.kill()
        self.child.wait()

    def start(self, *settings: str) -> None:
        """On the same data, configured as before and by `settings`: what SET GLOBAL said is forgotten."""
        self.child = child_server.start([*self.command, *settings], self.log)
        _wait(self.owner, self.child, self.log)


@contextmanager
def running(folder: Path) -> Iterator[MariadbEndpoint]:
    """As `started`, for whoever needs its owner only."""
    with started(folder) as server:
        yield server.owner


@contextmanager
def started(folder: Path, *more: str) -> Iterator[Server]:
    """A new server, until the end of the block. It is configured as MariaDB comes, but for the binlog and the settings
    that are given. Fatal if no server is installed."""
    mariadbd = server()
    data, log = folder / "data", folder / "mariadbd.log"
    common = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    subprocess.run(
        [
            "mariadb-install-db",
            *common,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    port = next(port for port in range(_FIRST_PORT, _FIRST_PORT + 500) if is_free(port))
    settings = (
        f"--port={port}",
        f"--bind-address={LOOPBACK}",
        f"--socket={folder / 'socket'}",
        "--skip-name-resolve",
        "--default-time-zone=+05:00",  # not Connect's
        "--log-bin=binlog",
        "--expire-logs-days=10",  # as Debian's; MariaDB's own is for ever
        "--server-id=7",
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=2",
        "--performance-schema=off",
        *more,
    )
    command = [str(mariadbd), *common, *settings]
    child = child_server.start(command, log)
    root = MariadbEndpoint(LOOPBACK, port, "root", SecretStr(""))
    one = Server(replace(root, user=OWNER, password=SecretStr("its own")), command, log, child)
    try:
        _wait(root, child, log)
        with mariadb.connected(root) as cursor:
            who = (one.owner.user, one.owner.password.get_secret_value())
            cursor.execute("GRANT ALL PRIVILEGES ON *.* TO %s@'%%' IDENTIFIED BY %s WITH GRANT OPTION", who)
        yield one
    finally:
        one.child.terminate()
        one.child.wait(timeout=60)


def _wait(user: MariadbEndpoint, child: subprocess.Popen[bytes], log: Path) -> None:
    def ask() -> None:
        with mariadb.connected(user):
            pass

    child_server.wait(ask, (ServiceUnavailable,), child, log)


def run(owner: MariadbEndpoint, statements: str) -> None:
    """Statements that end with a semicolon and a line's end, each committed by itself."""
    with mariadb.connected(owner) as cursor:
        for statement in statements.split(";\n"):
            if statement.strip().strip(";"):
                cursor.execute(statement.strip().strip(";"))
