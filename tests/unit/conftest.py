"""The local servers that several files of unit tests ask: of downloads, and an object store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from producers import send
from tests.unit.download_server import Case, Origin, handler_of
from tests.unit.local_http import serving
from tests.unit.memory_kafka import MemoryKafka, MemoryProducer

if TYPE_CHECKING:
    from tests.unit.watched_bucket import Bucket


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> MemoryKafka:
    """To which `send_file` sends."""
    memory = MemoryKafka()
    monkeypatch.setattr(send, "TransactionalProducer", lambda *_: MemoryProducer(memory))
    return memory


@pytest.fixture
def servers() -> Iterator[Callable[[], Origin]]:
    """Starts one more server of downloads each time it is called."""
    with ExitStack() as running:

        def start() -> Origin:
            origin = Origin()
            origin.url = running.enter_context(serving(handler_of(origin)))
            return origin

        yield start


@pytest.fixture
def origin(servers: Callable[[], Origin]) -> Origin:
    return servers()


@pytest.fixture
def case(origin: Origin, tmp_path: Path) -> Case:
    """A download of `origin`'s content, declared and not yet begun."""
    return Case(origin, tmp_path)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What boto3 finds in the environment: nothing of the machine's own."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "of-the-tests",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # takes a second to import: only for those who ask

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="module")
def s3_client(object_store: str) -> Iterator[Any]:
    from tests.unit.watched_bucket import connect

    with closing(connect(object_store)) as made:
        yield made


@pytest.fixture
def bucket(aws_credentials: None, object_store: str, s3_client: Any, tmp_path: Path) -> Bucket:
    """An empty watched bucket."""
    from tests.unit.watched_bucket import Bucket

    return Bucket(object_store, s3_client, f"b-{uuid4()}", tmp_path / "spool")
