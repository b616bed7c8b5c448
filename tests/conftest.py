"""What every tier shares: the local stack and a Spark session, started once and only when a test asks for them."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import HeadraceError
from contracts.settings import Settings, SparkSettings
from infra.jars import spark_jars
from infra.local import deployment as local_deployment
from infra.local import process
from infra.preflight import preflight
from streaming_jobs.session import build_session
from tests.class_archive import share_classes

TIERS = {"unit": 30, "spark": 300, "services": 420, "e2e": 900, "bench": 3600}  # seconds a test may take
DATA_DIR_VARIABLE = "HEADRACE_TEST_DATA_DIR"
# The session lives as long as its tier: the optimising compiler has about paid for itself after three minutes.
SESSION_JVM = {
    "spark.driver.defaultJavaOptions": (
        "-XX:TieredStopAtLevel=4 -XX:+UseSerialGC -XX:NewSize=512m -XX:MaxNewSize=512m -XX:MetaspaceSize=256m"
    )
}
HOW_TO_START = f"run `make up`, or set {DATA_DIR_VARIABLE} to the data_dir of a running deployment"


# What Connect writes whenever somebody asks it for offsets.
LOG_NOISE = re.compile(r" (KafkaBasedLog|KafkaOffsetBackingStore): ")
STARTED: list[Settings] = []
"""Of the deployment that this session runs on."""

T = TypeVar("T")


class WaitUntil(Protocol):
    """Polls until the predicate gives something true and returns that; fails naming `what` after `timeout_s`."""

    def __call__(self, predicate: Callable[[], T], timeout_s: float, what: str) -> T: ...


def pytest_configure(config: pytest.Config) -> None:
    # Most JVMs of a test live for minutes: on two cores the optimising compiler costs them more than it gives, and so
    # do a collector's threads.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test belongs to the tier of its folder: its marker and its time-out come from there.

    What is marked `chaos` repeats a test at more places; it is left out unless `-m` names it.
    """
    if "chaos" not in (config.getoption("markexpr") or ""):
        left_out = [item for item in items if item.get_closest_marker("chaos")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in left_out]
    here = Path(__file__).parent
    if {item.path.relative_to(here).parts[0] for item in items} & {"spark", "services", "e2e"}:
        share_classes()
    for item in items:
        tier = item.path.relative_to(here).parts[0]
        if tier in TIERS:
            item.add_marker(getattr(pytest.mark, tier))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(TIERS[tier]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails on a deployment shows what Connect wrote last: the deployment is gone when somebody looks."""
    report = yield
    if report.failed and report.when == "call":
        for settings in STARTED:
            log = process.log_file(settings.data_dir, "connect")
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            told = [line[:300] for line in lines[-20_000:] if not LOG_NOISE.search(line)]
            report.sections.append(("the end of Connect's log", "\n".join(told[-60:])))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line with the number of tests per tier."""
    passed = terminalreporter.getreports("passed")
    counts = Counter(tier for report in passed if report.when == "call" for tier in TIERS if tier in report.keywords)
    if counts:
        line = ", ".join(f"{tier} {counts[tier]}" for tier in TIERS if counts[tier])
        terminalreporter.write_line(f"passed per tier: {line}")


def missing_service(reason: str) -> NoReturn:
    """Skips the test and says how to start what is missing; fails instead under CI=true."""
    message = f"{reason}\n{HOW_TO_START}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a running local stack: a fresh one, stopped at the end, or the kept one that is named."""
    kept = os.environ.get(DATA_DIR_VARIABLE)
    settings = Settings(data_dir=Path(kept) if kept else tmp_path_factory.mktemp("deployment"))
    stopping = [finding for finding in preflight(settings.data_dir) if finding.stops]
    if stopping:
        missing_service("; ".join(f"{finding.what}: {finding.do}" for finding in stopping))
    try:
        local_deployment.up(settings)
    except HeadraceError as error:
        if not kept:
            local_deployment.down(settings)
        missing_service(str(error))
    STARTED.append(settings)
    yield settings
    STARTED.remove(settings)
    if not kept:
        local_deployment.down(settings)


@pytest.fixture(scope="session")
def endpoints(deployment: Settings) -> Endpoints:
    """Where the local stack answers."""
    return local_deployment.endpoints(deployment)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Spark with Delta on the local disk, without any service."""
    folder = tmp_path_factory.mktemp("spark")
    try:
        jars = spark_jars()
    except HeadraceError as error:
        missing_service(str(error))
    session = build_session(
        None,
        SparkSettings(master="local[2]", driver_memory="2g"),
        jars,
        "headrace tests",
        warehouse_dir=str(folder / "warehouse"),
        conf=SESSION_JVM,
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """Waiting for a fact instead of for time."""

    def wait(predicate: Callable[[], T], timeout_s: float, what: str) -> T:
        deadline = time.monotonic() + timeout_s
        while True:
            if found := predicate():
                return found
            if time.monotonic() > deadline:
                pytest.fail(f"after {timeout_s:g} s still not: {what}")
            time.sleep(0.1)

    return wait
