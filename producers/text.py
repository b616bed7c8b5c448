"""A file's bytes as UTF-8, whatever its encoding, from the line where its data begin."""

from __future__ import annotations

import codecs

from producers.rows import BOM, CHUNK_BYTES, ByteSource, UnreadableFile

_MARK = 0xDC00
_LOST = "\udcff"


def _keep_undecodable(problem: UnicodeError) -> tuple[str, int]:
    """Bytes that are no text in their encoding become bytes that are none in UTF-8: the row that holds them is refused
    where it stands, with what it held. A byte that would be a letter in UTF-8 is marked."""
    assert isinstance(problem, UnicodeDecodeError)
    kept = (
        chr(_MARK + byte) if byte >= 0x80 else _LOST + chr(byte) for byte in problem.object[problem.start : problem.end]
    )
    return "".join(kept), problem.end


codecs.register_error("headrace.keep", _keep_undecodable)


class Utf8Reader:
    """Reads a source in an encoding as UTF-8. The same bytes give the same text, however they are cut."""

    def __init__(self, source: ByteSource, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("headrace.keep")

    def read(self, size: int, /) -> bytes:
        """About `size` bytes; empty at the end. UnreadableFile: UTF-16 or UTF-32 without a byte order mark."""
        while True:
            piece = self._source.read(size)
            try:
                text = self._decoder.decode(piece, final=not piece).encode("utf-8", "surrogateescape")
            except UnicodeError as problem:
                # Bytes that are no text are kept; this says that the encoding itself cannot be told.
                raise UnreadableFile(f"it is not {self._encoding}: {problem}") from None
            if text or not piece:
                return text


class Pushback:
    """A source with text put back in front of it."""

    def __init__(self, text: bytes, source: ByteSource) -> None:
        self._text = text
        self._source = source

    def read(self, size: int, /) -> bytes:
        """What was put back first; then the source."""
        if not self._text:
            return self._source.read(size)
        piece, self._text = self._text[:size], self._text[size:]
        return piece


def as_utf8(source: ByteSource, encoding: str) -> ByteSource:
    """The source itself if it is UTF-8 by declaration: whether it is, the streaming job judges row by row."""
    return source if encoding == "utf-8" else Utf8Reader(source, encoding)


def skip_lines(source: ByteSource, lines: int) -> ByteSource:
    """What follows the first `lines` physical lines."""
    rest = b""
    while lines:
        rest = rest or source.read(CHUNK_BYTES)
        if not rest:
            break
        end = rest.find(b"\n") + 1
        rest = rest[end:] if end else b""
        lines -= bool(end)
    return Pushback(rest, source)


def first_line(source: ByteSource, limit: int) -> tuple[bytes, ByteSource]:
    """The first line that is not blank, as far as `limit` bytes show it, and the source as it was."""
    text = b""
    while len(text) < limit and b"\n" not in text.removeprefix(BOM).lstrip(b"\r\n"):
        piece = source.read(CHUNK_BYTES)
        if not piece:
            break
        text += piece
    return text.removeprefix(BOM).lstrip(b"\r\n").split(b"\n", 1)[0][:limit], Pushback(text, source)
