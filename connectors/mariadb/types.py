"""MariaDB's types against a contract's: whether every value arrives as it is, which is not so for all of them.

What is refused here was seen with Debezium 3.5.0 and MariaDB 10.11: the value that came out of Kafka was another one,
or NULL, and nothing said so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.mariadb_spelling import is_latin1, is_unsigned_bigint
from contracts.spark_types import parse_type
from contracts.stream import Column

_INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_TEXT = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")
_TIMES = {"date": ("date",), "datetime": ("timestamp_ntz", "timestamp"), "timestamp": ("timestamp",)}
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_OPTION = re.compile(r"'((?:[^']|'')*)'")
_CHARSETS = ("utf8mb4", "utf8mb3", "utf8", "ascii")
_CONVERT = "CONVERT TO CHARACTER SET utf8mb4"

# Kind of column -> what becomes of its values, and what to have instead.
_ALTERED = {
    "time": (
        "a TIME below 00:00:00 or above 24:00:00 arrives as NULL",
        "store seconds in an integer, or the text in a varchar",
    ),
    "float": ("the first read sends a FLOAT with six digits: 16777215 arrives as 16777200", "make it a DOUBLE"),
    "uuid": ("of a UUID that ends in 00 all bytes arrive shifted", "make it a CHAR(36)"),
    "bit": ("a BIT of more than one bit arrives with its bytes in another order", "make it an unsigned integer"),
}


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column as information_schema has it: `type` in full (`int(10) unsigned`), `base` without the rest."""

    name: str
    base: str
    type: str
    charset: str
    in_key: bool

    @property
    def unsigned(self) -> bool:
        """Whether the type has no negative numbers."""
        return "unsigned" in self.type

    @property
    def altered(self) -> tuple[str, str] | None:
        """What the way through Kafka does to values of this type, and what to do; None where they stay as they are."""
        if self.type.startswith("bit(1)"):
            return None
        if self.base == "enum" and any(set(option) & {",", "\\"} for option in _OPTION.findall(self.type)):
            what = "a change sends an option that holds a comma or a backslash with another backslash in it"
            return what, "make it a VARCHAR, or give the option another name"
        return _ALTERED.get(self.base)


def misfit(found: CatalogColumn, column: Column) -> tuple[str, str]:
    """Why values of the found column cannot all be carried by the declared one, and what to declare; empty if they can.

    A type that nobody knows here is refused: a new one may arrive altered.
    """
    if problem := _undecodable(found, column):
        return problem
    spark, base = column.spark_type.replace(" ", ""), found.base
    if base in _INTEGER_BITS:
        return _integer(found, spark)
    if base == "decimal":
        return _decimal(found, spark)
    if base in _TEXT:
        wanted = "string" if not column.json else spark
        return ("", "") if spark == wanted else _wrong("string", spark)
    if base in _BINARY:
        return ("", "") if spark == "binary" else _wrong("binary", spark)
    known = {**_TIMES, "double": ("double",), "year": ("int", "smallint", "bigint"), "bit": ("boolean",)}.get(base)
    if known is None:
        return "headrace does not know whether values of this type arrive as they are", "leave the table or column out"
    return ("", "") if spark in known else _wrong(known[0], spark)


def statement(table: str, column: str, fix: str) -> str:
    """What `misfit` says to do, as a statement for the source (both names in quotes); empty if the contract is to
    change."""
    if fix.startswith(("physicalType", "headrace.", "leave")):
        return ""
    if fix == _CONVERT:
        return f"ALTER TABLE {table} {fix};"
    return f"ALTER TABLE {table} MODIFY {column} …;  -- {fix}"


def _undecodable(found: CatalogColumn, column: Column) -> tuple[str, str] | None:
    if found.altered:
        return found.altered
    if found.base == "bigint" and found.unsigned and not is_unsigned_bigint(column.source_type):
        return "Debezium sends its numbers as bytes", "headrace.sourceType: bigint unsigned"
    if is_unsigned_bigint(column.source_type) and not (found.base == "bigint" and found.unsigned):
        return "the contract says bigint unsigned", f"headrace.sourceType: {found.type}"
    if found.charset == "latin1" and not is_latin1(column.source_type):
        what = "some bytes of latin1 arrive as U+FFFD; such rows must be refused"
        return what, f"headrace.sourceType: {found.type} latin1"
    if found.charset and found.charset not in (*_CHARSETS, "latin1"):
        return f"texts in {found.charset} may arrive altered", _CONVERT
    return None


def _integer(found: CatalogColumn, spark: str) -> tuple[str, str]:
    bits = _INTEGER_BITS[found.base] + found.unsigned
    held = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
    fitting = next((name for name, most in held.items() if bits <= most), "decimal(20,0)")
    if found.type.startswith("tinyint(1)") and spark == "boolean":
        return "", ""
    if spark in held and bits <= held[spark]:
        return "", ""
    if spark.startswith("decimal") and _whole_digits(spark) >= len(str(2 ** (bits - 1))):
        return "", ""
    return _wrong(fitting, spark)


def _decimal(found: CatalogColumn, spark: str) -> tuple[str, str]:
    precision, scale = (int(number) for number in re.findall(r"\d+", found.type)[:2])
    if precision > 38:
        return "Spark's decimals have 38 digits at most", "give it 38 digits at most"
    kind = parse_type(spark)
    if kind.name == "decimal" and kind.scale >= scale and kind.precision - kind.scale >= precision - scale:
        return "", ""
    return _wrong(f"decimal({precision},{scale})", spark)


def _whole_digits(spark: str) -> int:
    kind = parse_type(spark)
    return kind.precision - kind.scale


def _wrong(fitting: str, declared: str) -> tuple[str, str]:
    return f"{declared} cannot hold every value", f"physicalType: {fitting}"
