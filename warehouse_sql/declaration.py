"""What a pipeline's warehouse holds: `tables.yaml` and the plain SQL files beside it, loaded and checked.

source/<table>.sql            Spark SQL: the rows of one table, from the view `changes`, `rows` or `dates`
delta|postgres/ddl/…          create if not exists
delta|postgres/merge/…        MERGE of dimensions from `staging_<table>`, under a version guard
delta|postgres/infer/…        inferred members from `members`
delta|postgres/replace/…      facts: delete-insert of whole dates
queries/ checks/ parquet/     what people read, what must return nothing, consolidated tables
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.errors import ContractError
from contracts.stream import Pipeline

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
    references: dict[str, str] = {}


class _Parquet(_Declared):
    inputs: tuple[str, ...]


class _File(_Declared):
    tables: dict[str, _Table]
    views: tuple[str, ...] = ()
    parquet: dict[str, _Parquet] = {}


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the star schema. `natural`: the columns a dimension's key hashes, named alike in its facts."""

    name: str
    kind: Kind
    key: str
    stream: str
    natural: tuple[str, ...]
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

    def source(self, name: str) -> str:
        """The Spark SQL that gives a table's or a view's rows."""
        return statements(self.folder / "source" / f"{name}.sql")[0]

    def sql(self, engine: Engine, verb: str, name: str) -> list[str]:
        """The statements of one verb for one table."""
        return statements(self.folder / engine / verb / f"{name}.sql")

    def named(self, folder: str) -> dict[str, str]:
        """The one-statement files of `queries` or `checks`, by name."""
        return {path.stem: statements(path)[0] for path in sorted((self.folder / folder).glob("*.sql"))}


def statements(path: Path) -> list[str]:
    """The statements of a SQL file, without comment lines and without the final semicolon.

    A statement ends with a semicolon at the end of a line. ContractError if the file is missing, empty or no UTF-8.
    """
    if not path.is_file():
        raise ContractError("the SQL file is missing", file=path, write=f"create {path.name} or drop the table")
    found: list[str] = []
    lines: list[str] = []
    for line in _text(path).splitlines():
        if line.lstrip().startswith("--"):
            continue
        ends = line.rstrip().endswith(";")
        lines.append(line.rstrip()[:-1] if ends else line)
        if ends:
            found.append("\n".join(lines).strip())
            lines = []
    found.append("\n".join(lines).strip())
    found = [statement for statement in found if statement]
    if not found:
        raise ContractError("the SQL file holds no statement", file=path, write="write the statement")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ContractError(f"is no UTF-8: {error.reason}", file=path, line=line, write="save it as UTF-8") from error


def load(pipeline: Pipeline) -> Warehouse:
    """Read and check the declaration of a pipeline's warehouse; a pipeline without one has no star schema.

    Raises:
        ContractError: wrong YAML, a file that is no UTF-8, an unknown stream or table, references in a circle, a
            missing SQL file.
    """
    path = pipeline.warehouse_sql_dir / DECLARATION
    if not path.exists():
        return Warehouse(pipeline.name, pipeline.warehouse_sql_dir, (), (), ())
    try:
        declared = _File.model_validate(yaml.safe_load(_text(path)))
    except (OSError, yaml.YAMLError) as error:
        raise ContractError(f"cannot be read: {error}", file=path, write="a mapping with `tables:`") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ContractError(f"{place}: {first['msg']}", file=path, write=f"correct `{place}`") from error
    tables = {
        name: Table(name, table.kind, table.key, table.stream, table.natural, table.references)
        for name, table in declared.tables.items()
    }
    for table in tables.values():
        _check(table, tables, pipeline, path)
    warehouse = Warehouse(
        pipeline.name,
        pipeline.warehouse_sql_dir,
        _ordered(tables, path),
        declared.views,
        tuple(ParquetTable(name, parquet.inputs) for name, parquet in declared.parquet.items()),
    )
    for parquet in warehouse.parquet:
        for name in parquet.inputs:
            if name not in tables or tables[name].kind != "fact":
                raise ContractError(f"parquet {parquet.name}: input {name!r} is no fact", file=path, write="a fact")
    _check_files(warehouse)
    return warehouse


def _check(table: Table, tables: Mapping[str, Table], pipeline: Pipeline, path: Path) -> None:
    streams = {stream.name: stream for stream in pipeline.streams}
    if table.kind != "generated":
        stream = streams.get(table.stream)
        if stream is None:
            raise ContractError(
                f"{table.name}: no stream {table.stream!r}", file=path, write=f"stream: one of {sorted(streams)}"
            )
        if table.kind == "dimension" and not (stream.is_cdc and table.natural):
            raise ContractError(
                f"{table.name}: a dimension needs a table's stream and `natural`", file=path, write="natural: [<id>]"
            )
        if table.kind == "fact" and (stream.is_cdc or not stream.file_source.unit):
            raise ContractError(
                f"{table.name}: a fact needs a file stream with a unit", file=path, write="a stream with a date unit"
            )
    for column, target in table.references.items():
        if target not in tables or tables[target].kind == "fact":
            raise ContractError(
                f"{table.name}.{column} references {target!r}, no dimension here", file=path, write="a dimension's name"
            )


def _ordered(tables: Mapping[str, Table], path: Path) -> tuple[Table, ...]:
    ordered: dict[str, Table] = {}
    waiting = dict(tables)
    while waiting:
        ready = [t for t in waiting.values() if all(r in ordered or r == t.name for r in t.references.values())]
        if not ready:
            raise ContractError(f"references in a circle: {sorted(waiting)}", file=path, write="drop one reference")
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
        statements(warehouse.folder / "parquet" / f"{parquet.name}.sql")
