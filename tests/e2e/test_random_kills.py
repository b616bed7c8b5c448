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

KILLABLE = ("run", "connect", "kafka", "datanode1")
KILLS = 3


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


@pytest.mark.parametrize("seed", SEEDS)
def test_every_row_arrives_through_random_kills(demo: tuple[Demo, Answer], seed: int) -> None:
    scene, answer = demo
    chance = random.Random(seed)
    unit = str(DAYS[SEEDS.index(seed)])
    stop = threading.Event()
    with scene.workload():
        pusher = threading.Thread(target=push_until_sent, args=(scene, answer, unit))
        pusher.start()
        killed = kill_and_restart(scene, chance, stop)
        pusher.join()
    arrived = [file for file in answer.files if file.unit <= unit and not file.correction]
    so_far = replace(answer, files=tuple(arrived), streams={})
    findings = scene.settled(so_far)
    wrong = [finding for finding in findings if not finding.equal]
    assert not wrong, f"seed {seed}, killed {killed}: {wrong}"
