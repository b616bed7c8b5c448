"""downloads.yaml is refused at its line, dates are filled in, and no secret stands in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from contracts.downloads import Download, load_downloads
from contracts.errors import ContractError
from contracts.loader import load_pipeline
from contracts.stream import FileSource, Pipeline

DAY = date(2026, 3, 7)
STREAM = load_pipeline("edtech").file_streams[0]
GOOD = """
downloads:
  exchange_rates:
    url: https://api.example.com/v1/{yyyy}/{mm}/{dd}/rates.csv
    file: rates_{batch_date}.csv
    headers:
      Authorization: Bearer ${RATES_TOKEN}
      X-Version: 1.10
    query:
      base: EUR
      limit: 1.10
      since: 2026-01-01
      day: "{batch_date}"
      key: ${RATES_KEY}
    timeout_s: 20
    attempts: 3
"""


def pipeline(tmp_path: Path, text: str, *patterns: str) -> Pipeline:
    (tmp_path / "downloads.yaml").write_text(text)
    found = patterns or (r"rates_(?P<batch_date>\d{4}-\d{2}-\d{2})\.csv",)
    streams = tuple(
        replace(STREAM, name=f"s{number}", source=FileSource(pattern, "csv", ""))
        for number, pattern in enumerate(found)
    )
    return Pipeline("shop", streams, tmp_path, tmp_path, tmp_path)


def load(tmp_path: Path, text: str, *patterns: str) -> Download:
    (found,) = load_downloads(pipeline(tmp_path, text, *patterns))
    return found


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_pipeline_without_the_file_downloads_nothing(tmp_path: Path) -> None:
    found = pipeline(tmp_path, GOOD)
    (tmp_path / "downloads.yaml").unlink()
    assert load_downloads(found) == ()


def test_the_day_is_filled_in_and_a_secret_is_not(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert found.name == "exchange_rates"
    assert found.file_name(DAY) == "rates_2026-03-07.csv"
    assert found.address(DAY) == (
        "https://api.example.com/v1/2026/03/07/rates.csv?base=EUR&limit=1.10&since=2026-01-01&day=2026-03-07&key=${RATES_KEY}"
    )
    assert found.variables == ("RATES_KEY", "RATES_TOKEN")


def test_a_secret_is_encoded_and_its_own_braces_mean_nothing(tmp_path: Path) -> None:
    found = load(tmp_path, changed("/rates.csv", "/${PATH_KEY}/rates.csv"))
    address = found.address(DAY, {"RATES_KEY": "a&b={dd}", "PATH_KEY": "x/y {mm}"}.__getitem__)
    assert address.startswith("https://api.example.com/v1/2026/03/07/x%2Fy%20%7Bmm%7D/rates.csv?")
    assert address.endswith("key=a%26b%3D%7Bdd%7D")


def test_numbers_and_dates_stay_as_they_are_written(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert found.headers["X-Version"] == "1.10"
    assert found.query["since"] == "2026-01-01"


WRONG = {
    "an unknown word": ("attempts: 3", "attempt: 3", 16, "attempt"),
    "an unknown placeholder": ("{yyyy}", "{year}", 4, "braces"),
    "an attribute of a placeholder": ("{yyyy}", "{batch_date.__class__}", 4, "braces"),
    "a file placeholder": ("rates_{batch_date}.csv", "rates_{day}.csv", 5, "braces"),
    "another scheme": ("https://api", "ftp://api", 4, "https://"),
    "no scheme": ("https://api", "api", 4, "https://"),
    "a login in the address": ("https://api", "https://user:pass@api", 4, "no user and password"),
    "a secret host": ("api.example.com", "${HOST}", 4, "host is no secret"),
    "a wrong port": ("example.com/", "example.com:port/", 4, "[Pp]ort"),
    "a fragment": ("/rates.csv", "/rates.csv#top", 4, "never sent"),
    "a literal token": ("Bearer ${RATES_TOKEN}", "Bearer abc", 6, "is a secret"),
    "a literal key in the query": ("      base: EUR", "      api_key: abc", 9, "is a secret"),
    "a literal token in the address": ("/rates.csv", "/rates.csv?token=abc", 4, "is a secret"),
    "a header of our own": ("X-Version: 1.10", "range: bytes=0-1", 6, "headrace itself"),
    "a header with a line end": ("X-Version: 1.10", 'X-Version: "a\\r\\nb"', 6, "printable"),
    "a header that is none": ("X-Version: 1.10", '"X Version": a', 6, "no name of a header"),
    "a variable that is none": ("${RATES_TOKEN}", "${rates-token}", 6, "is a secret|environment variable"),
    "a checksum header that is none": ("timeout_s: 20", "checksum: {header: a b}", 15, "no name of a header"),
    "a parameter twice": ("/rates.csv", "/rates.csv?base=USD", 3, "twice"),
    "no attempts": ("attempts: 3", "attempts: 0", 16, "greater"),
    "an endless silence": ("timeout_s: 20", "timeout_s: .inf", 15, "3600|finite"),
    "a folder in the name": ("rates_{batch_date}.csv", "../rates_{batch_date}.csv", 5, "slash"),
    "a hidden file": ("rates_{batch_date}.csv", ".rates_{batch_date}.csv", 5, "dot"),
    "a name of our own": ("rates_{batch_date}.csv", "rates_{batch_date}.csv.part", 5, "our own|own files"),
    "a secret in the name": ("rates_{batch_date}.csv", "rates_${RATES_KEY}.csv", 5, "secret"),
    "a file of no stream": ("rates_{batch_date}.csv", "prices_{batch_date}.csv", 5, "fits no stream"),
    "a name that is none": ("exchange_rates:", "Exchange-Rates:", 3, "is no name"),
    "another method": ("timeout_s: 20", "method: POST", 15, "GET"),
    "a checksum nowhere": ("timeout_s: 20", "checksum: {}", 15, "one of the two"),
    "a checksum twice": ("timeout_s: 20", "checksum: {header: a, url: https://b/c}", 15, "one of the two"),
    "a checksum of pages": (
        "timeout_s: 20",
        "checksum: {header: a}\n    paging: {kind: link}",
        3,
        "has no `checksum`",
    ),
    "pages without a parameter": ("timeout_s: 20", "paging: {kind: page}", 15, "parameter"),
    "a link with a parameter": ("timeout_s: 20", "paging: {kind: link, parameter: p}", 15, "no `parameter`"),
    "a cursor from nowhere": ("timeout_s: 20", "paging: {kind: cursor, parameter: p}", 15, "dotted path"),
    "an offset without a step": ("timeout_s: 20", "paging: {kind: offset, parameter: p}", 15, "size"),
    "a link with a start": ("timeout_s: 20", "paging: {kind: link, start: 1}", 15, "start"),
    "paging by a parameter of the query": ("timeout_s: 20", "paging: {kind: page, parameter: base}", 3, "twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_at_its_line(tmp_path: Path, case: str) -> None:
    old, new, line, match = WRONG[case]
    with pytest.raises(ContractError, match=match) as refused:
        load(tmp_path, changed(old, new))
    assert (refused.value.file, refused.value.line) == (tmp_path / "downloads.yaml", line)
    assert "abc" not in str(refused.value)


def test_a_file_that_fits_two_streams_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="fits more than one stream: s0, s1"):
        load(tmp_path, GOOD, r"rates_.*\.csv", r".*\.csv")


def test_two_downloads_may_not_share_a_file_name(tmp_path: Path) -> None:
    second = GOOD.replace("downloads:\n", "").replace("exchange_rates", "other").lstrip("\n")
    with pytest.raises(ContractError, match="named as that of exchange_rates"):
        load_downloads(pipeline(tmp_path, GOOD + second))


@pytest.mark.parametrize("pattern", [r"rates_\d{4}-06-30\.csv", r"rates_202[789].*\.csv"])
def test_a_pattern_that_fits_some_days_only_is_enough(tmp_path: Path, pattern: str) -> None:
    assert load(tmp_path, GOOD, pattern)


def test_an_archive_may_have_any_name(tmp_path: Path) -> None:
    assert load(tmp_path, changed("file: rates_{batch_date}.csv", "file: all.zip"))


def test_a_page_starts_at_1_and_an_offset_at_0(tmp_path: Path) -> None:
    page = load(tmp_path, changed("timeout_s: 20", "paging: {kind: page, parameter: p}"))
    offset = load(tmp_path, changed("timeout_s: 20", "paging: {kind: offset, parameter: p, size: 50}"))
    assert page.paging
    assert offset.paging
    assert (page.paging.first, offset.paging.first) == (1, 0)
