"""One owner per pipeline: a lease that a dead process cannot keep.

The lease is a session-level advisory lock in the warehouse's Postgres: it goes with the connection, so a killed owner
or a lost host frees it without a clean-up (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS).
The holder's host, pid and start stand in `pg_stat_activity`.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from types import TracebackType
from typing import Any, Self

import psycopg2
import psycopg2.extensions

from contracts import unreachable
from contracts.endpoints import PostgresEndpoint
from contracts.errors import LeaseHeld, ServiceUnavailable

# Half a minute of silence frees the lease of a host that vanished without closing its connection.
# The server's own keepalives do it, and ours notice that the server vanished.
_PROBES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
_KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    **_PROBES,
    "tcp_user_timeout": 30_000,
    "connect_timeout": 10,
    "options": " ".join(f"-c tcp_{name}={value}" for name, value in _PROBES.items()),
}
_ASK_AGAIN_S = 0.5

log = logging.getLogger(__name__)


class Lease:
    """Held from `acquire` until `release` or the end of the process, whichever comes first.

    `name` says what is owned (`edtech run`). Two leases of different names do not meet. `command` is the holder's, for
    the one who is refused; the last word of `name` if it is empty. `wait_s`: how long `acquire` waits for the holder.
    """

    def __init__(self, warehouse: PostgresEndpoint, name: str, command: str = "", *, wait_s: float = 0) -> None:
        self._warehouse = warehouse
        self._name = name
        self._pipeline, _, work = name.rpartition(" ")
        self._command = command or work
        self._wait_s = wait_s
        self._connection: psycopg2.extensions.connection | None = None

    def acquire(self) -> None:
        """Take the lease, or raise `LeaseHeld`, which names the holder, once `wait_s` are over."""
        owner = f"headrace {self._pipeline} {self._command} {socket.gethostname()[:20]} {os.getpid()}"
        try:
            given = {**self._warehouse.dsn(), **_KEEPALIVE, "application_name": owner[:63]}
            connection = psycopg2.connect(**given)
            connection.autocommit = True
            self._take(connection)
        except psycopg2.OperationalError as error:
            why = str(error).strip()
            raise ServiceUnavailable(
                f"the warehouse's Postgres, which holds the lease, did not answer: {why}",
                state="Nothing was started.",
                next_step=unreachable.next_step(why, self._warehouse) or "headrace status",
            ) from error
        self._connection = connection

    def _take(self, connection: psycopg2.extensions.connection) -> None:
        until, said = time.monotonic() + self._wait_s, ""
        with connection.cursor() as cursor:
            while True:
                cursor.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (f"headrace {self._name}",))
                if (cursor.fetchone() or (False,))[0]:
                    return
                holder = self._holder(cursor)
                if time.monotonic() >= until:
                    connection.close()
                    raise LeaseHeld(holder, state="Nothing was started.", next_step="stop that process, or let it work")
                if holder != said:
                    log.info("waiting: %s", said := holder)
                time.sleep(_ASK_AGAIN_S)

    def _holder(self, cursor: psycopg2.extensions.cursor) -> str:
        cursor.execute(
            """
            select split_part(a.application_name, ' ', 3), split_part(a.application_name, ' ', 4),
              split_part(a.application_name, ' ', 5), a.backend_start
            from pg_locks l join pg_stat_activity a using (pid)
            where l.locktype = 'advisory' and l.granted and l.objsubid = 1
              and ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(%s, 0)
            """,
            (f"headrace {self._name}",),
        )
        row = cursor.fetchone()
        if row is None:
            return f"another process held {self._name} and ended this moment"
        command, host, pid, since = row
        return (
            f"`headrace {command}` already runs for this pipeline: "
            f"host {host}, pid {pid}, since {since:%Y-%m-%d %H:%M:%S %Z}"
        )

    def check(self) -> None:
        """Raise `ServiceUnavailable` if the lease was lost with its connection; call it before each commit round."""
        assert self._connection is not None, "check() before acquire()"
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("select 1")
        except psycopg2.Error as error:
            raise ServiceUnavailable(
                "the connection that holds the lease broke",
                state="The lease is free; committed work is safe.",
                next_step="nothing: `headrace run` starts again by itself once Postgres answers",
            ) from error

    def release(self) -> None:
        """Give the lease back; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
