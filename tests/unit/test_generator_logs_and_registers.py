"""The answers of logs and of files without a day in their name, held against a plain reading of the files."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.access_log import COMBINED
from contracts.canonical import fingerprint_python, hash_python
from contracts.errors import ContractError
from contracts.loader import load_pipeline
from contracts.stream import Column, FileSource, Stream
from producers.generator import daily
from producers.generator.answer import Answer, FileAnswer
from producers.generator.declaration import SampleData, load_sample_data
from producers.generator.further import counting
from producers.generator.generate import generate
from producers.generator.render import lines_of, strftime_pattern

PIPELINES = {name: load_pipeline(name) for name in ("citizens", "weblog")}
DATA = {name: load_sample_data(p.contracts_dir / "sample_data.yaml", p) for name, p in PIPELINES.items()}
DAYS = [date(2026, 1, 5), date(2026, 1, 6)]
NULLABLE_PATTERNS = {"citizen_id": r"[0-9]{11}", "nationality": "[A-Z]{2}", "sex": "[MFX]"}
METHODS = {"GET", "HEAD", "POST", "OPTIONS"}


def make(name: str, folder: Path, scale: float, days: list[date] = DAYS) -> Answer:
    return generate(DATA[name], PIPELINES[name], folder, days, scale=scale)


@pytest.fixture(scope="module", params=[(name, repeated) for name in PIPELINES for repeated in (False, True)], ids=str)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Answer]:
    """Drawn as a whole, and with most rows repeated as in a file larger than memory."""
    name, repeated = request.param
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        if repeated:
            patch.setattr(daily, "BLOCK_ROWS", 90)
        return name, folder, make(name, folder, 0.12)


def rows_of(path: Path, stream: Stream, unit: str) -> Iterator[dict[str, Any] | None]:
    """Typed rows; None for one that breaks a rule of the contract or cannot be read."""
    text = path.read_text("utf-8")
    sent = [column.name for column in stream.sent_columns]
    found: Iterator[tuple[int, dict[str, str] | None]]
    if stream.file_source.format == "log":
        lines = enumerate(text.splitlines(), 1)
        found = ((n, m.groupdict() if (m := re.fullmatch(COMBINED, line)) else None) for n, line in lines)
    else:
        reader = csv.reader(io.StringIO(text, newline=""))
        assert next(reader) == sent
        found = ((0, dict(zip(sent, f, strict=True)) if len(f) == len(sent) else None) for f in reader)
    for line, row in found:
        yield None if row is None else typed(row, stream, {"line_no": line, "unit": date.fromisoformat(unit)})


def typed(row: dict[str, str], stream: Stream, outside: dict[str, Any]) -> dict[str, Any] | None:
    try:
        whole = {column.name: value(row[column.name], column) for column in stream.sent_columns}
    except (ValueError, InvalidOperation):
        return None
    whole |= {stream.file_source.unit: outside["unit"]} | ({"line_no": outside["line_no"]} if "host" in row else {})
    if any(whole[column.name] is None for column in stream.columns if column.required):
        return None
    if any(whole.get(c) is not None and not re.fullmatch(p, whole[c]) for c, p in NULLABLE_PATTERNS.items()):
        return None
    if stream.name == "access_log":
        return whole if 100 <= whole["status"] <= 599 and whole["method"] in METHODS else None
    born, registered = whole["date_of_birth"], whole["registered_at"]
    sound = born is None or date(1900, 1, 1) <= born <= registered.date()
    sound = sound and (whole["annual_income"] is None or whole["annual_income"] >= 0)
    return whole if sound and registered <= whole["updated_at"] else None


def value(text: str | None, column: Column) -> Any:
    if text is None or text in ("", "-"):
        return None
    if column.format:
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    read: dict[str, Any] = {"int": int, "bigint": int, "string": str, "date": date.fromisoformat}
    read |= {"timestamp": datetime.fromisoformat, "decimal(12,2)": Decimal}
    return read[column.spark_type](text)


def test_each_files_answer_is_what_a_plain_reader_finds(made: tuple[str, Path, Answer]) -> None:
    name, folder, answer = made
    (stream,) = PIPELINES[name].streams
    assert len(answer.files) == len(DAYS) + 1
    for file in answer.files:
        content = (folder / file.file).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.hash, file.bytes)
        seen: dict[Any, set[bytes]] = {}
        counts: Counter[str] = Counter()
        for row in rows_of(folder / file.file, stream, file.unit):
            if row is None:
                counts["quarantined"] += 1
                continue
            hashes = seen.setdefault(tuple(row[key] for key in stream.key), set())
            digest = hash_python(stream.columns)(row)
            counts["duplicate" if digest in hashes else "conflicting" if hashes else "accepted"] += 1
            hashes.add(digest)
        assert counts == Counter(
            accepted=file.accepted,
            duplicate=file.duplicate,
            conflicting=file.conflicting,
            quarantined=sum(file.quarantined.values()),
        ), file.file
        assert file.rows == sum(counts.values())


@pytest.mark.parametrize("corrected", [False, True])
def test_current_rows_have_the_greatest_version_of_each_key(made: tuple[str, Path, Answer], corrected: bool) -> None:
    name, folder, answer = made
    (stream,) = PIPELINES[name].streams
    newest = {f.unit: f for f in answer.files if corrected or not f.correction}
    best: dict[Any, tuple[Any, int, bytes]] = {}
    for unit, file in newest.items():
        for row in rows_of(folder / file.file, stream, unit):
            if row is not None:
                key = tuple(row[column] for column in stream.key)
                version = row[stream.version] if stream.version else 0
                digest = hash_python(stream.columns)(row)
                rank = (version, -date.fromisoformat(unit).toordinal(), digest)
                best[key] = max(best.get(key, rank), rank)
    found = answer.streams[stream.name].current_corrected if corrected else answer.streams[stream.name].current
    assert (found.rows, found.fingerprint) == fingerprint_python(digest for *_, digest in best.values())


def first_file(answer: Answer) -> FileAnswer:
    return answer.files[0]


def test_two_equal_lines_of_a_log_are_two_rows(tmp_path: Path) -> None:
    answer = make("weblog", tmp_path, 0.1, DAYS[:1])
    lines = (tmp_path / first_file(answer).file).read_text("utf-8").splitlines()
    assert len(lines) - len(set(lines)) >= 6
    assert first_file(answer).duplicate == 0
    assert first_file(answer).rows == len(lines)
    assert not (tmp_path / first_file(answer).file).read_bytes().endswith(b"\n"), "the last file is cut short"
    assert any('" 200 ' in line and line.startswith("2001:db8::1 - ") for line in lines)


def test_a_file_without_a_day_in_its_name_lies_in_a_folder_of_its_day(tmp_path: Path) -> None:
    answer = make("citizens", tmp_path, 0.1)
    assert [file.file for file in answer.files] == [
        "2026-01-05/citizens_data.csv",
        "2026-01-06/citizens_data.csv",
        "corrected/2026-01-05/citizens_data.csv",
    ]
    assert [file.unit for file in answer.files] == ["2026-01-05", "2026-01-06", "2026-01-05"]
    assert all((tmp_path / file.file).is_file() for file in answer.files)


def test_a_register_states_the_same_rows_each_day_but_for_the_declared_changes(tmp_path: Path) -> None:
    answer = make("citizens", tmp_path, 1)
    (stream,) = PIPELINES["citizens"].streams
    days: list[dict[str, set[tuple[Any, ...]]]] = []
    for file in answer.files[:2]:
        day: dict[str, set[tuple[Any, ...]]] = {}
        for row in rows_of(tmp_path / file.file, stream, file.unit):
            if row:
                day.setdefault(row["citizen_id"], set()).add(
                    tuple(v for k, v in row.items() if k not in ("batch_date", "updated_at"))
                )
        days.append(day)
    both = [citizen for citizen in days[0] if citizen in days[1]]
    assert len(both) > 2900
    changed = [citizen for citizen in both if days[0][citizen].isdisjoint(days[1][citizen])]
    # Two days have 40 changed rows each; a row drawn again may come out as it was.
    assert 40 < len(changed) <= 80
    assert answer.files[0].hash != answer.files[1].hash


def test_rows_beyond_a_block_repeat_others_but_count_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily, "BLOCK_ROWS", 100)
    answer = make("citizens", tmp_path, 0.15, DAYS[:1])
    (stream,) = PIPELINES["citizens"].streams
    read = list(rows_of(tmp_path / first_file(answer).file, stream, "2026-01-05"))
    whole = [row for row in read if row]
    assert first_file(answer).rows == len(read) == 450 + 9
    ids = [int(row["citizen_id"]) for row in whole[:350]]
    assert ids == list(range(101, 451)), "the further rows come first, in their order"
    others = [{k: v for k, v in row.items() if k != "citizen_id"} for row in whole[:350]]
    assert others[:100] == others[100:200] == others[200:300]
    assert all(a != b for a, b in pairwise(others[:20]))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily, "BLOCK_ROWS", 100)
    for name in PIPELINES:
        assert make(name, tmp_path / "one", 0.1) == make(name, tmp_path / "two", 0.1)
        for file in (tmp_path / "one").rglob("*.*"):
            assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_what_counts_is_a_sequence_or_a_template_with_a_row() -> None:
    declared = {
        "a": {"sequence": 1},
        "b": {"template": "x{row:03d}"},
        "c": {"template": "{b}!"},
        "d": {"template": "{unit}"},
        "e": {"template": "{row}", "null_share": 0.5},
        "f": {"boolean": 0.5},
    }
    data = SampleData.model_validate(
        {
            "kind": "HeadraceSampleData",
            "seed": 1,
            "tables": [{"stream": "x", "file": "x", "rows": 1, "columns": declared}],
        }
    )
    assert counting(data.tables[0].columns) == ["a", "b", "c"]


ENGLISH = datetime(2026, 1, 5, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("java", "written"),
    [
        ("dd/MMM/yyyy:HH:mm:ss Z", "05/Jan/2026:07:08:09 +0000"),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2026-01-05T07:08:09Z"),
        ("dd.MM.yy hh:mm a", "05.01.26 07:08 AM"),
        ("yyyy''MM 100%", "2026'01 100%"),
    ],
)
def test_times_are_written_as_the_contract_says(java: str, written: str) -> None:
    assert ENGLISH.strftime(strftime_pattern(java)) == written


def test_a_csv_is_written_in_the_dialect_of_its_contract() -> None:
    source = FileSource("x", "csv", delimiter=";", quote="'", backslash=True, decimal=",")
    columns = [Column("a", "string"), Column("b", "decimal(5,2)"), Column("c", "date", format="dd.MM.yyyy")]
    rows: list[list[object]] = [["it's; so", Decimal("1.50"), date(2026, 1, 5)], [None, None, "never"]]
    assert lines_of(source, columns)(rows) == [r"'it\'s; so';1,50;05.01.2026", ";;never"]


def test_a_value_that_a_line_of_a_log_cannot_hold_is_refused() -> None:
    source = FileSource("x", "log", nulls=("-",), log_pattern=COMBINED)
    names = ["host", "method", "path", "agent"]
    write = lines_of(source, [Column(name, "string") for name in names])
    assert write([["h", "GET", "/", "a b"]]) == ['h - - [-] "GET /" - - "-" "a b"']
    assert write([["h", None, None, None]]) == ['h - - [-] "-" - - "-" "-"']
    for row in (["h o", "GET", "/", "a"], ["h", "GET", "/", 'a"b'], ["h", "GET", "/ x", "a"], ["h", None, "/", "a"]):
        with pytest.raises(ValueError, match=r"cannot stand|no request"):
            write([row])


WRONG = {
    "no unit": ("citizens", "restates: {rows: 40, columns: [marital", "restates: {rows: 40, columns: [name, marital"),
    "the key drawn again": ("citizens", "columns: [marital_status, occ", "columns: [citizen_id, occ"),
    "a file without a day": ("weblog", 'file: "access_{unit}.log"', "file: access.log"),
    "a rule of another format": ("weblog", "broken: {rows: 3, rule: log}", "broken: {rows: 3, rule: csv}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_declaration_that_does_not_fit_is_refused_at_its_line(case: str, tmp_path: Path) -> None:
    name, old, new = WRONG[case]
    text = (PIPELINES[name].contracts_dir / "sample_data.yaml").read_text("utf-8")
    assert old in text
    (tmp_path / "sample_data.yaml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(ContractError) as refused:
        load_sample_data(tmp_path / "sample_data.yaml", PIPELINES[name])
    assert refused.value.line
    assert refused.value.line > 10


def test_rows_cannot_be_stated_again_where_the_day_is_no_part_of_the_key(tmp_path: Path) -> None:
    edtech = load_pipeline("edtech")
    text = (edtech.contracts_dir / "sample_data.yaml").read_text("utf-8")
    old = '    file: "quiz_attempts_{unit}.csv"\n'
    (tmp_path / "sample_data.yaml").write_text(
        text.replace(old, old + "    restates: {rows: 1, columns: [quiz_score]}\n"), "utf-8"
    )
    with pytest.raises(ContractError, match="the key of `quiz_attempts` lacks `batch_date`"):
        load_sample_data(tmp_path / "sample_data.yaml", edtech)
