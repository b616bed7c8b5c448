"""How the session evaluates the expressions of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

# Spark does so by itself with what it fails to compile, and with any expression for itself in its own tests.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


@pytest.fixture
def interpreted(spark: SparkSession, request: pytest.FixtureRequest) -> Iterator[None]:
    """Spark interprets what it would compile, unless the test is marked `compiled`.

    For tests of which rows count, in what order and when: a dozen rows each, whose code takes longer to compile than to
    run, a third of the whole test. What values become is tested compiled, and so is all of this on the real parts.
    """
    if request.node.get_closest_marker("compiled"):
        yield
        return
    for name, value in INTERPRETED.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in INTERPRETED:
            spark.conf.unset(name)
