"""Spellings that the steps share."""

from __future__ import annotations

import secrets

_CLOSED = "'allowSingleQuotes','false','allowNonNumericNumbers','false'"
# Nobody who writes a text can know it. One for the process, for steps are kept as they are spelled.
_SEAL = secrets.token_hex(16)


def text(value: str) -> str:
    """A Spark SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(column: str) -> str:
    """A quoted column name."""
    return "`" + column.replace("`", "``") + "`"


def refusal(rule: str, column: str, reason: str) -> str:
    """The `_refusal` of one finding; `reason` is an SQL expression."""
    return f"named_struct('rule', {text(rule)}, 'column_name', {text(column)}, 'reason', {reason})"


def first_of(findings: list[tuple[str, str]]) -> str:
    """The refusal of the first condition that is true, else NULL."""
    whens = " ".join(f"when {condition} then {found}" for condition, found in findings)
    return f"case {whens} end" if whens else NO_REFUSAL


REFUSAL_TYPE = "struct<rule:string,column_name:string,reason:string>"
NO_REFUSAL = f"cast(null as {REFUSAL_TYPE})"


def whole_json(json: str, element: str, seal: str) -> str:
    """Parse a text that must be one JSON value and nothing after it, as `element`; else NULL.

    Spark's parser stops at the end of the first value and says nothing of what follows. So the text is put into an
    array before a seal, which must come out second. `seal` is the second element's JSON with `%s` for it, and
    `element` the SQL type of both; `sealed_json` reads the result.
    """
    wrapped = f"concat('[', {json}, {text(',' + seal % _SEAL + ']')})"
    return f"from_json({wrapped}, 'array<{element}>', map({_CLOSED}))"


def sealed_json(parsed: str, seal: str) -> str:
    """The value in a `whole_json` result whose seal (its SQL, `%s` for the second element) is intact, else NULL."""
    # Not `if`, within which Spark would not share what is parsed where that stands here itself.
    return f"get({parsed}, if({seal % f'get({parsed}, 1)'} = {text(_SEAL)}, 0, null))"


def _whole_exact(json: str, element: str, seal: str) -> str:
    # Spark reads a number with a fraction as a double before it becomes a string: 12.30 -> 12.3, and of 20 digits 17
    # are left; -0 loses its sign. So such numbers, outside of strings, are made strings first.
    strings = r'"(?:[^"\\]++|\\.)*+"'
    number = rf'\G((?:[^"0-9-]++|{strings}|-(?![0-9]))*+)(-?(?:0|[1-9][0-9]*+)(?:[.][0-9]++)?(?:[eE][+-]?[0-9]++)?)'
    quoted = f"regexp_replace({json}, {text(number)}, '$1\"$2\"')"
    exact = f"if({json} rlike '[0-9][.eE][0-9+-]|-0', {quoted}, {json})"
    return whole_json(exact, element, seal)


def json_object(json: str) -> tuple[str, str]:
    """SQL for the parse of one JSON object into `map<string,string>`, digits as written, and its seal."""
    return _whole_exact(json, "map<string,string>", '{"end":"%s"}'), "%s['end']"


def json_array(json: str) -> tuple[str, str]:
    """SQL for the parse of one JSON array into `array<string>`, digits as written, and its seal."""
    # Not `[0]`: of an empty array that is an error, and so of the whole batch.
    return _whole_exact(json, "array<string>", '["%s"]'), "get(%s, 0)"


def let(variable: str, value: str, body: str) -> str:
    """`body` with `variable` bound to `value`, which is evaluated once."""
    return f"get(transform(array({value}), {variable} -> {body}), 0)"


_UNPAIRED = r"(?i)(\\ud[89ab]..(?!\\ud[c-f]))|((?<!\\ud[89ab]..)\\ud[c-f])"


def unpaired_surrogate(json: str) -> str:
    """SQL that is true for a JSON text that holds half of a surrogate pair, which would become another character."""
    escapes = f"replace({json}, {text(chr(92) * 2)}, '  ')"
    return f"(contains({json}, {text(chr(92) + 'u')}) and {escapes} rlike {text(_UNPAIRED)})"
