"""What to do when Postgres did not accept a connection: read from libpq's words, which are all that it tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.endpoints import PostgresEndpoint

_JDBC_OF_TLS = ("SSL error", "SSL root", "PKIX", "hostnameverifier")


def next_step(why: str, endpoint: PostgresEndpoint) -> str:
    """What a person does about a refusal for TLS; empty if it was refused for something else."""
    if "certificate verify failed" in why:
        return (
            "do not go round this before you know who answers there: "
            f"let sslrootcert, now {endpoint.sslrootcert}, name the file of the authority that signed the server's "
            "certificate, and see that it has not expired: "
            f"openssl s_client -starttls postgres -showcerts -connect {endpoint.host}:{endpoint.port}"
        )
    if "does not match host name" in why:
        return (
            "let `host` in the settings be a name of the server's certificate, or give the server a certificate for "
            f"{endpoint.host}; sslmode verify-ca would believe every server of this authority"
        )
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


def worker_step(wrong: Iterable[str], config: Mapping[str, str]) -> str:
    """The same of a Connect worker's refusal, told by its driver: it has the settings' words, and files of its own."""
    if "database.sslrootcert" not in config or not any(word in text for text in wrong for word in _JDBC_OF_TLS):
        return ""
    return (
        f"see that the Connect worker finds the authority's certificate at {config['database.sslrootcert']} on its own "
        'machine, or name where it is there in the pipeline\'s postgres.json: {"database.sslrootcert": "…"}; database.'
        "hostname must be a name of the server's certificate"
    )
