"""The frozen description of one stream, as every stage sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

SourceKind = Literal["table", "file"]
System = Literal["postgres", "mariadb", "mongodb"]
FileFormat = Literal["csv", "json", "parquet", "log"]
Evolution = Literal["evolve", "quarantine", "stop"]

FILE_UNIT = "_file"
"""As the unit of a file stream: each file name is a unit of its own."""

BULK_BYTES = 256 * 1024 * 1024
"""From this size on a file takes the bulk path, if its contract says nothing else."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a stream.

    `spark_type` is Spark SQL's own spelling (`decimal(5,2)`, `map<string,string>`). `json` says that the source sends
    this column as a string that holds JSON of that type. `format` is the pattern of a date or timestamp, in the letters
    of Java's DateTimeFormatter; empty for ISO 8601. `source_type` is the database's own spelling of its type. `lossy`
    says that the contract knows which of its values the way here alters. `field` is what its table or document calls
    it, if that is another name.

    Not a field of the row are: with `from_file_name` the group of that name in the stream's file pattern, with
    `from_batch_date` the date for which the file was pushed, with `from_line` the row's line.
    """

    name: str
    spark_type: str
    required: bool = False
    json: bool = False
    from_file_name: bool = False
    from_batch_date: bool = False
    from_line: bool = False
    format: str = ""
    source_type: str = ""
    lossy: bool = False
    pii: bool = False
    description: str = ""
    field: str = ""

    @property
    def source_name(self) -> str:
        """What the source calls it. Everything behind the decoded row has `name`."""
        return self.field or self.name


@dataclass(frozen=True, slots=True)
class Rule:
    """A boolean Spark SQL expression over the columns of one row: FALSE refuses, NULL passes (like CHECK)."""

    name: str
    expression: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class TableSource:
    """Rows come from a database table through Debezium. Of MariaDB a `schema` is a database; of MongoDB
    too, and a table is a collection."""

    schema: str
    table: str
    kind: SourceKind = "table"
    system: System = "postgres"

    @property
    def qualified(self) -> str:
        """`schema.table`, as Debezium's include list spells it."""
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class FileSource:
    """Rows come from files whose names match `pattern` (a regular expression with named groups).

    `unit` names the column that says which part of the data a file states (`batch_date`): a later file of the same
    unit replaces it. `FILE_UNIT`: the file's name is its unit. Empty: every file only adds.

    CSV: an empty `delimiter` is found in each file's header, an empty `quote` quotes nothing; within quotes a quote is
    doubled or, with `backslash`, escaped. Without a `header` the fields are the sent columns in their order.
    `skip_lines` stand before it. `nulls` are the texts that mean NULL. Numbers have `decimal` as their mark and
    `thousands` (none if empty) between groups of three digits. `log_pattern` names the fields of a log's line.

    A file of `bulk_bytes` or more goes to the lake's file system in chunks; 0: none does.
    """

    pattern: str
    format: FileFormat
    unit: str = ""
    delimiter: str = ","
    quote: str = '"'
    backslash: bool = False
    header: bool = True
    skip_lines: int = 0
    encoding: str = "utf-8"
    nulls: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str = ""
    log_pattern: str = ""
    bulk_bytes: int = BULK_BYTES
    kind: SourceKind = "file"

    @property
    def row_format(self) -> Literal["csv", "json", "log"]:
        """How a row is written on its way: those of a Parquet file are JSON objects."""
        return "json" if self.format == "parquet" else self.format

    def match(self, file_name: str) -> Mapping[str, str] | None:
        """The named groups of a file name that belongs to this stream, else None; a group that took no part is empty.

        `\\d` and `\\w` are ASCII, as where Spark reads the same name by the same pattern.
        """
        found = re.fullmatch(self.pattern, file_name, re.ASCII)
        return found.groupdict(default="") if found else None


@dataclass(frozen=True, slots=True)
class Stream:
    """One contract, loaded. Two streams of one pipeline never share a name, a topic or a table.

    `key`: columns that make two records the same event. `version`: column that orders two records of one key; empty
    for a table (its version is source epoch and Kafka offset) and for events that are never restated.
    `partition_by`: column that partitions the history; the key (for files, the file) determines its value.
    `quarantine_limit`: share of bad rows above which the stream is parked, counted over at least
    `quarantine_minimum` rows.

    `evolution` says what becomes of a row whose fields are not those of the contract. `evolve`: a field that is not
    declared is kept in `_rescued`, one that is missing is NULL. `quarantine`: the row is refused. `stop`: the stream is
    parked in front of it, as in front of a value that does not fit since its table was changed, and a file whose header
    says so is not sent.

    `consistent_cut`: readers see the rows of one source transaction together with those of the pipeline's other streams
    from the same system that say so.
    """

    pipeline: str
    name: str
    topic: str
    source: TableSource | FileSource
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    version: str = ""
    partition_by: str = ""
    partitions: int = 1
    evolution: Evolution = "quarantine"
    quarantine_limit: float = 0.1
    quarantine_minimum: int = 1000
    freshness_s: float = 60.0
    retention_days: int = 7
    consistent_cut: bool = False
    owner: str = ""
    description: str = ""
    file: Path = Path()

    @property
    def lake_schema(self) -> str:
        """The schema of the lake's tables."""
        return f"{self.pipeline}_lake"

    @property
    def history(self) -> str:
        """The append-only table, qualified."""
        return f"{self.lake_schema}.{self.name}"

    @property
    def is_cdc(self) -> bool:
        """Whether the rows are a database's changes."""
        return isinstance(self.source, TableSource)

    @property
    def table_source(self) -> TableSource:
        """The source of a CDC stream."""
        assert isinstance(self.source, TableSource)
        return self.source

    @property
    def file_source(self) -> FileSource:
        """The source of a file stream."""
        assert isinstance(self.source, FileSource)
        return self.source

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def at_source(self) -> Stream:
        """The stream with its columns named as its source names them, for what compares it with the source's tables or
        asks them; its rules and all that is in the lake have the contract's names."""
        columns = tuple(replace(column, name=column.source_name, field="") for column in self.columns)
        return replace(self, columns=columns, key=tuple(self.column(name).source_name for name in self.key))

    @property
    def rescues(self) -> bool:
        """Whether fields that the contract does not declare are kept in the history's column `_rescued`."""
        return self.evolution == "evolve"

    @property
    def sent_columns(self) -> tuple[Column, ...]:
        """The columns that a source sends in the row itself."""
        return tuple(c for c in self.columns if not (c.from_file_name or c.from_batch_date or c.from_line))

    @property
    def batch_date_column(self) -> Column | None:
        """The column that holds the date for which a file was pushed, if there is one."""
        return next((column for column in self.columns if column.from_batch_date), None)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A name with its streams and the folders of its declarations."""

    name: str
    streams: tuple[Stream, ...]
    contracts_dir: Path
    connectors_dir: Path
    warehouse_sql_dir: Path

    def stream(self, name: str) -> Stream:
        """The stream of that name; KeyError if there is none."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(name)

    @property
    def cdc_streams(self) -> tuple[Stream, ...]:
        """The streams whose rows are a database's changes."""
        return tuple(stream for stream in self.streams if stream.is_cdc)

    def of(self, system: System) -> Pipeline:
        """The part that one connector captures: the streams from this system, under the name that its connector and
        the topics beside the streams' own begin with."""
        streams = tuple(stream for stream in self.cdc_streams if stream.table_source.system == system)
        return replace(self, name=captured_as(self.name, system), streams=streams)

    @property
    def cut_groups(self) -> dict[System, tuple[Stream, ...]]:
        """The streams whose rows of one transaction become visible together, by system."""
        groups: dict[System, tuple[Stream, ...]] = {}
        for stream in self.cdc_streams:
            if stream.consistent_cut:
                system = stream.table_source.system
                groups[system] = (*groups.get(system, ()), stream)
        return groups

    @property
    def file_streams(self) -> tuple[Stream, ...]:
        """The streams whose rows come from files."""
        return tuple(stream for stream in self.streams if not stream.is_cdc)

    @property
    def transaction_topic(self) -> str:
        """Of the part that one connector captures (`of`): where Debezium writes each transaction's begin and end."""
        return f"{self.name}.transaction"

    @property
    def files_topic(self) -> str:
        """The compacted topic that holds each file's state, written in the transactions that send its rows."""
        return f"{self.name}.files"


def captured_as(pipeline: str, system: System) -> str:
    """What Debezium calls a pipeline's source: the prefix of the topics in which it puts the changes."""
    return pipeline if system == "postgres" else f"{pipeline}.{system}"
