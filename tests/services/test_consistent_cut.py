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
from uuid import uuid4

import psycopg2
import pytest
from pyspark.sql import SparkSession

from connectors.plan import apply
from connectors.postgres import marker
from connectors.postgres.plan import plan
from connectors.removal import remove
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Pipeline, Stream, TableSource
from headrace.app import App
from headrace.cut_overview import cuts_overview, nothing_is_held_back
from streaming_jobs.cut import move_cut
from streaming_jobs.lake import create_derived
from streaming_jobs.state import merge_states
from streaming_jobs.stream_status import read_status
from streaming_jobs.streams import run_streams
from streaming_jobs.tables import create_tables
from tests.conftest import WaitUntil
from tests.services.at_once import at_once
from tests.services.streams_process import gateway_of
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
    seen: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {"lake": [], "postgres": []})
    refused: list[str] = field(default_factory=list)
    moves: int = 0

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/lake"

    def run(self, statements: str) -> None:
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(statements)
            connection.commit()

    @property
    def status_file(self) -> Path:
        return self.settings.data_dir / "status.json"

    def write(self, stop: threading.Event) -> None:
        """Each transaction changes one table first, waits a little, and then the other one; no two sums are alike."""
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                key, amount = self.moves % 10 + 1, self.moves % 7 + 1
                changes = [("checking", -amount, key), ("savings", amount, 11 - key)]
                for t, more, row in changes if self.moves % 2 else changes[::-1]:
                    cursor.execute(f"update {self.pipeline.name}.{t} set amount = amount + {more} where id = {row}")
                connection.commit()
                self.moves += 1
                time.sleep(0.02)

    def read_lake(self, stop: threading.Event) -> None:
        lake, session = f"{self.pipeline.name}_lake", self.spark.newSession()
        sums = ", ".join(f"(select sum(amount) from {lake}.{table}_current) as {table}" for table in TABLES)
        while not stop.is_set():
            try:
                checking, savings = session.sql(f"select {sums}").collect()[0]
                self.seen["lake"].append((int(checking), int(savings)))
            except Exception as error:
                self.refused.append(str(error))
            time.sleep(1.0)  # the rest wants the processors too

    def read_postgres(self, stop: threading.Event) -> None:
        sums = ", ".join(f"(select sum(amount) from {self.pipeline.name}.dim_{table})" for table in TABLES)
        with closing(psycopg2.connect(**self.endpoints.warehouse.dsn())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not stop.is_set():
                cursor.execute(f"select {sums}")
                checking, savings = cursor.fetchone() or (0, 0)
                self.seen["postgres"].append((int(checking), int(savings)))
                time.sleep(0.02)

    def create_tables(self) -> None:
        create_tables(self.spark, self.pipeline, self.lake_url)
        create_derived(self.spark, self.pipeline, self.lake_url)
        merge.create_tables(self.spark, self.pipeline, self.endpoints, targets=["postgres"])
        self.spark.sql(f"create schema {self.pipeline.name}")

    def stream(self, stop: threading.Event) -> None:
        run_streams(
            *(self.spark, self.pipeline, self.endpoints, self.settings, stop, lambda _: None),
            status_file=self.status_file,
        )

    def arrive(self, wait_until: WaitUntil) -> None:
        """Returns when the lake has all that was committed."""
        ends = marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)

        def arrived() -> bool:
            _, streams = read_status(self.status_file) or ("", [])
            reached = {self.pipeline.stream(one.stream).topic: one.position or 0 for one in streams}
            return all(reached.get(topic, 0) >= end for (topic, _), end in ends.items())

        wait_until(arrived, 120, "the lake has what Kafka has")

    def round(self) -> None:
        """As `headrace.merging` does it."""
        move_cut(self.spark, self.pipeline, self.lake_url, self.endpoints.kafka, datetime.now(UTC))
        merge_states(self.spark, self.pipeline, self.lake_url)
        merge.merge_round(self.spark, self.pipeline, self.endpoints, targets=["postgres"]).check()

    def killed_round(self, place: str) -> None:
        """The same in a process that kills itself at a failpoint; Spark is this one's, and has committed before."""
        arguments = self.settings.data_dir / "arguments.pickle"
        arguments.write_bytes(pickle.dumps((self.pipeline, self.endpoints, self.settings, self.status_file)))
        process = str(Path(__file__).parent / "streams_process.py")
        killed = subprocess.run(
            [sys.executable, process, str(arguments), "round"],
            env={**os.environ, **gateway_of(self.spark), "HEADRACE_FAILPOINT": place},
            capture_output=True,
            timeout=300,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-3000:]

    def amounts(self) -> list[list[tuple[int, int]]]:
        """What source, Postgres and lake hold, each both tables."""
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
        # Batches are not what is looked at: fewer of them.
        run = deployment.run.model_copy(update={"trigger_s": 2.0})
        settings = deployment.model_copy(update={"data_dir": tmp_path, "run": run})
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

        def capture() -> None:
            planned = plan(pipeline, endpoints, deployment)
            assert planned.refusals == []
            apply(planned)

        at_once(lambda step: step(), (bank.create_tables, capture))
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


def scenario(bank: Bank, wait_until: WaitUntil, before: Callable[[], None] = lambda: None) -> dict[str, set[int]]:
    """Stream, write, merge and read at once; the sums that were seen once both tables had been read. `before` is called
    before the round that is made while the writer writes."""
    writing, rest = threading.Event(), threading.Event()
    streaming = threading.Thread(target=bank.stream, args=(rest,))
    streaming.start()
    others: list[threading.Thread] = []
    try:
        bank.arrive(wait_until)
        bank.round()
        assert bank.amounts() == [[(key, 100) for key in range(1, 11)]] * 6, "the first read of both tables"
        writer = threading.Thread(target=bank.write, args=(writing,))
        others = [threading.Thread(target=read, args=(rest,)) for read in (bank.read_lake, bank.read_postgres)]
        for thread in (writer, *others):
            thread.start()
        wait_until(lambda: bank.moves > 50 and all(bank.seen.values()), 60, "both readers see what there is")
        before()
        bank.round()
        wait_until(
            lambda: all(len({*seen}) > 1 for seen in bank.seen.values()), 60, "both see something move meanwhile"
        )
        writing.set()
        writer.join(timeout=30)
        bank.arrive(wait_until)

        def arrived() -> bool:
            bank.round()
            held = bank.amounts()
            source, warehouse, lake = (held[at : at + 2] for at in (0, 2, 4))
            return source == warehouse == lake

        wait_until(arrived, 120, "source = lake = star schema, after the writer has stopped")
        last = tuple(sum(amount for _, amount in rows) for rows in bank.amounts()[:2])
        wait_until(lambda: all(seen[-1] == last for seen in bank.seen.values()), 60, "both readers see that too")
    finally:
        writing.set()
        rest.set()
        for thread in (streaming, *others):
            thread.join(timeout=120)
    assert [error for error in bank.refused if "run it again" not in error] == []
    # What was there first, what a round moved while the writer wrote, what was there last.
    assert min(len({*seen}) for seen in bank.seen.values()) > 2, "a reader saw nothing move"
    return {where: {sum(one) for one in seen} for where, seen in bank.seen.items()}


@pytest.mark.timeout(1000)
def test_every_reader_sees_whole_transactions_also_beside_a_kill(
    bank_of: Callable[[bool], Bank], wait_until: WaitUntil
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
    found = [*nothing_is_held_back(app)]
    assert [(finding.equal, int(finding.right) > 5) for finding in found] == [(False, True)] * 2
    bank.spark.sql(f"delete from {bank.pipeline.name}_lake.consistent_cut")
    assert [row["held back"] for row in cuts_overview(app)] == [0, 0], "what was merged before the first cut is seen"


@pytest.mark.chaos
@pytest.mark.timeout(1000)
def test_without_the_option_readers_see_half_transactions(
    bank_of: Callable[[bool], Bank], wait_until: WaitUntil
) -> None:
    """What makes the test above worth something."""
    seen = scenario(bank_of(False), wait_until)
    assert max(len(sums) for sums in seen.values()) > 1
