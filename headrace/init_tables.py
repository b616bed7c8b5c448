"""Contracts from the tables of a database: read its catalog, draft, write what can be written, say what cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from pydantic import SecretStr

from connectors import debezium
from connectors.finding import Finding
from connectors.postgres import source
from connectors.postgres.catalog import SourceTable, read_tables
from connectors.postgres.checks import check_table
from contracts.endpoints import PostgresEndpoint
from contracts.errors import ContractError, Fatal
from contracts.loader import load_stream
from contracts.stream import Pipeline, Stream
from headrace.app import App
from headrace.drafts.draft import Draft, check_draft, write_contract
from headrace.drafts.tables import draft_tables
from infra.local.deployment import external_database


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one table. `kept`: its contract was there already, and stays. `text` is the contract, empty if
    the table was refused. `why` of one that is written: what `plan` will refuse it for, until `fix` is done."""

    table: str
    what: Literal["written", "kept", "would be written", "refused"]
    file: str = ""
    why: str = ""
    fix: str = ""
    text: str = ""

    @property
    def refused(self) -> bool:
        """Whether there is no contract of it."""
        return self.what == "refused"

    @property
    def row(self) -> dict[str, str]:
        """What is shown of it."""
        return {"table": self.table, "contract": self.what, "file": self.file, "why": self.why, "fix": self.fix}


def init_tables(
    app: App, names: Sequence[str], schema: str, url: str, out: Path, *, force: bool, dry_run: bool
) -> list[Result]:
    """One result per table, in their order. A contract that is there stays unless `force`.

    Raises:
        Fatal: a name names no table or several, there is no table, the URL is none or holds a password.
        ServiceUnavailable: the database does not answer.
    """
    endpoint = endpoint_of(url) if url else _source(app)
    config, pipeline = _connector_config(app), app.settings.pipeline
    with source.connected(endpoint) as connection:
        tables = read_tables(connection, names=names, schema=schema)
        _require(tables, names, schema, endpoint.database)
        if out.exists() and not out.is_dir():
            raise Fatal(f"{out} is no folder", state="Nothing was written.", next_step="--out names the folder")
        drafts, refused = draft_tables(tables, pipeline, config)
        reasons = {one.table: Result(one.table, "refused", why=one.why, fix=one.fix) for one in refused}
        kept = _contracts(out, pipeline)
        results = []
        for table in tables:
            done = reasons.get(table.qualified) or _kept(table, drafts[table.qualified], out, kept, force=force)
            if done is None:
                draft = drafts[table.qualified]
                file = out / f"{draft.stream}.yaml"
                stream, done = _made(table.qualified, draft, file, pipeline, force=force, dry_run=dry_run)
                if stream is not None:
                    done = _ahead(done, check_table(connection, replace(stream, file=file), table, config))
            results.append(done)
    return results


def _source(app: App) -> PostgresEndpoint:
    """The settings' source; of your own nothing else needs to be there yet."""
    own = app.settings.source
    return external_database(own) if own.host else app.endpoints.source


def _require(tables: Sequence[SourceTable], names: Sequence[str], schema: str, database: str) -> None:
    """Fatal if a name names no table or several, or there is no table."""
    found = [table.qualified for table in tables]
    for name in names:
        meant = [one for one in found if one == name or one.partition(".")[2] == name]
        if len(meant) != 1:
            raise Fatal(
                f"{name} names {', '.join(meant) or 'no table'} of database {database}",
                state="Nothing was written.",
                next_step="`schema.table`, as the database spells it",
            )
    if not tables:
        raise Fatal(f"schema {schema} of database {database} has no table", next_step="--schema or --tables")


def _contracts(folder: Path, pipeline: str) -> dict[Path, str]:
    """The contracts of the folder that load, and which table of Postgres each is of; empty for anything else."""
    found = {}
    for file in sorted(folder.glob("*.y*ml")):
        with suppress(ContractError):
            stream = load_stream(file, pipeline)
            postgres = stream.is_cdc and stream.table_source.system == "postgres"
            found[file] = stream.table_source.qualified if postgres else ""
    return found


def _kept(table: SourceTable, draft: Draft, out: Path, contracts: Mapping[Path, str], *, force: bool) -> Result | None:
    """Why nothing is written of this table, if so: two contracts of one table, or one file for two, are none."""
    file, name = out / f"{draft.stream}.yaml", table.qualified
    for other, declared in contracts.items():
        if declared == name and other != file:
            return Result(name, "kept", str(other), why="it has this contract already", text=draft.text)
    if contracts.get(file, name) != name:
        whose = contracts[file] or "another source"
        fix = "--out another folder; then give the stream and its file another name"
        return Result(name, "refused", why=f"{file} is the contract of {whose}", fix=fix)
    if file.exists() and not force:
        return Result(name, "kept", str(file), why="it was there; --force replaces it", text=draft.text)
    return None


def _made(
    table: str, draft: Draft, file: Path, pipeline: str, *, force: bool, dry_run: bool
) -> tuple[Stream | None, Result]:
    """The contract written and loaded, or why not."""
    try:
        stream = check_draft(draft, pipeline) if dry_run else write_contract(draft, file, pipeline, force=force)
    except Fatal as error:
        return None, Result(table, "refused", why=error.what, fix=error.next_step)
    return stream, Result(table, "would be written" if dry_run else "written", str(file), text=draft.text)


def _ahead(done: Result, findings: Sequence[Finding]) -> Result:
    """With what `plan` will refuse it for: that is a person's to decide."""
    refusals = [one for one in findings if one.level == "refusal"]
    return replace(
        done,
        why="; ".join(f"`plan` will refuse it: {one.headline}" for one in refusals),
        fix="\n".join(dict.fromkeys(one.fix for one in refusals)),
    )


def endpoint_of(url: str) -> PostgresEndpoint:
    """The database that a libpq URL names; its password comes from PGPASSWORD."""
    try:
        parts = parse_dsn(url)
    except ProgrammingError as error:
        # The message quotes the URL, and with it a password.
        raise Fatal("--url is no URL of a database", next_step="postgresql://USER@HOST:PORT/DATABASE") from error
    if "password" in parts:
        raise Fatal(
            "--url holds a password, which every process of this host can read",
            next_step="take it out, and set PGPASSWORD",
        )
    if unknown := sorted(parts.keys() - {"host", "port", "dbname", "user", "sslmode", "sslrootcert"}):
        raise Fatal(
            f"--url says {', '.join(unknown)}, which is not heeded", next_step="user, host, port, database and sslmode"
        )
    if missing := [name for name in ("host", "dbname", "user") if name not in parts]:
        raise Fatal(f"--url lacks {', '.join(missing)}", next_step="postgresql://USER@HOST:PORT/DATABASE")
    password = SecretStr(os.environ.get("PGPASSWORD", ""))
    port = parts.get("port", "5432")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536) or "," in parts["host"]:
        raise Fatal("--url must name one host and one port", next_step="postgresql://USER@HOST:PORT/DATABASE")
    return PostgresEndpoint(
        parts["host"],
        int(port),
        parts["dbname"],
        parts["user"],
        password,
        sslmode=parts.get("sslmode", ""),
        sslrootcert=parts.get("sslrootcert", ""),
    )


def _connector_config(app: App) -> dict[str, str]:
    """The pipeline's own connector settings, also before there is a contract."""
    root = app.settings.pipeline_dir or Path(debezium.__file__).parent.parent
    folder = root / "connectors" if app.settings.pipeline_dir else root / "connectors" / app.settings.pipeline
    return debezium.overrides(Pipeline(app.settings.pipeline, (), folder, folder, folder))
