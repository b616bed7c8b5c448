"""An HTTP server that can be told to fail, truncate, change its mind and lie, and a declared download of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from contracts.downloads import Download, Paging
from producers.download import Downloaded, download
from producers.raw_files import RawStore

DAY = date(2026, 3, 7)
NOW = datetime(2026, 3, 8, 6, tzinfo=UTC)
OLD = b"".join(b"%06d;old\n" % number for number in range(30_000))
NEW = b"".join(b"%06d;new\n" % number for number in range(31_000))
SECRET = 'hush/&"~'
FILE = "rates_2026-03-07.csv"


@dataclass
class Asked:
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(parts.path, parse_qs(parts.query), {k.lower(): v for k, v in self.headers.items()})
        self.origin.asked.append(asked)
        answer = self.origin.script.popleft() if self.origin.script else self.origin.routes.get(parts.path, content)
        answer(self)

    @property
    def last(self) -> Asked:
        return self.origin.asked[-1]

    def say(self, status: int, body: bytes = b"", cut: int | None = None, **headers: str) -> None:
        """An answer; `cut`: the connection ends after so many bytes of the body."""
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if status != 304:
            named.setdefault("Content-Length", str(len(body)))
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = cut is not None

    def log_message(self, format: str, *args: Any) -> None: ...


Answer = Callable[[Handler], None]


@dataclass
class Origin:
    """The server's content, and what it does first instead of giving it (`script`) or always (`routes`)."""

    url: str = ""
    content: bytes = OLD
    etag: str = '"v1"'
    more: dict[str, str] = field(default_factory=dict)
    script: deque[Answer] = field(default_factory=deque)
    routes: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def become(self, content: bytes, etag: str) -> None:
        self.content, self.etag = content, etag


def content(to: Handler, cut: int | None = None) -> None:
    """As a server should."""
    origin, headers = to.origin, to.last.headers
    own = {**origin.more, **({"ETag": origin.etag} if origin.etag else {})}
    start = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
    if origin.etag and headers.get("if-none-match") == origin.etag:
        to.say(304, **own)
    elif start and headers.get("if-range") == origin.etag and int(start[1]) < len(origin.content):
        first, size = int(start[1]), len(origin.content)
        to.say(206, origin.content[first:], cut, Content_Range=f"bytes {first}-{size - 1}/{size}", **own)
    else:
        to.say(200, origin.content, cut, **own)


def handler_of(origin: Origin) -> type[Handler]:
    return type("Bound", (Handler,), {"origin": origin})


def first_byte(range_header: str) -> int:
    return int(range_header.removeprefix("bytes=").rstrip("-"))


def cut_after(number: int) -> Answer:
    return lambda to: content(to, number)


def status(number: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda to: to.say(number, body, **headers)


def hang_up(to: Handler) -> None:
    to.close_connection = True


class Case:
    """One declared download into one store."""

    def __init__(self, origin: Origin, tmp_path: Path) -> None:
        self.origin = origin
        self.data_dir = tmp_path / "data"
        self.folder = self.data_dir / "raw" / "rates" / "2026-03-07"
        self.slept: list[float] = []
        self.declared: dict[str, Any] = {"attempts": 3, "timeout_s": 5}
        self.path = "/rates.csv"

    def get(self, **more: Any) -> Downloaded:
        named = {"name": "rates", "url": self.origin.url + self.path, "file": "rates_{batch_date}.csv"}
        declared = Download.model_validate({**named, **self.declared})
        options = {"clock": lambda: NOW, "sleep": self.slept.append, "environment": {"TOKEN": SECRET}, **more}
        return download(declared, DAY, RawStore(self.data_dir), **options)

    def holds(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if p.name != ".lock") if self.folder.exists() else []

    def kept(self) -> bytes:
        return (self.folder / FILE).read_bytes()

    def meta(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{FILE}.meta.json").read_bytes())
        return found

    def ranges(self) -> list[str]:
        return [asked.headers.get("range", "") for asked in self.origin.asked]


BOTH = [FILE, f"{FILE}.meta.json"]
INTERRUPTED = [f"{FILE}.part", f"{FILE}.part.json"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def declare_secrets(case: Case) -> None:
    """The secret stands in two headers and in the query; X-Open is none."""
    case.declared["headers"] = {"Authorization": "Bearer ${TOKEN}", "X-Key": "${TOKEN}", "X-Open": "yes"}
    case.declared["query"] = {"key": "${TOKEN}"}


def page(to: Handler, items: str, more: str = "", **headers: str) -> None:
    """An answer with these elements; `more` stands in the page's `meta`."""
    to.say(200, f'{{"meta": {{{more}}}, "data": {{"results": [{items}]}}}}'.encode(), **headers)


def paged(case: Case, **paging: Any) -> None:
    case.declared["paging"] = Paging(**{"items": "data.results", **paging})
