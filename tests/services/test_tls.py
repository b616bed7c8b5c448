"""TLS to a source or a warehouse that lets nobody in without: it is the server that the settings trust, or nothing is
said to it.

That Debezium streams over such a connection is shown by `test_types.py`, whose connector reads the same server.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.plan import apply
from connectors.postgres import lost_slot, source
from connectors.rest import Connect
from contracts.endpoints import Endpoints, PostgresEndpoint
from contracts.errors import PlanRefused, ServiceUnavailable
from contracts.settings import Settings
from headrace.lease import Lease
from tests.services.certificates import authority
from tests.services.test_connectors_plan import new_shop, remove_shop
from warehouse_sql import postgres_target

ANOTHER_AUTHORITY, ANOTHER_NAME = {"sslrootcert": "foreign.pem"}, {"host": "127.0.0.1"}

DEBEZIUM_SAYS = (
    (ANOTHER_AUTHORITY, r"(?s)PKIX.*\nNext: see that the Connect worker finds .*/foreign\.pem"),
    (
        {"sslrootcert": "none.pem"},
        r"(?s)Could not open SSL root.*\nNext: see that the Connect worker finds .*/none\.pem",
    ),
    (ANOTHER_NAME, r"(?s)hostname 127\.0\.0\.1 could not.*\nNext: .*must be a name of the server's certificate"),
    ({"sslmode": "disable"}, 'for host "127.0.0.1", user "replicator", .*, no encryption'),
)


def other(right: PostgresEndpoint, told: dict[str, Any], folder: Path) -> PostgresEndpoint:
    """The same server, asked for in another way; `foreign.pem` is an authority that signed nothing here."""
    authority(folder / "foreign.pem")
    return replace(
        right, **{name: str(folder / text) if text.endswith(".pem") else text for name, text in told.items()}
    )


@pytest.mark.parametrize("told", [{}, ANOTHER_NAME | {"sslmode": "verify-ca"}], ids=["full", "authority"])
def test_headrace_talks_to_its_server_encrypted(
    contrib_owner: PostgresEndpoint, told: dict[str, Any], tmp_path: Path
) -> None:
    endpoint = other(contrib_owner, told, tmp_path)
    with source.connected(endpoint) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchall() == [(True,)]
    assert lost_slot.identify(endpoint).timeline == 1
    # As a warehouse, and with a lease, which is a session there for as long as it is held.
    lease = Lease(endpoint, "encrypted run")
    lease.acquire()
    try:
        with postgres_target.transaction(endpoint, "public") as cursor:
            cursor.execute(
                "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE pid = pg_backend_pid() OR application_name LIKE 'headrace encrypted run %'"
            )
            assert cursor.fetchall() == [(True,), (True,)]
    finally:
        lease.release()


@pytest.mark.parametrize(
    ("told", "what", "next_step"),
    [
        (ANOTHER_AUTHORITY, "certificate verify failed", "let sslrootcert, now .*foreign.pem, name the file"),
        (ANOTHER_NAME, 'does not match host name "127.0.0.1"', "let `host` in the settings be a name of"),
        ({"sslmode": "disable"}, "no encryption", "sslmode: verify-full, sslrootcert: /"),
        ({"sslrootcert": "none.pem"}, 'root certificate file ".*none.pem" does not exist', "put the .* there"),
        ({"user": "nobody_here"}, "password authentication failed", "lets this user in, or correct the settings"),
    ],
    ids=["authority", "name", "plain", "file", "user"],
)
def test_any_other_is_refused_with_what_to_do(
    contrib_owner: PostgresEndpoint, told: dict[str, Any], what: str, next_step: str, tmp_path: Path
) -> None:
    wrong = other(contrib_owner, told, tmp_path)
    place = rf"\(host {wrong.host}:{wrong.port}, database postgres, user {wrong.user}\)"
    with pytest.raises(ServiceUnavailable, match=f"(?s){what}.*{place}\nNext: .*{next_step}"), source.connected(wrong):
        pass
    if "user" not in told:
        with pytest.raises(ServiceUnavailable, match=f"(?s){what}.*\nNext: .*{next_step}"):
            lost_slot.identify(wrong)
    with (
        pytest.raises(ServiceUnavailable, match=f"(?s){what}.*\nNext: .*{next_step}"),
        postgres_target.transaction(wrong, "public"),
    ):
        pass
    advice = "headrace status" if "user" in told else next_step
    with pytest.raises(ServiceUnavailable, match=f"(?s){what}.*\nNext: .*{advice}"):
        Lease(wrong, "encrypted run").acquire()


def test_a_server_without_tls_is_not_spoken_to_when_the_settings_want_it(
    endpoints: Endpoints, contrib_owner: PostgresEndpoint
) -> None:
    wrong = replace(endpoints.source, sslmode="verify-full", sslrootcert=contrib_owner.sslrootcert)
    with (
        pytest.raises(ServiceUnavailable, match=r"does not support SSL.*\nNext: .*set ssl = on"),
        source.connected(wrong),
    ):
        pass


def test_debezium_refuses_what_headrace_refuses(
    endpoints: Endpoints, deployment: Settings, contrib_owner: PostgresEndpoint, tmp_path: Path
) -> None:
    """Its driver is another one: the connector is told the same, and is not made."""
    replicator = replace(contrib_owner, user="replicator", password=SecretStr("theirs"))
    right = replace(endpoints, source=contrib_owner, replicator=replicator)
    shop = new_shop(right, deployment, tmp_path, "orders")
    try:
        for told, what in DEBEZIUM_SAYS:
            wrong = replace(right, replicator=other(replicator, told, tmp_path))
            with pytest.raises(PlanRefused, match=what):
                apply(replace(shop, endpoints=wrong).plan())
        with Connect(endpoints.connect_url) as connect:
            assert shop.pipeline.name not in connect.connectors()
    finally:
        remove_shop(shop)
