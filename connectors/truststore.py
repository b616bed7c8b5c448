"""The authorities that the settings trust, as Java reads them: a key store of certificates, which are no secret.

Debezium's MariaDB plugin takes no PEM. The format is Java's own (JKS), whose checksum is asked for by nobody who opens
it without a password.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import struct
from pathlib import Path

from contracts.errors import PlanRefused

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_NO_PASSWORD = b"Mighty Aphrodite"


def file(data_dir: Path, part: str) -> Path:
    """Where the local deployment keeps it; not among the secrets, all of which Connect's provider reads as texts."""
    return data_dir.absolute() / "trusted" / f"{part}.jks"


def content(certificates: Path) -> bytes:
    """The same for the same certificates. PlanRefused if the file holds none or cannot be read."""
    try:
        found = [ssl.PEM_cert_to_DER_cert(text) for text in _CERTIFICATE.findall(certificates.read_text("latin-1"))]
    except (OSError, ValueError) as error:
        raise _refused(certificates, str(error)) from error
    if not found:
        raise _refused(certificates, "it holds no certificate")
    store = struct.pack(">III", _MAGIC, _VERSION, len(found))
    for number, certificate in enumerate(found):
        made_at = 0
        store += struct.pack(">I", _TRUSTED) + _text(f"authority {number}") + struct.pack(">q", made_at)
        store += _text("X.509") + struct.pack(">I", len(certificate)) + certificate
    return store + hashlib.sha1(_NO_PASSWORD + store, usedforsecurity=False).digest()


def is_written(store: Path, certificates: Path) -> bool:
    """Whether the store holds what the settings trust. Raises as `content`."""
    return store.is_file() and store.read_bytes() == content(certificates)


def write(store: Path, certificates: Path) -> None:
    """Replaces the store; a reader sees the old content or the new one. Raises as `content`."""
    made = content(certificates)
    store.parent.mkdir(parents=True, exist_ok=True)
    unfinished = store.with_suffix(".unfinished")
    unfinished.write_bytes(made)
    unfinished.replace(store)


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode("ascii")


def _refused(certificates: Path, why: str) -> PlanRefused:
    return PlanRefused(
        f"no authority can be trusted by {certificates}: {why}",
        next_step="let sslrootcert name the PEM file of the authority that signed the server's certificate",
    )
