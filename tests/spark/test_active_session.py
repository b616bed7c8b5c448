"""A transaction where the JVM knows no active session and no default one, as a long run was seen to be left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from pyspark.sql import SparkSession

from streaming_jobs import delta_commit


def test_positions_and_commits_need_no_session_that_was_active_before(spark: SparkSession, tmp_path: Path) -> None:
    path = str(tmp_path / "orders")
    spark.createDataFrame([(1,)], "id int").write.format("delta").save(path)
    sessions = getattr(cast(Any, spark._jvm), "org.apache.spark.sql.classic.SparkSession")

    def forget() -> None:
        sessions.clearActiveSession()
        sessions.clearDefaultSession()

    def positions() -> dict[str, int]:
        forget()
        delta_commit._known.pop(path, None)  # else they need not be read
        transaction = delta_commit.TableTransaction(spark, path)
        found = transaction.positions()
        forget()
        transaction.commit({"a": found.get("a", 0) + 1}, {"headrace": 1})
        return found

    try:
        with ThreadPoolExecutor(1) as pool:
            assert [pool.submit(positions).result(timeout=60) for _ in range(3)] == [{}, {"a": 1}, {"a": 2}]
    finally:
        sessions.setDefaultSession(spark._jsparkSession)
