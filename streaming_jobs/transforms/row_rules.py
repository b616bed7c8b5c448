"""Row rules of a contract, made safe: an error refuses the row and never stops the batch.

Spark runs in ANSI mode and has no general `try`. So operations that can fail are replaced by their `try_` forms, which
give NULL. As NULL passes, a rule whose result is NULL is asked further: if one of its operations gave NULL without
having been given one, that was an error. Not covered (an error there stops the stream): functions that raise by
themselves, such as `to_date`, `element_at` or `raise_error`; write `try_to_timestamp`, `try_element_at`.
"""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp

from contracts.stream import Rule
from streaming_jobs.transforms.sql import refusal, text

_TRY: dict[type[exp.Expression], str] = {
    exp.Div: "try_divide",
    exp.Mod: "try_mod",
    exp.Add: "try_add",
    exp.Sub: "try_subtract",
    exp.Mul: "try_multiply",
}


def judge(rule: Rule) -> list[tuple[str, str]]:
    """Conditions, each with its refusal: the rule is false, or it failed."""
    safe, failed = safe_sql(rule.expression)
    findings = [(f"not ({safe})", refusal(rule.name, rule.column, text(f"not true: {rule.expression}")))]
    if failed:
        condition = f"({safe}) is null and ({failed})"
        findings.append((condition, refusal(rule.name, rule.column, text(f"failed: {rule.expression}"))))
    return findings


@lru_cache(maxsize=1024)
def safe_sql(expression: str) -> tuple[str, str]:
    """The expression with `try_` forms, and a condition that is true where one of them failed (empty: none can)."""
    given_tree = sqlglot.parse_one(expression, read="spark")
    if not given_tree.find(*_TRY, exp.Cast):
        return expression, ""  # as written: printing a tree again may spell a literal otherwise
    tree = given_tree.transform(_safe)
    failures = []
    for node in tree.find_all(exp.Anonymous, exp.TryCast):
        if isinstance(node, exp.TryCast):
            given = [node.this]
        elif str(node.this) in _TRY.values():
            given = list(node.expressions)
        else:
            continue
        if not node.find(exp.Column):
            continue  # of literals only
        if any(part.find(exp.Lambda) for part in given) or node.find_ancestor(exp.Lambda):
            continue  # its variables mean nothing outside
        inputs = " and ".join(f"({part.sql('spark')}) is not null" for part in given)
        failures.append(f"(({node.sql('spark')}) is null and {inputs})")
    return tree.sql("spark"), " or ".join(failures)


def _safe(node: exp.Expression) -> exp.Expression:
    function = _TRY.get(type(node))
    if function:
        return exp.Anonymous(this=function, expressions=[node.this, node.expression])
    if isinstance(node, exp.Cast):
        # sqlglot reads Spark's CAST as one that gives NULL, and prints TRY_CAST only where it is told so.
        return exp.TryCast(this=node.this, to=node.args["to"], safe=True)
    return node
