"""Local Kafka: one process, broker and controller (KRaft)."""

from __future__ import annotations

import shutil
import subprocess

from contracts.errors import Fatal
from infra import jars
from infra.java import java
from infra.local import probes
from infra.local.jvm import java_command, logging_file
from infra.local.layout import LOOPBACK, Layout
from infra.local.part import Part
from infra.local.process import last_lines

LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024


def part(layout: Layout) -> Part:
    """The broker."""
    config = layout.config_dir / "kafka.properties"
    return Part(
        name="kafka",
        argv=(
            *java_command("768m", logging_file(layout, "kafka", kafka__log="error")),
            "-cp",
            jars.classpath("kafka"),
            "kafka.Kafka",
            str(config),
        ),
        port=layout.ports["kafka"],
        prepare=lambda: _prepare(layout),
        ready=lambda: probes.kafka(address(layout)),
        stop_timeout_s=30,
    )


def address(layout: Layout) -> str:
    """The local broker's bootstrap address."""
    return f"{LOOPBACK}:{layout.ports['kafka']}"


def _prepare(layout: Layout) -> None:
    folder = layout.part_dir("kafka")
    controller = f"{LOOPBACK}:{layout.ports['kafka_controller']}"
    config = layout.write(
        "kafka.properties",
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{address(layout)},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{address(layout)}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={folder / "data"}
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes={LARGEST_MESSAGE_BYTES}
replica.fetch.max.bytes={LARGEST_MESSAGE_BYTES}
log.cleaner.dedupe.buffer.size=33554432
""",
    )
    formatted = folder / "formatted"
    if formatted.exists():
        return
    shutil.rmtree(folder / "data", ignore_errors=True)  # a format that was interrupted half-way
    tool = (str(java()), "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", jars.classpath("kafka"))
    log = layout.data_dir / "log" / "kafka-format.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        identity = subprocess.run(
            [*tool, "kafka.tools.StorageTool", "random-uuid"], stdout=subprocess.PIPE, stderr=output, timeout=120
        )
        cluster = identity.stdout.decode().split()[-1] if identity.stdout else ""
        done = subprocess.run(
            [*tool, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)],
            stdout=output,
            stderr=output,
            timeout=120,
        )
    if done.returncode != 0:
        raise Fatal("Kafka's storage could not be formatted:\n" + "\n".join(last_lines(log)), next_step=f"read {log}")
    formatted.touch()
