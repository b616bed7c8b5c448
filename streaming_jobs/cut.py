"""The consistent cut: how far readers see the streams of a group, so that a source transaction shows whole or not.

Debezium writes the END of a transaction after all of its rows. So: read the topic of transactions first, look how far
the streams' topics are written then; once the lake has all of that, every transaction whose END was read is whole in
it. A stream's bound lies behind the last row of those, and before the first row of any other. All bounds move in one
commit of one small table, which every view of the group reads; the states are merged up to it and no further. One
process at a time moves it (the lease of the merges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from contracts.current import CUT_MOVED
from contracts.errors import Conflict
from contracts.failpoints import failpoint
from contracts.stream import Pipeline, Stream, System
from streaming_jobs.commit_log import table_exists
from streaming_jobs.delta_commit import TableTransaction, met_another_writer
from streaming_jobs.lake import CONSISTENT_CUT, CUT_TABLE, ddl, sql_text, table_path
from streaming_jobs.ranges import VERSIONS_PER_EPOCH, app_id, epoch_of
from streaming_jobs.transactions import Look, look

# The rows of one topic are in the order of their transactions. One that never ended (its END was lost with the slot, or
# its rows are in a topic that was made again) holds nothing back once a later one has ended; nor does one whose records
# were deleted before they were read.
_BOUND = """
with told as (
  select id, min(offset) as offset from {told} group by id
), rows as (
  select r._version as v, r._transaction as id,
    coalesce(t.offset < :read_to, r._transaction is not null and r._version < :unread) as ended
  from {rows} as r left join told as t on t.id = r._transaction
), whole as (
  select coalesce(max(v) filter (where ended), -1) as up_to from rows
), found as (
  select coalesce(min(v) filter (where id is not null and not ended and v > up_to and v >= :epoch), :end) as bound
  from rows cross join whole
)
select f.bound, max(r.v) as last from found as f left join rows as r on r.v < f.bound group by f.bound
"""
# So many records of the topic of transactions are read again rather than noted in a commit that moves nothing else.
_FEW = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """One row of the table of the cut, see `lake.CONSISTENT_CUT`."""

    source: str
    stream: str
    bound: int
    last: int = -1
    topic_id: str = ""
    read_to: int = 0
    as_of: datetime | None = None
    next_topic_id: str | None = None
    next_read_to: int | None = None
    next_stream_id: str | None = None
    next_end: int | None = None
    next_as_of: datetime | None = None


def move_cut(spark: SparkSession, pipeline: Pipeline, lake_url: str, kafka: str, now: datetime) -> bool:
    """Move every group's cut as far as the lake has whole transactions; True if some cut waits for the lake.

    May be called at any time, also after a kill anywhere. A cut that cannot be reached yet is remembered and not
    replaced by a later one: under constant load it is reached all the same.

    Raises:
        Conflict: another process moved the cut. ServiceUnavailable, OffsetsLost, Fatal: see `look`.
    """
    waits = False
    for system, streams in pipeline.cut_groups.items():
        paths = [table_path(lake_url, pipeline.name, name) for name in (CUT_TABLE, *(one.name for one in streams))]
        if not all(table_exists(spark, path) for path in paths):
            continue
        topic = pipeline.of(system).transaction_topic
        known = _known(places(spark, pipeline.name, lake_url), streams)
        seen = look(spark, kafka, topic, system, streams, _read_to(known), now)
        if seen:
            try:
                waits = advance(spark, pipeline, system, lake_url, *seen) or waits
            finally:
                seen[1].unpersist()
    return waits


def places(spark: SparkSession, pipeline: str, lake_url: str) -> dict[str, Place]:
    """The cut of every stream that has one."""
    rows = spark.read.format("delta").load(table_path(lake_url, pipeline, CUT_TABLE)).collect()
    names = [field.name for field in fields(Place)]
    return {row["stream"]: Place(**{name: _aware(row[name]) for name in names}) for row in rows}


def _aware(value: Any) -> Any:
    # Spark gives times in the process's own zone, without saying so.
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def bound_of(spark: SparkSession, stream: Stream, lake_url: str) -> int | None:
    """The version below which readers see a stream with the option; None if its cut was never moved."""
    if not table_exists(spark, table_path(lake_url, stream.pipeline, CUT_TABLE)):
        return None
    place = places(spark, stream.pipeline, lake_url).get(stream.name)
    return place.bound if place else None


def advance(
    spark: SparkSession, pipeline: Pipeline, system: System, lake_url: str, seen: Look, told: DataFrame
) -> bool:
    """Move one group's cut to the newest look that the lake has reached: `seen`, else the one that waits. True if then
    one waits. `told` are the records of the topic of transactions from where the cut had read them to `seen`."""
    streams = pipeline.cut_groups[system]
    table = _Table(spark, pipeline, lake_url)
    held = table.places
    known = _known(held, streams)
    heads = {stream.name: _Head(spark, stream, lake_url) for stream in streams}
    waiting = _waiting(known, seen)
    if all(head.has(seen) for head in heads.values()):
        chosen, waiting = seen, None
    elif waiting and all(head.has(waiting) for head in heads.values()):
        chosen, waiting = replace(waiting, unread=seen.unread), seen
    else:
        chosen, waiting = None, waiting or seen
    moved: dict[str, Place] = {}
    for name, head in heads.items():
        before = known.get(name) or Place(system, name, 0)
        # What was merged without the option is seen already, also if the stream once had it.
        before = replace(before, bound=max(before.bound, head.merged))
        moved[name] = head.up_to(before, chosen, told) if chosen else before
        moved[name] = _with_waiting(moved[name], waiting)
    if _differ(known, moved):
        others = {name: place for name, place in held.items() if place.source != system}
        groups = {one for one, _ in pipeline.cut_groups.items()}
        table.replace([*(place for place in others.values() if place.source in groups), *moved.values()])
    return waiting is not None


def visible(stream: Stream, position: int) -> str:
    """SQL for the version below which `<stream>_current`, issued at this position of the state, shows the history.

    Delta fixes each table once per query, but one table after the other, while they change. So the query looks itself
    whether its state is ahead of its cut, or its history behind: then it fails and says so, rather than to show half.
    """
    cut = f"{stream.lake_schema}.{CUT_TABLE}"
    state = f"coalesce((select max(_version) from {stream.history}_state where _version >= {position}), -1)"
    history = f"coalesce((select max(_version) from {stream.history} where _version >= {position}), -1)"
    return f"""(
        select if({state} >= bound or last >= {position} and {history} < last, raise_error('{CUT_MOVED}'), bound)
        from (
          select greatest(max(bound), {position}) as bound, coalesce(max(last), -1) as last
          from {cut} where stream = {sql_text(stream.name)}
        )
    )"""


class _Head:
    """One stream's history at one version."""

    def __init__(self, spark: SparkSession, stream: Stream, lake_url: str) -> None:
        self._spark, self._stream = spark, stream
        self._path = table_path(lake_url, stream.pipeline, stream.name)
        opened = TableTransaction(spark, self._path)
        self._version, self._positions = opened.read_version, opened.positions()
        self._state = f"{self._path}_state"

    @property
    def merged(self) -> int:
        """The version below which all is merged; 0 before the first merge."""
        if not table_exists(self._spark, self._state):
            return 0
        return TableTransaction(self._spark, self._state).positions().get(f"state:{self._stream.name}", 0)

    def has(self, seen: Look) -> bool:
        """Whether all that was written then is accounted for."""
        topic_id, end = seen.ends[self._stream.name]
        return end <= self._positions.get(app_id(topic_id, self._stream.topic, 0), 0)

    def up_to(self, before: Place, seen: Look, told: DataFrame) -> Place:
        """The place whose bound is behind the last row of the transactions that have ended."""
        topic_id, end = seen.ends[self._stream.name]
        epoch = epoch_of(topic_id, self._positions) * VERSIONS_PER_EPOCH
        after = replace(before, topic_id=seen.topic_id, read_to=seen.read_to, as_of=seen.at)
        # No position yet: the topic is empty, and so is the history's part of it.
        last_version = max(before.bound, epoch + end if end else before.bound)
        history = self._spark.read.format("delta").option("versionAsOf", self._version).load(self._path)
        rows = history.where(f"_version >= {before.bound} and _version < {last_version}")
        # What was deleted unread is over once a later record says so.
        unread = 0
        if seen.unread and seen.read_to > seen.unread.before and seen.unread.rows[self._stream.name][0] == topic_id:
            unread = epoch + seen.unread.rows[self._stream.name][1]
        args = {"epoch": epoch, "end": last_version, "read_to": seen.read_to, "unread": unread}
        found = self._spark.sql(_BOUND, args=args, rows=rows, told=told).first()
        assert found is not None
        return replace(after, bound=found["bound"], last=before.last if found["last"] is None else found["last"])


class _Table:
    """The table of the cut from one version to the next."""

    def __init__(self, spark: SparkSession, pipeline: Pipeline, lake_url: str) -> None:
        self._path = table_path(lake_url, pipeline.name, CUT_TABLE)
        self._version = TableTransaction(spark, self._path).read_version
        self._spark, self._pipeline, self._lake_url = spark, pipeline.name, lake_url
        self.places = self.read()

    def read(self) -> dict[str, Place]:
        """What it holds now."""
        return places(self._spark, self._pipeline, self._lake_url)

    def replace(self, after: Sequence[Place]) -> None:
        """Write all places in one commit; Conflict if somebody else did."""
        rows = [tuple(asdict(place).values()) for place in after]
        frame = self._spark.createDataFrame(rows, ddl(CONSISTENT_CUT)).coalesce(1)
        failpoint("before_cut_commit")
        # Delta skips the write of a second one that began at the same version, and says nothing.
        numbered = frame.write.format("delta").option("txnAppId", "cut").option("txnVersion", self._version + 1)
        try:
            numbered.mode("overwrite").save(self._path)
        except PySparkException as error:
            if not met_another_writer(error):
                raise
            raise _moved_elsewhere(self._path) from error
        failpoint("after_cut_commit")
        if self.read() != {place.stream: place for place in after}:
            raise _moved_elsewhere(self._path)


def _moved_elsewhere(path: str) -> Conflict:
    return Conflict(
        "another process moved the consistent cut",
        state="The cut is as that process left it.",
        next_step="the next round repeats it; let one process own the merges of a pipeline",
        path=path,
    )


def _known(held: Mapping[str, Place], streams: Sequence[Stream]) -> dict[str, Place]:
    """The places of the group; those of which the topic of transactions is not to be read anew only if all are there:
    for a stream that joined, what ended before matters too."""
    known = {stream.name: held[stream.name] for stream in streams if stream.name in held}
    if len(known) == len(streams):
        return known
    return {name: replace(_with_waiting(place, None), topic_id="", read_to=0) for name, place in known.items()}


def _read_to(known: Mapping[str, Place]) -> tuple[str, int]:
    if not known:
        return "", 0
    first = min(known.values(), key=lambda place: place.read_to)
    # One that had the option before may have known another topic of that name.
    one_topic = len({place.topic_id for place in known.values()}) == 1
    return (first.topic_id, first.read_to) if one_topic else ("", 0)


def _waiting(known: Mapping[str, Place], seen: Look) -> Look | None:
    """The look that waits for the lake; None if there is none, or it is of a topic that was made again since."""
    ends: dict[str, tuple[str, int]] = {}
    one: Any = None
    for name, place in known.items():
        stream_id = place.next_stream_id or ""
        if place.next_end is None or (place.next_topic_id, stream_id) != (seen.topic_id, seen.ends[name][0]):
            return None
        ends[name], one = (stream_id, place.next_end), place
    return Look(seen.topic_id, one.next_read_to, ends, one.next_as_of) if one else None


def _with_waiting(place: Place, waiting: Look | None) -> Place:
    if waiting is None:
        return replace(
            place, next_topic_id=None, next_read_to=None, next_stream_id=None, next_end=None, next_as_of=None
        )
    stream_id, end = waiting.ends[place.stream]
    return replace(
        place,
        next_topic_id=waiting.topic_id,
        next_read_to=waiting.read_to,
        next_stream_id=stream_id,
        next_end=end,
        next_as_of=waiting.at,
    )


def _differ(known: Mapping[str, Place], moved: Mapping[str, Place]) -> bool:
    """Whether a commit is worth it: a bound, or what waits, is another, or much of the topic was read."""
    for name, after in moved.items():
        before = known.get(name)
        if before is None or after.read_to - before.read_to > _FEW or after.topic_id != before.topic_id:
            return True
        if after != replace(before, read_to=after.read_to, as_of=after.as_of, last=after.last):
            return True
    return False
