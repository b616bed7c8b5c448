"""Plain SQL files: their statements, by the quoting rules of the engine that runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import ContractError

_COMMENT = r"(?P<comment>--[^\n]*|/\*.*?\*/)"
# What a semicolon may stand in without ending anything. Only Postgres takes a backslash as it is and quotes by dollars.
_SPARK_SQL = re.compile(
    rf"""{_COMMENT} | \b[rR]'[^']*' | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*` | (?P<end>;)""", re.S | re.X
)
_POSTGRES_SQL = re.compile(
    rf"""{_COMMENT} | \b[eE]'(?:[^'\\]|\\.)*' | '[^']*' | "[^"]*" | \$(\w*)\$.*?\$\2\$ | (?P<end>;)""", re.S | re.X
)


def one_statement(path: Path) -> str:
    """The statement of a SQL file; ContractError unless it holds exactly one."""
    found = statements(path)
    if len(found) != 1:
        raise ContractError(f"holds {len(found)} statements", file=path, write="one statement: one file is one query")
    return found[0]


def statements(path: Path) -> list[str]:
    """The statements of a SQL file, without comment lines and without the final semicolon.

    A statement ends with a semicolon outside of quotes and comments; files below `postgres` are read by Postgres'
    rules. ContractError if the file is missing, empty or no UTF-8.
    """
    if not path.is_file():
        raise ContractError("the SQL file is missing", file=path, write=f"create {path.name} or drop the table")
    found = list(_split(_text(path), _POSTGRES_SQL if path.parent.parent.name == "postgres" else _SPARK_SQL))
    if not found:
        raise ContractError("the SQL file holds no statement", file=path, write="write the statement")
    return found


def _split(text: str, tokens: re.Pattern[str]) -> Iterator[str]:
    kept, code, start = "", "", 0
    for token in tokens.finditer(text):
        between = text[start : token.start()]
        kept, code, start = kept + between, code + between, token.end()
        if token["end"]:
            if code.strip():
                yield kept.strip()
            kept, code = "", ""
        elif not token["comment"]:
            kept, code = kept + token[0], code + token[0]
        elif token[0].startswith("--") and not text[text.rfind("\n", 0, token.start()) + 1 : token.start()].strip():
            # A line that is all comment goes whole, its end too.
            kept = kept.rstrip(" \t")
            start = min(start + 1, len(text))
        else:
            kept += token[0]
    if (code + text[start:]).strip():
        yield (kept + text[start:]).strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ContractError(f"cannot be read: {error.strerror}", file=path) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ContractError(f"is no UTF-8: {error.reason}", file=path, line=line, write="save it as UTF-8") from error
