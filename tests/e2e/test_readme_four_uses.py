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
    told = shell.type(PUSH.replace("headrace files", "headrace files || true"))
    assert "quiz_attempts_2026-01-07.csv" in told


def test_a_replay_changes_nothing_that_is_there(shell: Shell) -> None:
    assert "quiz_attempts" in shell.type(REPLAY)


def test_anybody_may_ask(shell: Shell) -> None:
    assert "balanced" in shell.type(QUERY)
    assert "fact_quiz" in shell.type(CLIENTS)
