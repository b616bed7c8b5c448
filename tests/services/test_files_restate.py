"""A changed file under the same name is a new version: it replaces that file's rows or adds to them, as its contract
says."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.stream import FILE_UNIT, Column, FileSource, Stream
from tests.services.file_lake import FileLake, file_lake

pytestmark = [pytest.mark.services, pytest.mark.timeout(200)]


def declared(name: str, unit: str) -> Stream:
    source = FileSource(rf"{name}_\w+\.csv", "csv", unit=unit)
    return Stream("p", name, f"p.files.{name}", source, (Column("id", "bigint", required=True),), ("id",))


def current(lake: FileLake, stream: str) -> list[int]:
    return sorted(row["id"] for row in lake.table(f"{stream}_current"))


def test_a_changed_file_restates_itself_or_adds(spark: SparkSession, endpoints: Endpoints, tmp_path: Path) -> None:
    def push(name: str, *ids: int) -> None:
        path = tmp_path / name
        path.write_text("id\n" + "".join(f"{one}\n" for one in ids))
        (result,) = lake.push(path)
        assert (result.state, result.sent) == ("sent", len(ids))

    with file_lake(spark, endpoints, declared("whole", FILE_UNIT), declared("more", "")) as lake:
        for stream in ("whole", "more"):
            push(f"{stream}_a.csv", 1, 2)
            push(f"{stream}_b.csv", 7)
            push(f"{stream}_a.csv", 2, 3)
            lake.take_in(stream)
        assert lake.book() == []
        assert current(lake, "whole") == [2, 3, 7]
        assert current(lake, "more") == [1, 2, 3, 7]
        newest = [(row["stream"], row["file_hash"]) for row in lake.table("files") if not row["newest"]]
        assert [stream for stream, _ in newest] == ["whole"]
        assert all(row["complete"] for row in lake.table("files"))
