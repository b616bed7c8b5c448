"""A row of a file, as `contracts.wire` puts it into Kafka, to fields by name."""

from __future__ import annotations

import re
from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.stream import Stream
from streaming_jobs.transforms.sql import UNPAIRED_SURROGATE, first_of, json_object, refusal, sealed_json, text

SPARE_FIELDS = 16
_END_OF_LINE = text(r"(\r\n|\n|\r)\z")
_NULL_CHARACTER = "\u0000"


def decode_file_row(frame: DataFrame, stream: Stream) -> DataFrame:
    """Kafka records to `_topic _partition _offset _event_time _op _file _file_hash _line _raw _fields _no_row _refusal`
    and `_text_<column>` for each column whose value stands in the file's name.

    CSV: RFC 4180 with the stream's delimiter, quotes doubled, line breaks within quotes kept. A field without quotes
    and without characters is NULL, `""` is the empty string. Fields get their names from the file's own header,
    whatever its order. A row with more or fewer fields than the header, or with an open quote, is refused.
    """
    for step in _steps(stream):
        frame = frame.selectExpr(*step)
    return frame


@lru_cache(maxsize=256)
def _steps(stream: Stream) -> tuple[tuple[str, ...], ...]:
    source = stream.file_source
    place = ("_topic", "_partition", "_offset", "_raw", "_event_time")
    wire = ("_file_hash", "_line", "_format", "_file")
    read = (
        "topic as _topic",
        "partition as _partition",
        "offset as _offset",
        "value as _raw",
        "timestamp as _event_time",
        f"regexp_replace(cast(value as string), {_END_OF_LINE}, '') as _text",
        "if(is_valid_utf8(cast(key as string)), split(cast(key as string), '\\t', 5), null) as _wire",
    )
    opened = (
        *place,
        "_text",
        "get(_wire, 0) as _file_hash",
        "try_cast(get(_wire, 1) as bigint) as _line",
        "get(_wire, 2) as _format",
        "get(_wire, 3) as _file",
        f"regexp_replace(get(_wire, 4), {_END_OF_LINE}, '') as _header",
    )
    parsing, fields, unreadable = _csv(stream) if source.format == "csv" else _json()
    broken = first_of(
        [
            ("_file is null or _line is null", refusal("wire", "", "'the record key is not that of a file row'")),
            ("_raw is null or length(_raw) = 0", refusal(source.format, "", "'the row is empty'")),
            ("_format = 'unsplit'", refusal("unsplit", "", "'the file could not be split into rows here'")),
            (
                f"_format <> '{source.format}'",
                refusal("wire", "", f"concat('the row is ', _format, ', the contract says {source.format}')"),
            ),
            ("not is_valid_utf8(cast(_raw as string))", refusal("encoding", "", "'the row is not UTF-8'")),
            *unreadable,
        ]
    )
    decoded = (
        *place,
        *wire,
        "'c' as _op",
        "false as _no_row",
        f"{fields} as _fields",
        f"{broken} as _refusal",
        *(_from_name(stream, column.name) for column in stream.columns if column.from_file_name),
    )
    return (read, opened, *((*place, *wire, "_text", *step) for step in parsing), decoded)


def _from_name(stream: Stream, group: str) -> str:
    pattern = stream.file_source.pattern
    groups = re.compile(pattern).groupindex
    # Java's group names have no underscore; the groups' numbers are the same without names.
    unnamed = re.sub(r"\(\?P=(\w+)\)", lambda found: rf"\{groups[found[1]]}", re.sub(r"\(\?P<\w+>", "(", pattern))
    index, java = groups[group], text(f"^(?:{unnamed})$")
    return f"nullif(regexp_extract(_file, {java}, {index}), '') as `_text_{group}`"


def _json() -> tuple[tuple[tuple[str, ...], ...], str, list[tuple[str, str]]]:
    parse, seal = json_object("_text")
    steps = ((f"if(is_valid_utf8(cast(_raw as string)), {parse}, null) as _parsed",),)
    fields = sealed_json("_parsed", seal, "_text")
    whole = "'the row is not one JSON object with nothing before or after it'"
    unreadable = [
        (f"{fields} is null", refusal("json", "", whole)),
        (
            f"contains(_text, {text(chr(92) + 'u')}) and _text rlike {text(UNPAIRED_SURROGATE)}",
            refusal("encoding", "", "'the row holds half of a surrogate pair'"),
        ),
    ]
    return steps, fields, unreadable


def _csv(stream: Stream) -> tuple[tuple[tuple[str, ...], ...], str, list[tuple[str, str]]]:
    width = len(stream.sent_columns) + SPARE_FIELDS
    delimiter = stream.file_source.delimiter
    schema = ", ".join(f"c{i} string" for i in range(width + 1))
    options = {
        "sep": delimiter,
        "quote": '"',
        "escape": '"',
        "multiLine": "true",
        "mode": "PERMISSIVE",
        "emptyValue": "",
        "ignoreLeadingWhiteSpace": "false",
        "ignoreTrailingWhiteSpace": "false",
    }
    # nullValue must be a text that no field can be: with '' Spark takes a quoted empty field for NULL as well.
    listed = ", ".join(f"{text(k)}, {text(v)}" for k, v in options.items()) + ", 'nullValue', chr(0)"

    def parse(line: str) -> str:
        # The line's own hash as a last field tells how many fields there are, and whether the last quote was closed.
        return f"from_csv(concat({line}, {text(delimiter)}, xxhash64({line})), {text(schema)}, map({listed}))"

    def values(parsed: str) -> str:
        return "array(" + ", ".join(f"{parsed}.c{i}" for i in range(width + 1)) + ")"

    def count(line: str, array: str) -> str:
        return f"array_position({array}, cast(xxhash64({line}) as string)) - 1"

    def head(array: str, length: str) -> str:
        return f"slice({array}, 1, greatest(0, coalesce(cast({length} as int), 0)))"

    first = (
        f"if(is_valid_utf8(cast(_raw as string)), {parse('_text')}, null) as _row",
        f"{parse('_header')} as _head",
        "_header",
    )
    second = (f"{values('_row')} as _values", f"{values('_head')} as _names", "_header")
    third = (
        "_values",
        "_names",
        f"{count('_text', '_values')} as _n_values",
        f"{count('_header', '_names')} as _n_names",
    )
    fourth = (
        f"{head('_values', '_n_values')} as _values",
        f"transform({head('_names', '_n_names')}, n -> trim(coalesce(n, ''))) as _names",
        "_n_values",
        "_n_names",
    )
    twice = "size(array_distinct(_names)) < size(_names)"
    fields = f"if(_n_values >= 1 and _n_values = _n_names and not ({twice}), map_from_arrays(_names, _values), null)"
    unreadable = [
        ("contains(_text, chr(0))", refusal("nul_character", "", "'the row holds U+0000'")),
        (
            "coalesce(_n_names, 0) < 1",
            refusal("csv", "", f"'the header is not readable, or has more than {width} columns'"),
        ),
        (twice, refusal("duplicate_field", "", "'the header names a column twice'")),
        ("coalesce(_n_values, 0) < 1", refusal("csv", "", f"'a quote is open, or there are more than {width} fields'")),
        (
            "_n_values <> _n_names",
            refusal("csv", "", "concat(_n_values, ' fields, the header has ', _n_names)"),
        ),
    ]
    return (first, second, third, fourth), fields, unreadable
