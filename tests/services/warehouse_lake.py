"""A small lake of the edtech pipeline on the local disk, made by hand, and the warehouse beside it.

Run as a module it is the child process of the kill tests: one merge round of such a lake into one target,
`python -m tests.services.warehouse_lake <folder> <pipeline> <endpoint> <target>`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
from pydantic import SecretStr
from pyspark.sql import SparkSession

from contracts.canonical import key_python
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.loader import load_pipeline
from contracts.settings import SparkSettings
from contracts.stream import Pipeline, Stream
from infra.jars import spark_jars
from streaming_jobs.lake import state_columns
from streaming_jobs.session import build_session
from streaming_jobs.state import refresh_file_view
from warehouse_sql import declaration
from warehouse_sql.merge import TargetName, create_tables, merge_round

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)
HISTORY_TAIL = (
    "_version bigint, _key binary, _hash binary, _event_time timestamp, _file string, _file_hash string, _line bigint"
)
FILE_COLUMNS = ("stream", "file_hash", "unit", "revision", "replayed", "complete", "newest")
FILES = (
    "stream string, file_hash string, unit string, revision bigint, replayed bigint, complete boolean, newest boolean"
)


@dataclass(frozen=True)
class Lake:
    """A lake of the shape that the streaming job leaves, and the warehouse beside it."""

    spark: SparkSession
    pipeline: Pipeline
    folder: Path
    endpoints: Endpoints
    filled: set[object] = field(default_factory=set)

    @property
    def tables(self) -> list[str]:
        """The star schema's tables, each after those it refers to."""
        return [table.name for table in declaration.load(self.pipeline).tables]

    @property
    def url(self) -> str:
        return f"file://{self.folder}/warehouse"

    def open(self) -> None:
        """Register everything in this session's catalog; makes what is missing."""
        schema = self.pipeline.streams[0].lake_schema
        self.spark.sql(f"create database if not exists {schema}")
        self._table("files", FILES)
        for stream in self.pipeline.streams:
            if stream.is_cdc:
                self._table(f"{stream.name}_state", ", ".join(f"{n} {t}" for n, t in state_columns(stream)))
            else:
                columns = ", ".join(f"{column.name} {column.spark_type}" for column in stream.columns)
                self._table(stream.name, f"{columns}, {HISTORY_TAIL}")
                refresh_file_view(self.spark, stream)
        create_tables(self.spark, self.pipeline, self.endpoints, url=self.url)

    def _table(self, name: str, columns: str) -> None:
        schema = self.pipeline.streams[0].lake_schema
        self.spark.sql(
            f"create table if not exists {schema}.{name} ({columns}) using delta location 'file://{self.folder}/lake/{name}'"
        )

    def change(self, stream_name: str, merged: int, *rows: dict[str, object], deleted: bool = False) -> None:
        """What a state merge leaves: each row replaces the one of its key."""
        stream = self.pipeline.stream(stream_name)
        table = f"{stream.history}_state"
        key = key_python([stream.column(name) for name in stream.key])
        if stream_name in self.filled:
            keys = ", ".join(str(row[stream.key[0]]) for row in rows)
            self.spark.sql(f"delete from {table} where {stream.key[0]} in ({keys})")
        self.filled.add(stream_name)
        self._append(
            table,
            [{"_deleted": deleted, "_merged": merged, "_key": key(row), "_event_time": AT, **row} for row in rows],
        )

    def file(self, stream_name: str, day: str, revision: int, *rows: dict[str, object], whole: bool = True) -> None:
        """What a file leaves in history and ledger."""
        stream = self.pipeline.stream(stream_name)
        key = key_python([stream.column(name) for name in stream.key])
        name = f"{stream_name}-{day}-{revision}"
        tail = {
            "_version": 0,
            "_file": name,
            "_file_hash": name,
            "_event_time": AT,
            "batch_date": date.fromisoformat(day),
        }
        numbered = [
            {"_line": n, "_key": key(row), "_hash": repr(row).encode(), **tail, **row} for n, row in enumerate(rows)
        ]
        self._append(stream.history, numbered)
        if whole and (stream_name, day) in self.filled:
            files = f"{stream.lake_schema}.files"
            self.spark.sql(f"update {files} set newest = false where stream = '{stream_name}' and unit = '{day}'")
        self.filled.add((stream_name, day))
        self.arrived(stream_name, day, name, revision, whole=whole)

    def arrived(self, stream_name: str, unit: str, name: str, revision: int, *, whole: bool) -> None:
        """What the ledger knows of a file."""
        row = dict(zip(FILE_COLUMNS, (stream_name, name, unit, revision, 0, whole, whole), strict=True))
        self._append(f"{self.pipeline.stream(stream_name).lake_schema}.files", [row])

    def copy(self, folder: Path) -> Lake:
        """Another lake with the same files and rows. Making thirty tables and filling them takes longer than a test."""
        made = new_lake(self.spark, self.endpoints, folder)
        shutil.copytree(self.folder, folder)
        (folder / "warehouse" / self.pipeline.name).rename(folder / "warehouse" / made.pipeline.name)
        made.filled.update(self.filled)
        made.open()
        made.postgres("delete from merge_positions")
        for table in (*made.tables, "merge_positions"):
            made.postgres(f"insert into {table} select * from {self.pipeline.name}.{table}")
        return made

    def drop(self) -> None:
        name = self.pipeline.name
        self.postgres(f"drop schema {name} cascade")
        self.spark.sql(f"drop database {name} cascade")
        self.spark.sql(f"drop database {name}_lake cascade")

    def _append(self, table: str, rows: list[dict[str, Any]]) -> None:
        schema = self.spark.table(table).schema
        tuples = [tuple(row.get(field.name) for field in schema.fields) for row in rows]
        self.spark.createDataFrame(tuples, schema).write.format("delta").mode("append").saveAsTable(table)

    def merge(self) -> None:
        merge_round(self.spark, self.pipeline, self.endpoints, now=AT, url=self.url).check()

    def delta(self, table: str) -> list[tuple[object, ...]]:
        return sorted(map(_plain, self.spark.table(f"{self.pipeline.name}.{table}").collect()), key=repr)

    def postgres(self, query: str) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(**self.endpoints.warehouse.dsn())
        try:
            with connection.cursor() as cursor:
                cursor.execute("set time zone 'UTC'")
                cursor.execute(f"set search_path to {self.pipeline.name}")
                cursor.execute(query)
                return sorted(map(_plain, cursor.fetchall()), key=repr) if cursor.description else []
        finally:
            connection.commit()
            connection.close()

    def assert_targets_equal(self) -> None:
        """Every table holds the same rows in both targets, value by value."""
        for table in self.tables:
            assert self.delta(table) == self.postgres(f"select * from {table}"), table


def _plain(row: Any) -> tuple[object, ...]:
    return tuple(
        bytes(value).hex()
        if isinstance(value, bytes | bytearray | memoryview)
        else value.astimezone(UTC)
        if isinstance(value, datetime)
        else value
        for value in row
    )


def named(name: str) -> Pipeline:
    """The bundled pipeline under a name of the test's own."""
    edtech = load_pipeline("edtech")
    streams: tuple[Stream, ...] = tuple(replace(stream, pipeline=name) for stream in edtech.streams)
    return replace(edtech, name=name, streams=streams)


def student(number: int, version: int, name: str | None = "Ada", degree: str = "MSc") -> dict[str, object]:
    return {
        "student_id": number,
        "student_name": name,
        "education": (degree, "Ghent", 2020),
        "created_at": datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "_version": version,
    }


def course(number: int, version: int, name: str = "Hydraulics", instructor: int | None = 7) -> dict[str, object]:
    return {
        "course_id": number,
        "course_name": name,
        "instructor_id": instructor,
        "price": Decimal("19.90"),
        "_version": version,
    }


def quiz(attempt: str, student_id: int = 1, score: str = "50.00", course_id: int = 3) -> dict[str, object]:
    return {
        "attempt_id": attempt,
        "student_id": student_id,
        "course_id": course_id,
        "quiz_id": 9,
        "quiz_score": Decimal(score),
        "attempted_at": AT,
    }


def login(event: str, kind: str = "login") -> dict[str, object]:
    return {"event_id": event, "student_id": 1, "course_id": 3, "event_type": kind, "event_time": AT}


def video(watch: str, completed: bool = True) -> dict[str, object]:
    return {
        "watch_id": watch,
        "student_id": 1,
        "course_id": 3,
        "video_id": 4,
        "watch_seconds": 60,
        "completed": completed,
        "device": ("phone", "android", (1, 2)),
        "watched_at": AT,
    }


def new_lake(spark: SparkSession, endpoints: Endpoints, folder: Path) -> Lake:
    return Lake(spark, named(f"wh_{uuid.uuid4().hex[:8]}"), folder, endpoints)


def kill_at(places: dict[TargetName, str], lake: Lake) -> None:
    """A merge round per target, each by a process that kills itself at the target's failpoint; all at once."""
    warehouse = lake.endpoints.warehouse
    told = json.dumps({**asdict(warehouse), "password": warehouse.password.get_secret_value()})

    def kill(target: TargetName) -> None:
        child = subprocess.run(
            [sys.executable, "-m", __name__, str(lake.folder), lake.pipeline.name, told, target],
            env={**os.environ, "HEADRACE_FAILPOINT": places[target]},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert child.returncode == -signal.SIGKILL, child.stderr[-3000:]

    with ThreadPoolExecutor() as pool:
        list(pool.map(kill, places))


def main(folder: Path, name: str, warehouse: PostgresEndpoint, target: TargetName) -> None:
    """What the child process does."""
    spark = build_session(
        None, SparkSettings(driver_memory="1g"), spark_jars(), "killed", str(folder / f"child_{target}")
    )
    nowhere = Endpoints("", "", "", "", warehouse, warehouse, warehouse, "", 0)
    lake = Lake(spark, named(name), folder, nowhere)
    lake.open()
    merge_round(spark, lake.pipeline, nowhere, targets=[target], url=lake.url).check()


if __name__ == "__main__":
    given = json.loads(sys.argv[3])
    endpoint = PostgresEndpoint(**{**given, "password": SecretStr(given["password"])})
    main(Path(sys.argv[1]), sys.argv[2], endpoint, "delta" if sys.argv[4] == "delta" else "postgres")
