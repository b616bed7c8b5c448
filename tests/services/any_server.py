"""The servers among the sources: real ones, that Debezium reads."""

from __future__ import annotations

import json
import os
import signal
from abc import abstractmethod
from contextlib import closing
from dataclasses import dataclass, replace
from typing import ClassVar

import psycopg2
import pymysql
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from connectors import debezium
from connectors.broker import Offsets
from connectors.mariadb import plan as mariadb_plan
from connectors.mariadb import position as mariadb_position
from connectors.plan import Plan, apply
from connectors.postgres import marker
from connectors.postgres.plan import plan
from contracts.settings import Settings
from contracts.stream import Stream
from headrace.findings import Side
from headrace.proof import postgres_side
from headrace.proof_mariadb import mariadb_side
from infra.local import deployment as local_deployment
from infra.local import process
from tests.services.any_source import COLUMNS, Row, Source
from tests.services.mariadb_server import Server
from tests.services.mariadb_server import run as run_on_mariadb

SLOW = {"max.batch.size": "100", "max.queue.size": "200", "snapshot.fetch.size": "200"}
"""A connector that is met in the middle of its first read."""


class SqlSource(Source):
    """A source that a connector captures, in SQL."""

    file: ClassVar[str]
    mark: ClassVar[str]
    """What stands around a name in its SQL."""

    @abstractmethod
    def run(self, statements: str) -> None:
        """Each by itself; they end with a semicolon and a line's end."""

    @abstractmethod
    def at_once(self, *statements: str) -> None:
        """In one transaction."""

    @abstractmethod
    def unseen(self, statements: str) -> None:
        """Changes that the connector is never sent."""

    @abstractmethod
    def numbers(self, first: int, last: int) -> str:
        """What gives the column n in a FROM."""

    @property
    @abstractmethod
    def password(self) -> str:
        """What the connector logs in with."""

    @abstractmethod
    def kill(self) -> None:
        """kill -9 of the server."""

    @abstractmethod
    def start(self) -> None:
        """The server that was killed, on the same data."""

    def listed(self, table: str) -> str:
        """The columns of its stream, as a SELECT lists them."""
        (stream,) = [one for one in self.streams if one.name == table]
        return ", ".join(f"{self.mark}{column.source_name}{self.mark}" for column in stream.columns)

    def make(self) -> None:
        self.run("CREATE TABLE {db}.orders (id bigint PRIMARY KEY, price decimal(10,2))")

    @abstractmethod
    def proven(self, stream: Stream) -> Side:
        """Rows and fingerprint of its table, as `verify` asks for them."""

    def insert(self, *rows: tuple[int, int]) -> None:
        self.run(f"INSERT INTO {{db}}.orders VALUES {', '.join(map(str, rows))}")

    def update(self, key: int, price: int) -> None:
        self.run(f"UPDATE {{db}}.orders SET price = {price} WHERE id = {key}")

    def replace(self, key: int, price: int) -> None:
        self.at_once(
            f"DELETE FROM {{db}}.orders WHERE id = {key}", f"INSERT INTO {{db}}.orders VALUES ({key}, {price})"
        )

    def delete(self, key: int) -> None:
        self.run(f"DELETE FROM {{db}}.orders WHERE id = {key}")

    def operations(self) -> list[tuple[str, int | None]]:
        """Every change of orders as (operation, id), in the topic's order; a TRUNCATE has no id."""
        self.through()
        settings = {"bootstrap.servers": self.endpoints.kafka, "group.id": "none", "enable.partition.eof": True}
        found: list[tuple[str, int | None]] = []
        with closing(Consumer(settings | {"isolation.level": "read_committed"})) as reader:
            reader.assign([TopicPartition(self.streams[0].topic, 0, OFFSET_BEGINNING)])
            while True:
                record = reader.poll(30)
                assert record is not None, "no answer"
                if record.error():
                    return found  # the end
                change = json.loads(record.value() or b"")
                row = change["after"] or change["before"]
                found.append((change["op"], row and int(row["id"])))

    def plan(self) -> Plan:
        found = plan(self.pipeline, self.endpoints, self.settings)
        mariadb_plan.add(found, self.pipeline, self.endpoints, self.settings)
        assert found.refusals == []
        return found

    def apply(self) -> list[str]:
        planned = self.plan()
        apply(planned)
        return [change.kind for change in planned.changes]


class Postgres(SqlSource):
    kind = "postgres"
    file = "postgres.json"
    mark = '"'

    def make(self) -> None:
        self.run("CREATE SCHEMA {db}")
        super().make()

    def drop(self) -> None:
        self.run("DROP SCHEMA {db} CASCADE")

    def stream(self, table: str) -> Stream:
        kinds = {"id": "int8", "price": "numeric(10,2)"}
        columns = tuple(replace(column, source_type=kinds[column.name]) for column in COLUMNS)
        return replace(super().stream(table), columns=columns)

    def run(self, statements: str) -> None:
        for statement in statements.split(";\n"):
            self.at_once(statement)

    def at_once(self, *statements: str) -> None:
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(";".join(statements).replace("{db}", self.name))
            connection.commit()

    def rows(self, table: str) -> list[Row]:
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {self.listed(table)} FROM {self.name}.{table} ORDER BY 1")
            return cursor.fetchall()

    def proven(self, stream: Stream) -> Side:
        source = stream.table_source
        return postgres_side(self.endpoints.source, (source.schema, source.table), stream.at_source.columns)

    def through(self) -> Offsets:
        return marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)

    def unseen(self, statements: str) -> None:
        self.through()
        publication, table = debezium.default_name(self.pipeline), f"{self.name}.orders"
        self.run(f"ALTER PUBLICATION {publication} DROP TABLE {table}")
        self.run(statements)
        self.run(f"ALTER PUBLICATION {publication} ADD TABLE {table}")

    def numbers(self, first: int, last: int) -> str:
        return f"generate_series({first}, {last}) AS numbers(n)"

    @property
    def password(self) -> str:
        return self.endpoints.replicator.password.get_secret_value()

    def kill(self) -> None:
        kill_part(self.settings, "postgres")

    def start(self) -> None:
        local_deployment.up(self.settings)


@dataclass
class Mariadb(SqlSource):
    kind = "mariadb"
    file = "mariadb.json"
    mark = "`"

    server: Server | None = None

    # What `plan` asks of a server that is as MariaDB comes.
    CONFIGURED: ClassVar[dict[str, str]] = {
        "binlog_format": "ROW",
        "sql_mode": "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE",
    }

    def make(self) -> None:
        # It looks whether its connection is still there once a minute, by itself.
        (self.folder / self.file).write_text(json.dumps({"connect.keep.alive.interval.ms": "2000"}))
        self.run("".join(f"SET GLOBAL {name} = '{value}';\n" for name, value in self.CONFIGURED.items()))
        self.run("CREATE DATABASE {db} CHARACTER SET utf8mb4")
        super().make()

    def drop(self) -> None:
        self.run(f"DROP DATABASE {{db}};\nDROP USER IF EXISTS {self.endpoints.mariadb_replicator.user}@'%'")

    def run(self, statements: str) -> None:
        run_on_mariadb(self.endpoints.mariadb, statements.replace("{db}", self.name))

    def at_once(self, *statements: str) -> None:
        self.run(";\n".join(("BEGIN", *statements, "COMMIT")))

    def rows(self, table: str) -> list[Row]:
        at = self.endpoints.mariadb
        password = at.password.get_secret_value()
        with (
            closing(pymysql.connect(host=at.host, port=at.port, user=at.user, password=password)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SELECT {self.listed(table)} FROM {self.name}.{table} ORDER BY 1")
            return list(cursor.fetchall())

    def proven(self, stream: Stream) -> Side:
        return mariadb_side(self.endpoints.mariadb, stream)

    def through(self) -> Offsets:
        return mariadb_position.quiesced(self.part, self.endpoints, timeout_s=120)

    def unseen(self, statements: str) -> None:
        self.run(f"SET SESSION sql_log_bin = 0;\n{statements}")

    def numbers(self, first: int, last: int) -> str:
        return f"(SELECT seq AS n FROM {{db}}.seq_{first}_to_{last}) AS numbers"

    @property
    def password(self) -> str:
        return self.endpoints.mariadb_replicator.password.get_secret_value()

    def kill(self) -> None:
        assert self.server
        self.server.kill()

    def start(self) -> None:
        assert self.server
        self.server.start(*(f"--{name}={value}" for name, value in self.CONFIGURED.items()))


def kill_part(settings: Settings, name: str) -> None:
    """kill -9 of one part of the local deployment."""
    os.kill(process.records(settings.data_dir)[name].pid, signal.SIGKILL)
