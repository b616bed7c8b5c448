"""Drop folders on S3-compatible stores and on HDFS: `incoming/` -> `processed/`, or `rejected/` with the reason.

Nothing is locked: two watchers may both send a file, and Kafka's fencing and the content hash keep one of them. Nor
does anything rest on the moves: a file that was sent and not moved is found to be sent at the next look, and moved.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from contracts.errors import Conflict, Fatal, Retryable
from contracts.wire import check_file_name
from producers.push import FileResult, Progress, ResultState, refused
from producers.remote_hdfs import HdfsStore
from producers.remote_s3 import S3Store
from producers.remote_store import RemoteFile, Store, StoreUnavailable
from producers.remote_url import host_and_path, http_address
from producers.watch import REASON_SUFFIX, UNFINISHED_SUFFIXES

LOOK_AHEAD = 100
"""As many files are looked at one by one before the first of them is sent."""

_LEFT_ALONE_PREFIXES = (".", "_")
_LEFT_ALONE_SUFFIXES = (*UNFINISHED_SUFFIXES, "._copying_", "_$folder$")

_log = logging.getLogger(__name__)


class ChangedMeanwhile(Conflict):
    """The file is not the one that was listed any more; what is there now is taken once it has settled."""


class OpenSender(Protocol):
    """What a watcher needs of a Sender."""

    def push_open(self, source: BinaryIO, file_name: str) -> list[FileResult]:
        """One result for a file, or for each member of an archive."""


@dataclass(slots=True)
class _Seen:
    listed: RemoteFile
    since: float
    not_before: float = 0.0


def open_folder(
    url: str, *, s3_endpoint: str = "", s3_region: str = "", webhdfs_url: str = "", user: str = ""
) -> RemoteFolder:
    """The folder at `s3://bucket/prefix` or `hdfs://namenode/path`. Asks nothing of the store yet.

    S3's credentials come from the environment, a profile or the instance's role. HDFS is spoken to at `webhdfs_url`,
    the NameNode's HTTP page, as `user` (the name in the URL only says which file system is meant).

    Raises:
        Fatal: the URL, the endpoint or the address cannot be used; says what to write.
    """
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme == "file":
        raise Fatal("this is no URL of a store", next_step="use the folder itself")
    if scheme not in ("s3", "hdfs"):
        raise Fatal(f"{scheme}:// is not known", next_step="write s3://bucket/prefix or hdfs://namenode/path")
    host, path = host_and_path(url, "the folder's URL")
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise Fatal(f"{url}: the path has an empty part or dots", next_step="write the path in full")
    if scheme == "s3":
        if not host:
            raise Fatal(f"{url} names no bucket", next_step="write s3://bucket/prefix")
        endpoint = http_address(s3_endpoint, "the S3 endpoint", "http://localhost:9000") if s3_endpoint else ""
        return RemoteFolder(S3Store(host + path, endpoint, s3_region))
    if not webhdfs_url:
        raise Fatal(
            f"{url}: the address of the NameNode's HTTP page is not known",
            next_step="give it as webhdfs_url, for example http://namenode:9870",
        )
    namenode = http_address(webhdfs_url, "the address of WebHDFS", "http://namenode:9870")
    return RemoteFolder(HdfsStore(namenode, path, user))


class RemoteFolder:
    """`incoming/` -> `processed/` or `rejected/` on an object store or HDFS. For one thread.

    Every call may raise StoreUnavailable (try again later) or Fatal (access denied, no such bucket).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, _Seen] = {}

    def __str__(self) -> str:
        return self._store.root or "/"

    def whole(self, settle_s: float = 5.0) -> list[RemoteFile]:
        """The oldest files of `incoming/` that have not changed for `settle_s`, oldest first, LOOK_AHEAD at most.

        Sub folders, markers of folders, names that begin with `.` or `_` and those of unfinished copies are left
        alone, and so is a file that HDFS knows to be open for writing. Needs to be called again and again: what the
        first call sees begins to settle there.
        """
        now = time.monotonic()
        found: dict[str, _Seen] = {}
        settled: list[_Seen] = []
        for file in self._store.list_incoming():
            if file.name.startswith(_LEFT_ALONE_PREFIXES) or file.name.lower().endswith(_LEFT_ALONE_SUFFIXES):
                continue
            seen = self._seen.get(file.name)
            if not seen or seen.listed != file:
                seen = _Seen(file, now)
            found[file.name] = seen
            if now - seen.since >= settle_s and now >= seen.not_before:
                settled.append(seen)
        self._seen = found
        whole: list[RemoteFile] = []
        for seen in sorted(settled, key=lambda seen: (seen.listed.mtime_ns, seen.listed.name)):
            try:
                looked = self._store.look(seen.listed.path)
            except StoreUnavailable as problem:
                # The store has just listed it: it may be this one file, which settles anew and lets others pass.
                _log.warning("%r stays for now: %s", seen.listed.path, problem)
                seen.since = now
                break
            if looked and not looked.finished:
                seen.since = now
            elif looked and _is_same(seen.listed, looked):
                whole.append(looked)
            if len(whole) == LOOK_AHEAD:
                break
        return whole

    def fetch(self, file: RemoteFile, spool: Path, progress: Progress = lambda *_: None) -> Path:
        """Copy the file to a new one (0600) in `spool`; the caller removes it. After an error nothing is left there.
        `progress` is told of bytes, before the first one too: a store may be slow to answer.

        Raises:
            ChangedMeanwhile: it is gone, or another one has its name, or had it under way.
            OSError: `spool` cannot be written, or is full.
        """
        descriptor, name = tempfile.mkstemp(dir=spool)
        try:
            with os.fdopen(descriptor, "wb") as copy:
                progress(file.name, 0, file.size)
                try:
                    for piece in self._store.read(file.path):
                        copy.write(piece)
                        progress(file.name, copy.tell(), file.size)
                except StoreUnavailable:
                    self._check_still(file)  # A store may well stumble over an object that is replaced under way.
                    raise
                size = copy.tell()
            self._check_still(file)
            if size != file.size:
                raise StoreUnavailable(f"{file.path!r}: {size} of {file.size} bytes came", state="It stays.")
        except BaseException:
            Path(name).unlink()
            raise
        return Path(name)

    def put_away(self, file: RemoteFile, result_state: ResultState, reason: str, content_hash: str = "") -> None:
        """Move the file to `rejected/`, with the reason beside it, or else to `processed/`; never over another one: a
        taken name gets a part of the content hash, then a number.

        A file that is gone is no error; another one that has its name by now stays. May be repeated after an error.
        """
        rejected = result_state == "rejected"
        folder = f"{self._store.root}/{'rejected' if rejected else 'processed'}"
        limit = self._store.longest_name_bytes - (len(REASON_SUFFIX) if rejected else 0)
        content = content_hash[:12] or "again"
        for tag in ("", f".{content}", *(f".{content}.{number}" for number in range(2, 10_000))):
            target = f"{folder}/{_tagged(file.name, tag, limit)}"
            moved = self._store.move(file, target)
            if moved == "moved" and rejected:
                self._store.write(f"{target}{REASON_SUFFIX}", f"{file.name}: {reason}\n".encode(errors="replace"))
            if moved != "taken":
                return
        raise StoreUnavailable(f"{folder} holds 10,000 files named like {file.name!r}", state="It stays.")

    def set_aside(self, file: RemoteFile, for_s: float) -> None:
        """Leave this file out of `whole` for so long, unless it changes."""
        if seen := self._seen.get(file.name):
            seen.not_before = time.monotonic() + for_s

    def _check_still(self, file: RemoteFile) -> None:
        if self._store.look(file.path) != file:
            raise ChangedMeanwhile(f"{file.path!r} changed while it was read", state="Nothing of it was sent.")


def watch_remote(
    folder: RemoteFolder,
    sender_factory: Callable[[], AbstractContextManager[OpenSender]],
    *,
    stop: threading.Event,
    spool: Path,
    settle_s: float = 5.0,
    poll_s: float = 5.0,
    on_result: Callable[[FileResult], None] | None = None,
    retry_after_s: float = 10.0,
    fetching: Progress = lambda *_: None,
    at_rest: Callable[[], object] = lambda: None,
) -> None:
    """Push every whole file that arrives in `folder`, until `stop` is set; the file in work is finished.

    Each file is copied to a private folder in `spool` first, and leaves it before it is sent. Any number of watchers
    may share a folder. While the store or the broker is away files stay, and are tried again after `retry_after_s`.
    `fetching` is told of bytes copied; `at_rest` is called whenever no file is in work any more, however that ended.

    Raises:
        Fatal: the store refuses access, has no such bucket, or a topic does not exist; every file is where it was.
    """
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="headrace-watch-", dir=spool) as private:
        while not stop.is_set():
            try:
                with sender_factory() as sender:
                    watcher = _Watcher(folder, sender, Path(private), retry_after_s, fetching)
                    while not stop.is_set():
                        try:
                            answered = watcher.sweep(settle_s, stop, on_result)
                        finally:
                            at_rest()
                        stop.wait(poll_s if answered else retry_after_s)
            except Retryable as problem:
                _log.warning("watch %s: %s", folder, problem)
                stop.wait(retry_after_s)


@dataclass(frozen=True, slots=True)
class _Watcher:
    folder: RemoteFolder
    sender: OpenSender
    spool: Path
    retry_after_s: float
    fetching: Progress = lambda *_: None

    def sweep(self, settle_s: float, stop: threading.Event, on_result: Callable[[FileResult], None] | None) -> bool:
        """Push and put away what is whole, until `stop` is set between two files. False if the store did not answer."""
        try:
            files = self.folder.whole(settle_s)
        except StoreUnavailable as problem:
            _log.warning("watch %s: %s", self.folder, problem)
            return False
        for file in files:
            if stop.is_set():
                return True
            try:
                results = self._take(file)
            except ChangedMeanwhile as problem:
                _log.info("%s", problem)
                continue
            except (StoreUnavailable, OSError) as problem:
                # One file that cannot be read or moved must not hold back those behind it: they come at the next look.
                _log.warning("%r stays for now: %s", file.path, problem)
                self.folder.set_aside(file, self.retry_after_s)
                return True
            for result in results:
                if on_result:
                    on_result(result)
        return True

    def _take(self, file: RemoteFile) -> list[FileResult]:
        try:
            check_file_name(file.name)
        except ValueError as problem:
            results = [refused(file.name, str(problem))]
        else:
            results = self._push(file)
        states = {result.state for result in results}
        if "given_up" in states:
            self.folder.set_aside(file, self.retry_after_s)
        else:
            content_hash = results[0].hash if len(results) == 1 else ""
            self.folder.put_away(file, "rejected" if "rejected" in states else "sent", _reason(results), content_hash)
        return results

    def _push(self, file: RemoteFile) -> list[FileResult]:
        copy = self.folder.fetch(file, self.spool, self.fetching)
        try:
            source = copy.open("rb")
        finally:
            copy.unlink()  # Whatever becomes of this process, no copy stays behind.
        with source:
            return self.sender.push_open(source, file.name)


def _reason(results: list[FileResult]) -> str:
    if len(results) == 1:
        return results[0].reason
    return "\n".join(f"{result.file}: {result.reason}" for result in results if result.state == "rejected")


def _is_same(listed: RemoteFile, looked: RemoteFile) -> bool:
    """Whether a listing told of this file. Times are left out: some stores list milliseconds and show whole seconds."""
    return listed.size == looked.size and listed.tag in ("", looked.tag)


def _tagged(name: str, tag: str, limit: int) -> str:
    """The name with this tag before its suffix, the stem cut so that no more than `limit` bytes are left."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > limit // 2:
        stem, dot, suffix = name, "", ""
    while len(f"{stem}{tag}{dot}{suffix}".encode()) > limit:
        stem = stem[:-1]
    return f"{stem}{tag}{dot}{suffix}"
