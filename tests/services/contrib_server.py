"""A Postgres server of the tests' own with contrib and TLS: a child process on loopback, its data thrown away at the
end. Nobody gets in unencrypted; its certificate is for the name `localhost` and of an authority made here."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from contracts.endpoints import PostgresEndpoint
from infra.contrib_postgres import programs
from infra.local import postgres, probes
from infra.local.layout import is_free
from infra.local.part import NotReady
from tests.services import child_server
from tests.services.certificates import authority

_HOST = "localhost"
_FIRST_PORT = 20_000
_PASSWORD = "its own"
_WHO_GETS_IN = "hostssl all all 127.0.0.1/32 scram-sha-256\n"


@contextmanager
def running(folder: Path) -> Iterator[PostgresEndpoint]:
    """The server's superuser, over a connection that is verified in full, until the end of the block."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    trusted = authority(folder / "trusted.pem")
    key, certificate = trusted.issue(_HOST)
    _give_to_server(home)
    _give_to_server(home / "password", _PASSWORD.encode())
    _give_to_server(home / "server.key", key)
    _give_to_server(home / "server.pem", certificate)

    def command(program: str, *arguments: str) -> tuple[str, ...]:
        return postgres._unprivileged((str(programs() / program), *arguments), home)

    data = home / "data"
    made = ("-U", "postgres", "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={home}/password")
    subprocess.run(command("initdb", "-D", str(data), *made), check=True, capture_output=True, timeout=120, cwd="/")
    _give_to_server(data / "pg_hba.conf", _WHO_GETS_IN.encode())
    port = next(port for port in range(_FIRST_PORT, _FIRST_PORT + 90) if is_free(port))
    given = {name: value for name, value in postgres._SERVER_SETTINGS.items() if name != "max_slot_wal_keep_size"}
    given |= {"ssl": "on", "ssl_key_file": f"{home}/server.key", "ssl_cert_file": f"{home}/server.pem"}
    options = [item for name, value in given.items() for item in ("-c", f"{name}={value}")]
    log = folder / "postgres.log"
    child = child_server.start(command("postgres", "-D", str(data), "-p", str(port), *options), log, cwd="/")
    try:
        password = SecretStr(_PASSWORD)
        owner = PostgresEndpoint(
            _HOST, port, "postgres", "postgres", password, sslmode="verify-full", sslrootcert=str(trusted.file)
        )
        child_server.wait(lambda: probes.postgres(owner), (NotReady, OSError), child, log)
        yield owner
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)


def _give_to_server(path: Path, content: bytes | None = None) -> None:
    """The server's account owns it, and a file is for nobody else: with a key that is not, no server starts."""
    if content is not None:
        path.touch(mode=0o600)
        path.write_bytes(content)
    if os.geteuid() == 0:
        account = pwd.getpwnam(postgres.ACCOUNT)
        os.chown(path, account.pw_uid, account.pw_gid)
