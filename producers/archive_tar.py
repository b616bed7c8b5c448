"""Read a tar as a stream of its files. TarFile of the standard library would take a broken header for the end of the
archive, read a header of any size into memory and follow a negative size back: only its reading of a block is used."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator

from producers.archives import PIECE_BYTES, ArchiveRefused, Entry, Read, check_name, pieces_of, shown, wanted

_BLOCK_BYTES = 512
_EXTENSION_LIMIT_BYTES = 1 << 20  # a pax header or a long name
_EXTENSIONS = {
    tarfile.XHDTYPE: "path",
    tarfile.SOLARIS_XHDTYPE: "path",
    tarfile.XGLTYPE: "global",
    tarfile.GNUTYPE_LONGNAME: "name",
    tarfile.GNUTYPE_LONGLINK: "link",
}
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_TYPES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_PAX_RECORD = re.compile(rb"([0-9]{1,7}) ([^=]+)=")


def tar_entries(read: Read) -> Iterator[Entry]:
    """The files of a tar (ustar, GNU, pax), which must end with two empty blocks and nothing but zeros after them.

    Raises:
        ArchiveRefused: cut, damaged, two archives in one, or a member that is neither a plain file nor a folder.
    """
    long_name, pax = b"", dict[bytes, bytes]()
    while (block := _exactly(read, _BLOCK_BYTES)).strip(b"\0"):
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as problem:
            raise ArchiveRefused(f"it is damaged: {problem}") from None
        if kind := _EXTENSIONS.get(header.type):
            payload = _extension(read, header)
            if kind == "name":
                long_name = payload.rstrip(b"\0")
            elif kind == "path":
                pax = _pax_records(payload)
            elif kind == "global" and (_pax_records(payload).keys() & {b"path", b"size"}):
                raise ArchiveRefused("it gives one name or one size to all its members")
            continue
        name = (pax.get(b"path") or long_name).decode("utf-8", "surrogateescape") or header.name
        size = _tar_size(name, header, pax)
        if not header.isdir():
            pieces = _tar_pieces(read, size, name)
            if wanted(name):
                yield Entry(name, pieces)
            for _ in pieces:
                pass
            _exactly(read, -size % _BLOCK_BYTES)
        else:
            check_name(name)
        long_name, pax = b"", {}
    if long_name or pax or _exactly(read, _BLOCK_BYTES).strip(b"\0"):
        raise ArchiveRefused("it is damaged: an empty block stands in its middle")
    if any(piece.strip(b"\0") for piece in pieces_of(read)):
        raise ArchiveRefused("it goes on after its end: are these two archives, one after the other?")


def _tar_size(name: str, header: tarfile.TarInfo, pax: dict[bytes, bytes]) -> int:
    """How many bytes of content follow; refuses what is no file."""
    if any(key.startswith(b"GNU.sparse.") for key in pax):
        raise ArchiveRefused(f"it holds a sparse file: {shown(name)}")
    if header.type not in _FILES and not header.isdir():
        what = _TYPES.get(header.type, f"a member of the unknown type {header.type!r}")
        target = f" -> {shown(header.linkname)}" if header.issym() or header.islnk() else ""
        raise ArchiveRefused(f"it holds {what}: {shown(name)}{target}")
    declared = pax.get(b"size", b"%d" % header.size)
    if not re.fullmatch(rb"[0-9]{1,19}", declared):
        raise ArchiveRefused(f"it is damaged: the size of {shown(name)} is no number of bytes")
    return int(declared)


def _tar_pieces(read: Read, size: int, name: str) -> Iterator[bytes]:
    while size:
        piece = read(min(size, PIECE_BYTES))
        if not piece:
            raise ArchiveRefused(f"it is cut off within {shown(name)}")
        size -= len(piece)
        yield piece


def _extension(read: Read, header: tarfile.TarInfo) -> bytes:
    if not 0 <= header.size <= _EXTENSION_LIMIT_BYTES:
        raise ArchiveRefused(f"it is damaged: a header of {header.size} bytes")
    return _exactly(read, header.size + -header.size % _BLOCK_BYTES)[: header.size]


def _pax_records(payload: bytes) -> dict[bytes, bytes]:
    records, at = dict[bytes, bytes](), 0
    while at < len(payload):
        match = _PAX_RECORD.match(payload, at)
        end = at + int(match[1]) if match else at
        if match is None or end <= match.end() or payload[end - 1 : end] != b"\n":
            raise ArchiveRefused("it is damaged: an extended header cannot be read")
        records[match[2]] = payload[match.end() : end - 1]
        at = end
    return records


def _exactly(read: Read, size: int) -> bytes:
    found = b""
    while len(found) < size:
        if not (piece := read(size - len(found))):
            raise ArchiveRefused("it is cut off")
        found += piece
    return found
