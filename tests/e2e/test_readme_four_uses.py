"""The README's "The four uses", typed as they stand there, on a deployment that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace.demo import Demo
from producers.generator.answer import Answer
from tests.e2e.shell import README, Shell

SECTION = README.split("## The four uses")[1].split("\n## ")[0]
# The first block is `make demo KEEP=1`, for which the fixture stands.
_, RUN, PUSH, REPLAY, QUERY, CLIENTS = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def shell(demo: tuple[Demo, Answer]) -> Shell:
    repository = Path(__file__).parents[2]
    return Shell(repository, HEADRACE_DATA_DIR=str(demo[0].app.settings.data_dir.resolve()))


def test_run_for_ever_is_up_apply_status(shell: Shell) -> None:
    run = shell.pid_of("run")
    assert "flowing" in shell.type(RUN)
    assert shell.pid_of("run") == run, "a second `up` started it again"


def test_a_pushed_file_arrives(shell: Shell) -> None:
    # Its exit code is 1 until the last row has arrived.
    shell.type(PUSH.replace("headrace files", "until headrace files; do sleep 2; done"))
    states = {row["file"]: row["state"] for row in shell.ask("headrace files")}
    assert states["quiz_attempts_2026-01-07.csv"] == "done"


def test_a_replay_changes_nothing_that_is_there(shell: Shell) -> None:
    (became,) = shell.ask(REPLAY.strip())
    assert became["accepted"] == became["conflicting"] == 0
    assert became["duplicate"] > 0


def test_anybody_may_ask(shell: Shell) -> None:
    shell.type(QUERY, timeout_s=600)  # ends with `verify`, whose exit code is 0 only if all is equal
    assert all(row["balanced"] for row in shell.ask("headrace ledger"))
    assert "fact_quiz" in shell.type(CLIENTS)
    refused = shell.ask("headrace quarantine list --rows --limit 1")[0]
    place = f"{refused['stream']} {refused['offset']} --partition {refused['partition']}"
    (shown,) = shell.ask(f"headrace quarantine show {place}")
    assert shown["rule"] == refused["rule"]
    assert shown["raw_text"]
