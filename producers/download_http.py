"""One request of a declared download: its secrets, its redirects, and what an answer that is no content means."""

from __future__ import annotations

import html
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from contracts.download_texts import VARIABLE
from contracts.downloads import Download
from contracts.errors import Fatal, ServiceUnavailable

CHUNK_BYTES = 64 * 1024
SNIPPET_CHARACTERS = 300
MOST_REDIRECTS = 5
_AGAIN = {408, 425, 429, *range(500, 600)}
_REDIRECTS = {301, 302, 303, 307, 308}
_NEVER_TO_OTHERS = {"authorization", "cookie", "proxy-authorization"}
_SNIPPET_BYTES = 64 * 1024
_NO_ADDRESS = "the server leads to something that is no http or https address"
_NOTHING = "Nothing was kept."


class NotNow(ServiceUnavailable):
    """The server did not give the content this time. `retry_after_s` is how long it asked to wait, 0 if it did not."""

    def __init__(self, what: str, *, retry_after_s: float = 0.0, **where: object) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(
            what,
            state="What was kept before is untouched; the next download goes on with what came, if the server can.",
            next_step="repeat the download later",
            **where,
        )


class Client:
    """The way to the server of one download on one day. Messages show addresses as they are declared, never a secret.

    Raises:
        Fatal: an environment variable is not set or cannot stand in a header.
    """

    def __init__(
        self,
        declared: Download,
        batch_date: date,
        session: requests.Session,
        environment: Mapping[str, str],
        clock: Callable[[], datetime],
    ) -> None:
        self._declared = declared
        self._session = session
        self._clock = clock
        self._secrets: dict[str, str] = {}
        for name in declared.variables:
            value = environment.get(name, "")
            if not value or not value.isprintable():
                what = "holds a control character" if value else "is not set"
                raise Fatal(
                    f"{declared.name}: environment variable {name} {what}",
                    state="Nothing was asked for.",
                    next_step=f"set {name}; downloads.yaml refers to it",
                )
            self._secrets[name] = value
        self.shown = declared.address(batch_date)
        self.url = declared.address(batch_date, self._secrets.__getitem__)
        self.checksum_url = ""
        if declared.checksum and declared.checksum.url:
            self.checksum_url = declared.checksum.address(batch_date, self._secrets.__getitem__)
        self._headers = {name: self._filled(name, value) for name, value in declared.headers.items()}

    def mask(self, text: str) -> str:
        """The text without the secrets, also where it spells them for a URL, JSON or HTML."""
        spelt = {
            way(value)
            for value in self._secrets.values()
            for way in (str, quote, lambda v: quote(v, safe=""), quote_plus, lambda v: json.dumps(v)[1:-1], html.escape)
        }
        for value in sorted(spelt, key=len, reverse=True):
            text = text.replace(value, "**********")
        return text

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, accept: tuple[int, ...] = (200,)
    ) -> Iterator[requests.Response]:
        """The answer to a GET, its body unread, as it came over the wire; what is read in the block may fail too.

        Raises:
            NotNow: no connection, an interruption, 408, 425, 429 or 5xx.
            Fatal: any other status, a redirect that is not followed, an encoding that was not asked for.
        """
        try:
            response = self._follow(url, headers or {})
            with response:
                if response.status_code not in accept:
                    raise self._refused(response)
                if _encoding(response) not in ("", "gzip", "x-gzip"):
                    raise self.fatal(
                        f"the server sends content-encoding {_encoding(response)}, which was not asked for"
                    )
                yield response
        except (requests.ConnectionError, requests.Timeout, HTTPError) as problem:
            root: BaseException = problem
            while isinstance(inner := root.__cause__ or root.__context__, OSError | HTTPError | HTTPException):
                root = inner
            said = f"{type(root).__name__}: {self._one_line(str(root))}"
            if isinstance(root, ssl.SSLCertVerificationError):
                raise self.fatal(f"the server's certificate is not trusted: {said}") from None
            raise NotNow(f"{self._declared.name}: the connection failed: {said}", url=self.shown) from None
        except requests.RequestException as problem:
            # Its text may hold the whole URL or a header.
            raise self.fatal(f"the request cannot be made: {type(problem).__name__}") from None

    def text_of(self, response: requests.Response, limit_bytes: int) -> bytes:
        """A body that is held in memory; Fatal if it is longer than the limit."""
        if _encoding(response):
            raise self.fatal(f"the server sends content-encoding {_encoding(response)}, which was not asked for")
        found = bytearray()
        for chunk in self.chunks(response):
            found += chunk
            if len(found) > limit_bytes:
                raise self.fatal(f"an answer is longer than {limit_bytes:,} bytes")
        return bytes(found)

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """The body's bytes as they came; NotNow if there are fewer than the answer's Content-Length."""
        total, got = content_length(response), 0
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            got += len(chunk)
            yield chunk
        if total is not None and got != total:
            raise NotNow(f"{self._declared.name}: the answer ended after {got:,} of {total:,} bytes", url=self.shown)

    def fatal(self, what: str, next_step: str = "correct downloads.yaml, or ask those who run the server") -> Fatal:
        """The error that this download cannot succeed; the caller raises it."""
        return Fatal(f"{self._declared.name}: {what}", state=_NOTHING, next_step=next_step, url=self.shown)

    def _filled(self, name: str, value: str) -> str:
        filled = VARIABLE.sub(lambda found: self._secrets[found.group(1)], value)
        if not filled.isascii() or filled != filled.strip():
            raise self.fatal(f"header {name} would not be ASCII without blanks around it", "correct its variable")
        return filled

    def _follow(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        at_home = _origin(url) == _origin(self.url)
        for _ in range(MOST_REDIRECTS + 1):
            own = {name: value for name, value in self._headers.items() if at_home or not self._is_secret(name)}
            try:
                response = self._session.get(
                    url,
                    headers={**own, **headers, "Accept-Encoding": "identity"},
                    auth=_as_declared,
                    timeout=self._declared.timeout_s,
                    allow_redirects=False,
                    stream=True,
                )
            except requests.RequestException:
                raise
            except ValueError:
                # requests reads the Location although it is not to follow it.
                raise self.fatal(_NO_ADDRESS) from None
            if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            url = self.next_address(url, response.headers["Location"])
            at_home = at_home and _origin(url) == _origin(self.url)
        raise self.fatal(f"more than {MOST_REDIRECTS} redirects")

    def next_address(self, url: str, location: str) -> str:
        """Where an answer of `url` leads; Fatal if it is no http(s) address or gives up encryption."""
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound:
            raise self.fatal(_NO_ADDRESS)
        if urlsplit(url).scheme == "https" and parts.scheme != "https":
            raise self.fatal(f"the server leads from https to http, at {parts.hostname}: not followed")
        return target

    def _is_secret(self, header: str) -> bool:
        return header.lower() in _NEVER_TO_OTHERS or bool(VARIABLE.search(self._declared.headers[header]))

    def _refused(self, response: requests.Response) -> Fatal | NotNow:
        body = bytearray()
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                body += chunk
                if len(body) >= _SNIPPET_BYTES:
                    break
        except HTTPError:
            pass  # the status says enough
        said = "" if _encoding(response) else self._one_line(body[:_SNIPPET_BYTES].decode(errors="replace"))
        what = f"the server answered {response.status_code}{': ' if said else ''}{said}"
        if response.status_code in _AGAIN:
            wish = _seconds(response.headers.get("Retry-After", ""), self._clock())
            return NotNow(f"{self._declared.name}: {what}", retry_after_s=wish, url=self.shown)
        return self.fatal(what)

    def _one_line(self, text: str) -> str:
        plain = " ".join(self.mask(text).split())
        return "".join(character for character in plain if character.isprintable())[:SNIPPET_CHARACTERS]


def content_length(response: requests.Response) -> int | None:
    """The declared length of this answer's body; None if it has none that counts."""
    text = response.headers.get("Content-Length", "")
    chunked = "Transfer-Encoding" in response.headers
    return int(text) if text.isascii() and text.isdecimal() and not chunked else None


def _encoding(response: requests.Response) -> str:
    """The content-encoding, empty if the bytes are the content itself."""
    return response.headers.get("Content-Encoding", "").strip().lower()[:40].replace("identity", "")


def _as_declared(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without it requests would put a login of ~/.netrc in the place of a declared header."""
    return request


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _seconds(retry_after: str, now: datetime) -> float:
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds())
