"""Changes for minutes on end: the number of files that a reader meets stays flat. `make soak` takes ten."""

from __future__ import annotations

import json
import os
import time
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
import requests

from headrace.demo import Demo
from headrace.lake import rows_of
from headrace.proof import proof
from headrace.rounds import settled
from producers.generator.answer import Answer

MINUTES = float(os.environ.get("HEADRACE_SOAK_MINUTES", "2"))
COMPACT_AFTER = 10


LOOK_EVERY_S = 1.0


class FileCount:
    """How many files a Delta table had after each of its commits, by its log: asking SQL for it, over and over, took
    more of the processors than what is looked at."""

    def __init__(self, scene: Demo, location: str) -> None:
        self._log = f"{scene.app.endpoints.webhdfs_url}/webhdfs/v1{urlsplit(location).path}/_delta_log"
        self._files: set[str] = set()
        self.after_commit: list[int] = []

    @property
    def now(self) -> int:
        return self.after_commit[-1]

    def read_on(self) -> None:
        """Up to the newest commit."""
        while True:
            name = f"{len(self.after_commit):020}.json"
            answer = requests.get(f"{self._log}/{name}", params={"op": "OPEN"}, timeout=30)
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return
            answer.raise_for_status()
            actions = [json.loads(line) for line in answer.text.splitlines()]
            self._files -= {action["remove"]["path"] for action in actions if "remove" in action}
            self._files |= {action["add"]["path"] for action in actions if "add" in action}
            self.after_commit.append(len(self._files))


def file_counts(scene: Demo) -> dict[str, FileCount]:
    pipeline = scene.app.pipeline.name
    found = {}
    for schema in (f"{pipeline}_lake", pipeline):
        names = [f"{schema}.{table['tableName']}" for table in rows_of(scene.app, f"show tables in {schema}")]
        for name in names:
            told = {row["col_name"]: row["data_type"] for row in rows_of(scene.app, f"describe extended {name}")}
            if told.get("Provider") == "delta":
                found[name] = FileCount(scene, told["Location"])
    return found


def look(counts: dict[str, FileCount]) -> int:
    """All files there are."""
    for count in counts.values():
        count.read_on()
    return sum(count.now for count in counts.values())


@pytest.mark.timeout(60 * MINUTES + 1500)  # beside another tier it took 400 s more than its minutes
def test_the_number_of_files_stays_flat(demo: tuple[Demo, Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = demo
    monkeypatch.setenv("HEADRACE_RUN__MAINTAIN_EVERY_S", "5")
    monkeypatch.setenv("HEADRACE_RUN__COMPACT_AFTER_FILES", str(COMPACT_AFTER))
    counts = file_counts(scene)
    streams = [counts[stream.history] for stream in scene.app.pipeline.cdc_streams]
    scene.kill("run")
    look(counts)
    began = {name: len(count.after_commit) - 1 for name, count in counts.items()}
    scene.start_processes()
    with scene.workload():
        # A young process compiles more than it works: what counts begins with the first compaction.
        look_until_some_files_go(counts)
        first = {name: count.after_commit[began[name] :] for name, count in counts.items()}
        before = [len(count.after_commit) for count in streams]
        written = [0]
        deadline = time.monotonic() + 60 * MINUTES
        while time.monotonic() < deadline or max(written) < 6 * COMPACT_AFTER:
            time.sleep(LOOK_EVERY_S)
            look(counts)
            written = [len(count.after_commit) - so_far for count, so_far in zip(streams, before, strict=True)]
    most = {name: max(count.after_commit[began[name] + len(first[name]) - 1 :]) for name, count in counts.items()}
    print(f"{MINUTES:g} minutes; commits {written}; most files {most}")
    for name, number in most.items():
        allowed = max(2 * max(first[name]), 4 * COMPACT_AFTER)
        assert number <= allowed, f"{name}: {counts[name].after_commit[began[name] :]}"
    findings = settled(scene.app.settings, lambda: proof(scene.app), timeout_s=600)
    assert [finding for finding in findings if not finding.equal] == []
    told = {name: int(rows_of(scene.app, f"describe detail {name}")[0]["numFiles"]) for name in counts}
    look(counts)
    assert [name for name in counts if told[name] not in counts[name].after_commit[began[name] :]] == []


def look_until_some_files_go(counts: dict[str, FileCount]) -> None:
    seen = [look(counts)]
    deadline = time.monotonic() + 600
    while seen[-1] >= max(seen) - COMPACT_AFTER // 2:
        assert time.monotonic() < deadline, f"nothing was compacted: {seen[-1]}"
        time.sleep(LOOK_EVERY_S)
        seen.append(look(counts))
