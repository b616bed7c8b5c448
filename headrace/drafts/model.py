"""What was found in a sample file, before it is written as a contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Property:
    """One `headrace.` property, named without the prefix; `guess` says why, empty if it is no guess."""

    name: str
    value: object
    guess: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """A Spark type for some values and why it was chosen; never quotes a value.

    `format`: Java's pattern, if the values are not spelled as Spark reads them. `json`: the type is that of JSON text.
    """

    spark_type: str
    why: str = ""
    format: str = ""
    json: bool = False


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column that the rows themselves hold.

    `values` has one entry per sampled row, None for NULL. `never_null`: the file's own schema says so.
    """

    name: str
    type: Typed
    values: Sequence[object]
    never_null: bool = False
    pii: str = ""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """The rows of a sample: properties of the stream, its columns in the file's order, and what a person must check.

    `may_have_key`: whether values may make a row what it is; lines of a log repeat.
    """

    properties: tuple[Property, ...]
    columns: tuple[FoundColumn, ...]
    rows: int
    checks: tuple[str, ...] = ()
    may_have_key: bool = True
