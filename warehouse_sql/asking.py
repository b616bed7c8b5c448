"""Questions to the star schema: the pipeline's queries and checks, and whether tables are as declared."""

from __future__ import annotations

import sqlglot
from pyspark.sql import SparkSession
from sqlglot import exp

from contracts.endpoints import PostgresEndpoint
from contracts.stream import Pipeline
from warehouse_sql import declaration
from warehouse_sql.declaration import Engine, Warehouse
from warehouse_sql.postgres_target import transaction


def checks(pipeline: Pipeline) -> dict[str, str]:
    """The files of `checks` by name, as Spark SQL that returns the offending rows; none means that all is well.

    To be run with the pipeline's schema as the current one; the lake's `files` is at hand under that name.
    """
    files = f"with files as (select * from {pipeline.name}_lake.files)"
    return {
        name: f"{files} select * from ({query})" for name, query in declaration.load(pipeline).named("checks").items()
    }


def declared_columns(warehouse: Warehouse, engine: Engine, table: str) -> list[tuple[str, str]]:
    """Name and type of each column as the DDL file says, in Spark's or Postgres' own spelling."""
    dialect = "spark" if engine == "delta" else "postgres"
    create = sqlglot.parse_one(warehouse.sql(engine, "ddl", table)[0], dialect=dialect)
    columns = []
    for column in create.find_all(exp.ColumnDef):
        kind = column.args["kind"].sql(dialect=dialect).lower().replace(" ", "")
        columns.append((column.name, kind))
    return columns


def schema_differences(spark: SparkSession | None, endpoint: PostgresEndpoint | None, pipeline: Pipeline) -> list[str]:
    """How the real tables differ from their DDL files: table, column, declared, found. Empty: equal."""
    found: list[str] = []
    if spark is not None:
        warehouse = declaration.load(pipeline)
        for table in warehouse.tables:
            real = [(f.name, f.dataType.simpleString()) for f in spark.table(f"{pipeline.name}.{table.name}").schema]
            found += _differences(f"delta {table.name}", declared_columns(warehouse, "delta", table.name), real)
    if endpoint is not None:
        missing, differing = postgres_state(endpoint, pipeline)
        found += [f"postgres {table}: declared, found nothing" for table in missing] + differing
    return found


def postgres_state(endpoint: PostgresEndpoint, pipeline: Pipeline) -> tuple[list[str], list[str]]:
    """The declared tables that Postgres lacks, the schema itself perhaps too, and how the others differ.

    Raises:
        ServiceUnavailable: the server does not answer.
    """
    warehouse = declaration.load(pipeline)
    missing: list[str] = []
    differing: list[str] = []
    for table in warehouse.tables:
        real = _postgres_columns(endpoint, pipeline.name, table.name)
        if real:
            declared = declared_columns(warehouse, "postgres", table.name)
            differing += _differences(f"postgres {table.name}", declared, real)
        else:
            missing.append(table.name)
    return missing, differing


def _postgres_columns(endpoint: PostgresEndpoint, schema: str, table: str) -> list[tuple[str, str]]:
    query = (
        "select attname, format_type(atttypid, atttypmod) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum"
    )
    with transaction(endpoint, schema) as cursor:
        cursor.execute(query, (table,))
        return [(name, _short(kind)) for name, kind in cursor.fetchall()]


def _short(kind: str) -> str:
    names = {"timestamp with time zone": "timestamptz", "integer": "int", "numeric": "decimal"}
    for long, short in names.items():
        kind = kind.replace(long, short)
    return kind.replace(" ", "")


def _differences(where: str, declared: list[tuple[str, str]], real: list[tuple[str, str]]) -> list[str]:
    wanted, present = dict(declared), dict(real)
    lines = [
        f"{where}.{name}: declared {wanted.get(name, 'nothing')}, found {present.get(name, 'nothing')}"
        for name in {**wanted, **present}
        if _short(wanted.get(name, "")) != _short(present.get(name, ""))
    ]
    if not lines and list(wanted) != list(present):
        lines.append(f"{where}: the order of the columns is {list(present)}, declared {list(wanted)}")
    return lines
