"""From a sample file to the contract of its stream: written only if it loads, and full of guesses that say so."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ContractError, Fatal
from contracts.loader import load_stream
from contracts.stream import Stream
from headrace.drafts.alike import alike
from headrace.drafts.contract import Entry, contract_text
from headrace.drafts.csv_table import csv_table
from headrace.drafts.guess import guess_key, guess_pii, nearly_key, repeats
from headrace.drafts.json_files import json_table, looks_like_json
from headrace.drafts.log_files import log_format, log_table
from headrace.drafts.model import FoundColumn, FoundTable, Property
from headrace.drafts.name import file_pattern, stream_name
from headrace.drafts.packed import SampleFile, opened
from headrace.drafts.parquet_files import PARQUET_MAGIC, parquet_table
from headrace.drafts.sample import read_sample

DEFAULT_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A contract before it is written: the name of its stream, and its text, in which no value of the file stands."""

    stream: str
    text: str


def draft_contract(
    file: Path,
    pipeline: str,
    *,
    stream: str = "",
    rows: int = DEFAULT_ROWS,
    key: Sequence[str] = (),
    header: bool | None = None,
    member: str = "",
    spool: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Draft:
    """What a sample of at most `rows` rows (and of a large CSV file's end) suggests.

    `header`: whether a CSV file's first line names its columns; None lets the sample say. An empty `stream` comes from
    the file's name, an empty `key` from the sample. An archive is unpacked below `spool`, and its file `member` is the
    sample, or its first.

    Raises:
        Fatal: the file cannot be read, its columns cannot be named as they are, or `key` names none of them; or it is
            an archive that `push` would refuse, or of files of several kinds of which none was named.
    """
    with opened(file, spool or Path(tempfile.gettempdir()), progress) as packed:
        sample = packed.chosen(member)
        found = stream_name(sample.name, stream)
        table = _table(sample, rows, header)
    taken = {column.name for column in table.columns}
    unit, line = _free("batch_date", taken), _free("line_no", taken)
    pattern = file_pattern(sample.name, unit)
    others = alike(packed, pattern, unit, named=bool(member))
    chosen, guess, key_check = _key(table, key, unit, line)
    if others.by_file and line in chosen:
        raise Fatal(
            f"several files of {file.name} are of one day and nothing but the line makes a row unique, so theirs would "
            "be taken for the same",
            state="Nothing was written.",
            next_step="--key COL,…: what makes a row what it is; or unpack it, and push each with its --batch-date",
        )
    entries = [_entry(column, table.rows, chosen, guess) for column in table.columns]
    if line in chosen:
        entries.append(_outside(line, "bigint", "fromLine", chosen, guess))
    place = "fromFileName" if pattern.has_unit else "fromBatchDate"
    entries.append(_outside(unit, "date", place, chosen, guess, is_unit=True))
    checks = (key_check, *pattern.checks, *others.checks, *table.checks)
    origin = f"a sample of {table.rows:,} rows"
    properties = [
        Property("filePattern", pattern.pattern, pattern.guess),
        *table.properties,
        others.unit(unit),
    ]
    text = contract_text(pipeline, found, properties, entries, origin=origin, checks=checks)
    return Draft(found, text)


def check_draft(draft: Draft, pipeline: str) -> Stream:
    """Load the contract and leave no file.

    Raises:
        Fatal: the loader refuses it.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{draft.stream}.yaml"
        file.write_text(draft.text, encoding="utf-8")
        return _loaded(file, pipeline)


def write_contract(draft: Draft, out: Path, pipeline: str, *, force: bool = False) -> Stream:
    """Write the contract to `out` and load it; its folder is made. With `force` it takes the place of what is there.

    Either the whole contract, which loads, is there afterwards, or what was there before.

    Raises:
        Fatal: the loader refuses it, `out` is there and `force` is not given, or it cannot be written.
    """
    try:
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        new = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as target:
                target.write(draft.text)
            _loaded(new, pipeline)
            if force:
                new.replace(out)
            else:
                out.hardlink_to(new)
        finally:
            new.unlink(missing_ok=True)
    except FileExistsError as problem:
        raise Fatal(f"{out} is there", state="Nothing was written.", next_step="--force, or another --out") from problem
    except OSError as problem:
        raise Fatal(f"{out} cannot be written: {problem.strerror}", state="Nothing was written.") from problem
    return load_stream(out, pipeline)


def _loaded(file: Path, pipeline: str) -> Stream:
    try:
        return load_stream(file, pipeline)
    except ContractError as problem:
        raise Fatal(
            f"the contract that was made does not load: line {problem.line or 1}: {problem.what}",
            state="Nothing was written.",
            next_step=problem.next_step or "another --key or --stream",
        ) from problem


def _table(file: SampleFile, rows: int, header: bool | None) -> FoundTable:
    name = file.name
    with file.path.open("rb") as source:
        if source.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC:
            return parquet_table(name, file.path, rows)
    sample = read_sample(file.path, name, rows)
    if looks_like_json(sample):
        return json_table(sample, rows)
    if log := log_format(sample):
        return log_table(sample, log, rows)
    if name.lower().endswith((".json", ".jsonl", ".ndjson")):
        raise Fatal(
            f"{name} holds neither an array of objects nor one object a line",
            next_step="one value a line, or an array around them",
        )
    return csv_table(sample, rows, header)


def _free(name: str, taken: Collection[str]) -> str:
    return next(
        free for free in (name, f"file_{name}", *(f"file_{name}_{i}" for i in range(2, 99))) if free not in taken
    )


def _key(table: FoundTable, given: Sequence[str], unit: str, line: str) -> tuple[tuple[str, ...], str, str]:
    """The key, why it is a guess, and what to check of it."""
    by_name = {column.name: column for column in table.columns}
    if wrong := [name for name in given if name not in by_name and name not in (unit, line)]:
        known = ", ".join([*by_name, unit, line])
        raise Fatal(f"--key names {', '.join(wrong)}, which is no column", next_step=f"one or more of {known}")
    if given:
        held = [by_name[name] for name in given if name in by_name]
        again = repeats(held) if held and line not in given else 0
        check = f"the key: {again:,} of {table.rows:,} sampled rows have that of another row" if again else "the key"
        return tuple(dict.fromkeys(given)), "", check
    found = guess_key(table.columns) if table.may_have_key else ()
    if found:
        check = (
            "the key: no two sampled rows share it. If it comes again in files of other days, add the day to it or "
            "declare `headrace.version`, or the row of the first day stays the current one"
        )
        return found, f"unique in {table.rows:,} sampled rows", check
    why = "no column or few columns make a row unique" if table.may_have_key else "lines of a log may repeat"
    check = f"the key: {why}, so it is the line's number in its file"
    if table.may_have_key and (nearly := nearly_key(table.columns)):
        check += f"; {nearly} (--key)"
    return (unit, line), why, check


def _entry(column: FoundColumn, rows: int, key: Sequence[str], key_guess: str) -> Entry:
    kind = column.type
    filled = column.never_null or (rows > 0 and None not in column.values)
    properties = [Property("json", True)] if kind.json else []
    if kind.format:
        properties.append(Property("format", kind.format, kind.why))
    return Entry(
        column.name,
        kind.spark_type,
        type_guess=kind.why,
        key=key.index(column.name) + 1 if column.name in key else 0,
        key_guess=key_guess,
        required=filled or column.name in key,
        required_guess="" if column.never_null or column.name in key else f"no NULL in {rows:,} sampled rows",
        pii_guess=guess_pii(column),
        properties=tuple(properties),
    )


def _outside(
    name: str, spark_type: str, origin: str, key: Sequence[str], key_guess: str, *, is_unit: bool = False
) -> Entry:
    """A column that is no field of the row."""
    return Entry(
        name,
        spark_type,
        key=key.index(name) + 1 if name in key else 0,
        key_guess=key_guess,
        required=True,
        is_unit=is_unit,
        properties=(Property(origin, True),),
    )
