"""What a pipeline fetches over HTTP: `connectors/downloads.yaml`, loaded and checked.

`{batch_date}`, `{yyyy}`, `{mm}` and `{dd}` in an address or a file name stand for the day that is asked for; `${NAME}`
in an address, a query or a header for an environment variable, so that no secret stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from contracts.download_texts import (
    SAMPLE_DAY,
    VARIABLE,
    checked_address,
    checked_file_name,
    checked_header_name,
    checked_headers,
    checked_query,
    on_day,
)
from contracts.loader import NAME
from contracts.stream import Pipeline
from contracts.yaml_document import Place, YamlDocument

DECLARATION = "downloads.yaml"
_ARCHIVES = (".7z", ".bz2", ".gz", ".tar", ".tgz", ".xz", ".zip", ".zst")
_SAMPLE_DAYS = 4000

Secret = Callable[[str], str]
"""The value of an environment variable."""


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Checksum(_Declared):
    """Where the server states the content's SHA-256 or MD5: in a header of the answer or in a file of its own."""

    header: Annotated[str, AfterValidator(checked_header_name)] = ""
    url: Annotated[str, AfterValidator(checked_address)] = ""

    @model_validator(mode="after")
    def _one(self) -> Checksum:
        if bool(self.header) == bool(self.url):
            raise ValueError("name a `header` or a `url`, one of the two")
        return self

    def address(self, day: date, secret: Secret | None = None) -> str:
        """As `Download.address`."""
        return _filled(on_day(self.url, day), secret)


class Paging(_Declared):
    """How the answers of many requests make one file.

    `page` and `offset` count in the query's `parameter`, from `start`, offsets by `size`, until an array is empty.
    `cursor` takes the next cursor from the dotted path `cursor` of each body and gives it in `parameter`; without a
    `parameter` the cursor is the next page's address. `link` follows the header `Link: <…>; rel="next"`.
    `items` is the dotted path of the array in each body; empty: the body is the array.
    """

    kind: Literal["page", "offset", "cursor", "link"]
    parameter: str = ""
    start: Annotated[int, Field(ge=0)] | None = None
    size: Annotated[int, Field(ge=1)] | None = None
    items: str = ""
    cursor: str = ""
    most_pages: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Paging:
        counts = self.kind in ("page", "offset")
        if counts and not self.parameter:
            raise ValueError(f"kind {self.kind} needs the query's `parameter`")
        if self.kind == "link" and self.parameter:
            raise ValueError("kind link has no `parameter`: the answer gives the whole address")
        if (self.kind == "cursor") != bool(self.cursor):
            raise ValueError("kind cursor, and no other, needs `cursor`, the dotted path of the next cursor")
        if (self.kind == "offset") != (self.size is not None):
            raise ValueError("kind offset, and no other, needs `size`, the number of elements of a full page")
        if self.start is not None and not counts:
            raise ValueError(f"kind {self.kind} has no `start`")
        return self

    @property
    def first(self) -> int:
        """The first page's number or offset."""
        return self.start if self.start is not None else int(self.kind == "page")


class _Download(_Declared):
    url: Annotated[str, AfterValidator(checked_address)]
    file: Annotated[str, AfterValidator(checked_file_name)]
    method: Literal["GET"] = "GET"
    headers: Annotated[dict[str, str], AfterValidator(checked_headers)] = {}
    query: Annotated[dict[str, str], AfterValidator(checked_query)] = {}
    timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60.0
    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    checksum: Checksum | None = None
    paging: Paging | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> _Download:
        if self.paging and self.checksum:
            raise ValueError("a file joined from pages has no `checksum`: leave one of the two out")
        parts = urlsplit(on_day(self.url, SAMPLE_DAY))
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)] + list(self.query)
        if self.paging and self.paging.parameter:
            names.append(self.paging.parameter)
        if len(set(names)) != len(names):
            raise ValueError("a parameter stands twice in `url`, `query` and `paging.parameter`")
        return self


class Download(_Download):
    """One declared download. `timeout_s` is the longest silence of the server, not the length of the transfer."""

    name: str

    def address(self, day: date, secret: Secret | None = None) -> str:
        """The URL with its query. Without `secret` each `${NAME}` stays as it is written: fit to be shown."""
        url = _filled(on_day(self.url, day), secret)
        query = {name: on_day(value, day) for name, value in self.query.items()}
        if secret:
            query = {name: VARIABLE.sub(lambda found: secret(found.group(1)), value) for name, value in query.items()}
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query, safe="" if secret else "${}")
        return url

    def file_name(self, day: date) -> str:
        """The name under which the day's file is kept and pushed."""
        return on_day(self.file, day)

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it needs, sorted."""
        texts = [self.url, *self.headers.values(), *self.query.values(), self.checksum.url if self.checksum else ""]
        return tuple(sorted({name for text in texts for name in VARIABLE.findall(text)}))


def _filled(url: str, secret: Secret | None) -> str:
    return VARIABLE.sub(lambda found: quote(secret(found.group(1)), safe=""), url) if secret else url


class _File(_Declared):
    downloads: dict[str, _Download]


def load_downloads(pipeline: Pipeline) -> tuple[Download, ...]:
    """The declared downloads in the order of the file; none if the pipeline has no such file.

    Raises:
        ContractError: wrong YAML, an unknown word, a secret written out, a file name that fits no stream or two.
    """
    path = pipeline.connectors_dir / DECLARATION
    if not path.exists():
        return ()
    document = YamlDocument(path)
    try:
        declared = _File.model_validate(_as_written(document.data, document))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise document.error(f"{place}: {first['msg']}", first["loc"], f"correct `{place}`") from None
    found = tuple(Download(name=name, **dict(download)) for name, download in declared.downloads.items())
    files: dict[str, str] = {}
    for download in found:
        _check(download, pipeline, document)
        other = files.setdefault(download.file, download.name)
        if other != download.name:
            at = ("downloads", download.name, "file")
            raise document.error(f"{download.name}: the file is named as that of {other}", at, "another `file`")
    return found


def _as_written(data: Any, document: YamlDocument) -> Any:
    """Numbers and dates of headers and queries as they stand in the file: 1.10 is not 1.1."""
    downloads = data.get("downloads")
    if not isinstance(downloads, dict):
        return data
    for name, declared in downloads.items():
        for part in ("headers", "query"):
            values: Any = declared.get(part) if isinstance(declared, dict) else None
            for key, value in values.items() if isinstance(values, dict) else ():
                if isinstance(value, int | float | date):
                    values[key] = document.text(("downloads", name, part, key))
    return data


def _check(download: Download, pipeline: Pipeline, document: YamlDocument) -> None:
    at: Place = ("downloads", download.name)
    if not NAME.fullmatch(download.name):
        raise document.error(
            f"`{download.name}` is no name",
            at,
            "lower-case letters, digits and _, a letter first, and no more than 100",
        )
    if download.file.lower().endswith(_ARCHIVES):
        return  # the push judges what is in it
    # A pattern may ask for the end of a month or for certain years: one day that fits is enough.
    names = {download.file_name(SAMPLE_DAY + timedelta(days=days)) for days in range(_SAMPLE_DAYS)}
    fits = [s for s in pipeline.file_streams if any(s.file_source.match(name) is not None for name in names)]
    if len(fits) != 1:
        known = "; ".join(f"{stream.name}: {stream.file_source.pattern}" for stream in pipeline.file_streams)
        several = f"more than one stream: {', '.join(stream.name for stream in fits)}"
        what = several if fits else f"no stream of pipeline {pipeline.name} ({known or 'it has no file streams'})"
        raise document.error(
            f"{download.name}: file {download.file} fits {what}", (*at, "file"), "a name that fits one stream's pattern"
        )
