"""The star schema from a small lake made by hand: Delta on the local disk, a real Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.errors import Conflict, Fatal
from tests.services.warehouse_lake import Lake, course, kill_at, login, new_lake, quiz, student, video
from warehouse_sql import declaration, parquet
from warehouse_sql.asking import checks, schema_differences
from warehouse_sql.delta_target import DeltaTarget
from warehouse_sql.merge import TargetName, merge_round
from warehouse_sql.postgres_target import PostgresTarget
from warehouse_sql.reading import whole_units


@contextmanager
def copied(lake: Lake, folder: Path) -> Iterator[Lake]:
    made = lake.copy(folder)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def filled(spark: SparkSession, endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Rows of every stream, none of them merged. For tests to copy."""
    made = new_lake(spark, endpoints, tmp_path_factory.mktemp("filled"))
    made.open()
    fill(made)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def merged(filled: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The same rows in both targets. For tests to copy."""
    with copied(filled, tmp_path_factory.mktemp("merged") / "lake") as made:
        made.merge()
        yield made


@pytest.fixture
def unmerged(filled: Lake, tmp_path: Path) -> Iterator[Lake]:
    with copied(filled, tmp_path / "lake") as made:
        yield made


@pytest.fixture
def lake(merged: Lake, tmp_path: Path) -> Iterator[Lake]:
    with copied(merged, tmp_path / "lake") as made:
        yield made


def fill(lake: Lake) -> None:
    lake.change("instructors", 1, {"instructor_id": 7, "instructor_name": "Grace", "_version": 10})
    lake.change("courses", 1, course(3, 10))
    lake.change(
        "students", 1, student(1, 10), student(2, 11, 'tab\t "quote" \\N, line\nend ü', "PhD"), student(4, 12, "")
    )
    lake.file("quiz_attempts", "2026-01-05", 100, quiz("a"), quiz("b", 2, "100.00"))
    lake.file("student_engagement", "2026-01-05", 101, login("e1"), login("e2", "assignment"))
    lake.file("video_watch_logs", "2026-01-05", 102, video("v1"), video("v2", False))


def test_rows_are_equal_in_both_targets_and_a_second_round_writes_nothing(merged: Lake) -> None:
    merged.assert_targets_equal()
    assert schema_differences(merged.spark, merged.endpoints.warehouse, merged.pipeline) == []
    session = merged.spark.newSession()
    session.sql(f"use {merged.pipeline.name}")
    assert [name for name, offenders in checks(merged.pipeline).items() if session.sql(offenders).count()] == []
    assert len(merged.delta("fact_quiz")) == len(merged.delta("fact_video_interaction")) == 2
    scores = merged.spark.table(f"{merged.pipeline.name}.fact_student_engagement").select("engagement_score").collect()
    assert sorted(row[0] for row in scores) == [Decimal("1.00"), Decimal("5.00")]
    activity = merged.spark.table(f"{merged.pipeline.name}.learning_activity")
    assert activity.where("student_known and course_known and highest_degree is not null").count() == 6

    again = merge_round(merged.spark, merged.pipeline, merged.endpoints, url=merged.url)
    again.check()
    assert [report.table for report in again.tables if not report.skipped] == []


def test_an_older_version_never_overwrites_a_newer_one(lake: Lake) -> None:
    # The state is read again from the start (its numbers begin anew): what it says is older, and must change nothing.
    lake.change("students", 2, student(1, 5, "old"))
    lake.merge()
    student_1 = "select student_name, is_deleted, _version from dim_student where student_id = 1"
    assert lake.postgres(student_1) == [("Ada", False, 10)]
    lake.assert_targets_equal()
    lake.change("students", 3, student(1, 30, None), deleted=True)
    lake.merge()
    assert [row[1:] for row in lake.postgres(student_1)] == [(True, 30)]
    lake.assert_targets_equal()


def test_an_inferred_member_is_completed_under_the_same_key(lake: Lake) -> None:
    lake.file("quiz_attempts", "2026-01-06", 200, quiz("c", student_id=91, course_id=93))
    lake.merge()
    lake.assert_targets_equal()
    student_91 = "select student_key, is_inferred, _version from dim_student where student_id = 91"
    before = lake.postgres(student_91)
    assert [row[1:] for row in before] == [(True, -1)]
    lake.change("students", 2, student(91, 10))
    lake.change("courses", 2, course(93, 10, instructor=97))
    lake.merge()
    lake.assert_targets_equal()
    assert lake.postgres(student_91) == [(before[0][0], False, 10)]
    # The course names an instructor that has not arrived either.
    assert lake.postgres("select is_inferred from dim_instructor where instructor_id = 97") == [(True,)]
    activity = lake.spark.table(f"{lake.pipeline.name}.learning_activity").where("student_id = 91").first()
    assert activity is not None
    assert (activity["student_known"], activity["highest_degree"], activity["instructor_known"]) == (True, "MSc", False)


def test_what_a_failed_round_left_behind_is_done_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise Fatal("no such luck")

    student_95 = "select 1 from dim_student where student_id = 95"
    lake.file("quiz_attempts", "2026-01-06", 190, quiz("c", student_id=95))
    lake.file("quiz_attempts", "2026-01-07", 191, quiz("d", student_id=91))
    lake.merge()
    lake.file("quiz_attempts", "2026-01-06", 200, quiz("c"))
    lake.change("students", 2, student(91, 10))
    with monkeypatch.context() as patch:
        for target in (DeltaTarget, PostgresTarget):
            patch.setattr(target, "forget_members", fails)
        patch.setattr(parquet, "_completed", fails)
        with pytest.raises(Fatal, match="no such luck"):
            lake.merge()
    assert lake.postgres(student_95) == [(1,)]
    lake.merge()
    assert lake.postgres(student_95) == []
    lake.assert_targets_equal()
    activity = lake.spark.table(f"{lake.pipeline.name}.learning_activity")
    assert [row["student_known"] for row in activity.where("student_id = 91").collect()] == [True]


def test_a_corrected_file_replaces_its_date_and_half_a_file_does_not(lake: Lake) -> None:
    scores = "select attempt_id, quiz_score from fact_quiz"
    a, b, c = ("a", Decimal("50.00")), ("b", Decimal("100.00")), ("c", Decimal("50.00"))
    # Only one target meets the first file, and infers a student that the next one no longer names.
    lake.file("quiz_attempts", "2026-01-06", 190, quiz("c", student_id=95))
    merge_round(lake.spark, lake.pipeline, lake.endpoints, targets=("delta",), url=lake.url).check()
    lake.file("quiz_attempts", "2026-01-06", 200, quiz("c"))
    lake.file("quiz_attempts", "2026-01-05", 210, quiz("a", score="99.00"), whole=False)
    lake.merge()
    assert lake.postgres(scores) == [a, b, c]
    lake.assert_targets_equal()
    lake.file("quiz_attempts", "2026-01-05", 220, quiz("a", score="98.00"))
    lake.merge()
    assert lake.postgres(scores) == [("a", Decimal("98.00")), c]
    lake.assert_targets_equal()
    activity = f"{lake.pipeline.name}.learning_activity"
    assert {row["date_key"] for row in lake.spark.table(activity).collect()} == {20260105, 20260106}
    lake.file("quiz_attempts", "2026-01-06", 230)
    lake.merge()
    assert lake.postgres(scores) == [("a", Decimal("98.00"))]
    lake.assert_targets_equal()
    assert {row["date_key"] for row in lake.spark.table(activity).collect()} == {20260105}


def test_a_key_in_two_files_moves_with_its_winner(lake: Lake) -> None:
    """The earliest unit wins: a file for an earlier day takes the row away, its correction gives it back."""
    dates = "select attempt_id, date_key from fact_quiz"
    assert lake.postgres(dates) == [("a", 20260105), ("b", 20260105)]
    lake.file("quiz_attempts", "2026-01-04", 201, quiz("a"))
    lake.merge()
    lake.assert_targets_equal()
    assert lake.postgres(dates) == [("a", 20260104), ("b", 20260105)]
    lake.file("quiz_attempts", "2026-01-04", 202, quiz("z"))
    lake.merge()
    lake.assert_targets_equal()
    assert lake.postgres(dates) == [("a", 20260105), ("b", 20260105), ("z", 20260104)]


def test_what_cannot_be_merged_is_refused_by_name_and_holds_back_its_table_alone(unmerged: Lake) -> None:
    unmerged.change("students", 2, student(5, 40, "nul\0byte"))
    unmerged.arrived("video_watch_logs", "2026-02-30", "v", 1, whole=True)
    report = merge_round(unmerged.spark, unmerged.pipeline, unmerged.endpoints, url=unmerged.url)
    failed = [(table.table, table.target) for table in report.tables if table.error]
    logs = "fact_video_interaction"
    assert failed == [("dim_student", "postgres"), (logs, "postgres"), (logs, "delta")]
    assert isinstance(report.errors[0], Fatal)
    assert "student_name" in str(report.errors[0])
    assert "2026-02-30" in str(report.errors[1])
    assert unmerged.postgres("select count(*) from dim_student where not is_inferred") == [(0,)]
    assert unmerged.postgres("select count(*) from fact_quiz") == [(2,)]


def test_two_publishers_from_one_position_do_not_both_write(lake: Lake) -> None:
    warehouse = declaration.load(lake.pipeline)
    table = warehouse.table("fact_quiz")
    lake.file("quiz_attempts", "2026-01-05", 200, quiz("c"))
    late = PostgresTarget(lake.spark, lake.pipeline, warehouse, lake.endpoints.warehouse)
    plan = late.plan_fact(table, whole_units(lake.spark, lake.pipeline))
    assert plan is not None
    expected = late.position(table.name)
    lake.merge()
    late.position = lambda name: expected  # type: ignore[method-assign]  # it read its position before the other wrote
    with pytest.raises(Conflict):
        late.restate_fact(table, plan)
    assert lake.postgres("select attempt_id from fact_quiz") == [("c",)]


def test_what_was_announced_and_never_written_counts_for_nothing(lake: Lake) -> None:
    lake.file("quiz_attempts", "2026-01-05", 200, quiz("c"))
    warehouse = declaration.load(lake.pipeline)
    target = DeltaTarget(lake.spark, lake.pipeline, warehouse)
    plan = target.plan_fact(warehouse.table("fact_quiz"), whole_units(lake.spark, lake.pipeline))
    assert plan is not None
    position = target.position("fact_quiz")
    target._announce("fact_quiz", plan, position, position + 5)
    assert target.revisions("fact_quiz") == {"2026-01-05": 100}
    lake.merge()
    assert target.revisions("fact_quiz") == {"2026-01-05": 200}
    lake.assert_targets_equal()


def test_a_lost_metastore_is_made_again_from_the_files(lake: Lake) -> None:
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


# The first three hits are the dimensions (and the days, in Postgres); the next one is a fact. A target knows nothing of
# the other one, so the two are killed side by side.
@pytest.mark.parametrize(
    "places",
    [
        {"delta": "before_merge_commit:4", "postgres": "before_warehouse_commit:5"},
        {"delta": "after_merge_commit:4", "postgres": "after_warehouse_commit:5"},
        # In the same transaction as `before_warehouse_commit`: Postgres forgets both alike.
        pytest.param({"postgres": "after_staging:5"}, marks=pytest.mark.chaos),
    ],
    ids=lambda places: "-".join(places.values()),
)
@pytest.mark.timeout(600)  # of which a child's own 300 at most
def test_a_kill_at_any_place_and_a_new_round_end_in_the_same_tables(
    unmerged: Lake, merged: Lake, places: dict[TargetName, str]
) -> None:
    kill_at(places, unmerged)
    unmerged.spark.catalog.clearCache()
    unmerged.merge()
    unmerged.assert_targets_equal()
    for table in unmerged.tables:
        rows = f"select * from {table}"
        assert unmerged.postgres(rows) == merged.postgres(rows), table
