"""TLS to a MariaDB that lets nobody in without: it is the one that the settings trust, or nothing is said to it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from connectors import debezium, truststore
from connectors.mariadb import plan as mariadb_plan
from connectors.mariadb import source as mariadb
from connectors.mariadb.position import quiesced
from connectors.plan import Plan, apply
from connectors.postgres.plan import plan
from connectors.removal import remove
from connectors.rest import Connect
from contracts.endpoints import Endpoints, MariadbEndpoint
from contracts.errors import HeadraceError, PlanRefused, ServiceUnavailable
from contracts.settings import Settings
from contracts.stream import Column, Pipeline
from infra.mariadb import server
from tests.conftest import missing_service
from tests.services import mariadb_server
from tests.services.certificates import authority
from tests.services.mariadb_server import run
from tests.services.test_mariadb import CONFIGURED, stream_of

NAME, ADDRESS = "localhost", "127.0.0.1"


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbEndpoint]:
    """Who owns everything in a server that has a certificate for its name alone, and takes no other connection."""
    folder = tmp_path_factory.mktemp("mariadb_tls")
    trusted = authority(folder / "ca.pem")
    key, certificate = trusted.issue(NAME)
    (folder / "key.pem").write_bytes(key)
    (folder / "server.pem").write_bytes(certificate)
    tls = (f"--ssl-ca={trusted.file}", f"--ssl-cert={folder}/server.pem", f"--ssl-key={folder}/key.pem")
    try:
        server()
    except HeadraceError as error:
        missing_service(str(error))
    with mariadb_server.started(folder, *tls, "--require-secure-transport=ON") as started:
        run(started.owner, CONFIGURED)
        yield replace(started.owner, host=NAME, sslmode="verify-full", sslrootcert=str(trusted.file))


@pytest.mark.parametrize(
    "told", [{}, {"host": ADDRESS, "sslmode": "verify-ca"}, {"sslmode": "require"}], ids=["full", "authority", "any"]
)
def test_headrace_talks_to_its_server_encrypted(owner: MariadbEndpoint, told: dict[str, Any]) -> None:
    with mariadb.connected(replace(owner, **told)) as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        assert (cursor.fetchone() or ("", ""))[1]


@pytest.mark.parametrize(
    ("told", "what", "next_step"),
    [
        ({"sslrootcert": "foreign.pem"}, "certificate verify failed", "let sslrootcert, now .*foreign.pem, name"),
        ({"host": ADDRESS}, "certificate is not valid for '127.0.0.1'", "let `host` in the settings be a name of"),
        ({"sslmode": "disable"}, "Access denied", "require_secure_transport.*sslmode: verify-full, sslrootcert: /"),
        ({"sslrootcert": "none.pem"}, "No such file", "put the authority's certificate at .*none.pem"),
        ({"sslrootcert": "empty.pem"}, "", "put the authority's certificate at .*empty.pem"),
        ({"user": "nobody_here"}, "Access denied", "lets this user in, or correct the settings"),
    ],
    ids=["authority", "name", "plain", "file", "no certificate", "user"],
)
def test_any_other_is_refused_with_what_to_do(
    owner: MariadbEndpoint, told: dict[str, Any], what: str, next_step: str, tmp_path: Path
) -> None:
    authority(tmp_path / "foreign.pem")
    (tmp_path / "empty.pem").write_text("no certificate")
    wrong = other(owner, told, tmp_path)
    place = rf"\(host {wrong.host}:{wrong.port}, user {wrong.user}\)"
    with (
        pytest.raises(ServiceUnavailable, match=f"(?s){what}.*{place}\nNext: .*{next_step}"),
        mariadb.connected(wrong),
    ):
        pass


def test_a_server_without_tls_is_not_spoken_to_when_the_settings_want_it(
    mariadb_owner: MariadbEndpoint, owner: MariadbEndpoint
) -> None:
    wrong = replace(mariadb_owner, sslmode="verify-full", sslrootcert=owner.sslrootcert)
    with (
        pytest.raises(ServiceUnavailable, match=r"SSL is required.*\nNext: .*give it ssl-cert"),
        mariadb.connected(wrong),
    ):
        pass


def test_java_opens_what_is_made_of_the_certificates(tmp_path: Path) -> None:
    for name in ("one", "two"):
        authority(tmp_path / f"{name}.pem")
    both = tmp_path / "both.pem"
    both.write_text("a bundle\n" + (tmp_path / "one.pem").read_text() + (tmp_path / "two.pem").read_text())
    store = tmp_path / "trusted" / "store.jks"
    truststore.write(store, both)
    assert truststore.is_written(store, both)
    assert not truststore.is_written(store, tmp_path / "one.pem")
    keytool = shutil.which("keytool")
    assert keytool, "it comes with Java"
    listed = subprocess.run([keytool, "-list", "-keystore", store], input="\n", capture_output=True, text=True)
    assert listed.stdout.count("trustedCertEntry") == 2, listed
    with pytest.raises(PlanRefused, match=r"(?s)it holds no certificate.*\nNext: let sslrootcert name"):
        truststore.content(Path(__file__))


@dataclass(frozen=True)
class Shop:
    """One table of that server."""

    pipeline: Pipeline
    endpoints: Endpoints
    settings: Settings

    def plan(self) -> Plan:
        found = plan(self.pipeline, self.endpoints, self.settings)
        mariadb_plan.add(found, self.pipeline, self.endpoints, self.settings)
        return found


@pytest.fixture
def shop(endpoints: Endpoints, deployment: Settings, owner: MariadbEndpoint, tmp_path: Path) -> Iterator[Shop]:
    name = f"maria_{uuid4().hex[:8]}"
    role = replace(owner, user=f"reader_{name}", password=SecretStr("another's"))
    streams = (stream_of(name, "t", (Column("id", "int", required=True),), "id"),)
    reached = replace(endpoints, mariadb=owner, mariadb_replicator=role)
    run(owner, f"CREATE DATABASE {name};\nCREATE TABLE {name}.t (id int PRIMARY KEY);\nINSERT INTO {name}.t VALUES (1)")
    shop = Shop(Pipeline(name, streams, tmp_path, tmp_path, tmp_path), reached, deployment)
    yield shop
    remove(shop.pipeline, reached, with_topics=True)
    run(owner, f"DROP DATABASE {name};\nDROP USER IF EXISTS {role.user}@'%'")


def test_debezium_reads_encrypted_and_refuses_what_headrace_refuses(
    shop: Shop, owner: MariadbEndpoint, tmp_path: Path
) -> None:
    """Its two clients, of the first read and of the binlog, are others: they are told the same."""
    part = shop.pipeline.of("mariadb")
    name, role = debezium.connector_name(part), shop.endpoints.mariadb_replicator
    mariadb.grant(owner, role, mariadb.databases(part))
    # Its own default is another than that of headrace's client.
    unsaid = replace(shop.endpoints, mariadb_replicator=replace(role, sslmode="", sslrootcert=""))
    with pytest.raises(PlanRefused, match=r"(?s)Access denied.*\nNext: .*without TLS .*sslmode: verify-full"):
        apply(replace(shop, endpoints=unsaid).plan())
    authority(tmp_path / "foreign.pem")
    file = tmp_path / "mariadb.json"
    # What the worker finds there is not the server's: headrace itself reaches the server.
    foreign = tmp_path / "foreign.jks"
    truststore.write(foreign, tmp_path / "foreign.pem")
    for store, what in ((foreign, "PKIX"), (tmp_path / "none.jks", "trustStore")):
        file.write_text(json.dumps({"database.ssl.truststore": str(store)}))
        with pytest.raises(PlanRefused, match=rf"(?s){what}.*\nNext: see that the Connect worker finds .*{store.name}"):
            apply(shop.plan())
        with Connect(shop.endpoints.connect_url) as connect:
            assert connect.config(name) is None
    file.unlink()

    planned = shop.plan()
    assert "trusted authorities" in {change.kind for change in planned.changes}
    apply(planned)
    assert shop.plan().changes == []
    ((topic, read),) = quiesced(part, shop.endpoints).items()
    assert read >= 1
    run(owner, f"INSERT INTO {shop.pipeline.name}.t VALUES (2)")
    assert quiesced(part, shop.endpoints)[topic] > read
    with Connect(shop.endpoints.connect_url) as connect:
        config = connect.config(name) or {}
    assert config["database.ssl.mode"] == "verify-full"
    assert config["database.ssl.truststore"] == str(truststore.file(shop.settings.data_dir, part.name))
    assert role.password.get_secret_value() not in json.dumps(config)


def other(right: MariadbEndpoint, told: dict[str, Any], folder: Path) -> MariadbEndpoint:
    """The same server, asked for in another way."""
    return replace(
        right, **{name: str(folder / text) if text.endswith(".pem") else text for name, text in told.items()}
    )
