"""A contract's words about files, checked and made a FileSource."""

from __future__ import annotations

import re

from contracts import access_log
from contracts.custom_properties import StreamProperties
from contracts.stream import FILE_UNIT, Column, FileSource
from contracts.yaml_document import YamlDocument

_AT = ("customProperties",)
_CSV_ONLY = ("file_delimiter", "file_quote", "file_escape", "file_header")
_TEXT_ONLY = ("file_encoding", "file_skip_lines")
_FIELDS_ONLY = ("file_nulls", "file_decimal", "file_thousands")


def read_file_source(document: YamlDocument, found: StreamProperties, columns: tuple[Column, ...]) -> FileSource:
    """The source of a stream of files.

    Raises:
        ContractError: a property is missing, contradicts another one, or means nothing in this format.
    """
    if found.file_format is None:
        raise document.error("does not say the files' format", _AT, "`headrace.fileFormat: csv`, json, parquet or log")
    _check_belonging(document, found)
    _check_origins(document, found, columns)
    if found.file_format != "log":
        pattern = ""
    elif not found.log_format:
        raise document.error("does not say how a line of the log is written", _AT, "`headrace.logFormat: combined`")
    else:
        pattern = _log_pattern(document, found.log_format, columns)
    if found.file_decimal == found.file_thousands:
        raise document.error(f"`{found.file_decimal}` cannot be both the decimal mark and the thousands' mark", _AT)
    quote = "" if found.file_quote == "none" else found.file_quote
    delimiter = "" if found.file_delimiter == "auto" else found.file_delimiter
    if quote and quote == delimiter:
        raise document.error(f"`{quote}` cannot be both the quote and the delimiter", _AT)
    if not quote and found.file_escape == "backslash":
        raise document.error("without quotes nothing is escaped", _AT, "no `headrace.fileEscape`, or a quote")
    if found.file_format == "parquet" and (column := next((c for c in columns if c.format), None)):
        raise document.error(f"`{column.name}` has a format, but in Parquet a time is no text", _AT)
    if not delimiter and not found.file_header:
        raise document.error("a delimiter is found in the header", _AT, "`headrace.fileDelimiter`, or a header")
    named = found.log_format in access_log.NAMED
    return FileSource(
        pattern=found.file_pattern,
        format=found.file_format,
        unit=found.file_unit,
        delimiter=delimiter,
        quote=quote,
        backslash=found.file_escape == "backslash",
        header=found.file_header,
        skip_lines=found.file_skip_lines,
        encoding=found.file_encoding,
        nulls=tuple(found.file_nulls) or ((access_log.NULL,) if named else ()),
        decimal=found.file_decimal,
        thousands=found.file_thousands,
        log_pattern=pattern,
        bulk_bytes=found.file_bulk_bytes,
    )


def _check_belonging(document: YamlDocument, found: StreamProperties) -> None:
    """Refuse what means nothing in this format: it would be believed to do something."""
    of_format = {
        "csv": (*_CSV_ONLY, *_TEXT_ONLY, *_FIELDS_ONLY),
        "log": (*_TEXT_ONLY, *_FIELDS_ONLY, "log_format"),
        "json": _TEXT_ONLY[:1],
        "parquet": (),
    }
    allowed = of_format[found.file_format or "csv"]
    for name in (*_CSV_ONLY, *_TEXT_ONLY, *_FIELDS_ONLY, "log_format"):
        if name in found.model_fields_set and name not in allowed:
            spelled = StreamProperties.model_fields[name].alias
            raise document.error(f"`headrace.{spelled}` means nothing in {found.file_format} files", _AT)


def _check_origins(document: YamlDocument, found: StreamProperties, columns: tuple[Column, ...]) -> None:
    try:
        groups = set(re.compile(found.file_pattern, re.ASCII).groupindex)
    except (re.error, ValueError, OverflowError, RecursionError) as problem:
        raise document.error(f"`headrace.filePattern` is no regular expression: {problem}", _AT) from None
    named = {column.name for column in columns if column.from_file_name}
    dated = {column.name for column in columns if column.from_batch_date}
    if len(dated) > 1:
        raise document.error(f"{' and '.join(sorted(dated))} are both the batch date", _AT, "one column")
    if missing := sorted(named - groups):
        raise document.error(
            f"`headrace.filePattern` has no group for {', '.join(missing)}",
            _AT,
            f"`(?P<{missing[0]}>…)` in the pattern",
        )
    if found.file_unit and found.file_unit != FILE_UNIT and found.file_unit not in named | dated:
        raise document.error(
            f"the unit `{found.file_unit}` is no column that comes from the file name or the batch date",
            _AT,
            f"a column `{found.file_unit}` with `headrace.fromFileName` or `headrace.fromBatchDate: true`",
        )


def _log_pattern(document: YamlDocument, declared: str, columns: tuple[Column, ...]) -> str:
    pattern = access_log.NAMED.get(declared, declared)
    try:
        known = access_log.fields(pattern)
    except (re.error, ValueError, OverflowError, RecursionError) as problem:
        raise document.error(
            f"`headrace.logFormat` is neither `common` nor `combined` nor a regular expression: {problem}", _AT
        ) from None
    sent = [c.name for c in columns if not (c.from_file_name or c.from_batch_date or c.from_line)]
    if missing := [name for name in sent if name not in known]:
        raise document.error(
            f"`headrace.logFormat` has no group for {', '.join(missing)}", _AT, f"columns among {', '.join(known)}"
        )
    return pattern
