"""Patterns of dates and times: the letters of Java's DateTimeFormatter that Spark reads without guessing.

Source: Spark's "Datetime Patterns for Formatting and Parsing". What is left out here (week-based years, optional
sections, fractions beyond microseconds) either reads one text as two values or cuts it.
"""

from __future__ import annotations

import re

_LETTERS = {
    "y": (4,),
    "M": (1, 2, 3, 4),
    "d": (1, 2),
    "E": (1, 2, 3, 4),
    "H": (1, 2),
    "h": (1, 2),
    "a": (1,),
    "m": (1, 2),
    "s": (1, 2),
    "S": (1, 2, 3, 4, 5, 6),
    "Z": (1, 2, 3),
    "X": (1, 2, 3),
    "x": (1, 2, 3),
    "V": (2,),
}
_ZONE = "ZXxV"
_PART = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|.", re.DOTALL)


def wrong_format(pattern: str, spark_type: str) -> str:
    """Why a column of this type cannot be read by this pattern; empty if it can."""
    seen = ""
    for part in _PART.finditer(pattern):
        letter = part[1]
        if letter is None:
            if len(part[0]) == 1 and part[0] in "'[]{}#":
                return f"`{part[0]}` has a meaning of its own in a pattern"
            continue
        if letter not in _LETTERS or len(part[0]) not in _LETTERS[letter]:
            known = " ".join(each * lengths[-1] for each, lengths in _LETTERS.items())
            return f"`{part[0]}` is none of the letters that are read exactly: {known} (or fewer of the same)"
        if letter in seen:
            return f"`{letter}` stands in it twice"
        seen += letter
    if missing := [letter for letter in "yMd" if letter not in seen]:
        return f"it lacks `{missing[0]}`: a date needs year, month and day"
    if spark_type == "date" and (extra := [letter for letter in seen if letter not in "yMdE"]):
        return f"`{extra[0]}` would be cut off: a date has no time"
    if spark_type == "timestamp_ntz" and (zone := [letter for letter in seen if letter in _ZONE]):
        return f"`{zone[0]}` would be cut off: the type has no zone"
    if ("h" in seen) != ("a" in seen) or ("h" in seen and "H" in seen):
        return "an hour is `H`, or `h` with `a`"
    return ""
