"""pgbench as an oracle: kill -9 of every part while it runs, then a lost slot; all have the source's sums."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from connectors.plan import apply
from connectors.rest import Connect
from headrace.lake import rows_of
from headrace.planning import planned
from headrace.proof import proof
from headrace.rounds import settled
from infra.local import deployment
from streaming_jobs.gaps import stable_ends
from tests.conftest import WaitUntil
from tests.e2e.pgbench import PIPELINE, Bench, write_pipeline
from tests.e2e.shell import README, Shell

SEEDS = range(1, 1 + int(os.environ.get("HEADRACE_CHAOS_SEEDS", "3")))
SECTION = README.split("## When the slot is gone")[1].split("\n## ")[0]
(RECOVER,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    write_pipeline(folder)
    bench = Bench(folder)
    try:
        bench.up()
        bench.fill()
        apply(planned(bench.app))
        yield bench
    finally:
        deployment.reset(bench.app.settings)


def assert_equal(bench: Bench, told: str) -> None:
    """All four sums are equal at the source, in the lake and in the warehouse, and the whole proof holds."""
    findings = settled(bench.app.settings, lambda: proof(bench.app), timeout_s=300)
    assert [finding for finding in findings if not finding.equal] == [], told
    sums = bench.sums()
    assert len(set(sums["source"].values())) == 1, f"pgbench itself is wrong: {sums}"
    assert [where for where in sums if sums[where] != sums["source"]] == [], f"{told}: {sums}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sums_are_those_of_the_source_through_kills_of_every_part(bench: Bench, seed: int) -> None:
    with bench.load():
        killed = bench.kill_at_random(random.Random(seed))
    assert_equal(bench, f"seed {seed}, killed {killed}")


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("rows", [50_000, pytest.param(1_000_000, marks=pytest.mark.chaos)])
def test_one_transaction_of_many_rows_arrives_row_by_row(bench: Bench, wait_until: WaitUntil, rows: int) -> None:
    """All are inserted in one, and all updated in another: twice as many changes, each accepted once. Shorter ones
    overtake them, and where it takes long enough Connect is killed in the middle of the first."""
    before, written = accepted(bench, "history"), end_of(bench, "history")
    started, changed = time.monotonic(), []
    for statement in (
        f"insert into pgbench_history (tid, bid, aid, delta) select 1, 1, n, 0 from generate_series(1, {rows}) as n",
        "update pgbench_history set tid = tid + 1 where delta = 0 and tid = 1",
    ):
        with closing(psycopg2.connect(**bench.source.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            changed.append(cursor.rowcount)
            with closing(psycopg2.connect(**bench.source.dsn())) as other, other.cursor() as overtakes:
                overtakes.execute("update pgbench_branches set bbalance = bbalance")
                other.commit()
            connection.commit()
        if not changed[1:] and rows > 500_000:
            wait_until(lambda: end_of(bench, "history") > written + rows // 4, 300, "a part of the transaction")
            bench.kill("connect")
            assert end_of(bench, "history") < written + rows, "all of it was sent before Connect was killed"
            bench.up()
    assert changed[0] == rows <= changed[1]
    committed = time.monotonic()
    findings = settled(bench.app.settings, lambda: proof(bench.app), timeout_s=300 + rows / 1_000)
    assert [finding for finding in findings if not finding.equal] == []
    took = time.monotonic() - committed
    assert accepted(bench, "history") - before == sum(changed)
    guardian = json.loads((bench.app.settings.data_dir / f"{PIPELINE}.source.status.json").read_text("utf-8"))
    assert not guardian["report"]["kept"]["gap"]
    print(f"{rows:,} rows: {committed - started:.0f} s at the source, then {took:.0f} s until `verify` was equal")


def end_of(bench: Bench, stream: str) -> int:
    """How far the stream's topic can be read."""
    ((_, end),) = stable_ends(bench.app.endpoints.kafka, [bench.app.stream(stream).topic]).values()
    return end


def accepted(bench: Bench, stream: str) -> int:
    """Changes that the ledger says were accepted."""
    told = f"select coalesce(sum(accepted), 0) as n from {PIPELINE}_lake.ledger where stream = '{stream}'"
    return int(rows_of(bench.app, told)[0]["n"])


@pytest.mark.chaos  # ten minutes beside another tier; tests/services/test_reads_again.py has the same on few rows
@pytest.mark.timeout(1500)
def test_a_lost_slot_is_shown_and_recovered_as_the_readme_says(bench: Bench) -> None:
    folder = bench.app.settings.data_dir.parent
    shell = Shell(folder)
    with Connect(bench.app.endpoints.connect_url) as connect:
        connect.stop(PIPELINE)
        connect.wait_stopped(PIPELINE)
    with psycopg2.connect(**bench.app.endpoints.replicator.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(f"select pg_drop_replication_slot('headrace_{PIPELINE}')")
    with psycopg2.connect(**bench.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("delete from pgbench_accounts where aid % 1000 = 0; delete from pgbench_history")
        cursor.execute("update pgbench_accounts set abalance = 0; update pgbench_tellers set tbalance = 0")
        cursor.execute("update pgbench_branches set bbalance = 0")
    connection.close()
    gone = f"replication slot headrace_{PIPELINE} is gone"
    shell.wait(lambda: gone in shell.type("headrace status 2>&1 || true"), 90)
    refused = shell.type("headrace resnapshot accounts 2>&1 || echo exit code $?")
    assert "exit code 3" in refused, refused

    told = shell.type(RECOVER, timeout_s=600)  # of which `verify` waits 300 at most

    assert "is gone" in told
    assert_equal(bench, "after the slot was lost")
    # The load changes any account: the sums agree only if all are there.
    with psycopg2.connect(**bench.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute("insert into pgbench_accounts select n, 1, 0, '' from generate_series(1000, 100000, 1000) as n")
    connection.close()
    with bench.load():
        again = json.loads(shell.type("headrace resnapshot branches accounts --wait 300 --json", timeout_s=600))
    assert [row["rows read"] for row in again] == [1, 100_000]
    assert_equal(bench, "after a read again")
