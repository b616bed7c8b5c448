"""Which character separates the fields of a CSV file whose contract leaves that open."""

from __future__ import annotations

CANDIDATES = ",;\t|"


def delimiter_of(header: str) -> str:
    """The candidate that stands most often in the header; of equals, and of none, the first.

    The streaming job finds the same one from the same header (`decode_file_row`).
    """
    return max(CANDIDATES, key=header.count)
