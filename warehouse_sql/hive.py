"""Queries over HiveServer2 (Spark's Thrift server), as any other client would ask them."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

import thrift_sasl
from pyhive import hive
from pyhive.exc import Error as HiveError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed
from thrift.Thrift import TException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TTransportException

from contracts.current import CUT_MOVED
from contracts.endpoints import Endpoints
from contracts.errors import Conflict, Fatal, ServiceUnavailable

CLOSES_WITHIN_S = 10
TRIES = 4


def query(
    endpoint: Endpoints,
    sql: str,
    limit: int = 1000,
    database: str = "default",
    parameters: Mapping[str, object] | None = None,
) -> tuple[list[str], list[Sequence[object]]]:
    """Run one statement; column names and at most `limit` rows. Fetches no more than it returns.

    `parameters` are bound to `%(name)s` in the statement; without any a percent sign is just that. Asked again a few
    times where it met a consistent cut that moved.

    Raises:
        ServiceUnavailable: nothing answers there. Conflict: the cut moved each time. Fatal: the statement was refused.
    """
    again = Retrying(
        retry=retry_if_exception_type(Conflict), stop=stop_after_attempt(TRIES), wait=wait_fixed(0.5), reraise=True
    )
    return again(_query, endpoint, sql, limit, database, parameters)


def _query(
    endpoint: Endpoints, sql: str, limit: int, database: str, parameters: Mapping[str, object] | None
) -> tuple[list[str], list[Sequence[object]]]:
    where: dict[str, Any] = {"host": endpoint.sql_host, "port": endpoint.sql_port}
    with session(endpoint, database) as connection:
        try:
            # Closed by the end of the session: of its own, it would wait without a limit.
            cursor = connection.cursor(arraysize=min(limit, 1000))
            cursor.execute(sql.strip().rstrip(";"), parameters)
            if cursor.description is None:
                return [], []
            columns = [name.rpartition(".")[2] for name, *_ in cursor.description]
            return columns, cursor.fetchmany(limit)
        except HiveError as error:
            what = f"the statement was refused: {reason(error)}"
            if CUT_MOVED in what:
                raise Conflict(CUT_MOVED, state="Nothing was answered.", next_step="run it again", **where) from error
            raise Fatal(what, next_step="correct the statement", **where) from error
        except (OSError, TTransportException) as error:
            raise ServiceUnavailable(
                f"the SQL endpoint went away: {error}",
                state="Nothing was answered.",
                next_step="look at `headrace status`, and ask again",
                **where,
            ) from error


@contextmanager
def session(endpoint: Endpoints, database: str) -> Iterator[hive.Connection]:
    """A session with auth NONE. Its end takes at most `CLOSES_WITHIN_S`, its beginning and what is asked in between as
    long as the endpoint says. Leave cursors to the end of the session.

    Raises:
        ServiceUnavailable: nothing answers there.
    """
    socket = TSocket(endpoint.sql_host, endpoint.sql_port)
    socket.setTimeout(endpoint.sql_opens_s * 1000)
    user = getpass.getuser()
    sasl = partial(
        hive.get_installed_sasl, host=endpoint.sql_host, sasl_auth="PLAIN", service=None, username=user, password=user
    )
    transport = thrift_sasl.TSaslClientTransport(sasl, "PLAIN", socket)
    try:
        connection = hive.connect(thrift_transport=transport, username=user, database=database)
    except (OSError, TTransportException, HiveError) as error:
        raise ServiceUnavailable(
            f"the SQL endpoint does not answer: {error}",
            next_step="look at `headrace status`",
            host=endpoint.sql_host,
            port=endpoint.sql_port,
        ) from error
    socket.setTimeout(endpoint.sql_answer_s * 1000 if endpoint.sql_answer_s else None)
    with closing(transport):
        try:
            yield connection
        except ServiceUnavailable:
            raise  # nobody is there to end it
        except Exception:
            _end(connection, socket)
            raise
        # Not after Ctrl-C: what was asked runs on there, and the end would be answered only after it.
        _end(connection, socket)


def _end(connection: hive.Connection, socket: TSocket) -> None:
    # The answers are here: that the endpoint stumbles over the end of its session changes nothing.
    socket.setTimeout(CLOSES_WITHIN_S * 1000)
    with suppress(HiveError, OSError, TException):
        connection.close()


def reason(error: HiveError) -> str:
    """What the endpoint said, in one line."""
    status = getattr(error.args[0], "status", None) if error.args else None
    message = getattr(status, "errorMessage", None) or str(error)
    # After the first line comes the whole query plan or a stack trace.
    return str(message).removeprefix("Error running query: ").splitlines()[0]
