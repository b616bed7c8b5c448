"""Fields that are split before they come into a chunk are those that one finds byte by byte, or are not split."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producers.cells import Cells
from producers.dialect import Dialect
from producers.split_csv import split_csv

DIALECTS = st.builds(Dialect, st.sampled_from([",", "|", "\t"]), st.sampled_from(['"', "'", ""]), st.booleans())
PIECES = [
    '"',
    '""',
    "'",
    "\\",
    ",",
    "|",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "a",
    " ",
    "5 in",
    "é",
    "\0",
    "\uffff",
    "\ufeff",
    "NULL",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=60).map(lambda pieces: "".join(pieces).encode())


def by_character(row: str, dialect: Dialect) -> list[str | None]:
    """The fields of a row; None for one in which nothing stands. An IndexError is an open quote."""
    found: list[str | None] = []
    at = 0
    while True:
        value = ""
        quoted = bool(dialect.quote) and row[at : at + 1] == dialect.quote
        if quoted:
            at += 1
            while row[at] != dialect.quote or (not dialect.backslash and row[at + 1 : at + 2] == dialect.quote):
                at += row[at] == ("\\" if dialect.backslash else dialect.quote)
                value += row[at]
                at += 1
            at += 1
            assert row[at : at + 1] in ("", dialect.delimiter), "text behind a closing quote"
        else:
            while at < len(row) and row[at] != dialect.delimiter:
                value += row[at]
                at += 1
        found.append(value if value or quoted else None)
        if at == len(row):
            return found
        at += 1


def split(text: bytes, dialect: Dialect, fields: int) -> Iterator[tuple[bytes, list[str | None] | None]]:
    """Each row and its fields, None if it is not split."""
    cells = Cells(dialect, fields)
    for rows in split_csv(io.BytesIO(text), dialect):
        found = cells.of(rows)
        if found is None:
            yield from ((value, None) for value in rows.values)
            continue
        which = found.which.to_pylist() if found.which is not None else [True] * len(rows)
        columns = [column.to_pylist() for column in found.columns]
        for value, is_split, *row in zip(rows.values, which, *columns, strict=True):
            assert is_split or set(row) == {None}
            yield value, row if is_split else None


@settings(max_examples=400, deadline=None)
@given(TEXT, DIALECTS, st.integers(2, 4))
@example(b'a,"b"c\n', Dialect(), 2)
@example(b'"a""b","",\n', Dialect(), 3)
@example(b"\xef\xbb\xbf\xef\xbb\xbfa,b\n", Dialect(), 2)
@example(b'a\\,b\n"\\"",b\n', Dialect(backslash=True), 2)
@example(b"\xff,a\n", Dialect(), 2)
@example(b'a,"b\nc"\nd,e\nf\n\0,g\n"h","i"\n', Dialect(), 2)
def test_any_row_is_split_as_character_by_character_or_not_at_all(text: bytes, dialect: Dialect, fields: int) -> None:
    for value, row in split(text, dialect, fields):
        assert row is None or (row == by_character(value.decode(), dialect) and len(row) == fields)


def test_what_is_wrong_with_a_row_or_two_leaves_the_others_split() -> None:
    rows = [b"a,1", b'"b","2"', b"c", b'd,"4\nx"', b'e,"5"x', b"f,\0", b"g,7\rx", b"h,8,8", b"i,"]
    found = dict(split(b"\n".join(rows), Dialect(), 2))
    assert {value for value, row in found.items() if row} == {rows[0], rows[1], rows[8]}
    assert (found[rows[1]], found[rows[8]]) == (["b", "2"], ["i", None])


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        (b"a,b\n,c\n", Dialect(), [["a", "b"], [None, "c"]]),
        (b'"a,1","b""c"\n"",5"\n', Dialect(), [["a,1", 'b"c'], ["", '5"']]),
        (b"'a|1'|b\n", Dialect("|", "'", backslash=True), [["a|1", "b"]]),
        (b'"a"\t"\n', Dialect("\t", ""), [['"a"', '"']]),
        (b"NULL,nan\n 1, \n", Dialect(), [["NULL", "nan"], [" 1", " "]]),
    ],
)
def test_usual_files_are_split(text: bytes, dialect: Dialect, expected: list[list[str | None]]) -> None:
    assert [row for _, row in split(text, dialect, 2)] == expected


@pytest.mark.parametrize("dialect", [Dialect("§"), Dialect(quote="»")])
def test_what_arrow_cannot_split_by_is_left_to_the_reader(dialect: Dialect) -> None:
    assert [row for _, row in split(f"a{dialect.delimiter}b\n".encode(), dialect, 2)] == [None]
