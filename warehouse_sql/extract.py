"""Extracts: one declared statement's rows as a file in a tar, with a manifest that says what is in it.

`extract/<name>.sql` of a pipeline holds the statement. Rows go through row by row; what is kept is on disk.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

from pyhive.exc import Error as HiveError
from thrift.transport.TTransport import TTransportException

from contracts.endpoints import Endpoints
from contracts.errors import Fatal, ServiceUnavailable
from contracts.stream import Pipeline
from warehouse_sql import declaration, hive

ExtractFormat = Literal["csv", "jsonl"]
FOLDER = "extract"
MANIFEST = "manifest.json"
_FETCH_ROWS = 10_000
_NEEDS_QUOTES = frozenset('",\r\n')


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an extract holds. `bytes` and `sha256` are those of the member `file`; `made_at` is ISO 8601 in UTC."""

    pipeline: str
    extract: str
    file: str
    rows: int
    bytes: int
    sha256: str
    columns: tuple[str, ...]
    made_at: str


def extract_sql(pipeline: Pipeline, name: str) -> str:
    """The statement of a declared extract; Fatal with the names there are if it is none of them."""
    known = declaration.load(pipeline).named(FOLDER)
    if name not in known:
        folder = pipeline.warehouse_sql_dir / FOLDER
        raise Fatal(
            f"pipeline {pipeline.name} declares no extract {name}",
            next_step=f"name one of: {', '.join(known)}" if known else f"write {folder}/NAME.sql",
        )
    return known[name]


@contextmanager
def open_rows(endpoints: Endpoints, sql: str, database: str) -> Iterator[tuple[list[str], Iterator[Sequence[object]]]]:
    """A statement's column names and its rows, which are fetched as they are taken, once.

    Raises:
        ServiceUnavailable: nothing answers there, or no longer. Fatal: the statement was refused, or gives no rows.
    """
    where: dict[str, Any] = {"host": endpoints.sql_host, "port": endpoints.sql_port}
    with hive.session(endpoints, database) as connection:
        cursor = connection.cursor(arraysize=_FETCH_ROWS)
        with _named_errors(where):
            cursor.execute(sql)
        if cursor.description is None:
            raise Fatal("the statement gives no rows", next_step="write a query", **where)

        def rows() -> Iterator[Sequence[object]]:
            with _named_errors(where):
                while (row := cursor.fetchone()) is not None:
                    yield row

        yield [name.rpartition(".")[2] for name, *_ in cursor.description], rows()


@contextmanager
def _named_errors(where: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except HiveError as error:
        raise Fatal(
            f"the statement was refused: {hive.reason(error)}", next_step="correct the statement", **where
        ) from error
    except (OSError, TTransportException) as error:
        raise ServiceUnavailable(
            f"the SQL endpoint went away: {error}", next_step="look at `headrace status`, and ask again", **where
        ) from error


def write_extract(
    rows: Iterable[Sequence[object]],
    columns: Sequence[str],
    out: Path,
    *,
    pipeline: str,
    name: str,
    made_at: datetime,
    file_format: ExtractFormat = "csv",
) -> Manifest:
    """Write `manifest.json` and `<name>.csv` (RFC 4180 with a header, UTF-8) or `<name>.jsonl` into the tar `out`.

    With gzip if the name ends in `.gz`. The file is the owner's alone (0600) and appears whole or not at all: an error,
    of `rows` too, leaves what was there before. The same rows, names and `made_at` (aware) give the same bytes. NULL is
    an empty CSV field, the empty text `""`. Memory does not grow with the rows; the disk of `out` holds them twice.

    Raises:
        Fatal: two columns share a name, or the file cannot be written.
    """
    if len(set(columns)) != len(columns):
        raise Fatal(f"two columns of extract {name} share a name: {list(columns)}", next_step="rename one with `as`")
    try:
        with tempfile.TemporaryFile(dir=out.parent) as data:
            counted, size, digest = _write_rows(rows, columns, data, file_format)
            made = made_at.astimezone(UTC)
            manifest = Manifest(
                *(pipeline, name, f"{name}.{file_format}", counted, size, digest, tuple(columns)),
                made_at=made.replace(tzinfo=None).isoformat(timespec="seconds") + "Z",
            )
            _write_tar(manifest, data, out, int(made.timestamp()))
    except OSError as error:
        raise Fatal(
            f"the extract cannot be written: {error.strerror or error}",
            state="What was there before is as it was.",
            next_step="make room, or name another place",
            out=out,
        ) from error
    return manifest


def _write_rows(
    rows: Iterable[Sequence[object]], columns: Sequence[str], data: IO[bytes], file_format: ExtractFormat
) -> tuple[int, int, str]:
    digest, size, count = sha256(), 0, 0
    line_of: Callable[[Sequence[object]], str] = csv_line if file_format == "csv" else partial(_json_line, columns)

    def put(line: str) -> None:
        nonlocal size
        text = line.encode()
        digest.update(text)
        size += data.write(text)

    if file_format == "csv":
        put(csv_line(columns))
    for row in rows:
        put(line_of(row))
        count += 1
    return count, size, digest.hexdigest()


def csv_line(row: Sequence[object]) -> str:
    """A row by RFC 4180, with its line's end."""
    return ",".join(map(_csv_field, row)) + "\r\n"


def _csv_field(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else _text(value)
    if not text or not _NEEDS_QUOTES.isdisjoint(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _json_line(columns: Sequence[str], row: Sequence[object]) -> str:
    whole = {name: _json_value(value) for name, value in zip(columns, row, strict=True)}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_text) + "\n"


def _json_value(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _write_tar(manifest: Manifest, data: IO[bytes], out: Path, mtime: int) -> None:
    # A name of its own: two extracts to one place at once must not write into one file.
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent)
    part = Path(name)
    try:
        with ExitStack() as opened:
            raw = opened.enter_context(os.fdopen(handle, "wb"))
            file: Any = raw
            if out.name.endswith(".gz"):
                file = opened.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=mtime))
            with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                about = (json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n").encode()
                tar.addfile(_member(MANIFEST, len(about), mtime), BytesIO(about))
                data.seek(0)
                tar.addfile(_member(manifest.file, manifest.bytes, mtime), data)
            if file is not raw:
                file.close()
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _member(name: str, size: int, mtime: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, mtime, 0o600
    return member
