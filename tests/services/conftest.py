"""The Spark session of this tier: on the stack's HDFS and metastore, as in production."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints, MariadbEndpoint, PostgresEndpoint
from contracts.errors import HeadraceError
from contracts.settings import Settings, SparkSettings
from infra import mongodb
from infra.contrib_postgres import programs
from infra.jars import spark_jars
from infra.local.deployment import spark_conf
from infra.mariadb import server
from streaming_jobs.session import build_session
from tests.conftest import SESSION_JVM, missing_service
from tests.services import contrib_server, mariadb_server, mongodb_server


@pytest.fixture(scope="session")
def spark(endpoints: Endpoints, deployment: Settings) -> Iterator[SparkSession]:
    """One for all files: a process has one session, and each start costs a quarter of a minute."""
    settings = SparkSettings(master="local[2]", driver_memory="2g")
    conf = {**spark_conf(deployment), **SESSION_JVM}
    session = build_session(endpoints, settings, spark_jars(), "headrace services tests", conf=conf)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def contrib_owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresEndpoint]:
    """A Postgres server of this session's own that has the contrib types, and who owns everything in it."""
    try:
        programs()
    except HeadraceError as error:
        missing_service(str(error))
    with contrib_server.running(tmp_path_factory.mktemp("contrib")) as owner:
        yield owner


@pytest.fixture(scope="session")
def mariadb_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb_server.Server]:
    """A MariaDB server of this session's own."""
    try:
        server()
    except HeadraceError as error:
        missing_service(str(error))
    with mariadb_server.started(tmp_path_factory.mktemp("mariadb")) as started:
        yield started


@pytest.fixture(scope="session")
def mariadb_owner(mariadb_process: mariadb_server.Server) -> MariadbEndpoint:
    """Who owns everything in it."""
    return mariadb_process.owner


@pytest.fixture(scope="session")
def mongodb_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongodb_server.Server]:
    """A server of this session's own that speaks MongoDB's protocol."""
    try:
        mongodb.server()
    except HeadraceError as error:
        missing_service(str(error))
    with mongodb_server.started(tmp_path_factory.mktemp("mongodb")) as started:
        yield started
