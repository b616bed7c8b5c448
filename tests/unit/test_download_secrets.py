"""Secrets go to the declared server alone: not into files, logs and messages, not along a redirect, not out of TLS."""

from __future__ import annotations

import ipaddress
import json
import logging
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contracts.errors import Fatal, ServiceUnavailable
from tests.unit.download_server import (
    NEW,
    SECRET,
    Case,
    Handler,
    Origin,
    cut_after,
    declare_secrets,
    handler_of,
    hang_up,
    page,
    paged,
    status,
)
from tests.unit.local_http import serving


def test_secrets_are_sent(case: Case, origin: Origin) -> None:
    declare_secrets(case)
    case.get()
    assert origin.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert origin.asked[0].query == {"key": [SECRET]}


def test_secrets_are_neither_kept_nor_logged_nor_told(
    case: Case, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "urllib3")  # as the command line does
    declare_secrets(case)

    def echo(to: Handler) -> None:
        said = f"{to.path} {to.last.headers['authorization']} {json.dumps(SECRET)}"
        to.say(503 if len(origin.asked) < 3 else 403, said.encode())

    origin.script.extend([echo, hang_up, echo])
    with pytest.raises(Fatal, match=r"\*\*\*\*\*") as refused:
        case.get()
    found = case.get()
    origin.script.append(cut_after(200_000))
    origin.become(NEW, '"v2"')
    case.declared["attempts"] = 1
    with pytest.raises(ServiceUnavailable) as unavailable:
        case.get()
    kept = "".join(path.read_text(errors="replace") for path in case.data_dir.rglob("*.json"))
    told = f"{refused.value!r} {refused.value} {unavailable.value} {found} {kept} {caplog.text}"
    assert "hush" not in told
    assert found.url.endswith("?key=${TOKEN}")
    assert "${TOKEN}" in kept
    assert refused.value.__cause__ is None


def test_a_variable_that_is_not_set_is_named_before_anything_is_asked(case: Case, origin: Origin) -> None:
    declare_secrets(case)
    with pytest.raises(Fatal, match="environment variable TOKEN is not set"):
        case.get(environment={})
    assert origin.asked == []


@pytest.mark.parametrize("value", ["hush\r\nX: y", "hush\x00"])
def test_a_secret_that_would_be_a_second_header_is_refused_unseen(case: Case, origin: Origin, value: str) -> None:
    declare_secrets(case)
    with pytest.raises(Fatal, match="control character") as refused:
        case.get(environment={"TOKEN": value})
    assert "hush" not in str(refused.value)
    assert origin.asked == []


def test_a_netrc_does_not_replace_a_declared_header(
    case: Case, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_secrets(case)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    case.get()
    assert origin.asked[0].headers["authorization"] == f"Bearer {SECRET}"


def test_a_redirect_within_the_host_keeps_the_headers(case: Case, origin: Origin) -> None:
    declare_secrets(case)
    origin.script.append(status(302, Location="/elsewhere.csv"))
    case.get()
    assert origin.asked[1].path == "/elsewhere.csv"
    assert origin.asked[1].headers["x-key"] == SECRET


def test_a_redirect_to_another_host_gets_no_secret_and_none_on_the_way_back(
    case: Case, origin: Origin, servers: Callable[[], Origin]
) -> None:
    declare_secrets(case)
    other = servers()
    origin.script.append(status(307, Location=f"{other.url}/a"))
    other.script.append(status(302, Location=f"{origin.url}/b"))
    case.get()
    for asked in (other.asked[0], origin.asked[1]):
        assert "authorization" not in asked.headers
        assert "x-key" not in asked.headers
        assert asked.headers["x-open"] == "yes"


def test_five_redirects_are_followed_and_six_are_not(case: Case, origin: Origin) -> None:
    origin.script.extend([status(302, Location="/again")] * 5)
    assert case.get().state == "fetched"
    origin.script.extend([status(302, Location="/again")] * 6)
    with pytest.raises(Fatal, match="more than 5 redirects"):
        case.get()


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1/", "http://a:x/"])
def test_a_redirect_to_what_is_no_http_address_is_refused(case: Case, origin: Origin, location: str) -> None:
    origin.script.append(status(302, Location=location))
    with pytest.raises(Fatal, match="no http or https address"):
        case.get()


@pytest.fixture
def encrypted(origin: Origin, tmp_path: Path) -> Iterator[Path]:
    """A second port of the same server that speaks TLS; gives its certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2100, 1, 1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = made.add_extension(address, critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (tmp_path / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(handler_of(origin), context) as url:
        origin.more["X_Plain"], origin.url = origin.url, url
        yield tmp_path / "cert.pem"


@pytest.mark.usefixtures("encrypted")
def test_a_certificate_that_is_not_trusted_is_refused_at_once(case: Case, origin: Origin) -> None:
    with pytest.raises(Fatal, match="certificate is not trusted"):
        case.get()
    assert origin.asked == []
    assert case.slept == []


def test_a_redirect_or_link_from_https_to_http_is_not_followed(
    case: Case, origin: Origin, encrypted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(encrypted))
    plain = origin.more.pop("X_Plain")
    assert case.get().state == "fetched"
    origin.script.append(status(302, Location=f"{plain}/x"))
    with pytest.raises(Fatal, match=r"from https to http, at 127\.0\.0\.1"):
        case.get()
    paged(case, kind="link")
    origin.script.append(lambda to: page(to, "1", Link=f'<{plain}/x>; rel="next"'))
    with pytest.raises(Fatal, match="from https to http"):
        case.get()
    assert len(origin.asked) == 3
