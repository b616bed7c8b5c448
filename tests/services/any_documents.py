"""MongoDB among the sources, as Debezium reads it from a server that speaks its protocol."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

from bson import Decimal128, Int64
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pymongo.collection import Collection
from pymongo.database import Database

from connectors.broker import Offsets
from connectors.mongodb import plan as mongodb_plan
from connectors.plan import Plan, apply
from connectors.postgres.plan import plan
from contracts.stream import Stream
from tests.services.any_source import COLUMNS, Row, Source
from tests.services.mongodb_server import Server

Document = dict[str, Any]
MARKS = "marks"
"""A collection beside those that are looked at: what stands in it says how far the connector is."""


@dataclass
class Mongodb(Source):
    """Documents by the key `_id`."""

    kind = "mongodb"

    server: Server | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.streams = (*self.streams, self.stream(MARKS))

    @contextmanager
    def database(self) -> Iterator[Database[Document]]:
        assert self.server
        with self.server.connected() as client:
            yield client[self.name]

    @contextmanager
    def orders(self) -> Iterator[Collection[Document]]:
        with self.database() as database:
            yield database["orders"]

    def make(self) -> None:
        for table in ("orders", MARKS):
            self.make_collection(table)

    def make_collection(self, name: str) -> None:
        """With the images that `plan` asks for."""
        with self.database() as database:
            database.create_collection(name, changeStreamPreAndPostImages={"enabled": True})

    def drop(self) -> None:
        with self.database() as database:
            database.client.drop_database(database.name)

    def stream(self, table: str) -> Stream:
        columns = (replace(COLUMNS[0], field="_id"), *COLUMNS[1:])
        return replace(super().stream(table), columns=columns)

    def insert(self, *rows: tuple[int, int]) -> None:
        with self.orders() as orders:
            orders.insert_many([_document(*row) for row in rows])

    def update(self, key: int, price: int) -> None:
        with self.orders() as orders:
            done = orders.update_one({"_id": key}, {"$set": {"price": Decimal128(f"{price}.00")}})
        assert done.modified_count == 1
        # This server sends the document as it is when the change is read: a later change must not come before that.
        self.through()

    def replace(self, key: int, price: int) -> None:
        with self.orders() as orders:
            assert orders.replace_one({"_id": key}, _document(key, price)).modified_count == 1

    def delete(self, key: int) -> None:
        with self.orders() as orders:
            assert orders.delete_one({"_id": key}).deleted_count == 1

    def plan(self) -> Plan:
        found = plan(self.pipeline, self.endpoints, self.settings)
        mongodb_plan.add(found, self.pipeline, self.endpoints, self.settings)
        assert found.refusals == []
        return found

    def apply(self) -> list[str]:
        planned = self.plan()
        apply(planned)
        return [change.kind for change in planned.changes]

    def rows(self, table: str) -> list[Row]:
        with self.database() as database:
            return [(int(one["_id"]), one["price"].to_decimal()) for one in database[table].find().sort("_id")]

    def through(self) -> Offsets:
        """A change stream tells the changes of all collections in one order."""
        mark = uuid4().int >> 65
        with self.database() as database:
            database[MARKS].insert_one(_document(mark, 0))
        deadline = time.monotonic() + 120
        settings = {"bootstrap.servers": self.endpoints.kafka, "group.id": "none"}
        with closing(Consumer(settings)) as reader:
            reader.assign([TopicPartition(self.stream(MARKS).topic, 0, OFFSET_BEGINNING)])
            while not ((record := reader.poll(1)) and not record.error() and str(mark) in str(record.key())):
                assert time.monotonic() < deadline, "the connector does not come to the end of the changes"
            return {
                (stream.topic, 0): reader.get_watermark_offsets(TopicPartition(stream.topic, 0), timeout=10)[1]
                for stream in self.streams
            }

    def changes(self, table: str = "orders") -> list[Document]:
        """Every record of its topic, in order, its key beside it as `key`."""
        self.through()
        settings = {"bootstrap.servers": self.endpoints.kafka, "group.id": "none", "enable.partition.eof": True}
        found: list[Document] = []
        with closing(Consumer(settings | {"isolation.level": "read_committed"})) as reader:
            reader.assign([TopicPartition(self.stream(table).topic, 0, OFFSET_BEGINNING)])
            while True:
                record = reader.poll(30)
                assert record is not None, "no answer"
                if record.error():
                    return found  # the end
                found.append({**json.loads(record.value() or b"{}"), "key": json.loads(record.key() or b"null")})


def _document(key: int, price: int) -> Document:
    return {"_id": Int64(key), "price": Decimal128(Decimal(price).quantize(Decimal("0.01")))}
