"""The bundled contracts are clean ODCS, and the source tables that are shipped are the ones they declare."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest

from contracts.endpoints import Endpoints
from contracts.loader import load_pipeline
from contracts.stream import Stream

PIPELINE = load_pipeline("edtech")
DATACONTRACT = "datacontract-cli==1.2.8"  # a tool of its own: its dependencies stay out of our lock
POSTGRES_TYPES = {
    "bigint": "bigint",
    "int": "integer",
    "string": "text",
    "date": "date",
    "boolean": "boolean",
    "timestamp": "timestamp with time zone",
}


@pytest.fixture(scope="module")
def linted() -> dict[str, subprocess.CompletedProcess[str]]:
    """Every contract's lint by its stream, side by side: the tool mostly starts and waits for the network."""
    # The Makefile brings its own where there is none.
    uv = shutil.which("uv") or shutil.which("uv", path=Path(__file__).parents[2] / ".venv-uv" / "bin")
    assert uv, "there is no uv; `make setup` installs it"
    command = [uv, "tool", "run", "--from", DATACONTRACT, "datacontract", "lint"]

    def lint(stream: Stream) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, str(stream.file)], capture_output=True, text=True, timeout=240)

    with ThreadPoolExecutor() as pool:
        return dict(zip([stream.name for stream in PIPELINE.streams], pool.map(lint, PIPELINE.streams), strict=True))


@pytest.mark.parametrize("stream", [stream.name for stream in PIPELINE.streams])
def test_datacontract_lint_is_clean(linted: dict[str, subprocess.CompletedProcess[str]], stream: str) -> None:
    assert linted[stream].returncode == 0, linted[stream].stdout + linted[stream].stderr
    assert "valid" in linted[stream].stdout


def test_the_source_tables_are_the_declared_ones_and_the_ddl_runs_twice(endpoints: Endpoints) -> None:
    ddl = (PIPELINE.connectors_dir / "source_ddl.sql").read_text(encoding="utf-8")
    schema = f"b_{uuid.uuid4().hex[:8]}"
    with psycopg2.connect(**endpoints.source.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(f"create schema {schema}")
        cursor.execute(ddl.replace("public.", f"{schema}."))
        cursor.execute(ddl.replace("public.", f"{schema}."))
        for stream in PIPELINE.cdc_streams:
            cursor.execute(
                "select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute "
                "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
                (f"{schema}.{stream.table_source.table}",),
            )
            found = {name: (kind, not_null) for name, kind, not_null in cursor}
            declared = {
                c.name: ("jsonb" if c.json else POSTGRES_TYPES.get(c.spark_type, c.spark_type), c.required)
                for c in stream.columns
            }
            assert {n: (k.replace("numeric", "decimal"), r) for n, (k, r) in found.items()} == declared
            cursor.execute(
                "select attname from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey) "
                "where indrelid = %s::regclass and indisprimary",
                (f"{schema}.{stream.table_source.table}",),
            )
            assert tuple(row[0] for row in cursor) == stream.key
        connection.rollback()


def test_every_contract_file_is_a_stream() -> None:
    folder: Path = PIPELINE.contracts_dir
    assert {s.file.name for s in PIPELINE.streams} == {f.name for f in folder.glob("*.yaml")} - {"sample_data.yaml"}
