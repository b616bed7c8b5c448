"""Spark SQL types as plain values, and the columns of the lake's tables as DDL strings: no JVM needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from contracts.stream import Stream

INTEGERS = ("tinyint", "smallint", "int", "bigint")
SIMPLE = (*INTEGERS, "string", "boolean", "date", "timestamp", "timestamp_ntz", "double", "float", "binary")
_SYNONYMS = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint", "real": "float"}

# `_unavailable`: columns whose value the change lacks, NULL if none. `_moved_key`: where the primary key of a row was
# changed, the new `_key` in the delete of the old one, the old one in the create of the new one.
CDC_COLUMNS = (("_snapshot", "string"), ("_unavailable", "array<string>"), ("_moved_key", "binary"))
# The transaction that wrote the row at the source; NULL for what a snapshot read, and for rows from before the option.
TRANSACTION_COLUMN = ("_transaction", "string")
FILE_COLUMNS = (("_file", "string"), ("_file_hash", "string"), ("_line", "bigint"))
EVENT_COLUMNS = (
    ("_op", "string"),
    ("_version", "bigint"),
    ("_key", "binary"),
    ("_hash", "binary"),
    ("_topic", "string"),
    ("_partition", "int"),
    ("_offset", "bigint"),
    ("_event_time", "timestamp"),
    ("_ingested_at", "timestamp"),
)
RESCUED = "_rescued"
RESCUED_TYPE = "map<string,string>"
CURRENT_COLUMNS = (("_key", "binary"), ("_version", "bigint"), ("_hash", "binary"), ("_event_time", "timestamp"))


@dataclass(frozen=True, slots=True)
class SparkType:
    """`name` is a simple type, `decimal`, `array`, `map` or `struct`. `inner` holds the element of an array, key and
    value of a map, or the fields of a struct, whose names are in `fields`."""

    name: str
    precision: int = 0
    scale: int = 0
    inner: tuple[SparkType, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def is_nested(self) -> bool:
        """Whether it is an array, a map or a struct."""
        return bool(self.inner)

    def simple(self) -> str:
        """Spark's own short spelling, equal for equal types."""
        if self.name == "decimal":
            return f"decimal({self.precision},{self.scale})"
        if self.name == "struct":
            return f"struct<{','.join(f'{n}:{t.simple()}' for n, t in zip(self.fields, self.inner, strict=True))}>"
        if self.inner:
            return f"{self.name}<{','.join(item.simple() for item in self.inner)}>"
        return self.name

    def contains(self, *names: str) -> bool:
        """Whether one of these type names occurs at any depth."""
        return self.name in names or any(item.contains(*names) for item in self.inner)


def parse_type(text: str) -> SparkType:
    """Read a Spark SQL type.

    Raises:
        ValueError: says what was expected and where.
    """
    tokens = _Tokens(text)
    found = _type(tokens)
    if tokens.peek():
        raise ValueError(f"{text!r}: {tokens.peek()!r} is left over after the type {found.simple()}")
    return found


def widens(old: SparkType, new: SparkType) -> bool:
    """Whether every value of `old` is one of `new` with the same canonical text, so that keys and hashes stay."""
    if old.name in INTEGERS and new.name in INTEGERS:
        return INTEGERS.index(old.name) < INTEGERS.index(new.name)
    return old.name == new.name == "decimal" and old.scale == new.scale and old.precision < new.precision


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self._items: Iterator[str] = iter(re.findall(r"\w+|[^\w\s]", text))
        self._next = next(self._items, "")

    def peek(self) -> str:
        return self._next

    def take(self, wanted: str = "") -> str:
        found = self._next
        if wanted and found != wanted:
            raise ValueError(f"{self.text!r}: {wanted!r} expected, not {found or 'the end'!r}")
        self._next = next(self._items, "")
        return found


def _type(tokens: _Tokens) -> SparkType:
    name = tokens.take().lower()
    name = _SYNONYMS.get(name, name)
    if name in SIMPLE:
        return SparkType(name)
    if name == "decimal":
        return _decimal(tokens)
    if name == "array":
        tokens.take("<")
        element = _type(tokens)
        tokens.take(">")
        return SparkType("array", inner=(element,))
    if name == "map":
        tokens.take("<")
        key = _type(tokens)
        if key.name != "string":  # every map comes from JSON, whose keys are strings
            raise ValueError(f"{tokens.text!r}: the keys of a map are string, not {key.simple()}")
        tokens.take(",")
        value = _type(tokens)
        tokens.take(">")
        return SparkType("map", inner=(key, value))
    if name == "struct":
        return _struct(tokens)
    raise ValueError(
        f"{tokens.text!r}: {name!r} is no type headrace carries; "
        f"write one of {', '.join(SIMPLE)}, decimal(p,s), array<…>, map<…,…>, struct<name:…>"
    )


def _decimal(tokens: _Tokens) -> SparkType:
    tokens.take("(")
    precision = tokens.take()
    tokens.take(",")
    scale = tokens.take()
    tokens.take(")")
    if not (precision.isdecimal() and scale.isdecimal() and 1 <= int(precision) <= 38 and int(scale) <= int(precision)):
        raise ValueError(f"{tokens.text!r}: decimal(p,s) needs 1 <= p <= 38 and 0 <= s <= p")
    return SparkType("decimal", int(precision), int(scale))


def _struct(tokens: _Tokens) -> SparkType:
    names: list[str] = []
    inner: list[SparkType] = []
    tokens.take("<")
    while True:
        names.append(tokens.take())
        tokens.take(":")
        inner.append(_type(tokens))
        if tokens.peek() != ",":
            break
        tokens.take(",")
    tokens.take(">")
    if len({name.lower() for name in names}) != len(names):
        raise ValueError(f"{tokens.text!r}: a struct has two fields of one name (Spark does not tell case apart)")
    return SparkType("struct", inner=tuple(inner), fields=tuple(names))


def history_columns(stream: Stream) -> tuple[tuple[str, str], ...]:
    """Name and Spark type of each column of the history table, in its order."""
    tail = CDC_COLUMNS if stream.is_cdc else FILE_COLUMNS
    return (
        *((column.name, column.spark_type) for column in stream.columns),
        *EVENT_COLUMNS,
        *tail,
        *rescued_columns(stream),
        *((TRANSACTION_COLUMN,) if stream.consistent_cut else ()),
    )


def current_columns(stream: Stream) -> tuple[tuple[str, str], ...]:
    """Name and Spark type of each column of the `_current` view, in its order."""
    tail = () if stream.is_cdc else (("_file", "string"), ("_line", "bigint"))
    return (
        *((column.name, column.spark_type) for column in stream.columns),
        *CURRENT_COLUMNS,
        *tail,
        *rescued_columns(stream),
    )


def rescued_columns(stream: Stream) -> tuple[tuple[str, str], ...]:
    """The column for fields that the contract does not declare, if the stream keeps them: name and text of each field
    of the row, NULL where there is none."""
    return ((RESCUED, RESCUED_TYPE),) if stream.rescues else ()
