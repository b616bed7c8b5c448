"""Whether what a declaration of sample data names is there: before a row is drawn, and with file and line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from string import Formatter
from typing import TYPE_CHECKING

from contracts.access_log import NAMED
from contracts.stream import Stream
from contracts.yaml_document import Place, YamlDocument
from producers.generator.render import strftime_pattern

if TYPE_CHECKING:
    from producers.generator.declaration import DailyFile, Generator


@dataclass(frozen=True, slots=True)
class Known:
    """What the columns of one entry may name: `tables` are those above it, with their columns; `daily` says that the
    entry's files have a day."""

    lists: Mapping[str, Collection[object]]
    tables: Mapping[str, Collection[str]]
    daily: bool


def check_file(document: YamlDocument, place: Place, file: str, fields: Collection[str]) -> None:
    """ContractError if a file's name has other fields than these, or leads out of the folder it is written to."""
    _check_fields(document, place, file, fields)
    if not file.strip() or PurePath(file).name != file or file == "..":
        raise document.error(f"`{file}` is no name of a file", place, "a name without a folder")


def check_columns(document: YamlDocument, place: Place, columns: Mapping[str, Generator], known: Known) -> None:
    """ContractError if a generator names a list, a table or a column that is not above it."""
    above: list[str] = []
    for name, generator in columns.items():
        _check_generator(document, (*place, name), generator, above, known)
        above.append(name)


def check_daily(document: YamlDocument, place: Place, entry: DailyFile, stream: Stream) -> None:
    """ContractError if files of that stream cannot be made one per day, or are not written here."""
    source = stream.file_source
    dated = [column.name for column in stream.columns if column.from_batch_date]
    if not source.unit or ("{unit}" not in entry.file and source.unit not in dated):
        raise document.error("a daily file needs `{unit}` in its name and a unit in its contract", (*place, "file"))
    if source.format == "parquet" or (source.format == "log" and source.log_pattern not in NAMED.values()):
        raise document.error(
            f"files like those of `{stream.name}` are not written here",
            place,
            "csv, json, or a log with a named format",
        )
    for column in stream.columns:
        try:
            strftime_pattern(column.format)
        except ValueError as problem:
            raise document.error(f"`{column.name}`: {problem}", place) from None
    if entry.restates and source.unit not in stream.key:
        raise document.error(
            f"the key of `{stream.name}` lacks `{source.unit}`: rows that are stated again would be the same events",
            (*place, "restates"),
        )
    for index, name in enumerate(entry.restates.columns if entry.restates else ()):
        if name not in entry.columns or name in stream.key:
            raise document.error(f"there is no column `{name}` beside the key", (*place, "restates", "columns", index))


def check_dirt(document: YamlDocument, place: Place, entry: DailyFile, stream: Stream) -> None:
    """ContractError if the dirt or the correction of a daily file names a column or a rule that its stream lacks."""
    dirt, at = entry.dirt, (*place, "dirt")
    rules = {rule.name for rule in stream.rules} | {stream.file_source.format, "type"}

    def check(name: str, known: Iterable[str], what: str, here: Place) -> None:
        if name not in known:
            raise document.error(f"`{stream.name}` has no {what} `{name}`", here, f"one of {', '.join(sorted(known))}")

    for name in dirt.nulls:
        check(name, entry.columns, "column", (*at, "nulls", name))
        check(f"{name}_required", rules, "rule", (*at, "nulls", name))
    for index, wrong in enumerate(dirt.wrong):
        check(wrong.column, entry.columns, "column", (*at, "wrong", index, "column"))
        check(wrong.rule, rules, "rule", (*at, "wrong", index, "rule"))
        if wrong.rows and not wrong.values:
            raise document.error("there is no wrong value", (*at, "wrong", index, "values"), "one at least")
    if dirt.broken:
        check(dirt.broken.rule, rules, "rule", (*at, "broken", "rule"))
    if dirt.cut_short:
        check(dirt.cut_short.rule, rules, "rule", (*at, "cut_short", "rule"))
    if dirt.conflicting:
        others = [name for name in entry.columns if name not in stream.key]
        check(dirt.conflicting.column, others, "column beside its key", (*at, "conflicting", "column"))
    if dirt.late:
        times = [name for name, column in entry.columns.items() if column.timestamp and not column.null_share]
        check(dirt.late.column, times, "`timestamp` that is never null,", (*at, "late", "column"))
    if entry.correction:
        check(entry.correction.column, entry.columns, "column", (*place, "correction", "column"))


def _check_generator(document: YamlDocument, place: Place, g: Generator, above: Collection[str], known: Known) -> None:
    named: list[tuple[Place, str]] = [(("words", index), name) for index, name in enumerate(g.words or ())]
    if g.choice and not g.choice.values:
        named.append((("choice", "of"), g.choice.of))
    if g.sample:
        named.append((("sample", "of"), g.sample.of))
    for inside, name in named:
        if not known.lists.get(name):
            raise document.error(f"there is no list `{name}` with members", (*place, *inside), "one of `lists`")
    if g.choice and g.choice.of and g.choice.weights and len(g.choice.weights) != len(known.lists[g.choice.of]):
        raise document.error(f"the list `{g.choice.of}` has not as many members", (*place, "choice", "weights"))
    if g.template is not None:
        _check_fields(document, (*place, "template"), g.template, (*above, "row", "unit"))
    if g.later and g.later.than not in above:
        raise document.error(f"no column `{g.later.than}` stands above", (*place, "later", "than"))
    if g.reference:
        at = (*place, "reference")
        if g.reference.table not in known.tables:
            raise document.error(f"no table `{g.reference.table}` stands above", (*at, "table"))
        if g.reference.column not in known.tables[g.reference.table]:
            raise document.error(f"`{g.reference.table}` has no column `{g.reference.column}`", (*at, "column"))
    if g.timestamp and not g.timestamp.first and not known.daily:
        raise document.error("a table has no day: the times need a span", (*place, "timestamp"), "`first` and `last`")
    for name, member in (g.object or {}).items():
        _check_generator(document, (*place, "object", name), member, above, known)
    if g.map:
        _check_generator(document, (*place, "map", "value"), g.map.value, above, known)


def _check_fields(document: YamlDocument, place: Place, template: str, known: Collection[str]) -> None:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as problem:
        raise document.error(f"`{template}` is no template: {problem}", place) from None
    for field in fields:
        if field not in known:
            raise document.error(
                f"`{{{field}}}` names nothing that stands above", place, f"one of {', '.join(known) or 'no field'}"
            )
