"""The Spark session of the benchmarks: the local stack's own, as `headrace run` starts it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.settings import Settings
from infra.jars import spark_jars
from infra.local.deployment import spark_conf
from streaming_jobs.session import build_session


@dataclass(frozen=True)
class Lake:
    """A session on the local stack, and when it began to start (monotonic)."""

    spark: SparkSession
    began: float


@pytest.fixture(scope="session", autouse=True)
def as_in_production() -> Iterator[None]:
    """What is measured runs for long: with the JVM's optimising compiler, which the other tiers leave out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JDK_JAVA_OPTIONS", raising=False)
        patch.delenv("SPARK_SUBMIT_OPTS", raising=False)
        yield


@pytest.fixture(scope="session")
def lake(endpoints: Endpoints, deployment: Settings) -> Iterator[Lake]:
    began = time.monotonic()
    session = build_session(
        endpoints, deployment.spark, spark_jars(), "headrace benchmarks", conf=spark_conf(deployment)
    )
    yield Lake(session, began)
    session.stop()
