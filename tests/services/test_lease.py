"""One owner per pipeline: the second is told who the first is, and a killed owner leaves nothing to clean up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import LeaseHeld
from headrace.lease import Lease


def holder(warehouse: PostgresEndpoint, name: str) -> subprocess.Popen[str]:
    """A process that holds the lease until it is killed."""
    told = json.dumps({**asdict(warehouse), "password": warehouse.password.get_secret_value()})
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, __file__, told, name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_owner_is_refused_and_told_who_holds_it_until_that_process_dies(
    endpoints: Endpoints, wait_until: Any
) -> None:
    name = f"lease_{uuid4().hex[:8]} run"
    first = holder(endpoints.warehouse, name)
    try:
        with pytest.raises(LeaseHeld) as refused, Lease(endpoints.warehouse, name):
            pass
        told = str(refused.value)
        host, pid, since = told.split("host ")[1].split(", ", 2)
        assert (host, pid) == (socket.gethostname()[:20], f"pid {first.pid}")
        day, clock, zone = since.split()[1:4]
        held_since = datetime.fromisoformat(f"{day} {clock}{zone.removeprefix('UTC') or '+00:00'}")
        assert abs(datetime.now(UTC) - held_since) < timedelta(minutes=1)

        with Lease(endpoints.warehouse, f"{name} of another name"):
            pass
    finally:
        first.kill()
        first.communicate(timeout=10)
    second = Lease(endpoints.warehouse, name)

    def acquired() -> bool:
        with suppress(LeaseHeld):
            second.acquire()
            return True
        return False

    wait_until(acquired, 20, "the killed owner's lease to be free")
    second.check()
    second.release()
    with Lease(endpoints.warehouse, name):
        pass


def test_who_waits_gets_it_from_the_one_before_or_is_told_who_has_it(endpoints: Endpoints) -> None:
    name = f"lease_{uuid4().hex[:8]} tables"
    first, freed = Lease(endpoints.warehouse, name, "apply"), threading.Event()
    first.acquire()
    with pytest.raises(LeaseHeld, match=f"`headrace apply` already runs.* pid {os.getpid()}"):
        Lease(endpoints.warehouse, name, wait_s=0.2).acquire()

    def free() -> None:
        freed.set()
        first.release()

    threading.Timer(0.5, free).start()
    with Lease(endpoints.warehouse, name, wait_s=30) as second:
        assert freed.is_set()
        second.check()
        assert second._connection is not None
        with second._connection.cursor() as cursor:
            cursor.execute("show tcp_keepalives_idle")
            assert cursor.fetchone() == ("10",), "the server frees the lease of a host that vanished hours later"


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    lease = Lease(PostgresEndpoint(**{**given, "password": SecretStr(given["password"])}), sys.argv[2])
    lease.acquire()
    print("held", flush=True)
    time.sleep(600)
