"""A Postgres primary of the tests' own and replicas of it, one of which takes its address when it is killed."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.settings import Settings
from infra.local import deployment, postgres, process
from infra.local.layout import is_free, open_layout

# What a replica needs to copy the slots of its primary, Postgres 17 and newer.
COPIES_SLOTS = {"hot_standby_feedback": "on", "sync_replication_slots": "on"}
_FIRST_PORT = 19_900
_PATIENCE_S = 60.0


@dataclass
class Site:
    """`settings` are a deployment's of its own, which has nothing but Postgres."""

    settings: Settings
    folder: Path
    endpoints: Endpoints = field(init=False)
    _primary: subprocess.Popen[bytes] | None = None
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _copies: int = 0

    def __post_init__(self) -> None:
        self.up()

    def up(self) -> None:
        """The first primary, also after a kill."""
        self.endpoints = deployment.endpoints(self.settings)
        deployment.up(self.settings, ("postgres",))

    @property
    def port(self) -> int:
        """Where the primary answers, whichever it is."""
        return self.endpoints.source.port

    def administrator(self, port: int | None = None) -> PostgresEndpoint:
        found = postgres.endpoint(open_layout(self.settings), self.endpoints.source.database, "postgres")
        return PostgresEndpoint(found.host, port or found.port, found.database, found.user, found.password)

    def ask(self, statement: str, port: int | None = None) -> Any:
        """The first value of a statement's answer, if it gives one."""
        connection = psycopg2.connect(**self.administrator(port).dsn(), connect_timeout=10)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                row = cursor.fetchone() if cursor.description else None
                return row[0] if row else None
        finally:
            connection.close()

    def kill_primary(self) -> None:
        """kill -9, as a machine dies."""
        if self._primary:
            self._primary.kill()
            self._primary.wait(timeout=_PATIENCE_S)
        else:
            os.kill(process.records(self.settings.data_dir)["postgres"].pid, signal.SIGKILL)
        _wait(lambda: is_free(self.port), "the primary is gone")

    def replica(self, *, copies_slots: bool) -> Replica:
        """A new one, by pg_basebackup, that has all there is."""
        self._copies += 1
        return Replica(self, f"replica{self._copies}", COPIES_SLOTS if copies_slots else {})

    def start(self, command: tuple[str, ...], log: Path, *, primary: bool) -> subprocess.Popen[bytes]:
        """A server that `close` ends; as the primary from now on, or beside it."""
        with log.open("ab") as output:
            child = subprocess.Popen(command, cwd="/", stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        self._children.append(child)
        if primary:
            self._primary = child
        return child

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(signal.SIGQUIT)
                child.wait(timeout=_PATIENCE_S)
        deployment.down(self.settings)


class Replica:
    """A streaming replica. It leaves a primary that is alive with `cut_off`, and takes a dead one's place with
    `promote`."""

    def __init__(self, site: Site, name: str, options: dict[str, str]) -> None:
        self._site, self._name, self._options = site, name, options
        self._home = site.folder / name
        self._home.mkdir(mode=0o700)
        if os.geteuid() == 0:
            account = pwd.getpwnam(postgres.ACCOUNT)
            os.chown(self._home, account.pw_uid, account.pw_gid)
        at = site.administrator()
        copy = ("pg_basebackup", "-D", f"{self._home}/data", "-R", "-C", "-S", name, "-X", "stream", "-c", "fast")
        # The database is for the copies of slots alone.
        whole = f"host={at.host} port={at.port} user={at.user} dbname={at.database}"
        environment = os.environ | {"PGPASSWORD": at.password.get_secret_value()}
        subprocess.run(
            self._command(*copy, "-d", whole), check=True, capture_output=True, env=environment, timeout=120, cwd="/"
        )
        self.port = next(port for port in range(_FIRST_PORT, _FIRST_PORT + 90) if is_free(port))
        self._child = self._start(primary=False)
        _wait(self.has_all, f"{name} follows")

    def _command(self, program: str, *arguments: str) -> tuple[str, ...]:
        argv = (str(postgres.bin_dir() / program), *arguments)
        return postgres._unprivileged(argv, self._home)

    def _start(self, *, primary: bool) -> subprocess.Popen[bytes]:
        given = {**postgres._SERVER_SETTINGS, **self._options}
        options = [item for name, value in given.items() for item in ("-c", f"{name}={value}")]
        command = self._command("postgres", "-D", f"{self._home}/data", "-p", str(self.port), *options)
        return self._site.start(command, self._site.folder / f"{self._name}.log", primary=primary)

    def ask(self, statement: str) -> Any:
        return self._site.ask(statement, self.port)

    def has_all(self) -> bool:
        """Whether it has replayed what its primary has written by now."""
        end = self._site.ask("select pg_current_wal_lsn()")
        with suppress(psycopg2.OperationalError):  # not yet there
            return bool(self.ask(f"select coalesce(pg_last_wal_replay_lsn() >= '{end}'::pg_lsn, false)"))
        return False

    def has_slot(self, name: str) -> bool:
        """Whether it has a lasting copy of a slot, as of now or later."""
        # What tells a replica how far a copy may begin; by itself every quarter of a minute.
        self._site.ask("select pg_log_standby_snapshot()")
        told = f"select bool_or(synced and not temporary) from pg_replication_slots where slot_name = '{name}'"
        return bool(self.ask(told))

    def cut_off(self) -> None:
        """From now on it gets nothing of what its primary writes."""
        self.ask("alter system set primary_conninfo = ''")
        self.ask("select pg_reload_conf()")
        _wait(lambda: self.ask("select count(*) from pg_stat_wal_receiver") == 0, "the replica stands still")

    def promote(self) -> None:
        """The primary is dead: this one is it from now on, at its address."""
        assert self.ask("select pg_promote()")
        self._child.send_signal(signal.SIGINT)
        self._child.wait(timeout=_PATIENCE_S)
        self.port = self._site.port
        self._child = self._start(primary=True)
        _wait(self._answers, "the promoted replica answers")

    def _answers(self) -> bool:
        with suppress(psycopg2.OperationalError):
            return self.ask("select not pg_is_in_recovery()") is True
        return False


def _wait(predicate: Any, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not predicate():
        assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s: {what}"
        time.sleep(0.1)
