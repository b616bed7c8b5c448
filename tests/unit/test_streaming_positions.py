"""Positions belong to a topic id: a topic made again starts at 0 in a new epoch."""

from __future__ import annotations

from streaming_jobs.positions import epoch, stream_position
from streaming_jobs.ranges import app_id, epoch_id

OLD, NEW = "id-old", "id-new"
TXNS = {
    app_id(OLD, "p.public.t", 0): 500,
    app_id(OLD, "p.public.t", 1): 7,
    epoch_id(OLD): 1,
}


def test_a_known_topic_continues_at_its_position() -> None:
    assert stream_position(TXNS, "p.public.t", OLD, [0, 1, 2]) == {0: 500, 1: 7, 2: 0}
    assert epoch(TXNS, OLD) == 1


def test_a_topic_made_again_starts_at_zero_in_the_next_epoch() -> None:
    assert stream_position(TXNS, "p.public.t", NEW, [0, 1]) == {0: 0, 1: 0}
    assert epoch(TXNS, NEW) == 2
    assert epoch({**TXNS, epoch_id(NEW): 2}, "id-third") == 3
    assert epoch({**TXNS, epoch_id(NEW): 2}, OLD) == 1


def test_the_first_epoch_is_one() -> None:
    assert epoch({}, NEW) == 1
