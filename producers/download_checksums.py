"""What a server says its content's SHA-256 or MD5 is, in headers and in checksum files, as hexadecimal digits."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

_BY_BYTES = {32: "sha256", 16: "md5"}
_BY_NAME = {"sha-256": "sha256", "sha256": "sha256", "md5": "md5"}
_HEX = re.compile(r"(?<![0-9A-Za-z+/=_-])(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{32})(?![0-9A-Za-z+/=_-])")


def read_digest(text: str) -> tuple[str, str] | None:
    """hashlib's name and the hexadecimal digits of one digest, told apart by its length; None if it is none.

    Hexadecimal or base64, alone or after `sha256:` and the like, also in quotes.
    """
    bare = re.sub(r"^(?i:sha-?256|md5)[:=]", "", text.strip().strip('"')).strip(': "')
    if _HEX.fullmatch(bare):
        return _BY_BYTES[len(bare) // 2], bare.lower()
    try:
        content = base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError):
        return None
    return (_BY_BYTES[len(content)], content.hex()) if len(content) in _BY_BYTES else None


def header_digests(headers: Mapping[str, str]) -> dict[str, str]:
    """What Content-MD5, Digest (RFC 3230), Content-Digest and Repr-Digest (RFC 9530) say of a whole answer (status
    200). Algorithms other than SHA-256 and MD5, and what cannot be read, are passed over."""
    found: dict[str, str] = {}
    for part in _parts(headers):
        name, _, value = part.partition("=")
        digest = read_digest(value.strip().strip(":"))
        if digest and _BY_NAME.get(name.strip().lower()) == digest[0]:
            found[digest[0]] = digest[1]
    return found


def _parts(headers: Mapping[str, str]) -> list[str]:
    listed = ",".join(headers.get(name, "") for name in ("Digest", "Content-Digest", "Repr-Digest")).split(",")
    return [f"md5={headers.get('Content-MD5', '')}", *listed]


def file_digest(text: str, names: tuple[str, ...]) -> tuple[str, str] | None:
    """The digest that a checksum file states: its only one, or that of the one line that names one of `names`."""
    lines = [(line, found.group()) for line in text.splitlines() if (found := _HEX.search(line))]
    if len(lines) > 1:
        words = [set(re.split(r"[\s()*=]+|(?<=[\s*])\./", line)) for line, _ in lines]
        lines = [line for line, said in zip(lines, words, strict=True) if said & set(names)]
    if len({digest.lower() for _, digest in lines}) == 1:
        return read_digest(lines[0][1])
    return read_digest(text) if not lines and len(text) < 100 else None
