"""Row rules from a contract: `required`, `logicalTypeOptions`, `enum` and `quality`.

A rule that headrace would not enforce is refused rather than passed over: a contract that promises what nobody
checks is worse than none. Quality entries of other engines (`type: custom` with another `engine`) and `type: text`
are for others to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from open_data_contract_standard.model import DataQuality, SchemaObject, SchemaProperty

from contracts.expressions import check_row_rule, literal, quote
from contracts.spark_types import SparkType
from contracts.stream import Rule
from contracts.yaml_document import Place, YamlDocument

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
_SIZES = {
    "minLength": ("char_length", ">="),
    "maxLength": ("char_length", "<="),
    "minItems": ("cardinality", ">="),
    "maxItems": ("cardinality", "<="),
}
_FOR_READERS = ("format", "timezone", "defaultTimezone")
_ENGINE = "headrace"
_ROWS = (None, "rows")


def row_rules(
    document: YamlDocument, place: Place, schema: SchemaObject, types: Mapping[str, SparkType], required: set[str]
) -> tuple[Rule, ...]:
    """Every row rule of a schema, named `<column>_<kind>` unless the contract names it; names are unique.

    Raises:
        ContractError: a rule is wrong, or is one that headrace would not enforce.
    """
    rules: list[Rule] = []
    names: set[str] = set()
    for rule, at in _all_rules(document, place, schema, types, required):
        if rule.name in names:
            raise document.error(f"two rules are named `{rule.name}`", at, "another `name` in the quality entry")
        names.add(rule.name)
        rules.append(rule)
    return tuple(rules)


def _all_rules(
    document: YamlDocument, place: Place, schema: SchemaObject, types: Mapping[str, SparkType], required: set[str]
) -> Iterator[tuple[Rule, Place]]:
    for index, column in enumerate(schema.properties or ()):
        at: Place = (*place, "properties", index)
        name = column.name or ""
        if name in required:
            yield Rule(f"{name}_required", f"`{name}` is not null", name), at
        yield from _option_rules(document, at, column, types[name])
        if column.enum:
            values = [item.value for item in column.enum]
            yield _in_list(document, (*at, "enum"), f"{name}_enum", name, types[name], values, ("value",)), at
        for number, quality in enumerate(column.quality or ()):
            here = (*at, "quality", number)
            found = _column_quality(document, here, quality, name, types[name]) or _custom(
                document, here, quality, types, name
            )
            if found:
                yield found, here
    for number, quality in enumerate(schema.quality or ()):
        here = (*place, "quality", number)
        if quality.type in (None, "library"):
            raise document.error(
                f"metric `{quality.metric}` of a whole table is not enforced on rows", here, "it under a column"
            )
        found = _custom(document, here, quality, types)
        if found:
            yield found, here


def _option_rules(
    document: YamlDocument, place: Place, column: SchemaProperty, spark_type: SparkType
) -> Iterator[tuple[Rule, Place]]:
    name = column.name or ""
    for option, value in (column.logicalTypeOptions or {}).items():
        at: Place = (*place, "logicalTypeOptions", option)
        rule_name = f"{name}_{re.sub(r'([A-Z])', lambda m: '_' + m.group(1).lower(), option)}"
        if option in _BOUNDS:
            expression = f"`{name}` {_BOUNDS[option]} {_literal(document, at, value, spark_type)}"
        elif option in _SIZES:
            function, operator = _SIZES[option]
            fits = spark_type.name == ("string" if function == "char_length" else "array")
            if not fits or isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise document.error(f"`{option}: {value}` does not fit a {spark_type.simple()}", at)
            expression = f"{function}(`{name}`) {operator} {value}"
        elif option == "pattern":
            expression = _pattern(document, at, name, spark_type, value)
        elif option in _FOR_READERS:
            continue
        else:
            raise document.error(f"`{option}` is not enforced", at, "a `custom` quality entry with a row expression")
        yield Rule(rule_name, expression, name), at


def _column_quality(
    document: YamlDocument, place: Place, quality: DataQuality, name: str, spark_type: SparkType
) -> Rule | None:
    if quality.type not in (None, "library"):
        return None
    metric = quality.metric or quality.rule
    bounds = [name for name in quality.model_fields_set if name.startswith(("mustBe", "mustNotBe"))]
    if bounds != ["mustBe"] or quality.mustBe != 0 or isinstance(quality.mustBe, bool) or quality.unit not in _ROWS:
        raise document.error(f"metric `{metric}` is enforced row by row", place, "`mustBe: 0` and no other bound")
    arguments = dict(quality.arguments or {})
    if metric == "nullValues" and not arguments:
        return Rule(quality.name or f"{name}_not_null", f"`{name}` is not null", name)
    if metric == "invalidValues" and set(arguments) == {"validValues"}:
        at = (*place, "arguments", "validValues")
        return _in_list(document, at, quality.name or f"{name}_enum", name, spark_type, arguments["validValues"])
    if metric == "invalidValues" and set(arguments) == {"pattern"}:
        at = (*place, "arguments", "pattern")
        expression = _pattern(document, at, name, spark_type, arguments["pattern"])
        return Rule(quality.name or f"{name}_pattern", expression, name)
    if metric == "missingValues" and set(arguments) == {"missingValues"}:
        at = (*place, "arguments", "missingValues")
        values = arguments["missingValues"]
        if not isinstance(values, list):
            raise document.error(f"the missing values are {values!r}, which is no list", at, "`[NA, '']`")
        listed = _listed(document, at, [(i, value) for i, value in enumerate(values) if value is not None], spark_type)
        present = f"`{name}` is not null" + (f" and `{name}` not in ({listed})" if listed else "")
        return Rule(quality.name or f"{name}_missing", present, name)
    raise document.error(
        f"metric `{metric}` with {sorted(arguments) or 'no arguments'} is not enforced on rows",
        place,
        "`nullValues`, `missingValues` with `missingValues`, or `invalidValues` with `validValues` or `pattern`",
    )


def _custom(
    document: YamlDocument, place: Place, quality: DataQuality, types: Mapping[str, SparkType], column: str = ""
) -> Rule | None:
    if quality.type == "text":
        return None
    if quality.type == "custom" and not (quality.engine or "").strip():
        raise document.error("a custom rule names no engine", place, f"`engine: {_ENGINE}`, or whose rule it is")
    if quality.type == "custom" and (quality.engine or "").strip().casefold() != _ENGINE:
        return None
    if quality.type == "sql":
        raise document.error(
            "`type: sql` asks about a whole table", place, "it as a file in warehouse_sql/<pipeline>/checks"
        )
    if quality.type != "custom":
        raise document.error(f"quality type `{quality.type}` is unknown", place, "library, custom or text")
    implementation = quality.implementation
    if not isinstance(implementation, dict) or set(implementation) != {"row"} or not quality.name:
        raise document.error(
            "a rule of engine headrace needs a name and one row expression",
            place,
            '`name: …` and `implementation: {row: "<boolean Spark SQL>"}`',
        )
    try:
        check_row_rule(str(implementation["row"]), types)
    except ValueError as problem:
        raise document.error(str(problem), (*place, "implementation", "row")) from None
    return Rule(quality.name, str(implementation["row"]), column)


def _in_list(
    document: YamlDocument,
    place: Place,
    rule_name: str,
    name: str,
    spark_type: SparkType,
    values: object,
    inside: Place = (),
) -> Rule:
    """`inside`: where in an item of the list its value stands."""
    if not isinstance(values, list) or not values:
        raise document.error("the list of valid values is empty or no list", place, "`[one, two]`")
    listed = _listed(document, place, enumerate(values), spark_type, inside)
    return Rule(rule_name, f"`{name}` in ({listed})", name)


def _listed(
    document: YamlDocument,
    place: Place,
    values: Iterable[tuple[int, object]],
    spark_type: SparkType,
    inside: Place = (),
) -> str:
    return ", ".join(_literal(document, (*place, index, *inside), value, spark_type) for index, value in values)


def _pattern(document: YamlDocument, place: Place, name: str, spark_type: SparkType, pattern: object) -> str:
    if spark_type.name != "string":
        raise document.error(f"a pattern does not fit a {spark_type.simple()}", place)
    if not isinstance(pattern, str):
        raise document.error(f"pattern {pattern!r} is no string", place, "it in quotes")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as problem:
        raise document.error(f"pattern {pattern!r} is no regular expression: {problem}", place) from None
    return f"`{name}` rlike {quote(pattern)}"


def _literal(document: YamlDocument, place: Place, value: object, spark_type: SparkType) -> str:
    try:
        return literal(value, spark_type, document.text(place))
    except ValueError as problem:
        raise document.error(str(problem), place) from None
