"""Tables that are made twice at once, or get a wider type, and what a query over HiveServer2 is told."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from pyspark.sql import SparkSession
from thrift.transport.TTransport import TTransportException

from contracts import endpoints
from contracts.current import CUT_MOVED
from contracts.errors import Conflict, Fatal, ServiceUnavailable
from contracts.settings import Settings
from headrace.app import App
from headrace.lake import rows_of
from headrace.planning import tables_to_make
from headrace.tables import create_all_tables
from infra.local import process
from tests.e2e.shell import README
from warehouse_sql import hive
from warehouse_sql.hive import query

CONTRACT = README.split("contracts/customers.yaml <<'YAML'\n")[1].split("YAML\n")[0]
GAINED = "      - {name: note, logicalType: string, physicalType: string}\n"


def test_two_that_make_the_same_tables_at_once_do_no_harm(
    spark: SparkSession, deployment: Settings, tmp_path: Path
) -> None:
    name = f"two_{uuid4().hex[:8]}"
    contract = tmp_path / "contracts" / "customers.yaml"
    contract.parent.mkdir()
    settings = deployment.model_copy(update={"pipeline": name, "pipeline_dir": tmp_path})
    for declared in (CONTRACT, CONTRACT + GAINED):
        contract.write_text(declared.replace("shop.", f"{name}."), "utf-8")
        apps = [App(settings), App(settings)]
        with ThreadPoolExecutor(2) as makers:
            list(makers.map(lambda app: create_all_tables(app, spark, "test"), apps))
    assert "note" in spark.table(f"{name}_lake.customers").columns


def test_a_wider_type_is_planned_made_and_seen_by_every_reader(
    spark: SparkSession, deployment: Settings, tmp_path: Path
) -> None:
    name = f"wide_{uuid4().hex[:8]}"
    contract = tmp_path / "contracts" / "customers.yaml"
    contract.parent.mkdir()
    settings = deployment.model_copy(update={"pipeline": name, "pipeline_dir": tmp_path})
    apps: dict[str, App] = {}
    for kind in ("int", "bigint", "string"):
        logical = "string" if kind == "string" else "integer"
        points = f"      - {{name: points, logicalType: {logical}, physicalType: {kind}}}\n"
        contract.write_text(CONTRACT.replace("shop.", f"{name}.") + points, "utf-8")
        apps[kind] = App(settings)
        assert apps[kind].pipeline.streams[0].columns[-1].spark_type == kind  # read now, from the file as it is now
    create_all_tables(apps["int"], spark, "test")
    history = f"{name}_lake.customers"
    assert tables_to_make(apps["int"]) == ([], [])
    assert tables_to_make(apps["bigint"]) == ([f"{history}.points bigint (was int)"], [])
    create_all_tables(apps["bigint"], spark, "test")
    assert tables_to_make(apps["bigint"]) == ([], [])
    for table in (history, f"{history}_state", f"{history}_current"):
        assert spark.table(table).schema["points"].dataType.simpleString() == "bigint"
    for kind in ("int", "string"):
        missing, (refused,) = tables_to_make(apps[kind])
        assert not missing
        assert refused.startswith(f"{history}.points is bigint, the contract says {kind}")


def test_a_query_that_would_mix_two_cuts_is_asked_again_and_then_said(deployment: Settings) -> None:
    began = time.monotonic()
    with pytest.raises(Conflict, match="run it again"):
        query(App(deployment).endpoints, f"select raise_error('{CUT_MOVED}')")
    assert time.monotonic() - began > 1.5
    with pytest.raises(Fatal, match="some other reason"):
        query(App(deployment).endpoints, "select raise_error('some other reason')")


def test_the_endpoint_has_what_closing_a_session_may_need(deployment: Settings) -> None:
    """A Spark as it is shipped lacks a class that Hive's registry of functions names (SPARK-51041): the first session
    whose end asked for the registry failed, and each later one that asked waited for it for ever."""
    loaded = "select java_method('java.lang.Class', 'forName', 'org.apache.hadoop.hive.ql.exec.FunctionRegistry')"
    assert query(App(deployment).endpoints, loaded)[1] == [("class org.apache.hadoop.hive.ql.exec.FunctionRegistry",)]


def test_an_endpoint_that_does_not_close_a_session_is_left(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hive, "CLOSES_WITHIN_S", 1)
    endpoint = process.members(process.records(deployment.data_dir.absolute())["sql"])

    def go_on() -> None:
        for member in endpoint:
            member.resume()

    in_any_case = threading.Timer(60, go_on)
    in_any_case.start()
    try:
        with hive.session(App(deployment).endpoints, "default") as connection:
            cursor = connection.cursor()
            cursor.execute("select 1")
            assert cursor.fetchall() == [(1,)]
            for member in endpoint:
                member.suspend()
        # Its JVM stands still; what it once started may be a zombie.
        assert {member.status() for member in endpoint} - {psutil.STATUS_ZOMBIE} == {psutil.STATUS_STOPPED}
    finally:
        in_any_case.cancel()
        go_on()
    assert query(App(deployment).endpoints, "select 1")[1] == [(1,)]


def test_who_is_in_a_hurry_waits_for_seconds_and_asks_an_endpoint_that_stands_still_once(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("HURRY_SQL_OPENS_S", "HURRY_SQL_S"):
        monkeypatch.setattr(endpoints, limit, 2.0)
    app = App(deployment).in_a_hurry()
    assert query(app.endpoints, "select 1")[1] == [(1,)]
    members = process.members(process.records(deployment.data_dir.absolute())["sql"])
    began = time.monotonic()
    try:
        with suppress(ServiceUnavailable), hive.session(app.endpoints, "default") as connection:
            for member in members:
                member.suspend()
            with pytest.raises(TTransportException):
                connection.cursor().execute("select 1")
            raise ServiceUnavailable("as `query` says")
        for _ in range(3):
            with pytest.raises(ServiceUnavailable, match="does not answer"):
                rows_of(app, "select 1", database="default")
    finally:
        for member in members:
            member.resume()
    assert time.monotonic() - began < 8
    assert query(App(deployment).endpoints, "select 1")[1] == [(1,)]
