"""MongoDB among the sources. It is not at hand (no registry that we use has a server): its changes are fed, as Debezium
3.5 documents its records, into the real topic. From there on it is the same path."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from confluent_kafka import Producer

from connectors import topics
from connectors.marker import Offsets
from contracts.stream import Stream
from tests.services.any_source import COLUMNS, Row, Source


@dataclass
class Mongodb(Source):
    """Documents by the key `_id`, and the records of their changes."""

    kind = "mongodb"

    documents: dict[int, int] = field(default_factory=dict)
    applied: bool = False

    def make(self) -> None:
        """Nothing: a collection comes to be with its first document."""

    def drop(self) -> None:
        """Nothing."""

    def stream(self, table: str) -> Stream:
        columns = (replace(COLUMNS[0], field="_id"), *COLUMNS[1:])
        return replace(super().stream(table), columns=columns)

    def insert(self, *rows: tuple[int, int]) -> None:
        for key, price in rows:
            self.documents[key] = price
            if self.applied:
                self._tell(key, {"op": "c", "after": self._document(key)})

    def update(self, key: int, price: int) -> None:
        self.documents[key] = price
        fields = f'{{"price" : {{"$numberDecimal" : "{price}.00"}}}}'
        described = {"removedFields": None, "updatedFields": fields, "truncatedArrays": None}
        self._tell(key, {"op": "u", "after": self._document(key), "updateDescription": described})

    def replace(self, key: int, price: int) -> None:
        """Which is told without what was changed in it."""
        self.documents[key] = price
        self._tell(key, {"op": "u", "after": self._document(key), "updateDescription": None})

    def delete(self, key: int) -> None:
        del self.documents[key]
        self._tell(key, {"op": "d"})

    def apply(self) -> list[str]:
        """Its topics, and the first read."""
        for topic in topics.declared(self.pipeline):
            topics.create(self.endpoints.kafka, topic)
        for key in self.documents:
            self._tell(key, {"op": "r", "after": self._document(key)}, snapshot="true")
        self.applied = True
        return ["topic"]

    def rows(self, table: str) -> list[Row]:
        return sorted((key, Decimal(price)) for key, price in self.documents.items())

    def through(self) -> Offsets:
        return {(self.streams[0].topic, 0): self.committed()}

    def _document(self, key: int) -> str:
        identity, price = f'{{"$numberLong" : "{key}"}}', f'{{"$numberDecimal" : "{self.documents[key]}.00"}}'
        return f'{{"_id" : {identity},"price" : {price}}}'

    def _tell(self, key: int, change: dict[str, Any], snapshot: str = "false") -> None:
        source = {"version": "3.5.0.Final", "connector": "mongodb", "name": self.part.name, "ts_ms": 1558965508000}
        source |= {"snapshot": snapshot, "db": self.name, "sequence": None, "collection": "orders", "ord": 31}
        envelope = {"before": None, "after": None, "updateDescription": None, **change, "source": source}
        producer = Producer({"bootstrap.servers": self.endpoints.kafka, "acks": "all"})
        value = json.dumps({**envelope, "ts_ms": 1558965515240, "transaction": None}).encode()
        producer.produce(self.streams[0].topic, value, json.dumps({"id": str(key)}).encode(), 0)
        assert producer.flush(30) == 0, "Kafka did not take the record"
