"""From where files come: folders on a real HDFS and on S3, and downloads, each through to Kafka."""

from __future__ import annotations

import getpass
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import FileSelector, S3FileSystem

from contracts.downloads import load_downloads
from contracts.endpoints import Endpoints
from contracts.stream import Pipeline
from producers.download import download
from producers.push import SendOptions, push
from producers.raw_files import RawStore
from producers.remote_folder import open_folder
from producers.remote_hdfs import HdfsStore
from tests.conftest import WaitUntil
from tests.services.push_process import committed, orders, values, with_topics
from tests.services.remote_watcher import watching
from tests.unit.local_http import serving

pytestmark = [pytest.mark.services, pytest.mark.timeout(200)]


@pytest.fixture
def pipeline(endpoints: Endpoints) -> Iterator[Pipeline]:
    with with_topics(endpoints.kafka) as pipeline:
        yield pipeline


def test_what_is_dropped_into_a_folder_on_hdfs_is_sent_once_and_moved(
    endpoints: Endpoints, pipeline: Pipeline, tmp_path: Path, wait_until: WaitUntil
) -> None:
    path, lines = orders(tmp_path, 500)
    root = f"/drop/{pipeline.name}"
    store = HdfsStore(endpoints.webhdfs_url, root, getpass.getuser())
    folder = open_folder(f"{endpoints.hdfs_url}{root}", webhdfs_url=endpoints.webhdfs_url, user=getpass.getuser())
    with watching(folder, pipeline, endpoints.kafka, SendOptions(spool=tmp_path / "spool")) as results:
        store.write(f"{root}/incoming/{path.name}", path.read_bytes())
        store.write(f"{root}/incoming/again_{path.name}", path.read_bytes())
        wait_until(lambda: len(results) >= 2, 60, "both were looked at")
        wait_until(lambda: not store.list_incoming(), 60, "both were moved")
    assert {result.file: result.state for result in results} == {
        path.name: "sent",
        f"again_{path.name}": "rejected",
    }
    assert values(committed(endpoints.kafka, pipeline.stream("orders").topic)) == lines
    assert store.look(f"{root}/processed/{path.name}") is not None
    assert store.look(f"{root}/rejected/again_{path.name}.reason.txt") is not None


def test_what_is_dropped_into_a_bucket_is_sent_once_and_moved(
    endpoints: Endpoints, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    path, lines = orders(tmp_path, 500)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        bucket = S3FileSystem(endpoint_override=address, region="us-east-1", allow_bucket_creation=True)
        bucket.create_dir("drop")
        with bucket.open_output_stream(f"drop/in/incoming/{path.name}") as out:
            out.write(path.read_bytes())
        folder = open_folder("s3://drop/in", s3_endpoint=address, s3_region="us-east-1")
        with watching(folder, pipeline, endpoints.kafka, SendOptions(spool=tmp_path / "spool")) as results:
            wait_until(lambda: bool(results), 60, "it was sent")
            moved = partial(bucket.get_file_info, FileSelector("drop/in/processed", allow_not_found=True))
            wait_until(lambda: [found.base_name for found in moved()] == [path.name], 60, "it was moved")
    finally:
        server.stop()
    assert [result.state for result in results] == ["sent"]
    assert values(committed(endpoints.kafka, pipeline.stream("orders").topic)) == lines


def test_a_download_is_kept_and_sent_and_the_second_time_neither(
    endpoints: Endpoints, pipeline: Pipeline, tmp_path: Path
) -> None:
    path, lines = orders(tmp_path, 500)
    with serving(partial(Quiet, directory=str(tmp_path))) as address:
        declared = tmp_path / "connectors"
        declared.mkdir()
        (declared / "downloads.yaml").write_text(
            f"downloads:\n  daily:\n    url: {address}/orders_{{batch_date}}.csv\n    file: orders_{{batch_date}}.csv\n"
        )
        (one,) = load_downloads(Pipeline(pipeline.name, pipeline.streams, tmp_path, declared, tmp_path))
        store = RawStore(tmp_path / "data")
        day = date(2026, 1, 1)
        first = download(one, day, store)
        assert (first.state, first.path.name, first.path.stat().st_mode & 0o777) == ("fetched", path.name, 0o600)
        send = partial(push, [first.path], pipeline, endpoints.kafka, SendOptions(batch_date=day))
        assert [result.state for result in send()] == ["sent"]
        assert download(one, day, store).state == "unchanged"
        assert [result.state for result in send()] == ["already_sent"]
    assert values(committed(endpoints.kafka, pipeline.stream("orders").topic)) == lines


def test_a_zip_that_is_downloaded_is_unpacked_and_each_of_its_files_sent_once(
    endpoints: Endpoints, pipeline: Pipeline, tmp_path: Path
) -> None:
    days = [orders(tmp_path, rows, f"orders_2026-01-0{day}.csv") for day, rows in ((1, 300), (2, 200))]
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path, _ in days:
            packed.write(path, path.name)
    with serving(partial(Quiet, directory=str(tmp_path))) as address:
        (tmp_path / "downloads.yaml").write_text(f"downloads:\n  all:\n    url: {address}/all.zip\n    file: all.zip\n")
        (one,) = load_downloads(Pipeline(pipeline.name, pipeline.streams, tmp_path, tmp_path, tmp_path))
        store = RawStore(tmp_path / "data")
        for state, told in (("fetched", "sent"), ("unchanged", "already_sent")):
            found = download(one, date(2026, 1, 2), store)
            assert found.state == state
            results = push([found.path], pipeline, endpoints.kafka, SendOptions(spool=tmp_path / "spool"))
            assert [(result.file, result.state) for result in results] == [(path.name, told) for path, _ in days]
    sent = committed(endpoints.kafka, pipeline.stream("orders").topic)
    assert sorted(values(sent)) == sorted(line for _, lines in days for line in lines)


class Quiet(SimpleHTTPRequestHandler):
    log_message: Callable[..., None] = lambda *_: None  # type: ignore[assignment]
