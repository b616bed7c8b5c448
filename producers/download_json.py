"""Find values in a JSON text without changing a character of them: numbers, escapes and repeated keys stay as written.

Python's `json` would make 1.10 a 1.1 and keep the last of two equal keys in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

_BLANKS = re.compile(r"[ \t\n\r]*")


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


# Numbers stay text: none is rounded, and none is too long.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_json)


def value_at(text: str, path: str) -> str | None:
    """The text of the value at a dotted path of keys; None if there is none. An empty path is the whole document.

    A key that holds dots itself is found too (`@odata.nextLink`).

    Raises:
        ValueError: the text is no JSON, or a key of the path stands twice in its object.
    """
    start = _skip(text, 0)
    found: tuple[int, int] | None = (start, _end(text, start))
    if _skip(text, _end(text, start)) != len(text):
        raise ValueError("something follows the value")
    return _slice(text, _descend(text, start, path) if path else found)


def elements(text: str) -> Iterator[str]:
    """The text of each element of an array, each on one line: line ends between tokens become blanks.

    Raises:
        ValueError: the text is no JSON array.
    """
    if not text.startswith("["):
        raise ValueError(f"no array but {text[:40]!r}")
    at = _skip(text, 1)
    while text[at : at + 1] != "]":
        end = _end(text, at)
        # A line end inside a string would be no JSON.
        yield text[at:end].replace("\r", " ").replace("\n", " ")
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)


def scalar(text: str) -> str:
    """A string's or number's value as text; empty for null, false and the empty string.

    Raises:
        ValueError: it is an object, an array or true.
    """
    value = _DECODER.decode(text)
    if value in (None, False):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"no string or number but {text[:40]!r}")
    return value


def _descend(text: str, at: int, path: str) -> tuple[int, int] | None:
    if text[at] != "{":
        return None
    found: list[tuple[int, int] | None] = []
    for key, start, end in _members(text, at):
        if key == path:
            found.append((start, end))
        elif path.startswith(f"{key}.") and (deeper := _descend(text, start, path[len(key) + 1 :])):
            found.append(deeper)
    if len(found) > 1:
        raise ValueError(f"{path!r} stands there twice")
    return found[0] if found else None


def _members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """Key and the value's place of each member of a sound object."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        end = _end(text, start)
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _end(text: str, at: int) -> int:
    try:
        return int(_DECODER.raw_decode(text, at)[1])
    except RecursionError:
        raise ValueError("nested too deep") from None


def _skip(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _slice(text: str, place: tuple[int, int] | None) -> str | None:
    return text[place[0] : place[1]] if place else None
