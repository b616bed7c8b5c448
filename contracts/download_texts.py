"""What the texts of a declared download may hold: addresses, file names, headers and queries, with `{batch_date}` and
`${NAME}` in them. Each check gives the text back or raises a ValueError that ends a sentence about it."""

from __future__ import annotations

import re
from datetime import date
from urllib.parse import parse_qsl, urlsplit

from contracts.wire import check_file_name

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
FILE_NAME_BYTES = 200
"""Kept files get suffixes, and a name has at most 255 bytes."""
SAMPLE_DAY = date(2024, 2, 29)

_DAY = re.compile(r"(?<!\$)\{(batch_date|yyyy|mm|dd)\}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = {"accept-encoding", "connection", "content-length", "host", "if-match", "if-modified-since", "if-none-match"}
_OURS |= {"if-range", "if-unmodified-since", "range", "te", "trailer", "transfer-encoding", "upgrade"}
_SECRET = ("apikey", "authorization", "credential", "password", "secret", "signature", "token")
_OUR_SUFFIXES = (".part", ".part.json", ".meta.json", ".new", ".lock")


def on_day(template: str, day: date) -> str:
    """The text with the day filled in; `${NAME}` stays."""
    values = {"batch_date": day.isoformat(), "yyyy": f"{day.year:04}", "mm": f"{day.month:02}", "dd": f"{day.day:02}"}
    return _DAY.sub(lambda found: values[found.group(1)], template)


def _template(text: str) -> str:
    rest = VARIABLE.sub("", _DAY.sub("", text))
    if "{" in rest or "}" in rest:
        raise ValueError("braces hold batch_date, yyyy, mm or dd; ${…} the name of an environment variable")
    if not text.isprintable():
        raise ValueError("it holds a control character")
    return text


def checked_address(text: str) -> str:
    """An http or https address without a login, a secret host or a secret written out."""
    sample = VARIABLE.sub("secret", on_day(_template(text), SAMPLE_DAY))
    parts = urlsplit(sample)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in sample:
        raise ValueError("not an address that begins with https:// or http:// and a host")
    if "@" in parts.netloc:
        raise ValueError("no user and password here: write a header with ${NAME}")
    if VARIABLE.search(urlsplit(text).netloc):
        raise ValueError("the host is no secret: write it out")
    _ = parts.port  # a ValueError if it is none
    if parts.fragment:
        raise ValueError("what follows `#` is never sent: leave it out")
    for name, value in parse_qsl(urlsplit(on_day(text, SAMPLE_DAY)).query):
        _no_literal_secret(name, value)
    return text


def checked_file_name(text: str) -> str:
    """A plain file name that no file of the raw store has."""
    sample = on_day(_template(text), SAMPLE_DAY)
    check_file_name(sample)
    if VARIABLE.search(text):
        raise ValueError("a file's name holds no secret")
    if sample.startswith(".") or sample.endswith(_OUR_SUFFIXES) or "\\" in sample:
        raise ValueError("the name begins with a dot, holds a backslash or ends as headrace's own files do")
    if len(sample.encode()) > FILE_NAME_BYTES:
        raise ValueError(f"the name is longer than {FILE_NAME_BYTES} bytes")
    return text


def _no_literal_secret(name: str, value: str) -> None:
    plain = re.sub("[^a-z]", "", name.lower())
    if value and any(word in plain for word in _SECRET) and not VARIABLE.search(value):
        raise ValueError(
            f"the value of {name} is a secret and stands in the file: write ${{NAME}} and set the variable"
        )


def checked_header_name(name: str) -> str:
    """A token of RFC 9110."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header")
    return name


def checked_headers(named: dict[str, str]) -> dict[str, str]:
    """Headers of one printable line each, none of them ours, no secret written out."""
    for name, value in named.items():
        checked_header_name(name)
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ValueError(f"the value of {name} is not one line of printable ASCII")
        if "${" in VARIABLE.sub("", value):
            raise ValueError(f"the value of {name}: ${{…}} holds the name of an environment variable")
        if name.lower() in _OURS:
            raise ValueError(f"headrace itself says {name}: leave it out")
        _no_literal_secret(name, value)
    if len({name.lower() for name in named}) != len(named):
        raise ValueError("a header stands here twice")
    return named


def checked_query(named: dict[str, str]) -> dict[str, str]:
    """Parameters of a query, no secret written out."""
    for name, value in named.items():
        _template(value)
        _no_literal_secret(name, value)
    return named
