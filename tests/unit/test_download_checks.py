"""What came is compared with every checksum that the server states or a declaration names, before it is kept."""

from __future__ import annotations

import base64
import hashlib

import pytest

from contracts.downloads import Checksum
from contracts.errors import Fatal
from tests.unit.download_server import BOTH, FILE, NEW, OLD, Case, Handler, Origin, content, cut_after, sha256, status

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
