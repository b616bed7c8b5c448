"""Results go to stdout: a table for a person, JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_OF_A_FILE = 180


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
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(names):
        numeric = all(isinstance(row[index], int | float | Decimal) for row in rows) and bool(rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row))
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
    return str(value).replace("[", "\\[")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)
