"""The lake and the warehouse as anybody else reads them: SQL over HiveServer2."""

from __future__ import annotations

from typing import Any

from contracts.errors import ServiceUnavailable
from contracts.unavailable import may_be_unavailable
from headrace.app import App
from warehouse_sql.hive import query

MOST_ROWS = 1_000_000


def rows_of(
    app: App, statement: str, *, limit: int = MOST_ROWS, database: str = "", **parameters: object
) -> list[dict[str, Any]]:
    """The rows of one statement by column name; parameters bind `%(name)s`.

    The current schema is the pipeline's, unless another is named. Raises as `query`.
    """
    if app.hurried and app.sql_away:
        raise app.sql_away
    bound = {name: value for name, value in parameters.items() if value is not None}
    try:
        columns, found = query(
            app.endpoints, statement, limit, database=database or app.pipeline.name, parameters=bound or None
        )
    except ServiceUnavailable as error:
        if app.hurried:
            app.sql_away = error
        raise
    return [dict(zip(columns, row, strict=True)) for row in found]


def pending_rows(app: App) -> dict[str, int]:
    """How many rows of each stream wait for a value that the source did not send. Readers do not see them."""
    asked = [
        f"select '{stream.name}' as stream, count(*) as n from {stream.history}_state where _unavailable is not null"
        for stream in app.pipeline.cdc_streams
        if may_be_unavailable(stream)
    ]
    return {row["stream"]: int(row["n"]) for row in rows_of(app, " union all ".join(asked))} if asked else {}
