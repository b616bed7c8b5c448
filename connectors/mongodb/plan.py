"""The MongoDB part of a plan: password, connector and first reads against what is declared.

Connect itself asks the server when it validates the config; headrace has no client of its own for it.
"""

from __future__ import annotations

from connectors import debezium, password
from connectors.connector_plan import plan_connector, plan_first_reads, plan_secret
from connectors.mongodb import connector as mongodb_connector
from connectors.plan import Plan
from connectors.rest import Connect
from contracts.endpoints import Endpoints
from contracts.settings import Settings
from contracts.stream import Pipeline


def add(found: Plan, pipeline: Pipeline, endpoints: Endpoints, settings: Settings) -> None:
    """Appends what the MongoDB collections of the pipeline need; nothing if there are none. Changes nothing else."""
    part = pipeline.of("mongodb")
    if not part.cdc_streams:
        return
    if not endpoints.mongodb.url:
        found.refusals.append(
            "the pipeline has documents of MongoDB, and no server is named\n"
            "  headrace.yaml: `mongodb: {url: mongodb://…/?replicaSet=…, user: …}`; HEADRACE_MONGODB__PASSWORD"
        )
        return
    reference = password.reference(settings.data_dir, part.name)
    with Connect(endpoints.connect_url) as connect:
        running = connect.config(debezium.connector_name(part))
        config = mongodb_connector.render(part, endpoints.mongodb, endpoints.kafka, password_reference=reference)
        plan_secret(found, part, settings, endpoints.mongodb.password, config["mongodb.password"])
        plan_connector(found, part, endpoints, connect, running, config)
    found.warnings.append(
        "MongoDB: headrace does not look into the server; each declared collection needs its images: "
        "db.runCommand({collMod: <collection>, changeStreamPreAndPostImages: {enabled: true}})"
    )
    if running:
        included = {"table.include.list": running.get("collection.include.list", "")}
        plan_first_reads(found, part, endpoints, included)
