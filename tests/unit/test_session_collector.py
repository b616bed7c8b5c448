"""The JVM ends at once where two garbage collectors are named: ours is named only where nobody named one."""

from __future__ import annotations

import pytest

from streaming_jobs.session import names_no_collector


@pytest.fixture(autouse=True)
def without_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS"):
        monkeypatch.delenv(name, raising=False)


def test_ours_where_nobody_named_one() -> None:
    assert names_no_collector({})
    assert names_no_collector({"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:GCTimeRatio=9"})


@pytest.mark.parametrize("option", ["spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions"])
def test_a_collector_in_the_settings_is_left_alone(option: str) -> None:
    assert not names_no_collector({option: "-Xss4m -XX:+UseZGC -XX:MaxNewSize=512m"})


@pytest.mark.parametrize("variable", ["JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS"])
def test_a_collector_in_the_environment_is_left_alone(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "-XX:+UseG1GC")
    assert not names_no_collector({})
