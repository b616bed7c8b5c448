"""How this deployment sends files: where archives are unpacked, and where large files go in chunks."""

from __future__ import annotations

import getpass
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from urllib.parse import urlsplit

from headrace.app import App
from headrace.progress import BYTES, ROWS, Bar
from headrace.tables import lake_url
from producers.hdfs_chunks import HdfsChunks
from producers.push import FileResult, Sender, SendOptions
from producers.remote_folder import open_folder, watch_remote
from producers.remote_url import http_address
from producers.states import FilesTopic

log = logging.getLogger(__name__)


def send_options(
    app: App,
    *,
    dry_run: bool = False,
    batch_date: date | None = None,
    bar: Bar,
) -> SendOptions:
    """What `push`, `watch` and `download` send with; `bar` shows each file's way."""
    web, lake = app.endpoints.webhdfs_url, urlsplit(lake_url(app))
    if web:
        web = http_address(web, "hadoop.webhdfs_url", "http://namenode:9870")
    if not web:
        log.warning("hadoop.webhdfs_url is not set: files of any size are sent row by row")
    chunks = HdfsChunks(web, lake.path, app.pipeline.name, _user(app)) if web and lake.scheme == "hdfs" else None
    judge = None
    if dry_run:
        from headrace.dry_run import LocalJudge

        judge = LocalJudge(app.settings.spark, app.settings.data_dir / "spool", bar)
    return SendOptions(
        dry_run=dry_run,
        judge=judge,
        batch_date=batch_date,
        unpacking=partial(bar.show, "unpacking", unit=BYTES),
        reading=partial(bar.show, "reading", unit=BYTES),
        progress=partial(bar.show, "sending", unit=ROWS),
        chunks=chunks,
        spool=app.settings.data_dir / "spool",
    )


def _user(app: App) -> str:
    """Who writes to HDFS over HTTP."""
    return app.settings.hadoop.user or os.environ.get("HADOOP_USER_NAME") or getpass.getuser()


def watch_remotely(
    app: App, url: str, options: SendOptions, stop: threading.Event, on_result: Callable[[FileResult], None], bar: Bar
) -> None:
    """Push what arrives in a folder on S3 or HDFS until `stop` is set; `bar` shows each file's way from there."""
    s3 = app.settings.s3
    folder = open_folder(
        url,
        s3_endpoint=s3.endpoint,
        s3_region=s3.region,
        webhdfs_url=app.endpoints.webhdfs_url,
        user=_user(app),
    )

    @contextmanager
    def sender() -> Iterator[Sender]:
        with FilesTopic(app.endpoints.kafka, app.pipeline) as known:
            yield Sender(app.pipeline, app.endpoints.kafka, known, options)

    watch_remote(
        folder,
        sender,
        stop=stop,
        spool=options.spool,
        on_result=on_result,
        fetching=partial(bar.show, "fetching", unit=BYTES),
        at_rest=bar.clear,
    )
