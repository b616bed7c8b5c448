"""What is Postgres' own about reading one of its tables again."""

from __future__ import annotations

import psycopg2

from connectors.postgres import marker, unaltered
from connectors.postgres.source import connected, outlast_open_transactions
from connectors.reads import snapshots
from contracts.endpoints import Endpoints
from contracts.errors import Fatal
from contracts.stream import Pipeline, TableSource

_LOCK_WAIT_S = 2


class PostgresTable:
    """A `reread.Table` of Postgres."""

    def __init__(self, endpoints: Endpoints, part: Pipeline, table: TableSource) -> None:
        self.source, self.table = endpoints.source, table
        self._unaltered = unaltered.Unaltered(endpoints, part)
        self._altered: list[str] = []

    def about_rows(self, where: str) -> int:
        """See `reread.Table`."""
        query = f"EXPLAIN (FORMAT JSON) {snapshots.select(self.table, where or 'true')}"
        # Postgres runs nothing of a text that it cannot parse: what goes on behind the condition's parenthesis is no
        # condition without one.
        both = f"EXPLAIN {snapshots.select(self.table, where or 'true', within=('', ''))};\n{query}"
        with connected(self.source) as connection, connection.cursor() as cursor:
            connection.set_session(readonly=True)
            try:
                # Behind an ALTER it would wait until the read has ended that it is to tell of.
                cursor.execute(f"SET lock_timeout = '{_LOCK_WAIT_S}s'")
                cursor.execute(both)
                cursor.execute(query)
            except psycopg2.errors.ReadOnlySqlTransaction as error:
                raise Fatal("the condition is not one", state="Nothing was asked for.", condition=where) from error
            except psycopg2.Error as error:
                raise snapshots.not_taken("Postgres", str(error).strip(), self.table) from error
            row = cursor.fetchone()
        return int(row[0][0]["Plan"]["Plan Rows"]) if row else 0

    def prepare(self, *, timeout_s: float) -> None:
        """See `reread.Table`."""
        outlast_open_transactions(self.source, timeout_s=timeout_s)
        self._unaltered.hold(timeout_s=timeout_s)

    def wake(self) -> None:
        """See `reread.Table`; and `snapshots.request`: a connector that looks for its place in the WAL takes no
        request."""
        marker.emit(self.source)

    def begun(self) -> None:
        """See `reread.Table`."""
        self._altered = self._unaltered.let_go() or self._altered

    def changed(self) -> str:
        """See `reread.Table`."""
        return unaltered.why(self._altered) if self._altered else ""
