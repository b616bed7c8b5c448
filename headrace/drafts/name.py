"""What a file's name says: the stream's name, the pattern of its files, and whether a date in it is their unit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import count

from contracts.columns import COLUMN_NAME
from contracts.errors import Fatal
from contracts.loader import NAME, RESERVED, RESERVED_ENDINGS

_ISO = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)", re.ASCII)
_COMPACT = re.compile(r"(?<!\d)(?:19|20)\d{6}(?!\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class NamePattern:
    """`has_unit`: the pattern has a group for an ISO date. `guess` says what of it is one; `unit_check` what to check
    if that date is what a file states."""

    pattern: str
    has_unit: bool
    guess: str
    checks: tuple[str, ...]
    unit_check: str


def file_pattern(file_name: str, group: str) -> NamePattern:
    """A regular expression for files named as this one, their dates generalised, all else as it stands.

    Raises:
        Fatal: the name is not UTF-8.
    """
    try:
        file_name.encode()
    except UnicodeEncodeError as problem:
        raise Fatal("the file's name is not UTF-8", next_step="rename it") from problem
    parts: list[str] = []
    at = 0
    has_unit = has_compact = False
    dates = [*_dates(_ISO, file_name, str), *_dates(_COMPACT, file_name, lambda t: f"{t[:4]}-{t[4:6]}-{t[6:]}")]
    for start, end in sorted(dates):
        parts.append(re.escape(file_name[at:start]))
        if end - start == 8:
            parts.append(r"\d{8}")
            has_compact = True
        elif has_unit:
            parts.append(r"\d{4}-\d{2}-\d{2}")
        else:
            parts.append(rf"(?P<{group}>\d{{4}}-\d{{2}}-\d{{2}})")
            has_unit = True
        at = end
    rest = re.escape(file_name[at:])
    pattern = "".join(parts) + rest
    checks = []
    fixed = "".join(part for part in (*parts, rest) if not part.startswith(("(?P<", r"\d")))
    if re.search(r"\d", fixed):
        checks.append("the file pattern: the other digits of the file's name stand in it as they are")
    if len(dates) > 1 and has_unit:
        checks.append(f"the file pattern: the name holds more than one date, the first ISO date is `{group}`")
    if has_unit:
        unit = f"headrace.fileUnit: a later file of the same `{group}` replaces this one; without it files only add"
    else:
        what = "a date as yyyymmdd, which cannot be the unit" if has_compact else "no date"
        unit = (
            f"`{group}`: the file's name holds {what}; it is the push's --batch-date, and of files that are pushed for "
            "the same day the last one replaces the others"
        )
    return NamePattern(pattern, has_unit, _why(has_unit, has_compact), tuple(checks), unit)


def _why(has_unit: bool, has_compact: bool) -> str:
    if has_unit:
        return "the date in the name differs from file to file"
    return "the eight digits are a date" if has_compact else "files of this stream always have this one name"


def _dates(pattern: re.Pattern[str], text: str, iso: Callable[[str], str]) -> list[tuple[int, int]]:
    return [found.span() for found in pattern.finditer(text) if _is_date(iso(found[0]))]


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def stream_name(file_name: str, given: str = "") -> str:
    """The given name for the stream, or the file's without endings, dates and numbers.

    Raises:
        Fatal: it may not name a stream.
    """
    if given:
        if not names_a_stream(given):
            raise Fatal(
                f"`{given}` may not name a stream", next_step="lower-case letters, digits and _, a letter first"
            )
        return given
    stem = file_name.split(".")[0]
    words = re.sub(r"[^a-z0-9]+", "_", _ISO.sub("_", stem).lower())
    name = re.sub(r"(_\d+)+(?=_|$)|^\d+", "", words).strip("_")
    if not names_a_stream(name):
        raise Fatal("the file's name gives no name for the stream", next_step="--stream NAME")
    return name


def column_names(found: Sequence[str]) -> dict[str, str]:
    """A contract's name for each of these: itself where it may be, else its words in snake_case; each one once."""
    names = {name: name for name in found if re.fullmatch(COLUMN_NAME, name)}
    for name in found:
        if name not in names:
            made = _snake(name)
            taken = {*names.values()}
            further = (f"{made}_{number}" for number in count(2))
            names[name] = made if made not in taken else next(one for one in further if one not in taken)
    return names


def _snake(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain).lower()
    snake = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
    return snake if re.match("[a-z]", snake) else f"column_{snake}".rstrip("_")


def names_a_stream(name: str) -> bool:
    """Whether a stream may have this name."""
    return bool(NAME.fullmatch(name)) and name not in RESERVED and not name.endswith(RESERVED_ENDINGS)
