"""What a row rule may not use because it raises: one odd row would stop the stream instead of being refused.

Operators, casts, `to_date(x)` and `to_timestamp(x)` are not here: the streaming job replaces them by forms that refuse
the row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from sqlglot import exp

from contracts.spark_types import SparkType

_TRY_FORM = "write try_{name}"
_CAST = "write cast(… as {name})"
_NO_FORM = "it has no form that gives NULL: state the rule without it"
_HAVE_TRY = (
    "aes_decrypt avg element_at make_interval make_timestamp make_timestamp_ltz make_timestamp_ntz parse_json "
    "parse_url sum to_binary to_number url_decode variant_get"
)
_ARE_CASTS = "bigint binary boolean decimal smallint string tinyint"
_HAVE_NONE = (
    "array_insert array_repeat assert_true bit_get bround conv decode encode format_string from_avro java_method "
    "make_dt_interval make_ym_interval map map_concat map_from_arrays map_from_entries next_day printf raise_error "
    "reflect repeat round sequence str_to_map timestamp_millis timestamp_seconds transform_keys"
)
_INSTEAD = {
    **dict.fromkeys(_HAVE_TRY.split(), _TRY_FORM),
    **dict.fromkeys(_ARE_CASTS.split(), _CAST),
    **dict.fromkeys(_HAVE_NONE.split(), _NO_FORM),
    "abs": "write if(x < 0, -x, x)",
    "div": "write floor(a / b)",
    "elt": "write try_element_at(array(…), n)",
    "make_date": "write try_cast(… as date)",
    "negative": "write -x",
    "pmod": "write try_mod(try_mod(a, b) + b, b)",
    "split_part": "write try_element_at(split(…), n)",
    "to_date": "write cast(try_to_timestamp(x, format) as date)",
    "to_timestamp": "write try_to_timestamp(x, format)",
    "to_timestamp_ltz": "write try_to_timestamp(x, format)",
    "to_timestamp_ntz": "write cast(try_to_timestamp(x, format) as timestamp_ntz)",
    "to_unix_timestamp": "write unix_seconds(try_to_timestamp(x, format))",
    "unix_timestamp": "write unix_seconds(try_to_timestamp(x, format))",
}
_COMPARED = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def reason_to_refuse(rule: exp.Expr, columns: Mapping[str, SparkType]) -> str | None:
    """Why an odd row could make this Spark SQL expression raise, and what to write instead; None if none can."""
    for node in rule.walk():
        found = _raises(node) or _past_the_end(node, columns) or _casts_unasked(node, columns)
        if found:
            return found
    return None


def _raises(node: exp.Expr) -> str | None:
    if isinstance(node, exp.TsOrDsToDate) and node.args.get("format") is None:
        return None
    shown = node.sql("spark")
    called = re.match(r"\w+(?=\()", shown) if isinstance(node, exp.Func | exp.Bracket) else None
    name = called.group().lower() if called else "div" if isinstance(node, exp.IntDiv) else ""
    if name in _INSTEAD:
        return f"{shown!r} raises on some rows, which would stop the stream: {_INSTEAD[name].format(name=name)}"
    return None


def _past_the_end(node: exp.Expr, columns: Mapping[str, SparkType]) -> str | None:
    """An array's index; a key that a map does not have is NULL, and a struct's field is always there."""
    if not isinstance(node, exp.Bracket) or not node.sql("spark").endswith("]"):
        return None
    by_text = all(isinstance(key, exp.Literal) and key.is_string for key in node.expressions)
    if by_text or _kind(node.this, columns) == "map":
        return None
    return f"{node.sql('spark')!r} raises past the end: write get(array, index) or try_element_at(map, key)"


def _casts_unasked(node: exp.Expr, columns: Mapping[str, SparkType]) -> str | None:
    """Spark casts a text to the type that it is compared with, and raises where the text is none of that type."""
    if isinstance(node, exp.Between):
        pairs = [(node.this, node.args["low"]), (node.this, node.args["high"])]
    elif isinstance(node, exp.In):
        pairs = [(node.this, item) for item in node.expressions]
    elif isinstance(node, _COMPARED):
        pairs = [(node.this, node.expression)]
    else:
        return None
    for left, right in pairs:
        kinds = {_kind(left, columns), _kind(right, columns)}
        texts = [side for side in (left, right) if _kind(side, columns) == "string"]
        if "" in kinds or len(texts) != 1:
            continue
        (text,) = texts
        if isinstance(text, exp.Literal) and kinds & {"date", "timestamp", "timestamp_ntz"} and _is_time(text.name):
            continue
        other = (kinds - {"string"}).pop()
        return (
            f"{node.sql('spark')!r} compares a text with a {other}: write cast({text.sql('spark')} as …), "
            "which refuses the rows whose text is none"
        )
    return None


def _kind(node: exp.Expr, columns: Mapping[str, SparkType]) -> str:
    if isinstance(node, exp.Column) and len(node.parts) == 1 and node.name in columns:
        return columns[node.name].name
    if isinstance(node, exp.Literal):
        return "string" if node.is_string else "number"
    if isinstance(node, exp.Neg):
        return _kind(node.this, columns)
    return ""


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
