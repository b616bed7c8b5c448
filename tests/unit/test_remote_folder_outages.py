"""A watched object store through what is away, refuses or stumbles, and the end of the watch."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import pytest
import requests
from moto.server import ThreadedMotoServer

from contracts.errors import Fatal, ServiceUnavailable
from producers import remote_s3
from producers.push import FileResult
from producers.remote_folder import open_folder
from producers.remote_store import RemoteFile, StoreUnavailable
from tests.unit.local_http import serving
from tests.unit.watched_bucket import NAME, Bucket, Watching, connect, wait_until

pytestmark = pytest.mark.usefixtures("aws_credentials")


def test_files_wait_in_incoming_while_the_store_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_s3, "ATTEMPTS", 1)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = connect(endpoint)
    bucket = Bucket(endpoint, client, "away", tmp_path / "spool")
    with Watching(bucket) as watching:
        bucket.drop("one")
        wait_until(lambda: len(bucket.results) == 1)
        moto.stop()
        wait_until(lambda: "NETWORK_CONNECTION" in caplog.text)
        assert watching.error is None
        moto = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        moto.start()
        bucket.drop("two", "two.csv")
        wait_until(lambda: bucket.holds() == {f"processed/{NAME}": "one", "processed/two.csv": "two"})
    client.close()
    moto.stop()


def test_a_broker_that_is_away_leaves_the_file_and_asks_for_a_new_sender(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    made = []

    class Away:
        def push_open(self, source: BinaryIO, file_name: str) -> list[FileResult]:
            raise ServiceUnavailable("no broker")

    @contextmanager
    def sender() -> Iterator[Any]:
        made.append(1)
        yield bucket if len(made) > 2 else Away()

    bucket.drop("one")
    with Watching(bucket, sender_factory=sender):
        wait_until(lambda: bucket.holds() == {f"processed/{NAME}": "one"})
    assert caplog.text.count("no broker") == 2


def test_one_file_that_cannot_be_read_holds_back_none_behind_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = bucket.folder._store
    real = store.read

    def read(path: str) -> Iterator[bytes]:
        if path.endswith(NAME):
            raise StoreUnavailable("it stumbles")
        return real(path)

    monkeypatch.setattr(store, "read", read)
    bucket.drop("one")
    bucket.drop("behind", "z.csv")
    with Watching(bucket, retry_after_s=60):
        wait_until(lambda: bucket.holds() == {f"incoming/{NAME}": "one", "processed/z.csv": "behind"})
    assert "stays for now" in caplog.text


@pytest.mark.parametrize("away", ["store", "broker"])
def test_a_file_that_breaks_off_is_not_shown_as_if_it_went_on(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    real, seen = bucket.folder._store.read, list[object]()

    def read(path: str) -> Iterator[bytes]:
        yield next(iter(real(path)))
        if away == "store":
            raise StoreUnavailable("it stumbles")

    def no_broker() -> None:
        raise ServiceUnavailable("no broker")

    monkeypatch.setattr(bucket.folder._store, "read", read)
    bucket.under_way = no_broker
    bucket.drop("one")
    told = {"fetching": lambda *step: seen.append(step), "at_rest": lambda: seen.append("rest")}
    with Watching(bucket, retry_after_s=60, **told):
        wait_until(lambda: (NAME, 3, 3) in seen and seen[-1] == "rest")
    assert [one for one in seen if one != "rest"] == [(NAME, 0, 3), (NAME, 3, 3)]
    assert bucket.results == []


def test_one_file_that_cannot_be_looked_at_holds_back_none_behind_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = bucket.folder._store
    real = store.look

    def look(path: str) -> RemoteFile | None:
        if path.endswith(f"incoming/{NAME}"):
            raise StoreUnavailable("it stumbles")
        return real(path)

    monkeypatch.setattr(store, "look", look)
    bucket.drop("one")
    bucket.drop("behind", "z.csv")
    with Watching(bucket, settle_s=0.3):
        wait_until(lambda: bucket.holds() == {f"incoming/{NAME}": "one", "processed/z.csv": "behind"})
    assert "stays for now: it stumbles" in caplog.text


def test_no_bucket_is_fatal_and_says_what_to_do(bucket: Bucket) -> None:
    folder = open_folder("s3://no-such-bucket/drop", s3_endpoint=bucket.endpoint)
    with (
        pytest.raises(Fatal, match=r"no bucket no-such-bucket.*\n.*\nNext: make the bucket"),
        Watching(bucket, folder) as it,
    ):
        wait_until(lambda: it.error is not None)


class Answer(BaseHTTPRequestHandler):
    """Answers every request with one status and S3 error code."""

    status: ClassVar[int]
    code: ClassVar[str]

    def do_GET(self) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", Fatal),
        (403, "InvalidAccessKeyId", Fatal),
        (403, "SignatureDoesNotMatch", Fatal),
        (503, "SlowDown", StoreUnavailable),
        (503, "ServiceUnavailable", StoreUnavailable),
        (500, "InternalError", StoreUnavailable),
    ],
)
def test_a_refusal_is_fatal_and_a_store_under_load_is_not(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(remote_s3, "ATTEMPTS", 1)
    handler = type("Refusing", (Answer,), {"status": status, "code": code})
    with serving(handler) as endpoint, pytest.raises(error) as raised:
        open_folder("s3://some/drop", s3_endpoint=endpoint).whole(0)
    if error is Fatal:
        assert "s3:ListBucket" in str(raised.value)


def test_a_wrong_secret_is_fatal_to_the_watcher(bucket: Bucket) -> None:
    requests.post(f"{bucket.endpoint}/moto-api/reset-auth", data="0", timeout=5)
    try:
        with pytest.raises(Fatal, match="the store refuses"), Watching(bucket) as it:
            wait_until(lambda: it.error is not None)
    finally:
        requests.post(f"{bucket.endpoint}/moto-api/reset-auth", data="inf", timeout=5)


def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_s3, "ATTEMPTS", 1)
    monkeypatch.setattr(remote_s3, "SILENCE_TIMEOUT_S", 1.0)
    ended = threading.Event()
    handler = type("Silent", (Answer,), {"do_GET": lambda _: ended.wait(20)})
    with serving(handler) as endpoint:
        with pytest.raises(StoreUnavailable):
            open_folder("s3://some/drop", s3_endpoint=endpoint).whole(0)
        assert not ended.is_set()
        ended.set()


def test_a_namenode_that_is_away_is_tried_again() -> None:
    folder = open_folder("hdfs://namenode/drop", webhdfs_url="http://127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        folder.whole(0)


def test_stop_ends_the_watch_after_the_file_in_work(bucket: Bucket) -> None:
    for number in range(5):
        bucket.drop(str(number), f"{number}.csv")
    with Watching(bucket) as watching:
        bucket.under_way = watching.stop.set
        wait_until(watching.stop.is_set)
    assert len(bucket.sent) == 1
    assert sorted(key.partition("/")[0] for key in bucket.holds()) == ["incoming"] * 4 + ["processed"]


def test_stop_does_not_wait_for_the_next_look(bucket: Bucket) -> None:
    started = time.monotonic()
    with Watching(bucket, poll_s=60) as watching:
        wait_until(lambda: bucket.spool.exists())
        watching.stop.set()
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("content", ["one", "bad", "busy"])
def test_the_copy_is_private_and_gone_before_it_is_sent(bucket: Bucket, content: str) -> None:
    bucket.drop(content)
    with Watching(bucket):
        wait_until(lambda: bool(bucket.results))
    assert set(bucket.modes) == {0o700}
    assert bucket.copies == []
    assert list(bucket.spool.iterdir()) == []


def test_the_copy_is_gone_too_when_the_sender_fails(bucket: Bucket) -> None:
    def fail() -> None:
        raise Fatal("no topic")

    bucket.under_way = fail
    bucket.drop("one")
    with pytest.raises(Fatal, match="no topic"), Watching(bucket) as it:
        wait_until(lambda: it.error is not None)
    assert list(bucket.spool.iterdir()) == []
    assert bucket.holds() == {f"incoming/{NAME}": "one"}


def test_the_interpreter_ends_in_silence_after_a_watch(bucket: Bucket) -> None:
    bucket.drop("one")
    script = (
        "import sys\n"
        "from producers.remote_folder import open_folder\n"
        "folder = open_folder(sys.argv[1], s3_endpoint=sys.argv[2])\n"
        "print(len(folder.whole(0)))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, f"s3://{bucket.name}/drop", bucket.endpoint],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")
