"""Texts that are certainly no value of a declared type: what the streaming job refuses whatever else it sees.

Its own rules are those of `streaming_jobs/transforms/faithful_cast.py`, which alone decide. Here a text passes wherever
they would have to be written a second time to be sure: exponents of decimals, digits of doubles, hours of a time, what
a pattern's letters mean, and everything nested. A test holds that what is refused here is refused there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date

from contracts.spark_types import INTEGERS, SparkType, parse_type
from contracts.stream import Column, FileSource

Refuses = Callable[[str], bool]

_BITS = dict(zip(INTEGERS, (8, 16, 32, 64), strict=True))
_INTEGER = re.compile(r"[+-]?([0-9]+)([.]0+)?")
_NUMBER = re.compile(r"[+-]?([0-9]*)(?:[.]([0-9]*))?([eE][+-]?[0-9]+)?")
_WORDS = ("NaN", "Infinity", "-Infinity")
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = "[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6}0*)?"
_TIMES = {
    "date": re.compile(f"{_DATE}Z?"),
    "timestamp": re.compile(f"{_DATE}{_TIME}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)?"),
    "timestamp_ntz": re.compile(f"{_DATE}{_TIME}Z?"),
}
_LONG = 38
_PATTERN_PART = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|(.)", re.DOTALL)


def refuses(column: Column, source: FileSource) -> Refuses | None:
    """A function that is true for the texts that are no value of this column; None if any text may be one."""
    kind = parse_type(column.spark_type)
    if column.format:
        shape = _shape(column.format)
        return lambda text: not shape.fullmatch(text)
    found = _plain(kind)
    if found and kind.name in (*INTEGERS, "decimal", "double", "float"):
        return _localised(found, source)
    return found


def _plain(kind: SparkType) -> Refuses | None:
    if kind.name in INTEGERS:
        bits = _BITS[kind.name]
        return lambda text: not _may_be_integer(text, bits)
    if kind.name == "decimal":
        return lambda text: not _may_be_decimal(text, kind.precision, kind.scale)
    if kind.name in ("double", "float"):
        return lambda text: text not in _WORDS and not _number(text)
    if kind.name == "boolean":
        return lambda text: text.lower() not in ("true", "false")
    if kind.name in _TIMES:
        pattern = _TIMES[kind.name]
        return lambda text: not (pattern.fullmatch(text) and _in_calendar(text))
    return None


def _may_be_integer(text: str, bits: int) -> bool:
    found = _INTEGER.fullmatch(text)
    if not found or len(found[1]) > _LONG:
        return bool(found)
    value = int(found[1]) * (-1 if text[0] == "-" else 1)
    return -(1 << bits - 1) <= value < 1 << bits - 1


def _number(text: str) -> re.Match[str] | None:
    found = _NUMBER.fullmatch(text)
    return found if found and (found[1] or found[2]) else None


def _may_be_decimal(text: str, precision: int, scale: int) -> bool:
    found = _number(text)
    if not found or found[3]:
        return bool(found)
    whole, fraction = found[1].lstrip("0"), (found[2] or "").rstrip("0")
    return len(whole) <= precision - scale and len(fraction) <= scale


def _in_calendar(text: str) -> bool:
    with suppress(ValueError):
        date.fromisoformat(text[:10])
        return True
    return False


def _localised(refused: Refuses, source: FileSource) -> Refuses:
    """The same for numbers in the stream's own spelling (`1.234,50`)."""
    mark, thousands = source.decimal, source.thousands
    if mark == "." and not thousands:
        return refused
    grouped = rf"[0-9]{{1,3}}(?:[{thousands}][0-9]{{3}})+|" if thousands else ""
    number = re.compile(rf"[+-]?(?:(?:{grouped}[0-9]+)(?:[{mark}][0-9]*)?|[{mark}][0-9]+)(?:[eE][+-]?[0-9]{{1,4}})?")

    def refused_here(text: str) -> bool:
        if text in _WORDS:
            return refused(text)
        if not number.fullmatch(text):
            return True
        return refused((text.replace(thousands, "") if thousands else text).replace(mark, "."))

    return refused_here


def _shape(pattern: str) -> re.Pattern[str]:
    """What every text of a date pattern looks like; which day it is, or whether there is one, is not asked."""
    parts = []
    for found in _PATTERN_PART.finditer(pattern):
        quoted, letter, other = found.groups()
        if letter is None:
            parts.append(re.escape(other or (quoted or "").replace("''", "'") or "'"))
        elif letter in "EaZXxV" or (letter == "M" and len(found[0]) > 2):
            parts.append(".*")
        elif letter in "yS" or len(found[0]) == 1:
            parts.append("[+-]?[0-9]+")
        else:
            parts.append("[0-9]{2}")
    return re.compile(rf"\s*{''.join(parts)}\s*", re.IGNORECASE | re.DOTALL)
