"""The files topic: what is known of every file that was ever pushed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its stubs lack it

from contracts.errors import Fatal, ServiceUnavailable
from contracts.stream import Pipeline
from contracts.wire import FileState, decode_file_state, foreign_records

FETCH_WAIT_MS = 50
"""What a look at the files topic takes at least; an idle reader asks as often."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownFile:
    """The newest committed record of one content in one stream. Of a file with state `sent`, `offset` is the
    revision."""

    state: FileState
    offset: int


class FilesTopic:
    """A reader that keeps up with the files topic of one pipeline. Use it from one thread and close it."""

    def __init__(self, kafka: str, pipeline: Pipeline, *, timeout_s: float = 30.0) -> None:
        """Connect. Raises ServiceUnavailable if no broker answers, Fatal if the topic was never created."""
        self.topic = pipeline.files_topic
        self._kafka = kafka
        self._timeout_s = timeout_s
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        self._known: dict[tuple[str, str], KnownFile] = {}
        self._partitions = topic_partitions(self._admin, kafka, timeout_s)
        self.require(self.topic)
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": f"headrace-{self.topic}-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                # The end after the last record is only told once the broker has waited for more.
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        # Connected before: librdkafka would look for the first offset again only after half a second.
        topic_partitions(self._consumer, kafka, timeout_s)
        self._consumer.assign([TopicPartition(self.topic, 0, OFFSET_BEGINNING)])
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the broker go."""
        self._consumer.close()

    def require(self, topic: str) -> int:
        """The number of partitions of a topic.

        Raises:
            Fatal: the topic does not exist. It is not created here: its partitions and retention are declared.
        """
        if topic not in self._partitions:
            self._partitions = topic_partitions(self._admin, self._kafka, self._timeout_s)
        if topic not in self._partitions:
            raise Fatal(
                f"topic {topic} does not exist",
                kafka=self._kafka,
                state="Nothing was sent.",
                next_step="headrace apply creates the topics of the pipeline; then push again.",
            )
        return self._partitions[topic]

    def read_to_end(self) -> dict[tuple[str, str], KnownFile]:
        """Every known file by stream and content hash, as of a moment not before this call.

        Waits until no transaction that was open at the start hides a record: a committed `sent` behind another
        sender's open transaction is invisible to a committed read, and taking its file for unknown would send it
        twice. A record that is not a file's state is passed over with a warning.

        Raises:
            ServiceUnavailable: the broker did not answer, or a transaction stays open.
        """
        end = self._end_offset()
        deadline = time.monotonic() + self._timeout_s
        strange: list[int] = []
        while self._next < end:
            message = self._consumer.poll(0.2)
            if message is None:
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(
                        f"the files topic could not be read to its end within {self._timeout_s:.0f} s",
                        topic=self.topic,
                        offsets=f"{self._next}-{end}",
                        state="Nothing was sent. The broker is away, or a transaction is open before that end.",
                        next_step="push again; a transaction of a dead sender ends by itself within 15 s.",
                    )
                continue
            problem = message.error()
            offset = message.offset()
            if problem is not None:
                if problem.code() != KafkaError._PARTITION_EOF:
                    raise ServiceUnavailable(f"the files topic cannot be read: {problem}", topic=self.topic)
                self._next = max(self._next, offset or 0)
                continue
            assert offset is not None
            self._next = offset + 1
            value = message.value()
            if value is None:
                continue
            try:
                state = decode_file_state(value)
                self._known[state.stream, state.hash] = KnownFile(state, offset)
            except ValueError:
                strange.append(offset)
        if strange:
            _log.warning("%s", foreign_records(self.topic, strange))
        return dict(self._known)

    def _end_offset(self) -> int:
        """The end with open and aborted transactions in it: a committed read's own idea of the end stops earlier."""
        partition = TopicPartition(self.topic, 0)
        # After a restart of the broker this client keeps an old leader's epoch, and is refused, until it asks again.
        topic_partitions(self._admin, self._kafka, self._timeout_s)
        try:
            found = self._admin.list_offsets(
                {partition: OffsetSpec.latest()},  # type: ignore[no-untyped-call]
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=self._timeout_s,
            )
            return int(found[partition].result().offset)
        except KafkaException as problem:
            raise ServiceUnavailable(f"the files topic's end is unknown: {problem}", topic=self.topic) from problem


def topic_partitions(admin: AdminClient | Consumer, kafka: str, timeout_s: float) -> dict[str, int]:
    """The number of partitions of every topic. Asks for all: asking for one by name may create it."""
    try:
        topics = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as problem:
        raise ServiceUnavailable(
            f"Kafka does not answer: {problem}", kafka=kafka, state="Nothing was sent.", next_step="headrace status"
        ) from problem
    return {name: len(found.partitions) for name, found in topics.items() if found.error is None}


def file_states(kafka: str, pipeline: Pipeline) -> dict[tuple[str, str], KnownFile]:
    """Every file that was ever pushed, by stream and content hash; read once, to the end of this moment."""
    with FilesTopic(kafka, pipeline) as files:
        return files.read_to_end()
