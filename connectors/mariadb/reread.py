"""What is MariaDB's own about reading one of its tables again.

Debezium pauses at an event of the binlog, takes the server's global read lock for the moment in which its transaction
begins, and goes on at that event. Under the lock nothing is half committed, so every change that was sent before is in
what it reads; every later one is sent after it.
"""

from __future__ import annotations

import re

import pymysql

from connectors.mariadb import position as mariadb_position
from connectors.mariadb import source as mariadb
from connectors.mariadb.checks import quoted
from connectors.reads import snapshots
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.errors import Fatal, ServiceUnavailable
from contracts.stream import Pipeline, TableSource

_LOCK_WAIT_TIMEOUT = 1205
_LOCK_WAIT_S = 3
# Rises with every row.
_NO_DEFINITION = re.compile(r" AUTO_INCREMENT=\d+")


class MariadbTable:
    """A `reread.Table` of MariaDB; looks as the replication role, which may read and nothing else."""

    def __init__(self, endpoints: Endpoints, part: Pipeline, table: TableSource) -> None:
        self._endpoints, self._part, self._table = endpoints, part, table
        self._definition = ""

    def about_rows(self, where: str) -> int:
        """See `reread.Table`."""
        with mariadb.connected(self._endpoints.mariadb_replicator) as cursor:
            try:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
                cursor.execute(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT_S}")
                # Without a parenthesis, too: what goes on behind it, like a UNION, is no condition.
                cursor.execute(f"EXPLAIN {snapshots.select(self._table, where or 'true', within=('', ''))}")
                cursor.execute(f"EXPLAIN EXTENDED {snapshots.select(self._table, where or 'true')}")
            except pymysql.MySQLError as error:
                raise snapshots.not_taken("MariaDB", str(error.args[-1]), self._table) from error
            # One line for each table in the query, this one first; it has none if the condition is never true.
            names = [column[0] for column in cursor.description or ()]
            found = dict(zip(names, cursor.fetchone() or (), strict=False))
        return round(int(found.get("rows") or 0) * float(found.get("filtered") or 100) / 100)

    def prepare(self, *, timeout_s: float) -> None:
        """See `reread.Table`.

        The connector takes the table's definition up when it reads. Changes of before another definition would be read
        by the new one: so all of them are read first, and `changed` looks whether it stayed.
        """
        self._definition = self._shown()
        mariadb_position.quiesced(self._part, self._endpoints, timeout_s=timeout_s)
        try_lock(self._endpoints.mariadb_replicator)

    def wake(self) -> None:
        """See `reread.Table`. Debezium pauses a stream without changes as well."""

    def begun(self) -> None:
        """See `reread.Table`. Nothing is held."""

    def changed(self) -> str:
        """See `reread.Table`."""
        return "" if self._shown() == self._definition else "its definition was altered"

    def _shown(self) -> str:
        with mariadb.connected(self._endpoints.mariadb_replicator) as cursor:
            try:
                cursor.execute(f"SHOW CREATE TABLE {quoted(self._table.qualified)}")
            except pymysql.err.ProgrammingError:
                return ""  # there is none any more
            row = cursor.fetchone()
        return _NO_DEFINITION.sub("", str(row[1])) if row else ""


def try_lock(role: MariadbEndpoint, *, wait_s: int = _LOCK_WAIT_S) -> None:
    """Takes the lock with which a read begins, and gives it back at once.

    Debezium that does not get it within ten seconds, in which every writer waits behind it, locks the one table instead
    for as long as it reads. And then it notes a place in the binlog that it has not read up to: a restart before the
    read has ended would skip changes of the other tables.

    Raises:
        ServiceUnavailable: a statement that writes has run for too long.
        Fatal: the role may not.
    """
    with mariadb.connected(role) as cursor:
        try:
            cursor.execute("SET SESSION lock_wait_timeout = %s", (wait_s,))
            cursor.execute("FLUSH TABLES WITH READ LOCK")
            cursor.execute("UNLOCK TABLES")
        except pymysql.MySQLError as error:
            if error.args[0] != _LOCK_WAIT_TIMEOUT:
                raise Fatal(
                    f"MariaDB refuses the lock with which a read begins: {error.args[-1]}",
                    state="Nothing was asked for.",
                    next_step="`headrace plan` says what the role lacks",
                    user=role.user,
                ) from error
            raise ServiceUnavailable(
                f"MariaDB's read lock was not to be had in {wait_s} s: a statement that writes has run that long",
                state="Nothing was asked for.",
                next_step="repeat it when that has ended: SHOW FULL PROCESSLIST shows it",
                host=f"{role.host}:{role.port}",
            ) from error
