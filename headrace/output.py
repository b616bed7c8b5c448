"""Results go to stdout: a table for a person, JSON for a program. Secrets go nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_FILE = 180
MASK = "**********"

_SECRET_NAMES = (
    *("accesskey", "accountkey", "apikey", "credential", "encryptionkey", "passphrase", "password", "privatekey"),
    *("secret", "token"),
)
_IN_URL = re.compile(r"(?<=://)[^/\s]*(?=@)")
_ASSIGNED = re.compile(r"(?i)(?:password|secret|token)=")


def show(rows: Iterable[Mapping[str, Any]], *, as_json: bool, title: str = "", empty: str = "nothing") -> None:
    """Print rows that share their names; JSON is one array, so that it can be piped into jq."""
    rows = list(rows)
    if as_json:
        print(json.dumps(rows, default=_plain, ensure_ascii=False, indent=2))  # noqa: T201
        return
    console = result_console()
    if not rows:
        console.print(f"{title}: {empty}" if title else empty, markup=False)
        return
    console.print(render(title, list(rows[0]), [list(row.values()) for row in rows]))


def result_console() -> Console:
    """Stdout; a pipe or a file gets long lines instead of cells folded at 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_FILE)


def render(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A rich table; numbers to the right."""
    # Text, because rich reads a string as markup: brackets in a value would vanish or raise.
    heading = Text(title, style="table.title") if title else None
    table = Table(title=heading, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(names):
        numeric = all(isinstance(row[index], int | float | Decimal) for row in rows) and bool(rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value)) for value in row))
    return table


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def masked(value: Any, name: str = "") -> Any:
    """The value with asterisks for all that is secret in it, at any depth: what a name calls so, what stands behind
    `password=`, and user and password in a URL."""
    if isinstance(value, Mapping):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, name) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    plain = re.sub("[^a-z]", "", name.lower())
    if any(word in plain for word in _SECRET_NAMES) or _ASSIGNED.search(value):
        return MASK
    return _IN_URL.sub(MASK, value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)
