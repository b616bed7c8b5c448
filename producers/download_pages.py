"""Ask page after page and join the elements of their arrays into JSON lines, each element as its text came."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

import requests

from contracts.downloads import Paging
from contracts.errors import Fatal
from producers.download_checksums import header_digests
from producers.download_http import Client, NotNow
from producers.download_json import elements, scalar, value_at

PAGE_LIMIT_BYTES = 64 << 20

Again = Callable[[Callable[[], "_Page"]], "_Page"]
"""Calls until the answer is there, as often as is declared."""


@dataclass(frozen=True, slots=True)
class _Page:
    url: str
    items: tuple[str, ...]
    cursor: str
    link: str


def joined_pages(client: Client, paging: Paging, again: Again) -> Iterator[bytes]:
    """The elements of all pages in order, as JSON lines, page by page. Every page is asked for anew: what changes on
    the server in between may be missing or come twice, and no one can tell.

    Raises:
        Fatal: an answer is not the JSON that is declared, two pages are the same, a cursor or a link comes again, an
            `offset` page is neither full nor the last, or there are more than `most_pages`. What came is not the whole.
    """
    url: str | None = _first(client, paging)
    asked: set[str] = set()
    short, before = False, b""
    for number in range(paging.most_pages):
        if url is None:
            return
        if url in asked:
            raise client.fatal(
                f"the {paging.kind} after page {number} was there before: the pages go round in a circle"
            )
        asked.add(url)
        page = again(partial(_page, client, paging, url))
        body = "".join(f"{item}\n" for item in page.items).encode()
        if paging.kind in ("page", "offset"):
            digest = hashlib.sha256(body).digest()
            if page.items and digest == before:
                raise client.fatal(f"page {number + 1} is the same as the one before: is {paging.parameter} heeded?")
            if (page.items and short) or len(page.items) > (paging.size or len(page.items)):
                raise client.fatal(
                    f"the pages of the server do not hold {paging.size} elements each: rows would be missing or double",
                    "correct paging.size in downloads.yaml",
                )
            short, before = paging.size is not None and len(page.items) < paging.size, digest
        yield body
        url = _next(client, paging, page, number)
    if url is not None:
        raise client.fatal(f"there are more than {paging.most_pages:,} pages", "raise paging.most_pages")


def _page(client: Client, paging: Paging, url: str) -> _Page:
    with client.get(url) as response:
        body = client.text_of(response, PAGE_LIMIT_BYTES)
        for name, digest in header_digests(response.headers).items():
            if hashlib.new(name, body, usedforsecurity=False).hexdigest() != digest:
                raise NotNow(f"a page does not have the {name} that its header states", url=client.shown)
        link, came_from = _link(response), response.url
    try:
        text = body.decode("utf-8-sig")
        array = value_at(text, paging.items)
        if array is None:
            raise ValueError(f"it has no {paging.items}")
        cursor = value_at(text, paging.cursor) if paging.cursor else None
        return _Page(came_from, tuple(elements(array)), scalar(cursor) if cursor else "", link)
    except ValueError as problem:
        raise _not_as_declared(client, problem) from None


def _not_as_declared(client: Client, problem: ValueError) -> Fatal:
    said = client.mask(str(problem))[:200]
    return client.fatal(f"a page is not the JSON that is declared: {said}", "correct `paging` in downloads.yaml")


def _first(client: Client, paging: Paging) -> str:
    if paging.kind in ("page", "offset"):
        return _with(client.url, paging.parameter, paging.first)
    return client.url


def _next(client: Client, paging: Paging, page: _Page, number: int) -> str | None:
    """The address of the page after this one; None if it was the last."""
    if paging.kind == "link":
        return client.next_address(page.url, page.link) if page.link else None
    if paging.kind == "cursor":
        if not page.cursor:
            return None
        if not paging.parameter:
            return client.next_address(page.url, page.cursor)
        return _with(client.url, paging.parameter, page.cursor)
    if not page.items:
        return None
    return _with(client.url, paging.parameter, paging.first + (number + 1) * (paging.size or 1))


def _with(url: str, parameter: str, value: str | int) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode({parameter: value})}"


def _link(response: requests.Response) -> str:
    for link in requests.utils.parse_header_links(response.headers.get("Link", "")):
        if "next" in link.get("rel", "").lower().split():
            return str(link.get("url", ""))
    return ""
