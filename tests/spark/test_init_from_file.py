"""By the contract that `init --from-file` writes, `push` takes the very file, and the streaming job all of its rows."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import BinaryIO, cast

from pyspark.sql import DataFrame, SparkSession

from contracts.loader import load_stream
from contracts.stream import Pipeline, Stream
from headrace.drafts.draft import draft_contract, write_contract
from producers.push import FileResult, Judged, Sender, SendOptions
from producers.scan import Scan
from producers.send import Arrival
from producers.states import FilesTopic
from streaming_jobs.transforms.sql import text
from tests.spark.landing import DAY, judged, records_of, to_kafka
from tests.unit.sample_csv import CSV, Case
from tests.unit.sample_other import OTHER

LIKE_OTHERS = (
    *("gzip", "single quotes around plain texts", "an apostrophe is no quote", "dates that may be either"),
    *("numbers beyond 64 bits stay texts", "a word for NULL among texts is a text", "a day that does not exist"),
    *("text that only begins as json", "dates that are both are texts", "nanoseconds would be cut", "a single column"),
    *(
        "no newline at the end",
        "american dates",
        "thousands with apostrophes",
        "a plus sign and an exponent stay texts",
    ),
    *("utf-16 without a mark", "leading zeros stay", "no header, a word stands again", "parquet within gzip", "crlf"),
    *("a common access log", "columns named as YAML's words", "bars"),
)
"""Their contracts differ from those of other samples in nothing that the streaming job reads by."""
SAMPLES = {name: case for name, case in {**CSV, **OTHER}.items() if name not in LIKE_OTHERS}
ROWS = dict.fromkeys(SAMPLES, 2) | {
    "a single column of texts with commas": 3,
    "quotes that quote nothing": 4,
    "only a header": 0,
    "a byte order mark": 1,
    "cp1252": 1,
    "timestamps": 1,
    "words for NULL": 3,
    "a key of two columns": 4,
    "persons": 1,
    "json objects within objects": 1,
    "json dates as people write them, within objects too": 1,
    "json numbers that equal texts": 3,
    "json names that differ in case": 1,
}
REFUSED = {
    # An object and an array in one column: no type holds both, and no text says how they were written.
    "json of several kinds": {1: "type x", 2: "type x"},
    # Of nanoseconds that are no whole microseconds a timestamp would lose some.
    "parquet": {1: "type at", 2: "type at"},
}


class NothingSent:
    """A files topic that holds nothing."""

    def read_to_end(self) -> dict[tuple[str, str], object]:
        return {}


class Collected:
    """A `producers.push.Judge` that puts off judging: the rows of all files in one job."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self.name = ""
        self.frames: list[DataFrame] = []

    def __call__(self, source: BinaryIO, arrival: Arrival, scanned: Scan, stream: Stream) -> Judged:
        source.seek(0)
        records = records_of(stream, arrival.file, source.read(), scanned)
        if records:
            frame = judged(stream, to_kafka(self._spark, records))
            found = ("_line", "_key", "concat_ws(' ', _refusal.rule, _refusal.column_name) as refusal")
            self.frames.append(frame.selectExpr(f"{text(self.name)} as sample", *found))
        return Judged(0, 0, 0, 0, ())


def pushed(name: str, case: Case, folder: Path, judge: Collected) -> FileResult:
    """The file, by the contract that was written for it."""
    folder.mkdir()
    file = folder / case.file_name
    file.write_bytes(case.content)
    header = True if case.source.get("header") is True else None
    draft = draft_contract(file, "shop", stream="sample", header=header)
    write_contract(draft, folder / "sample.yaml", "shop")
    pipeline = Pipeline("shop", (load_stream(folder / "sample.yaml", "shop"),), folder, folder, folder)
    judge.name = name
    options = SendOptions(dry_run=True, judge=judge, batch_date=date.fromisoformat(DAY), spool=folder / "spool")
    (result,) = Sender(pipeline, "no broker", cast(FilesTopic, NothingSent()), options).push_path(file)
    return result


def test_what_init_drafts_of_a_file_takes_in_all_of_its_rows(spark: SparkSession, tmp_path: Path) -> None:
    judge = Collected(spark)
    results = {
        name: pushed(name, case, tmp_path / str(number), judge) for number, (name, case) in enumerate(SAMPLES.items())
    }
    assert {name: result.reason for name, result in results.items() if result.state != "would_send"} == {}
    rows = [row for frame in judge.frames for row in frame.collect()]
    refused: dict[str, dict[int, str]] = {}
    for row in rows:
        if row["refusal"]:
            refused.setdefault(row["sample"], {})[row["_line"]] = row["refusal"]
    assert refused == REFUSED
    found = Counter(row["sample"] for row in rows)
    assert {name: found[name] for name in SAMPLES} == ROWS
    events = Counter((row["sample"], bytes(row["_key"])) for row in rows if not row["refusal"])
    assert [event for event, count in events.items() if count > 1] == []
