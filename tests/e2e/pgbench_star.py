"""A star schema over pgbench's tables: one dimension for each, in Delta and in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_ALL = "{columns}, is_inferred boolean, is_deleted boolean, _version bigint"
_DDL = {
    "delta": f"create table if not exists dim_{{t}} ({{t}}_key binary, {_ALL}) using delta",
    "postgres": f"create table if not exists dim_{{t}} ({{t}}_key bytea primary key, {_ALL});\n"
    f"create unlogged table if not exists staging_dim_{{t}} ({{t}}_key bytea, {_ALL});",
}
_MERGE = """merge into dim_{t} as t using staging_dim_{t} as s on t.{t}_key = s.{t}_key
when matched and s._version >= t._version then update set {set}
when not matched then insert ({t}_key, {names}) values (s.{t}_key, {values})"""
_INFER = """merge into dim_{t} as t using members as s on t.{t}_key = s.{t}_key
when not matched then insert ({t}_key, {natural}, is_inferred, is_deleted, _version)
values (s.{t}_key, s.{natural}, true, false, -1)"""
_SOURCE = "select _key as {t}_key, {sent}, false as is_inferred, _deleted as is_deleted, _version from changes"


def write_star_schema(folder: Path, tables: Mapping[str, Mapping[str, str]]) -> None:
    """`tables`: of each stream its columns with their types; the first is its key."""
    declared = (
        f"  dim_{name}: {{kind: dimension, stream: {name}, key: {name}_key, natural: [{next(iter(columns))}], "
        "inferred: is_inferred}"
        for name, columns in tables.items()
    )
    folder.mkdir()
    (folder / "tables.yaml").write_text("\n".join(["tables:", *declared]) + "\n", "utf-8")
    for table, columns in tables.items():
        names = [*columns, "is_inferred", "is_deleted", "_version"]
        words = {
            "t": table,
            "columns": ", ".join(f"{name} {kind.rstrip('!')}" for name, kind in columns.items()),
            "names": ", ".join(names),
            "set": ", ".join(f"{name} = s.{name}" for name in names),
            "values": ", ".join(f"s.{name}" for name in names),
            "natural": next(iter(columns)),
            "sent": ", ".join(columns),
        }
        files = {f"source/dim_{table}": _SOURCE}
        for engine, ddl in _DDL.items():
            files |= {f"{engine}/ddl/dim_{table}": ddl}
            files |= {f"{engine}/merge/dim_{table}": _MERGE, f"{engine}/infer/dim_{table}": _INFER}
        for name, text in files.items():
            path = folder / f"{name}.sql"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(**words), "utf-8")
