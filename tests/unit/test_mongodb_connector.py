"""The MongoDB connector's config, and what a contract of documents says; `tests/services/test_mongodb.py` runs both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from connectors import topics
from connectors.mongodb import connector as mongodb_connector
from contracts.endpoints import MongodbEndpoint
from contracts.errors import ContractError
from contracts.loader import load_pipeline
from contracts.stream import Pipeline

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: shop.products
name: Products
version: 1.0.0
status: active
customProperties:
  - {{property: headrace.source, value: {system}}}
  - {{property: headrace.table, value: shop.products}}
schema:
  - name: products
    properties:
      - name: product_id
        physicalType: string
        primaryKey: true
        required: true
        customProperties: [{key}]
      - {{name: size, logicalType: object, physicalType: 'struct<widthMm:int>'{further}}}
"""
ID = "{property: headrace.field, value: _id}"


def load(folder: Path, system: str = "mongodb", key: str = ID, further: str = "") -> Pipeline:
    (folder / "contracts").mkdir()
    (folder / "connectors").mkdir()
    (folder / "contracts" / "p.yaml").write_text(CONTRACT.format(system=system, key=key, further=further))
    return load_pipeline("shop", folder)


def test_the_config_and_the_topics_come_from_the_contract(tmp_path: Path) -> None:
    pipeline = load(tmp_path)
    (stream,) = pipeline.streams
    assert stream.topic == "shop.mongodb.shop.products"
    assert stream.column("product_id").field == "_id"
    source = MongodbEndpoint("mongodb://db/?replicaSet=rs0", "debezium", SecretStr("not in the config"))
    part = pipeline.of("mongodb")
    config = mongodb_connector.render(part, source, "broker:9092", password_reference="${directory:/s:p}")
    assert config["collection.include.list"] == r"shop\.products"
    assert config["capture.mode.full.update.type"] == "post_image"
    assert config["mongodb.password"] == "${directory:/s:p}"
    assert not [value for value in config.values() if "not in the config" in value]
    declared = {topic.name: topic.partitions for topic in topics.declared(pipeline)}
    assert declared[stream.topic] == 1
    assert "shop.mongodb.signals" in declared
    (pipeline.connectors_dir / "mongodb.json").write_text(json.dumps({"capture.mode": "change_streams"}))
    with pytest.raises(ContractError, match=r"capture\.mode must stay"):
        mongodb_connector.render(part, source, "broker:9092", password_reference="")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"key": ""}, "known by its `_id`"),
        ({"further": ", customProperties: [{property: headrace.field, value: _id}]"}, "two columns are the field"),
    ],
)
def test_a_contract_that_documents_cannot_keep_is_refused(tmp_path: Path, changed: dict[str, str], told: str) -> None:
    with pytest.raises(ContractError, match=told):
        load(tmp_path, **changed)
