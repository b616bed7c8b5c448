"""Access logs: whether a sample is one in the Common or Combined Log Format, and what its fields are."""

from __future__ import annotations

import re

from contracts import access_log
from headrace.drafts.model import FoundColumn, FoundTable, Property, Typed
from headrace.drafts.sample import Sample

_LOOK_LINES = 200
_TIME_FORMAT = "dd/MMM/yyyy:HH:mm:ss Z"
_SIZES = ("status", "bytes")
_OF_PERSONS = {"host": "an address", "user": "a person's name"}


def log_format(sample: Sample) -> str:
    """`combined` or `common` if nine lines of ten are written so, else empty."""
    lines = [line for line in _lines(sample)[:_LOOK_LINES] if line]
    for name in ("combined", "common"):
        pattern = re.compile(access_log.NAMED[name], re.ASCII)
        if lines and sum(bool(pattern.fullmatch(line)) for line in lines) * 10 >= len(lines) * 9:
            return name
    return ""


def log_table(sample: Sample, name: str, rows: int) -> FoundTable:
    """The columns of a log in that format: the format itself gives their types."""
    pattern = re.compile(access_log.NAMED[name], re.ASCII)
    lines = [line for line in _lines(sample) if line][:rows]
    found = [match.groupdict() for match in map(pattern.fullmatch, lines) if match]
    columns = []
    for field in access_log.fields(access_log.NAMED[name]):
        values = [None if row[field] in (access_log.NULL, "") else row[field] for row in found]
        columns.append(FoundColumn(field, _type(field), values, pii=_OF_PERSONS.get(field, "")))
    properties = [
        Property("fileFormat", "log", "its lines are those of an access log"),
        Property("logFormat", name, "nine lines of ten, or more, are written so"),
    ]
    if sample.encoding != "utf-8":
        properties.append(Property("fileEncoding", sample.encoding, sample.encoding_guess))
    odd = len(lines) - len(found)
    checks = (f"{odd:,} sampled lines are written otherwise",) if odd else ()
    return FoundTable(tuple(properties), tuple(columns), len(found), checks, may_have_key=False)


def _type(field: str) -> Typed:
    if field == "time":
        return Typed("timestamp", format=_TIME_FORMAT)
    return Typed("bigint" if field in _SIZES else "string")


def _lines(sample: Sample) -> list[str]:
    lines = [line.removesuffix("\r") for line in sample.head.split("\n")]
    return lines if sample.whole else lines[:-1]
