"""A row of a file, as `contracts.wire` puts it into Kafka or into a chunk, to fields by name."""

from __future__ import annotations

import re
from functools import lru_cache

from pyspark.sql import DataFrame

from contracts.delimiter import CANDIDATES
from contracts.stream import Column, FileSource, Stream
from streaming_jobs.transforms.sql import first_of, json_object, refusal, sealed_json, text, unpaired_surrogate

SPARE_FIELDS = 16
WIRE_COLUMNS = (
    "_topic",
    "_partition",
    "_offset",
    "_event_time",
    "_file_hash",
    "_line",
    "_format",
    "_name",
    "_header",
    "_raw",
)
# Spark's parser takes it for the end, and then goes on in the next row.
_END_OF_INPUT = text("\uffff")
_FIELD_MARK = "chr(31)"


def open_records(frame: DataFrame) -> DataFrame:
    """Kafka records to WIRE_COLUMNS: place, time, the parts of the record's key, and the value."""
    return frame.selectExpr(
        "topic as _topic",
        "partition as _partition",
        "offset as _offset",
        "timestamp as _event_time",
        "if(is_valid_utf8(cast(key as string)), split(cast(key as string), '\\t', 5), null) as _wire",
        "value as _raw",
    ).selectExpr(
        "_topic",
        "_partition",
        "_offset",
        "_event_time",
        "get(_wire, 0) as _file_hash",
        "try_cast(get(_wire, 1) as bigint) as _line",
        "get(_wire, 2) as _format",
        "get(_wire, 3) as _name",
        "get(_wire, 4) as _header",
        "_raw",
    )


def decode_file_row(frame: DataFrame, stream: Stream) -> DataFrame:
    """WIRE_COLUMNS to `_topic _partition _offset _event_time _op _file _file_hash _line _raw _fields _no_row _refusal`
    and `_text_<column>` for each column whose value is not a field of the row; of CSV and logs `_ordered` and `_bare`.

    `_ordered`: the values alone, where their names are those of the contract in its order; `_fields` is NULL then. A
    map of every row, and a search in it for every column, costs more than what is done with the values. `_bare`: an
    empty text in `_ordered` stands for NULL.

    CSV: RFC 4180 in the stream's dialect, line breaks within quotes kept. A field without quotes and without
    characters is NULL, `""` is the empty string. Fields get their names from the file's own header, whatever its order.
    A row with more or fewer fields than the header, or with an open quote, is refused. Log: the groups of the stream's
    pattern, of which those that no column names are passed over; one that matched nothing is NULL.
    """
    for step in _steps(stream):
        frame = frame.selectExpr(*step)
    return frame


@lru_cache(maxsize=256)
def _steps(stream: Stream) -> tuple[tuple[str, ...], ...]:
    row_format = stream.file_source.row_format
    place = ("_topic", "_partition", "_offset", "_event_time", "_file_hash", "_line", "_format", "_raw")
    file, batch_date = file_parts()
    read = (
        *place,
        "cast(_raw as string) as _text",
        "_header",
        f"{file} as _file",
        f"{batch_date} as _batch_date",
    )
    kept = (*place, "_text", "_file", "_batch_date")
    parsing, given, unreadable = {"csv": _csv, "json": _json, "log": _log}[row_format](stream)
    broken = first_of(
        [
            ("_file is null or _line is null", refusal("wire", "", "'the record key is not that of a file row'")),
            ("_raw is null or length(_raw) = 0", refusal(row_format, "", "'the row is empty'")),
            ("_format = 'chunk'", refusal("chunk", "", "'the chunk of the file is missing, or is not what was sent'")),
            ("_format = 'unsplit'", refusal("unsplit", "", "'the file could not be split into rows here'")),
            (
                f"_format <> '{row_format}'",
                refusal("wire", "", f"concat('the row is ', _format, ', the contract says {row_format}')"),
            ),
            ("not is_valid_utf8(cast(_raw as string))", refusal("encoding", "", _not_text(stream))),
            *unreadable,
        ]
    )
    decoded = (
        *(column for column in kept if column not in ("_format", "_text", "_batch_date")),
        "'c' as _op",
        "false as _no_row",
        *given,
        f"{broken} as _refusal",
        *outside_texts(stream, of_line=False),
        *outside_texts(stream, of_line=True),
    )
    return (read, *((*kept, *step) for step in parsing), decoded)


def _not_text(stream: Stream) -> str:
    return text(f"the row is not {stream.file_source.encoding.upper()}")


def file_parts() -> tuple[str, str]:
    """SQL for a file's name, and for the batch date, of `_name`."""
    return "substring_index(_name, '/', 1)", "get(split(_name, '/', 2), 1)"


def outside_texts(stream: Stream, *, of_line: bool) -> list[str]:
    """SQL for `_text_<column>` of the columns that are no field of the row: those that its line, or its file, tells."""
    columns = (column for column in stream.columns if column not in stream.sent_columns)
    return [f"{_outside(stream, c)} as `_text_{c.name}`" for c in columns if bool(c.from_line) == of_line]


def _outside(stream: Stream, column: Column) -> str:
    """The text of a column that is no field of the row."""
    if column.from_batch_date:
        return "_batch_date"
    if column.from_line:
        return "cast(_line as string)"
    index, java = _numbered(stream.file_source.pattern, column.name)
    return f"nullif(regexp_extract(_file, {java}, {index}), '')"


def _numbered(pattern: str, group: str) -> tuple[int, str]:
    """A group's number, and the whole pattern for Java, whose group names have no underscore."""
    groups = re.compile(pattern).groupindex
    unnamed = re.sub(r"\(\?P=(\w+)\)", lambda found: rf"\{groups[found[1]]}", re.sub(r"\(\?P<\w+>", "(", pattern))
    return groups[group], text(rf"^(?:{unnamed})\z")


_Parsing = tuple[tuple[tuple[str, ...], ...], tuple[str, ...], list[tuple[str, str]]]
"""Steps, what they give (`_fields`, and `_ordered` with `_bare`), and what makes a row unreadable."""
_NO_FIELDS = "cast(null as map<string,string>) as _fields"


def _log(stream: Stream) -> _Parsing:
    names = [column.name for column in stream.sent_columns]
    groups = [_numbered(stream.file_source.log_pattern, name) for name in names]
    # One match for all fields: each is put behind a mark. `$1` of a group that took no part is empty.
    marks = ", ".join(f"'${index}', {_FIELD_MARK}" for index, _ in groups)
    marked = f"concat({marks}, 'end')"
    steps = ((f"split(regexp_replace(_text, {groups[0][1]}, {marked}), {_FIELD_MARK}) as _values",),)
    whole = f"size(_values) = {len(names) + 1} and get(_values, {len(names)}) = 'end'"
    given = (_NO_FIELDS, f"if({whole}, _values, null) as _ordered", "true as _bare")
    unreadable = [
        (f"contains(_text, {_FIELD_MARK})", refusal("log", "", "'the line holds the control character U+001F'")),
        (f"not ({whole})", refusal("log", "", "'the line is not as the pattern of the log says'")),
    ]
    return steps, given, unreadable


def _json(_: Stream) -> _Parsing:
    parse, seal = json_object("_text")
    steps = ((f"if(is_valid_utf8(cast(_raw as string)), {parse}, null) as _parsed",),)
    fields = sealed_json("_parsed", seal)
    whole = "'the row is not one JSON object with nothing before or after it'"
    unreadable = [
        (f"{fields} is null", refusal("json", "", whole)),
        (
            unpaired_surrogate("_text"),
            refusal("encoding", "", "'the row holds half of a surrogate pair'"),
        ),
    ]
    return steps, (f"{fields} as _fields",), unreadable


def _csv(stream: Stream) -> _Parsing:
    source = stream.file_source
    width = len(stream.sent_columns) + SPARE_FIELDS
    schema = ", ".join(f"c{i} string" for i in range(width + 1))
    options = {
        "quote": source.quote,
        "escape": "\\" if source.backslash else source.quote,
        "multiLine": "true",
        "mode": "PERMISSIVE",
        "emptyValue": "",
        "ignoreLeadingWhiteSpace": "false",
        "ignoreTrailingWhiteSpace": "false",
    }
    # nullValue must be a text that no field can be: with '' Spark takes a quoted empty field for NULL as well.
    listed = ", ".join(f"{text(k)}, {text(v)}" for k, v in options.items() if v) + ", 'nullValue', chr(0)"
    if not source.quote:
        listed += ", 'quote', ''"

    def parse_by(delimiter: str, line: str) -> str:
        # The line's own hash as a last field tells how many fields there are, and whether the last quote was closed.
        sealed = f"concat({line}, {text(delimiter)}, xxhash64({line}))"
        return f"from_csv({sealed}, {text(schema)}, map('sep', {text(delimiter)}, {listed}))"

    counts = [f"length(_header) - length(replace(_header, {text(one)}, ''))" for one in CANDIDATES]

    def is_delimiter(one: str) -> str:
        return f"{counts[CANDIDATES.index(one)]} = greatest({', '.join(counts)})"

    def parse(line: str) -> str:
        if source.delimiter:
            return parse_by(source.delimiter, line)
        whens = [f"when {is_delimiter(one)} then {parse_by(one, line)}" for one in CANDIDATES]
        return f"case {' '.join(whens)} end"

    def split() -> str:
        """A row without quotes: its fields stand between the delimiters, and an empty one stands for NULL."""
        by = {one: f"split(_text, {text(re.escape(one))}, -1)" for one in source.delimiter or CANDIDATES}
        whens = (f"when {is_delimiter(one)} then {parts}" for one, parts in by.items() if not source.delimiter)
        return by[source.delimiter] if source.delimiter else f"case {' '.join(whens)} end"

    def stray() -> str:
        if source.delimiter:
            return _stray(source, source.delimiter)
        return f"case {' '.join(f'when {is_delimiter(one)} then {_stray(source, one)}' for one in CANDIDATES)} end"

    def values(parsed: str) -> str:
        return "array(" + ", ".join(f"{parsed}.c{i}" for i in range(width + 1)) + ")"

    def count(line: str, array: str) -> str:
        return f"array_position({array}, cast(xxhash64({line}) as string)) - 1"

    def head(array: str, length: str) -> str:
        return f"slice({array}, 1, greatest(0, coalesce(cast({length} as int), 0)))"

    names = [column.name for column in stream.sent_columns]
    # The usual header and the usual row cost a tenth of what the parser does, and mean the same.
    headers = ", ".join(map(text, usual_headers(stream)))
    special = {source.quote, "\\" if source.backslash else "", "\r", "\n"} - {""}
    usual = ("_header", f"_header in ({headers}) as _usual", f"not ({_any_of(special)}) as _plain")
    unparsable = f"not is_valid_utf8(cast(_raw as string)) or contains(_text, {_END_OF_INPUT})"
    parsed = (
        "_header",
        "_usual",
        "_plain",
        f"if(_plain or {unparsable}, null, {parse('_text')}) as _row",
        f"if(_usual or contains(_header, {_END_OF_INPUT}), null, {parse('_header')}) as _head",
    )
    arrays = (
        "_header",
        "_usual",
        "_plain",
        f"if(_plain, null, {values('_row')}) as _values",
        f"if(_usual, null, {values('_head')}) as _names",
    )
    counted = (
        "_header",
        "_usual",
        "_plain",
        "_values",
        "_names",
        f"if(_plain, null, {count('_text', '_values')}) as _n_values",
        f"if(_usual, {len(names)}, {count('_header', '_names')}) as _n_names",
    )
    cut = (
        "_header",
        "_usual",
        f"if(_plain, {split()}, {head('_values', '_n_values')}) as _values",
        f"if(_usual, null, transform({head('_names', '_n_names')}, n -> trim(coalesce(n, '')))) as _names",
        "_plain",
        "_n_values",
        "_n_names",
    )
    checked = (
        "_usual",
        "_values",
        "_names",
        "_plain",
        "if(_plain, size(_values), _n_values) as _n_values",
        "_n_names",
        "if(_usual, false, size(array_distinct(_names)) < size(_names)) as _twice",
        f"if(_plain, false, {stray()}) as _stray",
    )
    null = "if(_plain, transform(_values, v -> nullif(v, '')), _values)"
    named = "not _usual and _n_values >= 1 and _n_values = _n_names and not _twice"
    given = (
        f"if({named}, map_from_arrays(_names, {null}), null) as _fields",
        f"if(_usual and _n_values = {len(names)}, _values, null) as _ordered",
        "_plain as _bare",
    )
    unreadable = [
        ("contains(_text, chr(0))", refusal("nul_character", "", "'the row holds U+0000'")),
        (
            "coalesce(_n_names, 0) < 1",
            refusal("csv", "", f"'the header is not readable, or has more than {width} columns'"),
        ),
        ("_twice", refusal("duplicate_field", "", "'the header names a column twice'")),
        ("_stray", refusal("csv", "", "'something stands between a closing quote and the end of its field'")),
        ("coalesce(_n_values, 0) < 1", refusal("csv", "", f"'a quote is open, or there are more than {width} fields'")),
        (
            "_n_values <> _n_names",
            refusal("csv", "", "concat(_n_values, ' fields, the header has ', _n_names)"),
        ),
    ]
    return (usual, parsed, arrays, counted, cut, checked), given, unreadable


def usual_headers(stream: Stream) -> tuple[str, ...]:
    """The headers that name the contract's columns in its order."""
    names = [column.name for column in stream.sent_columns]
    return tuple(one.join(names) for one in stream.file_source.delimiter or CANDIDATES)


def _stray(source: FileSource, delimiter: str) -> str:
    """SQL that is true for a row with text behind a closing quote: the parser drops some of it, or joins two rows.
    Fields that are quoted from end to end are taken away; no quote may begin a field then."""
    if not source.quote:
        return "false"
    delimiter, quote = re.escape(delimiter), re.escape(source.quote)
    if source.backslash:
        bare, doubled = f"regexp_replace(_text, {text('(?s)' + chr(92) * 2 + '.')}, '')", ""
    else:
        # U+0000 stands for two quotes: a row that holds one of itself is refused in any case.
        bare, doubled = f"replace(_text, {text(source.quote * 2)}, chr(0))", r"\x00"
    more = f"{doubled}*" if doubled else ""
    whole = text(rf"(^|{delimiter}){more}{quote}[^{quote}]*{quote}(?={delimiter}|\z)")
    # Quotes alone are a whole field, and an even number of them; so nothing may follow.
    behind = rf"|{doubled}+[^{delimiter}{doubled}]" if doubled else ""
    rest = f"regexp_replace({bare}, {whole}, '$1')"
    return f"{rest} rlike {text(f'(^|{delimiter})({quote}{behind})')}"


def _any_of(characters: set[str]) -> str:
    return " or ".join(f"contains(_text, {text(one)})" for one in sorted(characters))
