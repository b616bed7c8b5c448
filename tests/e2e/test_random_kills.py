"""kill -9 of whatever it hits, while Postgres changes and files are pushed: afterwards every row is there, once."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import pytest

from contracts.errors import Retryable
from headrace.demo import Demo
from producers.generator.answer import Answer
from producers.push import push
from tests.e2e.conftest import DAYS, SEEDS

pytestmark = pytest.mark.timeout(1500)  # of the first one, which makes the deployment

KILLABLE = ("run", "connect", "kafka", "datanode1")
KILLS = 3
AT_ONCE = 3
"""Seeds between two proofs: a proof takes longer than the kills, and sees what any of them lost."""


def kill_and_restart(demo: Demo, chance: random.Random, stop: threading.Event) -> list[str]:
    killed = []
    for _ in range(KILLS):
        if stop.wait(chance.uniform(0.5, 5)):
            break
        victim = chance.choice(KILLABLE)
        demo.kill(victim)
        killed.append(victim)
        time.sleep(chance.uniform(0, 2))
        demo.start_processes()
    return killed


def push_until_sent(demo: Demo, answer: Answer, unit: str) -> None:
    files = [demo.sample / file.file for file in answer.files if file.unit == unit and not file.correction]
    deadline = time.monotonic() + 180
    while True:
        try:
            results = push(files, demo.app.pipeline, demo.app.endpoints.kafka)
        except Retryable:
            results = []
        if results and all(result.state in ("sent", "already_sent") for result in results):
            return
        assert time.monotonic() < deadline, results
        time.sleep(1)


def through_kills(demo: Demo, answer: Answer, seed: int) -> list[str]:
    """One day's files pushed while the source changes and parts are killed; what was killed."""
    chance = random.Random(seed)
    unit = str(DAYS[SEEDS.index(seed)])
    stop = threading.Event()
    with demo.workload():
        pusher = threading.Thread(target=push_until_sent, args=(demo, answer, unit))
        pusher.start()
        killed = kill_and_restart(demo, chance, stop)
        pusher.join()
    return killed


@pytest.mark.parametrize("seeds", [SEEDS[n : n + AT_ONCE] for n in range(0, len(SEEDS), AT_ONCE)], ids=str)
def test_every_row_arrives_through_random_kills(
    demo: tuple[Demo, Answer], seeds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, answer = demo
    monkeypatch.setattr("headrace.demo.PROOF_WITHIN_S", 600.0)  # beside another tier everything takes longer
    killed = {seed: through_kills(scene, answer, seed) for seed in seeds}
    last = str(DAYS[SEEDS.index(seeds[-1])])
    arrived = [file for file in answer.files if file.unit <= last and not file.correction]
    findings = scene.settled(replace(answer, files=tuple(arrived), streams={}))
    wrong = [finding for finding in findings if not finding.equal]
    assert not wrong, f"killed {killed}: {wrong}"
