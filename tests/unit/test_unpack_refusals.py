"""An archive that is damaged, dangerous or beyond the limits is refused with the reason; nothing of it stays behind."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from producers.unpack import ArchiveRefused, UnpackLimits
from tests.unit.archives import (
    END,
    ORDERS,
    PACKERS,
    ROWS,
    block,
    central,
    patched,
    pax_header,
    read,
    refusal,
    tar,
    tar_header,
    zipped,
)


def link(kind: bytes, target: str = "") -> bytes:
    return tar({"docs/x": b""}, type=kind, linkname=target)


DAMAGED = {
    "a symbolic link": (link(tarfile.SYMTYPE, "/etc/passwd"), "a symbolic link: docs/x -> /etc/passwd"),
    "a hard link": (link(tarfile.LNKTYPE, "docs/y"), "a hard link: docs/x -> docs/y"),
    "a device": (link(tarfile.CHRTYPE), "a device: docs/x"),
    "a block device": (link(tarfile.BLKTYPE), "a device: docs/x"),
    "a pipe": (link(tarfile.FIFOTYPE), "a pipe: docs/x"),
    "an unknown type": (tar_header("docs/x", type=b"M") + END, "unknown type b'M': docs/x"),
    "a link that macOS would add": (tar({"._x": b""}, type=tarfile.SYMTYPE, linkname="y"), "a symbolic link: ._x -> y"),
    "a link in tar.gz": (gzip.compress(link(tarfile.SYMTYPE, "y")), "a symbolic link: docs/x -> y"),
    "a link in a zip": (zipped({"docs/x": b"/etc"}, external_attr=stat.S_IFLNK << 16), "a symbolic link: docs/x"),
    "a device in a zip": (zipped({"docs/x": b""}, external_attr=stat.S_IFCHR << 16), "a device or a pipe: docs/x"),
    "GNU sparse": (tar_header("x.csv", type=tarfile.GNUTYPE_SPARSE) + END, "a sparse file: x.csv"),
    "pax sparse": (pax_header(b"22 GNU.sparse.major=1\n") + ORDERS + END, "a sparse file: orders.csv"),
    "absolute in tar": (tar({"/etc/x": b""}), "absolute name: /etc/x"),
    "absolute in zip": (zipped({"/etc/x": b""}), "absolute name: /etc/x"),
    "an absolute folder": (zipped({"/etc/": b"", "a": b""}), "absolute name: /etc/"),
    "a way out of a tar": (tar({"a/../../x": b""}), "leads out of the archive: a/../../x"),
    "a way out of a zip": (zipped({"../x": b""}), "leads out of the archive: ../x"),
    "a way out for junk": (zipped({"../._x": b""}), "leads out of the archive: ../._x"),
    "a drive in tar": (tar({"C:x": b""}), "absolute name: C:x"),
    "a drive in zip": (zipped({"c:/x": b""}), "absolute name: c:/x"),
    "a backslash in tar": (tar({"a\\x": b""}), "a backslash in its name: a\\x"),
    "a backslash in zip": (zipped({"a\\x": b""}), "a backslash in its name: a\\x"),
    "NUL in a pax name": (pax_header(b"12 path=a\0b\n") + ORDERS + END, "a NUL in its name: a\\x00b"),
    "NUL in a long name": (
        tar_header("l", type=tarfile.GNUTYPE_LONGNAME, size=4) + block(b"a\0b\0") + ORDERS + END,
        "a NUL in its name: a\\x00b",
    ),
    "NUL in a zip": (patched(zipped({"a_b.csv": b""}), b"a_b.csv", b"a\0b.csv"), "a NUL in its name: a\\x00b.csv"),
    "Latin-1 in tar": (tar({"gr\udcf6ße": b""}, tar_format=tarfile.GNU_FORMAT), "not UTF-8: gr\\udcf6\\xdfe"),
    "Latin-1 in pax": (pax_header(b"10 path=\xf6\n") + ORDERS + END, "not UTF-8: \\udcf6"),
    "Latin-1 in zip": (patched(zipped({"ö.csv": b""}), "ö".encode(), b"\xf6_"), "not UTF-8"),
    "a line break in a bad name": (tar({"/a\nb": b""}), "absolute name: /a\\nb"),
    "a name without an end": (
        pax_header(b"11 path=a/\n") + ORDERS + END,
        "without a name: a/",
    ),
    "an archive in a tar": (tar({"a.csv": ROWS, "b.csv": zipped({"x": b""})}), "another archive: b.csv (zip)"),
    "an archive in a zip": (zipped({"b.csv": gzip.compress(b"")}), "another archive: b.csv (gzip)"),
    "a tar in a zip": (zipped({"b.csv": tar({"x": ROWS})}), "another archive: b.csv (tar)"),
    "a tar in a bzip2 zip": (zipped({"b": tar({"x": ROWS})}, zipfile.ZIP_BZIP2), "another archive: b (tar)"),
    "a gzip in a gzip": (gzip.compress(gzip.compress(ROWS)), "another archive: archive (gzip)"),
    "a zip in a gzip": (gzip.compress(zipped({"x": ROWS})), "another archive: archive (zip)"),
    "an xz in a zip": (zipped({"b.csv": lzma.compress(ROWS)}), "another archive: b.csv (xz)"),
    "a bzip2 in a zip": (zipped({"b.csv": bz2.compress(ROWS)}), "another archive: b.csv (bzip2)"),
    "one name twice in tar": (ORDERS + ORDERS + END, "two members of one name: orders.csv"),
    "one name in two spellings": (zipped({"a/x": b"", "./a//x": b""}), "two members of one name: ./a//x"),
    "an empty zip": (zipped({}), "it holds no file"),
    "a zip of folders": (zipped({"a/": b""}), "it holds no file"),
    "a tar of folders": (tar_header("a", type=tarfile.DIRTYPE) + END, "it holds no file"),
    "bytes after a gzip": (gzip.compress(ROWS) + b"garbage", "other bytes follow its end"),
    "one byte after a gzip": (gzip.compress(ROWS) + b"x", "other bytes follow its end"),
    "a wrong gzip checksum": (gzip.compress(ROWS)[:-8] + bytes(4) + gzip.compress(ROWS)[-4:], "it is damaged"),
    "a wrong gzip size": (gzip.compress(ROWS)[:-1] + b"\1", "it is damaged"),
    "another gzip method": (b"\x1f\x8b\x07" + gzip.compress(ROWS)[3:], "it is damaged"),
    "bytes before a zip": (
        zipped({"a": ROWS}, zipfile.ZIP_STORED)[:36] + zipped({"b": ROWS}),
        "before its first member",
    ),
    "bytes after a zip": (zipped({"a": ROWS}) + b"garbage", "other bytes follow its end"),
    "a cut comment": (zipped({"a": ROWS}, comment=b"nightly")[:-1], "other bytes follow its end"),
    "a zip without its list": (zipped({"a": ROWS})[:40], "cut off"),
    "a wrong zip checksum": (central(zipped({"a": ROWS}), 16, b"1234"), "damaged at a"),
    "a wrong bzip2 zip checksum": (central(zipped({"a": ROWS}, zipfile.ZIP_BZIP2), 16, b"1234"), "damaged at a"),
    "a size too small": (central(zipped({"a": ROWS}), 24, b"\5\0\0\0"), "damaged at a"),
    "a size too large": (central(zipped({"a": ROWS}), 24, b"\xff\0\0\0"), "damaged at a"),
    "a size too large for lzma": (central(zipped({"a": ROWS}, zipfile.ZIP_LZMA), 24, b"\xff\0\0\0"), "damaged at a"),
    "a name that begins with NUL": (patched(zipped({"_": ROWS}), b"_", b"\0"), "a NUL in its name: \\x00"),
    "a member that hides in a comment": (
        (both := zipped({"a": ROWS, "b": ROWS}))[: both.index(b"PK\1\2") + 32]
        + struct.pack("<H", both.index(b"PK\5\6") - both.rindex(b"PK\1\2"))
        + both[both.index(b"PK\1\2") + 34 :],
        "its list has 1 members, its end says 2",
    ),
    "an encrypted member": (central(zipped({"a": ROWS}), 8, b"\1\0"), "it is encrypted: a"),
    "a strongly encrypted member": (central(zipped({"a": ROWS}), 8, b"\x40\0"), "it is encrypted: a"),
    "an unknown method": (central(zipped({"a": ROWS}), 10, b"\x5d\0"), "a is packed in a way that is not read"),
    "a later zip version": (central(zipped({"a": ROWS}), 6, b"\xff\0"), "zip file version"),
    "other names in list and header": (central(zipped({"a": ROWS}), 46, b"b"), "damaged at b"),
    "a member behind the end": (
        (two := zipped({"a": ROWS, "b": ROWS}))[: two.rindex(b"PK\1\2") + 42]
        + b"\xf0\xff\xff\x7f"
        + two[two.rindex(b"PK\1\2") + 46 :],
        "b lies behind its end",
    ),
    "a folder with content": (central(zipped({"a/": b""}), 24, b"\5\0\0\0"), "the folder a/ has content"),
    "broken bzip2": (patched(zipped({"a": ROWS}, zipfile.ZIP_BZIP2), b"1AY&SY", b"1AY&SX"), "damaged at a"),
    "broken deflate": (patched(zipped({"a": ROWS * 9}), zipped({"a": ROWS * 9})[31:36], b"\xff" * 5), "damaged at a"),
    "a tar without end blocks": (ORDERS, "it is cut off"),
    "a tar with one end block": (ORDERS + bytes(512), "it is cut off"),
    "a tar cut within a file": (ORDERS[:520], "it is cut off within orders.csv"),
    "two tars in one": (ORDERS + END + tar_header("b") + END, "it goes on after its end"),
    "an empty block within a tar": (ORDERS + bytes(512) + tar_header("b") + END, "an empty block"),
    "a broken tar header": (ORDERS + patched(tar_header("b.csv"), b"b.csv", b"c.csv") + END, "damaged: bad checksum"),
    "a negative tar size": (tar_header("a", size=-512) + END, "the size of a is no number of bytes"),
    "a pax size that is no number": (pax_header(b"11 size=-1\n") + ORDERS + END, "is no number of bytes"),
    "a huge tar size": (tar_header("a", size=2**60) + END, "it is cut off within a"),
    "a huge pax header": (tar_header("p", type=tarfile.XHDTYPE, size=2**40) + END, "a header of"),
    "a negative long name": (tar_header("p", type=tarfile.GNUTYPE_LONGNAME, size=-1) + END, "a header of -1"),
    "a broken pax header": (pax_header(b"99 path=x\n") + ORDERS + END, "an extended header cannot be read"),
    "a pax record of length 0": (pax_header(b"0 path=x\n") + ORDERS + END, "an extended header cannot be read"),
    "a pax header of digits": (pax_header(b"1" * 10**6) + ORDERS + END, "an extended header cannot be read"),
    "a pax header of nothing": (ORDERS + pax_header(b"12 path=abc\n") + END, "damaged"),
    "one name for all": (pax_header(b"12 path=abc\n", tarfile.XGLTYPE) + ORDERS + END, "one name or one size"),
    "thousands of long names": (
        (tar_header("l", type=tarfile.GNUTYPE_LONGNAME, size=2) + block(b"x\0")) * 3000 + END,
        "damaged",
    ),
    "a text": (ROWS, "it is no archive"),
    "nothing": (b"", "it is no archive"),
    "bzip2": (bz2.compress(ROWS), "packed with bzip2"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_it_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    archive, reason = DAMAGED[case]
    assert reason in refusal(archive, tmp_path)


@pytest.mark.parametrize("packer", [packer for packer in PACKERS if packer.startswith("zip")])
def test_the_bytes_of_all_members_together_are_limited(packer: str, tmp_path: Path) -> None:
    archive = PACKERS[packer]({"a": ROWS, "b": ROWS})
    assert len(read(archive, tmp_path, limits=UnpackLimits(bytes=2 * len(ROWS)))) == 2
    assert "more than" in refusal(archive, tmp_path, UnpackLimits(bytes=2 * len(ROWS) - 1))


def test_the_headers_of_a_tar_count_as_bytes(tmp_path: Path) -> None:
    folders = gzip.compress(tar_header("a", type=tarfile.DIRTYPE) * 10_000 + ORDERS + END)
    assert "more than 4096000 bytes" in refusal(folders, tmp_path, UnpackLimits(bytes=4_096_000))
    assert "more than 4096000 bytes" in refusal(
        gzip.compress(ORDERS + bytes(5_000_000)), tmp_path, UnpackLimits(bytes=4_096_000)
    )


@pytest.mark.parametrize("packer", PACKERS)
def test_the_number_of_members_is_limited(packer: str, tmp_path: Path) -> None:
    archive = PACKERS[packer]({f"{number}.csv": ROWS for number in range(4)} | {"._x": b""})
    assert len(read(archive, tmp_path, limits=UnpackLimits(members=4))) == 4
    assert refusal(archive, tmp_path, UnpackLimits(members=3)) == "it holds more than 3 files"


@pytest.mark.parametrize("packer", ["tar.gz", "zip deflated", "zip bzip2", "zip lzma"])
def test_a_bomb_is_refused_by_its_ratio_and_memory_stays_flat(packer: str, tmp_path: Path) -> None:
    bomb = PACKERS[packer]({"a": bytes(120 << 20)})
    tracemalloc.start()
    assert "times its" in refusal(bomb, tmp_path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 16 << 20


def test_entries_that_share_their_bytes_are_counted_each_time(tmp_path: Path) -> None:
    one = zipped({"a": bytes(1 << 20)})
    start = one.rindex(b"PK\1\2")
    listed = one[start : one.rindex(b"PK\5\6")]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 50, 50, 50 * len(listed), start, 0)
    assert "two members" in refusal(one[:start] + listed * 50 + end, tmp_path)
    assert "more than" in refusal(one[:start] + listed * 50 + end, tmp_path, UnpackLimits(bytes=1 << 19))


def test_a_list_of_members_beyond_any_honest_one_is_not_read(tmp_path: Path) -> None:
    many = zipped({"a": ROWS}, extra=b"\xfe\xca\xf0\xff" + bytes(65520))
    start, stop = many.rindex(b"PK\1\2"), many.rindex(b"PK\5\6")
    listed = many[start:stop] * 300
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 300, 300, len(listed), start, 0)
    assert "its list of members takes" in refusal(many[:start] + listed + end, tmp_path)


TWO = {"daily/orders.csv": ROWS * 3, "b.csv": random.Random(2).randbytes(700)}


@pytest.mark.parametrize("packer", [*PACKERS, "gzip", "zip of a zip"])
def test_an_archive_cut_at_any_byte_is_refused(packer: str, tmp_path: Path) -> None:
    archive = PACKERS[packer](TWO) if packer in PACKERS else gzip.compress(TWO["b.csv"])
    if packer == "zip of a zip":
        archive = zipped({"a.zip": zipped(TWO), "b.csv": ROWS}, zipfile.ZIP_STORED)
    # After the two empty blocks that end it, a tar has only zeros to lose.
    last = len(archive.rstrip(b"\0")) // 512 * 512 + 512 + 1024 if packer.startswith("tar ") else len(archive)
    for length in range(last):
        assert refusal(archive[:length], tmp_path)
    if packer.startswith("tar "):
        assert len(read(archive[:last], tmp_path)) == 2


@pytest.mark.parametrize("packer", [*PACKERS, "gzip"])
def test_a_changed_byte_gives_a_reason_or_harmless_members(packer: str, tmp_path: Path) -> None:
    archive = PACKERS[packer](TWO) if packer in PACKERS else gzip.compress(TWO["b.csv"])
    chance = random.Random(packer)
    for _ in range(400):
        changed = bytearray(archive)
        for _ in range(chance.choice([1, 1, 4])):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            found = read(bytes(changed), tmp_path)
        except ArchiveRefused:
            continue
        # A tar keeps no checksum of its contents: bytes may differ there.
        assert packer.startswith("tar ") or all(content in {*TWO.values()} for _, _, content in found)
    assert not list(tmp_path.iterdir())
