"""A drop folder: `incoming/` -> `processed/`, or `rejected/` with the reason beside the file.

A file is taken by a lock on the file itself, so that a watcher that dies leaves nothing to clean up: the file is
still in `incoming/` under its own name, and the next watcher goes on where the files topic says. Kafka's fencing
stands behind the lock, for folders on file systems that do not carry locks.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import watchfiles

from contracts.errors import Retryable
from contracts.stream import Pipeline
from producers.push import FileResult, Sender, SendOptions, refused
from producers.states import FilesTopic

UNFINISHED_SUFFIXES = (".part", ".tmp", ".crdownload", ".filepart", ".swp")
REASON_SUFFIX = ".reason.txt"
NAME_BYTES = 255
"""The longest file name that Linux's file systems carry."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DropFolder:
    """The three folders below one root; `prepare` makes them. They must lie in one file system."""

    root: Path

    @property
    def incoming(self) -> Path:
        """Where files arrive, best under a name like `x.csv.part` that is renamed when they are whole."""
        return self.root / "incoming"

    @property
    def processed(self) -> Path:
        """Files whose every event is in Kafka."""
        return self.root / "processed"

    @property
    def rejected(self) -> Path:
        """Files of which nothing counts, each with `<name>.reason.txt`; a name too long for that loses its end."""
        return self.root / "rejected"

    def prepare(self) -> None:
        """Make what is missing."""
        for folder in (self.incoming, self.processed, self.rejected):
            folder.mkdir(parents=True, exist_ok=True)


@dataclass(slots=True)
class _Seen:
    signature: tuple[int, int, int]
    since: float
    not_before: float = 0.0


def watch(
    root: Path,
    pipeline: Pipeline,
    kafka: str,
    *,
    stop: threading.Event,
    settle_s: float = 2.0,
    poll_s: float = 1.0,
    on_result: Callable[[FileResult], None] | None = None,
    options: SendOptions | None = None,
    retry_after_s: float = 10.0,
) -> None:
    """Push every whole file that arrives below `root`/incoming, until `stop` is set; the file in work is finished.

    A file is whole once its size and time have not changed for `settle_s`; names with a leading dot or the suffix of
    an unfinished copy are left alone. Symbolic links are never followed. Any number of watchers may share a folder.
    While the broker is away files stay in `incoming/` and are tried again after `retry_after_s`.

    Raises:
        Fatal: a topic does not exist or is refused; every file is where it was.
    """
    folder = DropFolder(root)
    folder.prepare()
    watcher = _Watcher(folder, settle_s, retry_after_s)
    changes = watchfiles.watch(
        folder.incoming,
        stop_event=stop,
        yield_on_timeout=True,
        rust_timeout=int(poll_s * 1000),
        debounce=100,
        step=50,
        recursive=False,
        raise_interrupt=False,
    )
    while not stop.is_set():
        try:
            with FilesTopic(kafka, pipeline) as known:
                sender = Sender(pipeline, kafka, known, options)
                while not stop.is_set():
                    for result in watcher.sweep(sender, stop):
                        if on_result:
                            on_result(result)
                    next(changes, None)
        except Retryable as problem:
            _log.warning("watch %s: %s", root, problem)
            stop.wait(retry_after_s)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call it in the main thread."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


class _Watcher:
    """What one watcher has seen of the folder."""

    def __init__(self, folder: DropFolder, settle_s: float, retry_after_s: float) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._retry_after_s = retry_after_s
        self._seen: dict[str, _Seen] = {}

    def sweep(self, sender: Sender, stop: threading.Event) -> Iterator[FileResult]:
        """Push and put away each file that is whole, oldest first, until `stop` is set between two of them."""
        for path in self._whole():
            if stop.is_set():
                return
            try:
                results = self._take(path, sender)
            except OSError as problem:
                # One file that cannot be read or moved must not hold back those behind it.
                _log.warning("%r stays for now: %s", os.fspath(path), problem)
                self._later(path)
                continue
            yield from results

    def _whole(self) -> list[Path]:
        now = time.monotonic()
        found: dict[str, _Seen] = {}
        whole: list[tuple[int, Path]] = []
        with os.scandir(self._folder.incoming) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower().endswith(UNFINISHED_SUFFIXES):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    continue
                signature = (status.st_size, status.st_mtime_ns, status.st_ino)
                seen = self._seen.get(entry.name)
                if not seen or seen.signature != signature:
                    seen = _Seen(signature, now)
                found[entry.name] = seen
                if now - seen.since >= self._settle_s and now >= seen.not_before:
                    whole.append((status.st_mtime_ns, Path(entry.path)))
        self._seen = found
        return [path for _, path in sorted(whole)]

    def _take(self, path: Path, sender: Sender) -> list[FileResult]:
        """Push one file and move it; no result if another watcher has it or it is gone. A file that changed under way,
        or was replaced by another one, stays: once it settles it is pushed as the new content that it is."""
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                return self._refuse(path, found, "it is a symbolic link or no regular file; links are not followed")
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except PermissionError as problem:
                return self._refuse(path, found, f"it cannot be read: {problem.strerror}")
            # Whatever may not be done from here on (a spool folder, say) is no fault of the file's.
            with _locked(path, descriptor) as source:
                return self._push(path, source, sender) if source else []
        except FileNotFoundError:
            return []

    def _push(self, path: Path, source: BinaryIO, sender: Sender) -> list[FileResult]:
        before = os.fstat(source.fileno())
        results = sender.push_open(source, path.name)
        if not _is_still(path, before) or any(result.state == "given_up" for result in results):
            self._later(path)
        else:
            self._put_away(path, before, results)
        return results

    def _later(self, path: Path) -> None:
        self._seen[path.name].not_before = time.monotonic() + self._retry_after_s

    def _refuse(self, path: Path, found: os.stat_result, reason: str) -> list[FileResult]:
        results = [refused(path.name, reason)]
        self._put_away(path, found, results)
        return results

    def _put_away(self, path: Path, judged: os.stat_result, results: list[FileResult]) -> None:
        """Move the file that the results are about; another one that has taken its name meanwhile goes back. Of an
        archive with a rejected file the others were sent: the reason says which one was not."""
        reasons = [f"{one.archive or path.name}: {one.reason}" for one in results if one.state == "rejected"]
        folder = self._folder.rejected if reasons else self._folder.processed
        tag = results[0].hash[:12] if len(results) == 1 else ""
        target = _move(path, folder, tag, NAME_BYTES - (len(REASON_SUFFIX) if reasons else 0))
        if _is_still(target, judged):
            if reasons:
                _give_reason(target, reasons)
            return
        try:
            os.link(target, path, follow_symlinks=False)
        except OSError as problem:
            # A third one is there by now, or the file system has no links: where it is, it would pass for sent.
            reason = f"it took the place of a file in work and was not sent; drop it again ({problem.strerror})"
            target = _move(target, self._folder.rejected, tag, NAME_BYTES - len(REASON_SUFFIX))
            _give_reason(target, [f"{path.name}: {reason}"])
        else:
            target.unlink()


@contextmanager
def _locked(path: Path, descriptor: int) -> Iterator[BinaryIO | None]:
    """The opened file, locked against other watchers; None if one has it or had it. A dying process unlocks."""
    with os.fdopen(descriptor, "rb") as source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        still_there = os.path.lexists(path) and os.path.samestat(path.lstat(), os.fstat(source.fileno()))
        yield source if still_there else None


def _is_still(path: Path, judged: os.stat_result) -> bool:
    """Whether the file under this name is the one that was judged, unchanged."""
    try:
        now = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(now, judged) and (now.st_size, now.st_mtime_ns) == (judged.st_size, judged.st_mtime_ns)


def _move(path: Path, folder: Path, tag: str, limit: int) -> Path:
    """Move a file, never over another one: a taken name gets a part of the content hash, then a number. A name of
    more than `limit` bytes is cut."""
    content = tag or "again"
    for suffix in ("", f".{content}", *(f".{content}.{number}" for number in range(2, 10_000))):
        target = folder / _name(path, suffix, limit)
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        try:
            return path.rename(target)
        except OSError:
            target.unlink()
            raise
    raise FileExistsError(f"{folder} holds 10,000 files named like {path.name}")


def _name(path: Path, tag: str, limit: int) -> str:
    """The file's name with this tag before its suffix, the stem cut so that no more than `limit` bytes are left."""
    stem, suffix = path.stem, path.suffix
    if len(os.fsencode(suffix)) > limit // 2:
        stem, suffix = path.name, ""
    while len(os.fsencode(f"{stem}{tag}{suffix}")) > limit:
        stem = stem[:-1]
    return f"{stem}{tag}{suffix}"


def _give_reason(rejected: Path, reasons: list[str]) -> None:
    """Write the reasons beside the file. The file is put away without one if that fails."""
    try:
        beside = rejected.with_name(f"{rejected.name}{REASON_SUFFIX}")
        beside.write_text("".join(f"{reason}\n" for reason in reasons), encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        _log.warning("%r was rejected (%s); this could not be written: %s", rejected.name, "; ".join(reasons), problem)
