"""State and current: one row per key, deleted keys kept with the version that deleted them.

A state row is what the newest change of its key says, in whatever order the changes are merged. Three things are no
change of their own key: a truncate deletes every key without a later change; a newer complete snapshot deletes the keys
that it did not read again (their delete was lost when Connect was killed, or with the replication slot); and a replayed
row may be older than what was merged before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.types import StructType

from contracts.current import current_of_files
from contracts.errors import Conflict
from contracts.failpoints import failpoint
from contracts.spark_types import current_columns, rescued_columns
from contracts.stream import Pipeline, Stream
from contracts.table_reads import NO_READS, Place, TableReads
from contracts.unavailable import may_be_unavailable
from streaming_jobs.commit_log import headrace_commits, table_exists
from streaming_jobs.cut import bound_of, visible
from streaming_jobs.delta_commit import TableTransaction, met_another_writer, types_by_name
from streaming_jobs.files import issue_files_view
from streaming_jobs.lake import ddl, issue_view, table_path
from streaming_jobs.ranges import VERSIONS_PER_EPOCH, epoch_id, epoch_of
from streaming_jobs.unavailable import columns_of, complete_newest, completed, held_in_state, newest_changes, newest_of

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
# What a truncate or a snapshot overruled is deleted with the version of the truncate or of the snapshot's first row:
# above all that was before, and below each of the snapshot's other rows, so that one that comes late (it was
# quarantined, then replayed) is simply newer. Like any deleted row it holds its key and nothing else: which of its
# older changes was merged first must not show.
_OVERRULED = """
select _key, _event_time, _version as _was, greatest(_version, :floor) as _version,
       _op = 'd' or _version < :floor as _deleted, cast(:number as bigint) as _merged, {columns}
from {newest}
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


def create_views(spark: SparkSession, pipeline: Pipeline, lake_url: str) -> None:
    """Make `files` and every stream's `_current` where they are missing, so that whoever asks before the first merge
    gets an answer, and those with other types than their tables have. Needs the tables; may be called at any time."""
    issue_files_view(spark, pipeline)
    for stream in pipeline.streams:
        if not stream.is_cdc:
            refresh_file_view(spark, stream)
        elif not _has_types(spark, stream):
            state = table_path(lake_url, pipeline.name, f"{stream.name}_state")
            position = TableTransaction(spark, state).positions().get(f"state:{stream.name}", 0)
            _reissue(spark, stream, position, again=True)


def _has_types(spark: SparkSession, stream: Stream) -> bool:
    """Whether the view is there, with the declared types: one that was made before a column got wider casts it back."""
    name = f"{stream.history}_current"
    if not spark.catalog.tableExists(name):
        return False
    declared = cast(StructType, StructType.fromDDL(ddl(current_columns(stream))))
    return types_by_name(spark.table(name).schema) == types_by_name(declared)


def merge_states(
    spark: SparkSession,
    pipeline: Pipeline,
    lake_url: str,
    told: Callable[[Stream], TableReads] = lambda _: NO_READS,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[StateMerge]:
    """Bring every CDC stream's state table and every stream's `_current` view up to its history, one after another.

    `progress` is told of state tables done and in all.
    """
    streams = [stream for stream in pipeline.cdc_streams if _ready(spark, stream, lake_url)]
    done: list[StateMerge] = []
    for stream in streams:
        progress(len(done), len(streams))
        done.append(merge_state(spark, stream, lake_url, told))
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
    the history: whoever asks for a read of a part says so before its first row can be there. With a consistent cut
    nothing of the history counts that lies past it.

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
    bound = None
    seen_below = -1 if f"cut:{stream.name}" in known else None
    if stream.consistent_cut:
        # Where the option is new, what was merged without it is seen already.
        bound = max(position, bound_of(spark, stream, lake_url) or 0)
        seen_below = bound
        history = history.where(f"_version < {bound}")
    reads = told(stream)
    remembered = _known_snapshot(stream, known)
    snapshot = _later(remembered, _of_few_rows(history, reads, origin, bound))
    if seen < replayed and snapshot == remembered and known.get(f"cut:{stream.name}") == seen_below:
        _reissue(spark, stream, position)
        return StateMerge(stream.name, position)
    older = _replay_filters(spark, history_path, (replayed, seen + 1), origin) if 0 < replayed <= seen else []
    news = history.where(" or ".join(f"({one})" for one in [f"_version >= {position}", *older]))
    newest = news.selectExpr(
        "max(_version) as version",
        f"count_if({_MARKER}) as markers",
        "coalesce(max(_version) filter (where _op = 't'), 0) as truncated",
        "count(_unavailable) as unavailable",
    ).first()
    changed = swept = 0
    after = {f"history:{stream.name}": seen + 1}
    after |= {} if seen_below is None else {f"cut:{stream.name}": seen_below}
    news_to = newest["version"] if newest is not None else None
    if newest is not None and news_to is not None:
        if newest["markers"]:
            snapshot = _later(snapshot, complete_snapshot(spark, history.where(_not_in(reads, origin))))
        truncated = max(known.get(f"truncated:{stream.name}", 0), newest["truncated"])
        floor = max(truncated, snapshot.first if snapshot else 0)
        lacking = bool(newest["unavailable"]) or f"unavailable:{stream.name}" in known
        changes = _newest(spark, stream, news, state_path, history, floor, lacking, bool(older))
        changed = _merge(spark, stream, state_path, changes, floor)
        position = max(position, news_to + 1)
        swept = _sweep(spark, stream, state_path, floor) if floor else 0
        after |= {f"truncated:{stream.name}": truncated} if truncated else {}
        after |= {f"unavailable:{stream.name}": 1} if lacking else {}
    elif snapshot and snapshot != remembered:
        swept = _sweep(spark, stream, state_path, snapshot.first)
    if snapshot:
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


def _of_few_rows(
    history: DataFrame, reads: TableReads, positions: Mapping[str, int], bound: int | None
) -> Snapshot | None:
    """The read that left no markers, as a snapshot that begins just before its place; None while its row has not come,
    or its place lies past the `bound`.

    Before its place: a change at the place itself is newer than the read and must not have the version of a sweep.
    What lies just before it is a transaction's marker, or stays.
    """
    few = reads.few
    if few is None or few.place.offset == 0 or epoch_id(few.place.topic_id) not in positions:
        return None
    begins = _version_at(few.place, positions)
    if bound is not None and begins > bound:
        return None
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


def _newest(
    spark: SparkSession,
    stream: Stream,
    news: DataFrame,
    state_path: str,
    history: DataFrame,
    floor: int,
    lacking: bool,
    replayed: bool,
) -> DataFrame:
    """The newest change of each key of the news; with `lacking` some change, now or before, lacked values."""
    changes = news.where("_op <> 't'").select(*columns_of(stream))
    if not lacking:
        return newest_changes(spark, changes)
    state = spark.read.format("delta").load(state_path)
    return complete_newest(spark, stream, changes, state, history, floor, search=replayed)


def _merge(spark: SparkSession, stream: Stream, path: str, newest: DataFrame, floor: int) -> int:
    """MERGE the newest change of each key, if it is newer than what the state holds, or is now known better.

    A change older than `floor`, the newest truncate's version or the snapshot's first, was overruled by it.
    """
    columns = [column.name for column in stream.columns] + [column for column, _ in rescued_columns(stream)]
    names = [*columns, "_key", "_version", "_hash", "_deleted", "_event_time", "_merged", "_unavailable"]
    number = TableTransaction(spark, path).read_version + 1
    overruled = (f"if(_version < :floor, {null}, {column}) as {column}" for column, null in _beside_key(stream).items())
    query = _OVERRULED.format(columns=", ".join([*(f"`{name}`" for name in stream.key), *overruled]), newest="{newest}")
    source = spark.sql(query, args={"floor": floor, "number": number}, newest=newest)
    better = "s._was = t._version and not (s._hash <=> t._hash and s._unavailable <=> t._unavailable)"
    table = DeltaTable.forPath(spark, path)
    values = {name: f"s.`{name}`" for name in names}
    # A column that the contract has no longer would keep what an older change said.
    declared = {name.lower() for name in names}
    gone = {name: "null" for name in table.toDF().columns if name.lower() not in declared}
    try:
        result = (
            table.alias("t")
            .merge(source.alias("s"), "s._key = t._key")
            .whenMatchedUpdate(f"s._was > t._version or {better}", {**values, **gone})
            .whenNotMatchedInsert(values=dict(values))
            .execute()
        )
    except PySparkException as error:
        raise _conflict(error, path) from error
    return _affected(result)


def _beside_key(stream: Stream) -> dict[str, str]:
    """The columns that are empty in a deleted row, each with its NULL."""
    columns = [(one.name, one.spark_type) for one in stream.columns if one.name not in stream.key]
    named = {f"`{name}`": f"cast(null as {kind})" for name, kind in (*columns, *rescued_columns(stream))}
    return {**named, "_hash": "cast(null as binary)", "_unavailable": "cast(null as array<string>)"}


def _sweep(spark: SparkSession, stream: Stream, path: str, floor: int) -> int:
    """Delete the keys that have no change at `floor` or later."""
    stale = f"_version < {floor}"
    # Answered from file statistics almost always: after one sweep no row is below the floor.
    swept = spark.read.format("delta").load(path).where(stale).count()
    if swept == 0:
        return 0
    number = TableTransaction(spark, path).read_version + 1
    values: dict[str, str | Column] = {"_deleted": "true", "_version": str(floor), "_merged": str(number)}
    values |= _beside_key(stream)
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


def _reissue(spark: SparkSession, stream: Stream, position: int, *, again: bool = False) -> None:
    """State plus the history past the state's position, whose literal prunes the history's files.

    Every version in the state is below that position, and so below a truncate past it. Pending rows are not shown.
    """
    columns = ", ".join(f"`{name}`" for name, _ in current_columns(stream))
    listed = ", ".join(columns_of(stream))
    filled = f"""
        union all
        select {columns} from ({completed(stream, "lacking", "known")}) where _unavailable is null
    """
    shown = f" and _version < {visible(stream, position)}" if stream.consistent_cut else ""
    query = f"""
        with past as (select * from {stream.history} where _version >= {position}{shown}),
        truncated as (select coalesce(max(_version), -1) as at from past where _op = 't'),
        state as (select * from {stream.history}_state where (select at from truncated) = -1),
        changes as (select {listed} from past where _op <> 't' and _version > (select at from truncated)),
        news as ({newest_of("changes")}),
        lacking as (select * from news where _unavailable is not null),
        known as ({held_in_state(stream, "state")} union all select * from changes)
        select {columns} from state as s
        where not s._deleted and s._unavailable is null and not exists (select 1 from news where news._key = s._key)
        union all
        select {columns} from news where _op <> 'd' and _unavailable is null
        {filled if may_be_unavailable(stream) else ""}
    """
    issue_view(spark, f"{stream.history}_current", query, again=again)


def refresh_file_view(spark: SparkSession, stream: Stream) -> None:
    """`<stream>_current` of files, see `contracts.current`."""
    issue_view(spark, f"{stream.history}_current", current_of_files(stream))


def _ready(spark: SparkSession, stream: Stream, lake_url: str) -> bool:
    return table_exists(spark, table_path(lake_url, stream.pipeline, stream.name))
