"""A server of the tests' own that speaks MongoDB's protocol: a child process on loopback, with users, its data in a
folder that is thrown away.

It is SecantusDB, since MongoDB itself is in none of the registries that the project uses: MongoDB's storage engine,
oplog, change streams and logins behind its protocol, as a replica set of one. What it cannot show: an update's image
is the document as it is when the change is read, not as that change left it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from contracts.endpoints import MongodbEndpoint
from infra import mongodb
from infra.local.layout import LOOPBACK, is_free
from tests.services import child_server

REPLICA_SET = "secantus"
_FIRST_PORT = 19_900
_OWNER, _OWNER_PASSWORD = "shop_owner", "its own"
# What a change stream of the whole deployment needs, and the first read. MongoDB lets the first role list databases,
# this server only the second.
_READER = ["readAnyDatabase", "clusterMonitor"]


@dataclass
class Server:
    """A server that a test may kill; `reader` is who the connector logs in as."""

    reader: MongodbEndpoint
    command: list[str]
    log: Path
    child: subprocess.Popen[bytes]

    @contextmanager
    def connected(self) -> Iterator[MongoClient[dict[str, Any]]]:
        """As the owner of everything in it."""
        with _client(self.reader.url, username=_OWNER, password=_OWNER_PASSWORD) as client:
            yield client

    def kill(self) -> None:
        """kill -9."""
        self.child.kill()
        self.child.wait()

    def start(self) -> None:
        """On the same data."""
        self.child = child_server.start(self.command, self.log)
        _wait(self.reader.url, self.child, self.log)


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    """A new server, until the end of the block."""
    port = next(port for port in range(_FIRST_PORT, _FIRST_PORT + 500) if is_free(port))
    url, log = f"mongodb://{LOOPBACK}:{port}/?replicaSet={REPLICA_SET}", folder / "mongodb.log"
    settings = (
        "--host",
        LOOPBACK,
        "--port",
        str(port),
        "--storage-path",
        str(folder / "data"),
        "--cache-size",
        "64M",
        "--sync-on-commit",
    )
    reader, program = MongodbEndpoint(url, "debezium", SecretStr("reads")), mongodb.server()
    child = child_server.start([str(program), *settings], log)
    try:
        # Users are made while it lets everybody in.
        _wait(url, child, log)
        with _client(url) as client:
            client.admin.command("createUser", _OWNER, pwd=_OWNER_PASSWORD, roles=["root"])
            password = reader.password.get_secret_value()
            client.admin.command("createUser", reader.user, pwd=password, roles=_READER)
    finally:
        child.terminate()
        child.wait(timeout=60)
    command = [str(program), *settings, "--auth"]
    one = Server(reader, command, log, child_server.start(command, log))
    try:
        _wait(url, one.child, log)
        yield one
    finally:
        one.child.terminate()
        one.child.wait(timeout=60)


def _client(url: str, **login: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(url, serverSelectionTimeoutMS=500, **login)


def _wait(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    def ask() -> None:
        with _client(url) as client:
            client.admin.command("hello")

    child_server.wait(ask, (PyMongoError,), child, log)
