"""The beginning and the end of a file as text: looks inside gzip and zip and finds the encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import Fatal
from producers.rows import ByteSource

HEAD_LIMIT_BYTES = 32 << 20
TAIL_BYTES = 1 << 20
PARQUET_LIMIT_BYTES = 256 << 20
PARQUET_MAGIC = b"PAR1"
_CHUNK_BYTES = 1 << 20
_OTHER_COMPRESSION = {b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-zip"}
_BOMS = (
    # UTF-32 first: its mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """`head` is cut anywhere unless `whole`; `tail` begins behind it, at the start of a line, and may be empty.

    `encoding` is a Python codec; `encoding_guess` says why, empty if the bytes left no choice.
    """

    name: str
    head: str
    tail: str
    whole: bool
    encoding: str = "utf-8"
    encoding_guess: str = ""


@contextmanager
def unpacked(file: Path) -> Iterator[tuple[str, ByteSource]]:
    """Name and bytes of a file, taken out of gzip or a zip of one member; the name is that by which `push` knows it.

    Raises:
        Fatal: it cannot be read or unpacked, in here or while the caller reads.
    """
    try:
        with file.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            other = next((name for mark, name in _OTHER_COMPRESSION.items() if magic.startswith(mark)), None)
            if other:
                raise Fatal(f"{file.name} is {other}, which is not unpacked", next_step="gzip it, or unpack it first")
            if magic.startswith(b"\x1f\x8b"):
                with gzip.open(raw) as inner:
                    yield re.sub(r"(?<=.)\.gz(?:ip)?\Z", "", file.name, flags=re.IGNORECASE | re.DOTALL), inner
            elif magic.startswith(b"PK\x03\x04"):
                with zipfile.ZipFile(raw) as archive:
                    members = [member for member in archive.infolist() if not _is_extra(member)]
                    if len(members) != 1:
                        raise Fatal(f"{file.name} is a zip of {len(members)} files", next_step="unpack it first")
                    with archive.open(members[0]) as inner:
                        yield members[0].filename.rpartition("/")[2], inner
            else:
                yield file.name, raw
    except OSError as problem:
        raise Fatal(f"{file.name} cannot be read: {problem.strerror or problem}") from problem
    except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as problem:
        raise Fatal(f"{file.name} cannot be unpacked: {problem}", next_step="look whether it is whole") from problem


def _is_extra(member: zipfile.ZipInfo) -> bool:
    """A folder, or what macOS adds."""
    return member.is_dir() or member.filename.startswith("__MACOSX/") or member.filename.endswith("/.DS_Store")


def parquet_bytes(file: Path) -> io.BytesIO | Path | None:
    """Where pyarrow can read it, if the file, unpacked, is Parquet; else None."""
    with unpacked(file) as (_, source):
        if source.read(len(PARQUET_MAGIC)) != PARQUET_MAGIC:
            return None
        if isinstance(source, io.BufferedReader):
            return file
        packed = PARQUET_MAGIC + source.read(PARQUET_LIMIT_BYTES)
    if len(packed) > PARQUET_LIMIT_BYTES:
        raise Fatal(
            f"{file.name} is more than {PARQUET_LIMIT_BYTES >> 20} MiB of packed Parquet", next_step="unpack it"
        )
    return io.BytesIO(packed)


def read_sample(file: Path, rows: int) -> Sample:
    """The first lines of a text file, at least `rows` if there are as many in 32 MiB; the end too where one can seek.

    Raises:
        Fatal: it cannot be read, is empty or is no text.
    """
    with unpacked(file) as (name, source):
        head, whole = _read_head(source, rows)
        tail = b""
        if not whole and isinstance(source, io.BufferedReader):
            size = source.seek(0, io.SEEK_END)
            # A multiple of 4, so that no code unit of UTF-16 or UTF-32 is cut.
            source.seek(max((len(head) + 3) & ~3, (size - TAIL_BYTES) & ~3))
            tail = source.read(TAIL_BYTES + 4)
    encoding, codec, guess = _encoding(head, tail)
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head, final=whole).removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        raise Fatal(f"{file.name} is not text in {encoding}: {problem.reason} at byte {problem.start}") from problem
    if not text.strip():
        raise Fatal(f"{file.name} is empty", next_step="a file with rows")
    if "\0" in text:
        raise Fatal(f"{file.name} is no text: it holds NUL characters", next_step="CSV, JSON, Parquet or an access log")
    end = tail.decode(codec, errors="replace").partition("\n")[2]
    return Sample(name, text, end, whole, encoding, guess)


def _read_head(source: ByteSource, rows: int) -> tuple[bytes, bool]:
    head = source.read(_CHUNK_BYTES)
    lines = head.count(b"\n")
    is_array = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["
    while len(head) < HEAD_LIMIT_BYTES and (is_array or lines <= rows):
        chunk = source.read(_CHUNK_BYTES)
        if not chunk:
            return head, True
        head += chunk
        lines += chunk.count(b"\n")
    return head, not source.peek(1) if isinstance(source, io.BufferedReader) else False


def _encoding(head: bytes, tail: bytes) -> tuple[str, str, str]:
    """What the contract says, the codec that decodes here, and why if it is a guess."""
    for mark, encoding, codec in _BOMS:
        if head.startswith(mark):
            return encoding, codec, ""
    start = head[:4096]
    if start.count(0):
        even, odd = start[::2].count(0), start[1::2].count(0)
        if max(even, odd) > len(start) // 8 and min(even, odd) * 8 < max(even, odd):
            codec = "utf-16-le" if odd > even else "utf-16-be"
            return codec, codec, "every other byte is mostly NUL"
    for encoding, why in (("utf-8", ""), ("cp1252", "it is not UTF-8"), ("latin-1", "neither UTF-8 nor cp1252")):
        if _decodes(head, encoding) and _decodes(tail.partition(b"\n")[2], encoding):
            return encoding, encoding, why
    raise AssertionError("latin-1 decodes anything")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
