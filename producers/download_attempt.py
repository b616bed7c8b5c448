"""One try to bring a declared download's content into the raw store, and the checks that it must pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import requests

from contracts.downloads import Download
from contracts.errors import Fatal
from producers.download_checksums import file_digest, header_digests, read_digest
from producers.download_http import Client, NotNow, content_length
from producers.download_pages import Again, joined_pages
from producers.raw_files import Begun, Meta, RawFile

Progress = Callable[[str, int, int], None]
"""Download, bytes so far, bytes in all (0: unknown)."""
_CHECKSUM_FILE_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The kept file of one download and day. `unchanged`: it was there before, with this content. `url` shows
    `${NAME}` where a secret was sent. `etag` and `last_modified` are empty if the server says none."""

    name: str
    batch_date: date
    path: Path
    state: Literal["fetched", "unchanged"]
    bytes: int
    sha256: str
    url: str
    etag: str
    last_modified: str
    at: datetime


class Mismatch(Fatal):
    """What came is not what the server says it is: tried again, then given up."""


class Attempt:
    """One download under its lock."""

    def __init__(
        self,
        declared: Download,
        batch_date: date,
        raw: RawFile,
        client: Client,
        clock: Callable[[], datetime],
        progress: Progress | None,
    ) -> None:
        self._declared = declared
        self._batch_date = batch_date
        self._raw = raw
        self._client = client
        self._clock = clock
        self._progress = progress
        self._kept = raw.kept()
        self._stated_elsewhere: list[tuple[str, str]] = []

    def body(self) -> Downloaded:
        """One try for a body: a part is gone on with, a kept file asked after."""
        # First: if it fails, no body was fetched in vain.
        self._stated_elsewhere = self._checksum_file()
        begun = self._resumable()
        if begun and not self._go_on(*begun):
            begun = None
        if not begun:
            headers = self._conditions()
            with self._client.get(self._client.url, headers, accept=(200, 304) if headers else (200,)) as response:
                if response.status_code == 304:
                    return self._unchanged()
                self._anew(response)
        return self._finish()

    def pages(self, again: Again) -> Downloaded:
        """All pages from the first on; each is tried again by itself."""
        assert self._declared.paging
        with self._raw.begin(Begun(self._client.shown, "", "", None, {})) as part:
            for body in joined_pages(self._client, self._declared.paging, again):
                part.write(body)
                self._tell(part.tell(), 0)
        return self._finish()

    def _resumable(self) -> tuple[Begun, int] | None:
        found = self._raw.begun()
        if found and found[1] and _strong(found[0].etag) and found[0].url == self._client.shown:
            begun, size = found
            if begun.total is None or size < begun.total:
                return found
        return None

    def _conditions(self) -> dict[str, str]:
        meta = self._kept.meta if self._kept else None
        if not meta or meta.url != self._client.shown:
            return {}
        named = {"If-None-Match": meta.etag, "If-Modified-Since": meta.last_modified}
        return {name: value for name, value in named.items() if value}

    def _anew(self, response: requests.Response) -> None:
        """Write a whole body into a new part."""
        begun = Begun(
            self._client.shown,
            _said(response, "ETag"),
            _said(response, "Last-Modified"),
            content_length(response),
            self._stated(response),
        )
        with self._raw.begin(begun) as part:
            for chunk in self._client.chunks(response):
                part.write(chunk)
                self._tell(part.tell(), begun.total or 0)

    def _go_on(self, begun: Begun, size: int) -> bool:
        """Complete the part; False if the server cannot, then nothing of it is left."""
        headers = {"Range": f"bytes={size}-", "If-Range": begun.etag}
        with self._client.get(self._client.url, headers, accept=(200, 206, 416)) as response:
            if response.status_code == 200:
                self._anew(response)
                return True
            total = _total_of_the_rest(response, begun, size)
            if total is None:
                self._raw.discard_part()
                return False
            with self._raw.go_on() as part:
                for chunk in self._client.chunks(response):
                    size += part.write(chunk)
                    self._tell(size, total)
        if size != total:
            if size > total:
                self._raw.discard_part()
            name, shown = self._declared.name, self._client.shown
            raise NotNow(f"{name}: the server gave {size:,} of {total:,} bytes so far", url=shown)
        return True

    def _stated(self, response: requests.Response) -> dict[str, str]:
        """The digests that the answer's headers state; Fatal if the declared one is not there."""
        stated = header_digests(response.headers)
        if self._declared.checksum and self._declared.checksum.header:
            header = self._declared.checksum.header
            digest = read_digest(response.headers.get(header, ""))
            if not digest:
                raise self._client.fatal(f"the answer's header {header} holds no SHA-256 and no MD5")
            stated[digest[0]] = digest[1]
        return stated

    def _finish(self) -> Downloaded:
        """Check the part, which is complete, and keep it if it is another content than the kept one."""
        found = self._raw.begun()
        assert found
        begun, size = found
        stated = [*begun.digests.items(), *self._stated_elsewhere]
        digests = self._raw.part_digests(("sha256", *{name for name, _ in stated}))
        wrong = [name for name, digest in stated if digests[name] != digest]
        if wrong or (begun.total is not None and size != begun.total):
            self._raw.discard_part()
            what = f"does not have the {wrong[0]} that the server states" if wrong else f"has {size:,} bytes"
            raise Mismatch(
                f"{self._declared.name}: what came {what}",
                state="Nothing of it was kept.",
                next_step="ask those who run the server: file and checksum differ",
                url=self._client.shown,
            )
        at = self._clock()
        shown, sha256 = self._client.shown, digests["sha256"]
        meta = Meta(shown, at.isoformat(), begun.etag, begun.last_modified, sha256, size, 200)
        if self._kept and self._kept.sha256 == sha256:
            self._raw.discard_part()
            self._raw.describe(meta)
            return self._downloaded("unchanged", meta, at)
        self._raw.keep_part(meta, self._kept)
        return self._downloaded("fetched", meta, at)

    def _checksum_file(self) -> list[tuple[str, str]]:
        """The digest of the declared checksum file, if one is declared."""
        url = self._client.checksum_url
        if not url:
            return []
        with self._client.get(url) as response:
            text = self._client.text_of(response, _CHECKSUM_FILE_BYTES).decode(errors="replace")
        there = self._client.url.partition("?")[0].rpartition("/")[2]
        digest = file_digest(text, (there, self._raw.path.name))
        if not digest:
            raise self._client.fatal(f"the checksum file holds no one SHA-256 or MD5 of {there or 'the file'}")
        return [digest]

    def _unchanged(self) -> Downloaded:
        assert self._kept
        assert self._kept.meta
        self._raw.discard_part()
        return self._downloaded("unchanged", self._kept.meta, self._clock())

    def _downloaded(self, state: Literal["fetched", "unchanged"], meta: Meta, at: datetime) -> Downloaded:
        return Downloaded(
            self._declared.name,
            self._batch_date,
            self._raw.path,
            state,
            meta.bytes,
            meta.sha256,
            meta.url,
            meta.etag,
            meta.last_modified,
            at,
        )

    def _tell(self, done: int, total: int) -> None:
        if self._progress:
            self._progress(self._declared.name, done, total)


def _said(response: requests.Response, header: str) -> str:
    """What is sent back one day; a value that could not be is none."""
    value = response.headers.get(header, "")
    return value if value.isprintable() else ""


def _strong(etag: str) -> bool:
    return len(etag) > 2 and etag.startswith('"') and etag.endswith('"')


def _total_of_the_rest(response: requests.Response, begun: Begun, size: int) -> int | None:
    """The length of the whole content if this answer goes on where the part of this size ends, else None."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    # A server that knows nothing of If-Range would give the rest of another content: the ETag must be there.
    if response.status_code != 206 or not found or response.headers.get("ETag") != begun.etag:
        return None
    total = int(found[3]) if found[3] != "*" else begun.total
    if int(found[1]) != size or total is None or begun.total not in (None, total) or int(found[2]) >= total:
        return None
    return total
