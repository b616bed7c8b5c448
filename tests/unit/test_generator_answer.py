"""The generator's answer is held against a plain reading of its files, with nothing but csv, json and the contract."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest

from contracts.canonical import fingerprint_python, hash_python
from contracts.errors import ContractError, Fatal
from contracts.loader import load_pipeline
from contracts.stream import Stream
from producers.generator.answer import Answer, read_answer
from producers.generator.declaration import load_sample_data
from producers.generator.generate import generate

PIPELINE = load_pipeline("edtech")
DATA = load_sample_data(PIPELINE.contracts_dir / "sample_data.yaml", PIPELINE)
DAYS = [date(2026, 1, 5) + timedelta(days=day) for day in range(3)]
# What a careful reader does with a field, written down here once more.
READ: dict[str, Callable[[str], Any]] = {
    "bigint": int,
    "int": int,
    "string": str,
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "boolean": {"true": True, "false": False, "True": True, "False": False}.__getitem__,
}
KNOWN = {"event_type": {"login", "discussion", "assignment"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    folder = tmp_path_factory.mktemp("generated")
    return folder, generate(DATA, PIPELINE, folder, DAYS, scale=0.1)


def rows_of(path: Path, stream: Stream) -> Iterator[dict[str, Any] | None]:
    """Typed rows; None for one that breaks a rule of the contract or cannot be read."""
    names = [column.name for column in stream.sent_columns]
    unit = stream.file_source.match(path.name)
    assert unit
    with path.open(encoding="utf-8", newline="") as lines:
        if stream.file_source.format == "csv":
            reader = csv.reader(lines)
            assert next(reader) == names
            found: Iterator[Any] = (dict(zip(names, f, strict=True)) if len(f) == len(names) else None for f in reader)
        else:
            found = map(_object, lines)
        for row in found:
            yield _typed(row, stream, unit["batch_date"])


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _typed(row: dict[str, Any] | None, stream: Stream, unit: str) -> dict[str, Any] | None:
    if row is None:
        return None
    typed: dict[str, Any] = {"batch_date": date.fromisoformat(unit)}
    for column in stream.sent_columns:
        value = row[column.name]
        if value is None or value == "":
            if column.required:
                return None
            typed[column.name] = None
            continue
        try:
            if column.spark_type.startswith("decimal"):
                typed[column.name] = Decimal(value)
                if Decimal(value) != round(Decimal(value), 2) or not 0 <= Decimal(value) <= 100:
                    return None
            elif isinstance(value, dict):
                typed[column.name] = value
            else:
                typed[column.name] = READ[column.spark_type](str(value))
        except (ValueError, KeyError, InvalidOperation):
            return None
        if column.name in KNOWN and value not in KNOWN[column.name]:
            return None
        if column.name == "watch_seconds" and typed[column.name] < 0:
            return None
    return typed


def test_each_files_answer_is_what_a_plain_reader_finds(made: tuple[Path, Answer]) -> None:
    folder, answer = made
    assert len(answer.files) == 3 * len(DAYS) + 1
    for file in answer.files:
        stream = PIPELINE.stream(file.stream)
        path = folder / file.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.hash
        seen: dict[tuple[Any, ...], set[bytes]] = {}
        counts: Counter[str] = Counter()
        digest = hash_python(stream.columns)
        for row in rows_of(path, stream):
            if row is None:
                counts["quarantined"] += 1
                continue
            hashes = seen.setdefault(tuple(row[name] for name in stream.key), set())
            own = digest(row)
            counts["duplicate" if own in hashes else "conflicting" if hashes else "accepted"] += 1
            hashes.add(own)
        assert counts == Counter(
            accepted=file.accepted,
            duplicate=file.duplicate,
            conflicting=file.conflicting,
            quarantined=sum(file.quarantined.values()),
        ), file.file
        assert file.rows == sum(counts.values())


@pytest.mark.parametrize("corrected", [False, True])
def test_current_rows_are_the_newest_files_and_the_earliest_units(made: tuple[Path, Answer], corrected: bool) -> None:
    folder, answer = made
    for stream in PIPELINE.file_streams:
        digest = hash_python(stream.columns)
        newest = {f.unit: f for f in answer.files if f.stream == stream.name and (corrected or not f.correction)}
        best: dict[Any, tuple[str, int]] = {}
        for unit, file in newest.items():
            for row in rows_of(folder / file.file, stream):
                if row is not None:
                    key = tuple(row[name] for name in stream.key)
                    rank = (unit, -int.from_bytes(digest(row)))
                    best[key] = min(best.get(key, rank), rank)
        expected = fingerprint_python((-number).to_bytes(32) for _, number in best.values())
        found = answer.streams[stream.name].current_corrected if corrected else answer.streams[stream.name].current
        assert (found.rows, found.fingerprint) == expected
        assert found.rows < answer.streams[stream.name].history.rows or corrected


def test_every_kind_of_declared_dirt_is_there(made: tuple[Path, Answer]) -> None:
    folder, answer = made
    quiz = answer.streams["quiz_attempts"]
    assert quiz.quarantined == {
        "quiz_score_maximum": 12,
        "quiz_score_minimum": 6,
        "required": 15,
        "csv": 6,
        "type": 6,
    }
    assert (quiz.duplicate, quiz.conflicting) == (15, 6)
    declared = {
        rule.name for stream in PIPELINE.streams for rule in stream.rules if rule.name != f"{rule.column}_required"
    }
    declared |= {"csv", "json", "required", "type"}
    for stream in answer.streams.values():
        assert set(stream.quarantined) <= declared
        assert stream.rows == (
            stream.accepted + stream.duplicate + stream.conflicting + sum(stream.quarantined.values())
        )
    last = (folder / f"student_engagement_{DAYS[-1]}.csv").read_bytes()
    assert not last.endswith(b"\n")
    first = (folder / f"student_engagement_{DAYS[0]}.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert first != sorted(first)
    assert sum("T" in line and f"{DAYS[0]}T" not in line for line in first) >= 19
    ids = [
        {line.split(",")[0] for line in (folder / f"quiz_attempts_{day}.csv").read_text().splitlines()} for day in DAYS
    ]
    assert len(ids[0] & ids[1] - {"attempt_id"}) == 5


def test_tables_answer_is_what_their_files_hold(made: tuple[Path, Answer]) -> None:
    folder, answer = made
    assert [table.file for table in answer.tables] == ["instructors.csv", "courses_large.csv", "students.csv"]
    for table in answer.tables:
        stream = PIPELINE.stream(table.stream)
        digests = []
        with (folder / table.file).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                typed: dict[str, Any] = {}
                for column in stream.columns:
                    text = row[column.name]
                    read = json.loads if column.json else READ.get(column.spark_type, Decimal)
                    typed[column.name] = read(text) if text else None
                digests.append(hash_python(stream.columns)(typed))
        assert fingerprint_python(digests) == (table.rows, table.fingerprint)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(made: tuple[Path, Answer], tmp_path: Path) -> None:
    folder, answer = made
    assert generate(DATA, PIPELINE, tmp_path / "again", DAYS, scale=0.1) == answer
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes()
    assert read_answer(folder) == answer
    other = generate(DATA, PIPELINE, tmp_path / "other", DAYS[:1], scale=0.1, seed=1)
    assert {file.hash for file in other.files}.isdisjoint(file.hash for file in answer.files)


def test_a_declaration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = (PIPELINE.contracts_dir / "sample_data.yaml").read_text(encoding="utf-8")
    for old, new, message in (
        ("quiz_id: {number", "quiz_no: {number", "either here or in the contract"),
        ("{sequence: 1}", "{sequence: 1, boolean: 0.5}", "exactly one way"),
        ("stream: quiz_attempts", "stream: quizzes", "no stream `quizzes`"),
        ("shuffled: true", "shufled: true", "Extra inputs"),
        ("quiz_attempts_{unit}.csv", "quiz_attempts.csv", "needs `{unit}`"),
    ):
        file = tmp_path / "sample_data.yaml"
        file.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ContractError) as refused:
            load_sample_data(file, PIPELINE)
        assert message in str(refused.value)
        assert refused.value.line
    with pytest.raises(Fatal, match="raise the scale"):
        generate(DATA, PIPELINE, tmp_path / "tiny", DAYS, scale=0.001)
