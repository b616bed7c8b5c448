"""What a file of the pipeline adds to a connector's config: it may break no promise and hold no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from contracts.errors import ContractError

EXCLUDED = "column.exclude.list"
# A config is shown to all who may ask Connect. A secret may stand in the middle of a value: Kafka's JAAS, a URL, a PEM.
_SECRET_NAME = re.compile("password|secret")
_SECRET_VALUE = re.compile(
    r"""(?i)(?:password|secret)\s*=\s*["']?(?!\$\{)[^\s"';] | ://[^/@\s]*:(?!\$\{)[^/@\s]*@ | PRIVATE\ KEY-----""",
    re.VERBOSE,
)
_REFERENCE = "${directory:<folder>:<file>}"


def read(file: Path, promises: Mapping[str, str], declared: Collection[str]) -> dict[str, str]:
    """What the file says, empty if there is none: a connector config as Debezium's documentation shows it, flat or
    `{"name": …, "config": {…}}`.

    ContractError for a value that breaks a promise, one that is `declared` elsewhere, and a secret that is no reference
    to a config provider.
    """
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ContractError(f"not JSON: {error}", file=file, line=getattr(error, "lineno", None)) from error
    found = found.get("config", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or any(isinstance(value, dict | list) for value in found.values()):
        raise ContractError(
            "a connector config is one flat JSON object", file=file, write='{"column.exclude.list": "…"}'
        )
    config = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in found.items()}
    for name, value in config.items():
        line = line_of(text, name)
        if value != promises.get(name, value):
            raise ContractError(
                f"{name} must stay {promises[name]!r}: headrace's guarantees rest on it",
                file=file,
                line=line,
                write=f"remove {name}",
            )
        if name in declared:
            raise ContractError(f"{name} comes from the contracts", file=file, line=line, write=f"remove {name}")
        if _is_secret(name, value):
            raise ContractError(f"{name} is written out", file=file, line=line, write=f'"{name}": "{_REFERENCE}"')
        if _SECRET_VALUE.search(value):
            raise ContractError(
                f"{name} has a secret in its value", file=file, line=line, write=f"{_REFERENCE} in the secret's place"
            )
    return config


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not value.startswith("${")


def shown(name: str, value: str) -> str:
    """The value as a person may read it, whoever gave it to the connector."""
    return "****" if _is_secret(name, value) or _SECRET_VALUE.search(value) else value


def expression(name: str) -> str:
    """A name as one of those lists has it: a regular expression, in which a comma would part the list."""
    return re.escape(name).replace(",", r"\,")


def left_out(config: Mapping[str, str], table: str, columns: Iterable[str]) -> list[str]:
    """Those of the columns of `schema.table` of which Debezium sends nothing, by a config's list of columns. What Java
    alone takes for a regular expression matches nothing here."""
    only, never = _expressions(config.get("column.include.list", "")), _expressions(config.get(EXCLUDED, ""))
    return [
        column
        for column in columns
        if any(one.fullmatch(f"{table}.{column}") for one in never)
        or (only and not any(one.fullmatch(f"{table}.{column}") for one in only))
    ]


def _expressions(listed: str) -> list[re.Pattern[str]]:
    found = []
    for one in re.split(r"(?<!\\),", listed):
        with suppress(re.error):
            found += [re.compile(one.strip(), re.IGNORECASE)] if one.strip() else []
    return found


def line_of(text: str, name: str) -> int | None:
    """The line of the file's text on which a name stands."""
    return next((number for number, line in enumerate(text.splitlines(), start=1) if f'"{name}"' in line), None)
