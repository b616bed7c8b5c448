"""Local HDFS: one NameNode and two DataNodes, every block twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from xml.sax.saxutils import escape

from contracts.errors import Fatal
from infra import jars
from infra.local import probes
from infra.local.jvm import java_command, logging_file
from infra.local.layout import LOOPBACK, Layout
from infra.local.part import Part
from infra.local.process import last_lines

DATANODES = (1, 2)
# What a client of this HDFS must know; its own defaults are three replicas and a spare DataNode for a failed one.
CLIENT_CONF = {
    "dfs.replication": "2",
    "dfs.client.block.write.replace-datanode-on-failure.enable": "false",
}


def parts(layout: Layout) -> list[Part]:
    """NameNode and DataNodes. `namenode` is ready when it answers, `hdfs` as a whole when the DataNodes are."""
    _hadoop = "org.apache.hadoop.hdfs.server"
    command = (*java_command("512m", logging_file(layout, "hdfs"), short_start=True), "-cp", _class_path(layout))
    namenode = Part(
        name="namenode",
        argv=(*command, f"{_hadoop}.namenode.NameNode"),
        port=layout.ports["namenode"],
        prepare=lambda: _prepare(layout),
        ready=lambda: probes.namenode_answers(http_url(layout)),
    )
    found = [namenode]
    for number in DATANODES:
        ports = [layout.ports[f"datanode{number}{kind}"] for kind in ("", "_http", "_ipc")]
        found.append(
            Part(
                name=f"datanode{number}",
                argv=(
                    *java_command("384m", logging_file(layout, "hdfs"), short_start=True),
                    "-cp",
                    _class_path(layout),
                    f"{_hadoop}.datanode.DataNode",
                    "-D",
                    f"dfs.datanode.data.dir=file://{layout.part_dir('hdfs')}/data{number}",
                    "-D",
                    f"dfs.datanode.address={LOOPBACK}:{ports[0]}",
                    "-D",
                    f"dfs.datanode.http.address={LOOPBACK}:{ports[1]}",
                    "-D",
                    f"dfs.datanode.ipc.address={LOOPBACK}:{ports[2]}",
                ),
                port=ports[0],
                after=("namenode",),
                # The number, not "all": the first to come must not wait for the second.
                ready=lambda number=number: probes.namenode(http_url(layout), datanodes=len(DATANODES)),  # type: ignore[misc]
            )
        )
    return found


def url(layout: Layout) -> str:
    """`hdfs://host:port` of the local NameNode."""
    return f"hdfs://{LOOPBACK}:{layout.ports['namenode']}"


def http_url(layout: Layout) -> str:
    """The NameNode's page."""
    return f"http://{LOOPBACK}:{layout.ports['namenode_http']}"


def configuration(values: Mapping[str, str]) -> str:
    """A Hadoop configuration file."""
    lines = [
        f"<property><name>{escape(name)}</name><value>{escape(value)}</value></property>"
        for name, value in values.items()
    ]
    return "<configuration>\n" + "\n".join(lines) + "\n</configuration>\n"


def _class_path(layout: Layout) -> str:
    return f"{layout.config_dir / 'hdfs'}{os.pathsep}{jars.classpath('hdfs')}"


def _prepare(layout: Layout) -> None:
    folder = layout.part_dir("hdfs")
    layout.write("hdfs/core-site.xml", configuration({"fs.defaultFS": url(layout)}))
    layout.write(
        "hdfs/hdfs-site.xml",
        configuration(
            {
                **CLIENT_CONF,
                "dfs.namenode.name.dir": f"file://{folder}/name",
                "dfs.namenode.rpc-bind-host": LOOPBACK,
                "dfs.namenode.http-address": f"{LOOPBACK}:{layout.ports['namenode_http']}",
                "dfs.namenode.datanode.registration.ip-hostname-check": "false",
                "dfs.namenode.safemode.extension": "0",
                "dfs.namenode.safemode.min.datanodes": str(len(DATANODES)),
                "dfs.namenode.checkpoint.txns": "100000",
                "dfs.heartbeat.interval": "1",
                "dfs.namenode.heartbeat.recheck-interval": "5000",
                "dfs.datanode.du.reserved": "0",
            }
        ),
    )
    formatted = folder / "formatted"
    if formatted.exists():
        return
    for name in ("name", *(f"data{number}" for number in DATANODES)):
        shutil.rmtree(folder / name, ignore_errors=True)  # a format that was interrupted half-way
    log = layout.data_dir / "log" / "hdfs-format.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *java_command("256m", logging_file(layout, "hdfs"), short_start=True),
        "-cp",
        _class_path(layout),
        "org.apache.hadoop.hdfs.server.namenode.NameNode",
        "-format",
        "-nonInteractive",
    ]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=output, timeout=120, check=False)
    if done.returncode != 0:
        raise Fatal("HDFS could not be formatted:\n" + "\n".join(last_lines(log)), next_step=f"read {log}")
    formatted.touch()
