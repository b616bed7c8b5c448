"""A MariaDB server as a source: connections, and the role that Debezium reads with."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from connectors import answering
from contracts import unreachable
from contracts.endpoints import MariadbEndpoint
from contracts.errors import Fatal, PlanRefused, ServiceUnavailable
from contracts.stream import Pipeline

ROLE_SCRIPT = Path(__file__).parents[1] / "mariadb_role.sql"
SERVER_PRIVILEGES = ("RELOAD", "SHOW DATABASES", "REPLICATION SLAVE", "BINLOG MONITOR")
DATABASE_PRIVILEGES = ("SELECT", "LOCK TABLES")
CONNECT_S = 10
# As for Postgres; MariaDB's own is a day.
LOCK_WAIT_S = 30
# The client's own errors, as for a lost connection, begin there. The others: a shutdown, a lock not had in time, a KILL
# of query or connection, a statement that took longer than it may.
_FIRST_OF_THE_CLIENT = 2000
_BROKEN_OFF = (1053, 1205, 1317, 1927, 1969)
_OLD_NAMES = {"REPLICATION CLIENT": "BINLOG MONITOR", "REPLICATION REPLICA": "REPLICATION SLAVE"}
_ACCESS_DENIED = 1045
NOT_ALLOWED = (1044, 1142, 1227, 1410)
"""What it says to whom a privilege lacks."""
_OPTION_PREVENTS = 1290
_GRANT = re.compile(r"GRANT (?P<what>.+) ON (?P<where>\*|`(?:[^`]|``)+`)\.\* TO ")


@contextmanager
def connected(endpoint: MariadbEndpoint, kind: type[Cursor] = Cursor) -> Iterator[Cursor]:
    """A cursor of a connection in UTC that commits each statement, closed at the end.

    Fatal if no server is named, ServiceUnavailable if it does not answer or refuses the user; or if it ends the
    connection within the block, answers nobody any more or not within the endpoint's time, or somebody keeps what a
    statement waits for locked.
    """
    if not endpoint.host:
        raise Fatal(
            "the pipeline has tables of a MariaDB server, and none is named",
            next_step="headrace.yaml: `mariadb: {host: …, user: …}`; the password is HEADRACE_MARIADB__PASSWORD",
        )

    def let_in(answer_s: float) -> None:
        _open(endpoint, answer_s).close()

    try:
        connection = _open(endpoint)
    except pymysql.err.OperationalError as error:
        raise _refused(endpoint, error) from error
    descriptor = connection._sock.fileno()  # type: ignore[attr-defined]
    with answering.watched(descriptor, let_in, endpoint.answer_s) as silence:
        try:
            yield connection.cursor(kind)
        except pymysql.err.OperationalError as error:
            if not is_away(error):
                raise
            raise ServiceUnavailable(
                f"MariaDB broke off: {answering.said(silence, error.args[-1])}",
                next_step="see that the server runs there, and for a lock who holds it (SHOW PROCESSLIST); then again",
                host=f"{endpoint.host}:{endpoint.port}",
                user=endpoint.user,
            ) from error
        finally:
            # Else pymysql reads the rest of an unbuffered result, also of a connection that is lost: its AttributeError
            # would stand for what had happened.
            if (left := getattr(connection, "_result", None)) is not None:
                left.unbuffered_active = False
            if connection.open:
                connection.close()


def is_away(error: pymysql.MySQLError) -> bool:
    """Whether the server broke off or is not there, rather than that it refuses the statement."""
    return isinstance(error, pymysql.err.OperationalError) and (
        error.args[0] >= _FIRST_OF_THE_CLIENT or error.args[0] in _BROKEN_OFF
    )


def _open(endpoint: MariadbEndpoint, answer_s: float | None = None) -> pymysql.Connection[Cursor]:
    connection = pymysql.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=endpoint.password.get_secret_value(),
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=answer_s or endpoint.answer_s or CONNECT_S,
        read_timeout=answer_s or endpoint.answer_s or CONNECT_S,
        init_command=f"SET time_zone = '+00:00', lock_wait_timeout = {LOCK_WAIT_S}"
        + (f", max_statement_time = {endpoint.answer_s}" if endpoint.answer_s else ""),
        **_encryption(endpoint),
    )
    # `connect_timeout` ends with the TCP connection: of a server that then says nothing only this one does. Queries may
    # take as long as the server lets others in.
    connection._read_timeout = None  # type: ignore[attr-defined]
    return connection


def _encryption(endpoint: MariadbEndpoint) -> dict[str, Any]:
    """What was said of TLS, in pymysql's words. ServiceUnavailable if the file to trust cannot be read."""
    if endpoint.sslmode == "disable":
        return {"ssl_disabled": True}
    if endpoint.sslmode == "require":
        return {"ssl": {"verify_mode": "none"}}
    if not endpoint.sslmode:
        return {}
    try:
        trusted = ssl.create_default_context(cafile=endpoint.sslrootcert)
    except OSError as error:  # also what is no certificate
        raise _refused(endpoint, error) from error
    # As libpq: what MariaDB's own tools sign would not pass.
    trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
    trusted.check_hostname = endpoint.sslmode == "verify-full"
    return {"ssl": trusted}


def _refused(endpoint: MariadbEndpoint, error: Exception) -> ServiceUnavailable:
    # Other errors of the operating system end with the message, too; an SSLError's is all of it.
    why = str(error.args[-1]) if isinstance(error, pymysql.MySQLError) else str(error)
    return ServiceUnavailable(
        f"MariaDB did not accept the connection: {why}",
        next_step=unreachable.next_step_mariadb(why, endpoint)
        or "see that the server runs there and lets this user in, or correct the settings",
        host=f"{endpoint.host}:{endpoint.port}",
        user=endpoint.user,
    )


def is_read(role: MariadbEndpoint) -> bool:
    """Whether somebody reads the binlog as this role, which sees its own threads without a privilege.

    Raises as `connected`.
    """
    with connected(role) as cursor:
        cursor.execute(
            "SELECT count(*) FROM information_schema.PROCESSLIST "
            "WHERE COMMAND LIKE 'Binlog Dump%' AND USER = substring_index(current_user(), '@', 1)"
        )
        row = cursor.fetchone()
    return bool(row and row[0])


@dataclass(frozen=True, slots=True)
class Access:
    """What the replication role may do; `known` is false for a user or password that the server refuses."""

    known: bool
    server: frozenset[str] = frozenset()
    databases: tuple[tuple[str, frozenset[str]], ...] = ()
    logged: tuple[str, str] = ("", "")

    @property
    def logs(self) -> bool:
        """Whether it may ask the server about its binlog."""
        return _holds(self.server, "BINLOG MONITOR")

    def missing(self, databases: list[str]) -> list[str]:
        """What the script has to bring about, in words; empty if nothing."""
        if not self.known:
            return [
                "create the role",
                f"grant {', '.join(SERVER_PRIVILEGES)}",
                f"grant SELECT on {', '.join(databases)}",
            ]
        found = []
        if absent := [name for name in SERVER_PRIVILEGES if not _holds(self.server, name)]:
            found.append(f"grant {', '.join(absent)}")
        held = dict(self.databases)
        for database in databases:
            both = self.server | held.get(database, frozenset())
            if absent := [name for name in DATABASE_PRIVILEGES if not _holds(both, name)]:
                found.append(f"grant {', '.join(absent)} on {database}")
        return found


def _holds(held: frozenset[str], name: str) -> bool:
    return name in held or "ALL PRIVILEGES" in held


def access(replicator: MariadbEndpoint) -> Access:
    """Asks the server as the role itself. Raises as `connected`, but for a user or password that is refused."""
    server: frozenset[str] = frozenset()
    databases: dict[str, frozenset[str]] = {}
    logged = ("", "")
    try:
        with connected(replicator) as cursor:
            cursor.execute("SHOW GRANTS")
            for (line,) in cursor.fetchall():
                if found := _GRANT.match(line):
                    held = frozenset(_OLD_NAMES.get(name, name) for name in found["what"].upper().split(", "))
                    where = found["where"].strip("`").replace("``", "`").replace("\\_", "_")
                    if where == "*":
                        server |= held
                    else:
                        databases[where] = databases.get(where, frozenset()) | held
            if _holds(server, "BINLOG MONITOR"):
                cursor.execute("SHOW MASTER STATUS")
                row = cursor.fetchone()
                logged = (str(row[2]), str(row[3])) if row else logged
    except ServiceUnavailable as error:
        if isinstance(error.__cause__, pymysql.MySQLError) and error.__cause__.args[0] == _ACCESS_DENIED:
            return Access(False)
        raise
    return Access(True, server, tuple(sorted(databases.items())), logged)


def databases(pipeline: Pipeline) -> list[str]:
    """The databases of the declared tables, by name."""
    return sorted({stream.table_source.schema for stream in pipeline.cdc_streams})


def grant(owner: MariadbEndpoint, replicator: MariadbEndpoint, names: list[str]) -> None:
    """Runs `mariadb_role.sql` for each database. May be repeated; MariaDB keeps what was granted before an error.

    The password goes as what the server keeps of one: its binlog, which replicas and Debezium read, and its general log
    have the statement word by word.

    PlanRefused if the owner lacks a privilege, with the command for somebody who has it, or if the server runs with an
    option that forbids it.
    """
    statements = role_statements()
    with connected(owner) as cursor:
        for database in names:
            values = (replicator.user, _hashed(replicator.password.get_secret_value()), database)
            try:
                cursor.execute("SET @role = %s, @password = %s, @database = %s", values)
                for statement in statements:
                    cursor.execute(statement)
            except pymysql.MySQLError as error:
                if error.args[0] == _OPTION_PREVENTS:
                    raise PlanRefused(
                        f"MariaDB cannot be prepared: {error.args[-1]}",
                        state="What was granted before stays.",
                        next_step="let the server run without that option, then `headrace apply` again",
                    ) from error
                if error.args[0] not in (*NOT_ALLOWED, _ACCESS_DENIED):
                    raise
                raise PlanRefused(
                    f"{owner.user} may not prepare MariaDB: {error.args[-1]}",
                    state="What was granted before stays.",
                    next_step=(
                        "let a user who may create users and grant run, for each database: mariadb "
                        f"--init-command=\"SET @role = '{replicator.user}', @password = '', @database = '{database}'\" "
                        f"< {ROLE_SCRIPT.name}; "
                        f"then, in mariadb: SET PASSWORD FOR '{replicator.user}'@'%' = PASSWORD('…');"
                    ),
                ) from error


def _hashed(password: str) -> str:
    """As MariaDB's PASSWORD()."""
    if not password:
        return ""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def role_statements() -> list[str]:
    """The script's statements, without its comments."""
    text = re.sub(r"^\s*--.*$", "", ROLE_SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def variables(cursor: Cursor, *names: str) -> dict[str, Any]:
    """Global variables of the server by name; one that this version lacks is not among them."""
    cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({', '.join(['%s'] * len(names))})", names)
    return {str(name): value for name, value in cursor.fetchall()}
