"""A pipeline of one's own over the tables of Postgres' pgbench, whose sums say whether a row is missing or doubled.

Every transaction adds one number to an account, a teller and a branch, and inserts it into the history: at any state
that really was, the four sums are equal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg2

from contracts.endpoints import PostgresEndpoint
from contracts.errors import Retryable
from contracts.settings import Settings
from headrace.app import App
from headrace.background import processes
from headrace.lake import rows_of
from infra.local import deployment
from infra.local.postgres import bin_dir
from tests.e2e.pgbench_star import write_star_schema

PIPELINE = "bench"
COLUMNS = {
    "accounts": {"aid": "int!", "bid": "int", "abalance": "int"},
    "branches": {"bid": "int!", "bbalance": "int"},
    "tellers": {"tid": "int!", "bid": "int", "tbalance": "int"},
    # pgbench's own history has no key; `own_key` gives it one.
    "history": {"hid": "bigint!", "tid": "int", "bid": "int", "aid": "int", "delta": "int"},
}
SUMMED = {"accounts": "abalance", "branches": "bbalance", "tellers": "tbalance", "history": "delta"}
OWN_KEY = "alter table pgbench_history add column hid bigint generated always as identity primary key"
# The rest is padding and the time.
EXCLUDED = {"column.exclude.list": "public\\.pgbench_.*\\.(filler|mtime)"}
_DIMENSION = f"{PIPELINE}.dim_{{}} where not is_deleted"
KILLABLE = ("run", "connect", "kafka", "postgres")
TRANSACTIONS_PER_S = 150


def write_pipeline(folder: Path) -> None:
    """The contracts, what the connector leaves out, and the star schema."""
    (folder / "contracts").mkdir()
    (folder / "connectors").mkdir()
    (folder / "connectors" / "postgres.json").write_text(json.dumps(EXCLUDED), "utf-8")
    (folder / "headrace.yaml").write_text(f"pipeline: {PIPELINE}\npipeline_dir: .\n", "utf-8")
    for name, columns in COLUMNS.items():
        (folder / "contracts" / f"{name}.yaml").write_text(_contract(name, columns), "utf-8")
    write_star_schema(folder / "warehouse_sql", COLUMNS)


def _contract(name: str, columns: dict[str, str]) -> str:
    lines = [
        *("apiVersion: v3.1.0", "kind: DataContract", f"id: {PIPELINE}.{name}", f"name: {name}", "version: 1.0.0"),
        *("status: active", "customProperties:"),
        f"  - {{property: headrace.table, value: public.pgbench_{name}}}",
        *("schema:", f"  - name: {name}", "    physicalType: table", "    properties:"),
    ]
    for column, kind in columns.items():
        key = ", primaryKey: true, primaryKeyPosition: 1, required: true" if kind.endswith("!") else ""
        lines.append(f"      - {{name: {column}, logicalType: integer, physicalType: {kind.rstrip('!')}{key}}}")
    return "\n".join(lines) + "\n"


class Bench:
    """The pipeline's deployment and its pgbench."""

    def __init__(self, folder: Path) -> None:
        self.app = App(Settings(pipeline=PIPELINE, pipeline_dir=folder, data_dir=folder / ".headrace"))
        self.source: PostgresEndpoint

    def up(self) -> None:
        """Start whatever does not run, and wait for it."""
        deployment.up(self.app.settings, extra=processes(self.app, ("--merge-every", "5s")))

    def fill(self) -> None:
        """pgbench's tables as it makes them, and the key that it leaves out."""
        self.source = self.app.endpoints.source
        done = self._pgbench("-i", "-s", "1", "-q")
        assert done.wait(timeout=120) == 0
        with closing(psycopg2.connect(**self.source.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(OWN_KEY)
            connection.commit()

    def _pgbench(self, *options: str) -> subprocess.Popen[bytes]:
        at = self.source
        command = [bin_dir() / "pgbench", *options, "-h", at.host, "-p", str(at.port), "-U", at.user, at.database]
        environment = os.environ | {"PGPASSWORD": at.password.get_secret_value()}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @contextmanager
    def load(self) -> Iterator[None]:
        """pgbench beside the body, started again whenever Postgres threw it out."""
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                bench = self._pgbench("-c", "4", "-T", "3600", "-n", f"--rate={TRANSACTIONS_PER_S}")
                while bench.poll() is None and not stop.wait(0.2):
                    pass
                bench.terminate()
                bench.wait()

        worker = threading.Thread(target=work, name="pgbench")
        worker.start()
        try:
            yield
        finally:
            stop.set()
            worker.join()
            self._outlast_commits()

    def _outlast_commits(self) -> None:
        """The server ends a commit although its client is gone."""
        told = "select count(*) from pg_stat_activity where application_name = 'pgbench'"
        deadline = time.monotonic() + 60
        with closing(psycopg2.connect(**self.source.dsn())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while True:
                cursor.execute(told)
                if cursor.fetchone() == (0,):
                    return
                assert time.monotonic() < deadline, "pgbench is still connected"
                time.sleep(0.1)

    def kill(self, part: str) -> None:
        """kill -9 of a part with all its processes; nothing if it is down anyway."""
        pid = next((one.pid for one in deployment.status(self.app.settings) if one.name == part), None)
        if pid is None:
            return
        victim = psutil.Process(pid)
        for process in [victim, *victim.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def kill_at_random(self, chance: random.Random) -> list[str]:
        """Each part once, in any order, at any time: also while others have not come back."""
        killed = []
        for victim in chance.sample(KILLABLE, len(KILLABLE)):
            time.sleep(chance.uniform(1, 4))
            self.kill(victim)
            killed.append(victim)
            time.sleep(chance.uniform(0, 2))
            self._bring_back(killed)
        return killed

    def _bring_back(self, killed: list[str]) -> None:
        for attempt in range(3):
            try:
                return self.up()
            except Retryable:
                assert attempt < 2, f"{killed} do not come back"

    def sums(self) -> dict[str, dict[str, int]]:
        """The four sums at the source, in the lake, and in the star schema of both engines."""
        postgres = {
            "source": (self.source, "public.pgbench_{}"),
            "Postgres": (self.app.endpoints.warehouse, _DIMENSION),
        }
        found = {}
        for where, (endpoint, tables) in postgres.items():
            with closing(psycopg2.connect(**endpoint.dsn())) as connection, connection.cursor() as cursor:
                cursor.execute(_sums(tables))
                found[where] = dict(zip(SUMMED, map(int, cursor.fetchone() or ()), strict=True))
        for where, tables in {"lake": "bench_lake.{}_current", "Delta": _DIMENSION}.items():
            (row,) = rows_of(self.app, _sums(tables))
            found[where] = {name: int(total) for name, total in row.items()}
        return found


def _sums(tables: str) -> str:
    each = (f"(select coalesce(sum({column}), 0) from {tables.format(t)}) as {t}" for t, column in SUMMED.items())
    return f"select {', '.join(each)}"
