"""The beginning and the end of a file as text, in the encoding that it is found to have."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import Fatal

HEAD_LIMIT_BYTES = 32 << 20
TAIL_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
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


def read_sample(file: Path, name: str, rows: int) -> Sample:
    """The first lines of the text file `name` at `file`, at least `rows` if 32 MiB hold as many; and its end.

    Raises:
        Fatal: it cannot be read, is empty or is no text.
    """
    with file.open("rb") as source:
        head, whole = _read_head(source, rows)
        tail = b""
        if not whole:
            size = source.seek(0, io.SEEK_END)
            # A multiple of 4, so that no code unit of UTF-16 or UTF-32 is cut.
            source.seek(max((len(head) + 3) & ~3, (size - TAIL_BYTES) & ~3))
            tail = source.read(TAIL_BYTES + 4)
    encoding, codec, guess = _encoding(head, tail)
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head, final=whole).removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        raise Fatal(f"{name} is not text in {encoding}: {problem.reason} at byte {problem.start}") from problem
    if not text.strip():
        raise Fatal(f"{name} is empty", next_step="a file with rows")
    if "\0" in text:
        raise Fatal(f"{name} is no text: it holds NUL characters", next_step="CSV, JSON, Parquet or an access log")
    end = tail.decode(codec, errors="replace").partition("\n")[2]
    return Sample(name, text, end, whole, encoding, guess)


def _read_head(source: io.BufferedReader, rows: int) -> tuple[bytes, bool]:
    head = source.read(_CHUNK_BYTES)
    lines = head.count(b"\n")
    is_array = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"["
    while len(head) < HEAD_LIMIT_BYTES and (is_array or lines <= rows):
        chunk = source.read(_CHUNK_BYTES)
        if not chunk:
            return head, True
        head += chunk
        lines += chunk.count(b"\n")
    return head, not source.peek(1)


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
