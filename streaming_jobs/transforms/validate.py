"""Typed columns from fields by name, and the first thing that is wrong with a row."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.spark_types import RESCUED, parse_type
from contracts.stream import Column, Stream
from contracts.unavailable import MARKER_PATTERN, may_be_unavailable
from streaming_jobs.transforms.decode_cells import cell
from streaming_jobs.transforms.faithful_cast import column_text, faithful_sql, in_calendar, string_in_json, value_sql
from streaming_jobs.transforms.local_spelling import formatted_sql, localised_sql
from streaming_jobs.transforms.postgres_spelling import as_source_writes, is_from_postgres, misunderstood
from streaming_jobs.transforms.row_rules import judge, rule_columns
from streaming_jobs.transforms.source_spelling import is_document, readable_sql, spelled_sql
from streaming_jobs.transforms.sql import first_of, name, refusal, text

EVOLUTION_RULES = ("undeclared_field", "missing_field")
_SHOWN = 100
_GIVEN = ("_refusal", "_fields", "_ordered", "_bare")


def cast_fields(frame: DataFrame, stream: Stream) -> DataFrame:
    """`_fields`, by the source's names, to the contract's typed columns; `_refusal` where a name or value does not fit.

    Names: one that occurs twice is refused. One that the contract does not declare is refused; under `evolve` it is
    kept in `_rescued` with the text that the decoder gave (a nested JSON value is JSON text written anew, in which a
    number may stand as a string). One that is missing is refused, except: under `evolve`; in a JSON file or a
    document, where leaving a field out says NULL; in a delete. Of a delete only the key is read, for that is all that
    Postgres' default replica identity sends; its other columns and `_rescued` are NULL.
    """
    for step in _cast_steps(stream, tuple(frame.columns)):
        frame = frame.selectExpr(*step)
    return frame


def validate(frame: DataFrame, stream: Stream) -> DataFrame:
    """`_refusal` where a required column is NULL or a row rule says no. A delete needs its key and
    nothing else, a truncate nothing at all."""
    return frame.selectExpr(*_validate_step(stream, tuple(frame.columns)))


def as_declared_now(frame: DataFrame, stream: Stream) -> DataFrame:
    """History rows of a file stream as today's contract would have read them: of a field that was kept in `_rescued`
    and that it declares now, the value stands in the column."""
    if RESCUED not in frame.columns:
        return frame
    others = [name(column) for column in frame.columns if column != RESCUED]
    sent = stream.sent_columns
    texts = (_text_of(stream, column, _found(column, 0, ())) for column in sent)
    plain = (f"{sql} as {_plain(stream, column)}" for column in sent if (sql := localised_sql(stream, column)))
    typed = {name(one.name): f"coalesce({name(one.name)}, {_value(stream, one)}) as {name(one.name)}" for one in sent}
    return (
        frame.selectExpr(*others, f"{RESCUED} as _fields")
        .selectExpr("*", *texts)
        .selectExpr("*", *plain)
        .selectExpr(*(typed.get(column, column) for column in others), f"{_rescued(stream)} as {RESCUED}")
    )


@lru_cache(maxsize=256)
def _cast_steps(stream: Stream, columns: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    kept = tuple(name(c) for c in columns if c not in _GIVEN and not c.startswith(("_text_", "_cell_")))
    ordered = "_ordered" in columns
    found = [_found(column, at, columns) for at, column in enumerate(stream.sent_columns)]
    texts = (
        *(name(c) for c in columns if c.startswith("_text_")),
        *(_text_of(stream, column, value) for column, value in zip(stream.sent_columns, found, strict=True)),
    )
    in_order = (*(name(c) for c in columns if c != "_ordered"), f"{_in_order(stream)} as _ordered")
    rescued = (f"{_rescued(stream)} as {RESCUED}",) if stream.rescues else ()
    named = (*kept, *rescued, *texts, f"coalesce(_refusal, {_names(stream)}) as _refusal")
    kept = (*kept, *(RESCUED for _ in rescued))
    # Steps of their own, so that Spark computes each value once, for the column and for its judgement.
    spelled = (
        *kept,
        *(column_text(column.name) for column in stream.columns),
        *(f"{plain} as {_plain(stream, c)}" for c in stream.columns if (plain := localised_sql(stream, c))),
        "_refusal",
    )
    typed = (
        *kept,
        *(column_text(column.name) for column in stream.columns),
        *(_plain(stream, c) for c in stream.columns if localised_sql(stream, c)),
        *(f"{_value(stream, column)} as {name(column.name)}" for column in stream.columns),
        "_refusal",
    )
    findings = [_unfaithful(stream, column) for column in stream.columns if not _any_text(stream, column)]
    if is_from_postgres(stream):
        findings += [each for column in stream.columns for each in misunderstood(column_text(column.name), column)]
    judged = (
        *kept,
        *(name(column.name) for column in stream.columns),
        f"coalesce(_refusal, if(_no_row, null, {first_of(findings)})) as _refusal",
    )
    return (*([in_order] if ordered else []), named, spelled, typed, judged)


def _rescued(stream: Stream) -> str:
    listed = f"array({', '.join(text(column.source_name) for column in stream.sent_columns)})"
    # A marker is not what such a field holds, and nothing says what it is.
    marker = text(f"^{MARKER_PATTERN}\\z")
    sent = f" and not coalesce(v rlike {marker}, false)" if stream.is_cdc else ""
    others = f"map_filter(_fields, (k, v) -> not array_contains({listed}, k){sent})"
    row = "_op <> 'd' and " if stream.is_cdc else ""
    # The names as the contract orders them: the usual case, and the cheap one.
    usual = f"coalesce(map_keys(_fields) = {listed}, true)"
    return f"if({usual}, null, if({row}size({others}) > 0, {others}, null))"


def _plain(stream: Stream, column: Column) -> str:
    """The name of the text to cast: the source's own, or the one in which a number is written as Spark reads it."""
    return name(f"_plain_{column.name}") if localised_sql(stream, column) else column_text(column.name)


def _value(stream: Stream, column: Column) -> str:
    if column.format:
        return formatted_sql(column_text(column.name), column.spark_type, column.format)
    return value_sql(_plain(stream, column), parse_type(column.spark_type))


def _in_order(stream: Stream) -> str:
    """`_ordered`, of every row: where the names are in another order, each is looked for."""
    listed = ", ".join(text(column.source_name) for column in stream.sent_columns)
    found = f"transform(array({listed}), n -> try_element_at(_fields, n))"
    return f"case when _ordered is not null then _ordered when _fields is not null then {found} end"


def _found(column: Column, at: int, columns: Collection[str]) -> str:
    """The value of a column that is sent, where the decoder has put it."""
    if cell(at) in columns:
        return cell(at)
    if "_ordered" in columns:
        return f"if(_bare and get(_ordered, {at}) = '', null, get(_ordered, {at}))"
    return f"try_element_at(_fields, {text(column.source_name)})"


def _text_of(stream: Stream, column: Column, found: str) -> str:
    value = spelled_sql(stream, column, found)
    if not stream.is_cdc and (nulls := stream.file_source.nulls):
        value = f"if({value} in ({', '.join(text(null) for null in nulls)}), null, {value})"
    if is_from_postgres(stream):
        value = as_source_writes(value, column)
    if stream.is_cdc and column.name not in stream.key:
        lacking = f" or {_is_unavailable(column.name)}" if column.name in may_be_unavailable(stream) else ""
        value = f"if(_op = 'd'{lacking}, null, {value})"
    return f"{value} as {column_text(column.name)}"


def _is_unavailable(*columns: str) -> str:
    listed = ", ".join(text(column) for column in columns)
    return f"coalesce(arrays_overlap(_unavailable, array({listed})), false)"


def _names(stream: Stream) -> str:
    declared = [column.source_name for column in stream.sent_columns]
    listed = f"array({', '.join(text(one) for one in declared)})"
    undeclared = f"array_except(map_keys(_fields), {listed})"
    missing = f"array_except({listed}, map_keys(_fields))"
    findings = [
        # The names as the contract orders them: the usual case, and the cheap one.
        (f"_fields is null or map_keys(_fields) = {listed}", "null"),
        (
            "size(array_distinct(map_keys(_fields))) < size(map_keys(_fields))",
            refusal("duplicate_field", "", "'a field occurs twice'"),
        ),
    ]
    if not stream.rescues:
        reason = f"concat('not in the contract: ', array_join({undeclared}, ', '))"
        findings.append((f"size({undeclared}) > 0", refusal("undeclared_field", "", reason)))
    json_file = is_document(stream) or (not stream.is_cdc and stream.file_source.row_format == "json")
    if not stream.rescues and not json_file:
        present = "coalesce(_op <> 'd', true) and " if stream.is_cdc else ""
        reason = f"concat('missing: ', array_join({missing}, ', '))"
        findings.append((f"{present}size({missing}) > 0", refusal("missing_field", "", reason)))
    return first_of(findings)


def _any_text(stream: Stream, column: Column) -> bool:
    """Whether every text is a value of this column: U+0000, which is none, no row of a CSV file holds."""
    csv = not stream.is_cdc and stream.file_source.row_format == "csv"
    return csv and column in stream.sent_columns and parse_type(column.spark_type).name == "string"


def _unfaithful(stream: Stream, column: Column) -> tuple[str, str]:
    source = column_text(column.name)
    kind = parse_type(column.spark_type)
    if column.format:
        faithful = f"{name(column.name)} is not null and {in_calendar(name(column.name), kind.name)}"
    else:
        faithful = faithful_sql(_plain(stream, column), kind, value=name(column.name))
    if kind.name == "string" and not stream.is_cdc and stream.file_source.row_format == "json":
        faithful = f"{faithful} and {string_in_json(source, 'cast(_raw as string)')}"
    if readable := readable_sql(stream, column, source):
        faithful = f"{faithful} and {readable}"
    wrong = f"{source} is not null and not coalesce({faithful}, false)"
    # The raw bytes are kept beside it in any case; a reason is what people paste into tickets.
    shown = "'the value'" if column.pii else f"concat('\"', left({source}, {_SHOWN}), '\"')"
    written = f", written {column.format}," if column.format else ""
    reason = f"concat({shown}, {text(f' cannot be held as {column.spark_type}{written} without changing it')})"
    return wrong, refusal("type", column.name, reason)


@lru_cache(maxsize=256)
def _validate_step(stream: Stream, columns: tuple[str, ...]) -> tuple[str, ...]:
    missing = "'required, and NULL'"
    keys = [(f"{name(key)} is null", refusal("required", key, missing)) for key in stream.key]
    others = [
        (_if_sent(stream, f"{name(column.name)} is null", [column.name]), refusal("required", column.name, missing))
        for column in stream.columns
        if column.required and column.name not in stream.key
    ]
    if stream.partition_by and stream.partition_by not in stream.key:
        others.append((f"{name(stream.partition_by)} is null", refusal("required", stream.partition_by, missing)))
    rules = [
        (_if_sent(stream, condition, rule_columns(rule)), found)
        for rule in stream.rules
        for condition, found in judge(rule)
    ]
    complete = first_of(keys + others + rules)
    found = complete
    if stream.is_cdc:
        found = f"case when _op = 't' then null when _op = 'd' then {first_of(keys)} else {complete} end"
    kept = (name(column) for column in columns if column != "_refusal")
    return (*kept, f"coalesce(_refusal, if(_no_row, null, {found})) as _refusal")


def _if_sent(stream: Stream, condition: str, columns: Collection[str]) -> str:
    """The condition, where a change has the values that it asks for. One that was not sent did not change: it was
    judged when it was sent."""
    lacking = [column for column in may_be_unavailable(stream) if column in columns]
    return f"({condition}) and not {_is_unavailable(*lacking)}" if lacking else condition
