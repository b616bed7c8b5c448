"""One deployment for the tests that let it live: the one that the demo leaves behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from contracts.settings import Settings
from headrace.app import App
from headrace.background import MONITOR, RUN
from headrace.demo import DATA_DIR, Demo
from headrace.overview import crashes
from headrace.running import prefer_quick_start
from headrace.sample import generate_sample
from infra.local import deployment
from producers.generator.answer import Answer

SEEDS = tuple(range(1, 1 + int(os.environ.get("HEADRACE_CHAOS_SEEDS", "3"))))
DAYS = tuple(date(2026, 2, 1) + timedelta(days=n) for n in range(len(SEEDS)))


@dataclass(frozen=True)
class KeptDemo:
    """What `headrace demo --keep` printed, and the deployment that it left."""

    done: subprocess.CompletedProcess[str]
    data_dir: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has a deployment of its own comes first: the demo's, which lives to the end, works also when nobody asks.

    What wants it without its run comes last.
    """
    items.sort(key=lambda item: [name in getattr(item, "fixturenames", ()) for name in ("kept_demo", "idle_demo")])


_running: list[Settings] = []
_crashed: list[str] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test tells as well which parts of the demo's deployment ended, and with what last words."""
    report = yield
    if report.failed:
        with suppress(Exception):  # what failed is told all the same
            said = [one for settings in _running for one in crashes(deployment.status(settings))]
            report.sections.extend(("the demo's deployment", one) for one in said)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What crashed by itself and was started again is told even if every test passed."""
    for said in _crashed:
        terminalreporter.write_line(said)


@pytest.fixture(scope="session")
def kept_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptDemo]:
    """The README's first command, typed in an empty folder; what it keeps is taken away at the end."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    kept = KeptDemo(
        subprocess.run(
            [sys.executable, "-m", "headrace", "demo", "--keep"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=840,
        ),
        folder / DATA_DIR,
    )
    _running.append(Settings(data_dir=kept.data_dir))
    _crashed.extend(re.findall(r".* crashed; the end of(?s:.{0,3000})", kept.done.stdout))
    try:
        yield kept
    finally:
        _running.clear()
        logs = (kept.data_dir / "log").glob("*.log")
        full = "Compiler has been disabled"
        slow = [log.name for log in logs if full in log.read_text("utf-8", errors="replace")]
        deployment.reset(Settings(data_dir=kept.data_dir))
        left = list((kept.data_dir / "run").glob("*.json"))
        assert (slow, left) == ([], []), "parts that stopped compiling what they run; processes left behind"


@pytest.fixture(scope="session")
def demo(kept_demo: KeptDemo) -> tuple[Demo, Answer]:
    """The demo's pipeline with one more day of files for each seed, and their known answer."""
    prefer_quick_start()
    demo = Demo(App(Settings(data_dir=kept_demo.data_dir)), scale=0.2)
    demo.sample = kept_demo.data_dir / "sample-of-more-days"
    demo.crashed = _crashed
    return demo, generate_sample(demo.app, demo.sample, scale=0.2, seed=None, batch_dates=DAYS)


@pytest.fixture(scope="session")
def idle_demo(demo: tuple[Demo, Answer]) -> Demo:
    """The demo's parts without its run, which would merge beside that of another pipeline, and nobody looks."""
    deployment.down(demo[0].app.settings, (RUN, MONITOR))
    return demo[0]
