"""What the tables of Postgres and of MariaDB have in common in which a connector is asked to read tables: Debezium's
`source` channel, if the pipeline's file names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from connectors import overrides
from connectors.finding import Finding
from contracts.errors import ContractError, Fatal
from contracts.stream import Pipeline

TABLE = "signal.data.collection"
"""Names the table; without it the connector is asked over Kafka."""
# Debezium takes it now for a name, now for a regular expression; and a topic is called so.
_NAME = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")
_TELLS = "`headrace plan` tells what it lacks"


def heard(running: Mapping[str, str] | None) -> str:
    """The table (`schema.table`) that a connector with this config takes requests from; empty if it takes them from
    Kafka alone."""
    return (running or {}).get(TABLE, "")


def channels(own: Mapping[str, str]) -> dict[str, str]:
    """What a connector whose file says this is told to hear. Over Kafka, too: what was asked for before the table was
    named."""
    return {"signal.enabled.channels": "source,kafka"} if TABLE in own else {}


def check_name(
    own: Mapping[str, str], part: Pipeline, file: Path, script: str, among: frozenset[str] = frozenset()
) -> None:
    """ContractError if the pipeline's file names what can be no table for requests. `among`: the schemas in which it
    may be, if not in all."""
    name = own.get(TABLE)
    if name is None:
        return
    if name in {stream.table_source.qualified for stream in part.cdc_streams}:
        wrong = "a declared table"
    elif not _NAME.fullmatch(name):
        wrong = "no table"
    elif among and name.split(".")[0] not in among:
        wrong = f"a table of another database than {', '.join(sorted(among))}"
    else:
        return
    raise ContractError(
        f"{TABLE} names {wrong}: {name}",
        file=file,
        line=overrides.line_of(file.read_text(encoding="utf-8"), TABLE),
        write=f"<schema>.<table> of the one that {script} makes: lower-case letters, digits and _",
    )


def absent(name: str, file: str, fix: str) -> Finding:
    """The finding about a table that is not there."""
    why = f"{TABLE} in {file} names it, and requests to read tables are written there"
    return Finding("refusal", "the table for signals does not exist", table=name, why=why, fix=fix)


def another(name: str, declared: Mapping[str, str], also: str, found: Mapping[str, str], fix: str) -> Finding:
    """The finding about one with other columns, or one that lacks what it must have `also`."""
    return Finding(
        "refusal",
        "the table for signals is not as Debezium reads it",
        table=name,
        declared=f"{_listed(declared)}; {also}",
        found=_listed(found),
        fix=fix,
    )


def _listed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{column} {kind}" for column, kind in columns.items())


def not_written(part: Pipeline, name: str, why: str, next_step: str = _TELLS) -> Fatal:
    """The error for a request that the table did not take."""
    return Fatal(
        f"the request was not written to {name}: {why}",
        state="Nothing was asked for.",
        next_step=next_step,
        pipeline=part.name,
    )
