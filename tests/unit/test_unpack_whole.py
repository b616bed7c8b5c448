"""An archive is known by its content and comes back whole and unchanged; nothing of it stays behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import resource
import stat
import struct
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.unpack import is_archive, unpacked, unsupported
from tests.unit.archives import (
    END,
    ORDERS,
    PACKERS,
    ROWS,
    Files,
    block,
    patched,
    pax_header,
    read,
    refusal,
    tar,
    tar_gz,
    tar_header,
    zipped,
)

LONG = "/".join(["a folder with quite a long name"] * 9) + "/Bücher 2024.csv"


@pytest.mark.parametrize("packer", PACKERS)
def test_members_come_back_in_order_with_their_names(packer: str, tmp_path: Path) -> None:
    files = {"daily/orders.csv": ROWS, "weekly/orders.csv": b"", "./größe.csv": bytes(range(256)) * 9000}
    found = read(PACKERS[packer](files), tmp_path)
    assert found == [(inside.rpartition("/")[2], inside, content) for inside, content in files.items()]


@pytest.mark.parametrize("packer", [packer for packer in PACKERS if packer != "tar ustar"])
def test_a_name_may_be_long(packer: str, tmp_path: Path) -> None:
    assert read(PACKERS[packer]({LONG: ROWS}), tmp_path) == [("Bücher 2024.csv", LONG, ROWS)]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("orders.csv.gz", "orders.csv"),
        ("orders.csv.GZIP", "orders.csv"),
        ("orders", "orders"),
        (".gz", ".gz"),
        ("orders.gz.gz", "orders.gz"),
    ],
)
def test_the_content_of_a_gzip_is_named_after_it(name: str, inside: str, tmp_path: Path) -> None:
    assert read(gzip.compress(ROWS), tmp_path, name) == [(inside, inside, ROWS)]


@pytest.mark.parametrize(
    "archive",
    [
        gzip.compress(ROWS[:10]) + gzip.compress(b"") + gzip.compress(ROWS[10:]),
        gzip.compress(ROWS) + bytes(1000),
        gzip.compress(ROWS[:10]) + bytes(3) + gzip.compress(ROWS[10:]),
    ],
    ids=["several parts", "padded with zeros", "zeros between parts"],
)
def test_what_gzip_allows_is_read(archive: bytes, tmp_path: Path) -> None:
    assert read(archive, tmp_path)[0][2] == ROWS


@pytest.mark.parametrize(
    "archive",
    [
        ORDERS + END,
        ORDERS + END + bytes(9216),
        tar_header("empty", type=tarfile.DIRTYPE) + ORDERS + END,
        tar_header("orders.csv", type=tarfile.AREGTYPE, size=len(ROWS)) + block(ROWS) + END,
        pax_header(b"19 comment=of git\n\n", tarfile.XGLTYPE) + ORDERS + END,
        pax_header(b"12 size=%03d\n" % len(ROWS)) + tar_header("orders.csv", size=0) + block(ROWS) + END,
        pax_header(b"13 mtime=1.5\n") + ORDERS + END,
        zipped({"empty/": b"", "orders.csv": ROWS}),
        zipped({"orders.csv": ROWS}, external_attr=(stat.S_IFREG | 0o777) << 16),
    ],
    ids=[
        "tar of two end blocks",
        "tar padded",
        "tar with a folder",
        "old tar",
        "tar of git",
        "size in the pax header",
        "other pax header",
        "zip with a folder",
        "zip with a mode",
    ],
)
def test_what_other_programs_write_is_read(archive: bytes, tmp_path: Path) -> None:
    assert read(archive, tmp_path) == [("orders.csv", "orders.csv", ROWS)]


@pytest.mark.parametrize(
    ("written", "inside"), [("größe.csv".encode(), "größe.csv"), ("größe.csv".encode("cp437"), "größe.csv")]
)
def test_a_zip_name_without_a_flag_is_utf_8_or_code_page_437(written: bytes, inside: str, tmp_path: Path) -> None:
    archive = patched(zipped({"_" * len(written): ROWS}), b"_" * len(written), written)
    assert read(archive, tmp_path) == [(inside, inside, ROWS)]


def test_a_zip_may_state_its_members_in_64_bits(tmp_path: Path) -> None:
    archive = zipped({"a": ROWS, "b": ROWS})
    end = archive.rindex(b"PK\5\6")
    count, listed_bytes, listed_at = struct.unpack_from("<H2L", archive, end + 10)
    for stated in (count, count + 1):
        end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, stated, stated, listed_bytes, listed_at)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        large = archive[:end] + end_64 + locator + b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
        if stated == count:
            assert len(read(large, tmp_path)) == count
        else:
            assert "its end says 3" in refusal(large, tmp_path)


@pytest.mark.parametrize("packer", ["tar pax", "tar.gz", "zip deflated"])
def test_what_macos_adds_is_passed_over(packer: str, tmp_path: Path) -> None:
    junk = {"__MACOSX/daily/._orders.csv": b"x", "daily/.DS_Store": b"x" * 700, "._orders.csv": b"\x1f\x8b"}
    assert [name for name, _, _ in read(PACKERS[packer](junk | {"daily/orders.csv": ROWS}), tmp_path)] == ["orders.csv"]
    assert refusal(PACKERS[packer](junk), tmp_path) == "it holds no file"


@pytest.mark.parametrize(
    ("content", "kind", "other"),
    [
        (gzip.compress(ROWS), "gzip", ""),
        (tar_gz({"a": ROWS}), "tar.gz", ""),
        (gzip.compress(tar({"a": ROWS})[:600])[:-9], "tar.gz", ""),
        (tar_gz({"a": ROWS})[:25], "gzip", ""),
        (tar({"a": ROWS}), "tar", ""),
        (tar({"a": ROWS}, tar_format=tarfile.GNU_FORMAT), "tar", ""),
        (zipped({"a": ROWS}), "zip", ""),
        (zipped({}), "zip", ""),
        (bz2.compress(ROWS), "", "bzip2"),
        (bz2.compress(b""), "", "bzip2"),
        (lzma.compress(ROWS), "", "xz"),
        (b"(\xb5/\xfd\4", "", "zstd"),
        (b"7z\xbc\xaf'\x1c\0\4", "", "7z"),
        (b"Rar!\x1a\x07\x01\0", "", "rar"),
        (ROWS, "", ""),
        (b"BZh,amount\n", "", ""),
        (b"PK,amount\n", "", ""),
        (b"x" * 257 + b"ustar,amount\n", "", ""),
        (b"", "", ""),
    ],
)
def test_an_archive_is_known_by_its_content(content: bytes, kind: str, other: str) -> None:
    source = io.BytesIO(content)
    source.seek(min(3, len(content)))
    assert (is_archive(source), source.tell()) == (kind, 0)
    assert (unsupported(source), source.tell()) == (other, 0)


def test_the_files_are_private_and_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    with unpacked(io.BytesIO(zipped({"a/x.csv": ROWS, "b/x.csv": ROWS})), "a.zip", folder) as members:
        for member in members:
            assert stat.S_IMODE(member.path.stat().st_mode) == 0o600
            assert stat.S_IMODE(member.path.parent.stat().st_mode) == 0o700
            assert member.path.parent.parent == folder
            assert "x.csv" not in str(member.path)
    assert not list(folder.iterdir())


def test_what_a_killed_process_unpacked_goes_and_what_a_living_one_does_stays(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, living = (tmp_path / f"unpacked-{pid}-x" for pid in (gone.pid, os.getpid()))
    for folder in (left, living):
        folder.mkdir()
        (folder / "000001").write_bytes(ROWS)
    with unpacked(io.BytesIO(gzip.compress(ROWS)), "a.gz", tmp_path):
        assert not left.exists()
        assert living.exists()


@pytest.mark.parametrize("error", [EOFError, zipfile.BadZipFile, OSError])
def test_an_error_of_the_caller_is_not_taken_for_one_of_the_archive(error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error), unpacked(io.BytesIO(gzip.compress(ROWS)), "a.gz", tmp_path):
        raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("packer", PACKERS)
def test_a_disk_that_takes_no_more_is_no_fault_of_the_archive(packer: str, tmp_path: Path) -> None:
    archive = PACKERS[packer]({"a": random.Random(1).randbytes(100_000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            read(archive, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("packer", PACKERS)
def test_progress_tells_how_much_of_the_archive_is_read(packer: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    archive = PACKERS[packer]({name: random.Random(name).randbytes(3 << 20) for name in "ab"})
    with unpacked(io.BytesIO(archive), "a", tmp_path, progress=lambda *step: told.append(step)):
        read_so_far = [done for done, _ in told]
    assert {total for _, total in told} == {len(archive)}
    assert read_so_far == sorted(read_so_far)
    assert len(set(read_so_far)) >= 6
    assert 0.99 * len(archive) < read_so_far[-1] <= len(archive)


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\:")
NAMES = st.lists(
    st.text(CHARACTERS, min_size=1, max_size=20).filter(
        lambda part: part not in (".", "..", ".DS_Store", "__MACOSX") and not part.startswith("._")
    ),
    min_size=1,
    max_size=3,
).map("/".join)
CONTENTS = st.one_of(st.binary(max_size=2000), st.binary(min_size=1, max_size=40).map(lambda part: part * 500))


def no_archive(content: bytes) -> bool:
    source = io.BytesIO(content)
    return not is_archive(source) and not unsupported(source)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, CONTENTS.filter(no_archive), min_size=1, max_size=5), st.sampled_from(sorted(PACKERS)))
def test_any_files_packed_in_any_way_come_back_unchanged(files: Files, packer: str) -> None:
    if packer == "tar ustar":
        packer = "tar gnu"  # ustar cannot say every name
    with tempfile.TemporaryDirectory() as folder:
        assert {inside: content for _, inside, content in read(PACKERS[packer](files), Path(folder))} == files


@settings(max_examples=60, deadline=None)
@given(st.lists(CONTENTS, min_size=1, max_size=4), st.integers(0, 600))
def test_any_content_in_any_parts_of_a_gzip_comes_back_unchanged(parts: Sequence[bytes], zeros: int) -> None:
    if not no_archive(b"".join(parts)):
        return
    with tempfile.TemporaryDirectory() as folder:
        found = read(b"".join(map(gzip.compress, parts)) + bytes(zeros), Path(folder))
    assert found[0][2] == b"".join(parts)
