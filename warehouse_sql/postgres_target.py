"""The star schema in Postgres: the same rows, published from the lake.

Each table is one transaction: lock the table's position row and compare it, overwrite `staging_*` by COPY, merge or
replace, record the position. A kill at any moment leaves the table as it was or as it will be. Dimensions whose streams
share a consistent cut are one transaction together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extras import execute_values
from pyspark.sql import DataFrame, SparkSession

from contracts import unreachable
from contracts.endpoints import PostgresEndpoint
from contracts.errors import Conflict, Fatal, ServiceUnavailable
from contracts.failpoints import failpoint
from contracts.stream import Pipeline
from warehouse_sql import reading
from warehouse_sql.copy_text import CopyReader
from warehouse_sql.declaration import Table, Warehouse
from warehouse_sql.report import TableReport

POSITIONS = "merge_positions"
_WHOLE = ""  # the unit of a table's own position row, the one that is locked
_LOCK_TIMEOUT = "60s"
_COPY_BYTES = 1 << 20


@contextmanager
def transaction(endpoint: PostgresEndpoint, schema: str) -> Iterator[Any]:
    """A cursor in one transaction whose names resolve in `schema` alone; commits at the end, else rolls back.

    Raises:
        ServiceUnavailable: the server does not answer. Conflict: another publisher holds a lock for too long.
        Fatal: Postgres refused a statement.
    """
    where: dict[str, Any] = {
        "host": endpoint.host,
        "port": endpoint.port,
        "database": endpoint.database,
        "schema": schema,
    }
    try:
        with (
            closing(psycopg2.connect(**endpoint.dsn(), connect_timeout=10)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
            cursor.execute("set local lock_timeout = %s", (_LOCK_TIMEOUT,))
            cursor.execute("set local time zone 'UTC'")
            yield cursor
    except (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected) as error:
        raise Conflict(
            f"another publisher works on these tables: {error}", state="Nothing was written.", **where
        ) from error
    except psycopg2.OperationalError as error:
        why = str(error).strip()
        raise ServiceUnavailable(
            f"Postgres does not answer: {why}",
            state="The transaction was rolled back.",
            next_step=unreachable.next_step(why, endpoint)
            or "see that the server runs there and lets this user in, or correct the settings",
            **where,
            user=endpoint.user,
        ) from error
    except psycopg2.Error as error:
        raise Fatal(
            f"Postgres refused: {error}",
            state="The transaction was rolled back.",
            next_step="compare the table with its DDL file and its source SQL",
            **where,
        ) from error


def create_postgres_tables(endpoint: PostgresEndpoint, warehouse: Warehouse) -> None:
    """Make the schema and every table that is missing, in one transaction. Safe to repeat."""
    with transaction(endpoint, warehouse.pipeline) as cursor:
        cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(warehouse.pipeline)))
        cursor.execute(
            f"create table if not exists {POSITIONS} (target_table text, unit text, position bigint not null, "
            "primary key (target_table, unit))"
        )
        for table in warehouse.tables:
            for statement in warehouse.sql("postgres", "ddl", table.name):
                cursor.execute(statement)
            cursor.execute(
                f"insert into {POSITIONS} values (%s, %s, 0) on conflict do nothing",
                (table.name, _WHOLE),
            )


class PostgresTarget:
    """Publishes into schema `<pipeline>`. Reads the lake in a Spark session of its own."""

    name = "postgres"

    def __init__(
        self, spark: SparkSession, pipeline: Pipeline, warehouse: Warehouse, endpoint: PostgresEndpoint
    ) -> None:
        self.spark = spark.newSession()
        self.pipeline = pipeline
        self.warehouse = warehouse
        self.endpoint = endpoint

    def position(self, table: str) -> int:
        """The number of the last state merge (dimension) or restatement (fact) that `table` holds."""
        return self._positions(table).get(_WHOLE, 0)

    def revisions(self, table: str) -> dict[str, int]:
        """What each unit's rows in a fact come from, see `reading.held_number`."""
        return {unit: revision for unit, revision in self._positions(table).items() if unit != _WHOLE}

    def merge_dimension(self, table: Table) -> TableReport:
        """Merge what is new in the dimension's stream. Safe twice and in any order.

        Raises:
            Conflict: another publisher moved the position since it was read; nothing was written.
        """
        return self.merge_dimensions([table])[0]

    def merge_dimensions(self, tables: Sequence[Table]) -> list[TableReport]:
        """As `merge_dimension` for each, all in one transaction: a reader sees all of it or nothing."""
        started = time.monotonic()
        reports: list[TableReport] = []
        news = []
        for table in tables:
            before, stream = self.position(table.name), self.pipeline.stream(table.stream)
            plan = reading.plan_dimension(self.spark, stream, before)
            if plan is None or plan.is_empty:
                reports.append(TableReport.skip(table.name, self.name, plan is None, before))
            else:
                news.append((table, plan))
        if not news:
            return reports
        with transaction(self.endpoint, self.pipeline.name) as cursor:
            for table, plan in news:
                stream = self.pipeline.stream(table.stream)
                rows = reading.dimension_rows(self.spark, self.warehouse, table, stream, plan)
                self._stage(cursor, table, plan.before, rows)
                written = self._run(cursor, "merge", table)
                self._record(cursor, table, {_WHOLE: plan.after})
                seconds = time.monotonic() - started
                reports.append(TableReport(table.name, self.name, written, seconds, str(plan.before), str(plan.after)))
            failpoint("before_warehouse_commit")
        failpoint("after_warehouse_commit")
        return reports

    def plan_fact(self, table: Table, whole: reading.WholeUnits) -> reading.FactPlan | None:
        """What of a fact is to be restated, given what is whole in the lake."""
        return reading.plan_fact(self.spark, self.pipeline.stream(table.stream), whole, self.revisions(table.name))

    def merge_generated(self, table: Table, date_keys: tuple[int, ...]) -> TableReport:
        """Insert the days that are missing. Safe twice."""
        started = time.monotonic()
        if not date_keys:
            return TableReport.skip(table.name, self.name, False, 0)
        days = reading.generated_rows(self.spark, self.warehouse, table, date_keys)
        with self._publication(table, self.position(table.name), days) as cursor:
            written = self._run(cursor, "merge", table)
        failpoint("after_warehouse_commit")
        return TableReport(table.name, self.name, written, time.monotonic() - started)

    def restate_fact(self, table: Table, plan: reading.FactPlan) -> TableReport:
        """Replace the plan's dates in one transaction.

        Raises:
            Conflict: another publisher moved the position since it was read; nothing was written.
        """
        started = time.monotonic()
        before = self.position(table.name)
        rows = reading.fact_rows(self.spark, self.warehouse, self.pipeline, table, plan)
        with self._publication(table, before, rows) as cursor:
            written = self._run(cursor, "replace", table, {"date_keys": list(plan.date_keys)})
            self._record(cursor, table, {_WHOLE: before + 1, **plan.revisions})
        failpoint("after_warehouse_commit")
        return TableReport(
            table.name, self.name, written, time.monotonic() - started, str(before), str(before + 1), plan.date_keys
        )

    def forget_members(self, dimension: Table) -> TableReport:
        """As `DeltaTarget.forget_members`."""
        started = time.monotonic()
        gone = [
            sql.SQL("not exists (select from {} where {} = t.{})").format(
                sql.Identifier(other), sql.Identifier(other, column), sql.Identifier(dimension.key)
            )
            for other, columns in self.warehouse.referring(dimension.name).items()
            for column in columns
        ]
        statement = sql.SQL("delete from {} as t where {}").format(
            sql.Identifier(dimension.name),
            sql.SQL(" and ").join([sql.Identifier("t", dimension.inferred), *gone]),
        )
        with transaction(self.endpoint, self.pipeline.name) as cursor:
            cursor.execute(statement)
            rows = int(cursor.rowcount)
        if not rows:
            return TableReport.skip(dimension.name, self.name, False, None)
        return TableReport(dimension.name, self.name, rows, time.monotonic() - started)

    @contextmanager
    def _publication(self, table: Table, expected: int, rows: DataFrame) -> Iterator[Any]:
        with transaction(self.endpoint, self.pipeline.name) as cursor:
            self._stage(cursor, table, expected, rows)
            yield cursor
            failpoint("before_warehouse_commit")

    def _stage(self, cursor: Any, table: Table, expected: int, rows: DataFrame) -> None:
        self._lock(cursor, table, expected)
        self._copy(cursor, table, rows)
        failpoint("after_staging")
        self._infer(cursor, table)

    def _positions(self, table: str) -> dict[str, int]:
        with transaction(self.endpoint, self.pipeline.name) as cursor:
            cursor.execute(f"select unit, position from {POSITIONS} where target_table = %s", (table,))
            return dict(cursor.fetchall())

    def _lock(self, cursor: Any, table: Table, expected: int) -> None:
        cursor.execute(
            f"select position from {POSITIONS} where target_table = %s and unit = %s for update",
            (table.name, _WHOLE),
        )
        found = cursor.fetchone()
        if found is None or found[0] != expected:
            raise Conflict(
                "another publisher wrote the table since its position was read",
                table=f"{self.pipeline.name}.{table.name}",
                expected=expected,
                found=found[0] if found else "no row",
                state="Nothing was written.",
                next_step="run the merge again" if found else "make the tables first (`apply`)",
            )

    def _copy(self, cursor: Any, table: Table, rows: DataFrame) -> None:
        staging = sql.Identifier(table.staging)
        cursor.execute(sql.SQL("truncate {}").format(staging))
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in rows.columns)
        reader = CopyReader(rows, f"{self.pipeline.name}.{table.name}")
        try:
            cursor.copy_expert(sql.SQL("copy {} ({}) from stdin").format(staging, columns), reader, _COPY_BYTES)
        except psycopg2.Error:
            if reader.error is not None:
                raise reader.error from None
            raise
        if cursor.rowcount != reader.rows:
            raise Fatal(
                f"COPY took {cursor.rowcount} of {reader.rows} rows",
                table=table.staging,
                state="The transaction was rolled back.",
                next_step="run the merge again and report this",
            )

    def _infer(self, cursor: Any, table: Table) -> None:
        for column, target in table.references.items():
            dimension = self.warehouse.table(target)
            if dimension.kind != "dimension":
                continue
            natural = sql.SQL(", ").join(sql.Identifier(name) for name in dimension.natural)
            cursor.execute("drop table if exists pg_temp.members")
            cursor.execute(
                sql.SQL(
                    "create temporary table members on commit drop as "
                    "select distinct {column} as {key}, {natural} from {staging} where {column} is not null"
                ).format(
                    column=sql.Identifier(column),
                    key=sql.Identifier(dimension.key),
                    natural=natural,
                    staging=sql.Identifier(table.staging),
                )
            )
            for statement in self.warehouse.sql("postgres", "infer", dimension.name):
                cursor.execute(statement)

    def _run(self, cursor: Any, verb: str, table: Table, values: Mapping[str, object] | None = None) -> int:
        for statement in self.warehouse.sql("postgres", verb, table.name):
            cursor.execute(statement, values)
        return int(cursor.rowcount)

    def _record(self, cursor: Any, table: Table, positions: Mapping[str, int]) -> None:
        execute_values(
            cursor,
            f"insert into {POSITIONS} values %s "
            "on conflict (target_table, unit) do update set position = excluded.position",
            [(table.name, unit, position) for unit, position in positions.items()],
        )
