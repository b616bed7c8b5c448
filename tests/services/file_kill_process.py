"""What the tests of kills share: files, what arrived of them, and a push in a process of its own that dies where it is
told to, `python -m tests.services.file_kill_process <order> <death>`.

It is killed for good, by SIGKILL or by the default action of SIGALRM: nothing is flushed, no handler runs.
"""

from __future__ import annotations

import getpass
import gzip
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import requests

from contracts.failpoints import VARIABLE
from contracts.stream import Pipeline
from contracts.wire import decode_chunk
from producers.hdfs_chunks import HdfsChunks
from producers.push import Sender, SendOptions
from producers.sending import TransactionLimits
from producers.states import FilesTopic
from tests.services.push_process import committed, declared

CUT_BYTES = 20_000
PATIENCE_S = 90

Kind = Literal["csv", "chunks", "zip", "json", "gzip"]
KINDS: tuple[Kind, ...] = ("gzip", "csv", "chunks", "zip", "json")
Row = tuple[int, bytes]
"""The line at which it begins, and its bytes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a process pushes, reading at most `read_bytes` at once to send it. With `webhdfs_url` every file of `orders`
    goes to HDFS, in chunks below `lake`."""

    pipeline: str
    kafka: str
    path: str
    limit_rows: int
    read_bytes: int = 1 << 20
    webhdfs_url: str = ""
    lake: str = ""


@dataclass(frozen=True, slots=True)
class Death:
    """Where a process dies; the first field that is set says it, none lets it live.

    `bytes`: once it has read so many of the file in the pass that sends, which gets not a byte more. `rows`: once so
    many are produced, of all files together. `seconds`: so long after the push began. `failpoint`: as the variable of
    that name.
    """

    bytes: int | None = None
    rows: int | None = None
    seconds: float | None = None
    failpoint: str = ""


def any_death(chance: random.Random, *, bytes: int, rows: int, commits: int, archive: bool) -> Death:
    """A place within a push of so much that starts from nothing: it may lie behind the end of one that goes on."""
    kinds = ["failpoint", "rows", "seconds"]
    if not archive:  # what is read twice there is the unpacked file: this process holds the archive
        kinds += ["bytes"] * 3
    kind = chance.choice(kinds)
    if kind == "bytes":
        return Death(bytes=chance.randrange(bytes))
    if kind == "rows":
        return Death(rows=chance.randint(1, rows))
    if kind == "seconds":
        return Death(seconds=chance.uniform(0.001, 1.0))
    place = chance.choice(("before_kafka_commit", "after_kafka_commit"))
    return Death(failpoint=f"{place}:{chance.randint(1, commits)}")


def pushed(order: Order, death: Death | None = None) -> tuple[int, list[str]]:
    """Run the process to its end, whichever that is: its return code, and the state of each file that it finished."""
    death = death or Death()
    with subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(asdict(order)), json.dumps(asdict(death))],
        env={**os.environ, VARIABLE: death.failpoint},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            states = process.communicate(timeout=PATIENCE_S)[0].split()
        finally:
            process.kill()
    return process.returncode, states


class MortalFile(io.FileIO):
    """A file that can be read to its end as any other; in the next pass it gives `piece_bytes` at once, and the process
    dies when it asks for more than `limit_bytes` in all."""

    def __init__(self, path: Path, piece_bytes: int, limit_bytes: int | None) -> None:
        super().__init__(path)
        self._piece_bytes = piece_bytes
        self._left = limit_bytes
        self._read_once = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._read_once or size is None or size < 0:
            found = super().read(size) or b""
            self._read_once = self._read_once or not found
            return found
        if self._left == 0:
            die()
        found = super().read(min(size, self._piece_bytes, size if self._left is None else self._left)) or b""
        if self._left is not None:
            self._left -= len(found)
        return found


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(order: Order, death: Death) -> None:
    """What the process does."""
    pipeline = pipeline_of(order)
    produced: dict[str, int] = {}

    def progress(file: str, sent: int, _: int) -> None:
        produced[file] = sent
        if death.rows is not None and sum(produced.values()) >= death.rows:
            die()

    options = SendOptions(
        limits=TransactionLimits(rows=order.limit_rows),
        progress=progress,
        clock=lambda: datetime.now(UTC),
        chunks=HdfsChunks(order.webhdfs_url, order.lake, order.pipeline, getpass.getuser(), cut_bytes=CUT_BYTES)
        if order.webhdfs_url
        else None,
        spool=Path(order.path).parent / "spool",
    )
    if death.seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, death.seconds)
    path = Path(order.path)
    with FilesTopic(order.kafka, pipeline) as known, MortalFile(path, order.read_bytes, death.bytes) as source:
        for result in Sender(pipeline, order.kafka, known, options).push_open(source, path.name):
            print(result.state)


def pipeline_of(order: Order) -> Pipeline:
    """The pipeline that the order names, with large files if it wants chunks."""
    pipeline = declared(order.pipeline)
    if not order.webhdfs_url:
        return pipeline
    streams = (
        replace(stream, source=replace(stream.file_source, bulk_bytes=1)) if stream.name == "orders" else stream
        for stream in pipeline.streams
    )
    return replace(pipeline, streams=tuple(streams))


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, the rows that each stream gets of it, and how many bytes are read to send it."""

    path: Path
    rows: dict[str, list[Row]]
    bytes: int


def csv_file(chance: random.Random, count: int) -> tuple[bytes, list[Row]]:
    """Rows of one line and of two, some of them alike, with blank lines between."""
    end = chance.choice((b"\n", b"\r\n"))
    text, rows, line = [b"id,amount"], [], 2
    for number in range(count):
        if chance.random() < 0.05:
            text.append(b"")
            line += 1
        same = number - chance.choice((0, 0, 0, 1))
        value = b'%d,"a\nb, ""c"""' % same if chance.random() < 0.1 else b"%d,%d" % (same, same * 7 % 1000)
        text.append(value)
        rows.append((line, value))
        line += 1 + value.count(b"\n")
    return end.join(text) + chance.choice((b"", end)), rows


def json_file(chance: random.Random, count: int) -> tuple[bytes, list[Row]]:
    """One array; its elements count as lines."""
    elements = [b'{"id": "%d", "amount": "%d], \\"{"}' % (number // 2, number % 100) for number in range(count)]
    return b"[" + chance.choice((b",", b",\n", b" ,\r\n")).join(elements) + b"]\n", list(enumerate(elements, 1))


def sample(kind: Kind, chance: random.Random, folder: Path) -> Sample:
    """A file of this kind, another one with each chance."""
    count = chance.randint(4_000, 40_000)
    name = "orders_2026-01-01.csv"
    if kind == "json":
        content, rows = json_file(chance, count)
        path = folder / "visits_2026-01-01.json"
        path.write_bytes(content)
        return Sample(path, {"visits": rows}, len(content))
    content, rows = csv_file(chance, count)
    if kind == "zip":
        other, visits = json_file(chance, count // 2)
        path = folder / "both.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"in/{name}", content)
            archive.writestr("in/visits_2026-01-01.json", other)
        return Sample(path, {"orders": rows, "visits": visits}, len(content) + len(other))
    path = folder / (f"{name}.gz" if kind == "gzip" else name)
    path.write_bytes(gzip.compress(content) if kind == "gzip" else content)
    return Sample(path, {"orders": rows}, len(content))


def arrived(order: Order, topic: str) -> list[Row]:
    """The rows that a committed read finds, those in chunks included."""
    rows: list[Row] = []
    for _, key, value in committed(order.kafka, topic):
        if key.format != "chunk":
            rows.append((key.line, value))
            continue
        chunk = decode_chunk(value)
        content = hdfs(order, "OPEN", chunk.path).content
        assert (len(content), hashlib.sha256(content).hexdigest()) == (chunk.bytes, chunk.sha256)
        table = pq.read_table(io.BytesIO(content))
        assert (table.num_rows, table["line"][0].as_py()) == (chunk.rows, key.line)
        rows += zip(table["line"].to_pylist(), table["value"].to_pylist(), strict=True)
    return rows


def hdfs(order: Order, operation: str, path: str) -> requests.Response:
    answer = requests.get(f"{order.webhdfs_url}/webhdfs/v1{order.lake}/{path}", params={"op": operation}, timeout=30)
    answer.raise_for_status()
    return answer


def left_over(order: Order, topic: str) -> set[Path]:
    """What the file's folder holds beside the chunks that the topic names, all of which it holds."""
    named = {Path(decode_chunk(value).path) for _, _, value in committed(order.kafka, topic)}
    (attempt,) = {path.parent for path in named}
    found = set()
    for folder in (attempt.parent, attempt):
        entries = hdfs(order, "LISTSTATUS", str(folder)).json()["FileStatuses"]["FileStatus"]
        found |= {folder / entry["pathSuffix"] for entry in entries}
    assert found > named
    return found - named - {attempt}


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])), Death(**json.loads(sys.argv[2])))
