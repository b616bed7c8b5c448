"""JSON as lines or as one array: where each value begins and ends, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

from producers.rows import BOM, CHUNK_BYTES, ROW_LIMIT_BYTES, ByteSource, Rows, split_lines, unsplit
from producers.text import Pushback

_BLANK = b" \t\r\n"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_FLAT = rb'[{\[](?:[^"{}\[\]]++|' + _STRING + rb")*+[}\]]"
_NESTED = rb'[{\[](?:[^"{}\[\]]++|' + _STRING + b"|" + _FLAT + rb")*+[}\]]"
_DEEP = rb'[{\[](?:[^"{}\[\]]++|' + _STRING + b"|" + _NESTED + rb")*+[}\]]"
_WHOLE_ELEMENT = re.compile(rb"[ \t\r\n]*+(" + _DEEP + rb")[ \t\r\n]*+([,\]])", re.DOTALL)
"""Most elements in one step; `_ElementScan` finds the same ends for any other."""


class _ElementScan:
    """Finds where an element of the array ends, over as many calls as it has chunks: at a comma or a closing bracket
    outside strings and nested values."""

    _structure = re.compile(rb'["{}\[\],]')
    _in_string = re.compile(rb'["\\]')

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def end(self, text: bytes, at: int) -> int:
        """Where that comma or bracket stands, or -1 if the text ends first."""
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (self._in_string if self._quoted else self._structure).search(text, at)
            if not found:
                return -1
            at = found.end()
            mark = found[0]
            if self._quoted:
                self._quoted = mark == b"\\"
                self._escaped = mark == b"\\"
            elif mark == b'"':
                self._quoted = True
            elif mark in b"{[":
                self._depth += 1
            elif self._depth:
                self._depth -= mark in b"}]"
            elif mark in b",]":
                return found.start()
        return -1


def split_json(source: ByteSource, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Rows]:
    """Give every value, in order and in memory that does not grow with the file.

    A file whose first byte is `[` is one array: its elements come as they stand, counted from 1. Any other file has
    one value a line; blank lines are no rows. A tail that is no element (an array cut short, text behind its end),
    an element that is missing (the mark before it stands for it) and values too long for a record come as `unsplit`.
    """
    text = b""
    while True:
        chunk = source.read(chunk_bytes)
        text += chunk
        if len(text) < len(BOM) and chunk:
            continue
        start = text.removeprefix(BOM)
        if start.strip(_BLANK) or not chunk:
            break
    if start.lstrip(_BLANK).startswith(b"["):
        yield from _array(start[start.index(b"[") + 1 :], source, chunk_bytes)
    else:
        yield from split_lines(Pushback(start, source), "json", blank=_BLANK, chunk_bytes=chunk_bytes)


def _array(text: bytes, source: ByteSource, chunk_bytes: int) -> Iterator[Rows]:
    ordinal, closed, separator = 1, False, b"["
    while True:
        lines: list[int] = []
        values: list[bytes] = []
        at = 0
        while not closed and at < len(text):
            element = _WHOLE_ELEMENT.match(text, at)
            if element:
                value, end = element[1], element.end() - 1
            else:
                end = _ElementScan().end(text, at)
                if end < 0:
                    break
                value = text[at:end].strip(_BLANK)
            mark = text[end : end + 1]
            missing = not value and (ordinal > 1 or mark == b",")
            if missing or len(value) > ROW_LIMIT_BYTES:
                yield from _some(lines, values)
                lines, values = [], []
                yield unsplit(value or separator, ordinal, physical=False)
            elif value:
                lines.append(ordinal)
                values.append(value)
            separator = mark
            closed = separator == b"]"
            ordinal += 1
            at = end + 1
        yield from _some(lines, values)
        text = text[at:]
        if len(text) > ROW_LIMIT_BYTES:
            text, separator = yield from _long_element(text, ordinal, source, chunk_bytes, closed)
            closed = separator == b"]"
            ordinal += 1
        chunk = source.read(chunk_bytes)
        if not chunk:
            yield from _tail(text, ordinal, closed, separator)
            return
        text += chunk


def _some(lines: list[int], values: list[bytes]) -> Iterator[Rows]:
    if values:
        yield Rows("json", lines, values)


def _tail(text: bytes, ordinal: int, closed: bool, separator: bytes) -> Iterator[Rows]:
    """What stands behind the last element. An array cut right behind a separator leaves the separator as its trace."""
    if not text.strip(_BLANK):
        text = b"" if closed else separator
    if text:
        yield unsplit(text, ordinal, physical=False)


def _long_element(
    text: bytes, ordinal: int, source: ByteSource, chunk_bytes: int, closed: bool
) -> Generator[Rows, None, tuple[bytes, bytes]]:
    """Pass on a value longer than a record; returns what follows it and the mark that ended it."""
    scan = _ElementScan()
    while text:
        end = -1 if closed else scan.end(text, 0)
        yield unsplit(text if end < 0 else text[:end], ordinal, physical=False)
        if end >= 0:
            return text[end + 1 :], text[end : end + 1]
        text = source.read(chunk_bytes)
    return b"", b"]"
