"""A download that a server, the disk or another download stands against: repeated as declared, or refused at once."""

from __future__ import annotations

import threading
from email.utils import format_datetime
from pathlib import Path

import pytest

from contracts.downloads import Download
from contracts.errors import Conflict, Fatal, ServiceUnavailable
from producers.download import LONGEST_RETRY_AFTER_S, download
from producers.raw_files import RawStore
from tests.conftest import WaitUntil
from tests.unit.download_server import DAY, FILE, NEW, NOW, OLD, Answer, Case, Handler, Origin, hang_up, status


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


def test_a_server_that_falls_silent_is_left_for_later(case: Case, origin: Origin, wait_until: WaitUntil) -> None:
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
    wait_until(lambda: len(origin.asked) >= 2, 10, "the server has heard of the second attempt")
    go_on.set()
    assert len(origin.asked) == 2


def test_a_coding_that_nothing_unpacks_is_refused(case: Case, origin: Origin) -> None:
    origin.more = {"Content-Encoding": "br"}
    with pytest.raises(Fatal, match="content-encoding br"):
        case.get()
    assert case.holds() == []


def test_a_disk_that_refuses_is_told_as_such(case: Case) -> None:
    case.get()
    case.folder.joinpath(f"{FILE}.part").mkdir()
    case.origin.become(NEW, '"v2"')
    with pytest.raises(Fatal, match="raw store cannot be used"):
        case.get()
    assert case.kept() == OLD


def test_one_that_has_waited_for_another_too_long_is_a_conflict(case: Case) -> None:
    declared = Download(name="rates", url=f"{case.origin.url}/x", file="rates.csv")
    impatient = RawStore(case.data_dir, lock_timeout_s=0.05)
    with impatient.open("rates", DAY, "rates.csv"), pytest.raises(Conflict, match="under way"):
        download(declared, DAY, impatient)
