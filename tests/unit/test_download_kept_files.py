"""What a download keeps: one content, whole, private, described, and beside what was kept before."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import date
from pathlib import Path

import pytest

from contracts.downloads import Download
from contracts.errors import ServiceUnavailable
from producers.download import download
from producers.raw_files import RawStore
from tests.unit.download_server import (
    BOTH,
    DAY,
    FILE,
    INTERRUPTED,
    NEW,
    NOW,
    OLD,
    Case,
    Handler,
    Origin,
    content,
    cut_after,
    sha256,
    status,
)


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


@pytest.mark.parametrize("names", [("..", "a"), ("a", "../b"), ("a/b", "c"), ("a", "..")])
def test_no_name_leads_out_of_the_store(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="leads out"), RawStore(tmp_path / "data").open(names[0], DAY, names[1]):
        pass
    assert list(tmp_path.iterdir()) == []


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


def test_an_empty_body_is_a_file(case: Case, origin: Origin) -> None:
    origin.content = b""
    assert case.get().bytes == 0


def test_an_etag_that_cannot_be_sent_back_is_none(case: Case, origin: Origin) -> None:
    origin.etag = '"a\tb"'
    case.get()
    assert case.meta()["etag"] == ""
    origin.become(NEW, '"v2"')
    assert case.get().state == "fetched"
