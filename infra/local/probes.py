"""Readiness checks in each part's own protocol; each returns when the part answers and raises until then."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

import psycopg2
import requests
import thrift_sasl
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pyhive import hive
from pyhive.exc import Error as HiveError
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TException, TMessageType
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport

from contracts.endpoints import PostgresEndpoint
from infra.local.part import NotReady

PROBE_TIMEOUT_S = 5
SQL_TIMEOUT_S = 60  # its first statement loads half of Spark
SQL_LOOK_S = 10


def tcp(host: str, port: int) -> None:
    """Something accepts connections."""
    with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
        return


def tcp_url(url: str, default_port: int) -> None:
    """Something accepts connections at the URL's host and port."""
    address = urlsplit(url)
    tcp(address.hostname or "", address.port or default_port)


def postgres(endpoint: PostgresEndpoint) -> None:
    """The role can log in to the database and run a query."""
    try:
        connection = psycopg2.connect(**endpoint.dsn(), connect_timeout=PROBE_TIMEOUT_S)
    except psycopg2.Error as error:
        raise NotReady(str(error).strip()) from None
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    finally:
        connection.close()


def kafka(bootstrap_servers: str) -> None:
    """A broker answers a metadata request."""
    host, _, port = bootstrap_servers.split(",")[0].rpartition(":")
    tcp(host, int(port))  # cheap, and quiet while nothing listens
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        admin.list_topics(timeout=PROBE_TIMEOUT_S)
    except KafkaException as error:
        raise NotReady(repr(error)) from None


def connect(url: str) -> None:
    """The worker lists its plugins (404 for some seconds before) and its connectors (409, 500 while it rebalances)."""
    plugins = _get(f"{url}/connector-plugins")
    if not any("PostgresConnector" in str(plugin) for plugin in plugins):
        raise NotReady("Debezium's Postgres connector is not among the plugins")
    _get(f"{url}/connectors")


def namenode(http_url: str, datanodes: int) -> None:
    """Out of safe mode, with that many live DataNodes."""
    state = _bean(http_url, "FSNamesystemState")
    live = int(str(state["NumLiveDataNodes"]))
    if live < datanodes:
        raise NotReady(f"{live} of {datanodes} DataNodes are live")
    if safe_mode := _bean(http_url, "NameNodeInfo")["Safemode"]:
        raise NotReady(str(safe_mode))


def namenode_answers(http_url: str) -> None:
    """The NameNode has started; it may still be in safe mode without DataNodes."""
    _bean(http_url, "FSNamesystemState")


def metastore(uri: str) -> None:
    """The metastore answers `get_all_databases` (empty struct in, reply out) over Thrift."""
    address = urlsplit(uri)
    tcp(address.hostname or "", address.port or 0)
    transport = TBufferedTransport(TSocket(address.hostname, address.port))
    transport._TBufferedTransport__trans.setTimeout(PROBE_TIMEOUT_S * 1000)
    try:
        transport.open()
        protocol = TBinaryProtocol(transport)
        protocol.writeMessageBegin("get_all_databases", TMessageType.CALL, 1)
        protocol.writeStructBegin("get_all_databases_args")
        protocol.writeFieldStop()
        protocol.writeStructEnd()
        protocol.writeMessageEnd()
        transport.flush()
        _name, kind, _sequence = protocol.readMessageBegin()
        if kind != TMessageType.REPLY:
            raise NotReady("the metastore answered with an exception")
    except TException as error:
        raise NotReady(repr(error)) from None
    finally:
        transport.close()


def sql(host: str, port: int, answer_s: float = SQL_TIMEOUT_S) -> None:
    """HiveServer2 runs `select 1`."""
    tcp(host, port)
    connecting = TSocket(host, port)
    connecting.setTimeout(answer_s * 1000)
    user = "headrace"
    sasl = partial(hive.get_installed_sasl, host=host, sasl_auth="PLAIN", service=None, username=user, password=user)
    transport = thrift_sasl.TSaslClientTransport(sasl, "PLAIN", connecting)
    try:
        with closing(hive.connect(thrift_transport=transport, username=user)) as connection:
            cursor = connection.cursor()
            cursor.execute("select 1")
            if cursor.fetchall() != [(1,)]:
                raise NotReady("`select 1` did not give 1")
    except (TException, HiveError, OSError) as error:
        raise NotReady(repr(error)) from None


def _get(url: str) -> list[object]:
    try:
        answer = requests.get(url, timeout=PROBE_TIMEOUT_S)
    except requests.RequestException as error:
        raise NotReady(repr(error)) from None
    if answer.status_code != 200:
        raise NotReady(f"{url} answers {answer.status_code}")
    return list(answer.json())


def _bean(http_url: str, name: str) -> dict[str, object]:
    try:
        answer = requests.get(
            f"{http_url}/jmx", params={"qry": f"Hadoop:service=NameNode,name={name}"}, timeout=PROBE_TIMEOUT_S
        )
        beans = json.loads(answer.text)["beans"]
    except (requests.RequestException, ValueError, KeyError) as error:
        raise NotReady(repr(error)) from None
    if not beans:
        raise NotReady(f"the NameNode does not show {name} yet")
    return dict(beans[0])
