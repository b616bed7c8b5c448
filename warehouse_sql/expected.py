"""What a table of the star schema should hold by what the lake says now: its own source SQL over all of the lake."""

from __future__ import annotations

from contracts.stream import Pipeline
from warehouse_sql.asking import declared_columns
from warehouse_sql.declaration import Table, Warehouse


def expected_rows(warehouse: Warehouse, pipeline: Pipeline, table: Table) -> str:
    """Spark SQL for the rows of a dimension, inferred members apart, or of a fact, with the types of its DDL."""
    stream = pipeline.stream(table.stream)
    lake = f"changes as (select * from {stream.history}_state where _unavailable is null)"
    if table.kind == "fact":
        lake = f"rows as (select * from {stream.history}_current)"
    views = [f"{view} as ({warehouse.source(view)})" for view in warehouse.views]
    columns = ", ".join(
        f"cast(`{n}` as {kind}) as `{n}`" for n, kind in declared_columns(warehouse, "delta", table.name)
    )
    return f"with {', '.join([*views, lake])} select {columns} from ({warehouse.source(table.name)})"
