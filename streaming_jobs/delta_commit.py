"""Rows, positions and counts in one commit of a Delta table.

The only module that touches Delta's internal API (seen to work with Delta 4.4.0): counts are known after the write,
while a DataFrameWriter wants the commit's metadata before it. Its own tests hold what it relies on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from contracts.errors import Conflict, Fatal
from streaming_jobs.jvm import java, none_of

_DELTA = "org.apache.spark.sql.delta"

# What this process knows of each table, by path: the table's id, a version, and the positions at that version. Delta
# needs a Spark job to find the positions of a version it did not read before; its own last commit it need not read.
_known: dict[str, tuple[str, int, dict[str, int]]] = {}


class TableTransaction:
    """One optimistic transaction on the Delta table at `path`: start, write, commit once.

    Every position that is read or committed is fenced: when another writer commits a version of the same application
    id between the start and `commit`, `commit` raises Conflict and the table is as that writer left it.
    A transaction that is never committed leaves files that no reader sees (VACUUM removes them).
    """

    def __init__(self, spark: SparkSession, path: str) -> None:
        self.path = path
        self._spark = spark
        self._jvm = cast(Any, spark._jvm)
        self._none = none_of(self._jvm)
        self._activate()
        log = java(self._jvm, f"{_DELTA}.DeltaLog").forTable(spark._jsparkSession, path)
        if not log.tableExists():
            raise Fatal(
                "there is no Delta table here", state="nothing was written", next_step="headrace apply", path=path
            )
        self._txn = log.startTransaction(self._none, self._none)
        self._table_id = str(self._txn.metadata().id())
        self._actions = java(self._jvm, "java.util.ArrayList")()
        self._positions: dict[str, int] | None = None
        self._done = False

    def _activate(self) -> None:
        # Delta asks for the thread's active session and for no other; a thread may lose it while it works.
        session = java(self._jvm, "org.apache.spark.sql.classic.SparkSession")
        session.setActiveSession(self._spark._jsparkSession)

    @property
    def read_version(self) -> int:
        """The version of the table that this transaction started from."""
        return int(self._txn.snapshot().version())

    def position(self, app_id: str) -> int | None:
        """The version that the last commit for this application id gave, None if there never was one. Fences it."""
        self._fence(app_id)
        return self.positions().get(app_id)

    def positions(self) -> dict[str, int]:
        """All application ids of the table with their versions, without fencing them."""
        if self._positions is None:
            table_id, version, positions = _known.get(self.path, ("", -1, {}))
            if (table_id, version) == (self._table_id, self.read_version):
                self._positions = positions
            else:
                # One crossing into the JVM for all; the text is `SetTransaction(<app id>,<version>,<time>)` a line.
                found = self._txn.snapshot().setTransactions().mkString("\n")
                self._positions = dict(_parse_transactions(found))
                _known[self.path] = (self._table_id, self.read_version, self._positions)
        return dict(self._positions)

    def _fence(self, app_id: str) -> None:
        # What `txnVersion` does, without its reconstruction of the table's whole state.
        self._txn.readTxn().addOne(app_id)

    def write(self, frame: DataFrame) -> int:
        """Run `frame`, write its rows as files of this table and return how many those files hold.

        Nothing is visible before `commit`. May be called several times; the commit adds all of it. Columns must be
        those of the table, in name; Delta checks its constraints. Fatal if a column has another type than the table's.
        """
        self._check_types(frame)
        written = self._txn.writeFiles(frame._jdf, self._none)
        rows = 0
        iterator = written.iterator()
        while iterator.hasNext():
            action = iterator.next()
            self._actions.add(action)
            rows += int(json.loads(action.stats())["numRecords"])
        return rows

    def written(self, columns: str) -> DataFrame:
        """These columns (DDL) of the files that were written so far."""
        paths = (unquote(self._actions.get(at).path()) for at in range(self._actions.size()))
        return self._spark.read.schema(columns).parquet(*(f"{self.path}/{path}" for path in paths))

    def _check_types(self, frame: DataFrame) -> None:
        # `writeFiles` writes whatever it is given: files of another type make the whole table unreadable.
        table, given = self._txn.metadata().schemaString(), frame._jdf.schema().json()
        if differing := _differing_types(str(table), str(given)):
            raise Fatal(
                f"columns with another type than the table's: {'; '.join(differing)}",
                state="nothing was written",
                next_step="declare the old type, or give the column another name",
                path=self.path,
            )

    def commit(self, positions: Mapping[str, int], metadata: Mapping[str, object]) -> int:
        """Commit what was written with these positions and this metadata; returns the table's new version.

        With at least one position there is always a commit, rows or not. Conflict: another writer moved one of the
        positions, or changed the table's schema, since the start; nothing was committed.
        """
        if self._done:
            raise Fatal("this transaction has been committed", next_step="start another", path=self.path)
        self._activate()
        actions = java(self._jvm, "java.util.ArrayList")(self._actions)
        set_transaction = java(self._jvm, f"{_DELTA}.actions.SetTransaction")
        for name, version in positions.items():
            self._fence(name)
            actions.add(set_transaction(name, int(version), self._none))
        sequence = java(self._jvm, "scala.jdk.javaapi.CollectionConverters").asScala(actions).toSeq()
        none = self._none
        user_metadata = java(self._jvm, "scala.Option").apply(json.dumps(metadata))
        mode = java(self._jvm, "org.apache.spark.sql.SaveMode").valueOf("Append")
        write_operation = java(self._jvm, f"{_DELTA}.DeltaOperations$Write")
        operation = write_operation(mode, none, none, user_metadata, none, none, none, none, none)
        try:
            version = int(self._txn.commit(sequence, operation))
        except (Py4JJavaError, PySparkException) as error:
            if not met_another_writer(error):
                raise
            raise Conflict(
                f"another writer committed to the table first: {_name(error)}",
                state="nothing of this batch was committed",
                next_step="read the table's positions again and repeat",
                path=self.path,
                started_at_version=self.read_version,
            ) from error
        self._done = True
        if version == self.read_version + 1 and self._positions is not None:
            _known[self.path] = (self._table_id, version, {**self._positions, **positions})
        return version


def met_another_writer(error: Py4JJavaError | PySparkException) -> bool:
    """Whether Delta refused a commit because another one came first; nothing was written."""
    return any(kind in _name(error) for kind in ("Concurrent", "MetadataChanged", "ProtocolChanged"))


def _name(error: Py4JJavaError | PySparkException) -> str:
    # Once any module has imported `delta`, Delta's errors arrive as Python classes that share no base.
    java = getattr(error, "java_exception", None)
    return str(java.getClass().getSimpleName()) if java else type(error).__name__


def read_positions(spark: SparkSession, path: str) -> dict[str, int]:
    """All positions of the table at `path`, as of now."""
    return TableTransaction(spark, path).positions()


def expire_log(spark: SparkSession, path: str, keep: timedelta) -> None:
    """Delete the commits of the table's log that lie before its newest checkpoint and are older than `keep`.

    Delta's own cleaning keeps at least as much log as deleted files, seven days.
    """
    jvm = cast(Any, spark._jvm)
    none = none_of(jvm)
    log = java(jvm, f"{_DELTA}.DeltaLog").forTable(spark._jsparkSession, path)
    milliseconds = java(jvm, "java.util.OptionalLong").of(int(keep.total_seconds() * 1000))
    retention = java(jvm, "scala.jdk.javaapi.OptionConverters").toScala(milliseconds)
    minute = java(jvm, f"{_DELTA}.TruncationGranularity").MINUTE()
    log.cleanUpExpiredLogs(log.update(False, none, none), none, retention, minute)


@lru_cache(maxsize=256)
def _differing_types(table: str, given: str) -> tuple[str, ...]:
    """Columns of both schemas (JSON) whose types differ, nullability aside."""
    known, new = (types_by_name(StructType.fromJson(json.loads(text))) for text in (table, given))
    return tuple(f"{name} is {known[name]}, not {new[name]}" for name in differing_columns(known, new))


def differing_columns(known: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The names of both whose types (`types_by_name`) differ."""
    return [name for name, kind in new.items() if known.get(name, kind) != kind]


def types_by_name(schema: StructType) -> dict[str, str]:
    """Each column's type in Spark's full spelling, without nullability; all in lower case, as Spark tells names apart.

    The JVM's own `simpleString` leaves out what comes after the 25th field of a struct; this one does not.
    """
    return {field.name.lower(): field.dataType.simpleString().lower() for field in schema}


def _parse_transactions(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        inner = line.removeprefix("SetTransaction(").removesuffix(")")
        # `appId,version,lastUpdated`: lastUpdated is None or Some(ms); an app id may hold commas.
        app_id, version, _ = inner.rsplit(",", 2)
        yield app_id, int(version)
