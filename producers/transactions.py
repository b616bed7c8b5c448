"""One Kafka producer with one transactional id, and what its errors mean to the sender of a file."""

from __future__ import annotations

import logging
import time
import warnings
from collections import deque
from collections.abc import Callable
from itertools import repeat
from operator import length_hint
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from contracts.errors import Conflict, Fatal, HeadraceError, ServiceUnavailable
from contracts.failpoints import failpoint
from producers.rows import Rows

TRANSACTION_TIMEOUT_S = 15.0
"""A sender that died holds back committed readers no longer than this."""

ABORT_TIMEOUT_S = 5.0
"""How long a sender that gives up waits for the broker to take that note."""

# A call after the one that learned of it only says that the producer had a fatal error, and is not marked fatal itself.
_FENCED = {
    KafkaError._FENCED,
    KafkaError._FATAL,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
}
_NOT_BY_WAITING = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._INVALID_ARG,
}

_log = logging.getLogger(__name__)


class TransactionalProducer:
    """Between `begin` and `commit` what is produced becomes visible as a whole or not at all.

    Every method raises Conflict once another producer has taken the transactional id: then this one can never commit
    again. ServiceUnavailable leaves it open whether the last commit took place; a new producer with the same id
    settles that before its first read. Either way, leave the `with` block.
    """

    def __init__(self, kafka: str, transactional_id: str) -> None:
        """Take the id: an earlier holder is fenced and its open transaction ended before this returns."""
        self.transactional_id = transactional_id
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": int(TRANSACTION_TIMEOUT_S * 1000),
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 100_000,
                "queue.buffering.max.kbytes": 32 * 1024,
                "delivery.report.only.error": True,
                # No Python logger or callback: a fatal error is raised between two of them, and the next one then
                # turns it into a SystemError.
                "log_level": 0,
            }
        )
        self._open = False
        # Connected before: librdkafka would look for the coordinator again only half a second after it found no broker.
        self._call("init", lambda: self._producer.list_topics(timeout=TRANSACTION_TIMEOUT_S))
        self._call("init", lambda: self._producer.init_transactions(TRANSACTION_TIMEOUT_S * 2))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Abort what is open, as far as the broker allows, and let it go."""
        if self._open:
            self._producer.purge()
            try:
                self._producer.abort_transaction(ABORT_TIMEOUT_S)
            except KafkaException as problem:
                # `close` would wait for a broker that is away, for ever; the broker ends the transaction by itself.
                _log.debug("%s: not aborted, the broker will: %s", self.transactional_id, problem)
                del self._producer
                return
        with warnings.catch_warnings():  # closing aborts, and warns if that was refused: a fenced producer's always is
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                self._producer.close()
            except KafkaException as problem:
                _log.debug("%s: not aborted, the broker will: %s", self.transactional_id, problem)

    def begin(self) -> None:
        """Open a transaction."""
        self._call("begin", self._producer.begin_transaction)
        self._open = True

    def produce(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Add one record to the open transaction."""
        self._call("produce", lambda: self._queue(topic, partition, key, value))

    def produce_rows(self, topic: str, partition: int, rows: Rows, head: bytes, tail: bytes) -> None:
        """Add rows in order; the key of each is `head`, its line in digits, `tail`."""
        produce, lines, left = self._producer.produce, rows.lines, iter(rows.values)
        key_of = b"%b%%d%b" % (head.replace(b"%", b"%%"), tail.replace(b"%", b"%%"))
        keys = map(key_of.__mod__, lines)
        try:
            while True:
                try:
                    # The loop over the rows runs in C: in Python it would cost as much as half of `produce`.
                    deque(map(produce, repeat(topic), left, keys, repeat(partition)), maxlen=0)
                    return
                except BufferError:
                    at = len(lines) - length_hint(left) - 1
                    self._queue(topic, partition, key_of % lines[at], rows.values[at])
        except KafkaException as problem:
            raise self._meaning("produce", problem) from problem

    def commit(self, *, rows: bool) -> None:
        """Make the open transaction visible; `rows` says that it holds rows, not a state alone.

        On return it is durable. The call is repeated while the broker asks for that.
        """
        self._call("flush", self._flush)
        if rows:
            failpoint("before_kafka_commit")
        deadline = time.monotonic() + TRANSACTION_TIMEOUT_S
        while True:
            try:
                self._producer.commit_transaction(TRANSACTION_TIMEOUT_S)
                break
            except KafkaException as problem:
                if not problem.args[0].retriable() or time.monotonic() > deadline:
                    raise self._meaning("commit", problem) from problem
        self._open = False
        if rows:
            failpoint("after_kafka_commit")

    def abort(self) -> None:
        """Drop what the open transaction holds, if one is open."""
        if not self._open:
            return
        # Not purged: the broker refuses to end a transaction whose records it has not seen, and says it is fenced.
        self._call("flush", self._flush)
        self._call("abort", lambda: self._producer.abort_transaction(TRANSACTION_TIMEOUT_S))
        self._open = False

    def _queue(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Produce, waiting for room. The room comes: records that do not reach the broker in time are given up, and
        then the transaction fails."""
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
                return
            except BufferError:
                self._producer.poll(0.02)

    def _flush(self) -> None:
        if left := self._producer.flush(TRANSACTION_TIMEOUT_S):
            raise ServiceUnavailable(
                f"{left} records did not reach Kafka within {TRANSACTION_TIMEOUT_S:.0f} s",
                transactional_id=self.transactional_id,
                state="The transaction is given up; earlier ones stand.",
            )

    def _call(self, step: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except KafkaException as problem:
            raise self._meaning(step, problem) from problem

    def _meaning(self, step: str, problem: KafkaException) -> HeadraceError:
        error: KafkaError = problem.args[0]
        where = {"transactional_id": self.transactional_id, "step": step}
        if error.code() in _FENCED or error.fatal():
            return Conflict(
                "another sender took this file's transactional id, or one transaction took longer than "
                f"{TRANSACTION_TIMEOUT_S:.0f} s: {error.str()}",
                state="The open transaction is void; what was committed stands, and the files topic says how far.",
                next_step="push the file again, as a watch does by itself: rows that Kafka has are not sent again.",
                **where,
            )
        if error.code() in _NOT_BY_WAITING:
            return Fatal(f"Kafka refused: {error.str()}", state="The open transaction is void.", **where)
        return ServiceUnavailable(
            f"Kafka did not do it: {error.str()}",
            state="The open transaction is void; what was committed stands, and the files topic says how far.",
            next_step="push again; it goes on from the last commit.",
            **where,
        )
