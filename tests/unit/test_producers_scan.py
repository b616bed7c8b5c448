"""What the look at a whole file says of it before anything of it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.stream import Column, FileFormat, FileSource, Stream
from producers.scan import Scan, scan

BOM = b"\xef\xbb\xbf"
BLANK = b"\r\n" * 40_000


def scanned(folder: Path, content: bytes, file_format: FileFormat = "csv") -> Scan:
    columns = (Column("id", "string"), Column("amount", "string"))
    stream = Stream("shop", "orders", "shop.files.orders", FileSource(".*", file_format), columns, ("id",))
    path = folder / "file"
    path.write_bytes(content)
    with path.open("rb") as source:
        return scan(source, stream)


@pytest.mark.parametrize("before", [BLANK, BOM + BLANK])
def test_many_blank_lines_before_the_data_are_passed_over(tmp_path: Path, before: bytes) -> None:
    found = scanned(tmp_path, before + b"id,amount\n1,2\n")
    assert (found.wrong, found.header, found.rows) == ("", "id,amount", 1)
    found = scanned(tmp_path, before + b'{"id":1}\n{"id":2}\n', "json")
    assert (found.wrong, found.rows) == ("", 2)
    assert "NUL" in scanned(tmp_path, before + b"id,\0amount\n1,2\n").wrong


@pytest.mark.parametrize("file_format", ["csv", "json"])
@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "it is empty"),
        (BOM, "it holds a byte order mark and nothing else"),
        (BOM + b"\n", "it holds only blank lines"),
        (b"\n\r\n", "it holds only blank lines"),
        (BLANK, "it holds only blank lines"),
        (BOM + BLANK, "it holds only blank lines"),
    ],
)
def test_a_file_with_nothing_in_it_is_called_what_it_is(
    tmp_path: Path, content: bytes, wrong: str, file_format: FileFormat
) -> None:
    assert scanned(tmp_path, content, file_format).wrong == wrong


def test_an_empty_array_is_not_wrong(tmp_path: Path) -> None:
    found = scanned(tmp_path, b"[\n]\n", "json")
    assert (found.wrong, found.rows) == ("", 0)


@pytest.mark.parametrize("header", [b'id,"note\r\n(free)",amount', b'"id","a\rb"', b'"the ""note""\r\n",id'])
def test_a_line_end_within_a_quoted_name_belongs_to_the_name(tmp_path: Path, header: bytes) -> None:
    found = scanned(tmp_path, header + b"\r\n1,2,3\r\n")
    assert (found.wrong, found.header, found.rows) == ("", header.decode(), 1)


@pytest.mark.parametrize("content", [b"id,amount\r1,2\r", b'id,"a"\r1,2\r', b'id,5" a\r1,7" b\r', b'id,5"\r,"x"'])
def test_carriage_returns_between_rows_are_refused(tmp_path: Path, content: bytes) -> None:
    assert "carriage returns alone" in scanned(tmp_path, content + b"\n").wrong


def test_a_file_in_which_nothing_quotes_is_read(tmp_path: Path) -> None:
    source = FileSource(".*", "csv", delimiter="|", quote="")
    columns = (Column("id", "string"), Column("amount", "string"))
    stream = Stream("shop", "orders", "shop.files.orders", source, columns, ("id",))
    (tmp_path / "file").write_bytes(b'id|amount\n1|5"\n2|"x\n')
    with (tmp_path / "file").open("rb") as opened:
        found = scan(opened, stream)
    assert (found.wrong, found.rows) == ("", 2)
