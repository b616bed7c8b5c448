"""A contract says what headrace does; one that is wrong, or promises what nobody would do, is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import ContractError
from contracts.expressions import literal
from contracts.loader import load_pipeline, load_stream
from contracts.spark_types import current_columns, history_columns, parse_type
from contracts.stream import FileSource, Rule, Stream, TableSource

GOOD = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.orders
version: 1.0.0
status: active
team: {name: sales}
slaProperties:
  - {property: freshness, value: 2, unit: m}
customProperties:
  - {property: headrace.filePattern, value: 'orders_(?P<day>[0-9]+)\\.csv'}
  - {property: headrace.fileFormat, value: csv}
  - {property: headrace.fileUnit, value: day}
  - {property: headrace.version, value: changed_at}
  - {property: other.tool, value: kept}
schema:
  - name: orders
    properties:
      - {name: line_no, logicalType: integer, physicalType: int, primaryKey: true, primaryKeyPosition: 2}
      - {name: order_id, physicalType: string, primaryKey: true, primaryKeyPosition: 1}
      - name: price
        logicalType: number
        physicalType: decimal(10, 2)
        required: true
        logicalTypeOptions: {minimum: 0, exclusiveMaximum: 5000}
      - name: code
        logicalType: string
        physicalType: string
        tags: [pii]
        logicalTypeOptions: {pattern: "^[A-Z]'\\\\d+$", maxLength: 8}
        quality:
          - {metric: invalidValues, mustBe: 0, arguments: {validValues: ["A'1", B2]}, name: known_code}
      - name: tags
        logicalType: map
        physicalType: map<string,array<int>>
        customProperties:
          - {property: headrace.json, value: true}
      - {name: changed_at, logicalType: timestamp, physicalType: timestamp}
      - name: day
        logicalType: string
        physicalType: string
        partitioned: true
        customProperties:
          - {property: headrace.fromFileName, value: true}
    quality:
      - name: cheap_lines_first
        type: custom
        engine: headrace
        implementation: {row: "line_no < 3 or price / line_no > 1 or exists(tags['x'], t -> t > line_no)"}
      - {type: custom, engine: soda, implementation: "someone else's"}
      - {type: text, description: for people}
"""


@pytest.fixture
def stream_of(tmp_path: Path) -> Callable[..., object]:
    def load(text: str) -> object:
        file = tmp_path / "orders.yaml"
        file.write_text(text, encoding="utf-8")
        return load_stream(file, "shop")

    return load


def test_every_word_of_a_contract_reaches_the_stream(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "orders.yaml").write_text(GOOD, encoding="utf-8")
    pipeline = load_pipeline("shop", tmp_path)
    (stream,) = pipeline.streams
    assert pipeline.warehouse_sql_dir == tmp_path / "warehouse_sql"
    assert (stream.topic, stream.key, stream.version) == ("shop.files.orders", ("order_id", "line_no"), "changed_at")
    assert (stream.partition_by, stream.freshness_s, stream.owner) == ("day", 120.0, "sales")
    assert stream.source == FileSource(r"orders_(?P<day>[0-9]+)\.csv", "csv", "day")
    assert stream.column("tags").json
    assert stream.column("code").pii
    assert stream.column("price").spark_type == "decimal(10,2)"
    assert [c.name for c in stream.columns if c.required] == ["line_no", "order_id", "price", "day"]
    assert stream.rules == (
        Rule("line_no_required", "`line_no` is not null", "line_no"),
        Rule("order_id_required", "`order_id` is not null", "order_id"),
        Rule("price_required", "`price` is not null", "price"),
        Rule("price_minimum", "`price` >= 0", "price"),
        Rule("price_exclusive_maximum", "`price` < 5000", "price"),
        Rule("code_pattern", r"`code` rlike '^[A-Z]\'\\d+$'", "code"),
        Rule("code_max_length", "char_length(`code`) <= 8", "code"),
        Rule("known_code", r"`code` in ('A\'1', 'B2')", "code"),
        Rule("day_required", "`day` is not null", "day"),
        Rule("cheap_lines_first", "line_no < 3 or price / line_no > 1 or exists(tags['x'], t -> t > line_no)"),
    )


TABLE = ("headrace.filePattern, value: 'orders_(?P<day>[0-9]+)\\.csv'}", "headrace.table, value: public.orders}")
C = "customProperties:"
LONG = "line_no < 3 or price / line_no > 1 or exists(tags['x'], t -> t > line_no)"
MISSING = (
    'metric: invalidValues, mustBe: 0, arguments: {validValues: ["A\'1", B2]}',
    "metric: missingValues, mustBe: 0, arguments: {missingValues: NA}",
)
DELIMITER = ("{property: other.tool, value: kept}", "{property: headrace.fileDelimiter, value: '||'}")
TOPIC = ("{property: other.tool, value: kept}", "{property: headrace.topic, value: ")
WRONG = {
    "an unknown property, with the near one": (("headrace.version,", "headrace.versoin,"), "", "`headrace.version`"),
    "a property without its dot": (("headrace.version,", "headrace_version,"), "", "lacks the dot"),
    "a value of the wrong kind": (("value: day}", "value: 7}"), "", "headrace.fileUnit"),
    "a word that ODCS lacks": (("required: true", "requird: true"), "", "no word of ODCS"),
    "a key that stands twice": (("status: active", "status: active\nid: again"), "id: again", "second time"),
    "two columns of one name": (("name: code", "name: price"), "", "second time"),
    "an unknown type": (("decimal(10, 2)", "money"), "", "no type headrace carries"),
    "a type that contradicts itself": (("logicalType: number", "logicalType: string"), "", "logicalType: number"),
    "no key": ((", primaryKey: true", ""), "    properties:", "has no key"),
    "key columns in no order": (("Position: 2", "Position: 1"), "name: line_no", "positions are [1, 1]"),
    "a double in the key": (("physicalType: string, p", "physicalType: double, p"), "", "print differently"),
    "a pattern without the unit": (("?P<day>", "?P<date>"), C, "no group for day"),
    "a pattern that is no pattern": (("(?P<day>", "((?P<day>"), C, "no regular expression"),
    "no source": (("headrace.filePattern", "other.filePattern"), C, "must name one source"),
    "a table with a file's format": (TABLE, C, "a table has no `headrace.fileFormat`"),
    "a version that is no column": (("value: changed_at", "value: changed"), C, "no column"),
    "a partition that is not the unit": (("timestamp}", "timestamp, partitioned: true}"), "name: day", "two columns"),
    "a name that YAML takes for a no": (("name: code", "name: no"), "name: no", "'no', in quotes"),
    "a field that YAML takes for a number": ((*TOPIC[:1], TOPIC[1] + "1_0}"), "1_0", "'1_0', in quotes"),
    "a freshness that is no number": (("value: 2, unit", "value: .nan, unit"), "", "freshness is nan"),
    "a freshness without end": (("value: 2, unit", "value: .inf, unit"), "", "freshness is inf"),
    "more days than Kafka counts": (
        ("{property: other.tool, value: kept}", "{property: headrace.retentionDays, value: 99999999999}"),
        "",
        "headrace.retentionDays",
    ),
    "an unknown freshness unit": (("unit: m", "unit: fortnight"), "", "unit: s"),
    "a rule on an unknown column": (("line_no < 3", "lineno < 3"), "", "'lineno', which is no column"),
    "a rule that is no SQL": (("line_no < 3", "line_no < (3"), "", "is not Spark SQL"),
    "a rule about many rows": (("line_no < 3", "line_no < max(line_no)"), "", "more than one row"),
    "a rule about another table": (("line_no < 3", "line_no in (select 1)"), "", "more than one row"),
    "a rule that changes with the clock": (("line_no < 3", "changed_at < now()"), "", "replay"),
    "a rule that is no condition": ((LONG, "1"), "row: ", "not a condition"),
    "a bound that is no number": (("minimum: 0", "minimum: low"), "", "not a number"),
    "an option nobody enforces": (("minimum: 0", "multipleOf: 5"), "", "not enforced"),
    "a metric nobody enforces": (("metric: invalidValues", "metric: duplicateValues"), "", "not enforced"),
    "a share that may be wrong": (("mustBe: 0", "mustBeLessThan: 5"), "", "mustBe: 0"),
    "a query where a row rule belongs": (("{type: text, description", "{type: sql, query"), "", "checks"),
    "a rule without a name": (("name: cheap_lines_first", "id: x"), "", "needs a name"),
    "nested values that arrive as text": (("json, value: true", "json, value: false"), C, "headrace.json"),
    "JSON that is kept as a string": (("map<string,array<int>>", "string"), "logicalType: map", "logicalType"),
    "map keys that JSON cannot have": (("map<string,", "map<int,"), "map<int", "keys of a map"),
    "the name of a table of ours": (("name: orders", "name: ledger"), "", "no name for a stream"),
    "another standard": (("apiVersion: v3.1.0", "apiVersion: v2.2.2"), "", "ODCS v3"),
    "no YAML": (("status: active", "status: [active"), None, "is not YAML"),
    "a bound that is not a number": (("minimum: 0", "minimum: .nan"), "", "compared with"),
    "a bound without end": (("minimum: 0", "minimum: -.inf"), "", "compared with"),
    "a bound that YAML alters": (("minimum: 0", "minimum: 1.234567890123456789e+0"), "", "without an exponent"),
    "a bound that no decimal holds": (("minimum: 0", f"minimum: {'7' * 39}"), "", "more than 38 digits"),
    "a pattern that is NULL": (("pattern: \"^[A-Z]'\\\\d+$\"", "pattern: null"), "", "is no string"),
    "a pattern that is a number": (("pattern: \"^[A-Z]'\\\\d+$\"", "pattern: 5"), "", "is no string"),
    "a pattern that is a list": (("pattern: \"^[A-Z]'\\\\d+$\"", "pattern: [a]"), "", "is no string"),
    "a pattern that repeats too often": (("^[A-Z]", "a{99999999999}"), "pattern", "no regular expression"),
    "two bounds": (("mustBe: 0", "mustBe: 0, mustBeLessThan: 5"), "", "no other bound"),
    "missing values in no list": (MISSING, "missingValues: NA", "no list"),
    "a rule of no engine": (("engine: soda, ", ""), "someone else's", "names no engine"),
    "a rule of an empty engine": (("engine: soda", "engine: ' '"), "", "names no engine"),
    "a rule of ours in capitals": (("engine: soda", "engine: Headrace"), "", "needs a name"),
    "a rule of ours with a space": (("engine: soda", "engine: 'headrace '"), "", "needs a name"),
    "a delimiter of two": (DELIMITER, "'||'}", "one printable ASCII"),
    "no delimiter": ((DELIMITER[0], DELIMITER[1].replace("||", "")), "''}", "one printable ASCII"),
    "a quote for a delimiter": ((DELIMITER[0], DELIMITER[1].replace("||", '"')), "fileDelimiter", "no quote"),
    "a delimiter of two bytes": ((DELIMITER[0], DELIMITER[1].replace("||", "¦")), "fileDelimiter", "ASCII"),
    "a delimiter that ends a line": ((DELIMITER[0], DELIMITER[1].replace("'||'", r'"\n"')), "Delimiter", "printable"),
    "a digit for a delimiter": ((DELIMITER[0], DELIMITER[1].replace("||", "1")), "fileDelimiter", "digit"),
    "a topic with a space": ((TOPIC[0], TOPIC[1] + "'my topic'}"), "my topic", "Kafka takes"),
    "a topic that is a folder": ((TOPIC[0], TOPIC[1] + "'..'}"), "'..'", "Kafka takes"),
    "a topic too long": ((TOPIC[0], TOPIC[1] + "t" * 250 + "}"), "tttt", "Kafka takes"),
    "files without transactions": (
        ("{property: other.tool, value: kept}", "{property: headrace.consistentCut, value: true}"),
        C,
        "files come without the transactions",
    ),
    "a type without end": (("map<string,array<int>>", "array<" * 5000), "physicalType", "too deeply"),
    "a value that is no date": (("status: active", "contractCreatedTs: 2026-02-30"), "", "day is out of range"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_contract_is_refused_at_its_line(case: str, stream_of: Callable[..., object]) -> None:
    (old, new), anchor, message = WRONG[case]
    text = GOOD.replace(old, new)
    assert text != GOOD
    with pytest.raises(ContractError) as refused:
        stream_of(text)
    assert message in str(refused.value)
    lines = text.splitlines()
    assert refused.value.line
    assert anchor is None or (anchor or new) in lines[refused.value.line - 1], str(refused.value)


@pytest.mark.parametrize(
    ("written", "bound"),
    [
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("+12345678901234567.25", "12345678901234567.25"),
        ("12345678901234567890", "12345678901234567890"),
        ("0.10", "0.1"),
        ("1.5e+3", "1500.0"),
    ],
)
def test_a_bound_keeps_its_digits(written: str, bound: str, stream_of: Callable[..., Stream]) -> None:
    rules = {rule.name: rule.expression for rule in stream_of(GOOD.replace("minimum: 0", f"minimum: {written}")).rules}
    assert rules["price_minimum"] == f"`price` >= {bound}"


def test_missing_values_are_a_list_and_null_is_one_of_them(stream_of: Callable[..., Stream]) -> None:
    listed = MISSING[1].replace("NA", "[NA, null, '']")
    rules = {rule.name: rule.expression for rule in stream_of(GOOD.replace(MISSING[0], listed)).rules}
    assert rules["known_code"] == "`code` is not null and `code` not in ('NA', '')"


def test_an_odcs_model_that_raises_is_a_wrong_contract(
    stream_of: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise TypeError("odd")

    monkeypatch.setattr("contracts.loader.OpenDataContractStandard.model_validate", raises)
    with pytest.raises(ContractError, match=r"orders\.yaml:1: is not read .* TypeError: odd"):
        stream_of(GOOD)


@pytest.mark.parametrize("wrong", ["20260105", "2026-W01-1", "next week"])
def test_a_bound_of_time_is_a_date_that_spark_reads_too(wrong: str) -> None:
    assert literal("2026-01-05 10:00", parse_type("timestamp")) == "cast('2026-01-05 10:00' as timestamp)"
    with pytest.raises(ValueError, match="ISO 8601"):
        literal(wrong, parse_type("date"))


def test_two_streams_of_one_topic_a_strange_file_and_a_missing_pipeline_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "contracts"
    with pytest.raises(ContractError, match="no pipeline `shop`"):
        load_pipeline("shop", tmp_path)
    folder.mkdir()
    with pytest.raises(ContractError, match="has no contract"):
        load_pipeline("shop", tmp_path)
    (folder / "a.yaml").write_text(GOOD, encoding="utf-8")
    (folder / "b.yaml").write_text(GOOD.replace("name: orders", "name: other").replace(
        "customProperties:\n", "customProperties:\n  - {property: headrace.topic, value: shop.files.orders}\n", 1
    ), encoding="utf-8")  # fmt: skip
    with pytest.raises(ContractError, match=r"the topic `shop\.files\.orders`, as a\.yaml"):
        load_pipeline("shop", tmp_path)
    text = (folder / "b.yaml").read_text(encoding="utf-8")
    (folder / "b.yaml").write_text(text.replace("value: shop.files.orders", "value: shop.files_orders"))
    with pytest.raises(ContractError, match=r"for Kafka the same as `shop\.files\.orders`, as a\.yaml"):
        load_pipeline("shop", tmp_path)
    (folder / "b.yaml").write_text("kind: Recipe\n")
    with pytest.raises(ContractError, match="kind `Recipe` is unknown"):
        load_pipeline("shop", tmp_path)
    with pytest.raises(ContractError, match="no name for a pipeline"):
        load_pipeline("My Shop", tmp_path)


def test_a_topic_may_not_be_that_of_the_files_states(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    text = GOOD.replace(TOPIC[0], TOPIC[1] + "shop.files}")
    (tmp_path / "contracts" / "orders.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=r"orders\.yaml: has the topic `shop\.files`"):
        load_pipeline("shop", tmp_path)


@pytest.mark.parametrize("delimiter", [";", r"\t", "|", " "])
def test_a_delimiter_that_spark_takes(delimiter: str, stream_of: Callable[..., Stream]) -> None:
    text = GOOD.replace(DELIMITER[0], DELIMITER[1].replace("'||'", f'"{delimiter}"'))
    assert stream_of(text).file_source.delimiter == delimiter.replace(r"\t", "\t")


def test_the_bundled_pipeline_has_its_six_streams() -> None:
    pipeline = load_pipeline("edtech")
    tables = {s.name: s.source for s in pipeline.cdc_streams}
    assert tables == {name: TableSource("public", name) for name in ("courses", "instructors", "students")}
    assert {s.name for s in pipeline.file_streams} == {"quiz_attempts", "student_engagement", "video_watch_logs"}
    for stream in pipeline.file_streams:
        form = stream.file_source.format
        name = f"{stream.name}_2026-01-05.{form}"
        assert stream.file_source.match(name) == {"batch_date": "2026-01-05"}
        assert stream.file_source.match(f"{name}.part") is None
        assert stream.partition_by == "batch_date"
    for stream in pipeline.streams:
        assert stream.description
        assert all(column.description for column in stream.columns)


def test_the_lakes_columns_follow_the_contract() -> None:
    pipeline = load_pipeline("edtech")
    names = [name for name, _ in history_columns(pipeline.stream("quiz_attempts"))]
    assert names[:2] == ["attempt_id", "student_id"]
    assert names[-3:] == ["_file", "_file_hash", "_line"]
    assert [name for name, _ in history_columns(pipeline.stream("courses"))][-4:] == [
        "_ingested_at",
        "_snapshot",
        "_unavailable",
        "_moved_key",
    ]
    assert [name for name, _ in current_columns(pipeline.stream("courses"))][-4:] == [
        "_key",
        "_version",
        "_hash",
        "_event_time",
    ]


@pytest.mark.parametrize(
    "text", ["struct<a:int,b:array<map<string,decimal(38,0)>>>", "timestamp_ntz", "array<struct<x:double>>"]
)
def test_a_type_reads_back_as_it_is_written(text: str) -> None:
    assert parse_type(text.upper().replace("<A:", "<a:").replace(",B:", ",b:").replace("<X:", "<x:")).simple() == text
    for wrong in (text + ">", text[:-1], "", "decimal(39,1)", "decimal(3,4)", "struct<a:int,A:int>", "map<string>"):
        if wrong != "timestamp_nt":
            with pytest.raises(ValueError):
                parse_type(wrong)
