"""Positions belong to a topic id: a topic made again starts at 0 in a new epoch."""

from __future__ import annotations

from streaming_jobs.positions import stream_position
from streaming_jobs.ranges import app_id, epoch_id, epoch_of

OLD, NEW = "id-old", "id-new"
TXNS = {
    app_id(OLD, "p.public.t", 0): 500,
    app_id(OLD, "p.public.t", 1): 7,
    epoch_id(OLD): 1,
}


def test_a_known_topic_continues_at_its_position() -> None:
    assert stream_position(TXNS, "p.public.t", OLD, [0, 1, 2]) == {0: 500, 1: 7, 2: 0}
    assert epoch_of(OLD, TXNS) == 1


def test_a_topic_made_again_starts_at_zero_in_the_next_epoch() -> None:
    assert stream_position(TXNS, "p.public.t", NEW, [0, 1]) == {0: 0, 1: 0}
    assert epoch_of(NEW, TXNS) == 2
    assert epoch_of("id-third", {**TXNS, epoch_id(NEW): 2}) == 3
    assert epoch_of(OLD, {**TXNS, epoch_id(NEW): 2}) == 1


def test_the_first_epoch_is_one() -> None:
    assert epoch_of(NEW, {}) == 1
