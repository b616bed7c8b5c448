"""A download of many pages is one file of all their elements, each as the server wrote it, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Fatal
from producers.download_json import elements, value_at
from tests.unit.download_server import Answer, Case, Handler, Origin, declare_secrets, page, paged, status


def asked_pages(case: Case, name: str) -> list[str]:
    return [asked.query.get(name, [""])[0] for asked in case.origin.asked]


def test_numbered_pages_are_asked_for_until_one_is_empty(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p")
    case.declared["query"] = {"base": "EUR"}
    items = {"1": '{"a": 1}, {"a": 2}', "2": '{"a": 3}'}
    origin.routes["/rates.csv"] = lambda to: page(to, items.get(to.last.query["p"][0], ""))
    found = case.get()
    assert asked_pages(case, "p") == ["1", "2", "3"]
    assert asked_pages(case, "base") == ["EUR"] * 3
    assert case.kept() == b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'
    assert (found.state, found.etag) == ("fetched", "")
    assert case.get().state == "unchanged"


def test_offsets_go_on_by_the_size_of_a_page(case: Case, origin: Origin) -> None:
    paged(case, kind="offset", parameter="skip", size=2, items="")
    rows = ["1", "2", "3", "4", "5"]

    def some(to: Handler) -> None:
        start = int(to.last.query["skip"][0])
        to.say(200, f"[{','.join(rows[start : start + 2])}]".encode())

    origin.routes["/rates.csv"] = some
    case.get()
    assert asked_pages(case, "skip") == ["0", "2", "4", "6"]
    assert case.kept() == b"1\n2\n3\n4\n5\n"


@pytest.mark.parametrize("real", [1, 3])
def test_offsets_that_do_not_fit_the_servers_pages_are_refused(case: Case, origin: Origin, real: int) -> None:
    paged(case, kind="offset", parameter="skip", size=2)

    def some(to: Handler) -> None:
        start = int(to.last.query["skip"][0])
        page(to, ",".join(str(number) for number in range(start, min(start + real, 9))))

    origin.routes["/rates.csv"] = some
    with pytest.raises(Fatal, match="do not hold 2 elements each"):
        case.get()
    assert case.holds() == []


def test_a_cursor_is_followed_to_its_end(case: Case, origin: Origin) -> None:
    paged(case, kind="cursor", parameter="after", cursor="meta.next")
    items = {
        "": ('"a"', '"next": "x&y"'),
        "x&y": ('"b"', '"next": 1.10'),
        "1.10": ('"c"', '"next": null'),
    }
    origin.routes["/rates.csv"] = lambda to: page(to, *items[to.last.query.get("after", [""])[0]])
    case.get()
    assert asked_pages(case, "after") == ["", "x&y", "1.10"]
    assert case.kept() == b'"a"\n"b"\n"c"\n'


def test_a_cursor_without_a_parameter_is_the_next_address(case: Case, origin: Origin) -> None:
    paged(case, kind="cursor", cursor="@odata.nextLink", items="value")
    origin.routes["/rates.csv"] = status(200, b'{"value": [1], "@odata.nextLink": "/second"}')
    origin.routes["/second"] = status(200, b'{"value": [2]}')
    case.get()
    assert case.kept() == b"1\n2\n"


def test_a_link_to_the_next_page_is_followed(case: Case, origin: Origin) -> None:
    paged(case, kind="link")
    first = '</before>; rel="prev", </second?p=2>; rel="next last"'
    origin.routes["/rates.csv"] = lambda to: page(to, "1", Link=first)
    origin.routes["/second"] = lambda to: page(to, "2", Link='</rates.csv>; rel="first"')
    case.get()
    assert case.kept() == b"1\n2\n"


def test_a_link_to_another_host_gets_no_secret(case: Case, origin: Origin, servers: Callable[[], Origin]) -> None:
    declare_secrets(case)
    paged(case, kind="link")
    other = servers()
    origin.routes["/rates.csv"] = lambda to: page(to, "1", Link=f'<{other.url}/x>; rel="next"')
    other.routes["/x"] = lambda to: page(to, "2")
    case.get()
    assert case.kept() == b"1\n2\n"
    assert "authorization" not in other.asked[0].headers


CIRCLES: dict[str, tuple[dict[str, Any], Answer]] = {
    "a cursor": (
        {"kind": "cursor", "parameter": "after", "cursor": "meta.next"},
        lambda to: page(to, str(len(to.origin.asked)), '"next": "same"'),
    ),
    "a link": ({"kind": "link"}, lambda to: page(to, "1", Link='</rates.csv>; rel="next"')),
    "a page": ({"kind": "page", "parameter": "p"}, lambda to: page(to, "1")),
    "an offset": ({"kind": "offset", "parameter": "p", "size": 1}, lambda to: page(to, "1")),
}


@pytest.mark.parametrize("name", CIRCLES)
def test_pages_that_go_round_in_a_circle_are_refused(case: Case, origin: Origin, name: str) -> None:
    paging, origin.routes["/rates.csv"] = CIRCLES[name]
    paged(case, **paging)
    with pytest.raises(Fatal, match=r"circle|same as the one before"):
        case.get()
    assert len(origin.asked) <= 3
    assert case.holds() == []


def test_more_pages_than_are_declared_are_refused(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p", most_pages=3)
    origin.routes["/rates.csv"] = lambda to: page(to, to.last.query["p"][0])
    with pytest.raises(Fatal, match="more than 3 pages"):
        case.get()
    assert len(origin.asked) == 3
    assert case.holds() == []


def test_each_page_is_tried_again_by_itself(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p")
    pages = [lambda to: page(to, "1"), status(503), status(503), lambda to: page(to, "2"), status(503)]
    origin.script.extend([*pages, lambda to: page(to, "", cut=20), lambda to: page(to, "")])  # type: ignore[arg-type]
    case.get()
    assert asked_pages(case, "p") == ["1", "2", "2", "2", "3", "3", "3"]
    assert case.kept() == b"1\n2\n"


def test_a_page_that_is_refused_keeps_nothing_of_those_before(case: Case, origin: Origin) -> None:
    paged(case, kind="page", parameter="p")
    origin.script.extend([lambda to: page(to, "1"), status(404)])
    with pytest.raises(Fatal, match="404"):
        case.get()
    assert case.holds() == []


def test_each_element_stays_as_it_was_written(case: Case, origin: Origin) -> None:
    paged(case, kind="link")
    written = [
        '{"a": 1.10, "b":1E+2,"c" : 0.30000000000000000001}',
        '{"a": 1, "a": 2}',
        '{"t": "\\u00e4\\n \\/ ü ]}"}',
        '{\n  "n": [1,\r\n 2],\n  "o": {}\n}',
        "123456789012345678901234567890",
        "null",
        "[]",
    ]
    origin.routes["/rates.csv"] = lambda to: page(to, " ,\n ".join(written))
    case.get()
    lines = case.kept().decode().split("\n")
    assert lines.pop() == ""
    assert lines[:3] == written[:3]
    assert lines[3] == '{   "n": [1,   2],   "o": {} }'
    assert lines[4:] == written[4:]


WRONG_PAGES = {
    "no JSON": b"<html>",
    "cut JSON": b'{"data": {"results": [1, 2',
    "something after it": b'{"data": {"results": []}} x',
    "no such path": b'{"data": {"rows": []}}',
    "no array": b'{"data": {"results": {"a": 1}}}',
    "null": b'{"data": {"results": null}}',
    "a key twice": b'{"data": {"results": [1], "results": [2]}}',
    "not a number": b'{"data": {"results": [NaN]}}',
    "no UTF-8": b'{"data": {"results": ["\xff"]}}',
    "too deep": b'{"data": {"results": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}}",
    "empty": b"",
}


@pytest.mark.parametrize("name", WRONG_PAGES)
def test_a_page_that_is_not_as_declared_is_refused(case: Case, origin: Origin, name: str) -> None:
    paged(case, kind="link")
    origin.routes["/rates.csv"] = status(200, WRONG_PAGES[name])
    with pytest.raises(Fatal, match="a page is not the JSON that is declared"):
        case.get()
    assert case.holds() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None)
@given(st.lists(JSON), st.sampled_from([None, 2, "\t"]), st.booleans(), st.text(alphabet="ab.", min_size=1))
def test_elements_are_one_line_each_and_mean_the_same(
    rows: list[Any], indent: int | str | None, ascii_only: bool, key: str
) -> None:
    text = json.dumps({"x": [], "outer": {key: rows, "y": 1}}, indent=indent, ensure_ascii=ascii_only)
    array = value_at(text, f"outer.{key}")
    assert array is not None
    found = list(elements(array))
    assert [json.loads(line) for line in found] == rows
    assert not any("\n" in line or "\r" in line for line in found)
