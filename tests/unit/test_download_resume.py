"""A download that was interrupted goes on where it stopped, but never makes one file of two contents."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from contracts.errors import Fatal, ServiceUnavailable
from tests.unit.download_server import (
    BOTH,
    FILE,
    INTERRUPTED,
    NEW,
    OLD,
    Case,
    Handler,
    Origin,
    cut_after,
    first_byte,
    status,
)


def test_a_truncated_body_is_gone_on_with(case: Case, origin: Origin) -> None:
    origin.script.extend([cut_after(200_000), cut_after(65_000)])
    assert case.get().state == "fetched"
    assert case.kept() == OLD
    starts = [first_byte(text) for text in case.ranges()[1:]]
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
        start = first_byte(to.last.headers["range"])
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
        start = first_byte(to.last.headers["range"])
        said = wrong.format(start=start, last=len(OLD) - 1, size=len(OLD))
        to.say(206, OLD[start:], Content_Range=said, ETag='"v1"')

    origin.script.extend([cut_after(200_000), other_part])
    case.get()
    assert case.kept() == OLD
    assert case.ranges()[2] == ""
    assert len(case.slept) == 1


def test_a_server_that_gives_piece_by_piece_is_asked_for_each(case: Case, origin: Origin) -> None:
    def piece(to: Handler) -> None:
        start = first_byte(to.last.headers["range"])
        to.say(
            206, OLD[start : start + 1000], Content_Range=f"bytes {start}-{start + 999}/{len(OLD)}", ETag=origin.etag
        )

    origin.script.extend([cut_after(200_000), piece])
    case.get()
    assert case.kept() == OLD
    starts = [first_byte(text) for text in case.ranges()[1:]]
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
    assert first_byte(case.ranges()[1]) > 100_000
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
