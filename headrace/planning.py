"""The whole plan: what the connectors find, and the tables that the lake and the warehouse lack."""

from __future__ import annotations

import re
from itertools import takewhile

from connectors.mariadb import plan as mariadb_plan
from connectors.mongodb import plan as mongodb_plan
from connectors.plan import Change, Plan
from connectors.postgres.plan import plan
from contracts.errors import Fatal
from contracts.spark_types import history_columns, parse_type, widens
from contracts.stream import Stream
from headrace.app import App
from headrace.background import MONITOR, processes
from headrace.evolution import warnings
from headrace.lake import rows_of
from infra.local import deployment
from streaming_jobs.lake import CUT_TABLE, KEY
from warehouse_sql.asking import postgres_state
from warehouse_sql.declaration import load

_SHORTENED = re.compile(r"\.\.\.\d+morefields")


def planned(app: App) -> Plan:
    """Compares everything that is declared with what runs; changes nothing."""
    found = plan(app.pipeline, app.endpoints, app.settings)
    mariadb_plan.add(found, app.pipeline, app.endpoints, app.settings)
    mongodb_plan.add(found, app.pipeline, app.endpoints, app.settings)
    missing, refusals = tables_to_make(app)
    found.refusals += refusals
    absent, differing = postgres_state(app.endpoints.warehouse, app.pipeline)
    missing += [f"postgres {app.pipeline.name}.{table}" for table in absent]
    found.warnings += [f"{line}: `apply` leaves a table that exists as it is" for line in differing]
    found.warnings += warnings(app)
    if missing:
        what = "in the lake, in Delta and in Postgres"
        found.changes.append(Change("tables", ", ".join(missing), "", what, lambda: make_tables(app)))
    return found


def tables_to_make(app: App) -> tuple[list[str], list[str]]:
    """Declared tables and columns that the metastore does not know, or with a narrower type; as refusals, what is there
    with another type or key."""
    lake, warehouse = f"{app.pipeline.name}_lake", app.pipeline.name
    known = _tables(app, lake) | _tables(app, warehouse)
    wanted = {f"{lake}.{name}" for name in ("ledger", "quarantine", "files")}
    wanted |= {f"{lake}.{CUT_TABLE}"} if app.pipeline.cut_groups else set()
    wanted |= {f"{stream.history}_current" for stream in app.pipeline.streams}
    wanted |= {f"{warehouse}.{table.name}" for table in load(app.pipeline).tables}
    missing, refusals = sorted(wanted - known), []
    for stream in app.pipeline.streams:
        if stream.history not in known:
            missing.append(stream.history)
            continue
        real = _columns(app, stream.history)
        for name, kind in history_columns(stream):
            if name.lower() not in real:
                missing.append(f"{stream.history}.{name}")
            elif not _same(kind, real[name.lower()]):
                if widens(parse_type(real[name.lower()]), parse_type(kind)):
                    missing.append(f"{stream.history}.{name} {kind} (was {real[name.lower()]})")
                    continue
                refusals.append(
                    f"{stream.history}.{name} is {real[name.lower()]}, the contract says {kind}: a column of the lake "
                    "keeps its type, or gets a wider one\n"
                    "  declare the old type, or give the column (or the stream) another name"
                )
        if other := _other_key(app, stream):
            refusals.append(
                f"{stream.history}: its rows are identified by {other}, the contract says {','.join(stream.key)}\n"
                "  declare the old primary key, or give the stream another name"
            )
    return sorted(missing), refusals


def _tables(app: App, schema: str) -> set[str]:
    try:
        return {f"{schema}.{row['tableName']}" for row in rows_of(app, f"show tables in {schema}", database="default")}
    except Fatal as error:
        if "SCHEMA_NOT_FOUND" not in str(error):
            raise
        return set()


def _same(declared: str, found: str) -> bool:
    # Spark cuts what it tells of a wide struct; `create_table` compares those in full.
    return bool(_SHORTENED.search(found)) or declared.replace(" ", "").lower() == found


def _other_key(app: App, stream: Stream) -> str:
    """The key of the rows that are there, if it is not the declared one."""
    found = rows_of(app, f"show tblproperties {stream.history} ('{KEY}')", database="default")
    # A table made before the key was kept answers with a sentence: nothing to compare with.
    known = next((row["value"] for row in found if "does not have property" not in row["value"]), "")
    if not known or known.lower() == ",".join(stream.key).lower():
        return ""
    return str(known) if rows_of(app, f"select 1 from {stream.history} limit 1", database="default") else ""


def _columns(app: App, table: str) -> dict[str, str]:
    """Types by name, both in lower case. After an empty line DESCRIBE tells of the partitions."""
    rows = rows_of(app, f"describe {table}", database="default")
    columns = takewhile(lambda row: row["col_name"] and not row["col_name"].startswith("#"), rows)
    return {row["col_name"].lower(): row["data_type"].replace(" ", "").lower() for row in columns}


def make_tables(app: App) -> None:
    """Make what is missing, in a Spark application of its own; safe while `headrace run` works."""
    from headrace.running import start_spark
    from headrace.tables import create_all_tables

    spark = start_spark(app, "apply")
    try:
        create_all_tables(app, spark, "apply")
    finally:
        spark.stop()


def restart_monitor(app: App) -> None:
    """The monitor sees only topics that were there when it started; nothing happens if it is not part of the
    local deployment."""
    if any(part.name == MONITOR for part in deployment.status(app.settings)):
        deployment.down(app.settings, [MONITOR])
        deployment.up(app.settings, parts=(), extra=[part for part in processes(app) if part.name == MONITOR])
