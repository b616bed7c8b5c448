"""What ODCS has no word for: `customProperties` whose names begin with `headrace.`, typed; others are not ours."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, TypeVar

from open_data_contract_standard.model import CustomProperty
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from contracts.stream import Evolution, FileFormat
from contracts.yaml_document import Place, YamlDocument

PREFIX = "headrace."

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _delimiter(text: str) -> str:
    # Spark refuses a backslash; a row is read with its hash, a number, as a last field.
    if len(text) != 1 or text in '"\\-0123456789' or not (text == "\t" or (text.isascii() and text.isprintable())):
        raise ValueError("one printable ASCII character or a tab, but no quote, backslash, minus or digit")
    return text


def _topic_name(text: str) -> str:
    if text and (not _TOPIC.fullmatch(text) or text in (".", "..")):
        raise ValueError("Kafka takes 1 to 249 letters, digits, `.`, `_` and `-`, but neither `.` nor `..`")
    return text


class _Properties(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=lambda name: re.sub(r"_(.)", _upper, name)
    )


def _upper(found: re.Match[str]) -> str:
    return found.group(1).upper()


class StreamProperties(_Properties):
    """Of a contract: `headrace.table` or `headrace.filePattern` with `headrace.fileFormat`, and the rest."""

    topic: Annotated[str, AfterValidator(_topic_name)] = ""
    table: str = ""
    file_pattern: str = ""
    file_format: FileFormat | None = None
    file_unit: str = ""
    file_delimiter: Annotated[str, AfterValidator(_delimiter)] = ","
    version: str = ""
    partitions: Annotated[int, Field(ge=1, le=1000)] = 1
    evolution: Evolution = "quarantine"
    quarantine_limit: Annotated[float, Field(ge=0, le=1)] = 0.1
    quarantine_minimum: Annotated[int, Field(ge=1)] = 1000
    retention_days: Annotated[int, Field(ge=1)] = 7


class ColumnProperties(_Properties):
    """Of a column: `headrace.sourceType`, `headrace.json`, `headrace.fromFileName`."""

    source_type: str = ""
    json_: Annotated[bool, Field(alias="json")] = False
    from_file_name: bool = False


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
        raise document.error(
            f"property `{PREFIX}{wrong}` is {values[wrong]!r}: {first['msg']}", (*place, at, "value")
        ) from None
