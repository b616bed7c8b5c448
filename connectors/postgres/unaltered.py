"""No table of Postgres is altered between what the connector has streamed and the moment in which it begins to read.

Debezium 3.7 that is asked to read one table takes the columns of *all* its tables up from the catalog, as they are now
(PostgresSnapshotChangeEventSource.readTableStructure, PostgresSchema.refresh), and then goes on in the same stream
where it stopped: it takes values by their place among those columns (PgOutputMessageDecoder). Postgres knows nothing of
the read: it sends a table's columns when a session begins and after an ALTER, and once more only before transactions
that it begins to send after the ALTER. So a row from before, of a transaction that it had begun to send, has its values
in other columns after a read, and nothing says so. (A column that is only dropped: the task fails, and a restart has
all of it right, as every session has.)

Therefore: everything is streamed first, then the tables are locked against ALTER (not against writes) until the
connector says that it reads, and what came between is streamed, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import psycopg2
from psycopg2.extensions import cursor as Cursor

from connectors.postgres import marker
from connectors.postgres.catalog import quoted
from connectors.postgres.source import connected
from contracts.endpoints import Endpoints
from contracts.errors import ServiceUnavailable
from contracts.stream import Pipeline

HELD_S = 30
"""An ALTER that waits for the locks makes all who come after it wait. So the server itself gives them back then, also
if nobody lives who could."""
# Shorter than `deadlock_timeout`: whoever alters two tables in another order is never the one whom Postgres breaks off.
_LOCK_WAIT = "500ms"

_DEFINITIONS = """
    SELECT c.oid::regclass::text, c.oid::text || coalesce((
        SELECT string_agg(
            format(' %%s %%s %%s %%s', a.attnum, a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
    FROM pg_class c WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest(%s) AS name)
"""


def why(altered: Sequence[str]) -> str:
    """What to say of tables that `let_go` returned."""
    return (
        f"{', '.join(altered)} was altered before the read began: changes from before that may have arrived in other "
        "columns, so every table that was altered must be read again"
    )


class Unaltered:
    """All tables of the Postgres connector of `part`, from `hold` to `let_go`."""

    def __init__(self, endpoints: Endpoints, part: Pipeline) -> None:
        self._endpoints, self._part = endpoints, part
        tables = [stream.table_source for stream in part.of("postgres").cdc_streams]
        self._names = sorted(quoted(table.schema, table.table) for table in tables)
        self._locks: ExitStack | None = None
        self._held: Mapping[str, str] = {}

    def hold(self, *, timeout_s: float) -> None:
        """Returns when everything up to now is in Kafka and no table can be altered. ServiceUnavailable, with nothing
        held, if the connector does not come to the end of the changes or a table is being altered."""
        deadline = time.monotonic() + timeout_s
        self._streamed(timeout_s)  # so that the second time, under the locks, is short
        while not self._lock():
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"a table was being altered or locked for {timeout_s:.0f} s: {', '.join(self._names)}",
                    state="Nothing was asked for.",
                    next_step="repeat it when that has ended: pg_locks shows it, mode AccessExclusiveLock",
                )
            time.sleep(0.5)
        try:
            self._streamed(HELD_S)
        except BaseException:
            self.let_go()
            raise

    def let_go(self) -> list[str]:
        """Once the connector reads. The tables that are others than they were, because the server took the locks back
        before; empty if it did not. May be called at any time, and again."""
        locks, self._locks = self._locks, None
        try:
            if locks:
                locks.close()
            return []
        except (psycopg2.Error, ServiceUnavailable):
            with connected(self._endpoints.replicator) as connection, connection.cursor() as cursor:
                now = self._definitions(cursor)
            return sorted(name for name in {*now, *self._held} if now.get(name) != self._held.get(name))

    def _streamed(self, timeout_s: float) -> None:
        try:
            marker.quiesced(self._part, self._endpoints, timeout_s=timeout_s)
        except ServiceUnavailable as error:
            raise ServiceUnavailable(
                f"the connector is behind: a change of now did not reach Kafka in {timeout_s:.0f} s",
                state="Nothing was asked for. What is behind must be read by the columns of its time.",
                next_step="repeat it when `headrace status` shows that the connector runs and its lag is small",
            ) from error

    def _lock(self) -> bool:
        """Whether it has the locks, and knows the tables as they are now."""
        with ExitStack() as opened:
            connection = opened.enter_context(connected(self._endpoints.replicator))
            with connection.cursor() as cursor:
                cursor.execute(f"SET idle_in_transaction_session_timeout = '{HELD_S}s'")
                cursor.execute(f"SET lock_timeout = '{_LOCK_WAIT}'")
                # Of a partitioned table only itself: its columns are altered nowhere else.
                tables = [f"ONLY {name}" for name in self._definitions(cursor)]
                try:
                    if tables:
                        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
                except (psycopg2.errors.LockNotAvailable, psycopg2.errors.UndefinedTable):
                    connection.rollback()
                    return False
                self._held = self._definitions(cursor)
            self._locks = opened.pop_all()
        return True

    def _definitions(self, cursor: Cursor) -> dict[str, str]:
        cursor.execute(_DEFINITIONS, (self._names,))
        return dict(cursor.fetchall())
