"""Settings that name the parts of a deployment that runs elsewhere, as README's "Point it at your own …" says."""

from __future__ import annotations

import re
from typing import Any

import yaml

from contracts.endpoints import Endpoints
from tests.e2e.shell import README

SECTION = README.split("## Point it at your own Postgres and Kafka")[1].split("\n## ")[0]
SETTINGS = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[0]


def settings(theirs: Endpoints, pipeline: str, pipeline_dir: str) -> dict[str, Any]:
    """The README's settings with the values of these parts."""
    found: dict[str, Any] = yaml.safe_load(SETTINGS)
    host, port = theirs.source.host, theirs.source.port
    found |= {"pipeline": pipeline, "pipeline_dir": pipeline_dir}
    found["kafka"]["bootstrap_servers"] = theirs.kafka
    found["connect"]["url"] = theirs.connect_url
    found["source"] |= {"host": host, "port": port, "database": theirs.source.database, "user": theirs.source.user}
    found["replicator"]["user"] = theirs.replicator.user
    found["warehouse"] |= {"host": host, "port": port, "database": theirs.warehouse.database}
    found["warehouse"]["user"] = theirs.warehouse.user
    found["hadoop"] = {"hdfs_url": theirs.hdfs_url, "metastore_uri": theirs.metastore_uri}
    found["hadoop"]["webhdfs_url"] = theirs.webhdfs_url
    found["sql"] = {"host": theirs.sql_host, "port": theirs.sql_port}
    return found


def passwords(theirs: Endpoints) -> dict[str, str]:
    """What the README puts into the environment."""
    return {
        "HEADRACE_SOURCE__PASSWORD": theirs.source.password.get_secret_value(),
        "HEADRACE_REPLICATOR__PASSWORD": theirs.replicator.password.get_secret_value(),
        "HEADRACE_WAREHOUSE__PASSWORD": theirs.warehouse.password.get_secret_value(),
    }
