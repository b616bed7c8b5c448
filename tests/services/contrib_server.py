"""A Postgres server of the tests' own with contrib: a child process on loopback, its data thrown away at the end."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from contracts.endpoints import PostgresEndpoint
from infra.contrib_postgres import programs
from infra.local import postgres, probes
from infra.local.layout import LOOPBACK, is_free
from infra.local.part import NotReady

_FIRST_PORT = 20_000
_PASSWORD = "its own"


@contextmanager
def running(folder: Path) -> Iterator[PostgresEndpoint]:
    """The server's superuser, until the end of the block."""
    home, password = folder / "home", folder / "home" / "password"
    home.mkdir(mode=0o700)
    password.write_text(_PASSWORD)
    if os.geteuid() == 0:
        account = pwd.getpwnam(postgres.ACCOUNT)
        for path in (home, password):
            os.chown(path, account.pw_uid, account.pw_gid)

    def command(program: str, *arguments: str) -> tuple[str, ...]:
        return postgres._unprivileged((str(programs() / program), *arguments), home)

    data = f"{home}/data"
    made = ("-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={password}")
    subprocess.run(command("initdb", "-D", data, *made), check=True, capture_output=True, timeout=120, cwd="/")
    port = next(port for port in range(_FIRST_PORT, _FIRST_PORT + 90) if is_free(port))
    given = {name: value for name, value in postgres._SERVER_SETTINGS.items() if name != "max_slot_wal_keep_size"}
    options = [item for name, value in given.items() for item in ("-c", f"{name}={value}")]
    with (folder / "postgres.log").open("ab") as log:
        child = subprocess.Popen(
            command("postgres", "-D", data, "-p", str(port), *options), cwd="/", stdout=log, stderr=subprocess.STDOUT
        )
    try:
        owner = PostgresEndpoint(LOOPBACK, port, "postgres", "postgres", SecretStr(_PASSWORD))
        _wait(owner, child, folder / "postgres.log")
        yield owner
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)


def _wait(owner: PostgresEndpoint, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            return probes.postgres(owner)
        except (NotReady, OSError):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(encoding="utf-8")[-2000:]) from None
            time.sleep(0.2)
