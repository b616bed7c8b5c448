"""A large file goes to HDFS in chunks: the same rows, counts and refusals as row by row, whoever dies when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.wire import decode_chunk
from producers import hdfs_chunks, send
from producers.push import FileResult, SendOptions
from producers.remote_store import StoreUnavailable
from producers.transactions import TransactionalProducer
from streaming_jobs import classify, split_rows
from streaming_jobs.chunk_retention import remove_old_chunks
from streaming_jobs.chunks import ChunkLost
from streaming_jobs.replay import plan_replay, replay
from tests.services.file_lake import FileLake, file_lake
from tests.services.large_file import BY_ROW, FILE, ROWS, STREAM, TWIN, assert_the_same_as_by_row, content
from tests.services.push_process import committed

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]


@pytest.fixture
def lake(spark: SparkSession, endpoints: Endpoints) -> Iterator[FileLake]:
    with file_lake(spark, endpoints, STREAM) as found:
        yield found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / FILE
    path.write_bytes(content())
    return path


def noted(seen: list[bool], found: split_rows.Parted | None) -> split_rows.Parted | None:
    seen.append(found is not None)
    return found


def chunk_paths(lake: FileLake) -> list[str]:
    found = committed(lake.kafka, lake.pipeline.stream("orders").topic)
    assert {key.format for _, key, _ in found} == {"chunk"}
    return [decode_chunk(value).path for _, _, value in found]


def files_on_hdfs(lake: FileLake) -> list[str]:
    loaded = lake.spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    found = loaded.load(f"{lake.lake_url}/_chunks").selectExpr("_metadata.file_path as path").collect()
    return sorted(row["path"].removeprefix(f"{lake.lake_url}/") for row in found)


def test_both_paths_give_the_same_tables_and_counts(
    spark: SparkSession, endpoints: Endpoints, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted: list[bool] = []
    monkeypatch.setattr(classify, "part", lambda *given: noted(parted, split_rows.part(*given)))
    twin = path.with_name(TWIN)
    twin.write_bytes(content())
    with file_lake(spark, endpoints, STREAM, BY_ROW) as lake:
        chunked, rowwise = lake.push(path, twin)
        assert (chunked.state, chunked.rows, chunked.sent) == ("sent", rowwise.rows, rowwise.sent)
        assert len(chunk_paths(lake)) > 3
        results = [lake.take_in(name) for name in ("orders", "by_row")]
        assert results[0] is not None
        assert results[1] is not None
        assert parted == [True, False]
        assert results[0].counts == results[1].counts
        assert results[0].counts.rows == chunked.rows
        assert min(results[0].counts.duplicate, results[0].counts.conflicting, results[0].counts.quarantined) > 0
        assert lake.book() == []
        assert_the_same_as_by_row(lake)
        booked = {row["stream"]: row for row in lake.table("ledger")}
        assert booked["orders"]["rows"] == booked["by_row"]["rows"] == booked["by_row"]["records"]
        assert booked["orders"]["records"] == len(chunk_paths(lake))


def test_a_batch_of_chunks_twice_is_once_and_a_replay_doubles_nothing(lake: FileLake, path: Path) -> None:
    lake.push(path)
    first = lake.take_in("orders")
    assert first is not None
    again = lake.take_in("orders")
    assert again is not None
    assert again.version is None
    before = sorted((row["_line"], row["id"]) for row in lake.table("orders"))
    stream = lake.pipeline.stream("orders")
    ranges = plan_replay(lake.spark, stream, lake.lake_url, lake.kafka, 0)
    done = replay(lake.spark, stream, lake.lake_url, lake.kafka, ranges, now=datetime.now(UTC))
    assert (done.counts.rows, done.counts.written) == (first.counts.rows, 0)
    assert sorted((row["_line"], row["id"]) for row in lake.table("orders")) == before
    assert lake.book() == []
    assert len(lake.table("quarantine")) == first.counts.quarantined


@pytest.mark.parametrize("restored", [True, False])
def test_a_chunk_that_is_missing_or_another_stops_the_stream_until_a_person_resumes_it(
    lake: FileLake, path: Path, restored: bool
) -> None:
    lake.push(path)
    victim = chunk_paths(lake)[1]
    hadoop = lake.spark._jvm.org.apache.hadoop.fs  # type: ignore[union-attr]
    where = hadoop.Path(f"{lake.lake_url}/{victim}")
    files = where.getFileSystem(lake.spark._jsparkSession.sparkContext().hadoopConfiguration())
    kept, other = hadoop.Path(f"{lake.lake_url}/kept"), hadoop.Path(f"{lake.lake_url}/{chunk_paths(lake)[0]}")
    assert files.rename(where, kept)
    with pytest.raises(ChunkLost, match="missing"):
        lake.take_in("orders")
    configuration = lake.spark._jsparkSession.sparkContext().hadoopConfiguration()
    assert hadoop.FileUtil.copy(files, other, files, where, False, configuration)
    with pytest.raises(ChunkLost, match="not those that were sent"):
        lake.take_in("orders")
    assert lake.table("orders") == []
    assert lake.table("quarantine") == []
    assert files.delete(where, False)
    if restored:
        assert files.rename(kept, where)
    found = lake.take_in("orders", without_lost=not restored)
    assert found is not None
    assert lake.book() == []
    assert [row["complete"] for row in lake.table("files")] == [restored]
    refused = [row["rule"] for row in lake.table("quarantine")]
    assert refused.count("chunk") == (0 if restored else 1)
    assert (found.counts.rows == ROWS + 5) == restored


def test_chunks_go_when_nobody_can_need_them_and_never_before_the_lake_has_the_file(lake: FileLake, path: Path) -> None:
    def remove(days: float) -> int:
        now = datetime.now(UTC) + timedelta(days=days)
        return remove_old_chunks(lake.spark, lake.pipeline, lake.kafka, lake.lake_url, now=now)

    lake.push(path)
    # The lake has not read it, and its files table does not even know of it.
    assert remove(300) == 0
    assert {*chunk_paths(lake)} <= {*files_on_hdfs(lake)}
    lake.take_in("orders")
    assert lake.book() == []
    assert remove(STREAM.retention_days + 7.9) == 0
    assert remove(STREAM.retention_days + 8.1) == 1
    assert files_on_hdfs(lake) == []


def test_an_interrupted_attempt_leaves_no_row_and_an_overtaken_one_no_chunk(lake: FileLake, path: Path) -> None:
    class Stopped(BaseException):
        pass

    def stop(_: str, sent: int, __: int) -> None:
        if sent > 5_000:
            raise Stopped

    def overtake(_: str, sent: int, __: int) -> None:
        if sent > 5_000 and not others:
            others.extend(lake.push(path))

    with pytest.raises(Stopped):
        lake.push(path, options=SendOptions(chunks=lake.chunks, progress=stop))
    assert committed(lake.kafka, lake.pipeline.stream("orders").topic) == []
    assert files_on_hdfs(lake) == []
    others: list[FileResult] = []
    overtaken = lake.push(path, options=SendOptions(chunks=lake.chunks, progress=overtake))
    assert [one.state for one in others] == ["sent"]
    assert [one.state for one in overtaken] == ["already_sent"]
    assert sorted(chunk_paths(lake)) == files_on_hdfs(lake)
    assert [one.state for one in lake.push(path)] == ["already_sent"]
    assert sorted(chunk_paths(lake)) == files_on_hdfs(lake)
    found = lake.take_in("orders")
    assert found is not None
    assert found.counts.rows == ROWS + 5


def at_the_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do this once, between the beginning of the transaction with the chunks' records and their commit."""
    begin, begun = TransactionalProducer.begin, list[TransactionalProducer]()

    def begin_and_act(self: TransactionalProducer) -> None:
        begin(self)
        begun.append(self)
        if len(begun) == 2:  # the claim has one of its own
            act()

    monkeypatch.setattr(TransactionalProducer, "begin", begin_and_act)


def test_senders_of_other_files_do_not_make_a_large_one_begin_anew(
    lake: FileLake, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def between(_: str, sent: int, __: int) -> None:
        written.append(sent)

    following = path.with_name("orders_2026-01-06.csv")
    following.write_bytes(b"id,amount,note\n6,1.00,a\n")
    monkeypatch.setattr(send, "SENDERS", 1)
    others: list[FileResult] = []
    written: list[int] = []
    at_the_commit(monkeypatch, lambda: others.extend(lake.push(following)))
    large = lake.push(path, options=SendOptions(chunks=lake.chunks, progress=between))
    assert [one.state for one in others + large] == ["sent", "sent"]
    assert written == sorted(written)
    assert sorted(chunk_paths(lake)) == files_on_hdfs(lake)


def test_a_sender_that_lost_the_id_at_its_commit_finds_the_file_sent(
    lake: FileLake, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[FileResult] = []
    at_the_commit(monkeypatch, lambda: others.extend(lake.push(path)))
    overtaken = lake.push(path)
    assert [one.state for one in others + overtaken] == ["sent", "already_sent"]
    assert sorted(chunk_paths(lake)) == files_on_hdfs(lake)


def test_what_a_dead_attempt_left_goes_after_an_hour_and_an_attempt_without_its_chunks_is_not_sent(
    lake: FileLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "0" * 64
    with lake.chunks.attempt("orders", file) as slow:
        slow.put(slow.path(0), b"0")
        monkeypatch.setattr(hdfs_chunks, "DEAD_AFTER_S", -3600)
        with lake.chunks.attempt("orders", file) as other:
            assert files_on_hdfs(lake) == []
            other.put(other.path(0), b"0")
            slow.put(slow.path(1), b"1")
            with pytest.raises(StoreUnavailable, match="1 of 2 chunks"):
                slow.keep()
            other.keep()
    assert [path.rpartition("/")[2] for path in files_on_hdfs(lake)] == ["000000000000.parquet"]
