"""Read a zip as its files. ZipFile of the standard library would pass over bytes around the archive and unpack bzip2
and lzma without any bound in memory: those are looked after here."""

from __future__ import annotations

import bz2
import copy
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from producers.archives import PIECE_BYTES, ArchiveRefused, Entry, Spend, check_name, pieces_of, shown, wanted

_READ_LIMIT_BYTES = 16 << 20  # zipfile reads the list of members at once; 10,000 of them take about 2 MiB
_LZMA_MEMORY_LIMIT_BYTES = 128 << 20
_END = struct.Struct("<4s6xH8xH")
_END_64 = struct.Struct("<4s28xQ36x")  # with the locator between it and the end
_END_MAGIC = b"PK\x05\x06"


class _CappedReader:
    """A file that zipfile cannot make read more at once than a list of members may take."""

    def __init__(self, source: BinaryIO) -> None:
        self.seek, self.tell, self.seekable = source.seek, source.tell, source.seekable
        self._read = source.read

    def read(self, size: int = -1, /) -> bytes:
        """As the file's own, but refuses what no honest archive makes zipfile ask for."""
        if size > _READ_LIMIT_BYTES:
            raise ArchiveRefused(f"its list of members takes {size} bytes, at most {_READ_LIMIT_BYTES} are read")
        return self._read(size)


def zip_entries(source: BinaryIO, spend: Spend) -> Iterator[Entry]:
    """The files of a zip that begins and ends where the file does.

    Raises:
        ArchiveRefused: cut, damaged, encrypted, an unknown method, or a member that is neither a file nor a folder.
    """
    size = source.seek(0, 2)
    count = _counted_members(source, size)
    try:
        archive = zipfile.ZipFile(_CappedReader(source))
    except UnicodeDecodeError:
        raise ArchiveRefused("the name of a member is not UTF-8, though it is said to be") from None
    except (zipfile.BadZipFile, NotImplementedError) as problem:
        raise ArchiveRefused(f"it is damaged: {problem}") from None
    with archive:
        members = archive.infolist()
        if len(members) != count:
            raise ArchiveRefused(f"it is damaged: its list has {len(members)} members, its end says {count}")
        if members and min(info.header_offset for info in members) != 0:
            # A cut zip may end with one of its members that is a zip too, whose members would be taken for its own.
            raise ArchiveRefused("it is damaged: other bytes stand before its first member")
        for info in members:
            name = _name(info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a symbolic link" if kind == stat.S_IFLNK else "a device or a pipe"
                raise ArchiveRefused(f"it holds {what}: {shown(name)}")
            if name.endswith("/") or kind == stat.S_IFDIR:
                check_name(name)
                if info.file_size:
                    raise ArchiveRefused(f"it is damaged: the folder {shown(name)} has content")
            elif wanted(name):
                if info.header_offset >= size:
                    raise ArchiveRefused(f"it is damaged: {shown(name)} lies behind its end")
                if info.flag_bits & 0x41:
                    raise ArchiveRefused(f"it is encrypted: {shown(name)}")
                yield Entry(name, _zip_pieces(archive, info, spend))


def _name(info: zipfile.ZipInfo) -> str:
    """The whole name (`filename` ends at the first NUL). Info-ZIP writes UTF-8 without saying so where zipfile does not
    look; other bytes without the flag for UTF-8 are code page 437, as the format says."""
    if not info.flag_bits & 0x800:
        try:
            return info.orig_filename.encode("cp437").decode("utf-8")
        except UnicodeDecodeError:
            pass
    return info.orig_filename


def _counted_members(source: BinaryIO, size: int) -> int:
    """Find the end as zipfile does, which would take one that other bytes follow, and which never looks how many
    members it states."""
    source.seek(max(0, size - _END_64.size - _END.size - 0xFFFF))
    tail = source.read(_END_64.size + _END.size + 0xFFFF)
    start = max(0, len(tail) - _END.size)
    if not (tail.startswith(_END_MAGIC, start) and tail.endswith(b"\0\0")):
        start = max(0, tail.rfind(_END_MAGIC))
    magic, count, comment_bytes = _END.unpack(tail[start : start + _END.size].ljust(_END.size, b"\0"))
    if magic != _END_MAGIC or start + _END.size + comment_bytes != len(tail):
        raise ArchiveRefused("it is cut off, or other bytes follow its end")
    if count == 0xFFFF and start >= _END_64.size:
        magic, count_64 = _END_64.unpack(tail[start - _END_64.size : start])
        count = count_64 if magic == b"PK\x06\x06" else count
    return int(count)


def _zip_pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, spend: Spend) -> Iterator[bytes]:
    """The content of a member; what its header says of it is compared at the end and decides nothing before."""
    bounded = info.compress_type not in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    crc, count = 0, 0
    try:
        for piece in _inflated(archive, info) if bounded else _decompressed(archive, info):
            spend(len(piece))
            crc, count = zlib.crc32(piece, crc), count + len(piece)
            yield piece
    except EOFError:
        raise ArchiveRefused(f"it is cut off within {shown(_name(info))}") from None
    except NotImplementedError as problem:
        raise ArchiveRefused(f"{shown(_name(info))} is packed in a way that is not read: {problem}") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, UnicodeDecodeError) as problem:
        raise ArchiveRefused(f"it is damaged at {shown(_name(info))}: {problem}") from None
    if (crc, count) != (info.CRC, info.file_size):
        raise ArchiveRefused(f"it is damaged at {shown(_name(info))}: checksum or size differ")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as packed:
        yield from pieces_of(packed.read)


def _decompressed(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Unpack bzip2 and lzma, for which zipfile sets no bound: 4 KiB of bzip2 can become gigabytes in memory."""
    raw = copy.copy(info)
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
    del raw.CRC
    with archive.open(raw) as packed:
        decompressor: bz2.BZ2Decompressor | lzma.LZMADecompressor = bz2.BZ2Decompressor()
        given = b""
        if info.compress_type == zipfile.ZIP_LZMA:
            decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY_LIMIT_BYTES)
            # Version, size of the properties (5), the properties; the .lzma format has properties and unpacked size.
            start = packed.read(9)
            unpacked_bytes = 2**64 - 1 if info.flag_bits & 2 else info.file_size
            given = start[4:] + struct.pack("<Q", unpacked_bytes)
            if len(start) < 9 or start[2:4] != b"\x05\0":
                raise ArchiveRefused(f"it is damaged at {shown(_name(info))}: no lzma header")
        while not decompressor.eof:
            if not given and decompressor.needs_input and not (given := packed.read(PIECE_BYTES)):
                raise EOFError
            try:
                piece = decompressor.decompress(given, PIECE_BYTES)
            except OSError as problem:  # so bz2 names bad data
                raise lzma.LZMAError(str(problem)) from None
            given = b""
            yield piece
        if decompressor.unused_data or packed.read(1):
            raise lzma.LZMAError("bytes follow the end of its data")
