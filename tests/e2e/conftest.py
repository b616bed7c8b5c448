"""One deployment for the tests that let it live: filled, applied, running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from contracts.settings import Settings
from headrace.app import App
from headrace.demo import Demo
from infra.local import deployment
from producers.generator.answer import Answer

SEEDS = tuple(range(1, 1 + int(os.environ.get("HEADRACE_CHAOS_SEEDS", "3"))))
DAYS = tuple(date(2026, 2, 1) + timedelta(days=n) for n in range(len(SEEDS)))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Demo, Answer]]:
    """The bundled pipeline with a small source, one day of files for each seed, and their known answer."""
    demo = Demo(App(Settings(data_dir=tmp_path_factory.mktemp("kills"))), scale=0.2)
    try:
        yield demo, demo.prepare(DAYS)
    finally:
        deployment.reset(demo.app.settings)
