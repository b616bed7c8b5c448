"""What a pipeline's warehouse holds: `tables.yaml` and the plain SQL files beside it, loaded and checked.

source/<table>.sql            Spark SQL: the rows of one table, from the view `changes`, `rows` or `dates`
delta|postgres/ddl/…          create if not exists
delta|postgres/merge/…        MERGE of dimensions from `staging_<table>`, under a version guard
delta|postgres/infer/…        inferred members from `members`
delta|postgres/replace/…      facts: delete-insert of whole dates
queries/ checks/ parquet/     what people read, what must return nothing, consolidated tables
extract/                      what `headrace extract` packs for whoever wants a file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.loader import NAME
from contracts.stream import FILE_UNIT, Pipeline
from contracts.yaml_document import Place, YamlDocument
from warehouse_sql.sql_files import one_statement, statements

Kind = Literal["dimension", "generated", "fact"]
Engine = Literal["delta", "postgres"]
DECLARATION = "tables.yaml"
FACT_DATE = "date_key"


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Table(_Declared):
    kind: Kind
    key: str
    stream: str = ""
    natural: tuple[str, ...] = ()
    inferred: str = ""
    references: dict[str, str] = {}


class _Parquet(_Declared):
    inputs: tuple[str, ...]


class _File(_Declared):
    tables: dict[str, _Table]
    views: tuple[str, ...] = ()
    parquet: dict[str, _Parquet] = {}


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the star schema. `natural`: the columns a dimension's key hashes, named alike in its facts;
    `inferred`: its boolean column that is true for a member that only others have named so far."""

    name: str
    kind: Kind
    key: str
    stream: str
    natural: tuple[str, ...]
    inferred: str
    references: Mapping[str, str]

    @property
    def staging(self) -> str:
        """The table or view that holds the rows to merge."""
        return f"staging_{self.name}"


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A consolidated table: rewritten for the dates at which one of its inputs was restated."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A pipeline's star schema: tables in an order in which each comes after those it references."""

    pipeline: str
    folder: Path
    tables: tuple[Table, ...]
    views: tuple[str, ...]
    parquet: tuple[ParquetTable, ...]

    def table(self, name: str) -> Table:
        """The table of that name; KeyError if there is none."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    @property
    def dimensions(self) -> tuple[Table, ...]:
        """Tables merged from a stream's state."""
        return tuple(table for table in self.tables if table.kind == "dimension")

    @property
    def facts(self) -> tuple[Table, ...]:
        """Tables restated by date."""
        return tuple(table for table in self.tables if table.kind == "fact")

    def referring(self, name: str) -> dict[str, list[str]]:
        """The tables that refer to a dimension, and by which columns."""
        found = {table.name: [c for c, target in table.references.items() if target == name] for table in self.tables}
        return {table: columns for table, columns in found.items() if columns}

    def source(self, name: str) -> str:
        """The Spark SQL that gives a table's or a view's rows."""
        return one_statement(self.folder / "source" / f"{name}.sql")

    def sql(self, engine: Engine, verb: str, name: str) -> list[str]:
        """The statements of one verb for one table."""
        return statements(self.folder / engine / verb / f"{name}.sql")

    def named(self, folder: str) -> dict[str, str]:
        """The one-statement files of `queries`, `checks` or `extract`, by name."""
        return {path.stem: one_statement(path) for path in sorted((self.folder / folder).glob("*.sql"))}


def load(pipeline: Pipeline) -> Warehouse:
    """Read and check the declaration of a pipeline's warehouse; a pipeline without one has no star schema.

    Raises:
        ContractError: wrong YAML, a file that is no UTF-8, an unknown stream, table or column, a name that is none,
            references in a circle, a missing SQL file, or two statements where one belongs.
    """
    path = pipeline.warehouse_sql_dir / DECLARATION
    if not path.exists():
        return Warehouse(pipeline.name, pipeline.warehouse_sql_dir, (), (), ())
    document = YamlDocument(path)
    try:
        declared = _File.model_validate(document.data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise document.error(f"{place}: {first['msg']}", first["loc"], f"correct `{place}`") from error
    tables = {
        name: Table(name, table.kind, table.key, table.stream, table.natural, table.inferred, table.references)
        for name, table in declared.tables.items()
    }
    _check_names(declared, document)
    for table in tables.values():
        _check(table, tables, pipeline, document)
    warehouse = Warehouse(
        pipeline.name,
        pipeline.warehouse_sql_dir,
        _ordered(tables, document),
        declared.views,
        tuple(ParquetTable(name, parquet.inputs) for name, parquet in declared.parquet.items()),
    )
    for parquet in warehouse.parquet:
        for name in parquet.inputs:
            if name not in tables or tables[name].kind != "fact":
                raise document.error(
                    f"parquet {parquet.name}: input {name!r} is no fact", ("parquet", parquet.name, "inputs"), "a fact"
                )
    _check_files(warehouse)
    return warehouse


def _check_names(declared: _File, document: YamlDocument) -> None:
    """They become names in SQL and of files."""
    named: list[tuple[str, Place]] = [(view, ("views", index)) for index, view in enumerate(declared.views)]
    named += [(name, ("parquet", name)) for name in declared.parquet]
    for name, table in declared.tables.items():
        named += [(name, ("tables", name)), (table.key, ("tables", name, "key"))]
        named += [(column, ("tables", name, "references", column)) for column in table.references]
        named += [(table.inferred, ("tables", name, "inferred"))] if table.inferred else []
    for name, place in named:
        if not NAME.fullmatch(name):
            raise document.error(f"`{name}` is no name", place, "lower-case letters, digits and _, a letter first")


def _check(table: Table, tables: Mapping[str, Table], pipeline: Pipeline, document: YamlDocument) -> None:
    streams = {stream.name: stream for stream in pipeline.streams}
    at = ("tables", table.name)
    if table.kind != "generated":
        stream = streams.get(table.stream)
        if stream is None:
            raise document.error(
                f"{table.name}: no stream {table.stream!r}", (*at, "stream"), f"stream: one of {sorted(streams)}"
            )
        if table.kind == "dimension" and not (stream.is_cdc and table.natural and table.inferred):
            raise document.error(
                f"{table.name}: a dimension needs a table's stream, `natural` and `inferred`",
                at,
                "natural: [<id>] and inferred: is_inferred",
            )
        if table.kind == "fact" and (stream.is_cdc or stream.file_source.unit in ("", FILE_UNIT)):
            raise document.error(
                f"{table.name}: a fact needs a file stream with a unit", (*at, "stream"), "a stream with a date unit"
            )
        columns = [column.name for column in stream.columns]
        if unknown := [name for name in table.natural if name not in columns]:
            raise document.error(
                f"{table.name}: `natural` names {unknown[0]!r}, no column of {stream.name}",
                (*at, "natural"),
                f"natural: some of {columns}",
            )
    for column, target in table.references.items():
        if target not in tables or tables[target].kind == "fact":
            raise document.error(
                f"{table.name}.{column} references {target!r}, no dimension here",
                (*at, "references", column),
                "a dimension's name",
            )


def _ordered(tables: Mapping[str, Table], document: YamlDocument) -> tuple[Table, ...]:
    ordered: dict[str, Table] = {}
    waiting = dict(tables)
    while waiting:
        ready = [t for t in waiting.values() if all(r in ordered or r == t.name for r in t.references.values())]
        if not ready:
            raise document.error(
                f"references in a circle: {sorted(waiting)}",
                ("tables", min(waiting), "references"),
                "drop one reference",
            )
        for table in sorted(ready, key=lambda t: t.kind == "fact"):
            ordered[table.name] = waiting.pop(table.name)
    return tuple(sorted(ordered.values(), key=lambda t: t.kind == "fact"))


def _check_files(warehouse: Warehouse) -> None:
    for view in warehouse.views:
        warehouse.source(view)
    engines: tuple[Engine, ...] = ("delta", "postgres")
    for table in warehouse.tables:
        warehouse.source(table.name)
        for engine in engines:
            warehouse.sql(engine, "ddl", table.name)
            warehouse.sql(engine, "replace" if table.kind == "fact" else "merge", table.name)
            if table.kind == "dimension":
                warehouse.sql(engine, "infer", table.name)
    for parquet in warehouse.parquet:
        one_statement(warehouse.folder / "parquet" / f"{parquet.name}.sql")
    for folder in ("queries", "checks", "extract"):
        warehouse.named(folder)
