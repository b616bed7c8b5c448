"""What a contract's `headrace.sourceType` says of a MariaDB column that its values' text alone does not tell."""

from __future__ import annotations

import re


def is_unsigned_bigint(source_type: str) -> bool:
    """Whether Debezium sends this column's numbers as bytes: they need not fit 64 bits with a sign."""
    words = re.sub(r"\(\d+\)", "", source_type.lower()).split()
    return words[:2] == ["bigint", "unsigned"]


def is_latin1(source_type: str) -> bool:
    """Whether the text comes from a latin1 column. Debezium reads it as cp1252, which lacks five of its characters;
    each of those arrives as U+FFFD, which latin1 itself does not have."""
    return "latin1" in source_type.lower().split()
