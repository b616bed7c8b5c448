"""The type of texts, read as cautiously as the lake's cast reads them: what it would refuse or alter stays a string."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from headrace.drafts.model import Typed

NULL_MARKERS = ("NA", "N/A", "NULL", "null", r"\N", "-")
MOST_DIGITS = 38
_BIGINT = range(-(2**63), 2**63)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.][0-9]{1,6}0*)?"
    r"(Z|[+-](?:0[0-9]|1[0-7])(?::?[0-5][0-9])?)?"
)
_DOTTED = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4})")
_SLASHED = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})")


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How a file writes numbers."""

    decimal: str = "."
    thousands: str = ""

    def pattern(self) -> re.Pattern[str]:
        """Whole digits are group 1, with their separators; those behind the decimal mark are group 2."""
        grouped = rf"[1-9][0-9]{{0,2}}(?:{re.escape(self.thousands)}[0-9]{{3}})+|" if self.thousands else ""
        return re.compile(rf"-?({grouped}0|[1-9][0-9]*)(?:{re.escape(self.decimal)}([0-9]+))?")


PLAIN = NumberStyle()
_STYLES = (PLAIN, *(NumberStyle(mark, sep) for sep in ("", ".", ",", " ", "'") for mark in ",." if mark != sep))


def number_style(columns: Iterable[Collection[str]], delimiter: str) -> NumberStyle:
    """The style in which most columns are numbers; the plain one unless another makes more of them."""
    kept = [column for column in columns if column]
    best, most = PLAIN, -1
    for style in _STYLES:
        if style.decimal == "," == delimiter:
            continue
        pattern = style.pattern()
        fitting = [column for column in kept if all(pattern.fullmatch(text) for text in column)]
        # A separator alone proves nothing: `1.234` may be a fraction, `030 123` a telephone.
        proven = not style.thousands or any(
            style.thousands in text and style.decimal in text for column in fitting for text in column
        )
        if proven and len(fitting) > most:
            best, most = style, len(fitting)
    return best


def text_type(values: Sequence[str], style: NumberStyle = PLAIN, *, numbers: bool = True) -> Typed:
    """The narrowest type that all these texts are spelled in; `numbers`: whether texts may be numbers or booleans."""
    if not values:
        return Typed("string", "no value in the sample")
    distinct = set(values)
    found = (_number(distinct, style) if numbers else None) or _day(distinct) or _instant(distinct)
    if found:
        return found
    return Typed("string", _nearly(values, style) if numbers else "texts")


def decimal_type(whole_digits: int, fraction_digits: int) -> str | None:
    """`decimal(p,s)` with room for four more digits before and two more behind the point, as far as 38 allow it."""
    if whole_digits + fraction_digits > MOST_DIGITS:
        return None
    scale = min(fraction_digits + 2, MOST_DIGITS - whole_digits)
    return f"decimal({min(MOST_DIGITS, max(18, whole_digits + 4 + scale))},{scale})"


def is_bigint(number: int) -> bool:
    """Whether it has room in 64 bits."""
    return number in _BIGINT


def _number(distinct: set[str], style: NumberStyle) -> Typed | None:
    if all(text.lower() in ("true", "false") for text in distinct):
        return Typed("boolean", "all values are true or false")
    if all(map(_is_whole, distinct)):
        return Typed("bigint", "all values are whole numbers")
    pattern = style.pattern()
    whole = fraction = 0
    for text in distinct:
        found = pattern.fullmatch(text)
        if not found:
            return None
        whole = max(whole, sum(map(str.isdigit, found[1])))
        fraction = max(fraction, len(found[2] or ""))
    if not fraction and not style.thousands:
        return None  # whole numbers too large for 64 bits name something
    spark_type = decimal_type(whole, fraction)
    return Typed(spark_type, "all values are numbers; precision and scale have some room") if spark_type else None


def _is_whole(text: str) -> bool:
    return len(text) <= 20 and bool(_WHOLE.fullmatch(text)) and is_bigint(int(text))


def _day(distinct: set[str]) -> Typed | None:
    if all(map(_is_iso_date, distinct)):
        return Typed("date", "all values are dates")
    if all(_is_day(_DOTTED.fullmatch(text), day_first=True) for text in distinct):
        return Typed("date", "all values are dates", "dd.MM.yyyy")
    slashed = [_SLASHED.fullmatch(text) for text in distinct]
    day_first = all(_is_day(found, day_first=True) for found in slashed)
    month_first = all(_is_day(found, day_first=False) for found in slashed)
    if day_first and month_first:
        return Typed("date", "all values are dates; whether day or month comes first is open", "dd/MM/yyyy")
    if day_first or month_first:
        return Typed("date", "all values are dates", "dd/MM/yyyy" if day_first else "MM/dd/yyyy")
    return None


def _is_iso_date(text: str) -> bool:
    return bool(_ISO_DATE.fullmatch(text)) and _exists(date.fromisoformat, text)


def _is_day(found: re.Match[str] | None, *, day_first: bool) -> bool:
    if not found:
        return False
    day, month = (found[1], found[2]) if day_first else (found[2], found[1])
    return _exists(date.fromisoformat, f"{found[3]}-{month}-{day}")


def _instant(distinct: set[str]) -> Typed | None:
    zoned = True
    for text in distinct:
        found = _TIMESTAMP.fullmatch(text)
        if not found or not _exists(datetime.fromisoformat, f"{found[1]}T{found[2]}"):
            return None
        zoned = zoned and bool(found[3])
    why = "all values are timestamps"
    return Typed("timestamp", why if zoned else f"{why}; those without a zone are read as UTC")


def _exists(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _nearly(values: Sequence[str], style: NumberStyle) -> str:
    """Why it is a string, if one type fits all but a few values."""
    tests: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("whole numbers", _is_whole),
        ("numbers", style.pattern().fullmatch),
        ("dates", _is_iso_date),
        ("timestamps", _TIMESTAMP.fullmatch),
    )
    for name, test in tests:
        misses = sum(not test(text) for text in values)
        if misses * 20 <= len(values):
            return (
                f"{misses:,} of {len(values):,} values are no {name}" if misses else f"not all of these {name} can be"
            )
    return "no narrower type fits all values"
