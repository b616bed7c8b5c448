"""A watched folder on an S3-compatible store, through pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from pyarrow import fs

from contracts.errors import Fatal, HeadraceError
from producers.remote_store import (
    CONNECT_TIMEOUT_S,
    PIECE_BYTES,
    SILENCE_TIMEOUT_S,
    STILL_THERE,
    Moved,
    RemoteFile,
    StoreUnavailable,
    left_its_place,
)

COPY_LIMIT_BYTES = 1024**3
"""Larger objects are copied through this process: S3 itself copies 5 GiB at most, and in one silent request."""
ATTEMPTS = 3

_READ_AHEAD_BYTES = 8 * PIECE_BYTES
_CODE = re.compile(r"AWS Error ([A-Z_]+)")
_REFUSALS = {
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "SIGNATURE_DOES_NOT_MATCH",
    "UNRECOGNIZED_CLIENT",
}


class S3Store:
    """A prefix of a bucket. `root` is `bucket/prefix`."""

    def __init__(self, root: str, endpoint: str = "", region: str = "") -> None:
        self.root = root
        self.longest_name_bytes = 1024 - len(f"{root.partition('/')[2]}/processed/".encode())
        scheme, _, address = endpoint.rpartition("://")
        self._s3: Any = fs.S3FileSystem(
            endpoint_override=address or None,
            scheme=scheme or "https",
            # Without one the SDK asks an instance's metadata service, which a store of one's own has not.
            region=region or ("us-east-1" if endpoint else None),
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=SILENCE_TIMEOUT_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        )

    def list_incoming(self) -> list[RemoteFile]:
        """As Store. A prefix without objects is an empty folder."""
        folder = f"{self.root}/incoming"
        found = []
        with self._told(), suppress(FileNotFoundError):
            found = self._s3.get_file_info(fs.FileSelector(folder))
        return [
            RemoteFile(info.path.removeprefix(f"{folder}/"), info.path, info.size, info.mtime_ns)
            for info in found
            if info.type == fs.FileType.File
        ]

    def look(self, path: str) -> RemoteFile | None:
        """As Store."""
        try:
            with self._told(), self._s3.open_input_file(path) as source:
                size = source.size()
                about = {key.lower(): value.decode() for key, value in source.metadata().items()}
        except FileNotFoundError:
            return None
        mtime_ns = int(datetime.fromisoformat(about["last-modified"]).timestamp()) * 10**9
        marker = size == 0 and about.get("content-type", "").startswith("application/x-directory")
        return RemoteFile(path.rpartition("/")[2], path, size, mtime_ns, about.get("etag", ""), not marker)

    def read(self, path: str) -> Iterator[bytes]:
        """As Store."""
        with suppress(FileNotFoundError):
            with self._told():
                source = self._s3.open_input_stream(path, buffer_size=_READ_AHEAD_BYTES)
            with source:
                while True:
                    with self._told():
                        piece = source.read(PIECE_BYTES)
                    if not piece:
                        return
                    yield piece

    def move(self, file: RemoteFile, target: str) -> Moved:
        """As Store: a copy, then a delete. An equal object under the target's name is a move that was interrupted.

        S3 has no delete on condition: what is written over `file` in the one request between the last look and the
        delete is lost with it, unless the bucket keeps versions.
        """
        there = self.look(target)
        if there and not (there.tag and (there.size, there.tag) == (file.size, file.tag)):
            return "taken"
        if left := left_its_place(file, self.look(file.path)):
            return left
        if not there:
            try:
                self._copy(file, target)
            except FileNotFoundError:
                return "gone"
            if left := left_its_place(file, self.look(file.path)):
                if left == "changed":
                    self._delete(target)  # It may be a copy of what nobody has judged.
                return left
        self._delete(file.path)
        return "moved"

    def write(self, path: str, content: bytes) -> None:
        """As Store."""
        with self._told(), self._s3.open_output_stream(path) as sink:
            sink.write(content)

    def _copy(self, file: RemoteFile, target: str) -> None:
        if file.size <= COPY_LIMIT_BYTES:
            with self._told():
                self._s3.copy_file(file.path, target)
            return
        try:
            written = 0
            with self._told(), self._s3.open_output_stream(target) as sink:
                for piece in self.read(file.path):
                    written += sink.write(piece)
            if written != file.size:
                raise FileNotFoundError(file.path)
        except BaseException:
            # Closing has made an object of what was written so far.
            with suppress(HeadraceError):
                self._delete(target)
            raise

    def _delete(self, path: str) -> None:
        with self._told(), suppress(FileNotFoundError):
            self._s3.delete_file(path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn pyarrow's errors into ours; a missing object stays a FileNotFoundError."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as problem:
            if "AWS Error NO_SUCH_KEY" in str(problem):
                raise FileNotFoundError(str(problem)) from None
            raise _error(self.root, str(problem)) from problem


def _error(root: str, said: str) -> HeadraceError:
    found = _CODE.search(said)
    code = found[1] if found else ""
    if code == "NO_SUCH_BUCKET":
        bucket = root.partition("/")[0]
        return Fatal(
            f"s3://{root}: there is no bucket {bucket}",
            state="Nothing was changed.",
            next_step="make the bucket, or correct the URL, the endpoint or the region",
        )
    if code in _REFUSALS or "Looks like the configured region" in said:
        return Fatal(
            f"s3://{root}: the store refuses: {said}",
            state=STILL_THERE,
            next_step="give the credentials of the environment (AWS_ACCESS_KEY_ID, a profile or an instance's role) "
            "s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject below the prefix; check the "
            "region",
        )
    return StoreUnavailable(f"s3://{root}: {said}", state=STILL_THERE)
