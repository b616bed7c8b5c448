"""A declaration of sample data that names what is not there is refused at its line, and nothing is written outside."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from contracts.errors import ContractError, Fatal
from contracts.loader import load_pipeline
from producers.generator.declaration import load_sample_data
from producers.generator.generate import generate

PIPELINE = load_pipeline("edtech")
TEXT = (PIPELINE.contracts_dir / "sample_data.yaml").read_text("utf-8")
SPAN = "{first: 2025-07-01T00:00:00Z, last: 2025-12-31T23:59:59Z}"

WRONG = {
    "a list": ("{of: subjects}", "{of: topics}", "no list `topics`"),
    "a list of words": ("words: [first_names, last_names]", "words: [first_names, names]", "no list `names`"),
    "a list within an object": ("institution: {choice: {of: institutions}", "institution: {choice: {of: x}", "`x`"),
    "a list to sample": ("sample: {of: interests,", "sample: {of: interest,", "no list `interest`"),
    "an empty list": ("subjects: [Sta", "subjects: []\n  others: [Sta", "no list `subjects` with members"),
    "a column of a template": ("teacher{instructor_id}", "teacher{teacher_id}", "`{teacher_id}` names nothing"),
    "a column further down": ('"{category} {course_id}"', '"{price}"', "`{price}` names nothing"),
    "a template without an end": ('"E{row:09d}"', '"E{row"', "no template"),
    "a part of a field": ('"E{row:09d}"', '"E{row.real}"', "names nothing"),
    "a column to be later than": ("than: created_at", "than: made_at", "no column `made_at`"),
    "a table": ("table: instructors, column", "table: teachers, column", "no table `teachers`"),
    "a table further down": ("table: instructors, column", "table: students, column", "no table `students`"),
    "a column of a table": ("column: instructor_id", "column: teacher_id", "`instructors` has no column `teacher_id`"),
    "times without a day": (f"timestamp: {SPAN}", "timestamp: {}", "span"),
    "a span of one end": ("timestamp: {}", "timestamp: {first: 2025-07-01T00:00:00Z}", "belong together"),
    "a span that ends first": ("{min: 20, max: 2400}", "{min: 20, max: 2}", "no span"),
    "no number": ("{min: 20, max: 2400}", "{min: 20, max: .inf}", "finite"),
    "weights of others": ("weights: [4, 2, 3, 1]", "weights: [4, 2]", "2 weights for 4 values"),
    "weights of nothing": ("weights: [4, 2, 3, 1]", "weights: [0, 0, 0, 0]", "no weight is above 0"),
    "weights of a list": ("{of: countries}", "{of: countries, weights: [1]}", "not as many members"),
    "no way": ("{sequence: 1000}", "{sequence: null}", "is empty"),
    "a column of NULLs": ("nulls: {quiz_score: 3", "nulls: {score: 3", "no column `score`"),
    "a column of the file's name": ("nulls: {quiz_score: 3", "nulls: {batch_date: 3", "no column `batch_date`"),
    "NULLs that are welcome": ("nulls: {watch_seconds: 2", "nulls: {device: 2", "no rule `device_required`"),
    "a wrong column": ("{column: event_type, values", "{column: event_kind, values", "no column `event_kind`"),
    "a rule": ("rule: event_type_known", "rule: event_type_unknown", "no rule `event_type_unknown`"),
    "no wrong values": ("values: [logout, LOGIN]", "values: []", "no wrong value"),
    "another format's rule": ("cut_short: {days: [-1], rule: csv}", "cut_short: {days: [], rule: json}", "rule `json`"),
    "a broken rule": ("broken: {rows: 3, rule: json}", "broken: {rows: 3, rule: yaml}", "no rule `yaml`"),
    "a conflict in the key": ("rows: 2, column: event_type", "rows: 2, column: event_id", "beside its key `event_id`"),
    "late in no time": ("rows: 20, column: event_time", "rows: 20, column: event_type", "never null, `event_type`"),
    "a correction": ("day: 0, column: quiz_score", "day: 0, column: score", "no column `score`"),
    "a file outside": ("file: students.csv", "file: ../students.csv", "no name of a file"),
    "a file anywhere": ("file: students.csv", "file: /tmp/students.csv", "no name of a file"),
    "a daily file outside": ('"quiz_attempts_{unit}.csv"', '"../quiz_attempts_{unit}.csv"', "no name of a file"),
    "a field of a daily file": ('"quiz_attempts_{unit}.csv"', '"quiz_{unit}_{day}.csv"', "`{day}` names nothing"),
}  # fmt: skip


def declared(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = tmp_path / "sample_data.yaml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize("case", WRONG)
def test_what_a_declaration_names_must_be_there(case: str, tmp_path: Path) -> None:
    old, new, message = WRONG[case]
    with pytest.raises(ContractError) as refused:
        load_sample_data(declared(tmp_path, (old, new)), PIPELINE)
    assert message in str(refused.value)
    assert refused.value.line
    assert refused.value.line > 1


def test_dirt_that_does_not_fit_the_rows_is_fatal(tmp_path: Path) -> None:
    for change, message in (
        (("late: {rows: 20,", "late: {rows: 9000,"), "9000 dirty rows are declared"),
        (("values: [login, discussion, assignment], weights: [6, 3, 1]", "values: [login]"), "one value only"),
        (('"student_engagement_{unit}.csv"', '"engagement_{unit}.csv"'), "no name of stream student_engagement"),
    ):
        data = load_sample_data(declared(tmp_path, change), PIPELINE)
        with pytest.raises(Fatal, match=message):
            generate(data, PIPELINE, tmp_path / "out", [date(2026, 1, 5)], scale=0.1)
