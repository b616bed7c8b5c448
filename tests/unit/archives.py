"""Archives as many programs write them, sound and damaged, and what comes of unpacking one."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.unpack import ArchiveRefused, UnpackLimits, unpacked

ROWS = b"id,amount\n1,2.50\n2,3.75\n"
Files = dict[str, bytes]


def tar(files: Files, mode: str = "w", tar_format: int = tarfile.PAX_FORMAT, **header: object) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode, format=tar_format) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in header.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def tar_gz(files: Files) -> bytes:
    return gzip.compress(tar(files), mtime=0)


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", **header: object) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            for field, value in header.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return target.getvalue()


def zip_with_descriptors(files: Files) -> bytes:
    """As a program writes it that cannot go back in its output: sizes stand behind each member."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("no position")

    target = Pipe()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def tar_header(name: str, **header: object) -> bytes:
    info = tarfile.TarInfo(name)
    for field, value in header.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def block(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax_header(payload: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return tar_header("pax", type=kind, size=len(payload)) + block(payload)


END = bytes(1024)
ORDERS = tar_header("orders.csv", size=len(ROWS)) + block(ROWS)


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def central(archive: bytes, offset: int, new: bytes) -> bytes:
    """The zip with other bytes in the first entry of its list of members."""
    at = archive.rindex(b"PK\x01\x02") + offset
    return archive[:at] + new + archive[at + len(new) :]


def read(
    archive: bytes, folder: Path, name: str = "archive", limits: UnpackLimits | None = None
) -> list[tuple[str, str, bytes]]:
    with unpacked(io.BytesIO(archive), name, folder, limits) as members:
        found = [(member.name, member.inside, member.path.read_bytes()) for member in members]
    assert not list(folder.iterdir())
    return found


def refusal(archive: bytes, folder: Path, limits: UnpackLimits | None = None) -> str:
    with pytest.raises(ArchiveRefused) as refused:
        read(archive, folder, limits=limits)
    assert not list(folder.iterdir())
    return str(refused.value)


PACKERS: dict[str, Callable[[Files], bytes]] = {
    "tar ustar": lambda files: tar(files, tar_format=tarfile.USTAR_FORMAT),
    "tar gnu": lambda files: tar(files, tar_format=tarfile.GNU_FORMAT),
    "tar pax": tar,
    "tar.gz": tar_gz,
    "zip deflated": zipped,
    "zip stored": lambda files: zipped(files, zipfile.ZIP_STORED),
    "zip bzip2": lambda files: zipped(files, zipfile.ZIP_BZIP2),
    "zip lzma": lambda files: zipped(files, zipfile.ZIP_LZMA),
    "zip with a comment": lambda files: zipped(files, comment=b"nightly export"),
    "zip through a pipe": zip_with_descriptors,
}
