"""Amounts move between two tables of a real Postgres while everything runs: no reader ever sees another sum."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from pyspark.sql import SparkSession

from connectors import marker
from connectors.plan import apply
from connectors.postgres_plan import plan
from connectors.removal import remove
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.app import App
from headrace.cut_overview import cuts_overview, nothing_is_held_back
from streaming_jobs.cut import move_cut
from streaming_jobs.lake import create_derived
from streaming_jobs.state import merge_states
from streaming_jobs.streams import run_streams
from streaming_jobs.tables import create_tables
from warehouse_sql import merge

COLUMNS = (Column("id", "bigint", required=True, source_type="int8"), Column("amount", "bigint", source_type="int8"))
TABLES = ("checking", "savings")
TOTAL = 2 * 10 * 100

_COLUMNS = "id {int}, amount {int}, is_inferred boolean, is_deleted boolean, _version {int}"
_DDL = {
    "delta": "create table if not exists dim_{t} ({t}_key binary, {columns}) using delta",
    "postgres": "create table if not exists dim_{t} ({t}_key bytea primary key, {columns});\n"
    "create unlogged table if not exists staging_dim_{t} ({t}_key bytea, {columns});",
}
_MERGE = """merge into dim_{t} as t using staging_dim_{t} as s on t.{t}_key = s.{t}_key
when matched and s._version >= t._version then update set
  amount = s.amount, is_inferred = s.is_inferred, is_deleted = s.is_deleted, _version = s._version
when not matched then insert ({t}_key, id, amount, is_inferred, is_deleted, _version)
values (s.{t}_key, s.id, s.amount, s.is_inferred, s.is_deleted, s._version)"""
_INFER = """merge into dim_{t} as t using members as s on t.{t}_key = s.{t}_key
when not matched then insert ({t}_key, id, is_inferred, is_deleted, _version)
values (s.{t}_key, s.id, true, false, -1)"""
_SOURCE = "select _key as {t}_key, id, amount, false as is_inferred, _deleted as is_deleted, _version from changes"


def star_schema(folder: Path) -> None:
    """Two dimensions, one per table."""
    folder.mkdir()
    declared = (
        f"  dim_{t}: {{kind: dimension, stream: {t}, key: {t}_key, natural: [id], inferred: is_inferred}}"
        for t in TABLES
    )
    (folder / "tables.yaml").write_text("\n".join(["tables:", *declared]))
    for table in TABLES:
        files = {f"source/dim_{table}": _SOURCE}
        for engine, ddl in _DDL.items():
            files[f"{engine}/ddl/dim_{table}"] = ddl.replace("{columns}", _COLUMNS.replace("{int}", "bigint"))
            files |= {f"{engine}/merge/dim_{table}": _MERGE, f"{engine}/infer/dim_{table}": _INFER}
        for name, text in files.items():
            path = folder / f"{name}.sql"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{t}", table))


@dataclass
class Bank:
    """Two tables of a source, and all that reads them."""

    spark: SparkSession
    endpoints: Endpoints
    settings: Settings
    pipeline: Pipeline
    seen: dict[str, list[int]] = field(default_factory=lambda: {"lake": [], "postgres": []})
    refused: list[str] = field(default_factory=list)
    moves: int = 0

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def run(self, statements: str) -> None:
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(statements)
            connection.commit()

    def write(self, stop: threading.Event) -> None:
        """Each transaction changes the one table first, waits a little, and then the other one."""
        schema = self.pipeline.name
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                first, other = TABLES if self.moves % 2 else TABLES[::-1]
                key, amount = self.moves % 10 + 1, self.moves % 7 + 1
                cursor.execute(f"update {schema}.{first} set amount = amount - {amount} where id = {key}")
                cursor.execute(f"update {schema}.{other} set amount = amount + {amount} where id = {11 - key}")
                connection.commit()
                self.moves += 1
                time.sleep(0.02)

    def read_lake(self, stop: threading.Event) -> None:
        lake, session = f"{self.pipeline.name}_lake", self.spark.newSession()
        sums = " + ".join(f"(select sum(amount) from {lake}.{table}_current)" for table in TABLES)
        while not stop.is_set():
            try:
                self.seen["lake"].append(int(session.sql(f"select {sums} as n").collect()[0]["n"]))
            except Exception as error:
                self.refused.append(str(error))
            time.sleep(0.3)  # the rest wants the processors too

    def read_postgres(self, stop: threading.Event) -> None:
        sums = " + ".join(f"(select sum(amount) from {self.pipeline.name}.dim_{table})" for table in TABLES)
        while not stop.is_set():
            with (
                closing(psycopg2.connect(**self.endpoints.warehouse.dsn())) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(f"select {sums}")
                self.seen["postgres"].append(int((cursor.fetchone() or (0,))[0]))
            time.sleep(0.02)

    def stream(self, stop: threading.Event) -> None:
        run_streams(
            *(self.spark, self.pipeline, self.endpoints, self.settings, stop, lambda _: None),
            status_file=self.settings.data_dir / "status.json",
        )

    def round(self) -> None:
        """As `headrace.merging` does it."""
        move_cut(self.spark, self.pipeline, self.lake_url, self.endpoints.kafka, datetime.now(UTC))
        merge_states(self.spark, self.pipeline, self.lake_url)
        merge.merge_round(self.spark, self.pipeline, self.endpoints, targets=["postgres"]).check()

    def killed_round(self, place: str) -> None:
        """The same in a process that kills itself at a failpoint."""
        arguments = self.settings.data_dir / "arguments.pickle"
        status_file = self.settings.data_dir / "status.json"
        arguments.write_bytes(pickle.dumps((self.pipeline, self.endpoints, self.settings, status_file)))
        process = str(Path(__file__).parent / "streams_process.py")
        killed = subprocess.run(
            [sys.executable, process, str(arguments), "round"],
            env={**os.environ, "HEADRACE_FAILPOINT": place},
            capture_output=True,
            timeout=300,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-3000:]

    def amounts(self) -> list[list[tuple[int, int]]]:
        """What source, lake and Postgres hold."""
        found = []
        for endpoint, prefix in ((self.endpoints.source, ""), (self.endpoints.warehouse, "dim_")):
            with closing(psycopg2.connect(**endpoint.dsn())) as connection, connection.cursor() as cursor:
                for table in TABLES:
                    cursor.execute(f"select id, amount from {self.pipeline.name}.{prefix}{table} order by id")
                    found.append(cursor.fetchall())
        for table in TABLES:
            rows = self.spark.sql(f"select id, amount from {self.pipeline.name}_lake.{table}_current order by id")
            found.append([(row["id"], row["amount"]) for row in rows.collect()])
        return found


@pytest.fixture
def bank_of(
    spark: SparkSession, endpoints: Endpoints, deployment: Settings, tmp_path: Path
) -> Iterator[Callable[[bool], Bank]]:
    made: list[Bank] = []

    def make(cut: bool) -> Bank:
        name = f"cut_{uuid4().hex[:8]}"
        star_schema(tmp_path / "sql")
        streams = tuple(
            Stream(name, t, f"{name}.{name}.{t}", TableSource(name, t), COLUMNS, ("id",), consistent_cut=cut)
            for t in TABLES
        )
        pipeline = Pipeline(name, streams, tmp_path, tmp_path, tmp_path / "sql")
        settings = deployment.model_copy(update={"data_dir": tmp_path})
        bank = Bank(spark, endpoints, settings, pipeline)
        made.append(bank)
        bank.run(
            f"create schema {name};"
            + "".join(
                f"create table {name}.{t} (id bigint primary key, amount bigint);"
                f"insert into {name}.{t} select n, 100 from generate_series(1, 10) as n;"
                for t in TABLES
            )
        )
        create_tables(spark, pipeline, bank.lake_url)
        create_derived(spark, pipeline, bank.lake_url)
        merge.create_tables(spark, pipeline, endpoints, targets=["postgres"])
        spark.sql(f"create schema {name}")
        planned = plan(pipeline, endpoints, deployment)
        assert planned.refusals == []
        apply(planned)
        marker.quiesced(pipeline, endpoints, timeout_s=120)
        return bank

    yield make
    for bank in made:
        name = bank.pipeline.name
        remove(bank.pipeline, endpoints, with_topics=True)
        bank.run(f"drop schema {name} cascade")
        spark.sql(f"drop schema {name}_lake cascade")
        spark.sql(f"drop schema {name} cascade")
        with closing(psycopg2.connect(**endpoints.warehouse.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(f"drop schema if exists {name} cascade")
            connection.commit()


def scenario(bank: Bank, wait_until: Any, between: Callable[[], None] = lambda: None) -> dict[str, set[int]]:
    """Stream, write, merge and read at once; the sums that were seen once both tables had been read."""
    writing, rest = threading.Event(), threading.Event()
    streaming = threading.Thread(target=bank.stream, args=(rest,))
    streaming.start()
    others: list[threading.Thread] = []
    try:

        def merged() -> bool:
            bank.round()
            return sum(map(len, bank.amounts()[2:])) == 40

        wait_until(merged, 300, "the first read of both tables in lake and star schema")
        others = [
            threading.Thread(target=bank.read_lake, args=(rest,)),
            threading.Thread(target=bank.read_postgres, args=(rest,)),
        ]
        writer = threading.Thread(target=bank.write, args=(writing,))
        for thread in (writer, *others):
            thread.start()
        bank.round()
        between()
        bank.round()
        writing.set()
        writer.join(timeout=30)
        marker.quiesced(bank.pipeline, bank.endpoints, timeout_s=60)

        def arrived() -> bool:
            bank.round()
            source, warehouse, lake = (bank.amounts()[at : at + 2] for at in (0, 2, 4))
            return source == warehouse == lake

        wait_until(arrived, 300, "source = lake = star schema, after the writer has stopped")
    finally:
        writing.set()
        rest.set()
        for thread in (streaming, *others):
            thread.join(timeout=120)
    assert [error for error in bank.refused if "run it again" not in error] == []
    assert bank.moves > 50
    assert min(map(len, bank.seen.values())) > 3
    return {where: {*sums} for where, sums in bank.seen.items()}


@pytest.mark.timeout(1000)
def test_every_reader_sees_whole_transactions_also_beside_a_kill(
    bank_of: Callable[[bool], Bank], wait_until: Any
) -> None:
    bank = bank_of(True)
    seen = scenario(bank, wait_until, lambda: bank.killed_round("after_cut_commit"))
    assert seen == {"lake": {TOTAL}, "postgres": {TOTAL}}
    app = App(bank.settings)
    app.__dict__ |= {"pipeline": bank.pipeline, "endpoints": bank.endpoints}
    shown = cuts_overview(app)
    assert [(row["stream"], row["held back"], row["waits since"]) for row in shown] == [(t, 0, None) for t in TABLES]
    assert all(row["moved"] for row in shown)
    # Rows that no cut has passed yet: what a round would move is taken back.
    bank.spark.sql(f"update {bank.pipeline.name}_lake.consistent_cut set bound = bound - 20")
    assert all(row["held back"] > 5 for row in cuts_overview(app))
    assert [finding.equal for finding in nothing_is_held_back(app)] == [False, False]
    bank.spark.sql(f"delete from {bank.pipeline.name}_lake.consistent_cut")
    assert [row["held back"] for row in cuts_overview(app)] == [0, 0], "what was merged before the first cut is seen"


@pytest.mark.chaos
@pytest.mark.timeout(1000)
def test_without_the_option_readers_see_half_transactions(bank_of: Callable[[bool], Bank], wait_until: Any) -> None:
    """What makes the test above worth something."""
    seen = scenario(bank_of(False), wait_until)
    assert max(len(sums) for sums in seen.values()) > 1
