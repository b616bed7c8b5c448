"""A watched folder on HDFS, over the NameNode's HTTP interface.

Not through fsspec's client: that one has no time-outs, takes a DataNode's error page for content, does not pass on
that a rename was refused, and cannot say whether a file is still open for writing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import requests

from contracts.errors import Fatal
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


class HdfsStore:
    """A folder of HDFS over WebHDFS. `root` is an absolute path, `address` the URL of the NameNode's HTTP page."""

    longest_name_bytes = 255

    def __init__(self, address: str, root: str, user: str = "") -> None:
        self.root = root
        self._address = f"{address.rstrip('/')}/webhdfs/v1"
        self._user = {"user.name": user} if user else {}
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"

    def list_incoming(self) -> list[RemoteFile]:
        """As Store; makes the three folders if `incoming/` is missing."""
        folder = f"{self.root}/incoming"
        try:
            answer = self._json("GET", "LISTSTATUS", folder)
        except FileNotFoundError:
            for name in ("incoming", "processed", "rejected"):
                self._json("PUT", "MKDIRS", f"{self.root}/{name}")
            return []
        with self._told():
            entries = answer["FileStatuses"]["FileStatus"]
            return [
                _hdfs_file(f"{folder}/{entry['pathSuffix']}", entry) for entry in entries if entry["type"] == "FILE"
            ]

    def look(self, path: str) -> RemoteFile | None:
        """As Store."""
        try:
            with self._told():
                status = self._json("GET", "GETFILESTATUS", path)["FileStatus"]
            if status["type"] != "FILE":
                return _hdfs_file(path, status, finished=False)
            # Size and time of a file stand still while its writer fills a block: they do not say that it is whole.
            blocks = self._json("GET", "GET_BLOCK_LOCATIONS", path, offset="0", length="1").get("LocatedBlocks")
        except FileNotFoundError:
            return None
        if not isinstance(blocks, dict) or "isUnderConstruction" not in blocks:
            raise Fatal(
                f"{self._address} does not say whether a file is still being written",
                state="Nothing was changed.",
                next_step="give the HTTP address of the NameNode itself, no HttpFS gateway",
            )
        return _hdfs_file(path, status, finished=not blocks["isUnderConstruction"])

    def read(self, path: str) -> Iterator[bytes]:
        """As Store."""
        with suppress(FileNotFoundError), self._told(), self._call("GET", "OPEN", path, {}, stream=True) as answer:
            yield from answer.iter_content(PIECE_BYTES)

    def move(self, file: RemoteFile, target: str) -> Moved:
        """As Store: a rename; what had taken the file's name in that moment is renamed back."""
        if left := left_its_place(file, self.look(file.path)):
            return left
        self._json("PUT", "MKDIRS", target.rpartition("/")[0])
        if self.look(target):
            return "taken"
        if not self._rename(file.path, target):
            if not self.look(file.path):
                return "gone"
            if self.look(target):
                return "taken"
            raise StoreUnavailable(f"{file.path} could not be renamed to {target}", state="It is where it was.")
        moved = self.look(target)
        if not moved or replace(moved, name=file.name, path=file.path) == file:
            return "moved"
        if not self._rename(target, file.path):
            raise Fatal(
                f"{target} took the place of {file.path} while that was in work, and was not sent",
                state="Yet another file has its old name by now.",
                next_step=f"move {target} to {self.root}/incoming under a new name",
            )
        return "changed"

    def write(self, path: str, content: bytes) -> None:
        """As Store."""
        with self._told():
            place = self._call("PUT", "CREATE", path, {"overwrite": "true"}, redirect=False).headers["Location"]
            answer = self._session.put(place, data=content, timeout=(CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S))
        if answer.status_code >= 400:
            problem = self._refusal(answer, "CREATE", path)
            if isinstance(problem, FileNotFoundError):  # somebody removed it while it was written
                raise StoreUnavailable(f"{self._address}: {problem}", state=STILL_THERE) from problem
            raise problem

    def _rename(self, source: str, target: str) -> bool:
        return bool(self._json("PUT", "RENAME", source, destination=target)["boolean"])

    def _json(self, method: str, operation: str, path: str, **parameters: str) -> dict[str, Any]:
        with self._told():
            answer: dict[str, Any] = self._call(method, operation, path, parameters).json()
            return answer

    def _call(
        self,
        method: str,
        operation: str,
        path: str,
        parameters: dict[str, str],
        *,
        stream: bool = False,
        redirect: bool = True,
    ) -> requests.Response:
        answer = self._session.request(
            method,
            self._address + quote(path, safe="/"),
            params={"op": operation, **self._user, **parameters},
            stream=stream,
            allow_redirects=redirect,
            timeout=(CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S),
        )
        if answer.status_code >= 400:
            raise self._refusal(answer, operation, path)
        return answer

    def _refusal(self, answer: requests.Response, operation: str, path: str) -> Exception:
        try:
            kind, said = (answer.json()["RemoteException"][key] for key in ("exception", "message"))
        except (ValueError, KeyError, TypeError):
            kind, said = "", f"HTTP status {answer.status_code}"
        if kind == "FileNotFoundException":
            return FileNotFoundError(said)
        what = f"{self._address}: {operation} {path}: {said}"
        if answer.status_code == 401 or kind in ("AccessControlException", "SecurityException"):
            return Fatal(
                what,
                state=STILL_THERE,
                next_step="name a user who may read and write there",
            )
        return StoreUnavailable(what, state=STILL_THERE)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the errors of HTTP, and answers that are none of WebHDFS', into ours."""
        try:
            yield
        except (requests.RequestException, KeyError) as problem:
            raise StoreUnavailable(f"{self._address}: {problem!r}") from problem


def _hdfs_file(path: str, status: dict[str, Any], *, finished: bool = True) -> RemoteFile:
    mtime_ns = status["modificationTime"] * 10**6
    return RemoteFile(path.rpartition("/")[2], path, status["length"], mtime_ns, str(status["fileId"]), finished)
