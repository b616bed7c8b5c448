"""The whole plan: what the connectors find, and the tables that the lake and the warehouse lack."""

from __future__ import annotations

from connectors.plan import Change, Plan, plan
from contracts.errors import HeadraceError
from headrace.app import App
from headrace.background import MONITOR, processes
from headrace.lake import rows_of
from infra.local import deployment
from warehouse_sql.declaration import load


def planned(app: App) -> Plan:
    """Compares everything that is declared with what runs; changes nothing."""
    found = plan(app.pipeline, app.endpoints, app.settings)
    missing = missing_tables(app)
    if missing:
        what = "in the lake, in Delta and in Postgres"
        found.changes.append(Change("tables", ", ".join(missing), "", what, lambda: make_tables(app)))
    return found


def missing_tables(app: App) -> list[str]:
    """Declared tables that the metastore does not know."""
    lake = f"{app.pipeline.name}_lake"
    wanted = {f"{lake}.{stream.name}" for stream in app.pipeline.streams}
    wanted |= {f"{lake}.{name}" for name in ("ledger", "quarantine")}
    wanted |= {f"{app.pipeline.name}.{table.name}" for table in load(app.pipeline).tables}
    known: set[str] = set()
    for schema in (lake, app.pipeline.name):
        try:
            known |= {
                f"{schema}.{row['tableName']}" for row in rows_of(app, f"show tables in {schema}", database="default")
            }
        except HeadraceError:
            continue
    return sorted(wanted - known)


def make_tables(app: App) -> None:
    """Make what is missing, in a Spark application of its own; safe while `headrace run` works."""
    from headrace.running import start_spark
    from headrace.tables import create_all_tables

    spark = start_spark(app, "apply")
    try:
        create_all_tables(app, spark)
    finally:
        spark.stop()


def restart_monitor(app: App) -> None:
    """The monitor sees only topics that were there when it started; nothing happens if it is not part of the
    local deployment."""
    if any(part.name == MONITOR for part in deployment.status(app.settings)):
        deployment.down(app.settings, [MONITOR])
        deployment.up(app.settings, parts=(), extra=[part for part in processes(app) if part.name == MONITOR])
