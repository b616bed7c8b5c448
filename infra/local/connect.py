"""Local Kafka Connect: distributed (exactly-once sources need it), with Debezium, passwords by reference."""

from __future__ import annotations

import os
import shutil

from infra import jars
from infra.local import probes
from infra.local.jvm import java_command, logging_file
from infra.local.kafka import LARGEST_MESSAGE_BYTES
from infra.local.layout import LOOPBACK, Layout
from infra.local.part import Part


def part(layout: Layout, bootstrap_servers: str) -> Part:
    """The worker."""
    logging = logging_file(
        layout,
        "connect",
        io__debezium="info",
        org__apache__kafka__connect="info",
        org__apache__kafka__connect__runtime__rest="warn",
        org__apache__kafka__connect__runtime__isolation="warn",
    )
    return Part(
        name="connect",
        argv=(
            # Debezium's MariaDB connector reads a DATETIME through a calendar of the JVM's zone.
            *java_command("768m", logging, "-Duser.timezone=UTC"),
            "-cp",
            f"{jars.classpath('connect')}{os.pathsep}{jars.classpath('kafka')}",
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(layout.config_dir / "connect.properties"),
        ),
        port=layout.ports["connect"],
        after=("kafka",),
        prepare=lambda: _prepare(layout, bootstrap_servers),
        ready=lambda: probes.connect(url(layout)),
        stop_timeout_s=30,
    )


def url(layout: Layout) -> str:
    """The local worker's REST address."""
    return f"http://{LOOPBACK}:{layout.ports['connect']}"


def _prepare(layout: Layout, bootstrap_servers: str) -> None:
    plugins = layout.part_dir("connect") / "plugins"
    shutil.rmtree(plugins, ignore_errors=True)
    plugins.mkdir()
    for kind in ("postgres", "mariadb", "mongodb"):
        (plugins / f"debezium-{kind}").symlink_to(jars.ensure_jars() / f"{kind}-plugin")
    layout.secrets_dir.mkdir(mode=0o700, exist_ok=True)
    layout.write(
        "connect.properties",
        f"""bootstrap.servers={bootstrap_servers}
group.id=headrace-connect
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=false
config.storage.topic=_connect_configs
offset.storage.topic=_connect_offsets
status.storage.topic=_connect_status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
listeners={url(layout)}
rest.advertised.host.name={LOOPBACK}
plugin.path={plugins}
plugin.discovery=service_load
exactly.once.source.support=enabled
connector.client.config.override.policy=All
config.providers=file,directory
config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider
config.providers.file.param.allowed.paths={layout.secrets_dir}
config.providers.directory.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider
config.providers.directory.param.allowed.paths={layout.secrets_dir}
session.timeout.ms=6000
heartbeat.interval.ms=1500
scheduled.rebalance.max.delay.ms=0
producer.max.request.size={LARGEST_MESSAGE_BYTES}
producer.buffer.memory={LARGEST_MESSAGE_BYTES}
producer.compression.type=lz4
consumer.max.partition.fetch.bytes={LARGEST_MESSAGE_BYTES}
""",
    )
