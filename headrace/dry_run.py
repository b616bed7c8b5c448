"""What would become of a file: judged by the streaming job's own steps, on the local disk, without Kafka."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pyspark.sql import SparkSession

from contracts.settings import SparkSettings
from contracts.stream import Stream
from headrace.progress import ROWS, Bar
from infra.jars import spark_jars
from producers.chunks import CUT_BYTES, cut
from producers.push import Judged, Offender
from producers.scan import FileRows, Scan
from producers.send import Arrival
from streaming_jobs.chunks import ChunkRecord
from streaming_jobs.classify import judge_chunks
from streaming_jobs.session import build_session
from streaming_jobs.transforms.deduplicate import ACCEPTED, CONFLICTING, DUPLICATE, QUARANTINED

SHOWN = 10
_ORDER = ("_line", "_refusal.rule", "_refusal.column_name", "_refusal.reason")


class LocalJudge:
    """A `producers.push.Judge` with a Spark session of its own, which starts with the first file."""

    def __init__(self, settings: SparkSettings, spool: Path, bar: Bar) -> None:
        self._settings = settings
        self._spool = spool
        self._bar = bar

    @cached_property
    def _spark(self) -> SparkSession:
        local = self._settings.model_copy(update={"master": "local[*]"})
        return build_session(None, local, spark_jars(), "headrace dry run")

    def __call__(self, source: BinaryIO, arrival: Arrival, scanned: Scan, stream: Stream) -> Judged:
        """Judge every row; writes below the spool folder and leaves nothing there."""
        with _folder(self._spool) as folder:
            place = LocalChunks(folder, f"_chunks/{stream.pipeline}/{stream.name}/{scanned.hash}/{uuid.uuid4().hex}")
            name = f"{arrival.file}/{arrival.batch_date}" if arrival.batch_date else arrival.file
            records, rows_cut = [], 0
            for number, one in enumerate(cut(FileRows(source, stream), place)):
                now, chunk = datetime.now(UTC), one.chunk
                records.append(ChunkRecord(stream.topic, 0, number, now, scanned.hash, name, scanned.header, chunk))
                rows_cut += chunk.rows
                self._bar.show("splitting", arrival.file, rows_cut, scanned.rows, unit=ROWS)
            if not records:
                return Judged(0, 0, 0, 0, ())
            self._bar.show("judging the rows of", arrival.file)
            rows = judge_chunks(self._spark, stream, folder.as_uri(), records).persist()
            counts = {row["_outcome"]: row["count"] for row in rows.groupBy("_outcome").count().collect()}
            worst = rows.where(f"_outcome = {QUARANTINED}").select(*_ORDER).orderBy("_line").limit(SHOWN).collect()
            rows.unpersist()
        return Judged(
            counts.get(ACCEPTED, 0),
            counts.get(DUPLICATE, 0),
            counts.get(CONFLICTING, 0),
            counts.get(QUARANTINED, 0),
            tuple(Offender(*row) for row in worst),
        )


@contextmanager
def _folder(spool: Path) -> Iterator[Path]:
    spool.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="dry-run-", dir=spool)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class LocalChunks:
    """As `producers.chunks.Attempt`, on the local disk."""

    root: Path
    folder: str
    cut_bytes: int = CUT_BYTES

    def path(self, number: int) -> str:
        """As ChunkWriter."""
        return f"{self.folder}/{number:012d}.parquet"

    def put(self, path: str, content: bytes) -> None:
        """As ChunkWriter."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
