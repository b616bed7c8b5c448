"""State and current: one row per key, deleted keys kept with the version that deleted them.

A state row is what the newest change of its key says, whatever order the changes are merged in. Two things are not a
change of their own key: a newer complete snapshot deletes the keys that it did not read again (their delete was lost
when Connect was killed, or with the replication slot), and a replayed row may be older than what was merged before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession

from contracts.current import current_of_files
from contracts.errors import Conflict
from contracts.failpoints import failpoint
from contracts.spark_types import rescued_columns
from contracts.stream import Pipeline, Stream
from contracts.table_reads import NO_READS, Place, TableReads
from streaming_jobs.commit_log import headrace_commits, table_exists
from streaming_jobs.delta_commit import TableTransaction, met_another_writer
from streaming_jobs.files import issue_files_view
from streaming_jobs.lake import issue_view, table_path
from streaming_jobs.ranges import VERSIONS_PER_EPOCH, epoch_id, epoch_of

# Per table, the newest snapshot that ran to its end: from its first row to its last. An interrupted snapshot
# leaves a `first` without a `last`; the next one begins with a `first` of its own. A read of a part of the table has
# the same markers; where it lies in the topic is told by `TableReads`. Incremental snapshots interleave with changes
# and never sweep.
_MARKER = "_snapshot in ('first', 'first_in_data_collection', 'last', 'last_in_data_collection')"
_OF_SNAPSHOT = f"({_MARKER} or _snapshot = 'true')"
_SNAPSHOT = """
with newest as (select max(_version) as last from {rows} where _snapshot like 'last%'),
before as (select coalesce(max(_version), -1) as last from {rows}, newest as n
           where _snapshot like 'last%' and _version < n.last)
select n.last as last, count(*) as rows, max(r._version) filter (where r._snapshot like 'first%') as first
from {rows} as r, newest as n, before as b where r._version > b.last and r._version <= n.last group by n.last
"""
# What a snapshot overruled is deleted with the version of its first row: above all that was before, and below each of
# the snapshot's other rows, so that one that comes late (it was quarantined, then replayed) is simply newer.
_NEWEST = """
select * except (_nth, _op, _version), _version as _was, greatest(_version, :first) as _version,
       _op = 'd' or _version < :first as _deleted, cast(:number as bigint) as _merged
from (select *, row_number() over (partition by _key order by _version desc) as _nth from {news}) where _nth = 1
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete snapshot of one table: versions of its first and last row."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class StateMerge:
    """What one round did: `position` is the next `_version` to merge."""

    stream: str
    position: int
    changed: int = 0
    swept: int = 0


def create_views(spark: SparkSession, pipeline: Pipeline) -> None:
    """Make `files` and every stream's `_current` where they are missing, so that whoever asks before the first merge
    gets an answer. Needs the tables; may be called at any time."""
    issue_files_view(spark, pipeline)
    for stream in pipeline.streams:
        if not stream.is_cdc:
            refresh_file_view(spark, stream)
        elif not spark.catalog.tableExists(f"{stream.history}_current"):
            _reissue(spark, stream, 0)


def merge_states(
    spark: SparkSession, pipeline: Pipeline, lake_url: str, told: Callable[[Stream], TableReads] = lambda _: NO_READS
) -> list[StateMerge]:
    """Bring every CDC stream's state table and every stream's `_current` view up to its history, one after another."""
    streams = [stream for stream in pipeline.cdc_streams if _ready(spark, stream, lake_url)]
    done = [merge_state(spark, stream, lake_url, told) for stream in streams]
    for stream in pipeline.file_streams:
        if _ready(spark, stream, lake_url):
            refresh_file_view(spark, stream)
    return done


def merge_state(
    spark: SparkSession, stream: Stream, lake_url: str, told: Callable[[Stream], TableReads] = lambda _: NO_READS
) -> StateMerge:
    """Merge what is new in the history into `<stream>_state`, sweep, and re-issue `<stream>_current`.

    May be called at any time and again after a crash anywhere: each step compares versions, and the position is
    written last. Readers of the state see `_merged` rise with every change they have not seen. `told` is asked after
    the history: whoever asks for a read of a part says so before its first row can be there.

    Raises:
        Conflict: another merge of this stream was faster; its result stands.
    """
    history_path = table_path(lake_url, stream.pipeline, stream.name)
    state_path = table_path(lake_url, stream.pipeline, f"{stream.name}_state")
    opened = TableTransaction(spark, history_path)
    seen, origin = opened.read_version, opened.positions()
    known = TableTransaction(spark, state_path).positions()
    position, replayed = known.get(f"state:{stream.name}", 0), known.get(f"history:{stream.name}", 0)
    history = spark.read.format("delta").option("versionAsOf", seen).load(history_path)
    reads = told(stream)
    remembered = _known_snapshot(stream, known)
    snapshot = _later(remembered, _of_few_rows(history, reads, origin))
    if seen < replayed and snapshot == remembered:
        _reissue(spark, stream, position)
        return StateMerge(stream.name, position)
    filters = [f"_version >= {position}"]
    if 0 < replayed <= seen:
        filters += _replay_filters(spark, history_path, (replayed, seen + 1), origin)
    news = history.where(" or ".join(f"({one})" for one in filters))
    newest = news.selectExpr("max(_version) as version", f"count_if({_MARKER}) as markers").first()
    changed = swept = 0
    after = {f"history:{stream.name}": seen + 1}
    news_to = newest["version"] if newest is not None else None
    if newest is not None and news_to is not None:
        if newest["markers"]:
            snapshot = _later(snapshot, complete_snapshot(spark, history.where(_not_in(reads, origin))))
        changed = _merge(spark, stream, state_path, news, snapshot)
        position = max(position, news_to + 1)
    if snapshot and (news_to is not None or snapshot != remembered):
        swept = _sweep(spark, state_path, snapshot)
        after |= {f"snapshot_first:{stream.name}": snapshot.first, f"snapshot_last:{stream.name}": snapshot.last}
    failpoint("before_state_commit")
    after[f"state:{stream.name}"] = position
    TableTransaction(spark, state_path).commit(after, {"headrace": 1, "kind": "state"})
    failpoint("after_state_commit")
    _reissue(spark, stream, position)
    return StateMerge(stream.name, position, changed, swept)


def _known_snapshot(stream: Stream, known: Mapping[str, int]) -> Snapshot | None:
    """The snapshot that the state remembers: the history is searched again only when it got new markers."""
    last = known.get(f"snapshot_last:{stream.name}")
    return None if last is None else Snapshot(known[f"snapshot_first:{stream.name}"], last)


def _later(one: Snapshot | None, other: Snapshot | None) -> Snapshot | None:
    return max((found for found in (one, other) if found), key=lambda found: found.first, default=None)


def _version_at(place: Place, positions: Mapping[str, int]) -> int:
    return epoch_of(place.topic_id, positions) * VERSIONS_PER_EPOCH + place.offset


def _of_few_rows(history: DataFrame, reads: TableReads, positions: Mapping[str, int]) -> Snapshot | None:
    """The read that left no markers, as a snapshot that begins just before its place; None while its row has not come.

    Before its place: a change at the place itself is newer than the read and must not have the version of a sweep.
    What lies just before it is a transaction's marker, or stays.
    """
    few = reads.few
    if few is None or few.place.offset == 0 or epoch_id(few.place.topic_id) not in positions:
        return None
    begins = _version_at(few.place, positions)
    if few.rows and history.where(f"{_OF_SNAPSHOT} and _version >= {begins}").isEmpty():
        return None
    return Snapshot(begins - 1, begins - 1)


def _not_in(reads: TableReads, positions: Mapping[str, int]) -> str:
    """SQL that is false for the rows of reads of a part."""
    conditions = ["true"]
    for first, end in reads.parts:
        if epoch_id(first.topic_id) in positions:
            after = f" or _version >= {_version_at(end, positions)}" if end else ""
            conditions.append(f"(_version < {_version_at(first, positions)}{after})")
    return " and ".join(conditions)


def complete_snapshot(spark: SparkSession, history: DataFrame) -> Snapshot | None:
    """The newest snapshot in this history that ran to its end, None if none did.

    None also while its first row is missing (it was quarantined): where it began is not known, and all that it read
    would look older. Of a table of one row there is only a last one.
    """
    row = spark.sql(_SNAPSHOT, rows=history.where(_OF_SNAPSHOT).select("_version", "_snapshot")).first()
    if row is None or (row["first"] is None and row["rows"] > 1):
        return None
    return Snapshot(int(row["last"] if row["first"] is None else row["first"]), int(row["last"]))


def _replay_filters(spark: SparkSession, path: str, span: tuple[int, int], positions: Mapping[str, int]) -> list[str]:
    """Conditions for the rows that replays wrote below the position, by the ranges that their commits name."""
    commits = headrace_commits(spark, {path: span}).where("meta.kind = 'replay'")
    ranges = commits.selectExpr("explode(meta.ranges) as r").where("r.accepted + r.conflicting > 0").select("r.*")
    result = []
    for row in ranges.collect():
        base = epoch_of(row["topic_id"], positions) * VERSIONS_PER_EPOCH
        result.append(f"_version >= {base + row['first']} and _version < {base + row['next']}")
    return result


def _merge(spark: SparkSession, stream: Stream, path: str, news: DataFrame, snapshot: Snapshot | None) -> int:
    """MERGE the newest change of each key, if it is newer than what the state holds.

    A change older than the snapshot's first row is one that the snapshot overruled.
    """
    first = snapshot.first if snapshot else 0
    columns = [column.name for column in stream.columns] + [column for column, _ in rescued_columns(stream)]
    names = [*columns, "_key", "_version", "_hash", "_deleted", "_event_time", "_merged"]
    number = TableTransaction(spark, path).read_version + 1
    source = spark.sql(
        _NEWEST,
        args={"first": first, "number": number},
        news=news.select(*columns, "_op", "_version", "_key", "_hash", "_event_time"),
    )
    table = DeltaTable.forPath(spark, path)
    values = {name: f"s.`{name}`" for name in names}
    # A column that the contract has no longer would keep what an older change said.
    declared = {name.lower() for name in names}
    gone = {name: "null" for name in table.toDF().columns if name.lower() not in declared}
    try:
        result = (
            table.alias("t")
            .merge(source.alias("s"), "s._key = t._key")
            .whenMatchedUpdate("s._was > t._version", {**values, **gone})
            .whenNotMatchedInsert(values=dict(values))
            .execute()
        )
    except PySparkException as error:
        raise _conflict(error, path) from error
    return _affected(result)


def _sweep(spark: SparkSession, path: str, snapshot: Snapshot) -> int:
    """Delete the keys that the snapshot did not read again and that have no later change."""
    stale = f"_version < {snapshot.first}"
    # Answered from file statistics almost always: after one sweep no row is below the snapshot.
    swept = spark.read.format("delta").load(path).where(stale).count()
    if swept == 0:
        return 0
    number = TableTransaction(spark, path).read_version + 1
    values: dict[str, str | Column] = {"_deleted": "true", "_version": str(snapshot.first), "_merged": str(number)}
    try:
        DeltaTable.forPath(spark, path).update(condition=stale, set=values)
    except PySparkException as error:
        raise _conflict(error, path) from error
    return swept


def _affected(result: DataFrame) -> int:
    row = result.first()
    return int(row["num_affected_rows"]) if row else 0


def _conflict(error: PySparkException, path: str) -> Exception:
    if not met_another_writer(error):
        return error
    return Conflict(
        "another merge changed the state table first",
        state="The state table is as that merge left it.",
        next_step="the next round merges what is missing",
        path=path,
    )


def _reissue(spark: SparkSession, stream: Stream, position: int) -> None:
    """State plus the history past the state's position, whose literal prunes the history's files."""
    columns = ", ".join(f"`{column.name}`" for column in stream.columns)
    tail = ", ".join(("_key, _version, _hash, _event_time", *(column for column, _ in rescued_columns(stream))))
    query = f"""
        with news as (
          select {columns}, {tail}, _op
          from (select *, row_number() over (partition by _key order by _version desc) as _nth
                from {stream.history} where _version >= {position}) where _nth = 1
        )
        select {columns}, {tail} from {stream.history}_state as s
        where not s._deleted and not exists (select 1 from news where news._key = s._key)
        union all
        select {columns}, {tail} from news where _op <> 'd'
    """
    issue_view(spark, f"{stream.history}_current", query)


def refresh_file_view(spark: SparkSession, stream: Stream) -> None:
    """`<stream>_current` of files, see `contracts.current`."""
    issue_view(spark, f"{stream.history}_current", current_of_files(stream))


def _ready(spark: SparkSession, stream: Stream, lake_url: str) -> bool:
    return table_exists(spark, table_path(lake_url, stream.pipeline, stream.name))
