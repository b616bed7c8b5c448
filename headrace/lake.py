"""The lake and the warehouse as anybody else reads them: SQL over HiveServer2."""

from __future__ import annotations

from typing import Any

from headrace.app import App
from warehouse_sql.hive import query

MOST_ROWS = 1_000_000


def rows_of(
    app: App, statement: str, *, limit: int = MOST_ROWS, database: str = "", **parameters: object
) -> list[dict[str, Any]]:
    """The rows of one statement by column name; parameters bind `%(name)s`.

    The current schema is the pipeline's, unless another is named.
    """
    bound = {name: value for name, value in parameters.items() if value is not None}
    columns, found = query(
        app.endpoints, statement, limit, database=database or app.pipeline.name, parameters=bound or None
    )
    return [dict(zip(columns, row, strict=True)) for row in found]
