"""Row rules of a contract, made safe: an error refuses the row and never stops the batch.

Spark runs in ANSI mode and has no general `try`. So operations that can fail are replaced by their `try_` forms, which
give NULL. As NULL passes, a rule whose result is NULL is asked further: if one of its operations gave NULL without
having been given one, that was an error. A `try_` form that the contract itself wrote may give NULL and passes.
Functions that raise and have no form here are refused by the contract's loader (`contracts.raising`).
"""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp

from contracts.stream import Rule
from streaming_jobs.transforms.sql import refusal, text

_TRY: dict[type[exp.Expr], str] = {
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
def rule_columns(rule: Rule) -> frozenset[str]:
    """The names in the rule's expression: columns, and the fields of nested ones."""
    tree = sqlglot.parse_one(f"({rule.expression})", read="spark")
    return frozenset(part.name for column in tree.find_all(exp.Column) for part in column.parts)


@lru_cache(maxsize=1024)
def safe_sql(expression: str) -> tuple[str, str]:
    """The expression with `try_` forms, and a condition that is true where one of them failed (empty: none can)."""
    tree = sqlglot.parse_one(f"({expression})", read="spark")  # in brackets, so that the root can be replaced too
    written_dates = "to_date" in expression.lower()  # sqlglot also puts one, unprinted, around what year(…) is given
    guarded: list[tuple[exp.Expression, list[exp.Expression]]] = []
    # From the leaves up: what stands inside an operation can fail as well.
    for node in reversed(list(tree.walk())):
        safe = _safe(node)
        if safe is not None and (written_dates or not isinstance(node, exp.TsOrDsToDate)):
            node.replace(safe)
            guarded.append((safe, list(safe.expressions) if isinstance(safe, exp.Anonymous) else [safe.this]))
    if not guarded:
        return expression, ""  # as written: printing a tree again may spell a literal otherwise
    failures = []
    for node, given in guarded:
        if not node.find(exp.Column):
            continue  # of literals only
        if any(part.find(exp.Lambda) for part in given) or node.find_ancestor(exp.Lambda):
            continue  # its variables mean nothing outside
        inputs = " and ".join(f"({part.sql('spark')}) is not null" for part in given)
        failures.append(f"(({node.sql('spark')}) is null and {inputs})")
    return tree.this.sql("spark"), " or ".join(failures)


def _safe(node: exp.Expr) -> exp.Expression | None:
    function = _TRY.get(type(node))
    if function:
        return exp.Anonymous(this=function, expressions=[node.this, node.expression])
    if isinstance(node, exp.Neg) and not isinstance(node.this, exp.Literal):
        return exp.Anonymous(this="try_subtract", expressions=[exp.Literal.number(0), node.this])
    if isinstance(node, exp.TsOrDsToDate):
        return exp.TryCast(this=node.this, to=exp.DataType.build("date"), safe=True)
    if isinstance(node, exp.Cast) and not (isinstance(node, exp.TryCast) and node.args.get("safe")):
        # Spark's `::` is read as one that gives NULL, and TRY_CAST is printed only where it is told so.
        return exp.TryCast(this=node.this, to=node.args["to"], safe=True)
    return None
