"""The star schema from a small lake made by hand: Delta on the local disk, a real Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import Conflict, Fatal
from tests.services.warehouse_lake import Lake, course, killed_at, login, new_lake, quiz, student, video
from warehouse_sql import declaration
from warehouse_sql.asking import checks, schema_differences
from warehouse_sql.delta_target import DeltaTarget
from warehouse_sql.merge import TargetName, merge_round
from warehouse_sql.postgres_target import PostgresTarget


def drop(lake: Lake) -> None:
    name = lake.pipeline.name
    lake.postgres(f"drop schema {name} cascade")
    lake.spark.sql(f"drop database {name} cascade")
    lake.spark.sql(f"drop database {name}_lake cascade")


@pytest.fixture(scope="module")
def empty(spark: SparkSession, endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Every table without a row. Making thirty Delta tables takes as long as a test: each test gets copied files."""
    made = new_lake(spark, endpoints, tmp_path_factory.mktemp("empty"))
    made.open()
    yield made
    drop(made)


@pytest.fixture
def lake(empty: Lake, tmp_path: Path) -> Iterator[Lake]:
    made = new_lake(empty.spark, empty.endpoints, tmp_path / "copy")
    shutil.copytree(empty.folder, made.folder)
    (made.folder / "warehouse" / empty.pipeline.name).rename(made.folder / "warehouse" / made.pipeline.name)
    made.open()
    yield made
    drop(made)


def fill(lake: Lake) -> None:
    lake.change("instructors", 1, {"instructor_id": 7, "instructor_name": "Grace", "_version": 10})
    lake.change("courses", 1, course(3, 10))
    lake.change(
        "students", 1, student(1, 10), student(2, 11, 'tab\t "quote" \\N, line\nend ü', "PhD"), student(4, 12, "")
    )
    lake.file("quiz_attempts", "2026-01-05", 100, quiz("a"), quiz("b", 2, "100.00"))
    lake.file("student_engagement", "2026-01-05", 101, login("e1"), login("e2", "assignment"))
    lake.file("video_watch_logs", "2026-01-05", 102, video("v1"), video("v2", False))


def test_rows_are_equal_in_both_targets_and_a_second_round_writes_nothing(lake: Lake) -> None:
    fill(lake)
    lake.merge()
    lake.assert_targets_equal()
    assert schema_differences(lake.spark, lake.endpoints.warehouse, lake.pipeline) == []
    session = lake.spark.newSession()
    session.sql(f"use {lake.pipeline.name}")
    assert [name for name, offenders in checks(lake.pipeline).items() if session.sql(offenders).count()] == []
    assert len(lake.delta("fact_quiz")) == len(lake.delta("fact_video_interaction")) == 2
    scores = lake.spark.table(f"{lake.pipeline.name}.fact_student_engagement").select("engagement_score").collect()
    assert sorted(row[0] for row in scores) == [Decimal("1.00"), Decimal("5.00")]
    activity = lake.spark.table(f"{lake.pipeline.name}.learning_activity")
    assert activity.where("student_known and course_known and highest_degree is not null").count() == 6

    again = merge_round(lake.spark, lake.pipeline, lake.endpoints, url=lake.url)
    again.check()
    assert [report.table for report in again.tables if not report.skipped] == []


def test_an_older_version_never_overwrites_a_newer_one(lake: Lake) -> None:
    lake.change("students", 1, student(1, 20, "new"))
    lake.merge()
    # The state is read again from the start (its numbers begin anew): what it says is older, and must change nothing.
    lake.change("students", 2, student(1, 5, "old"))
    lake.merge()
    assert [row[2] for row in lake.postgres("select * from dim_student")] == ["new"]
    lake.assert_targets_equal()
    lake.change("students", 3, student(1, 30, None), deleted=True)
    lake.merge()
    assert lake.postgres("select is_deleted, _version from dim_student") == [(True, 30)]
    lake.assert_targets_equal()


def test_an_inferred_member_is_completed_under_the_same_key(lake: Lake) -> None:
    lake.file("quiz_attempts", "2026-01-05", 100, quiz("a", student_id=1))
    lake.merge()
    lake.assert_targets_equal()
    before = lake.postgres("select student_key, is_inferred, _version from dim_student")
    assert [row[1:] for row in before] == [(True, -1)]
    lake.change("students", 1, student(1, 10))
    lake.change("courses", 1, course(3, 10))
    lake.merge()
    lake.assert_targets_equal()
    after = lake.postgres("select student_key, is_inferred, _version from dim_student")
    assert after == [(before[0][0], False, 10)]
    # The course names an instructor that has not arrived either.
    assert lake.postgres("select is_inferred from dim_instructor") == [(True,)]
    activity = lake.spark.table(f"{lake.pipeline.name}.learning_activity").first()
    assert activity is not None
    assert (activity["student_known"], activity["highest_degree"], activity["instructor_known"]) == (True, "MSc", False)


def test_a_corrected_file_replaces_its_date_and_half_a_file_does_not(lake: Lake) -> None:
    lake.file("quiz_attempts", "2026-01-05", 100, quiz("a"), quiz("b"))
    lake.file("quiz_attempts", "2026-01-06", 101, quiz("c"))
    lake.merge()
    lake.file("quiz_attempts", "2026-01-05", 110, quiz("a", score="99.00"), whole=False)
    lake.merge()
    assert len(lake.delta("fact_quiz")) == 3
    lake.file("quiz_attempts", "2026-01-05", 120, quiz("a", score="98.00"))
    lake.merge()
    lake.assert_targets_equal()
    assert lake.postgres("select attempt_id, quiz_score from fact_quiz") == [
        ("a", Decimal("98.00")),
        ("c", Decimal("50.00")),
    ]
    lake.file("quiz_attempts", "2026-01-05", 130)
    lake.merge()
    assert lake.postgres("select attempt_id from fact_quiz") == [("c",)]
    lake.assert_targets_equal()
    activity = lake.spark.table(f"{lake.pipeline.name}.learning_activity")
    assert {row["date_key"] for row in activity.collect()} == {20260106}


def test_a_key_in_two_files_moves_with_its_winner(lake: Lake) -> None:
    """The earliest unit wins: a file for an earlier day takes the row away, its correction gives it back."""
    lake.file("quiz_attempts", "2026-01-06", 100, quiz("a"), quiz("b"))
    lake.merge()
    lake.file("quiz_attempts", "2026-01-05", 101, quiz("a"))
    lake.merge()
    lake.assert_targets_equal()
    query = "select attempt_id, date_key from fact_quiz"
    assert lake.postgres(query) == [("a", 20260105), ("b", 20260106)]
    lake.file("quiz_attempts", "2026-01-05", 102, quiz("z"))
    lake.merge()
    lake.assert_targets_equal()
    assert lake.postgres(query) == [("a", 20260106), ("b", 20260106), ("z", 20260105)]


def test_u0000_is_refused_by_name_and_holds_back_its_table_alone(lake: Lake) -> None:
    fill(lake)
    lake.change("students", 2, student(5, 40, "nul\0byte"))
    report = merge_round(lake.spark, lake.pipeline, lake.endpoints, url=lake.url)
    assert [type(error) for error in report.errors] == [Fatal]
    assert "student_name" in str(report.errors[0])
    assert lake.postgres("select count(*) from dim_student where not is_inferred") == [(0,)]
    assert lake.postgres("select count(*) from fact_quiz") == [(2,)]


def test_two_publishers_from_one_position_do_not_both_write(lake: Lake) -> None:
    fill(lake)
    warehouse = declaration.load(lake.pipeline)
    table = warehouse.table("fact_quiz")
    lake.merge()
    lake.file("quiz_attempts", "2026-01-05", 200, quiz("c"))
    late = PostgresTarget(lake.spark, lake.pipeline, warehouse, lake.endpoints.warehouse)
    plan = late.plan_fact(table)
    assert plan is not None
    expected = late.position(table.name)
    lake.merge()
    late.position = lambda name: expected  # type: ignore[method-assign]  # it read its position before the other wrote
    with pytest.raises(Conflict):
        late.restate_fact(table, plan)
    assert lake.postgres("select attempt_id from fact_quiz") == [("c",)]


def test_what_was_announced_and_never_written_counts_for_nothing(lake: Lake) -> None:
    fill(lake)
    lake.merge()
    lake.file("quiz_attempts", "2026-01-05", 200, quiz("c"))
    warehouse = declaration.load(lake.pipeline)
    target = DeltaTarget(lake.spark, lake.pipeline, warehouse)
    plan = target.plan_fact(warehouse.table("fact_quiz"))
    assert plan is not None
    position = target.position("fact_quiz")
    target._announce("fact_quiz", plan, position, position + 5)
    assert target.revisions("fact_quiz") == {"2026-01-05": 100}
    lake.merge()
    assert target.revisions("fact_quiz") == {"2026-01-05": 200}
    lake.assert_targets_equal()


def test_a_lost_metastore_is_made_again_from_the_files(lake: Lake) -> None:
    fill(lake)
    lake.merge()
    name = lake.pipeline.name
    activity = sorted(map(str, lake.spark.table(f"{name}.learning_activity").collect()))
    files, aside = lake.folder / "warehouse", lake.folder / "aside"
    files.rename(aside)  # the metastore deletes a database's folder with it
    lake.spark.sql(f"drop database {name} cascade")
    shutil.rmtree(files, ignore_errors=True)
    aside.rename(files)
    lake.open()
    lake.assert_targets_equal()
    assert sorted(map(str, lake.spark.table(f"{name}.learning_activity").collect())) == activity
    again = merge_round(lake.spark, lake.pipeline, lake.endpoints, url=lake.url)
    again.check()
    assert [report.table for report in again.tables if not report.skipped] == []


# The first three hits are the dimensions (and the days, in Postgres); the next one is a fact.
@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("delta", "before_merge_commit:4"),
        ("delta", "after_merge_commit:4"),
        ("postgres", "after_staging:5"),
        ("postgres", "before_warehouse_commit:5"),
        ("postgres", "after_warehouse_commit:5"),
    ],
)
@pytest.mark.timeout(600)  # of which a child's own 300 at most
def test_a_kill_at_any_place_and_a_new_round_end_in_the_same_tables(lake: Lake, target: TargetName, place: str) -> None:
    fill(lake)
    killed_at(place, lake, target)
    lake.spark.catalog.clearCache()
    lake.merge()
    lake.assert_targets_equal()
    assert [len(lake.delta(table)) for table in ("dim_student", "fact_quiz", "fact_video_interaction")] == [3, 2, 2]
