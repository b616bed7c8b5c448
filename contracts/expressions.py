"""Row rules as Spark SQL: written from ODCS' words, and checked without a JVM."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from contracts.raising import reason_to_refuse
from contracts.spark_types import SparkType

_NUMERIC = ("tinyint", "smallint", "int", "bigint", "decimal", "double", "float")
_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]+\.?[0-9]*")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?")
_KEPT_DIGITS = 15  # by any double
_MOST_DIGITS = 38  # by Spark's decimal
_REFUSED = (exp.Subquery, exp.Select, exp.AggFunc, exp.Window, exp.Star)
_UNSTEADY = {
    "curdate",
    "current_date",
    "current_timestamp",
    "current_timezone",
    "current_user",
    "input_file_name",
    "localtimestamp",
    "monotonically_increasing_id",
    "now",
    "rand",
    "randn",
    "random",
    "randstr",
    "session_user",
    "shuffle",
    "spark_partition_id",
    "uniform",
    "unix_timestamp",
    "uuid",
}


def quote(text: str) -> str:
    """A Spark SQL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def literal(value: object, spark_type: SparkType, written: str = "") -> str:
    """A value from YAML as a Spark SQL literal of that type; `written` is its text there, if the caller knows it.

    Raises:
        ValueError: the value is not of the type, or is a number whose digits would not all reach Spark.
    """
    if spark_type.name in _NUMERIC:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is not a number")
        return _number(value, written)
    if spark_type.name == "boolean":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return str(value).lower()
    if spark_type.name == "string":
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a string: quote it")
        return quote(value)
    if spark_type.name in ("date", "timestamp", "timestamp_ntz"):
        text = value.isoformat() if isinstance(value, date | datetime) else str(value)
        try:
            # Python also reads forms that Spark casts to NULL (`20260105`), which no row would break.
            datetime.fromisoformat(text if _DAY.fullmatch(text) else "")
        except ValueError:
            raise ValueError(f"{value!r} is not an ISO 8601 {spark_type.name}") from None
        return f"cast({quote(text)} as {spark_type.name})"
    raise ValueError(f"a {spark_type.simple()} cannot be compared with {value!r}")


def _number(value: int | float, written: str) -> str:
    text = str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a number that values can be compared with")
        exact = _decimal(written)
        # YAML's float keeps 15 digits, and may have altered those behind them.
        if exact != Decimal(text) and (exact is not None or _digits(text) > _KEPT_DIGITS):
            if not _PLAIN_NUMBER.fullmatch(written):
                raise ValueError(f"{written or text} has more digits than YAML keeps: write it without an exponent")
            text = written.removeprefix("+")
    if _digits(text) > _MOST_DIGITS:
        raise ValueError(f"{text} has more than {_MOST_DIGITS} digits, which no column of Spark has")
    return text


def _decimal(written: str) -> Decimal | None:
    try:
        return Decimal(written)
    except InvalidOperation:
        return None


def _digits(number: str) -> int:
    return len(Decimal(number).as_tuple().digits)


def check_row_rule(expression: str, columns: Mapping[str, SparkType]) -> None:
    """Refuse (ValueError) what is not one Spark SQL expression over these columns of one row.

    Functions of the clock, of chance or of the session are refused too: a replay must judge a row as the first run
    did. So is what raises on some rows: a rule must refuse a row and never stop the stream.
    """
    try:
        tree = sqlglot.parse_one(f"SELECT {expression}", read="spark")
    except SqlglotError as problem:
        raise ValueError(f"{expression!r} is not Spark SQL: {str(problem).splitlines()[0]}") from None
    except RecursionError:
        raise ValueError(f"{expression[:100]!r}… is nested too deeply") from None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1 or set(_parts(tree)) != {"expressions"}:
        raise ValueError(f"{expression!r} is not one expression over the columns of a row")
    rule = tree.expressions[0]
    if isinstance(rule, exp.Alias):
        raise ValueError(f"{expression!r} names its result: write the condition alone")
    for node in rule.walk():
        if isinstance(node, _REFUSED):
            raise ValueError(f"{expression!r}: {node.sql('spark')!r} reads more than one row; put it in a check")
        if isinstance(node, exp.Func) and any(name in _UNSTEADY for name in _names(node)):
            raise ValueError(f"{expression!r}: {node.sql('spark')!r} gives another answer on a replay")
        if isinstance(node, exp.Column):
            _check_column(node, expression, columns)
    if reason := reason_to_refuse(rule, columns):
        raise ValueError(f"{expression!r}: {reason}")
    if isinstance(rule, exp.Column | exp.Boolean | exp.Func | exp.Paren | exp.Predicate | exp.Connector | exp.Not):
        return
    raise ValueError(f"{expression!r} is not a condition: it must be true or false")


def _parts(tree: exp.Expression) -> list[str]:
    return [name for name, value in tree.args.items() if value]


def _names(node: exp.Func) -> list[str]:
    if isinstance(node, exp.Anonymous):
        return [str(node.this).lower()]
    return [name.lower() for name in node.sql_names()]


def _check_column(node: exp.Column, expression: str, columns: Collection[str]) -> None:
    name = node.parts[0].name
    if name in columns or name in _lambda_arguments(node):
        return
    if name.lower() in _UNSTEADY:
        raise ValueError(f"{expression!r}: {name!r} gives another answer on a replay")
    raise ValueError(f"{expression!r} uses {name!r}, which is no column; the columns are {', '.join(columns)}")


def _lambda_arguments(node: exp.Expression) -> set[str]:
    names: set[str] = set()
    parent = node.parent
    while parent is not None:
        if isinstance(parent, exp.Lambda):
            names.update(argument.name for argument in parent.expressions)
        parent = parent.parent
    return names
