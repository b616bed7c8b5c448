"""A watched folder on an object store: what is sent leaves `incoming/`, whatever the store and others do meanwhile."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from uuid import uuid4

import boto3  # type: ignore[import-untyped]
import pytest
import requests
from moto.server import ThreadedMotoServer

from contracts.errors import Fatal, ServiceUnavailable
from producers import remote_folder, remote_s3
from producers.push import FileResult, ResultState
from producers.remote_folder import ChangedMeanwhile, RemoteFolder, open_folder, watch_remote
from producers.remote_store import RemoteFile, StoreUnavailable

NAME = "orders_2026-01-01.csv"
Moment = Callable[[], object]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
def server() -> Iterator[str]:
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


class Bucket:
    """A bucket, a folder on it, and a sender that keeps what it is given and judges it by its content."""

    def __init__(self, endpoint: str, client: Any, name: str, spool: Path) -> None:
        self.endpoint, self.client, self.name, self.spool = endpoint, client, name, spool
        self.client.create_bucket(Bucket=name)
        self.folder = self.open()
        self.sent: list[tuple[str, str]] = []
        self.results: list[FileResult] = []
        self.under_way: Moment = lambda: None
        self.modes: list[int] = []
        self.copies: list[str] = []

    def open(self) -> RemoteFolder:
        return open_folder(f"s3://{self.name}/drop", s3_endpoint=self.endpoint)

    def drop(self, content: str | bytes, name: str = NAME, **more: Any) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.client.put_object(Bucket=self.name, Key=f"drop/incoming/{name}", Body=body, **more)

    def take_away(self, name: str = NAME) -> None:
        self.client.delete_object(Bucket=self.name, Key=f"drop/incoming/{name}")

    def holds(self) -> dict[str, str]:
        """Every object but the markers of folders."""
        held = {}
        for found in self.client.list_objects_v2(Bucket=self.name).get("Contents", []):
            key = found["Key"]
            with suppress(self.client.exceptions.NoSuchKey):  # It may be moved at this moment.
                if not key.endswith("/"):
                    body = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
                    held[key.removeprefix("drop/")] = body.decode()
        return held

    def push_open(self, source: BinaryIO, file_name: str) -> list[FileResult]:
        """`bad` is rejected, `busy` given up, `a;b` an archive with these members; a content is sent once."""
        self.modes += [path.stat().st_mode & 0o777 for path in self.spool.iterdir()]
        self.copies += [path.name for path in self.spool.rglob("*") if path.is_file()]
        text = source.read().decode()
        self.under_way()
        return [self._result(file_name, part) for part in text.split(";")]

    def _result(self, name: str, text: str) -> FileResult:
        state: ResultState = "sent"
        if text.startswith("bad"):
            state = "rejected"
        elif text.startswith("busy"):
            state = "given_up"
        elif text in [content for _, content in self.sent]:
            state = "already_sent"
        else:
            self.sent.append((name, text))
        return FileResult("orders", name, sha256(text.encode()).hexdigest(), "", 1, 1, state, f"it is {text}", 0.0)

    @contextmanager
    def sender(self) -> Iterator[Bucket]:
        yield self

    def sweep(self, folder: RemoteFolder | None = None) -> None:
        """One look at what is there, without time to settle."""
        self.spool.mkdir(exist_ok=True)
        watcher = remote_folder._Watcher(folder or self.folder, self, self.spool, retry_after_s=0)
        watcher.sweep(0, threading.Event(), self.results.append)


def connect(endpoint: str) -> Any:
    keys = {"aws_access_key_id": "of-the-tests", "aws_secret_access_key": "of-the-tests"}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Any]:
    with closing(connect(server)) as made:
        yield made


@pytest.fixture
def bucket(server: str, client: Any, tmp_path: Path) -> Bucket:
    return Bucket(server, client, f"b-{uuid4()}", tmp_path / "spool")


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not so():
        assert time.monotonic() < end, "it did not come to be within 10 s"
        time.sleep(0.02)


class Watching:
    """watch_remote in a thread of its own; what it raised is raised at the end."""

    def __init__(self, bucket: Bucket, folder: RemoteFolder | None = None, **more: Any) -> None:
        self.stop = threading.Event()
        self.error: Exception | None = None
        self._arguments = {"settle_s": 0.0, "poll_s": 0.05, "retry_after_s": 0.1, **more}
        self._bucket, self._folder = bucket, folder or bucket.folder
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        bucket = self._bucket
        try:
            watch_remote(
                *(self._folder, self._arguments.pop("sender_factory", bucket.sender)),
                stop=self.stop,
                spool=bucket.spool,
                on_result=bucket.results.append,
                **self._arguments,
            )
        except Exception as problem:
            self.error = problem

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error


def test_a_file_that_arrives_is_sent_once_and_moved(bucket: Bucket) -> None:
    with Watching(bucket):
        bucket.drop("one")
        wait_until(lambda: bucket.holds() == {f"processed/{NAME}": "one"})
    assert bucket.sent == [(NAME, "one")]
    assert [result.state for result in bucket.results] == ["sent"]


def test_a_file_is_whole_only_after_it_has_settled(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("producers.remote_folder.time.monotonic", lambda: now[0])
    bucket.drop("one")
    assert bucket.folder.whole(5) == []
    now[0] += 4.9
    assert bucket.folder.whole(5) == []
    now[0] += 0.1
    assert [file.name for file in bucket.folder.whole(5)] == [NAME]


def test_a_file_that_is_overwritten_while_it_settles_settles_anew(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("producers.remote_folder.time.monotonic", lambda: now[0])
    bucket.drop("half of")
    assert bucket.folder.whole(5) == []
    now[0] += 4
    bucket.drop("half of it, and the rest")
    assert bucket.folder.whole(5) == []
    now[0] += 4
    assert bucket.folder.whole(5) == []
    now[0] += 1
    assert [file.size for file in bucket.folder.whole(5)] == [24]


def test_a_file_that_changes_between_listing_and_copy_is_not_sent_as_the_old_one(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.drop("one")
    (file,) = bucket.folder.whole(0)
    bucket.drop("two")  # As long, and within the same second: only the ETag tells.
    with pytest.raises(ChangedMeanwhile, match=NAME):
        bucket.folder.fetch(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["two"]


def test_a_file_that_is_gone_before_the_copy_is_no_error_of_the_watcher(bucket: Bucket, tmp_path: Path) -> None:
    bucket.drop("one")
    (file,) = bucket.folder.whole(0)
    bucket.take_away()
    with pytest.raises(ChangedMeanwhile):
        bucket.folder.fetch(file, tmp_path)
    bucket.folder.put_away(file, "sent", "")
    assert bucket.holds() == {}


def test_a_file_shortened_under_way_is_changed_not_a_store_that_is_away(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_s3, "_READ_AHEAD_BYTES", 1024)
    bucket.drop(b"x" * 3 * 1024**2)
    (file,) = bucket.folder.whole(0)
    real = bucket.folder._store.read

    def read(path: str) -> Iterator[bytes]:
        pieces = real(path)
        yield next(pieces)
        bucket.drop("short")
        yield from pieces

    monkeypatch.setattr(bucket.folder._store, "read", read)
    with pytest.raises(ChangedMeanwhile):
        bucket.folder.fetch(file, tmp_path)


def test_a_large_file_is_copied_whole(bucket: Bucket, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    bucket.drop(content)
    (file,) = bucket.folder.whole(0)
    copy = bucket.folder.fetch(file, tmp_path)
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_correction_dropped_while_the_file_is_sent_stays_and_is_sent_next(bucket: Bucket) -> None:
    bucket.drop("old")
    bucket.under_way = lambda: bucket.drop("new")  # As long, and within the same second.
    bucket.sweep()
    assert bucket.holds() == {f"incoming/{NAME}": "new"}
    bucket.under_way = lambda: None
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["old", "new"]
    assert bucket.holds() == {f"processed/{NAME}": "new"}


def test_a_correction_stays_too_if_the_old_content_is_in_processed_already(bucket: Bucket) -> None:
    bucket.drop("old")
    bucket.sweep()
    bucket.drop("old")
    bucket.under_way = lambda: bucket.drop("new")
    bucket.sweep()
    assert bucket.holds() == {f"incoming/{NAME}": "new", f"processed/{NAME}": "old"}


@pytest.mark.parametrize("step", ["before the copy", "after the copy"])
def test_a_correction_dropped_during_the_move_stays(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    bucket.drop("old")
    store = bucket.folder._store
    real = store._copy  # type: ignore[attr-defined]

    def copy(file: RemoteFile, target: str) -> None:
        if step == "before the copy":
            bucket.drop("corrected")
        real(file, target)
        if step == "after the copy":
            bucket.drop("corrected")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_copy", copy)
        bucket.sweep()
    assert bucket.holds() == {f"incoming/{NAME}": "corrected"}
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["old", "corrected"]
    assert bucket.holds() == {f"processed/{NAME}": "corrected"}


def test_a_file_taken_away_right_before_it_is_moved_leaves_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.drop("one")
    real = bucket.folder._store._copy  # type: ignore[attr-defined]

    def copy(file: RemoteFile, target: str) -> None:
        bucket.take_away()
        real(file, target)

    monkeypatch.setattr(bucket.folder._store, "_copy", copy)
    bucket.sweep()
    assert [result.state for result in bucket.results] == ["sent"]
    assert bucket.holds() == {}


def test_nothing_in_processed_is_written_over(bucket: Bucket) -> None:
    for text in ("one", "two", "three", "two"):
        bucket.drop(text)
        bucket.sweep()
    two, three = (sha256(text.encode()).hexdigest()[:12] for text in ("two", "three"))
    stem = NAME.removesuffix(".csv")
    assert bucket.holds() == {
        f"processed/{NAME}": "one",
        f"processed/{stem}.{two}.csv": "two",
        f"processed/{stem}.{three}.csv": "three",
    }


def test_a_tagged_name_that_is_taken_gets_a_number(bucket: Bucket) -> None:
    for text in ("a;one", "a;two", "a;three"):
        bucket.drop(text)
        bucket.sweep()
    stem = NAME.removesuffix(".csv")
    assert bucket.holds() == {
        f"processed/{NAME}": "a;one",
        f"processed/{stem}.again.csv": "a;two",
        f"processed/{stem}.again.2.csv": "a;three",
    }


def test_a_rejected_file_lies_beside_its_reason(bucket: Bucket) -> None:
    bucket.drop("bad rows")
    bucket.sweep()
    assert bucket.holds() == {
        f"rejected/{NAME}": "bad rows",
        f"rejected/{NAME}.reason.txt": f"{NAME}: it is bad rows\n",
    }


def test_an_archive_is_rejected_for_one_bad_member_and_the_reason_names_it(bucket: Bucket) -> None:
    bucket.drop("good;bad one;bad two")
    bucket.sweep()
    found = bucket.holds()
    assert found[f"rejected/{NAME}"] == "good;bad one;bad two"
    assert found[f"rejected/{NAME}.reason.txt"] == f"{NAME}: {NAME}: it is bad one\n{NAME}: it is bad two\n"
    assert [result.state for result in bucket.results] == ["sent", "rejected", "rejected"]


@pytest.mark.parametrize("content", ["busy", "good;busy", "bad;busy"])
def test_a_file_given_up_in_any_part_stays_and_is_tried_again_later(bucket: Bucket, content: str) -> None:
    bucket.drop(content)
    with Watching(bucket, retry_after_s=0.4):
        wait_until(lambda: len(bucket.results) >= 2 * len(content.split(";")))
        assert bucket.holds() == {f"incoming/{NAME}": content}


def test_a_file_given_up_is_not_taken_again_at_once(bucket: Bucket) -> None:
    bucket.drop("busy")
    with Watching(bucket, retry_after_s=60):
        wait_until(lambda: len(bucket.results) == 1)
        bucket.drop("behind it", "z.csv")
        wait_until(lambda: "processed/z.csv" in bucket.holds())
    assert [result.state for result in bucket.results] == ["given_up", "sent"]


@pytest.mark.parametrize("at", ["_copy", "_delete"])
def test_the_next_watcher_moves_what_one_had_sent_that_was_killed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    bucket.drop("one")
    monkeypatch.setattr(bucket.folder._store, at, kill)
    with pytest.raises(Killed):
        bucket.sweep()
    assert f"incoming/{NAME}" in bucket.holds()
    bucket.sweep(bucket.open())
    assert [result.state for result in bucket.results] == ["already_sent"]
    assert bucket.sent == [(NAME, "one")]
    assert bucket.holds() == {f"processed/{NAME}": "one"}


def test_two_watchers_of_one_folder_send_and_move_every_file_once(bucket: Bucket) -> None:
    names = [f"orders_{number}.csv" for number in range(12)]
    with Watching(bucket), Watching(bucket, bucket.open()):
        for name in names:
            bucket.drop(name, name)
        wait_until(lambda: not any(key.startswith("incoming/") for key in bucket.holds()))
    assert bucket.holds() == {f"processed/{name}": name for name in names}
    assert {name for name, _ in bucket.sent} == set(names)
    assert {result.state for result in bucket.results} <= {"sent", "already_sent"}


def test_a_watcher_whose_file_another_one_has_moved_goes_on(bucket: Bucket) -> None:
    bucket.drop("one")
    bucket.under_way = lambda: bucket.folder.put_away(bucket.open().whole(0)[0], "sent", "")
    bucket.sweep()
    assert bucket.holds() == {f"processed/{NAME}": "one"}
    assert [result.state for result in bucket.results] == ["sent"]


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


def test_no_bucket_is_fatal_and_says_what_to_do(server: str, bucket: Bucket) -> None:
    folder = open_folder("s3://no-such-bucket/drop", s3_endpoint=server)
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


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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
    with answering(handler) as endpoint, pytest.raises(error) as raised:
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
    with answering(handler) as endpoint:
        with pytest.raises(StoreUnavailable):
            open_folder("s3://some/drop", s3_endpoint=endpoint).whole(0)
        assert not ended.is_set()
        ended.set()


@pytest.mark.parametrize(
    "name",
    [
        "Ä ö  b+c%20?#&=.csv",
        "日本 😀.csv",
        " leading.csv",
        "trailing. ",
        "quote'\"<&>.csv",
        "no_suffix",
        "s3:colon.csv",
        "back\\slash.csv",
    ],
)
def test_any_name_that_the_wire_carries_is_sent_and_moved(bucket: Bucket, name: str) -> None:
    bucket.drop("one", name)
    bucket.sweep()
    bucket.drop("bad", name)
    bucket.sweep()
    assert bucket.sent == [(name, "one")]
    assert bucket.holds() == {
        f"processed/{name}": "one",
        f"rejected/{name}": "bad",
        f"rejected/{name}.reason.txt": f"{name}: it is bad\n",
    }


def test_a_name_with_a_tab_is_rejected_unread_with_its_reason(bucket: Bucket) -> None:
    bucket.drop("one", "a\tb.csv")
    bucket.sweep()
    assert bucket.sent == []
    assert [(result.file, result.state) for result in bucket.results] == [("a\tb.csv", "rejected")]
    found = bucket.holds()
    assert "rename the file" in found.pop("rejected/a\tb.csv.reason.txt")
    assert found == {"rejected/a\tb.csv": "one"}


def test_a_name_as_long_as_a_key_may_be_is_cut_where_it_does_not_fit(bucket: Bucket) -> None:
    name = "q" * (1024 - len("drop/incoming/") - 4) + ".csv"
    for text in ("one", "two", "bad"):
        bucket.drop(text, name)
        bucket.sweep()
    found = bucket.holds()
    assert sorted(found.values()) == sorted(["one", "two", "bad", f"{name}: it is bad\n"])
    assert max(len(f"drop/{key}") for key in found) <= 1024


def test_an_object_without_bytes_is_sent_like_any_other(bucket: Bucket) -> None:
    bucket.drop("")
    bucket.sweep()
    assert bucket.sent == [(NAME, "")]
    assert bucket.holds() == {f"processed/{NAME}": ""}


def test_sub_folders_markers_and_unfinished_files_are_left_alone(bucket: Bucket) -> None:
    kept = ["sub/in.csv", "/odd.csv", ".hidden", "_SUCCESS", "_temporary", "x.csv.part", "X.TMP", "x.csv._COPYING_"]
    for name in kept:
        bucket.drop("x", name)
    bucket.drop("", "")
    bucket.drop("", "marker/")
    bucket.drop("", "marked", ContentType="application/x-directory; charset=UTF-8")
    bucket.drop("", "old_$folder$")
    bucket.drop("one")
    before = bucket.holds()
    bucket.sweep()
    assert bucket.sent == [(NAME, "one")]
    del before[f"incoming/{NAME}"]
    assert bucket.holds() == {**before, f"processed/{NAME}": "one"}


def test_an_empty_prefix_is_an_empty_folder(bucket: Bucket) -> None:
    assert bucket.folder.whole(0) == []


def test_a_bucket_without_a_prefix_is_a_folder_too(bucket: Bucket) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="incoming/a.csv", Body=b"one")
    bucket.sweep(open_folder(f"s3://{bucket.name}/", s3_endpoint=f"{bucket.endpoint}/"))
    assert bucket.holds() == {"processed/a.csv": "one"}


def test_the_oldest_file_is_first(bucket: Bucket) -> None:
    bucket.drop("first", "z.csv")
    time.sleep(1.1)  # S3's times are whole seconds.
    bucket.drop("second", "a.csv")
    bucket.drop("third", "b.csv")
    bucket.sweep()
    assert [text for _, text in bucket.sent] == ["first", "second", "third"]


def test_no_more_files_are_looked_at_than_the_look_ahead(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_folder, "LOOK_AHEAD", 2)
    for number in range(5):
        bucket.drop(str(number), f"{number}.csv")
    assert len(bucket.folder.whole(0)) == 2
    with Watching(bucket):
        wait_until(lambda: len(bucket.sent) == 5)


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


def test_an_object_too_large_for_one_request_is_copied_in_pieces(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_s3, "COPY_LIMIT_BYTES", 10)
    content = "0123456789" * 300_000
    bucket.drop(content)
    bucket.sweep()
    assert bucket.holds() == {f"processed/{NAME}": content}


def test_a_copy_in_pieces_that_breaks_off_leaves_no_part(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_s3, "COPY_LIMIT_BYTES", 10)
    content = "0123456789" * 300_000
    bucket.drop(content)
    (file,) = bucket.folder.whole(0)
    store = bucket.folder._store
    real = store.read

    def read(path: str) -> Iterator[bytes]:
        yield next(real(path))
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "read", read)
    with pytest.raises(StoreUnavailable, match="away"):
        bucket.folder.put_away(file, "sent", "")
    assert bucket.holds() == {f"incoming/{NAME}": content}


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


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("/data/drop", {}, "use the folder itself"),
        ("file:///data/drop", {}, "use the folder itself"),
        ("ftp://host/drop", {}, "write s3://bucket/prefix or hdfs://"),
        ("s3://key:secret-word@bucket/drop", {}, "leave them out"),
        ("s3://bucket/drop", {"s3_endpoint": "http://key:secret-word@localhost:9000"}, "leave them out"),
        ("hdfs://hugo:secret-word@namenode/drop", {"webhdfs_url": "http://namenode:9870"}, "leave them out"),
        ("hdfs://namenode/drop", {"webhdfs_url": "http://hugo:secret-word@namenode:9870"}, "leave them out"),
        ("s3:///drop", {}, "write s3://bucket/prefix"),
        ("s3://bucket/a/../b", {}, "write the path in full"),
        ("s3://bucket/a//b", {}, "write the path in full"),
        ("s3://bucket/a?versionId=1", {}, "write scheme://host:port/path"),
        ("s3://bucket/drop", {"s3_endpoint": "localhost:9000"}, "write it like http://localhost:9000"),
        ("s3://bucket/drop", {"s3_endpoint": "http://localhost:nine"}, "write scheme://host:port/path"),
        ("s3://bucket/drop", {"s3_endpoint": "http://localhost/path"}, "write it like http://localhost:9000"),
        ("hdfs://namenode/drop", {}, "http://namenode:9870"),
        ("hdfs://namenode/drop", {"webhdfs_url": "hdfs://namenode:8020"}, "write it like http://namenode:9870"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_what_to_write(
    url: str, more: dict[str, str], says: str
) -> None:
    with pytest.raises(Fatal) as raised:
        open_folder(url, **more)
    assert says in str(raised.value)
    assert "secret-word" not in str(raised.value)


def test_opening_a_folder_asks_nothing_of_the_store() -> None:
    assert str(open_folder("hdfs://namenode:8020/data/drop/", webhdfs_url="http://127.0.0.1:1/")) == "/data/drop"
    assert str(open_folder("s3://bucket/a/b", s3_endpoint="https://127.0.0.1:1")) == "bucket/a/b"


def test_a_namenode_that_is_away_is_tried_again() -> None:
    folder = open_folder("hdfs://namenode/drop", webhdfs_url="http://127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        folder.whole(0)
