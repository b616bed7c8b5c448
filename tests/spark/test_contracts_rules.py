"""Every rule of the bundled contracts, judged by Spark: FALSE for what it is there to refuse, never for good rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from contracts.loader import load_pipeline
from streaming_jobs.lake import ddl

PIPELINE = load_pipeline("edtech")
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = date(2026, 1, 5)
GOOD: dict[str, dict[str, Any]] = {
    "students": {
        "student_id": 1,
        "student_name": "Ada",
        "email": "ada@mail.example",
        "date_of_birth": date(2000, 1, 1),
        "address": None,
        "education": Row(highest_degree="master", institution=None, graduation_year=2024),
        "profile": None,
        "created_at": NOON,
        "updated_at": NOON,
    },
    "instructors": {
        "instructor_id": 1,
        "instructor_name": "Ben",
        "email": None,
        "department": None,
        "hired_on": DAY,
        "updated_at": NOON,
    },
    "courses": {
        "course_id": 1,
        "course_name": "Algebra",
        "instructor_id": None,
        "category": None,
        "price": Decimal(0),
        "duration_minutes": 1,
        "published": False,
        "updated_at": NOON,
    },
    "student_engagement": {
        "event_id": "E1",
        "student_id": 1,
        "course_id": 1,
        "event_type": "login",
        "event_time": NOON,
        "batch_date": DAY,
    },
    "quiz_attempts": {
        "attempt_id": "Q1",
        "student_id": 1,
        "course_id": 1,
        "quiz_id": 1,
        "quiz_score": Decimal(100),
        "attempted_at": NOON,
        "batch_date": DAY,
    },
    "video_watch_logs": {
        "watch_id": "V1",
        "student_id": 1,
        "course_id": 1,
        "video_id": 1,
        "watch_seconds": 0,
        "completed": True,
        "device": None,
        "watched_at": NOON,
        "batch_date": DAY,
    },
}
BAD: dict[str, dict[str, Any]] = {
    "email_pattern": {"email": "ada at mail"},
    "date_of_birth_minimum": {"date_of_birth": date(1899, 12, 31), "education": None},
    "updated_after_created": {"updated_at": datetime(2026, 1, 5, 11, tzinfo=UTC)},
    "graduated_after_birth": {"date_of_birth": date(2025, 1, 1)},
    "price_minimum": {"price": Decimal("-0.01")},
    "duration_minutes_exclusive_minimum": {"duration_minutes": 0},
    "event_type_known": {"event_type": "LOGIN"},
    "quiz_score_minimum": {"quiz_score": Decimal("-0.01")},
    "quiz_score_maximum": {"quiz_score": Decimal("100.01")},
    "watch_seconds_minimum": {"watch_seconds": -1},
}


@pytest.mark.parametrize("stream", PIPELINE.streams, ids=lambda stream: stream.name)
def test_each_rule_refuses_its_bad_row_and_no_other_rule_does(spark: SparkSession, stream: Any) -> None:
    good = GOOD[stream.name]
    rows, wanted = [good], [set[str]()]
    for rule in stream.rules:
        bad = BAD.get(rule.name)
        if bad is None and rule.name.endswith("_required"):
            bad = {rule.column: None}
        elif bad is None and rule.name.endswith("_min_length"):
            bad = {rule.column: ""}
        elif bad is None and rule.name.endswith("_max_length"):
            limit = int(rule.expression.rsplit(" ", 1)[1])
            rows.append({**good, rule.column: "é" * limit})
            wanted.append(set())
            bad = {rule.column: "é" * (limit + 1)}
        assert bad is not None, f"rule {rule.name} has no bad row here"
        rows.append({**good, **bad})
        wanted.append({rule.name})
    frame = spark.createDataFrame(
        [tuple(row[c.name] for c in stream.columns) for row in rows],
        ddl([(c.name, c.spark_type) for c in stream.columns]),
    )
    judged = frame.selectExpr(*(f"({rule.expression}) as `{rule.name}`" for rule in stream.rules))
    assert {field.dataType.typeName() for field in judged.schema} == {"boolean"}
    found = [{name for name, passed in row.asDict().items() if passed is False} for row in judged.collect()]
    assert found == wanted
