"""What a sender asks of Kafka, in memory: what it decides is tested without a broker, all else in the services tier."""

from __future__ import annotations

from typing import Self

from contracts.wire import FileState, decode_file_state
from producers.rows import Rows
from producers.states import KnownFile


class MemoryKafka:
    """What is committed to both topics, and the part of `FilesTopic` that a sender asks for."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, bytes]] = []
        self.states: list[FileState] = []

    def require(self, topic: str) -> int:
        return 1

    def read_to_end(self) -> dict[tuple[str, str], KnownFile]:
        return {(state.stream, state.hash): KnownFile(state, offset) for offset, state in enumerate(self.states)}


class MemoryProducer:
    """The part of `TransactionalProducer` that a sender asks for."""

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka
        self.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.begin()

    def begin(self) -> None:
        self._rows: list[tuple[int, bytes]] = []
        self._states: list[FileState] = []

    abort = begin

    def produce(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        self._states.append(decode_file_state(value))

    def produce_rows(self, topic: str, partition: int, rows: Rows, head: bytes, tail: bytes) -> None:
        self._rows += zip(rows.lines, rows.values, strict=True)

    def commit(self, *, rows: bool) -> None:
        self._kafka.rows += self._rows
        self._kafka.states += self._states
        self.begin()
