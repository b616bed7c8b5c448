"""A large file to the lake in chunks, against a plain Spark job that does the same casts, key and deduplication; and
apart from that, its cleaned table in both targets.

`HEADRACE_BENCH_ROWS` rows of the register of the bundled pipeline `citizens` (32 million are about 6 GB).
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

from contracts.endpoints import Endpoints
from contracts.loader import load_pipeline
from contracts.spark_types import parse_type
from contracts.stream import Pipeline, Stream
from producers.chunks import CUT_BYTES
from producers.generator.declaration import load_sample_data
from producers.generator.generate import generate
from producers.push import SendOptions
from tests.bench.conftest import Lake
from tests.bench.engine_run import write_figures
from tests.bench.measured_push import in_a_process
from tests.services.file_lake import FileLake, file_lake
from warehouse_sql.merge import TARGETS, create_tables, merge_round

ROWS = int(os.environ.get("HEADRACE_BENCH_ROWS", "2000000"))
DAY = date(2026, 1, 5)


def test_a_large_file_in_chunks_against_a_plain_spark_job(lake: Lake, endpoints: Endpoints, tmp_path: Path) -> None:
    bundled, declared = in_chunks("citizens")
    with file_lake(lake.spark, endpoints, declared, cut_bytes=CUT_BYTES) as files:
        # One after the other, smaller ones first: a JVM that has compiled neither would only measure that.
        for scale in (20_000, min(ROWS, 2_000_000), ROWS):
            path = register(bundled, tmp_path / f"{scale}-{time.monotonic_ns()}", scale)
            plain = plain_job(lake, files, path)
            sent, peak = in_a_process(files.pipeline, files.kafka, path, batch_date=DAY, chunks=files.chunks)
            began = time.monotonic()
            found = files.take_in(declared.name)
            taken_in = time.monotonic() - began
            assert found is not None
            assert found.counts.rows >= scale
            figures = {
                "rows": found.counts.rows,
                "file_bytes": path.stat().st_size,
                "push_s": round(sent, 1),
                "push_mb_per_s": round(path.stat().st_size / sent / 1e6),
                "take_in_s": round(taken_in, 1),
                "plain_spark_s": round(plain, 1),
                "ratio": round((sent + taken_in) / plain, 2),
                "aim": 1.3,
                "push_peak_mib": peak // 1024,
                "batch_seconds": {name: round(value, 1) for name, value in found.seconds.items()},
            }
            path.unlink()
    write_figures("large_file", figures)


def test_the_cleaned_table_of_a_large_file_in_delta_and_in_postgres(
    lake: Lake, endpoints: Endpoints, tmp_path: Path
) -> None:
    bundled, declared = in_chunks("citizens")
    with file_lake(lake.spark, endpoints, declared, cut_bytes=CUT_BYTES) as files:
        pipeline = replace(files.pipeline, warehouse_sql_dir=bundled.warehouse_sql_dir)
        url = f"{files.lake_url}/warehouse"
        create_tables(lake.spark, pipeline, endpoints, url=url)
        for day, scale in ((DAY, 20_000), (date(2026, 1, 6), ROWS)):
            path = register(bundled, tmp_path / str(scale), scale, day)
            files.push(path, options=SendOptions(batch_date=day, chunks=files.chunks))
            path.unlink()
            files.take_in(declared.name)
            began = time.monotonic()
            assert files.book() == []
            seconds = {"book": time.monotonic() - began}
            for target in TARGETS:
                began = time.monotonic()
                report = merge_round(lake.spark, pipeline, endpoints, [target], url=url)
                seconds[target] = time.monotonic() - began
                report.check()
                assert report.rows >= 0.9 * scale
    rounded = {name: round(one, 1) for name, one in seconds.items()}
    write_figures("large_file_star_schema", {"rows": report.rows, "seconds": rounded})


def in_chunks(name: str) -> tuple[Pipeline, Stream]:
    """A bundled pipeline and its one stream, every file of which is large."""
    pipeline = load_pipeline(name)
    (stream,) = pipeline.streams
    return pipeline, replace(stream, source=replace(stream.file_source, bulk_bytes=1), quarantine_minimum=10**12)


def register(pipeline: Pipeline, folder: Path, rows: int, day: date = DAY) -> Path:
    data = load_sample_data(pipeline.contracts_dir / "sample_data.yaml", pipeline)
    answer = generate(data, pipeline, folder, [day], scale=rows / 3000, seed=time.monotonic_ns() % 10**6)
    return folder / answer.files[0].file


def plain_job(lake: Lake, files: FileLake, path: Path) -> float:
    """What one would write by hand: the same casts, key and deduplication, into Delta on the same HDFS."""
    stream = files.pipeline.streams[0]
    began = time.monotonic()
    schema = ", ".join(f"`{column.name}` string" for column in stream.sent_columns)
    raw = lake.spark.read.option("header", True).schema(schema).csv(path.as_uri())
    typed = raw.selectExpr(*(cast(stream, column.name) for column in stream.sent_columns), f"date'{DAY}' as batch_date")
    keyed = typed.selectExpr("*", f"sha2(concat_ws('|', {', '.join(stream.key)}), 256) as _key")
    target = f"{files.lake_url}/plain_{time.monotonic_ns()}"
    keyed.dropDuplicates(["_key"]).write.format("delta").partitionBy("batch_date").save(target)
    assert lake.spark.read.format("delta").load(target).count() > 0
    return time.monotonic() - began


def cast(stream: Stream, name: str) -> str:
    kind = parse_type(stream.column(name).spark_type).simple()
    return f"try_cast(`{name}` as {kind}) as `{name}`"
