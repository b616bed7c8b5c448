"""Splitters: every byte of a file reaches Kafka once, in order, unaltered, however the reads cut it."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producers import rows, split_csv, split_json
from producers.rows import Rows

Event = tuple[str, int, bytes]

CSV_BYTES = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b"5 in", b" ", b"\xff", b"\xef\xbb\xbf"]),
    max_size=60,
).map(b"".join) | st.binary(max_size=200)
JSON_BYTES = st.lists(
    st.sampled_from([b'"', b'\\"', b"\\", b",", b"\n", b"{", b"}", b"[", b"]", b"a", b" ", b"\xff", b'{"a":1}']),
    max_size=60,
).map(b"".join)
CHUNKS = st.sampled_from([1, 2, 3, 7, 64, 1 << 20])


def csv_events(content: bytes, chunk_bytes: int = 1 << 20, delimiter: str = ",") -> list[Event]:
    return flat(split_csv.split_csv(io.BytesIO(content), split_csv.Dialect(delimiter), chunk_bytes=chunk_bytes))


def json_events(content: bytes, chunk_bytes: int = 1 << 20) -> list[Event]:
    return flat(split_json.split_json(io.BytesIO(content), chunk_bytes=chunk_bytes))


def flat(batches: object) -> list[Event]:
    found: list[Event] = []
    for batch in batches:  # type: ignore[attr-defined]
        assert isinstance(batch, Rows)
        found += [(batch.format, *pair) for pair in zip(batch.lines, batch.values, strict=True)]
    return found


def plain_csv(content: bytes) -> list[Event]:
    """RFC 4180 one byte at a time: slow, and simple enough to be believed."""
    content = content.removeprefix(rows.BOM)
    found: list[Event] = []
    line, begin, begin_line, quoted, field_start = 1, 0, 1, False, True
    at = 0
    while at < len(content):
        byte = content[at : at + 1]
        if quoted:
            if content[at : at + 2] == b'""':
                at += 1
            elif byte == b'"':
                quoted, field_start = False, False
        elif byte == b'"' and field_start:
            quoted = True
        else:
            field_start = byte in b",\n"
        line += byte == b"\n"
        if byte == b"\n" and not quoted:
            found.append(("csv", begin_line, content[begin:at].removesuffix(b"\r")))
            begin, begin_line = at + 1, line
        at += 1
    if quoted:
        found.append(("unsplit", begin_line, content[begin:]))
    else:
        found.append(("csv", begin_line, content[begin:].removesuffix(b"\r")))
    return [event for event in found if event[2]]


@settings(max_examples=60, deadline=None)
@given(CSV_BYTES, CHUNKS)
@example(b'a\n"x\n""y"\n5" pipe,6" pipe\nlast', 1)
@example(b'a\n"never closed,\n1,2\n', 3)
@example(b'"a"b"c,"d\n"\n', 2)
def test_csv_equals_the_byte_by_byte_reading(content: bytes, chunk_bytes: int) -> None:
    assert csv_events(content, chunk_bytes) == plain_csv(content)


@settings(max_examples=60, deadline=None)
@given(content=CSV_BYTES, chunk_bytes=CHUNKS)
def test_csv_rows_joined_are_the_file_also_when_rows_are_too_long(content: bytes, chunk_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "PIECE_BYTES", 4)
        for module in (rows, split_csv):
            patch.setattr(module, "ROW_LIMIT_BYTES", 9)
        events = csv_events(content, chunk_bytes)
    joined = b"".join(value for _, _, value in events)
    without_ends = bytes.maketrans(b"", b"")
    assert joined.translate(without_ends, b"\r\n") == content.removeprefix(rows.BOM).translate(without_ends, b"\r\n")
    assert all(len(value) <= (9 if kind == "csv" else 4) for kind, _, value in events)
    for kind, line, value in events:
        assert kind == "unsplit" or value.split(b"\n")[0] in content.split(b"\n")[line - 1]


@settings(max_examples=60, deadline=None)
@given(JSON_BYTES, CHUNKS)
def test_json_lines_are_the_lines(content: bytes, chunk_bytes: int) -> None:
    content = b"{" + content
    expected = [
        ("json", number, text.removesuffix(b"\r"))
        for number, text in enumerate(content.split(b"\n"), start=1)
        if text.strip()
    ]
    assert json_events(content, chunk_bytes) == expected


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(JSON_VALUES, max_size=8), st.sampled_from(["", " ", "\n\t", "\r\n"]), CHUNKS, st.booleans())
def test_json_array_gives_the_raw_text_of_each_element(
    values: list[object], blank: str, chunk_bytes: int, ascii_only: bool
) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only, indent=1 if blank else None).encode() for value in values]
    gap = blank.encode()
    content = gap + b"[" + gap + (gap + b"," + gap).join(texts) + gap + b"]" + gap
    expected = [("json", number, text) for number, text in enumerate(texts, start=1)]
    assert json_events(content, chunk_bytes) == expected


@settings(max_examples=60, deadline=None)
@given(JSON_BYTES, CHUNKS, st.booleans())
def test_broken_arrays_lose_nothing_and_do_not_depend_on_the_reads(
    content: bytes, chunk_bytes: int, short: bool
) -> None:
    content = b"[" + content
    with pytest.MonkeyPatch.context() as patch:
        if short:
            patch.setattr(rows, "PIECE_BYTES", 4)
            patch.setattr(split_json, "ROW_LIMIT_BYTES", 9)
        events = json_events(content, chunk_bytes)
    at = 0
    between = b""
    for _, _, value in events:
        found = content.index(value, at)
        between += content[at:found]
        at = found + len(value)
    assert not (between + content[at:]).strip(b" \t\r\n,[]")
    if not short:
        assert events == json_events(content)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\xef\xbb\xbf", []),
        (b"\n\r\n\n", []),
        (b"\xef\xbb\xbfid\r\n1\r\n\r\n2", [("csv", 1, b"id"), ("csv", 2, b"1"), ("csv", 4, b"2")]),
        (b'a,b\n"1\n2",x\n3,y\n', [("csv", 1, b"a,b"), ("csv", 2, b'"1\n2",x'), ("csv", 4, b"3,y")]),
        (b'a\n5" pipe\n6" pipe\n', [("csv", 1, b"a"), ("csv", 2, b'5" pipe'), ("csv", 3, b'6" pipe')]),
        (b'a\n"open\n1\n', [("csv", 1, b"a"), ("unsplit", 2, b'"open\n1\n')]),
        (b"a\n\xe9t\xe9\n\x00\n", [("csv", 1, b"a"), ("csv", 2, b"\xe9t\xe9"), ("csv", 3, b"\x00")]),
        ("a\n\u2028\u0085\x0b\x0c\n".encode(), [("csv", 1, b"a"), ("csv", 2, "\u2028\u0085\x0b\x0c".encode())]),
    ],
)
def test_nasty_csv(content: bytes, expected: list[Event]) -> None:
    assert csv_events(content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"[]", []),
        (b"[ \n]", []),
        (b"[,,,]", [("unsplit", 1, b"["), ("unsplit", 2, b","), ("unsplit", 3, b","), ("unsplit", 4, b",")]),
        (b"[1,, 2 , ]", [("json", 1, b"1"), ("unsplit", 2, b","), ("json", 3, b"2"), ("unsplit", 4, b",")]),
        (b"[", [("unsplit", 1, b"[")]),
        (b'[{"a":1},', [("json", 1, b'{"a":1}'), ("unsplit", 2, b",")]),
        (b'[{"a":1},{"a', [("json", 1, b'{"a":1}'), ("unsplit", 2, b'{"a')]),
        (b'[{"a":1}', [("unsplit", 1, b'{"a":1}')]),
        (b"[1] x", [("json", 1, b"1"), ("unsplit", 2, b" x")]),
        (b'[{"a":"],[\\"{"}, 2]', [("json", 1, b'{"a":"],[\\"{"}'), ("json", 2, b"2")]),
        (b"[[[[[[[1]]]]]], 2]", [("json", 1, b"[[[[[[1]]]]]]"), ("json", 2, b"2")]),
        (b'{"a":1}\n\n{"a"', [("json", 1, b'{"a":1}'), ("json", 3, b'{"a"')]),
    ],
)
def test_nasty_json(content: bytes, expected: list[Event]) -> None:
    for chunk_bytes in (1, 5, 1 << 20):
        assert json_events(content, chunk_bytes) == expected


def test_memory_does_not_grow_with_an_open_quote() -> None:
    """A quote that is never closed makes one row of the rest: it must not be held as one."""

    class Endless:
        left = 40

        def read(self, size: int, /) -> bytes:
            self.left -= 1
            return b'a\n"' + b"x" * (size - 3) if self.left == 39 else b"x\n" * (size // 2) if self.left > 0 else b""

    largest, total = 0, 0
    for batch in split_csv.split_csv(Endless()):
        largest = max(largest, sum(map(len, batch.values)))
        total += sum(map(len, batch.values))
    assert total > 38 << 20
    assert largest <= 3 << 20
