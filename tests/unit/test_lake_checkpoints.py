"""When Delta writes the checkpoints of the lake's tables."""

from __future__ import annotations

from streaming_jobs.lake import commits_per_checkpoint


def test_tables_that_commit_equally_often_write_their_checkpoints_at_different_times() -> None:
    numbers = [commits_per_checkpoint(f"shop_lake.orders_{number}") for number in range(200)]
    assert all(70 <= number < 130 for number in numbers)
    assert len(set(numbers)) > 40
    assert numbers[0] == commits_per_checkpoint("shop_lake.orders_0")
