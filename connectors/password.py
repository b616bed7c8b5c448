"""The replication password: a file that only Connect's config provider reads, never part of a connector's config."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import SecretStr

from contracts.errors import PlanRefused

FILE = "replicator_password"
PROVIDER_HINT = (
    "config.providers=directory\n"
    "config.providers.directory.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider\n"
    "config.providers.directory.param.allowed.paths=<data_dir>/secrets"
)


def directory(data_dir: Path, pipeline: str) -> Path:
    """Where the local deployment keeps a pipeline's secrets; the Connect worker's provider must allow it."""
    return data_dir.absolute() / "secrets" / pipeline


def reference(data_dir: Path, pipeline: str) -> str:
    """What the connector's config says instead of the password."""
    folder = str(directory(data_dir, pipeline))
    if ":" in folder or "}" in folder:
        raise PlanRefused(
            f"Connect cannot refer to a secret in {folder}: the path holds `:` or `}}`",
            next_step="choose another data_dir",
        )
    return f"${{directory:{folder}:{FILE}}}"


def is_written(data_dir: Path, pipeline: str, password: SecretStr) -> bool:
    """Whether the file holds this password and nobody else may read it."""
    file = directory(data_dir, pipeline) / FILE
    return (
        file.is_file()
        and file.stat().st_mode & 0o077 == 0
        and file.read_text(encoding="utf-8") == password.get_secret_value()
    )


def write(data_dir: Path, pipeline: str, password: SecretStr) -> None:
    """Replaces the file, readable by this user alone; a reader sees the old content or the new one."""
    folder = directory(data_dir, pipeline)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The provider reads every plain file of the folder as a secret, so the unfinished one is hidden from it.
    unfinished = folder.parent / f".{pipeline}.{os.getpid()}"
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(password.get_secret_value())
    unfinished.replace(folder / FILE)
