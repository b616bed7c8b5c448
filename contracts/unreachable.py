"""What to do when a database did not accept a connection: read from the client's words, which are all that it tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from contracts.endpoints import MariadbEndpoint, PostgresEndpoint

_JDBC_OF_TLS = ("SSL error", "SSL root", "PKIX", "hostnameverifier")
# MariaDB says no more than "Access denied", whatever it was for.
_PERHAPS_FOR_TLS = (
    "see that the server lets this user in; if it lets nobody in without TLS (require_secure_transport, REQUIRE SSL): "
    "settings: mariadb: {sslmode: verify-full, sslrootcert: /path/ca.pem}"
)
_MARIADB_OF_TLS = ("PKIX", "trustStore", "SSL", "certificate")


def next_step(why: str, endpoint: PostgresEndpoint) -> str:
    """What a person does about a refusal for TLS or the want of a WAL sender; empty if it was refused for something
    else."""
    if "max_wal_senders" in why:
        return (
            "all WAL senders are taken (see pg_stat_replication): the connector keeps one, and headrace asks over "
            "another which server it is: ALTER SYSTEM SET max_wal_senders to more, and restart the server"
        )
    if "certificate verify failed" in why:
        return _another_authority(endpoint, "postgres")
    if "does not match host name" in why:
        return _another_name(endpoint)
    if endpoint.sslmode == "disable" and why.endswith("no encryption"):
        return (
            "the server lets nobody in from here without TLS: settings: sslmode: verify-full, sslrootcert: /path/ca.pem"
        )
    if "does not support SSL" in why:
        return (
            f"sslmode {endpoint.sslmode} wants TLS and the server speaks none: set ssl = on there, with a certificate "
            "and its key; sslmode disable would send all rows readable"
        )
    if "root certificate file" in why:
        return "put the authority's certificate there, or correct sslrootcert in the settings"
    return ""


def next_step_mariadb(why: str, endpoint: MariadbEndpoint) -> str:
    """As `next_step`, in the words of pymysql."""
    if "Hostname mismatch" in why or "is not valid for" in why:
        return _another_name(endpoint)
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return _another_authority(endpoint, "mysql")
    if endpoint.sslmode == "disable" and "Access denied" in why:
        return _PERHAPS_FOR_TLS
    if "SSL is required" in why:
        return (
            f"sslmode {endpoint.sslmode} wants TLS and the server speaks none: give it ssl-cert and ssl-key; sslmode "
            "disable would send all rows readable"
        )
    if endpoint.sslmode.startswith("verify-") and ("No such file" in why or "[X509" in why or "[SSL]" in why):
        return f"put the authority's certificate at {endpoint.sslrootcert}, or correct sslrootcert in the settings"
    return ""


def _another_authority(endpoint: PostgresEndpoint | MariadbEndpoint, protocol: str) -> str:
    return (
        "do not go round this before you know who answers there: "
        f"let sslrootcert, now {endpoint.sslrootcert}, name the file of the authority that signed the server's "
        "certificate, and see that it has not expired: "
        f"openssl s_client -starttls {protocol} -showcerts -connect {endpoint.host}:{endpoint.port}"
    )


def _another_name(endpoint: PostgresEndpoint | MariadbEndpoint) -> str:
    return (
        "let `host` in the settings be a name of the server's certificate, or give the server a certificate for "
        f"{endpoint.host}; sslmode verify-ca would believe every server of this authority"
    )


def worker_step(wrong: Collection[str], config: Mapping[str, str]) -> str:
    """The same of a Connect worker's refusal, told by its driver: it has the settings' words, and files of its own."""
    if (store := config.get("database.ssl.truststore")) and any(
        word in text for text in wrong for word in _MARIADB_OF_TLS
    ):
        return (
            f"see that the Connect worker finds the trusted authorities at {store} on its own machine (headrace makes "
            "them of sslrootcert), or name where they are there in the pipeline's mariadb.json: {\"database.ssl."
            'truststore": "…"}; database.hostname must be a name of the server\'s certificate'
        )
    if (
        config.get("connector.class", "").endswith("MariaDbConnector")
        and config.get("database.ssl.mode", "disable") == "disable"
        and any("Access denied" in text for text in wrong)
    ):
        return _PERHAPS_FOR_TLS
    if "database.sslrootcert" not in config or not any(word in text for text in wrong for word in _JDBC_OF_TLS):
        return ""
    return (
        f"see that the Connect worker finds the authority's certificate at {config['database.sslrootcert']} on its own "
        'machine, or name where it is there in the pipeline\'s postgres.json: {"database.sslrootcert": "…"}; database.'
        "hostname must be a name of the server's certificate"
    )
