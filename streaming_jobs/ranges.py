"""Which Kafka records a batch is made of, and how a history table names its place in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from contracts.errors import Fatal

EPOCH_PREFIX = "epoch:"
VERSIONS_PER_EPOCH = 10**15


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """The offsets `first` up to but not including `next` of one partition of one topic.

    `topic_id` is Kafka's own: a topic that was dropped and made again counts its offsets from 0 under another id.
    """

    topic: str
    topic_id: str
    partition: int
    first: int
    next: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.next:
            raise ValueError(f"{self.topic}-{self.partition}: not a range: {self.first} to {self.next}")

    def __len__(self) -> int:
        return self.next - self.first

    @property
    def app_id(self) -> str:
        """The name under which a history table's log keeps this partition's position."""
        return app_id(self.topic_id, self.topic, self.partition)

    def above(self, position: int | None) -> Range:
        """The part that a table at `position` has not read; empty when it has read everything."""
        if position is None or position <= self.first:
            return self
        return replace(self, first=min(position, self.next))

    def below(self, position: int | None) -> Range:
        """The part that a table at `position` has read; empty when it has read nothing."""
        return replace(self, next=max(self.first, min(position or 0, self.next)))

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}[{self.first},{self.next})"


def app_id(topic_id: str, topic: str, partition: int) -> str:
    """The `txn` application id of one partition of one incarnation of a topic; its version is the next offset."""
    return f"{topic_id}:{topic}-{partition}"


def epoch_id(topic_id: str) -> str:
    """The `txn` application id that keeps the source epoch of one incarnation of a topic."""
    return f"{EPOCH_PREFIX}{topic_id}"


def epoch_of(topic_id: str, positions: Mapping[str, int]) -> int:
    """The epoch of that topic id in a table's positions; one more than the greatest known for a new topic id.

    A later incarnation of a topic orders after every earlier one, so a change in it is always newer.
    """
    known = positions.get(epoch_id(topic_id))
    if known is not None:
        return known
    return 1 + max((version for name, version in positions.items() if name.startswith(EPOCH_PREFIX)), default=0)


def check_disjoint(ranges: Iterable[Range]) -> None:
    """Refuse two ranges of one partition: a record would be read twice."""
    seen: set[str] = set()
    for one in ranges:
        if one.app_id in seen:
            raise Fatal(
                "a batch names the same partition twice",
                state="nothing was read",
                next_step="merge the ranges of a partition before calling",
                topic=one.topic,
                partition=one.partition,
            )
        seen.add(one.app_id)


def offsets_json(ranges: Iterable[Range], *, end: bool) -> str:
    """The spelling Spark's Kafka source takes for `startingOffsets` and `endingOffsets`."""
    offsets: dict[str, dict[str, int]] = {}
    for one in ranges:
        offsets.setdefault(one.topic, {})[str(one.partition)] = one.next if end else one.first
    return json.dumps(offsets)


def partitions_json(ranges: Iterable[Range]) -> str:
    """The spelling Spark's Kafka source takes for `assign`."""
    partitions: dict[str, list[int]] = {}
    for one in ranges:
        partitions.setdefault(one.topic, []).append(one.partition)
    return json.dumps(partitions)


def offsets_sql(column: str, one: Range) -> str:
    """SQL that is true for the offsets of a range."""
    return f"{column} >= {one.first} and {column} < {one.next}"
