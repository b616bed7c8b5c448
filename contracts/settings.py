"""Settings: typed, frozen, read once by the command line and passed down.

Later wins: defaults, `headrace.yaml` in the working directory (or the file `HEADRACE_CONFIG` names), environment
(`HEADRACE_KAFKA__BOOTSTRAP_SERVERS=...`). A part without an address runs locally under `data_dir`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

CONFIG_FILE = "headrace.yaml"
Seconds = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Part):
    """The broker; empty means local."""

    bootstrap_servers: str = ""


class ConnectSettings(_Part):
    """Kafka Connect's REST address (`http://host:port`); empty means local."""

    url: str = ""


class PostgresSettings(_Part):
    """A database; an empty host means the local server. The password is never printed."""

    host: str = ""
    port: int = 5432
    database: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")


class ReplicatorSettings(_Part):
    """Who Debezium reads your own source as; the source's user if empty. `apply` makes the role where it may."""

    user: str = ""
    password: SecretStr = SecretStr("")


class HadoopSettings(_Part):
    """`hdfs_url` like `hdfs://host:8020`, `metastore_uri` like `thrift://host:9083`; empty means local."""

    hdfs_url: str = ""
    metastore_uri: str = ""


class SqlSettings(_Part):
    """The HiveServer2 endpoint; an empty host means local."""

    host: str = ""
    port: int = 10000


class SparkSettings(_Part):
    """How `headrace run` starts Spark. `master` may be any that spark-submit takes."""

    master: str = "local[2]"
    driver_memory: str = "3g"
    shuffle_partitions: Annotated[int, Field(gt=0)] = 2
    conf: dict[str, str] = {}


class RunSettings(_Part):
    """The rhythm of `headrace run`."""

    trigger_s: Annotated[float, Field(ge=0)] = 0.5
    merge_every_s: Seconds = 30.0
    maintain_every_s: Seconds = 300.0
    compact_after_files: Annotated[int, Field(gt=0)] = 200
    max_rows_per_batch: Annotated[int, Field(gt=0)] = 500_000


class Settings(BaseSettings):
    """Everything a command may need; unknown names are refused."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", env_nested_delimiter="__", frozen=True, extra="forbid")

    pipeline: str = "edtech"
    pipeline_dir: Path | None = None
    data_dir: Path = Path(".headrace")
    kafka: KafkaSettings = KafkaSettings()
    connect: ConnectSettings = ConnectSettings()
    source: PostgresSettings = PostgresSettings()
    replicator: ReplicatorSettings = ReplicatorSettings()
    warehouse: PostgresSettings = PostgresSettings()
    hadoop: HadoopSettings = HadoopSettings()
    sql: SqlSettings = SqlSettings()
    spark: SparkSettings = SparkSettings()
    run: RunSettings = RunSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of precedence, first wins."""
        config = Path(os.environ.get("HEADRACE_CONFIG", CONFIG_FILE))
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=config)
