"""What ODCS has no word for: `customProperties` whose names begin with `headrace.`, typed; others are not ours."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from open_data_contract_standard.model import CustomProperty
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from contracts.stream import BULK_BYTES, Evolution, FileFormat, System
from contracts.yaml_document import Place, YamlDocument

PREFIX = "headrace."

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _delimiter(text: str) -> str:
    # Spark refuses a backslash; a row is read with its hash, a number, as a last field.
    if len(text) != 1 or text in '"\\-0123456789' or not (text == "\t" or (text.isascii() and text.isprintable())):
        raise ValueError("one printable ASCII character or a tab, but no quote, backslash, minus or digit")
    return text


def _quote(text: str) -> str:
    if text != "none" and (len(text) != 1 or not text.isascii() or not text.isprintable() or text.isalnum()):
        raise ValueError("one printable ASCII character that is no letter and no digit, or `none`")
    return text


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name if codecs.lookup(text)._is_text_encoding else _no_encoding(text)
    except (LookupError, ValueError):
        return _no_encoding(text)


def _no_encoding(text: str) -> str:
    raise ValueError("the name of a character encoding, like `utf-8`, `cp1252` or `utf-16`")


def _topic_name(text: str) -> str:
    if text and (not _TOPIC.fullmatch(text) or text in (".", "..")):
        raise ValueError("Kafka takes 1 to 249 letters, digits, `.`, `_` and `-`, but neither `.` nor `..`")
    return text


class _Properties(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=lambda name: camel(name))


def camel(name: str) -> str:
    """How a property is spelled in a contract."""
    return re.sub(r"_(.)", lambda found: found.group(1).upper(), name)


class StreamProperties(_Properties):
    """Of a contract: `headrace.table` or `headrace.filePattern` with `headrace.fileFormat`, and the rest."""

    topic: Annotated[str, AfterValidator(_topic_name)] = ""
    table: str = ""
    source: System = "postgres"
    file_pattern: str = ""
    file_format: FileFormat | None = None
    file_unit: str = ""
    file_delimiter: Annotated[str, AfterValidator(_delimiter)] | Literal["auto"] = ","
    file_quote: Annotated[str, AfterValidator(_quote)] = '"'
    file_escape: Literal["double", "backslash"] = "double"
    file_header: bool = True
    file_skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    file_encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    file_nulls: list[str] = []
    file_decimal: Literal[".", ","] = "."
    file_thousands: Literal["", ".", ",", "'", " "] = ""
    file_bulk_bytes: Annotated[int, Field(ge=0)] = BULK_BYTES
    log_format: str = ""
    version: str = ""
    partitions: Annotated[int, Field(ge=1, le=1000)] = 1
    evolution: Evolution = "quarantine"
    quarantine_limit: Annotated[float, Field(ge=0, le=1)] = 0.1
    quarantine_minimum: Annotated[int, Field(ge=1)] = 1000
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 7
    consistent_cut: bool = False


class ColumnProperties(_Properties):
    """Of a column: what its source calls it, how its values are written, where they come from."""

    source_type: str = ""
    field: str = ""
    lossy: bool = False
    json_: Annotated[bool, Field(alias="json")] = False
    from_file_name: bool = False
    from_batch_date: bool = False
    from_line: bool = False
    format_: Annotated[str, Field(alias="format")] = ""


Found = TypeVar("Found", bound=_Properties)


def read_properties(
    document: YamlDocument, place: Place, properties: Sequence[CustomProperty] | None, model: type[Found]
) -> Found:
    """The `headrace.` properties at this place of the contract.

    Raises:
        ContractError: a property is unknown (with the nearest known one), stands twice, or has a wrong value.
    """
    known = [str(field.alias or name) for name, field in model.model_fields.items()]
    values: dict[str, object] = {}
    for index, item in enumerate(properties or ()):
        name = item.property or ""
        if not name.startswith(PREFIX):
            if name.lower().startswith("headrace"):
                raise document.error(f"`{name}` lacks the dot", (*place, index), f"`{PREFIX}…`")
            continue
        short = name.removeprefix(PREFIX)
        if short not in known:
            near = difflib.get_close_matches(short, known, n=1, cutoff=0.5)
            write = f"`{PREFIX}{near[0]}`" if near else "one of " + ", ".join(f"`{PREFIX}{k}`" for k in known)
            raise document.error(f"property `{name}` is unknown", (*place, index), write)
        if short in values:
            raise document.error(f"property `{name}` stands here a second time", (*place, index))
        values[short] = item.value
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        first = problem.errors()[0]
        wrong = str(first["loc"][0])
        at = next(i for i, item in enumerate(properties or ()) if item.property == PREFIX + wrong)
        where = (*place, at, "value")
        quote = (
            f"'{document.text(where)}', in quotes" if first["type"] == "string_type" and document.text(where) else ""
        )
        raise document.error(f"property `{PREFIX}{wrong}` is {values[wrong]!r}: {first['msg']}", where, quote) from None
