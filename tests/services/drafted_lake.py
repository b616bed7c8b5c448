"""Tables of a source with the contracts that `init` drafts of them, their topics and their lake."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
from pyspark.sql import SparkSession

from connectors.plan import Plan, apply
from connectors.postgres import marker
from connectors.postgres.catalog import read_tables
from connectors.postgres.plan import plan
from connectors.reads.table_reads import Notes
from connectors.removal import remove
from contracts.canonical import content_text_postgres, content_text_spark
from contracts.endpoints import Endpoints
from contracts.loader import load_pipeline
from contracts.settings import Settings
from contracts.stream import Pipeline, Stream
from contracts.table_reads import NO_READS, TableReads
from headrace.drafts.draft import write_contract
from headrace.drafts.tables import Refused, draft_tables
from streaming_jobs.ingest import ingest
from streaming_jobs.lake import create_derived
from streaming_jobs.positions import describe
from streaming_jobs.ranges import Range
from streaming_jobs.state import create_views, merge_state
from streaming_jobs.tables import create_tables
from tests.services.at_once import at_once


@dataclass
class DraftedLake:
    """A schema of its own at the source, and a pipeline of the same name."""

    spark: SparkSession
    endpoints: Endpoints
    settings: Settings
    folder: Path
    name: str = field(default_factory=lambda: f"drafted_{uuid4().hex[:8]}")

    @cached_property
    def pipeline(self) -> Pipeline:
        """As the written contracts have it when it is first asked for."""
        return load_pipeline(self.name, self.folder)

    def declare(self, *streams: Stream) -> None:
        """The pipeline is what was drafted, and these."""
        drafted = (self.folder / "contracts").is_dir()
        folders = (self.folder,) * 3
        found = load_pipeline(self.name, self.folder) if drafted else Pipeline(self.name, (), *folders)
        self.pipeline = replace(found, streams=(*found.streams, *streams))

    @property
    def lake_url(self) -> str:
        return f"{self.endpoints.hdfs_url}/test_lakes/{self.name}"

    def ask(self, statements: str) -> list[tuple[Any, ...]]:
        """Runs them in one transaction; the rows of the last."""
        options = f"-c search_path={self.name} -c timezone=UTC"
        with closing(psycopg2.connect(**self.endpoints.source.dsn(), options=options)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statements)
                rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return rows

    def draft(self) -> list[Refused]:
        """Writes a contract for every table that can have one."""
        with closing(psycopg2.connect(**self.endpoints.source.dsn())) as connection:
            drafts, refused = draft_tables(read_tables(connection, schema=self.name), self.name)
        for one in drafts.values():
            write_contract(one, self.folder / "contracts" / f"{one.stream}.yaml", self.name)
        return refused

    def plan(self, pipeline: Pipeline | None = None) -> Plan:
        return plan(pipeline or self.pipeline, self.endpoints, self.settings)

    def apply(self) -> None:
        """Tables of the lake, connector, first reads."""
        planned = self.plan()
        assert planned.refusals == []
        for create in (create_tables, create_derived, create_views):
            create(self.spark, self.pipeline, self.lake_url)
        apply(planned)

    def take_in(self) -> None:
        """What the topics have goes to the lake, in one batch each, and is merged; nothing may be refused."""
        ends = marker.quiesced(self.pipeline, self.endpoints, timeout_s=120)
        topics = describe(self.endpoints.kafka, [stream.topic for stream in self.pipeline.streams])

        with closing(Notes(self.endpoints.kafka, self.pipeline)) as notes:
            reads = notes.table_reads()

        def told(stream: Stream) -> TableReads:
            return reads.get(stream.table_source.qualified, NO_READS)

        def take(stream: Stream) -> None:
            whole = Range(stream.topic, topics[stream.topic].topic_id, 0, 0, ends[stream.topic, 0])
            now = datetime.now(UTC)
            ingest(self.spark, stream, [whole], self.lake_url, self.endpoints.kafka, "run", "batch", now)
            merge_state(self.spark, stream, self.lake_url, told)

        at_once(take, self.pipeline.streams)
        refused = self.spark.table(f"{self.name}_lake.quarantine").select("rule", "column_name", "raw").collect()
        assert refused == []

    def source(self) -> dict[str, list[str]]:
        """The text of every row of every stream's table, as `verify` would hash it; sorted."""
        return {
            stream.name: sorted(
                row[0]
                for row in self.ask(
                    f"select {content_text_postgres(stream.at_source.columns)} "
                    f'from "{stream.table_source.schema}"."{stream.table_source.table}"'
                )
            )
            for stream in self.pipeline.streams
        }

    def lake(self) -> dict[str, list[str]]:
        """The same of the `_current` views."""

        def texts(stream: Stream) -> tuple[str, list[str]]:
            frame = self.spark.table(f"{stream.history}_current")
            return stream.name, sorted(row[0] for row in frame.selectExpr(content_text_spark(stream.columns)).collect())

        return dict(at_once(texts, self.pipeline.streams))

    def drop(self) -> None:
        """Pipeline, topics, schema and lake; also of a test that came to none of them."""
        if "pipeline" in vars(self):
            remove(self.pipeline, self.endpoints, with_topics=True)
        self.ask(f"drop schema {self.name} cascade")
        self.spark.sql(f"drop schema if exists {self.name}_lake cascade")
