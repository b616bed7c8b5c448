"""Waiting for a proof asks no more than it must, and tells everything at the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from contracts.errors import ServiceUnavailable
from headrace import findings
from headrace.findings import Finding, side_by_side, until_equal


class Asked:
    """Three comparisons, of which the second becomes equal at the `equal_at`th time it is asked."""

    def __init__(self, equal_at: int) -> None:
        self.times = [0, 0, 0]
        self._equal_at = equal_at

    def __call__(self) -> Iterator[Finding]:
        for index in range(3):
            self.times[index] += 1
            yield Finding(str(index), "", "", index != 1 or self.times[1] >= self._equal_at)


def test_it_goes_no_further_than_the_first_difference() -> None:
    asked = Asked(equal_at=3)
    assert all(finding.equal for finding in until_equal(asked, timeout_s=10, every_s=0.01))
    assert asked.times == [3, 3, 1]


def test_when_the_time_is_up_everything_is_asked_once_more() -> None:
    asked = Asked(equal_at=10**9)
    assert [finding.equal for finding in until_equal(asked, timeout_s=0.05, every_s=0.01)] == [True, False, True]
    assert asked.times[2] == 1


def test_without_time_it_is_asked_once() -> None:
    asked = Asked(equal_at=2)
    assert len(until_equal(asked, timeout_s=0)) == 3
    assert asked.times == [1, 1, 1]


def test_a_part_that_is_away_is_asked_again_and_named_at_the_end() -> None:
    def away() -> Iterator[Finding]:
        yield Finding("0", "", "", True)
        raise ServiceUnavailable("gone")

    with pytest.raises(ServiceUnavailable, match="gone"):
        until_equal(away, timeout_s=0.05, every_s=0.01)


def test_side_by_side_keeps_the_order_and_asks_at_once() -> None:
    both = threading.Barrier(2, timeout=10)

    def part(name: str) -> Iterator[Finding]:
        both.wait()
        yield from (Finding(f"{name}{number}", "", "", True) for number in range(3))

    found = side_by_side(lambda: part("a"), lambda: part("b"))
    assert [finding.what for finding in found] == ["a0", "a1", "a2", "b0", "b1", "b2"]


def test_side_by_side_ends_when_nobody_wants_more() -> None:
    def endless() -> Iterator[Finding]:
        while True:
            yield Finding("b", "", "", True)

    found = side_by_side(lambda: [Finding("a", "", "", False)], endless)
    assert not next(found).equal
    found.close()  # returns


def test_an_error_of_one_side_ends_the_other() -> None:
    def endless() -> Iterator[Finding]:
        while True:
            yield Finding("a", "", "", True)

    def away() -> Iterator[Finding]:
        yield Finding("b", "", "", True)
        raise ServiceUnavailable("gone")

    for parts in ((endless, away), (away, endless)):
        with pytest.raises(ServiceUnavailable, match="gone"):
            list(side_by_side(*parts))


def test_who_leaves_waits_for_the_comparison_at_hand() -> None:
    asked, ended, release = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Iterator[Finding]:
        asked.set()
        release.wait(10)
        ended.set()
        yield Finding("b", "", "", True)

    found = side_by_side(lambda: [Finding("a", "", "", False)], slow)
    assert not next(found).equal
    assert asked.wait(10)
    threading.Timer(0.2, release.set).start()
    found.close()
    assert ended.is_set()


@pytest.mark.parametrize("first", [True, False], ids=["while it ends", "while a finding is waited for"])
def test_ctrl_c_leaves(first: bool) -> None:
    release = threading.Event()

    def hangs() -> Iterator[Finding]:
        release.wait(30)
        yield Finding("b", "", "", False)

    def check() -> Iterator[Finding]:
        yield from side_by_side(lambda: [Finding("a", "", "", not first)], hangs)

    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            until_equal(check, timeout_s=20)
        assert not release.is_set()
    finally:
        release.set()


def test_who_leaves_does_not_wait_for_a_comparison_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "ENDS_WITHIN_S", 0.1)
    release = threading.Event()

    def hangs() -> Iterator[Finding]:
        release.wait()
        yield Finding("b", "", "", True)

    found = side_by_side(lambda: [Finding("a", "", "", False)], hangs)
    assert not next(found).equal
    found.close()
    release.set()
