"""Reads contracts (ODCS v3, YAML) into frozen streams; a contract that is wrong is refused with file and line.

The rest of the code never sees ODCS. A bundled pipeline's folders are `contracts/<name>`, `connectors/<name>` and
`warehouse_sql/<name>` beside each other; a user's own pipeline is one directory that holds `contracts`, `connectors`
and `warehouse_sql`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject
from pydantic import ValidationError

from contracts.columns import read_columns
from contracts.custom_properties import StreamProperties, camel, read_properties
from contracts.errors import ContractError
from contracts.file_source import read_file_source
from contracts.quality import row_rules
from contracts.spark_types import parse_type
from contracts.stream import FILE_UNIT, Column, FileSource, Pipeline, Stream, TableSource, captured_as
from contracts.yaml_document import Place, YamlDocument

KIND = "DataContract"
SAMPLE_DATA_KIND = "HeadraceSampleData"
NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = {"quarantine", "ledger", "files", "files_sent", "ledger_files", "consistent_cut"}
RESERVED_ENDINGS = ("_current", "_state", "_changes")
DEFAULT_FRESHNESS_S = 60.0
_SECONDS = {
    "s": 1.0,
    "second": 1.0,
    "m": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
}


def load_pipeline(name: str, directory: Path | None = None) -> Pipeline:
    """Every stream of a pipeline, in the order of the contract files' names.

    Raises:
        ContractError: there is no such pipeline, a contract is wrong, or two of them share a stream or a topic.
    """
    root = Path(__file__).parent.parent
    if directory is None:
        folders = [root / part / name for part in ("contracts", "connectors", "warehouse_sql")]
    else:
        folders = [directory / part for part in ("contracts", "connectors", "warehouse_sql")]
    if not NAME.fullmatch(name):
        raise ContractError(
            f"`{name}` is no name for a pipeline: topics and tables begin with it",
            file=folders[0],
            write="lower-case letters, digits and _, a letter first",
        )
    if not folders[0].is_dir():
        raise ContractError(
            f"there is no pipeline `{name}`: this folder does not exist",
            file=folders[0],
            write="one contract per stream into it, or the right name or directory of the pipeline",
        )
    streams = tuple(load_stream(file, name) for file in _contract_files(folders[0]))
    if not streams:
        raise ContractError(f"pipeline `{name}` has no contract", file=folders[0], write="one YAML file per stream")
    _refuse_shared(streams)
    pipeline = Pipeline(name, streams, *folders)
    if taken := next((stream for stream in streams if stream.topic == pipeline.files_topic), None):
        raise ContractError(
            f"has the topic `{taken.topic}`, in which the pipeline keeps the states of files",
            file=taken.file,
            write="another `headrace.topic`",
        )
    return pipeline


def load_stream(path: Path, pipeline: str) -> Stream:
    """One contract.

    Raises:
        ContractError: says file, line, what is wrong and what to write.
    """
    document = YamlDocument(path)
    contract = _validated(document)
    schemas = contract.schema_ or []
    if len(schemas) != 1:
        raise document.error(f"has {len(schemas)} schemas", ("schema",), "one schema: one contract is one stream")
    schema, place = schemas[0], ("schema", 0)
    name = schema.name or ""
    if not NAME.fullmatch(name) or name in RESERVED or name.endswith(RESERVED_ENDINGS):
        raise document.error(
            f"`{name}` is no name for a stream (or one that headrace's own tables have)",
            (*place, "name"),
            "lower-case letters, digits and _, a letter first",
        )
    columns = read_columns(document, place, schema)
    properties = read_properties(document, ("customProperties",), contract.customProperties, StreamProperties)
    key = _key(document, place, schema, columns)
    source = _source(document, properties, columns)
    required = {column.name for column in columns if column.required}
    types = {column.name: parse_type(column.spark_type) for column in columns}
    _check_fields(document, source, columns, key)
    is_table, captured = isinstance(source, TableSource), captured_as(pipeline, properties.source)
    _check_stream(document, properties, source, columns)
    return Stream(
        pipeline=pipeline,
        name=name,
        topic=properties.topic or (f"{captured}.{properties.table}" if is_table else f"{pipeline}.files.{name}"),
        source=source,
        columns=columns,
        key=key,
        rules=row_rules(document, place, schema, types, required),
        version=properties.version,
        partition_by=_partition_by(document, place, schema, source),
        partitions=properties.partitions,
        evolution=properties.evolution,
        quarantine_limit=properties.quarantine_limit,
        quarantine_minimum=properties.quarantine_minimum,
        freshness_s=_freshness_s(document, contract),
        retention_days=properties.retention_days,
        consistent_cut=properties.consistent_cut,
        owner=_owner(contract),
        description=(schema.description or "").strip(),
        file=path,
    )


def _contract_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".yaml", ".yml"):
            continue
        document = YamlDocument(file)
        kind = document.data.get("kind")
        if kind == KIND:
            yield file
        elif kind != SAMPLE_DATA_KIND:
            raise document.error(f"kind `{kind}` is unknown here", ("kind",), f"`kind: {KIND}` (ODCS v3)")


def _validated(document: YamlDocument) -> OpenDataContractStandard:
    if document.data.get("kind") != KIND:
        raise document.error(
            f"is no data contract: kind is `{document.data.get('kind')}`", ("kind",), f"`kind: {KIND}`"
        )
    version = str(document.data.get("apiVersion"))
    if not version.startswith("v3."):
        raise document.error(f"apiVersion is `{version}`", ("apiVersion",), "`apiVersion: v3.1.0` (ODCS v3)")
    try:
        return OpenDataContractStandard.model_validate(document.data, extra="forbid")
    except ValidationError as problem:
        first = problem.errors()[0]
        place = tuple(part for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise document.error(f"`{place[-1]}` is no word of ODCS here", place) from None
        # YAML takes `no`, `on` and `1` for what is no text, also where they are a column's name.
        quote = (
            f"'{document.text(place)}', in quotes" if first["type"] == "string_type" and document.text(place) else ""
        )
        raise document.error(f"`{'.'.join(map(str, place))}`: {first['msg']}", place, quote) from None
    except Exception as problem:
        # ODCS' own validators raise what they like on values they did not expect.
        raise document.error(f"is not read by ODCS' model: {type(problem).__name__}: {problem}") from problem


def _key(document: YamlDocument, place: Place, schema: SchemaObject, columns: tuple[Column, ...]) -> tuple[str, ...]:
    marked = [(c.primaryKeyPosition or 0, i, c) for i, c in enumerate(schema.properties or ()) if c.primaryKey]
    if not marked:
        raise document.error(
            "has no key: nothing says when two records are the same event",
            (*place, "properties"),
            "`primaryKey: true` and `primaryKeyPosition` at the columns of the natural key",
        )
    positions = [position for position, _, _ in marked]
    if len(marked) > 1 and sorted(positions) != list(range(1, len(marked) + 1)):
        raise document.error(
            f"the key's positions are {positions}",
            (*place, "properties", marked[0][1]),
            f"`primaryKeyPosition` 1 to {len(marked)}: the order of the columns decides `_key`",
        )
    by_name = {column.name: column for column in columns}
    for _, index, column in marked:
        spark_type = by_name[column.name or ""].spark_type
        if parse_type(spark_type).contains("double", "float", "array", "map", "struct"):
            raise document.error(
                f"key column `{column.name}` is {spark_type}",
                (*place, "properties", index),
                "a key of integers, decimals, strings, booleans, dates or timestamps: others print differently",
            )
    return tuple(column.name or "" for _, _, column in sorted(marked, key=lambda item: item[0]))


def _source(document: YamlDocument, found: StreamProperties, columns: tuple[Column, ...]) -> TableSource | FileSource:
    at = ("customProperties",)
    if bool(found.table) == bool(found.file_pattern):
        raise document.error(
            "must name one source, a table or files", at, "`headrace.table: schema.table` or `headrace.filePattern`"
        )
    if found.file_pattern:
        if "source" in found.model_fields_set:
            raise document.error("files come from no database", at, "no `headrace.source`")
        return read_file_source(document, found, columns)
    schema, dot, table = found.table.partition(".")
    if not (schema and dot and table) or "." in table:
        raise document.error(f"`headrace.table` is `{found.table}`", at, "`schema.table`")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", found.table) and not found.topic:
        raise document.error(
            f"`headrace.table` is `{found.table}`, of which Kafka has no topic",
            at,
            "`schema.table` as the catalog has it, unquoted; if it has more than letters, digits, _ and -, rename it",
        )
    if of_files := [name for name in found.model_fields_set if name.startswith(("file_", "log_"))]:
        raise document.error(f"a table has no `headrace.{camel(min(of_files))}`", at)
    for column in columns:
        if column.from_file_name or column.from_batch_date or column.from_line or column.format:
            raise document.error(f"column `{column.name}` of a table has no file to come from and no format", at)
    return TableSource(schema, table, system=found.source)


def _check_stream(
    document: YamlDocument, found: StreamProperties, source: TableSource | FileSource, columns: tuple[Column, ...]
) -> None:
    at = ("customProperties",)
    by_name = {column.name: column for column in columns}
    if isinstance(source, TableSource) and found.partitions != 1:
        raise document.error("a table's topic has one partition: its offsets order the changes", at, "no partitions")
    if isinstance(source, TableSource) and found.version:
        raise document.error("a table's version is the source's epoch and the offset", at, "no `headrace.version`")
    if found.consistent_cut and (not isinstance(source, TableSource) or source.system == "mongodb"):
        what = "MongoDB's documents" if isinstance(source, TableSource) else "files"
        raise document.error(
            f"`headrace.consistentCut` is true, but {what} come without the transactions that wrote them",
            at,
            "it only where `headrace.table` is a table of Postgres or MariaDB",
        )
    if found.version:
        column = by_name.get(found.version)
        if column is None:
            raise document.error(f"`headrace.version` names `{found.version}`, which is no column", at)
        if column.spark_type not in ("timestamp", "bigint", "int", "smallint", "tinyint"):
            raise document.error(f"version column `{column.name}` is {column.spark_type}", at, "a timestamp or integer")
    as_json = source.row_format == "json" if isinstance(source, FileSource) else source.system == "mongodb"
    for column in columns:
        kind = parse_type(column.spark_type)
        if kind.name == "array" and isinstance(source, TableSource) and source.system == "postgres" and not column.json:
            continue  # an array of the database's own
        if not as_json and not column.json and kind.is_nested:
            raise document.error(
                f"column `{column.name}` is {column.spark_type}, which arrives here as text",
                at,
                f"`headrace.json: true` at `{column.name}`",
            )


def _check_fields(
    document: YamlDocument, source: TableSource | FileSource, columns: tuple[Column, ...], key: tuple[str, ...]
) -> None:
    """Tables and documents may have names that no column can have; a document says which it is by its `_id`."""
    at = ("customProperties",)
    if isinstance(source, FileSource):
        if named := next((column.name for column in columns if column.field), None):
            what = f"column `{named}` has a `headrace.field`"
            raise document.error(what, at, "no other name: only tables and documents have one")
        return
    if source.system == "mongodb" and [column.field for column in columns if column.name in key] != ["_id"]:
        raise document.error("a document is known by its `_id`", at, "one key column, with `headrace.field: _id`")
    fields = [column.source_name for column in columns]
    if twice := next((field for field in fields if fields.count(field) > 1), None):
        raise document.error(f"two columns are the field `{twice}`", at)


def _partition_by(document: YamlDocument, place: Place, schema: SchemaObject, source: TableSource | FileSource) -> str:
    marked = [(i, column.name or "") for i, column in enumerate(schema.properties or ()) if column.partitioned]
    if len(marked) > 1:
        raise document.error("two columns are `partitioned`", (*place, "properties", marked[1][0]), "one")
    unit = source.unit if isinstance(source, FileSource) and source.unit != FILE_UNIT else ""
    if unit and marked and marked[0][1] != unit:
        raise document.error(
            f"is partitioned by `{marked[0][1]}`, but its files state `{unit}`",
            (*place, "properties", marked[0][0]),
            f"`partitioned: true` at `{unit}`: late rows are looked up in their unit's partition only",
        )
    return marked[0][1] if marked else unit


def _freshness_s(document: YamlDocument, contract: OpenDataContractStandard) -> float:
    for index, item in enumerate(contract.slaProperties or ()):
        if item.property not in ("freshness", "latency"):
            continue
        unit = str(item.unit)
        scale = _SECONDS.get(unit) or _SECONDS.get(unit.removesuffix("s"))
        value = item.value if isinstance(item.value, int | float) and not isinstance(item.value, bool) else math.nan
        if scale is None or not 0 < value < math.inf:
            raise document.error(
                f"{item.property} is {item.value} {item.unit}", ("slaProperties", index), "`value: 30` and `unit: s`"
            )
        return value * scale
    return DEFAULT_FRESHNESS_S


def _owner(contract: OpenDataContractStandard) -> str:
    if isinstance(contract.team, list):
        return next((member.username or member.name or "" for member in contract.team), "")
    return (contract.team.name or "") if contract.team else ""


def _refuse_shared(streams: tuple[Stream, ...]) -> None:
    names: dict[str, Stream] = {}
    topics: dict[str, Stream] = {}
    for stream in streams:
        if other := names.get(stream.name):
            raise ContractError(f"has the name `{stream.name}`, as {other.file.name} does", file=stream.file)
        # Kafka makes no topic whose name differs from another's only in these.
        alike = stream.topic.replace(".", "_")
        if other := topics.get(alike):
            beside = "" if other.topic == stream.topic else f", for Kafka the same as `{other.topic}`"
            raise ContractError(f"has the topic `{stream.topic}`{beside}, as {other.file.name} does", file=stream.file)
        names[stream.name] = topics[alike] = stream
