"""An access log in the Combined Log Format, read in plain Python by what the contract and the SQL of `weblog` say in
words: what became of each line, the traffic, the extract. Nothing here is headrace's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

TEXT = r'"((?:[^"\\]|\\.)*)"'
LINE = re.compile(rf"(\S+) (\S+) (.+?) \[([^]]+)\] {TEXT} (\S+) (\S+) {TEXT} {TEXT}")
REQUEST = re.compile(r"(\S+) (\S+)(?: (HTTP/[0-9.]+))?")
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND"}
ROBOTS = {"bot", "crawl", "spider", "slurp", "curl/", "wget/", "python-", "headless", "monitor"}
STATIC = {".css", ".js", ".map", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico", ".woff", ".woff2", ".ttf"}
BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
EXTRACT = ["day", "hour", "host", "path", "query", "status_class", "bytes", "referer_host", "browser"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A request; None where the log says `-`."""

    line: int
    host: str
    time: datetime
    method: str | None
    path: str | None
    status: int
    bytes: int | None
    referer: str | None
    agent: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is none, and why."""

    line: int
    rule: str
    column: str
    text: str


@dataclass(frozen=True, slots=True)
class Log:
    """One day's file. Each line is a request, two equal ones are two."""

    name: str
    day: str
    hash: str
    hits: tuple[Hit, ...]
    refused: tuple[Refused, ...]


def read_log(file: Path) -> Log:
    content = file.read_bytes()
    lines = content.decode().removesuffix("\n").split("\n")
    read = [_read(number, text) for number, text in enumerate(lines, start=1)]
    hits = tuple(one for one in read if isinstance(one, Hit))
    refused = tuple(one for one in read if isinstance(one, Refused))
    day = file.stem.removeprefix("access_")
    return Log(file.name, day, sha256(content).hexdigest(), hits, refused)


def _read(number: int, text: str) -> Hit | Refused:
    found = LINE.fullmatch(text)
    if not found:
        return Refused(number, "log", "", text)
    host, _, _, time, request, status, size, referer, agent = (None if one == "-" else one for one in found.groups())
    asked = REQUEST.fullmatch(request or "")
    method, path = (asked[1], asked[2]) if asked else (None, None)
    judged = {
        ("type", "time"): not _is_time(time),
        ("type", "status"): not (status or "0").isdecimal(),
        ("type", "bytes"): not (size or "0").isdecimal(),
        ("required", "host"): host is None,
        ("required", "status"): status is None,
        ("method_known", "method"): method is not None and method not in METHODS,
        ("status_minimum", "status"): (status or "").isdecimal() and int(status or 0) < 100,
        ("status_maximum", "status"): (status or "").isdecimal() and int(status or 0) > 599,
    }
    wrong = next((rule for rule, broken in judged.items() if broken), None)
    if wrong:
        return Refused(number, *wrong, text)
    assert host
    assert time
    assert status
    at = _time(time)
    return Hit(number, host, at, method, path, int(status), int(size) if size else None, referer, agent)


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)


def _is_time(text: str | None) -> bool:
    try:
        return bool(_time(text or ""))
    except ValueError:
        return False


def traffic(logs: Iterable[Log]) -> list[tuple[object, ...]]:
    """Day, host, path without its query, status; hits, bytes, first and last hit in seconds since 1970. Sorted. The
    day is the file's: a request around midnight may say another one."""
    found: dict[tuple[int, str, str, int], list[Hit]] = {}
    for log in logs:
        for hit in log.hits:
            path = (hit.path or "-").partition("?")[0]
            found.setdefault((int(log.day.replace("-", "")), hit.host, path, hit.status), []).append(hit)
    return sorted(
        (*key, len(hits), sum(hit.bytes or 0 for hit in hits), min(_seconds(hits)), max(_seconds(hits)))
        for key, hits in found.items()
    )


def _seconds(hits: Iterable[Hit]) -> list[int]:
    return [int(hit.time.timestamp()) for hit in hits]


def extract(logs: Iterable[Log]) -> list[list[str]]:
    """The lines of `weblog.csv`, with their header: pages that people asked for and got, in the order of the logs."""
    rows = [_extracted(log.day, hit) for log in sorted(logs, key=lambda log: log.day) for hit in log.hits]
    return [EXTRACT, *(row for row in rows if row)]


def _extracted(day: str, hit: Hit) -> list[str]:
    path, _, query = (hit.path or "").partition("?")
    agent = hit.agent or ""
    wanted = hit.method in ("GET", "POST") and hit.status < 400 and path and path != "/robots.txt"
    if not wanted or PurePosixPath(path.lower()).suffix in STATIC or any(word in agent.lower() for word in ROBOTS):
        return []
    referer = (urlsplit(hit.referer).hostname if hit.referer else "") or ""
    browser = next((name for mark, name in BROWSERS.items() if mark in agent), "other")
    size = "" if hit.bytes is None else str(hit.bytes)
    return [day, str(hit.time.hour), hit.host, path, query, f"{hit.status // 100}xx", size, referer, browser]
