"""What a sample suggests but cannot say: which columns make a row what it is, and which tell of a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import prod

from contracts.spark_types import parse_type
from headrace.drafts.model import FoundColumn

_KEY_WORDS = frozenset(("id", "key", "code", "no", "nr", "number", "uuid", "guid"))
_LONGEST_KEY = 3
_MOST_CANDIDATES = 12
_NO_KEY_ALONE = ("boolean", "date", "timestamp", "timestamp_ntz", "decimal")
_NO_KEY = ("boolean", "double", "float", "binary", "array", "map", "struct")

_PII_WORDS = {
    **dict.fromkeys(("email", "mail"), "an e-mail address"),
    **dict.fromkeys(("phone", "telephone", "mobile", "tel", "fax"), "a telephone number"),
    **dict.fromkeys(("ssn", "iban"), "a number of a person or an account"),
    **dict.fromkeys(("birth", "birthday", "birthdate", "dob"), "a date of birth"),
    **dict.fromkeys(("name", "firstname", "lastname", "fullname", "surname"), "a person's name"),
    **dict.fromkeys(("address", "street"), "an address"),
}
_PII_VALUES = {
    "e-mail addresses": re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
    "social security numbers": re.compile(r"\d{3}-\d{2}-\d{4}", re.ASCII),
    "telephone numbers": re.compile(r"(?=(?:.*\d){7})(?:\+[\d ()./-]+|[(0][\d.]*[ ()/-][\d ()./-]+)", re.ASCII),
}
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}")


def guess_key(columns: Sequence[FoundColumn]) -> tuple[str, ...]:
    """The smallest set of columns, three at most, that no two rows share and that is never NULL; else nothing.

    Of sets of one size those whose names speak of keys come first, then those that stand first.
    """
    found = [column for column in columns if _may_be_key(column) and None not in column.values]
    found.sort(key=lambda column: not is_key_name(column.name))
    distinct = {column.name: len(set(column.values)) for column in found}
    for size in range(1, _LONGEST_KEY + 1):
        for chosen in combinations(found[:_MOST_CANDIDATES] if size > 1 else found, size):
            if size == 1 and not is_key_name(chosen[0].name) and _type_name(chosen[0]) in _NO_KEY_ALONE:
                continue
            rows = len(chosen[0].values)
            if rows and prod(distinct[column.name] for column in chosen) >= rows and not repeats(chosen):
                return tuple(column.name for column in columns if column in chosen)
    return ()


def nearly_key(columns: Sequence[FoundColumn]) -> str:
    """Says which column of a key's name would be one but for a row in a hundred, or fewer; empty if none is."""
    for column in columns:
        if not (_may_be_key(column) and is_key_name(column.name) and column.values):
            continue
        odd = repeats([column]) + max(0, column.values.count(None) - 1)
        if odd * 100 <= len(column.values):
            return f"{column.name} is one but for {odd:,} of {len(column.values):,} sampled rows"
    return ""


def repeats(columns: Sequence[FoundColumn]) -> int:
    """How many rows have the same values in these columns as another row before them."""
    rows = list(zip(*(column.values for column in columns), strict=True))
    return len(rows) - len(set(rows))


def is_key_name(name: str) -> bool:
    """Whether a word of the name is one that keys have."""
    return not _KEY_WORDS.isdisjoint(name.split("_"))


def _may_be_key(column: FoundColumn) -> bool:
    if _type_name(column) == "decimal":
        return is_key_name(column.name)
    return _type_name(column) not in _NO_KEY


def _type_name(column: FoundColumn) -> str:
    return parse_type(column.type.spark_type).name


def guess_pii(column: FoundColumn) -> str:
    """Why the column tells of a person, by its name or by most of its values; empty if nothing says so."""
    if column.pii:
        return column.pii
    if what := next((_PII_WORDS[word] for word in _words(column) if word in _PII_WORDS), ""):
        return f"its name is that of {what}"
    texts = [value for value in column.values if isinstance(value, str)]
    if column.type.spark_type != "string" or not texts:
        return ""
    for what, pattern in _PII_VALUES.items():
        if sum(bool(pattern.fullmatch(text.strip())) for text in texts) * 2 > len(texts):
            return f"most values look like {what}"
    return "most values look like IBANs" if sum(map(_is_iban, texts)) * 2 > len(texts) else ""


def _words(column: FoundColumn) -> Iterator[str]:
    """The words of its name, and of the names of fields within it."""
    names = [column.name, *re.findall(r"(\w+):", column.type.spark_type)]
    for name in names:
        yield from re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def _is_iban(text: str) -> bool:
    if not _IBAN.fullmatch(text):
        return False
    bare = text.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in bare[4:] + bare[:4])) % 97 == 1
