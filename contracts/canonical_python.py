"""Canonical text of one value in plain Python: what Spark and Postgres must give, for tests and known answers."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from contracts.spark_types import INTEGERS, SparkType

Text = Callable[[object], str]


def text_of(spark_type: SparkType) -> Text:
    """The function that writes a value (never None) of that type; built once, called per value.

    Values: int, str, bool, Decimal, date, datetime (aware; naive for `timestamp_ntz`), float, bytes, a sequence for
    an array, a mapping for a map and for a struct.
    """
    simple = _SIMPLE.get(spark_type.name)
    if simple:
        return simple
    if spark_type.name == "decimal":
        # An int would be printed through a float.
        return lambda value: f"{Decimal(value) if isinstance(value, int) else value:.{spark_type.scale}f}"
    parts = [part_of(inner) for inner in spark_type.inner]
    if spark_type.name == "array":
        return lambda value: "".join(map(parts[0], _sequence(value)))
    if spark_type.name == "map":
        return lambda value: "".join(
            sorted((parts[0](k) + parts[1](v) for k, v in _mapping(value).items()), key=str.encode)
        )
    named = list(zip(spark_type.fields, parts, strict=True))
    return lambda value: "".join(part(_mapping(value).get(field)) for field, part in named)


def part_of(spark_type: SparkType) -> Text:
    """The function that writes `N;` or `<length>:<text>;`."""
    text = text_of(spark_type)

    def part(value: object) -> str:
        if value is None:
            return "N;"
        written = text(value)
        return f"{len(written)}:{written};"

    return part


def _sequence(value: object) -> Sequence[object]:
    assert isinstance(value, Sequence)
    return value


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value


def _timestamp(value: object) -> str:
    assert isinstance(value, datetime)
    assert value.tzinfo
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(timespec="microseconds")[:26] + "Z"


def _timestamp_ntz(value: object) -> str:
    assert isinstance(value, datetime)
    return value.isoformat(timespec="microseconds")[:26]


def _date(value: object) -> str:
    assert isinstance(value, date)
    return value.isoformat()


def _boolean(value: object) -> str:
    return "true" if value else "false"


def _double(value: object) -> str:
    assert isinstance(value, int | float | Decimal)
    number = float(value) + 0.0
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    mantissa, _, exponent = number.hex().partition("p")
    lead, _, fraction = mantissa.partition(".")
    return f"{lead}.{fraction.rstrip('0') or '0'}p{int(exponent)}"


def _float(value: object) -> str:
    assert isinstance(value, int | float | Decimal)
    return _double(struct.unpack("f", struct.pack("f", value))[0])


def _binary(value: object) -> str:
    assert isinstance(value, bytes | bytearray)
    return value.hex()


_SIMPLE: Mapping[str, Text] = {
    **dict.fromkeys((*INTEGERS, "string"), str),
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "timestamp_ntz": _timestamp_ntz,
    "double": _double,
    "float": _float,
    "binary": _binary,
}


def sha256(text: str) -> bytes:
    """The 32 bytes of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def first_60_bits(digest: bytes) -> int:
    """The first 60 bits of a digest."""
    return int.from_bytes(digest[:8]) >> 4
