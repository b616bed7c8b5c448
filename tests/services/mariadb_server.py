"""A MariaDB server of the tests' own: a child process on loopback, its data in a folder that is thrown away."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from connectors import mariadb
from contracts.endpoints import MariadbEndpoint
from contracts.errors import ServiceUnavailable
from infra.local.layout import LOOPBACK, is_free
from infra.mariadb import server

OWNER = "shop_owner"
_FIRST_PORT = 19_400


@contextmanager
def running(folder: Path) -> Iterator[MariadbEndpoint]:
    """The server's owner of everything, until the end of the block. It is configured as MariaDB comes, but for the
    binlog. Fatal if no server is installed."""
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
        "--server-id=7",
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=2",
        "--performance-schema=off",
    )
    with log.open("ab") as output:
        child = subprocess.Popen([str(mariadbd), *common, *settings], stdout=output, stderr=subprocess.STDOUT)
    try:
        root = MariadbEndpoint(LOOPBACK, port, "root", SecretStr(""))
        _wait(root, child, log)
        owner = replace(root, user=OWNER, password=SecretStr("its own"))
        with mariadb.connected(root) as cursor:
            who = (owner.user, owner.password.get_secret_value())
            cursor.execute("GRANT ALL PRIVILEGES ON *.* TO %s@'%%' IDENTIFIED BY %s WITH GRANT OPTION", who)
        yield owner
    finally:
        child.terminate()
        child.wait(timeout=60)


def _wait(root: MariadbEndpoint, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with mariadb.connected(root):
                return
        except ServiceUnavailable:
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(encoding="utf-8")[-2000:]) from None
            time.sleep(0.2)


def run(owner: MariadbEndpoint, statements: str) -> None:
    """Statements that end with a semicolon and a line's end, each committed by itself."""
    with mariadb.connected(owner) as cursor:
        for statement in statements.split(";\n"):
            if statement.strip().strip(";"):
                cursor.execute(statement.strip().strip(";"))
