"""The text of a contract: ODCS in YAML, every guess with its reason beside it, and no value of the sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from contracts.spark_types import INTEGERS, parse_type
from headrace.drafts.model import Property

_LOGICAL = {
    **dict.fromkeys(INTEGERS, "integer"),
    **dict.fromkeys(("decimal", "double", "float"), "number"),
    **dict.fromkeys(("timestamp", "timestamp_ntz"), "timestamp"),
    **dict.fromkeys(("string", "binary"), "string"),
    **dict.fromkeys(("struct", "map"), "object"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One column as the contract states it. `…_guess` says why, empty if it is no guess; `key`: its place, from 1."""

    name: str
    spark_type: str
    type_guess: str = ""
    key: int = 0
    key_guess: str = ""
    required: bool = False
    required_guess: str = ""
    pii_guess: str = ""
    is_unit: bool = False
    properties: tuple[Property, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """Columns that name a row of another stream by its columns, as ODCS' relationships say it."""

    columns: tuple[str, ...]
    stream: str
    referred: tuple[str, ...]


def contract_text(
    pipeline: str,
    stream: str,
    properties: Sequence[Property],
    entries: Sequence[Entry],
    *,
    origin: str,
    checks: Sequence[str],
    kind: str = "file",
    description: str = "",
    references: Sequence[Reference] = (),
) -> str:
    """A contract for `contracts.loader.load_stream`; its first lines say where it comes from and what to check."""
    until = "the first push" if kind == "file" else "`headrace apply`"
    head = [f"# {_one_line(f'Written by `headrace init` from {origin}. Check before {until}:')}"]
    head += [f"# - {_one_line(check)}" for check in checks or ("who owns it, and how fresh it must be",)]
    body = _lines(pipeline, stream, properties, entries, kind, description, references)
    return "\n".join([*head, *body]) + "\n"


def _lines(
    pipeline: str,
    stream: str,
    properties: Sequence[Property],
    entries: Sequence[Entry],
    kind: str,
    description: str,
    references: Sequence[Reference],
) -> Iterator[str]:
    yield "# Every line with `guess` is one; take the comment away when you have checked it."
    yield "apiVersion: v3.1.0"
    yield "kind: DataContract"
    yield f"id: {_scalar(f'{pipeline}.{stream}')}"
    yield f"name: {_scalar(stream.replace('_', ' ').capitalize())}"
    yield "version: 1.0.0"
    yield "status: draft"
    yield "customProperties:"
    yield from (_property(each, "  ") for each in properties)
    yield "schema:"
    yield f"  - name: {_scalar(stream)}"
    yield f"    physicalType: {kind}"
    if description:
        yield f"    description: {_scalar(description)}"
    yield "    properties:"
    for entry in entries:
        yield from _entry(entry)
    if references:
        yield "    relationships:"
    for reference in references:
        yield "      - type: foreignKey"
        yield f"        from: {_ends(stream, reference.columns)}"
        yield f"        to: {_ends(reference.stream, reference.referred)}"


def _ends(stream: str, columns: Sequence[str]) -> str:
    ends = [_scalar(f"{stream}.{column}") for column in columns]
    return ends[0] if len(ends) == 1 else f"[{', '.join(ends)}]"


def _entry(entry: Entry) -> Iterator[str]:
    name = parse_type(entry.spark_type).name
    inner = " " * 8
    yield f"      - name: {_scalar(entry.name)}"
    yield f"{inner}logicalType: {_LOGICAL.get(name, name)}"
    yield f"{inner}physicalType: {_scalar(entry.spark_type)}{_guess(entry.type_guess)}"
    if entry.key:
        yield f"{inner}primaryKey: true{_guess(entry.key_guess)}"
        yield f"{inner}primaryKeyPosition: {entry.key}"
    if entry.required:
        yield f"{inner}required: true{_guess(entry.required_guess)}"
    if entry.is_unit:
        yield f"{inner}partitioned: true"
        yield f"{inner}partitionKeyPosition: 1"
    if entry.pii_guess:
        yield f"{inner}classification: pii{_guess(entry.pii_guess)}"
    if entry.description:
        yield f"{inner}description: {_scalar(entry.description)}"
    if entry.properties:
        yield f"{inner}customProperties:"
        yield from (_property(each, f"{inner}  ") for each in entry.properties)


def _property(found: Property, indent: str) -> str:
    value = found.value
    written = f"[{', '.join(map(_scalar, value))}]" if isinstance(value, list) else _scalar(value)
    return f"{indent}- {{property: headrace.{found.name}, value: {written}}}{_guess(found.guess)}"


def _scalar(value: object) -> str:
    """One line of YAML that is read as this value, also within `[…]` and `{…}`."""
    # Only within double quotes is a line break written as an escape.
    style = '"' if isinstance(value, str) and not value.isprintable() else None
    listed = yaml.safe_dump(
        [value], default_flow_style=True, default_style=style, allow_unicode=True, width=float("inf")
    )
    return listed.strip()[1:-1]


def _guess(why: str) -> str:
    return f"  # guess: {_one_line(why)}" if why else ""


def _one_line(comment: str) -> str:
    """A source's names may hold line breaks, and YAML's reader refuses some characters even in a comment."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in comment)
