"""What sample data a pipeline has: tables, daily files, how each value is drawn, and how much dirt is mixed in.

Read from YAML (`kind: HeadraceSampleData`) beside the contracts. Names of columns and types come from the contracts;
nothing here or in the YAML's reader knows what the data are about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contracts.stream import FileSource, Pipeline
from contracts.yaml_document import YamlDocument
from producers.generator.checks import Known, check_columns, check_daily, check_dirt, check_file

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Choice(_Part):
    """One of `values`, or of the declared list `of`; `weights` are relative."""

    values: tuple[Any, ...] = ()
    of: str = ""
    weights: tuple[Weight, ...] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Choice:
        if bool(self.values) == bool(self.of):
            raise ValueError("either `values` or the list `of` is needed")
        if self.weights is not None and self.values and len(self.weights) != len(self.values):
            raise ValueError(f"{len(self.weights)} weights for {len(self.values)} values")
        if self.weights is not None and not sum(self.weights):
            raise ValueError("no weight is above 0")
        return self


class Numbers(_Part):
    """Between `min` and `max`; with `mean` and `deviation` normal and clipped. `digits` after the point makes a
    decimal, none an integer."""

    min: Finite
    max: Finite
    mean: Finite | None = None
    deviation: Finite | None = None
    digits: Annotated[int, Field(ge=0, le=18)] = 0

    @model_validator(mode="after")
    def _span(self) -> Numbers:
        _in_order(self.min, self.max)
        return self


class Dates(_Part):
    """A day of this span, both ends included."""

    first: date
    last: date

    @model_validator(mode="after")
    def _span(self) -> Dates:
        _in_order(self.first, self.last)
        return self


class Timestamps(_Part):
    """A whole second of this span or, without one, of the file's own day."""

    first: datetime | None = None
    last: datetime | None = None

    @model_validator(mode="after")
    def _span(self) -> Timestamps:
        if (self.first is None) != (self.last is None):
            raise ValueError("`first` and `last` belong together")
        if self.first and self.last:
            _in_order(*(at.replace(tzinfo=at.tzinfo or UTC) for at in (self.first, self.last)))
        return self


class Later(_Part):
    """0 to `seconds` after another column of the row."""

    than: str
    seconds: Count


class Reference(_Part):
    """A value that stands in another table, so that the two join; `unknown` is the share that joins nothing."""

    table: str
    column: str
    unknown: Share = 0.0


class Sample(_Part):
    """An array of `min` to `max` different members of the declared list `of`."""

    of: str
    min: Count = 0
    max: Count = 3

    @model_validator(mode="after")
    def _span(self) -> Sample:
        _in_order(self.min, self.max)
        return self


class MapOf(_Part):
    """A map with 0 to all of `keys`, each with a value of `value`."""

    keys: Annotated[tuple[str, ...], Field(min_length=1)]
    value: Generator


class Generator(_Part):
    """Exactly one way to draw a column's values; `null_share` of them are NULL."""

    sequence: Annotated[int | None, Field(description="counts up from here, through all files")] = None
    template: Annotated[str | None, Field(description="text with {column}, {row} and {unit}")] = None
    words: Annotated[tuple[str, ...] | None, Field(description="one of each of these lists, with a space")] = None
    choice: Choice | None = None
    number: Numbers | None = None
    boolean: Annotated[Share | None, Field(description="the share of true")] = None
    date_: Annotated[Dates | None, Field(alias="date")] = None
    timestamp: Timestamps | None = None
    later: Later | None = None
    reference: Reference | None = None
    sample: Sample | None = None
    object: Mapping[str, Generator] | None = None
    map: MapOf | None = None
    null_share: Share = 0.0

    @model_validator(mode="after")
    def _one_way(self) -> Generator:
        ways = self.model_fields_set - {"null_share"}
        if len(ways) != 1:
            raise ValueError(f"exactly one way to draw values is needed, not {sorted(self.model_fields_set) or 'none'}")
        if any(getattr(self, way) in (None, (), {}) for way in ways):
            raise ValueError("the way to draw values is empty")
        return self


class Table(_Part):
    """A static CSV file that fills a source table. `rows` is at scale 1."""

    stream: str
    file: str
    rows: Count
    columns: Mapping[str, Generator]


class Wrong(_Part):
    """`rows` rows with one of these values in place of the true one, refused by `rule`."""

    column: str
    values: tuple[Any, ...]
    rows: Count
    rule: str


class Broken(_Part):
    """`rows` rows whose text breaks off, refused by `rule`."""

    rows: Count
    rule: str


class CutShort(_Part):
    """Files end in the middle of a row: those of these days (0 is the first, -1 the last)."""

    days: tuple[int, ...]
    rule: str


class Conflicting(_Part):
    """`rows` rows that repeat a key of the same file with another value in `column`."""

    rows: Count
    column: str


class Late(_Part):
    """`rows` rows whose `column` lies 1 to `days` days before the file's own."""

    rows: Count
    column: str
    days: Annotated[int, Field(ge=1)]


class Dirt(_Part):
    """Exact amounts per file, whatever the scale. A row gets one kind of dirt at most."""

    nulls: Mapping[str, Count] = {}
    wrong: tuple[Wrong, ...] = ()
    broken: Broken | None = None
    cut_short: CutShort | None = None
    duplicates_within: Count = 0
    duplicates_across: Count = 0
    conflicting: Conflicting | None = None
    late: Late | None = None
    shuffled: bool = False


class Correction(_Part):
    """A second, clean file for the day with this number, with the values of `column` drawn again; it is written to
    the folder `corrected`."""

    day: int
    column: str


class Restates(_Part):
    """Each day's file states the same rows again; `rows` of them have these columns drawn again for the day."""

    rows: Count
    columns: tuple[str, ...]


class DailyFile(_Part):
    """One file per day and stream. `rows` is per day at scale 1, before dirt adds rows; `file` holds `{unit}`, unless
    the day comes from the batch date. Without `restates` each day has rows of its own."""

    stream: str
    file: str
    rows: Count
    columns: Mapping[str, Generator]
    restates: Restates | None = None
    dirt: Dirt = Dirt()
    correction: Correction | None = None


class SampleData(_Part):
    """The whole declaration. `lists` are values that several columns draw from."""

    kind: Literal["HeadraceSampleData"]
    seed: int
    lists: Mapping[str, tuple[Any, ...]] = {}
    tables: tuple[Table, ...] = ()
    daily_files: tuple[DailyFile, ...] = ()


def load_sample_data(file: Path, pipeline: Pipeline) -> SampleData:
    """Read a declaration and hold it against the pipeline's contracts.

    Raises:
        ContractError: says file, line and what is wrong.
    """
    document = YamlDocument(file)
    try:
        found = SampleData.model_validate(document.data)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise document.error(f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}", first["loc"]) from None
    tables: dict[str, Collection[str]] = {}
    for index, table in enumerate(found.tables):
        _check(document, ("tables", index), table, pipeline)
        check_file(document, ("tables", index, "file"), table.file, ())
        check_columns(document, ("tables", index, "columns"), table.columns, Known(found.lists, tables, daily=False))
        tables[table.stream] = table.columns
    for index, daily in enumerate(found.daily_files):
        at = ("daily_files", index)
        _check(document, at, daily, pipeline)
        check_file(document, (*at, "file"), daily.file, ("unit",))
        check_columns(document, (*at, "columns"), daily.columns, Known(found.lists, tables, daily=True))
        check_dirt(document, at, daily, pipeline.stream(daily.stream))
    return found


def _in_order(first: Any, last: Any) -> None:
    if first > last:
        raise ValueError(f"{first} to {last} is no span")


def _check(document: YamlDocument, place: tuple[str | int, ...], entry: Table | DailyFile, pipeline: Pipeline) -> None:
    try:
        stream = pipeline.stream(entry.stream)
    except KeyError:
        known = ", ".join(stream.name for stream in pipeline.streams)
        raise document.error(f"there is no stream `{entry.stream}`", (*place, "stream"), f"one of {known}") from None
    declared, wanted = set(entry.columns), {column.name for column in stream.sent_columns}
    if declared != wanted:
        raise document.error(
            f"columns {sorted(declared ^ wanted)} stand either here or in the contract of `{stream.name}`, not in both",
            (*place, "columns"),
        )
    if isinstance(entry, DailyFile) != isinstance(stream.source, FileSource):
        raise document.error(f"`{stream.name}` has another kind of source", (*place, "stream"))
    if isinstance(entry, DailyFile):
        check_daily(document, place, entry, stream)
