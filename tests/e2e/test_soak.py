"""Changes for minutes on end: the number of files that a reader meets stays flat. `make soak` takes ten."""

from __future__ import annotations

import os
import time

import pytest

from headrace.demo import Demo
from headrace.findings import until_equal
from headrace.lake import rows_of
from headrace.proof import proof
from producers.generator.answer import Answer

MINUTES = float(os.environ.get("HEADRACE_SOAK_MINUTES", "2"))
COMPACT_AFTER = 10


def delta_tables(scene: Demo) -> list[str]:
    pipeline = scene.app.pipeline.name
    found = []
    for schema in (f"{pipeline}_lake", pipeline):
        names = [f"{schema}.{table['tableName']}" for table in rows_of(scene.app, f"show tables in {schema}")]
        found += [name for name in names if is_delta(scene, name)]
    return found


def files_of(scene: Demo, tables: list[str]) -> dict[str, int]:
    return {name: int(rows_of(scene.app, f"describe detail {name}")[0]["numFiles"]) for name in tables}


def is_delta(scene: Demo, name: str) -> bool:
    described = rows_of(scene.app, f"describe extended {name}")
    return any((row["col_name"], row["data_type"]) == ("Provider", "delta") for row in described)


def commits(scene: Demo, table: str) -> int:
    return int(rows_of(scene.app, f"describe history {table} limit 1")[0]["version"])


@pytest.mark.timeout(60 * MINUTES + 1500)  # beside another tier it took 400 s more than its minutes
def test_the_number_of_files_stays_flat(demo: tuple[Demo, Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = demo
    monkeypatch.setenv("HEADRACE_RUN__MAINTAIN_EVERY_S", "5")
    monkeypatch.setenv("HEADRACE_RUN__COMPACT_AFTER_FILES", str(COMPACT_AFTER))
    scene.kill("run")
    scene.start_processes()
    streams = [stream.history for stream in scene.app.pipeline.cdc_streams]
    tables = delta_tables(scene)
    with scene.workload():
        # A young process compiles more than it works: what counts begins with the first compaction.
        first = looks_until_some_files_go(scene, tables)
        before = {table: commits(scene, table) for table in streams}
        written: dict[str, int] = {}
        seen: list[dict[str, int]] = []
        deadline = time.monotonic() + 60 * MINUTES
        while time.monotonic() < deadline or max(written.values()) < 6 * COMPACT_AFTER:
            seen.append(files_of(scene, tables))
            written = {table: commits(scene, table) - before[table] for table in streams}
    most = {table: max(one.get(table, 0) for one in seen) for table in seen[-1]}
    print(f"{len(seen)} looks in {MINUTES:g} minutes; commits {written}; most files {most}")
    for table, number in most.items():
        at_first = max(one.get(table, 0) for one in first)
        assert number <= max(2 * at_first, 4 * COMPACT_AFTER), f"{table}: {[one.get(table) for one in first + seen]}"
    findings = until_equal(lambda: proof(scene.app), timeout_s=600)
    assert [finding for finding in findings if not finding.equal] == []


def looks_until_some_files_go(scene: Demo, tables: list[str]) -> list[dict[str, int]]:
    seen = [files_of(scene, tables)]
    while sum(seen[-1].values()) >= max(sum(one.values()) for one in seen) - COMPACT_AFTER // 2:
        assert len(seen) < 200, f"nothing was compacted: {seen[-1]}"
        seen.append(files_of(scene, tables))
    return seen
