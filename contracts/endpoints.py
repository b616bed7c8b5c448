"""Where each real part answers: the settings with the local parts' chosen ports filled in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class PostgresEndpoint:
    """One database, the role to use, and how the connection is encrypted; libpq's own default if `sslmode` is empty.
    `answer_s`: how long a connection may take, its beginning and all that is asked on it each; None: as long as the
    server answers anybody."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    sslmode: str = ""
    sslrootcert: str = ""
    answer_s: float | None = None

    def dsn(self) -> dict[str, Any]:
        """Keyword arguments for `psycopg2.connect`. Holds the password: never log it."""
        return {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password.get_secret_value(),
            **self.encryption(),
        }

    def encryption(self) -> dict[str, str]:
        """What was said of TLS, in libpq's words, which are Debezium's too."""
        said = {"sslmode": self.sslmode, "sslrootcert": self.sslrootcert}
        return {name: value for name, value in said.items() if value}


@dataclass(frozen=True, slots=True)
class MariadbEndpoint:
    """One MariaDB server, the user to be there, and how the connection is encrypted, in libpq's words: each client's
    own default if `sslmode` is empty. An empty host says that there is none. `answer_s` as for Postgres."""

    host: str
    port: int
    user: str
    password: SecretStr
    sslmode: str = ""
    sslrootcert: str = ""
    answer_s: float | None = None


@dataclass(frozen=True, slots=True)
class MongodbEndpoint:
    """A MongoDB deployment as its drivers are told of it, and the user to be there; an empty `url`: there is none."""

    url: str
    user: str
    password: SecretStr


HURRY_S = 4.0
HURRY_SQL_OPENS_S = 10.0
HURRY_SQL_S = 20.0
NO_MONGODB = MongodbEndpoint("", "", SecretStr(""))
NO_MARIADB = MariadbEndpoint("", 3306, "", SecretStr(""))


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Every address a stage may need. `source` is the owner of the source tables; `replicator` the least-privilege
    role Debezium uses; `warehouse` the role that publishes. `webhdfs_url` is empty if nobody named one. `mariadb` and
    `mariadb_replicator` are the same for tables that come from there, `mongodb` for documents. `sql_opens_s`: how long
    each answer may take while a session of the SQL endpoint opens; `sql_answer_s`: a statement, None for as long as it
    needs."""

    kafka: str
    connect_url: str
    hdfs_url: str
    metastore_uri: str
    source: PostgresEndpoint
    replicator: PostgresEndpoint
    warehouse: PostgresEndpoint
    sql_host: str
    sql_port: int
    webhdfs_url: str = ""
    mariadb: MariadbEndpoint = NO_MARIADB
    mariadb_replicator: MariadbEndpoint = NO_MARIADB
    mongodb: MongodbEndpoint = NO_MONGODB
    sql_opens_s: float = 60
    sql_answer_s: float | None = None

    def hurried(self) -> Endpoints:
        """The same for a person who looks and must not wait: sources have seconds. The SQL endpoint has more of them:
        on a machine with much to do what it answers takes that long."""
        return replace(
            self,
            source=replace(self.source, answer_s=HURRY_S),
            replicator=replace(self.replicator, answer_s=HURRY_S),
            mariadb=replace(self.mariadb, answer_s=HURRY_S),
            mariadb_replicator=replace(self.mariadb_replicator, answer_s=HURRY_S),
            sql_opens_s=HURRY_SQL_OPENS_S,
            sql_answer_s=HURRY_SQL_S,
        )
