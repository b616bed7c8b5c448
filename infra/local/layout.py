"""The folder of one local deployment: its ports, its secrets, and where each part keeps its data."""

from __future__ import annotations

import json
import os
import secrets
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.settings import Settings

# Below the kernel's ephemeral range, so that no outgoing connection ever holds one of ours.
FIRST_PORT, LAST_PORT = 20_000, 31_999
PORT_NAMES = (
    "postgres",
    "kafka",
    "kafka_controller",
    "connect",
    "namenode",
    "namenode_http",
    "datanode1",
    "datanode1_http",
    "datanode1_ipc",
    "datanode2",
    "datanode2_http",
    "datanode2_ipc",
    "metastore",
    "sql",
    "pages",
    "monitor",
)
SECRET_NAMES = ("postgres", "source_owner", "debezium", "warehouse")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Layout:
    """Paths, ports and secrets of a deployment; made once at the first `up` and the same ever after."""

    settings: Settings
    data_dir: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str]

    def part_dir(self, name: str) -> Path:
        """The data folder of one part, created."""
        folder = self.data_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def config_dir(self) -> Path:
        """Generated configuration files; rewritten at each start."""
        return self.data_dir / "config"

    @property
    def secrets_dir(self) -> Path:
        """The only folder that Connect's configuration providers may read."""
        return self.data_dir / "secrets"

    def write(self, name: str, text: str) -> Path:
        """Writes one generated configuration file and returns its path."""
        file = self.config_dir / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


def data_dir(settings: Settings) -> Path:
    """The deployment's folder, absolute: pid files and locations in the metastore must not depend on the caller's."""
    return settings.data_dir.expanduser().absolute()


def open_layout(settings: Settings) -> Layout:
    """The deployment's layout; chooses ports and makes secrets when there are none yet."""
    folder = data_dir(settings)
    folder.mkdir(parents=True, exist_ok=True)
    return Layout(settings, folder, _ports(folder / "ports.json"), _secrets(folder))


def exists(settings: Settings) -> bool:
    """Whether an `up` ever chose ports here."""
    return (data_dir(settings) / "ports.json").exists()


def is_free(port: int) -> bool:
    """Whether a listener could be opened on loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _ports(file: Path) -> dict[str, int]:
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    lacking = [name for name in PORT_NAMES if name not in known]
    if lacking:
        # Start at a place of its own, so that two deployments rarely meet while one of them is stopped.
        candidate = FIRST_PORT + zlib.crc32(str(file).encode()) % (LAST_PORT - FIRST_PORT - 100)
        for name in lacking:
            while candidate in known.values() or not is_free(candidate):
                candidate = candidate + 1 if candidate < LAST_PORT else FIRST_PORT
            known[name] = candidate
        _write_private(file, json.dumps(known, indent=1))
    return known


def _secrets(folder: Path) -> dict[str, str]:
    file = folder / "secrets.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    if any(name not in known for name in SECRET_NAMES):
        known = {name: known.get(name) or secrets.token_urlsafe(24) for name in SECRET_NAMES}
        _write_private(file, json.dumps(known, indent=1))
    return known


def _write_private(file: Path, text: str) -> None:
    fresh = file.with_name(file.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
    fresh.replace(file)
