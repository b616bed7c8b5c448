"""A download against a real HTTP server that fails, truncates, changes its mind and lies: what is kept is one content,
whole, or what was kept before."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import logging
import os
import re
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.downloads import Checksum, Download, Paging
from contracts.errors import Conflict, Fatal, ServiceUnavailable
from contracts.loader import load_pipeline
from contracts.settings import Settings
from contracts.stream import FileSource, Pipeline
from headrace.app import App
from headrace.commands import download as command
from producers.download import LONGEST_RETRY_AFTER_S, Downloaded, download
from producers.download_json import elements, value_at
from producers.push import FileResult
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


def cut_after(number: int) -> Answer:
    return lambda to: content(to, number)


def status(number: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda to: to.say(number, body, **headers)


def hang_up(to: Handler) -> None:
    to.close_connection = True


@pytest.fixture
def servers() -> Iterator[Callable[[], Origin]]:
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start() -> Origin:
        origin = Origin()
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"origin": origin}))
        origin.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return origin

    yield start
    for server, thread in running:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def origin(servers: Callable[[], Origin]) -> Origin:
    return servers()


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


@pytest.fixture
def case(origin: Origin, tmp_path: Path) -> Case:
    return Case(origin, tmp_path)


BOTH = [FILE, f"{FILE}.meta.json"]
INTERRUPTED = [f"{FILE}.part", f"{FILE}.part.json"]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_kept_with_what_is_known_of_it(case: Case, origin: Origin) -> None:
    origin.more = {"Last-Modified": "Sat, 07 Mar 2026 12:00:00 GMT"}
    found = case.get()
    assert (found.state, found.path, found.bytes) == ("fetched", case.folder / FILE, len(OLD))
    assert (found.name, found.batch_date, found.at, found.etag) == ("rates", DAY, NOW, '"v1"')
    assert case.kept() == OLD
    assert case.holds() == BOTH
    assert case.meta() == {
        "url": f"{origin.url}/rates.csv",
        "fetched_at": NOW.isoformat(),
        "etag": '"v1"',
        "last_modified": "Sat, 07 Mar 2026 12:00:00 GMT",
        "sha256": sha256(OLD),
        "bytes": len(OLD),
        "status": 200,
    }


def test_the_day_and_the_query_are_asked_for(case: Case, origin: Origin) -> None:
    case.path, case.declared["query"] = "/{yyyy}/{mm}/{dd}.csv?a=1", {"base": "E U&R", "day": "{batch_date}"}
    case.get()
    assert origin.asked[0].path == "/2026/03/07.csv"
    assert origin.asked[0].query == {"a": ["1"], "base": ["E U&R"], "day": ["2026-03-07"]}


def test_files_are_0600_and_folders_0700_whatever_the_umask(case: Case, origin: Origin) -> None:
    before = os.umask(0)
    try:
        origin.script.append(cut_after(200_000))
        case.declared["attempts"] = 1
        with pytest.raises(ServiceUnavailable):
            case.get()
        parts = [case.folder / name for name in INTERRUPTED]
        assert [stat.S_IMODE(path.stat().st_mode) for path in parts] == [0o600, 0o600]
        case.get()
    finally:
        os.umask(before)
    found = [case.data_dir, *case.data_dir.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o600}


def test_a_folder_that_others_could_read_is_closed_to_them(case: Case) -> None:
    case.folder.mkdir(parents=True, mode=0o755)
    case.get()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (case.folder, *case.folder.parents[:2])} == {0o700}


@pytest.mark.parametrize("fault", [status(503), status(500), status(408), status(425), status(429), hang_up])
def test_what_fails_twice_and_then_works_is_fetched(case: Case, origin: Origin, fault: Answer) -> None:
    origin.script.extend([fault, fault])
    assert case.get().state == "fetched"
    assert len(case.slept) == 2
    assert 1 <= case.slept[0] < case.slept[1] + 1


def test_what_fails_as_often_as_is_declared_is_left_for_later(case: Case, origin: Origin) -> None:
    origin.script.extend([status(503, b"be patient")] * 3)
    with pytest.raises(ServiceUnavailable, match="503: be patient"):
        case.get()
    assert len(origin.asked) == 3
    assert case.holds() == []


def test_a_server_that_is_not_there_is_named_and_left_for_later(case: Case, tmp_path: Path) -> None:
    case.origin = Origin(url="http://127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match="Connection refused"):
        case.get()


@pytest.mark.parametrize("number", [400, 401, 403, 404, 410, 204, 206, 304, 416])
def test_a_refusal_is_not_repeated_and_says_what_the_server_said(case: Case, origin: Origin, number: int) -> None:
    said = b"" if number in (204, 304) else b"no such\n day \x1b[31m" + b"x" * 1000
    origin.script.append(status(number, said))
    with pytest.raises(Fatal) as refused:
        case.get()
    text = str(refused.value)
    assert f"answered {number}" in text
    assert not said or f"no such day [31m{'x' * 200}" in text
    assert "x" * 301 not in text
    assert "\x1b" not in text
    assert len(origin.asked) == 1
    assert case.holds() == []


def test_retry_after_in_seconds_is_waited_for(case: Case, origin: Origin) -> None:
    origin.script.append(status(429, Retry_After="77"))
    case.get()
    assert case.slept == [77]


def test_retry_after_as_a_date_is_waited_for(case: Case, origin: Origin) -> None:
    origin.script.append(status(503, Retry_After=format_datetime(NOW.replace(minute=2), usegmt=True)))
    case.get()
    assert case.slept == [120]


@pytest.mark.parametrize("wish", ["999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_retry_after_is_capped(case: Case, origin: Origin, wish: str) -> None:
    origin.script.append(status(429, Retry_After=wish))
    case.get()
    assert case.slept == [LONGEST_RETRY_AFTER_S]


@pytest.mark.parametrize("wish", ["", "soon", "-5", "Sun, 01 Mar 2026 00:00:00 GMT", "Sun, 99 Mar 2026 00:00:00 GMT"])
def test_retry_after_that_says_nothing_is_passed_over(case: Case, origin: Origin, wish: str) -> None:
    origin.script.append(status(429, Retry_After=wish))
    case.get()
    assert 0 < case.slept[0] <= 3


def test_a_truncated_body_is_gone_on_with(case: Case, origin: Origin) -> None:
    origin.script.extend([cut_after(200_000), cut_after(65_000)])
    assert case.get().state == "fetched"
    assert case.kept() == OLD
    starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in case.ranges()[1:]]
    assert 0 < starts[0] <= 200_000
    assert starts[0] <= starts[1]
    assert [asked.headers.get("if-range") for asked in origin.asked] == [None, '"v1"', '"v1"']
    assert case.holds() == BOTH


def test_a_truncated_body_is_never_kept(case: Case, origin: Origin) -> None:
    case.declared["attempts"] = 1
    origin.script.append(cut_after(200_000))
    with pytest.raises(ServiceUnavailable):
        case.get()
    assert case.holds() == INTERRUPTED


def test_a_later_call_goes_on_with_the_part_of_an_earlier_one(case: Case, origin: Origin) -> None:
    case.declared["attempts"] = 1
    origin.script.append(cut_after(200_000))
    with pytest.raises(ServiceUnavailable):
        case.get()
    case.get()
    assert case.kept() == OLD
    assert case.ranges()[1].startswith("bytes=")


def test_a_truncated_chunked_body_is_no_success(case: Case, origin: Origin) -> None:
    def chunked(to: Handler) -> None:
        to.send_response(200)
        to.send_header("Transfer-Encoding", "chunked")
        to.send_header("ETag", origin.etag)
        to.end_headers()
        to.wfile.write(b"%x\r\n%s\r\n" % (70_000, OLD[:70_000]))
        to.close_connection = True

    origin.script.append(chunked)
    case.get()
    assert case.kept() == OLD
    assert len(origin.asked) == 2


@pytest.mark.parametrize("size", [len(NEW), len(OLD)])
def test_another_etag_between_the_parts_starts_anew(case: Case, origin: Origin, size: int) -> None:
    def change(to: Handler) -> None:
        cut_after(200_000)(to)
        origin.become(NEW[:size], '"v2"')

    origin.script.append(change)
    case.get()
    assert case.kept() == NEW[:size]
    assert case.meta()["etag"] == '"v2"'


@pytest.mark.parametrize("named", [{}, {"ETag": '"v2"'}])
def test_a_server_that_knows_no_if_range_gives_no_mixture(case: Case, origin: Origin, named: dict[str, str]) -> None:
    def only_range(to: Handler) -> None:
        start = int(to.last.headers["range"].removeprefix("bytes=").rstrip("-"))
        size = len(OLD)
        to.say(206, NEW[start:size], Content_Range=f"bytes {start}-{size - 1}/{size}", **named)

    origin.script.extend([cut_after(200_000), only_range])
    case.get()
    assert case.kept() == OLD


def test_a_server_that_ignores_range_starts_anew(case: Case, origin: Origin) -> None:
    origin.script.extend([cut_after(200_000), lambda to: to.say(200, NEW, ETag='"v2"')])
    case.get()
    assert case.kept() == NEW


def test_416_starts_anew_at_once(case: Case, origin: Origin) -> None:
    origin.script.extend([cut_after(200_000), status(416)])
    case.get()
    assert case.kept() == OLD
    assert len(case.slept) == 1
    assert case.ranges()[2] == ""


@pytest.mark.parametrize("wrong", ["bytes 0-{last}/{size}", "bytes {start}-{last}/9", "pages 1-2/3", ""])
def test_a_wrong_content_range_starts_anew(case: Case, origin: Origin, wrong: str) -> None:
    def other_part(to: Handler) -> None:
        start = int(to.last.headers["range"].removeprefix("bytes=").rstrip("-"))
        said = wrong.format(start=start, last=len(OLD) - 1, size=len(OLD))
        to.say(206, OLD[start:], Content_Range=said, ETag='"v1"')

    origin.script.extend([cut_after(200_000), other_part])
    case.get()
    assert case.kept() == OLD
    assert case.ranges()[2] == ""
    assert len(case.slept) == 1


def test_a_server_that_gives_piece_by_piece_is_asked_for_each(case: Case, origin: Origin) -> None:
    def piece(to: Handler) -> None:
        start = int(to.last.headers["range"].removeprefix("bytes=").rstrip("-"))
        to.say(
            206, OLD[start : start + 1000], Content_Range=f"bytes {start}-{start + 999}/{len(OLD)}", ETag=origin.etag
        )

    origin.script.extend([cut_after(200_000), piece])
    case.get()
    assert case.kept() == OLD
    starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in case.ranges()[1:]]
    assert starts[1] == starts[0] + 1000


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_without_a_strong_etag_a_part_is_not_gone_on_with(case: Case, origin: Origin, etag: str) -> None:
    origin.etag = etag
    origin.script.append(cut_after(200_000))
    case.get()
    assert case.ranges() == ["", ""]
    assert case.kept() == OLD


def leave_a_part(case: Case, content: bytes, url: str = "/rates.csv", total: int | None = None) -> None:
    case.folder.mkdir(parents=True, exist_ok=True)
    (case.folder / f"{FILE}.part").write_bytes(content)
    begun = {
        "url": case.origin.url + url,
        "etag": '"v1"',
        "last_modified": "",
        "total": total or len(OLD),
        "digests": {},
    }
    (case.folder / f"{FILE}.part.json").write_text(json.dumps(begun))


def test_a_part_that_a_killed_download_left_is_completed(case: Case) -> None:
    leave_a_part(case, OLD[:100_000])
    case.get()
    assert case.ranges() == ["bytes=100000-"]
    assert case.kept() == OLD


def test_a_process_that_is_killed_under_way_leaves_a_part_that_the_next_completes(case: Case, origin: Origin) -> None:
    killed = threading.Event()

    def first_part(to: Handler) -> None:
        to.send_response(200)
        to.send_header("Content-Length", str(len(OLD)))
        to.send_header("ETag", origin.etag)
        to.end_headers()
        to.wfile.write(OLD[:200_000])
        killed.wait(20)
        to.close_connection = True

    origin.script.append(first_part)
    code = (
        "import sys; from datetime import date; from pathlib import Path; from contracts.downloads import Download\n"
        "from producers.download import RawStore, download\n"
        "declared = Download(name='rates', url=sys.argv[1], file='rates_{batch_date}.csv')\n"
        "download(declared, date(2026, 3, 7), RawStore(Path(sys.argv[2])))\n"
    )
    arguments = [sys.executable, "-c", code, f"{origin.url}/rates.csv", str(case.data_dir)]
    with subprocess.Popen(arguments, cwd=Path(__file__).parents[2]) as process:
        part = case.folder / f"{FILE}.part"
        until = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 100_000) and time.monotonic() < until:
            time.sleep(0.01)
        process.kill()
    killed.set()
    assert case.holds() == INTERRUPTED
    case.get()
    assert int(case.ranges()[1].removeprefix("bytes=").rstrip("-")) > 100_000
    assert case.kept() == OLD
    assert case.holds() == BOTH


@pytest.mark.parametrize("server_has", [OLD, NEW])
def test_a_download_killed_before_the_rename_is_repeated(case: Case, origin: Origin, server_has: bytes) -> None:
    origin.content = server_has
    leave_a_part(case, OLD)
    case.get()
    assert case.kept() == server_has
    assert case.holds() == BOTH
    assert case.ranges() == [""]


def test_a_part_of_another_address_is_thrown_away(case: Case) -> None:
    leave_a_part(case, NEW[:100_000], url="/other.csv")
    case.get()
    assert case.kept() == OLD


@pytest.mark.parametrize("torn", ["", "{", '{"url": 1}', "[]"])
def test_a_part_without_a_sound_description_is_thrown_away(case: Case, torn: str) -> None:
    leave_a_part(case, NEW[:100_000])
    (case.folder / f"{FILE}.part.json").write_text(torn)
    case.get()
    assert case.kept() == OLD
    assert case.holds() == BOTH


def test_a_refusal_leaves_nothing_of_a_part(case: Case, origin: Origin) -> None:
    leave_a_part(case, OLD[:100_000])
    origin.script.append(status(404))
    with pytest.raises(Fatal):
        case.get()
    assert case.holds() == []


def test_304_leaves_the_kept_file_alone(case: Case, origin: Origin) -> None:
    first = case.get()
    before = (case.folder / FILE).stat()
    found = case.get()
    assert origin.asked[1].headers["if-none-match"] == '"v1"'
    assert (found.state, found.sha256, found.etag, found.path) == ("unchanged", first.sha256, first.etag, first.path)
    after = (case.folder / FILE).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_last_modified_is_asked_with_too(case: Case, origin: Origin) -> None:
    origin.etag, origin.more = "", {"Last-Modified": "Sat, 07 Mar 2026 12:00:00 GMT"}
    case.get()
    origin.script.append(status(304))
    assert case.get().state == "unchanged"
    assert origin.asked[1].headers["if-modified-since"] == "Sat, 07 Mar 2026 12:00:00 GMT"


def test_the_same_content_under_a_new_etag_is_unchanged(case: Case, origin: Origin) -> None:
    case.get()
    before = (case.folder / FILE).stat().st_ino
    origin.become(OLD, '"v2"')
    found = case.get()
    assert (found.state, found.etag) == ("unchanged", '"v2"')
    assert (case.folder / FILE).stat().st_ino == before
    assert case.holds() == BOTH
    case.get()
    assert origin.asked[2].headers["if-none-match"] == '"v2"'


def test_a_file_that_was_altered_on_the_disk_is_fetched_again(case: Case, origin: Origin) -> None:
    case.get()
    (case.folder / FILE).write_bytes(b"mine")
    assert case.get().state == "fetched"
    assert "if-none-match" not in origin.asked[1].headers
    assert case.kept() == OLD


def test_a_file_that_was_removed_is_fetched_again(case: Case) -> None:
    case.get()
    (case.folder / FILE).unlink()
    assert case.get().state == "fetched"


def test_another_address_does_not_ask_with_the_old_etag(case: Case, origin: Origin) -> None:
    case.get()
    case.path = "/other.csv"
    origin.content = NEW
    assert case.get().state == "fetched"
    assert case.kept() == NEW


def test_a_changed_content_keeps_the_older_one_beside_it(case: Case, origin: Origin) -> None:
    case.get()
    origin.become(NEW, '"v2"')
    assert case.get().state == "fetched"
    assert case.kept() == NEW
    older = f"rates_2026-03-07.{sha256(OLD)[:12]}.csv"
    assert case.holds() == sorted([*BOTH, older, f"{older}.meta.json"])
    assert (case.folder / older).read_bytes() == OLD
    assert json.loads((case.folder / f"{older}.meta.json").read_bytes())["sha256"] == sha256(OLD)


def test_days_do_not_share_a_folder(case: Case) -> None:
    case.get()
    declared = Download(name="rates", url=f"{case.origin.url}/rates.csv", file="rates_{batch_date}.csv")
    other = download(declared, date(2026, 3, 8), RawStore(case.data_dir))
    assert other.path == case.data_dir / "raw" / "rates" / "2026-03-08" / "rates_2026-03-08.csv"


STATED: dict[str, dict[str, str]] = {
    "Content-MD5": {"Content_MD5": base64.b64encode(hashlib.md5(OLD).digest()).decode()},
    "Digest": {"Digest": f"adler32=1, SHA-256={base64.b64encode(hashlib.sha256(OLD).digest()).decode()}"},
    "Repr-Digest": {"Repr_Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(OLD).digest()).decode()}:"},
    "Content-Digest": {"Content_Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(OLD).digest()).decode()}:"},
}


@pytest.mark.parametrize("name", STATED)
def test_a_digest_in_the_headers_is_checked(case: Case, origin: Origin, name: str) -> None:
    origin.more = STATED[name]
    case.get()
    origin.become(NEW, '"v2"')
    with pytest.raises(Fatal, match=r"what came does not have the (md5|sha256) that the server states"):
        case.get()
    assert case.kept() == OLD
    assert case.holds() == BOTH
    assert len(origin.asked) == 4


def test_the_digest_of_a_part_is_not_taken_for_that_of_the_whole(case: Case, origin: Origin) -> None:
    def rest(to: Handler) -> None:
        origin.more = {"Content_MD5": base64.b64encode(b"0" * 16).decode()}
        content(to)

    origin.script.extend([cut_after(200_000), rest])
    case.get()
    assert case.kept() == OLD


@pytest.mark.parametrize(
    "said",
    [
        sha256(OLD),
        f"sha256:{sha256(OLD).upper()}",
        hashlib.md5(OLD).hexdigest(),
        f'"{base64.b64encode(hashlib.sha256(OLD).digest()).decode()}"',
    ],
)
def test_a_declared_checksum_header_is_compared(case: Case, origin: Origin, said: str) -> None:
    case.declared["checksum"] = Checksum(header="x-checksum")
    origin.more = {"X_Checksum": said}
    assert case.get().state == "fetched"
    origin.become(NEW, '"v2"')
    with pytest.raises(Fatal, match="does not have the"):
        case.get()
    assert case.kept() == OLD


def test_a_checksum_that_fits_at_the_second_try_is_enough(case: Case, origin: Origin) -> None:
    case.declared["checksum"] = Checksum(header="x-checksum")
    origin.more = {"X_Checksum": sha256(OLD)}
    origin.script.append(lambda to: to.say(200, NEW, X_Checksum=sha256(OLD)))
    case.get()
    assert case.kept() == OLD


@pytest.mark.parametrize("said", ["", "abc", "0" * 63])
def test_a_declared_checksum_header_that_is_missing_is_refused(case: Case, origin: Origin, said: str) -> None:
    case.declared["checksum"] = Checksum(header="x-checksum")
    origin.more = {"X_Checksum": said}
    with pytest.raises(Fatal, match="header x-checksum holds no SHA-256"):
        case.get()
    assert case.holds() == []


def test_the_checksum_of_a_resumed_download_is_that_of_the_first_answer(case: Case, origin: Origin) -> None:
    case.declared["checksum"] = Checksum(header="x-checksum")
    origin.more = {"X_Checksum": sha256(NEW)}

    def rest(to: Handler) -> None:
        origin.more = {}
        content(to)
        origin.more = {"X_Checksum": sha256(OLD)}

    origin.script.extend([cut_after(200_000), rest])
    case.get()
    assert case.kept() == OLD
    assert case.ranges()[1:] == [case.ranges()[1], ""]


CHECKSUM_FILES = {
    "the digits alone": f"{sha256(OLD)}\n",
    "as sha256sum writes it": f"{sha256(OLD)}  rates.csv\n",
    "among others": f"{sha256(NEW)} *other.csv\n{sha256(OLD)} *./rates.csv\n",
    "as BSD writes it": f"SHA256 (rates.csv) = {sha256(OLD)}\nSHA256 (x.csv) = {sha256(NEW)}\n",
    "by the name it is kept under": f"{sha256(NEW)}  a\n{hashlib.md5(OLD).hexdigest()}  {FILE}\n",
    "in base64": base64.b64encode(hashlib.sha256(OLD).digest()).decode(),
}


@pytest.mark.parametrize("name", CHECKSUM_FILES)
def test_a_checksum_file_is_read(case: Case, origin: Origin, name: str) -> None:
    case.declared["checksum"] = Checksum(url=f"{origin.url}/{{batch_date}}.sha256")
    origin.routes["/2026-03-07.sha256"] = status(200, CHECKSUM_FILES[name].encode())
    case.get()
    origin.become(NEW, '"v2"')
    with pytest.raises(Fatal, match="does not have the"):
        case.get()
    assert case.kept() == OLD


@pytest.mark.parametrize("text", ["", "none", f"{sha256(OLD)}  a\n{sha256(NEW)}  b\n"])
def test_a_checksum_file_that_says_nothing_of_the_file_is_refused(case: Case, origin: Origin, text: str) -> None:
    case.declared["checksum"] = Checksum(url=f"{origin.url}/sums")
    origin.routes["/sums"] = status(200, text.encode())
    with pytest.raises(Fatal, match=r"checksum file holds no one SHA-256 or MD5 of rates\.csv"):
        case.get()


def secret_case(case: Case) -> None:
    case.declared["headers"] = {"Authorization": "Bearer ${TOKEN}", "X-Key": "${TOKEN}", "X-Open": "yes"}
    case.declared["query"] = {"key": "${TOKEN}"}


def test_secrets_are_sent(case: Case, origin: Origin) -> None:
    secret_case(case)
    case.get()
    assert origin.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert origin.asked[0].query == {"key": [SECRET]}


def test_secrets_are_neither_kept_nor_logged_nor_told(
    case: Case, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "urllib3")  # as the command line does
    secret_case(case)

    def echo(to: Handler) -> None:
        said = f"{to.path} {to.last.headers['authorization']} {json.dumps(SECRET)}"
        to.say(503 if len(origin.asked) < 3 else 403, said.encode())

    origin.script.extend([echo, hang_up, echo])
    with pytest.raises(Fatal, match=r"\*\*\*\*\*") as refused:
        case.get()
    found = case.get()
    origin.script.append(cut_after(200_000))
    origin.become(NEW, '"v2"')
    case.declared["attempts"] = 1
    with pytest.raises(ServiceUnavailable) as unavailable:
        case.get()
    kept = "".join(path.read_text(errors="replace") for path in case.data_dir.rglob("*.json"))
    told = f"{refused.value!r} {refused.value} {unavailable.value} {found} {kept} {caplog.text}"
    assert "hush" not in told
    assert found.url.endswith("?key=${TOKEN}")
    assert "${TOKEN}" in kept
    assert refused.value.__cause__ is None


def test_a_variable_that_is_not_set_is_named_before_anything_is_asked(case: Case, origin: Origin) -> None:
    secret_case(case)
    with pytest.raises(Fatal, match="environment variable TOKEN is not set"):
        case.get(environment={})
    assert origin.asked == []


@pytest.mark.parametrize("value", ["hush\r\nX: y", "hush\x00"])
def test_a_secret_that_would_be_a_second_header_is_refused_unseen(case: Case, origin: Origin, value: str) -> None:
    secret_case(case)
    with pytest.raises(Fatal, match="control character") as refused:
        case.get(environment={"TOKEN": value})
    assert "hush" not in str(refused.value)
    assert origin.asked == []


def test_a_netrc_does_not_replace_a_declared_header(
    case: Case, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_case(case)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    case.get()
    assert origin.asked[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_redirect_within_the_host_keeps_the_headers(case: Case, origin: Origin) -> None:
    secret_case(case)
    origin.script.append(status(302, Location="/elsewhere.csv"))
    case.get()
    assert origin.asked[1].path == "/elsewhere.csv"
    assert origin.asked[1].headers["x-key"] == SECRET


def test_a_redirect_to_another_host_gets_no_secret_and_none_on_the_way_back(
    case: Case, origin: Origin, servers: Callable[[], Origin]
) -> None:
    secret_case(case)
    other = servers()
    origin.script.append(status(307, Location=f"{other.url}/a"))
    other.script.append(status(302, Location=f"{origin.url}/b"))
    case.get()
    for asked in (other.asked[0], origin.asked[1]):
        assert "authorization" not in asked.headers
        assert "x-key" not in asked.headers
        assert asked.headers["x-open"] == "yes"


def test_five_redirects_are_followed_and_six_are_not(case: Case, origin: Origin) -> None:
    origin.script.extend([status(302, Location="/again")] * 5)
    assert case.get().state == "fetched"
    origin.script.extend([status(302, Location="/again")] * 6)
    with pytest.raises(Fatal, match="more than 5 redirects"):
        case.get()


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1/", "http://a:x/"])
def test_a_redirect_to_what_is_no_http_address_is_refused(case: Case, origin: Origin, location: str) -> None:
    origin.script.append(status(302, Location=location))
    with pytest.raises(Fatal, match="no http or https address"):
        case.get()


def test_two_at_once_fetch_one_after_the_other(case: Case, origin: Origin) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(to: Handler) -> None:
        begun.set()
        go_on.wait(10)
        content(to)

    origin.script.append(slow)
    states: list[str] = []
    first = threading.Thread(target=lambda: states.append(case.get().state))
    first.start()
    begun.wait(10)
    second = threading.Thread(target=lambda: states.append(case.get().state))
    second.start()
    second.join(0.2)
    assert len(origin.asked) == 1
    go_on.set()
    first.join()
    second.join()
    assert states == ["fetched", "unchanged"]


def test_one_that_has_waited_for_another_too_long_is_a_conflict(case: Case) -> None:
    declared = Download(name="rates", url=f"{case.origin.url}/x", file="rates.csv")
    impatient = RawStore(case.data_dir, lock_timeout_s=0.05)
    with impatient.open("rates", DAY, "rates.csv"), pytest.raises(Conflict, match="under way"):
        download(declared, DAY, impatient)


@pytest.mark.parametrize("names", [("..", "a"), ("a", "../b"), ("a/b", "c"), ("a", "..")])
def test_no_name_leads_out_of_the_store(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="leads out"), RawStore(tmp_path / "data").open(names[0], DAY, names[1]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_told_as_such(case: Case) -> None:
    case.get()
    case.folder.joinpath(f"{FILE}.part").mkdir()
    case.origin.become(NEW, '"v2"')
    with pytest.raises(Fatal, match="raw store cannot be used"):
        case.get()
    assert case.kept() == OLD


def test_progress_counts_to_the_whole_length_also_after_an_interruption(case: Case, origin: Origin) -> None:
    origin.script.append(cut_after(200_000))
    told: list[tuple[str, int, int]] = []
    case.get(progress=lambda *step: told.append(step))
    assert told[-1] == ("rates", len(OLD), len(OLD))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_body_that_is_compressed_unasked_is_kept_as_it_came(case: Case, origin: Origin) -> None:
    origin.more = {"Content-Encoding": "gzip"}
    origin.content = b"\x1f\x8bcompressed"
    case.get()
    assert origin.asked[0].headers["accept-encoding"] == "identity"
    assert case.kept() == b"\x1f\x8bcompressed"


def test_a_coding_that_nothing_unpacks_is_refused(case: Case, origin: Origin) -> None:
    origin.more = {"Content-Encoding": "br"}
    with pytest.raises(Fatal, match="content-encoding br"):
        case.get()
    assert case.holds() == []


def test_an_empty_body_is_a_file(case: Case, origin: Origin) -> None:
    origin.content = b""
    assert case.get().bytes == 0


def test_a_server_that_falls_silent_is_left_for_later(case: Case, origin: Origin) -> None:
    go_on = threading.Event()

    def silent(to: Handler) -> None:
        if len(origin.asked) > 1:
            to.send_response(200)
            to.send_header("Content-Length", "9")
            to.end_headers()
        go_on.wait(10)
        to.close_connection = True

    origin.script.extend([silent, silent])
    case.declared.update(timeout_s=0.1, attempts=2)
    with pytest.raises(ServiceUnavailable, match=r"timed? ?out"):
        case.get()
    go_on.set()
    assert len(origin.asked) == 2


def test_an_etag_that_cannot_be_sent_back_is_none(case: Case, origin: Origin) -> None:
    origin.etag = '"a\tb"'
    case.get()
    assert case.meta()["etag"] == ""
    origin.become(NEW, '"v2"')
    assert case.get().state == "fetched"


@pytest.fixture
def encrypted(origin: Origin, tmp_path: Path) -> Iterator[Path]:
    """A second port of the same server that speaks TLS; gives its certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2100, 1, 1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = made.add_extension(address, critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (tmp_path / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"origin": origin}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    origin.more["X_Plain"] = origin.url
    origin.url = f"https://127.0.0.1:{server.server_port}"
    yield tmp_path / "cert.pem"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("encrypted")
def test_a_certificate_that_is_not_trusted_is_refused_at_once(case: Case, origin: Origin) -> None:
    with pytest.raises(Fatal, match="certificate is not trusted"):
        case.get()
    assert origin.asked == []
    assert case.slept == []


def test_a_redirect_or_link_from_https_to_http_is_not_followed(
    case: Case, origin: Origin, encrypted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(encrypted))
    plain = origin.more.pop("X_Plain")
    assert case.get().state == "fetched"
    origin.script.append(status(302, Location=f"{plain}/x"))
    with pytest.raises(Fatal, match=r"from https to http, at 127\.0\.0\.1"):
        case.get()
    paged(case, kind="link")
    origin.script.append(lambda to: page(to, "1", Link=f'<{plain}/x>; rel="next"'))
    with pytest.raises(Fatal, match="from https to http"):
        case.get()
    assert len(origin.asked) == 3


# Pages


def page(to: Handler, items: str, more: str = "", **headers: str) -> None:
    to.say(200, f'{{"meta": {{{more}}}, "data": {{"results": [{items}]}}}}'.encode(), **headers)


def paged(case: Case, **paging: Any) -> None:
    case.declared["paging"] = Paging(**{"items": "data.results", **paging})


def asked_pages(case: Case, name: str) -> list[str]:
    return [asked.query.get(name, [""])[0] for asked in case.origin.asked]


def test_numbered_pages_are_asked_for_until_one_is_empty(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p")
    case.declared["query"] = {"base": "EUR"}
    items = {"1": '{"a": 1}, {"a": 2}', "2": '{"a": 3}'}
    origin.routes["/rates.csv"] = lambda to: page(to, items.get(to.last.query["p"][0], ""))
    found = case.get()
    assert asked_pages(case, "p") == ["1", "2", "3"]
    assert asked_pages(case, "base") == ["EUR"] * 3
    assert case.kept() == b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'
    assert (found.state, found.etag) == ("fetched", "")
    assert case.get().state == "unchanged"


def test_offsets_go_on_by_the_size_of_a_page(case: Case, origin: Origin) -> None:
    paged(case, kind="offset", parameter="skip", size=2, items="")
    rows = ["1", "2", "3", "4", "5"]

    def some(to: Handler) -> None:
        start = int(to.last.query["skip"][0])
        to.say(200, f"[{','.join(rows[start : start + 2])}]".encode())

    origin.routes["/rates.csv"] = some
    case.get()
    assert asked_pages(case, "skip") == ["0", "2", "4", "6"]
    assert case.kept() == b"1\n2\n3\n4\n5\n"


@pytest.mark.parametrize("real", [1, 3])
def test_offsets_that_do_not_fit_the_servers_pages_are_refused(case: Case, origin: Origin, real: int) -> None:
    paged(case, kind="offset", parameter="skip", size=2)

    def some(to: Handler) -> None:
        start = int(to.last.query["skip"][0])
        page(to, ",".join(str(number) for number in range(start, min(start + real, 9))))

    origin.routes["/rates.csv"] = some
    with pytest.raises(Fatal, match="do not hold 2 elements each"):
        case.get()
    assert case.holds() == []


def test_a_cursor_is_followed_to_its_end(case: Case, origin: Origin) -> None:
    paged(case, kind="cursor", parameter="after", cursor="meta.next")
    items = {
        "": ('"a"', '"next": "x&y"'),
        "x&y": ('"b"', '"next": 1.10'),
        "1.10": ('"c"', '"next": null'),
    }
    origin.routes["/rates.csv"] = lambda to: page(to, *items[to.last.query.get("after", [""])[0]])
    case.get()
    assert asked_pages(case, "after") == ["", "x&y", "1.10"]
    assert case.kept() == b'"a"\n"b"\n"c"\n'


def test_a_cursor_without_a_parameter_is_the_next_address(case: Case, origin: Origin) -> None:
    paged(case, kind="cursor", cursor="@odata.nextLink", items="value")
    origin.routes["/rates.csv"] = status(200, b'{"value": [1], "@odata.nextLink": "/second"}')
    origin.routes["/second"] = status(200, b'{"value": [2]}')
    case.get()
    assert case.kept() == b"1\n2\n"


def test_a_link_to_the_next_page_is_followed(case: Case, origin: Origin) -> None:
    paged(case, kind="link")
    first = '</before>; rel="prev", </second?p=2>; rel="next last"'
    origin.routes["/rates.csv"] = lambda to: page(to, "1", Link=first)
    origin.routes["/second"] = lambda to: page(to, "2", Link='</rates.csv>; rel="first"')
    case.get()
    assert case.kept() == b"1\n2\n"


def test_a_link_to_another_host_gets_no_secret(case: Case, origin: Origin, servers: Callable[[], Origin]) -> None:
    secret_case(case)
    paged(case, kind="link")
    other = servers()
    origin.routes["/rates.csv"] = lambda to: page(to, "1", Link=f'<{other.url}/x>; rel="next"')
    other.routes["/x"] = lambda to: page(to, "2")
    case.get()
    assert case.kept() == b"1\n2\n"
    assert "authorization" not in other.asked[0].headers


CIRCLES: dict[str, tuple[dict[str, Any], Answer]] = {
    "a cursor": (
        {"kind": "cursor", "parameter": "after", "cursor": "meta.next"},
        lambda to: page(to, str(len(to.origin.asked)), '"next": "same"'),
    ),
    "a link": ({"kind": "link"}, lambda to: page(to, "1", Link='</rates.csv>; rel="next"')),
    "a page": ({"kind": "page", "parameter": "p"}, lambda to: page(to, "1")),
    "an offset": ({"kind": "offset", "parameter": "p", "size": 1}, lambda to: page(to, "1")),
}


@pytest.mark.parametrize("name", CIRCLES)
def test_pages_that_go_round_in_a_circle_are_refused(case: Case, origin: Origin, name: str) -> None:
    paging, origin.routes["/rates.csv"] = CIRCLES[name]
    paged(case, **paging)
    with pytest.raises(Fatal, match=r"circle|same as the one before"):
        case.get()
    assert len(origin.asked) <= 3
    assert case.holds() == []


def test_more_pages_than_are_declared_are_refused(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p", most_pages=3)
    origin.routes["/rates.csv"] = lambda to: page(to, to.last.query["p"][0])
    with pytest.raises(Fatal, match="more than 3 pages"):
        case.get()
    assert len(origin.asked) == 3
    assert case.holds() == []


def test_each_page_is_tried_again_by_itself(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p")
    pages = [lambda to: page(to, "1"), status(503), status(503), lambda to: page(to, "2"), status(503)]
    origin.script.extend([*pages, lambda to: page(to, "", cut=20), lambda to: page(to, "")])  # type: ignore[arg-type]
    case.get()
    assert asked_pages(case, "p") == ["1", "2", "2", "2", "3", "3", "3"]
    assert case.kept() == b"1\n2\n"


def test_a_page_that_is_refused_keeps_nothing_of_those_before(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p")
    origin.script.extend([lambda to: page(to, "1"), status(404)])
    with pytest.raises(Fatal, match="404"):
        case.get()
    assert case.holds() == []


def test_each_element_stays_as_it_was_written(case: Case, origin: Origin) -> None:
    paged(case, kind="link")
    written = [
        '{"a": 1.10, "b":1E+2,"c" : 0.30000000000000000001}',
        '{"a": 1, "a": 2}',
        '{"t": "\\u00e4\\n \\/ ü ]}"}',
        '{\n  "n": [1,\r\n 2],\n  "o": {}\n}',
        "123456789012345678901234567890",
        "null",
        "[]",
    ]
    origin.routes["/rates.csv"] = lambda to: page(to, " ,\n ".join(written))
    case.get()
    lines = case.kept().decode().split("\n")
    assert lines.pop() == ""
    assert lines[:3] == written[:3]
    assert lines[3] == '{   "n": [1,   2],   "o": {} }'
    assert lines[4:] == written[4:]


WRONG_PAGES = {
    "no JSON": b"<html>",
    "cut JSON": b'{"data": {"results": [1, 2',
    "something after it": b'{"data": {"results": []}} x',
    "no such path": b'{"data": {"rows": []}}',
    "no array": b'{"data": {"results": {"a": 1}}}',
    "null": b'{"data": {"results": null}}',
    "a key twice": b'{"data": {"results": [1], "results": [2]}}',
    "not a number": b'{"data": {"results": [NaN]}}',
    "no UTF-8": b'{"data": {"results": ["\xff"]}}',
    "too deep": b'{"data": {"results": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}}",
    "empty": b"",
}


@pytest.mark.parametrize("name", WRONG_PAGES)
def test_a_page_that_is_not_as_declared_is_refused(case: Case, origin: Origin, name: str) -> None:
    paged(case, kind="link")
    origin.routes["/rates.csv"] = status(200, WRONG_PAGES[name])
    with pytest.raises(Fatal, match="a page is not the JSON that is declared"):
        case.get()
    assert case.holds() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(st.lists(JSON), st.sampled_from([None, 2, "\t"]), st.booleans(), st.text(alphabet="ab.", min_size=1))
def test_elements_are_one_line_each_and_mean_the_same(
    rows: list[Any], indent: int | str | None, ascii_only: bool, key: str
) -> None:
    text = json.dumps({"x": [], "outer": {key: rows, "y": 1}}, indent=indent, ensure_ascii=ascii_only)
    array = value_at(text, f"outer.{key}")
    assert array is not None
    found = list(elements(array))
    assert [json.loads(line) for line in found] == rows
    assert not any("\n" in line or "\r" in line for line in found)


# The command


class Shell:
    """`headrace download …` of a pipeline whose two downloads come from the local server."""

    def __init__(self, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = load_pipeline("edtech").file_streams[0]
        streams = (replace(stream, name="rows", source=FileSource(r"(rates|prices)_.*\.csv", "csv", "")),)
        (tmp_path / "downloads.yaml").write_text(
            f"downloads:\n  rates: {{url: '{origin.url}/r/{{batch_date}}', file: 'rates_{{batch_date}}.csv',"
            f" attempts: 1, query: {{key: '${{RATES_KEY}}'}}}}\n"
            f"  prices: {{url: '{origin.url}/p/{{batch_date}}', file: 'prices_{{batch_date}}.csv', attempts: 1}}\n"
        )
        self.app = App(Settings(data_dir=tmp_path / "data"))
        self.app.__dict__["pipeline"] = Pipeline("shop", streams, tmp_path, tmp_path, tmp_path)
        self.pushed: list[tuple[str, date]] = []
        self.result = FileResult("rows", "x", "f" * 64, "", 3, 3, "sent", "", 0.1)
        monkeypatch.setenv("RATES_KEY", SECRET)
        monkeypatch.setattr(command, "push_downloaded", self.push)

    def push(self, app: App, path: Path, batch_date: date) -> list[FileResult]:
        assert path.read_bytes() == OLD
        self.pushed.append((path.name, batch_date))
        return [self.result]

    def run(self, *options: str) -> Result:
        return CliRunner().invoke(command.download, options, obj=self.app)


@pytest.fixture
def shell(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(origin, tmp_path, monkeypatch)


def test_every_declared_download_of_the_day_is_fetched_and_pushed(shell: Shell) -> None:
    done = shell.run("--batch-date", "2026-03-07", "--json")
    assert done.exit_code == 0, done.output
    assert shell.pushed == [("rates_2026-03-07.csv", DAY), ("prices_2026-03-07.csv", DAY)]
    rows = json.loads(done.stdout)
    assert [(row["state"], row["pushed"], row["rows"], row["sha256"]) for row in rows] == [
        ("fetched", "sent", 3, sha256(OLD))
    ] * 2
    assert "hush" not in done.output


def test_an_unchanged_file_is_pushed_too(shell: Shell) -> None:
    shell.run("rates", "--batch-date", "2026-03-07")
    done = shell.run("rates", "--batch-date", "2026-03-07")
    assert "unchanged" in done.output
    assert shell.pushed == [("rates_2026-03-07.csv", DAY)] * 2


def test_without_a_day_it_is_today(shell: Shell) -> None:
    shell.run("rates")
    assert shell.pushed[0][1] in (date.today(), date.fromordinal(date.today().toordinal() - 1))


def test_a_back_fill_goes_day_by_day(shell: Shell) -> None:
    shell.run("prices", "--from", "2026-02-27", "--to", "2026-03-01")
    assert [day.isoformat() for _, day in shell.pushed] == ["2026-02-27", "2026-02-28", "2026-03-01"]


def test_no_push_only_keeps(shell: Shell, origin: Origin) -> None:
    assert shell.run("--no-push").exit_code == 0
    assert shell.pushed == []
    assert len(origin.asked) == 2


def test_a_dry_run_asks_for_nothing_and_shows_no_secret(
    shell: Shell, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = shell.run("--dry-run", "--batch-date", "2026-03-07")
    assert f"{origin.url}/r/2026-03-07?key=${{RATES_KEY}}" in done.output
    assert "hush" not in done.output
    monkeypatch.delenv("RATES_KEY")
    (rates, prices) = json.loads(shell.run("--dry-run", "--json").stdout)
    assert (rates["variables_not_set"], prices["variables_not_set"]) == ("RATES_KEY", "")
    assert origin.asked == []
    assert not shell.app.settings.data_dir.exists()


def test_a_failure_ends_the_command_and_is_shown(shell: Shell, origin: Origin) -> None:
    origin.script.append(status(404))
    done = shell.run("--json")
    assert isinstance(done.exception, Fatal)
    assert [(row["download"], row["state"]) for row in json.loads(done.stdout)] == [("rates", "failed")]
    assert len(origin.asked) == 1


def test_keep_going_does_the_others_and_tells_the_worst(shell: Shell, origin: Origin) -> None:
    origin.script.extend([status(503), content, status(404), content])
    done = shell.run("--keep-going", "--json", "--from", "2026-03-07", "--to", "2026-03-08")
    assert isinstance(done.exception, Fatal)
    assert [row["state"] for row in json.loads(done.stdout)] == ["failed", "fetched", "failed", "fetched"]
    assert len(shell.pushed) == 2
    origin.script.append(status(503))
    assert isinstance(shell.run("--keep-going").exception, ServiceUnavailable)


def test_a_file_that_the_push_refuses_is_exit_code_1(shell: Shell) -> None:
    shell.result = replace(shell.result, state="rejected", reason="it is empty")
    done = shell.run("rates")
    assert done.exit_code == 1
    assert "it is empty" in done.output


WRONG_OPTIONS = {
    "no download": ["nothing"],
    "give one or the other": ["--batch-date", "2026-01-01", "--from", "2026-01-01", "--to", "2026-01-02"],
    "go together": ["--from", "2026-01-01"],
    "lies before": ["--from", "2026-01-02", "--to", "2026-01-01"],
}


@pytest.mark.parametrize("told", WRONG_OPTIONS)
def test_options_that_make_no_sense_are_wrong_usage(shell: Shell, origin: Origin, told: str) -> None:
    done = shell.run(*WRONG_OPTIONS[told])
    assert done.exit_code == 2
    assert told in done.output
    assert origin.asked == []
