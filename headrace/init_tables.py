"""Contracts from the tables of a database: read its catalog, draft, write what can be written, say what cannot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from pydantic import SecretStr

from connectors import debezium, source
from connectors.source_catalog import read_tables
from contracts.endpoints import PostgresEndpoint
from contracts.errors import Fatal
from contracts.stream import Pipeline
from headrace.app import App
from headrace.drafts.draft import check_draft, write_contract
from headrace.drafts.tables import draft_tables


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one table. `kept`: its contract was there already, and stays. `text` is the contract, empty if
    the table was refused."""

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
    endpoint = endpoint_of(url) if url else app.endpoints.source
    with source.connected(endpoint) as connection:
        tables = read_tables(connection, names=names, schema=schema)
    found = [table.qualified for table in tables]
    for name in names:
        meant = [one for one in found if one == name or one.partition(".")[2] == name]
        if len(meant) != 1:
            raise Fatal(
                f"{name} names {', '.join(meant) or 'no table'} of database {endpoint.database}",
                state="Nothing was written.",
                next_step="`schema.table`, as the database spells it",
            )
    if not tables:
        raise Fatal(f"schema {schema} of database {endpoint.database} has no table", next_step="--schema or --tables")
    if out.exists() and not out.is_dir():
        raise Fatal(f"{out} is no folder", state="Nothing was written.", next_step="--out names the folder")
    drafts, refused = draft_tables(tables, app.settings.pipeline, _connector_config(app))
    reasons = {one.table: one for one in refused}
    results = []
    for table in tables:
        if reason := reasons.get(table.qualified):
            results.append(Result(table.qualified, "refused", why=reason.why, fix=reason.fix))
            continue
        draft = drafts[table.qualified]
        file = out / f"{draft.stream}.yaml"
        done = Result(table.qualified, "would be written" if dry_run else "written", str(file), text=draft.text)
        if file.exists() and not force:
            done = replace(done, what="kept", why="it was there; --force replaces it")
        elif dry_run:
            check_draft(draft, app.settings.pipeline)
        else:
            write_contract(draft, file, app.settings.pipeline, force=force)
        results.append(done)
    return results


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
    return PostgresEndpoint(
        parts["host"],
        int(parts.get("port", 5432)),
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
