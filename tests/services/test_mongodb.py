"""Documents of a server that speaks MongoDB's protocol through the real Debezium, Kafka and Spark: what the lake shows
is what the server holds. What holds for every source is in `test_any_source.py`."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp
from pymongo.errors import PyMongoError
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Column, Stream
from infra.local import deployment as local_deployment
from tests.conftest import WaitUntil
from tests.services.any_documents import Mongodb
from tests.services.any_server import kill_part
from tests.services.mongodb_server import Server

PRODUCTS = (
    Column("product_id", "string", required=True, field="_id"),
    Column("product_name", "string", field="productName"),
    Column("price", "decimal(10,2)"),
    Column("sold", "bigint"),
    Column("stock", "int"),
    Column("ratio", "double"),
    Column("active", "boolean"),
    Column("size", "struct<widthMm:int,note:string>"),
    Column("parts", "array<struct<part:string,count:bigint>>"),
    Column("tags", "array<string>"),
    Column("attributes", "map<string,string>"),
    Column("updated_at", "timestamp", field="updatedAt"),
)
FULL: dict[str, Any] = {
    "productName": 'Lámp 😀 {"$oid":"not one"}\n\\ "$numberLong"',
    "price": Decimal128("12.50"),
    "sold": Int64(9007199254740993),
    "stock": -(2**31),
    "ratio": 0.1,
    "active": True,
    "size": {"widthMm": 30, "note": "{x"},
    "parts": [{"part": "leg", "count": Int64(4)}, {"part": "top", "count": Int64(2**62)}],
    "tags": ["a", "b,c", "", 'q"'],
    "attributes": {"colour": "oak", "a b": "1"},
    "updatedAt": datetime(2019, 8, 11, 17, 47, 44, 123000, UTC),
}


class Shop(Mongodb):
    """With products, too. `refused` is how many of the changes that `shown` took were."""

    refused = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        products = replace(self.stream("products"), columns=PRODUCTS, key=("product_id",))
        self.streams = (*self.streams, products)

    @property
    def products(self) -> Stream:
        return next(stream for stream in self.streams if stream.name == "products")

    def make(self) -> None:
        super().make()
        self.make_collection("products")

    def shown(self) -> list[dict[str, Any]]:
        """What the lake shows of products, as documents, by `_id`; what is NULL is left out."""
        self.refused = self.take("products").quarantined
        columns = [f"{column.name} as {column.source_name}" for column in PRODUCTS if column.name != "updated_at"]
        current = self.spark.table(f"{self.products.history}_current")
        rows = current.selectExpr(*columns, "unix_micros(updated_at) as updatedAt").collect()
        given = (row.asDict(recursive=True) for row in rows)
        found = [{name: value for name, value in one.items() if value is not None} for one in given]
        return sorted(map(comparable, found), key=lambda one: one["_id"])

    def held(self) -> list[dict[str, Any]]:
        """What the server holds of products, so that it can be compared with that."""
        with self.database() as database:
            return sorted((plain(one) for one in database["products"].find()), key=lambda one: one["_id"])


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """A document in Python's own types, without fields that are null; a time in microseconds."""
    found = {name: value for name, value in document.items() if value is not None}
    found["_id"] = str(found["_id"])
    if "price" in found:
        found["price"] = found["price"].to_decimal()
    if "updatedAt" in found:
        since = found["updatedAt"].replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        found["updatedAt"] = since // timedelta(microseconds=1)
    return comparable(found)


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """NaN is not equal to itself, and -0.0 is to 0.0."""
    return document | ({"ratio": repr(document["ratio"])} if "ratio" in document else {})


@pytest.fixture(scope="module")
def shop(
    spark: SparkSession,
    endpoints: Endpoints,
    deployment: Settings,
    mongodb_process: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """Its connector runs, and has read two products."""
    folder = tmp_path_factory.mktemp("shop")
    reached = replace(endpoints, mongodb=mongodb_process.reader)
    made = Shop(spark, reached, deployment, folder, f"shop_{ObjectId()}"[:14], server=mongodb_process)
    try:
        made.make()
        with made.database() as database:
            database["products"].insert_many([{"_id": ObjectId(), **FULL}, {"_id": "read first", **FULL}])
        assert set(made.apply()) == {"topic", "secret file", "connector"}
        assert made.plan().changes == []
        made.create_lake()
        yield made
    finally:
        made.remove()


def test_documents_of_every_type_are_the_same_when_read_first_and_when_changed(shop: Shop) -> None:
    with shop.database() as database:
        products = database["products"]
        first = next(one["_id"] for one in products.find() if one["_id"] != "read first")
        products.insert_many(
            [
                {"_id": ObjectId(), **FULL},
                {"_id": "a text", "productName": ""},
                {"_id": 'quoted "b" \\ 😀', "tags": [], "attributes": {}, "parts": []},
                {"_id": ObjectId(), **dict.fromkeys(FULL)},
                *({"_id": ObjectId(), "ratio": ratio} for ratio in (1e300, -0.0, 5e-324, 3.0)),
                *({"_id": ObjectId(), "ratio": ratio} for ratio in (math.nan, math.inf, -math.inf)),
                *({"_id": ObjectId(), "price": Decimal128(price)} for price in ("-99999999.99", "0", "1E+2", "0.1")),
                {"_id": ObjectId(), "updatedAt": datetime(1, 1, 1, tzinfo=UTC)},
                {"_id": ObjectId(), "updatedAt": datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)},
                {"_id": ObjectId(), "updatedAt": datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)},
                {"_id": ObjectId(), "sold": Int64(-(2**63)), "stock": 2**31 - 1, "active": False},
            ]
        )
        shop.through()
        changes: list[Any] = [
            {"$set": {"size.widthMm": 31, "tags.1": "c", "parts.0.count": Int64(5)}},
            {"$push": {"tags": "last"}, "$inc": {"sold": 1}, "$unset": {"attributes.colour": ""}},
            {"$unset": {"size": "", "productName": ""}, "$set": {"price": None, "active": False}},
            [{"$set": {"stock": {"$add": ["$stock", 1]}}}],
        ]
        for change in changes:
            assert products.update_one({"_id": first}, change).modified_count == 1
            shop.through()
        assert products.replace_one({"_id": "a text"}, {"productName": "another", "stock": 1}).modified_count == 1
        products.update_one({"_id": "made by an upsert"}, {"$set": {"stock": 7}}, upsert=True)
        products.find_one_and_update({"_id": "made by an upsert"}, {"$set": {"stock": 8}})
    shown = shop.shown()
    assert shown == shop.held()
    assert len(shown) == 22
    assert shop.refused == 0


def test_ids_of_every_kind_that_are_deleted_and_come_again_and_transactions(shop: Shop) -> None:
    identities: list[Any] = [ObjectId(), "deleted", 'quoted "c" \\ 😀', "", "1004"]
    with shop.database() as database, database.client.start_session() as session:
        products = database["products"]
        products.insert_many([{"_id": one, "stock": 1} for one in identities])
        products.delete_many({"_id": {"$in": identities}})
        products.insert_one({"_id": identities[0], "stock": 2})
        products.insert_one({"_id": "1004", "stock": 2})
        # The second is given up.
        for number, end in enumerate((session.commit_transaction, session.abort_transaction)):
            session.start_transaction()
            products.insert_one({"_id": f"together {number} a", "stock": 1}, session=session)
            products.insert_one({"_id": f"together {number} b", "stock": 2}, session=session)
            products.delete_one({"_id": f"together {number} a"}, session=session)
            end()
    shown = shop.shown()
    assert shown == shop.held()
    assert [one["stock"] for one in shown if one["_id"] in map(str, identities)] == [2, 2]
    assert [one["_id"] for one in shown if one["_id"].startswith("together")] == ["together 0 b"]
    assert shop.refused == 0


def test_what_no_column_can_hold_is_quarantined_and_the_rest_goes_on(shop: Shop) -> None:
    wrong: list[dict[str, Any]] = [
        {"stock": 2**31},
        {"stock": 1.5},
        {"price": Decimal128("1.005")},
        {"price": Decimal128("NaN")},
        {"productName": {"a": 1}},
        {"productName": Binary(b"\x00")},
        {"productName": Regex("a")},
        {"tags": "not an array"},
        {"size": {"widthMm": 1, "depth": 1}},
        {"size": {"note": datetime(2019, 8, 11, tzinfo=UTC)}},
        {"colour": "nobody declared it"},
        {"updatedAt": "2019-08-11"},
        {"updatedAt": Timestamp(1, 1)},
    ]
    with shop.database() as database:
        products = database["products"]
        products.insert_many([{"_id": f"wrong {number}", **one} for number, one in enumerate(wrong)])
        products.insert_one({"_id": "right", "stock": 1})
        shown = shop.shown()
        assert shop.refused == len(wrong)
        assert products.delete_many({"_id": {"$regex": "^wrong"}}).deleted_count == len(wrong)
    assert shown == shop.held()


def test_a_collection_that_is_declared_while_the_connector_runs_and_has_no_images(shop: Shop) -> None:
    """It is read from its beginning. An update comes without its document until the images that `plan` asks for are
    there: it is refused, and never a row of NULLs."""
    with shop.database() as database:
        late = database["late"]
        late.insert_many([{"_id": Int64(key), "price": Decimal128("1.00")} for key in range(300)])
        shop.streams = (*shop.streams, shop.stream("late"))
        assert shop.apply() == ["topic", "connector", "first read"]
        planned = shop.plan()
        assert planned.changes == []
        shop.create_lake()
        late.delete_one({"_id": 7})
        late.replace_one({"_id": 8}, {"price": Decimal128("2.00")})
        late.insert_one({"_id": Int64(300), "price": Decimal128("3.00")})
        late.update_one({"_id": 9}, {"$set": {"price": Decimal128("4.00")}})
        assert shop.take("late").quarantined == 1
        assert "changeStreamPreAndPostImages: {enabled: true}" in planned.warnings[-1]
        database.command({"collMod": "late", "changeStreamPreAndPostImages": {"enabled": True}})
        late.update_one({"_id": 9}, {"$set": {"price": Decimal128("5.00")}})
    shown = shop.lake("late")
    assert shown == shop.rows("late")
    assert len(shown) == 300


@pytest.mark.timeout(800)  # Connect starts again
def test_kill_9_of_connect_and_of_the_server_while_documents_change(shop: Shop, wait_until: WaitUntil) -> None:
    """What the server has acknowledged arrives, each change once, and the changes after it go on."""
    assert shop.server
    begun, stopped = shop.committed(), threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stopped.is_set():
            key = 1000 + len(written)
            with suppress(PyMongoError):  # the server goes
                shop.insert((key, key))
            written.append(key)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        wait_until(lambda: shop.committed() > begun + 20, 60, "its changes are read")
        kill_part(shop.settings, "connect")
        wait_until(lambda: len(written) > 200, 60, "documents that nobody reads yet")
        local_deployment.up(shop.settings)
        again = shop.committed()
        wait_until(lambda: shop.committed() > again + 20, 90, "its changes are read again")
        shop.server.kill()
        shop.server.start()
        again = shop.committed()
        wait_until(lambda: shop.committed() > again + 20, 90, "its changes are read again")
    finally:
        stopped.set()
        writing.join(timeout=60)
    shop.delete(1000)
    shown = shop.lake()
    assert shown == shop.rows("orders")
    assert len(shown) > 200
    told = [one["key"]["id"] for one in shop.changes() if one["op"] == "c"]
    assert len(told) == len(set(told)), "a change was told twice"
