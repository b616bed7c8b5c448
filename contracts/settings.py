"""Settings: typed, frozen, read once by the command line and passed down.

Later wins: defaults, `headrace.yaml` in the working directory (or the file `HEADRACE_CONFIG` names), environment
(`HEADRACE_KAFKA__BOOTSTRAP_SERVERS=...`). A part without an address runs locally under `data_dir`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.errors import ContractError
from contracts.yaml_document import YamlDocument

CONFIG_FILE = "headrace.yaml"
CONFIG_VARIABLE = "HEADRACE_CONFIG"
ENVIRONMENT_PREFIX = "HEADRACE_"


def _named(path: object) -> object:
    """Path("") would be the working directory."""
    if isinstance(path, str) and not path.strip():
        raise ValueError("an empty path names no directory")
    return path


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Directory = Annotated[Path, BeforeValidator(_named)]
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
MariadbSslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Part):
    """The broker; empty means local."""

    bootstrap_servers: str = ""


class ConnectSettings(_Part):
    """Kafka Connect's REST address (`http://host:port`); empty means local."""

    url: str = ""


class _Encrypted(_Part):
    sslrootcert: Directory | None = None

    @model_validator(mode="after")
    def _has_what_it_verifies_with(self) -> Self:
        mode = str(getattr(self, "sslmode", ""))
        if mode.startswith("verify-") and self.sslrootcert is None:
            raise ValueError(f"sslmode {mode} needs sslrootcert: the file with the certificate to trust")
        return self


class PostgresSettings(_Encrypted):
    """A database; an empty host means the local server. The password is never printed. `sslmode` and `sslrootcert` are
    those of libpq; of the source they reach Debezium too, whose worker reads the certificate under the same path."""

    host: str = ""
    port: int = 5432
    database: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    sslmode: SslMode = "prefer"


class ReplicatorSettings(_Part):
    """Who Debezium reads your own source as; the source's user if empty. `apply` makes the role where it may."""

    user: str = ""
    password: SecretStr = SecretStr("")


class MariadbSettings(_Encrypted):
    """A MariaDB server that a pipeline's tables come from. It is always your own: no local one is started. `user` reads
    the catalog and the tables, and makes the `replicator`, who Debezium reads as (`user` if empty). `sslmode` and
    `sslrootcert` mean what they mean for Postgres; Debezium's worker reads what `apply` makes of the certificate."""

    host: str = ""
    port: int = 3306
    user: str = ""
    password: SecretStr = SecretStr("")
    replicator: ReplicatorSettings = ReplicatorSettings()
    sslmode: MariadbSslMode = "prefer"


class MongodbSettings(_Part):
    """A MongoDB replica set that a pipeline's documents come from: `url` as its drivers take it, without a user."""

    url: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")

    @field_validator("url")
    @classmethod
    def _names_no_user(cls, url: str) -> str:
        # It stands in the connector's config, which all see who may ask Connect.
        if re.search("://[^/]*@", url):
            raise ValueError("a user stands in it: say mongodb.user and HEADRACE_MONGODB__PASSWORD instead")
        return url


class HadoopSettings(_Part):
    """`hdfs_url` like `hdfs://host:8020`, `metastore_uri` like `thrift://host:9083`; empty means local. `webhdfs_url`
    is the HTTP address of that NameNode, like `http://host:9870`: without it files of any size go row by row. `user` is
    who writes there over HTTP; empty means HADOOP_USER_NAME, or who runs this."""

    hdfs_url: str = ""
    webhdfs_url: str = ""
    user: str = ""
    metastore_uri: str = ""


class S3Settings(_Part):
    """An S3-compatible store for `watch s3://…`; an empty endpoint means Amazon's. Credentials come from where AWS'
    own tools take them (environment, profile, instance), never from here."""

    endpoint: str = ""
    region: str = ""


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

    trigger_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    merge_every_s: Seconds = 30.0
    maintain_every_s: Seconds = 300.0
    compact_after_files: Annotated[int, Field(gt=0)] = 200
    max_rows_per_batch: Annotated[int, Field(gt=0)] = 500_000
    # Of large files, in chunks. Each further batch of a file is compared with all that the history has of it.
    max_chunk_rows_per_batch: Annotated[int, Field(gt=0)] = 10_000_000


class GuardSettings(_Part):
    """How `headrace run` looks after the source. `retained_wal_bytes`: how much WAL a slot may keep there; half of the
    server's max_slot_wal_keep_size if that is less. A failed connector is restarted at once, again after
    `restart_after_s`, then after twice as long and so on up to ten minutes, `restarts` times in a row; 0 never.
    `transaction_s`: an open transaction older than that is told."""

    every_s: Seconds = 15.0
    retained_wal_bytes: Annotated[int, Field(gt=0)] = 10 * 2**30
    restarts: Annotated[int, Field(ge=0)] = 8
    restart_after_s: Seconds = 5.0
    transaction_s: Seconds = 3600.0


class Settings(BaseSettings):
    """Everything a command may need; unknown names are refused."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    pipeline: str = "edtech"
    pipeline_dir: Directory | None = None
    data_dir: Directory = Path(".headrace")
    kafka: KafkaSettings = KafkaSettings()
    connect: ConnectSettings = ConnectSettings()
    source: PostgresSettings = PostgresSettings()
    replicator: ReplicatorSettings = ReplicatorSettings()
    mariadb: MariadbSettings = MariadbSettings()
    mongodb: MongodbSettings = MongodbSettings()
    warehouse: PostgresSettings = PostgresSettings()
    hadoop: HadoopSettings = HadoopSettings()
    sql: SqlSettings = SqlSettings()
    s3: S3Settings = S3Settings()
    spark: SparkSettings = SparkSettings()
    run: RunSettings = RunSettings()
    guard: GuardSettings = GuardSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of precedence, first wins. ContractError if the file is no YAML mapping of names."""
        file = config_file()
        written = file.data if file else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, written)


def config_file() -> YamlDocument | None:
    """The settings file in force; None if nothing names one and the working directory has none.

    Raises:
        ContractError: `HEADRACE_CONFIG` names no file, or the file is no YAML mapping of names.
    """
    named = os.environ.get(CONFIG_VARIABLE, "")
    file = Path(named or CONFIG_FILE)
    if not named and not file.exists():
        return None
    if named and not file.is_file():
        raise ContractError(f"{CONFIG_VARIABLE} names this file, which does not exist", file=file)
    document = YamlDocument(file, may_be_empty=True)
    if strange := [name for name in document.data if not isinstance(name, str)]:
        raise document.error(f"`{strange[0]}` is no name of a setting", (str(strange[0]),))
    return document
