"""An extract is one tar with what it says it holds, whole or not at all, and its owner's alone."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import socket
import stat
import tarfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import Fatal, ServiceUnavailable
from contracts.loader import load_pipeline
from headrace.commands.extract import extract
from warehouse_sql.extract import csv_line, extract_sql, open_rows, write_extract

MADE = datetime(2026, 1, 6, 3, 4, 5, tzinfo=UTC)
COLUMNS = ["day", "name", "amount", "ok", "note"]
ROWS: list[tuple[object, ...]] = [
    (date(2026, 1, 5), 'says "hé"', Decimal("1E+2"), True, None),
    (date(2026, 1, 5), "a, b\r\nc", Decimal("0.10"), False, ""),
]


def write(out: Path, rows: Any = ROWS, **options: Any) -> Any:
    return write_extract(rows, COLUMNS, out, pipeline="shop", name="sales", made_at=MADE, **options)


def members(out: Path) -> dict[str, bytes]:
    with tarfile.open(out) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_the_csv_reads_back_as_it_was_and_the_manifest_tells_it(tmp_path: Path) -> None:
    manifest = write(tmp_path / "sales.tar")
    found = members(tmp_path / "sales.tar")
    assert list(found) == ["manifest.json", "sales.csv"]
    text = found["sales.csv"].decode()
    assert text.splitlines(keepends=True)[0] == "day,name,amount,ok,note\r\n"
    assert text.endswith('2026-01-05,"a, b\r\nc",0.10,false,""\r\n')
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[1] == ["2026-01-05", 'says "hé"', "100", "true", ""]
    assert rows[2][1] == "a, b\r\nc"
    assert json.loads(found["manifest.json"]) == {**asdict(manifest), "columns": COLUMNS}
    assert manifest.rows == 2
    assert manifest.bytes == len(found["sales.csv"])
    assert manifest.sha256 == hashlib.sha256(found["sales.csv"]).hexdigest()
    assert (manifest.pipeline, manifest.extract, manifest.file) == ("shop", "sales", "sales.csv")
    assert manifest.made_at == "2026-01-06T03:04:05Z"


def test_null_and_the_empty_text_stay_apart() -> None:
    assert csv_line([None, "", "x"]) == ',"",x\r\n'


def test_json_lines_keep_numbers_numbers_and_digits_digits(tmp_path: Path) -> None:
    rows = [(date(2026, 1, 5), 7, Decimal("0.10"), True, None), (None, float("nan"), b"\x00", False, "é")]
    manifest = write(tmp_path / "sales.tar", rows, file_format="jsonl")
    lines = members(tmp_path / "sales.tar")[manifest.file].decode().splitlines()
    assert manifest.file == "sales.jsonl"
    assert json.loads(lines[0]) == {"day": "2026-01-05", "name": 7, "amount": "0.10", "ok": True, "note": None}
    assert json.loads(lines[1]) == {"day": None, "name": "nan", "amount": "AA==", "ok": False, "note": "é"}


@pytest.mark.parametrize("name", ["sales.tar", "sales.tar.gz"])
def test_the_same_rows_make_the_same_bytes_which_tell_nothing_of_who_made_them(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    (tmp_path / "again").mkdir()
    write(tmp_path / "again" / name)
    assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    with tarfile.open(tmp_path / name) as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert (member.mode, member.mtime) == (0o600, MADE.timestamp())


def test_it_is_the_owners_alone_whatever_was_there_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "sales.tar"
    out.write_text("old")
    out.chmod(0o666)
    mask = os.umask(0)
    try:
        write(out)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["sales.tar"]


def failing() -> Iterator[tuple[object, ...]]:
    yield ROWS[0]
    raise ServiceUnavailable("gone")


def test_an_extract_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "sales.tar"
    out.write_text("old")
    with pytest.raises(ServiceUnavailable):
        write(out, failing())
    with pytest.raises(ValueError):
        write(out, [("too", "few")], file_format="jsonl")
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["sales.tar"]
    with pytest.raises(Fatal, match="cannot be written"):
        write(tmp_path / "nowhere" / "sales.tar")
    with pytest.raises(Fatal, match="share a name"):
        write_extract([], ["a", "a"], out, pipeline="shop", name="sales", made_at=MADE)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            write(tmp_path / "sales.tar", (ROWS[1] for _ in range(count)))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(30_000) < peak(300) + 200_000


def test_an_extract_that_is_not_declared_is_refused_with_those_that_are() -> None:
    weblog = load_pipeline("weblog")
    for name in ("pages", "../queries/top_paths", ""):
        with pytest.raises(Fatal, match="name one of: weblog"):
            extract_sql(weblog, name)
    with pytest.raises(Fatal, match="declares no extract"):
        extract_sql(load_pipeline("edtech"), "weblog")


def endpoints(port: int) -> Endpoints:
    database = PostgresEndpoint("127.0.0.1", 1, "x", "x", SecretStr("x"))
    values: dict[str, Any] = dict.fromkeys(Endpoints.__dataclass_fields__, "")
    values |= {
        "source": database,
        "replicator": database,
        "warehouse": database,
        "sql_opens_s": 60,
        "sql_answer_s": None,
    }
    return replace(Endpoints(**values), sql_host="127.0.0.1", sql_port=port)


def test_an_endpoint_that_does_not_answer_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServiceUnavailable, match="does not answer"), open_rows(endpoints(port), "select 1", "shop"):
        raise AssertionError("there is no such endpoint")


def test_the_command_says_what_it_needs() -> None:
    shown = CliRunner().invoke(extract, ["--help"])
    assert shown.exit_code == 0
    assert "NAME" in shown.output
    assert "--out" in shown.output
    assert CliRunner().invoke(extract, ["weblog"]).exit_code == 2
