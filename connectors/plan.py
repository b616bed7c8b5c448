"""What is declared against what runs: the difference, and making it so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from connectors import topics
from connectors.finding import Finding
from contracts.endpoints import Endpoints
from contracts.errors import PlanRefused
from contracts.stream import Pipeline

Progress = Callable[[str], None]


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True)
class Change:
    """One step from what runs to what is declared. `before` is empty for something that is not there yet.

    `make` may be called again after it succeeded or failed half-way: each change reaches the same end.
    """

    kind: str
    name: str
    before: str
    after: str
    make: Callable[[], None]

    def describe(self) -> str:
        """One line, or more for a config: what, which, from and to."""
        verb = "create" if not self.before else "change"
        middle = f"{self.before} -> {self.after}" if self.before else self.after
        return f"{verb} {self.kind} {self.name}: {middle}"

    def apply(self) -> None:
        """Returns when the change holds."""
        self.make()


@dataclass
class Plan:
    """An open list of changes in the order in which they are applied; other stages append theirs.

    Refusals are things that `apply` must not do; with one of them nothing is applied. Warnings and
    hints never stop anything.
    """

    pipeline: str
    changes: list[Change] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether what runs is what is declared."""
        return not self.changes and not self.refusals

    def take(self, findings: Iterable[Finding]) -> None:
        """Appends each as what it is."""
        for finding in findings:
            lists = {"refusal": self.refusals, "warning": self.warnings, "hint": self.hints}
            lists[finding.level].append(str(finding))

    def require(self) -> None:
        """Raises PlanRefused with every refusal, if there is one."""
        if self.refusals:
            raise PlanRefused(
                f"pipeline {self.pipeline} cannot be applied:\n" + "\n".join(f"- {text}" for text in self.refusals),
                state="Nothing was changed.",
                next_step="correct the above, then `headrace plan`",
            )


def apply(planned: Plan, progress: Progress = _silent) -> int:
    """Applies the changes in their order and returns how many. Raises PlanRefused before the first if the plan holds a
    refusal. After an error the changes before it hold; a new plan shows what is left."""
    planned.require()
    for change in planned.changes:
        progress(change.describe())
        change.apply()
    return len(planned.changes)


def plan_topics(found: Plan, pipeline: Pipeline, endpoints: Endpoints) -> None:
    """Appends what the topics of the pipeline's streams need."""
    declared = topics.declared(pipeline)
    with topics.admin(endpoints.kafka) as client:
        existing = topics.existing(client, [topic.name for topic in declared])
    for topic in declared:
        present = existing.get(topic.name)
        if present is None:
            found.changes.append(_create_topic(endpoints.kafka, topic))
            continue
        if present.partitions != topic.partitions:
            found.refusals.append(other_partitions(topic, present))
        if changed := topics.changed_config(topic, present):
            found.changes.append(_configure_topic(endpoints.kafka, topic, changed))


def other_partitions(topic: topics.Topic, present: topics.Topic) -> str:
    """Why nobody may go on with a topic that has another number of partitions, and what to do."""
    said = f"topic {topic.name} has {present.partitions} partitions and {topic.partitions} are declared: "
    if topic.made_anew:
        return f"{said}what is told in it is in order only within one\n  {topic.made_anew}"
    return (
        f"{said}the position of every row that arrived is kept by partition\n"
        f"  declare {present.partitions}, or give the stream a new topic"
    )


def _create_topic(kafka: str, topic: topics.Topic) -> Change:
    return Change("topic", topic.name, "", str(topic), lambda: topics.create(kafka, topic))


def _configure_topic(kafka: str, topic: topics.Topic, changed: Mapping[str, tuple[str, str]]) -> Change:
    before = ", ".join(f"{name}={was}" for name, (was, _) in sorted(changed.items()))
    after = ", ".join(f"{name}={wanted}" for name, (_, wanted) in sorted(changed.items()))
    return Change("topic", topic.name, before, after, lambda: topics.configure(kafka, topic))
