"""`apply` and `resnapshot` killed at any moment, and Connect and the source beside them, then repeated to the end."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import closing
from random import Random

import psycopg2
import pytest

from connectors import debezium
from connectors.mariadb import plan as mariadb_plan
from connectors.plan import apply
from connectors.postgres.plan import plan
from connectors.reads.reread import read_again
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.errors import HeadraceError
from contracts.settings import Settings
from contracts.stream import Pipeline, System
from infra.local import deployment as local_deployment
from tests.services.any_server import Postgres, SqlSource, kill_part
from tests.services.test_any_source import SERVERS, slow_source

__all__ = ["slow_source"]

SEEDS = range(1, 1 + int(os.environ.get("HEADRACE_CHAOS_SEEDS", "5")))
ROWS = 3000
STEPS = 6
CALM_AGAIN_S = 5.0


def command(
    kind: System, endpoints: Endpoints, settings: Settings, pipeline: Pipeline, table: str = "", where: str = ""
) -> None:
    """What the command line does: `apply`, or with a table `resnapshot`."""
    if table:
        read_again(endpoints, pipeline.of(kind), table, where, begins_within_s=60)
        return
    planned = plan(pipeline, endpoints, settings)
    mariadb_plan.add(planned, pipeline, endpoints, settings)
    assert not planned.refusals, planned.refusals
    apply(planned)


class Chaos:
    """One seed: what is done to a source, and what it did."""

    def __init__(self, source: SqlSource, seed: int) -> None:
        self.source, self.random, self.done = source, Random(seed), list[str]()
        self.next_id = ROWS + 1

    def say(self, what: str) -> None:
        self.done.append(f"{time.strftime('%H:%M:%S')} {what}")
        print(self.done[-1], flush=True)

    def likely(self, share: float) -> bool:
        return self.random.random() < share

    def step(self, kind: str) -> None:
        """One command, killed once or twice while rows change, then repeated to its end."""
        source, tables = self.source, [one.name for one in self.source.streams]
        table, where, low = self.random.choice(tables), "", self.random.randint(1, ROWS - 200)
        if kind == "new table":
            self.new_table()
        elif kind == "lost":
            self.lose()
        elif kind == "part":
            table, where = "orders", f"id between {low} and {low + 200}"
            source.unseen(self.changes(table, low, low + 190, only_updates=True))
        elif kind == "whole":
            source.through()
            (source.unseen if table == "orders" else source.run)(self.changes(table))
        what = (f"{source.name}.{table}", where) if kind in ("part", "whole") else ()
        self.say(f"{kind} {what}")
        for _ in range(self.random.randint(1, 2)):
            self.kill(*what)
        if what and self.likely(0.3):
            self.to_the_end()
        self.to_the_end(*what)
        self.check()

    def changes(self, table: str, low: int = 1, high: int = ROWS, *, only_updates: bool = False) -> str:
        key = self.random.randint(low, high)
        kinds = [
            f"UPDATE {{db}}.{table} SET price = {self.random.randint(1, 999)} WHERE id BETWEEN {key} AND {key + 5}"
        ]
        if not only_updates:
            kinds.append(f"DELETE FROM {{db}}.{table} WHERE id BETWEEN {key} AND {key + 3}")
            kinds.append(f"INSERT INTO {{db}}.{table} VALUES ({self.next_id}, {key})")
            self.next_id += 1
        return ";\n".join(self.random.sample(kinds, self.random.randint(1, len(kinds))))

    def disturb(self) -> None:
        for stream in self.source.streams:
            if self.likely(0.7):
                self.source.run(self.changes(stream.name))

    def new_table(self) -> None:
        source, name = self.source, f"t{len(self.source.streams)}"
        source.run(f"CREATE TABLE {{db}}.{name} (id bigint PRIMARY KEY, price decimal(10,2))")
        source.run(f"INSERT INTO {{db}}.{name} SELECT n, n FROM {source.numbers(1, ROWS)}")
        source.streams = (*source.streams, source.stream(name))

    def lose(self) -> None:
        """What the connector must read next is gone at the source, and changes with it."""
        source, name = self.source, debezium.connector_name(self.source.part)
        source.through()
        with Connect(source.endpoints.connect_url) as connect:
            connect.stop(name)
            connect.wait_stopped(name)
        if isinstance(source, Postgres):
            with closing(psycopg2.connect(**source.endpoints.replicator.dsn())) as one, one.cursor() as cursor:
                cursor.execute("select pg_drop_replication_slot(%s)", (debezium.default_name(source.pipeline),))
                one.commit()
            self.disturb()
        else:
            self.disturb()
            source.run("FLUSH BINARY LOGS;\nPURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")

    def kill(self, *what: str) -> None:
        source = self.source
        child = multiprocessing.get_context("spawn").Process(
            target=command, args=(source.kind, source.endpoints, source.settings, source.pipeline, *what)
        )
        child.start()
        wait_s = self.random.uniform(1.3, 10)
        time.sleep(wait_s / 2)
        self.disturb()
        time.sleep(wait_s / 2)
        parts = ["command"] * self.likely(0.8) + ["connect"] * self.likely(0.4) + ["source"] * self.likely(0.15)
        self.random.shuffle(parts)
        self.say(f"after {wait_s:.1f} s, while it {'works' if child.is_alive() else 'has ended'}: kill -9 of {parts}")
        for part in parts:
            if part == "command":
                child.kill()
            elif part == "connect":
                kill_part(source.settings, "connect")
            else:
                source.kill()
        if "command" not in parts:
            child.join(self.random.choice((0, 60)))
        child.kill()
        child.join()
        if "source" in parts:
            source.start()
        if self.likely(0.7):
            self.disturb()
        local_deployment.up(source.settings)

    def to_the_end(self, *what: str) -> None:
        source = self.source
        for last in (False,) * 5 + (True,):
            try:
                return command(source.kind, source.endpoints, source.settings, source.pipeline, *what)
            except HeadraceError as error:
                self.say(f"{what}: {type(error).__name__}: {error}")
                if last:
                    raise
                time.sleep(CALM_AGAIN_S)

    def check(self) -> None:
        self.source.create_lake()
        for stream in self.source.streams:
            shown, held = set(self.source.lake(stream.name)), set(self.source.rows(stream.name))
            lost, more = sorted(held - shown), sorted(shown - held)
            assert not lost + more, f"{stream.name}: not there {lost[:5]}, too many {more[:5]}\n" + "\n".join(self.done)


@pytest.mark.chaos
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slow_source", SERVERS, indirect=True)
def test_a_killed_command_that_is_repeated_leaves_the_lake_as_the_source_is(slow_source: SqlSource, seed: int) -> None:
    source = slow_source
    source.run(f"INSERT INTO {{db}}.orders SELECT n, n FROM {source.numbers(1, ROWS)}")
    chaos = Chaos(source, seed)
    chaos.step("apply")
    for _ in range(STEPS - 1):
        chaos.step(chaos.random.choice(("new table", "whole", "whole", "part", "lost", "lost")))
