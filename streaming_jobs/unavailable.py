"""Changes that lack values (`contracts.unavailable`): each such column keeps the value it had before.

Whose value that is follows from the history alone: the nearest older change of the key that says it, unless the row
was deleted in between; for the create of a changed primary key, the nearest older change of the old key. A value that
is not found is missing, not NULL: the row stays *pending*, its `_unavailable` says which columns.
"""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from contracts.canonical import row_hash_spark
from contracts.spark_types import rescued_columns
from contracts.stream import Stream
from contracts.unavailable import may_be_unavailable

# A create that lacks values takes them from another key.
MOVED = "(_op = 'c' and _unavailable is not null)"


def columns_of(stream: Stream) -> list[str]:
    """The columns of the rows that go in and out here."""
    own = ["_key", "_version", "_op", "_hash", "_event_time", "_unavailable", "_moved_key"]
    return [*_values(stream), *own]


def _values(stream: Stream) -> list[str]:
    return [f"`{name}`" for name in (*(c.name for c in stream.columns), *(name for name, _ in rescued_columns(stream)))]


def held_in_state(stream: Stream, state: str) -> str:
    """Spark SQL: the rows of a state table in the shape of changes that say all that is known of a key."""
    own = "_key, _version, if(_deleted, 'd', 'c') as _op, _hash, _event_time, _unavailable"
    return f"select {', '.join(_values(stream))}, {own}, cast(null as binary) as _moved_key from {state}"


def completed(stream: Stream, lacking: str, rows: str) -> str:
    """Spark SQL: the changes `lacking` with the values that the older ones among `rows` say; what is not found stays in
    `_unavailable`. Both have `columns_of`; `rows` may hold the same changes, completed by an earlier merge."""
    names = may_be_unavailable(stream)
    known = {name: f"array_contains(w._unavailable, '{name}')" for name in names}
    said = [
        f"max_by(if({_ends(name)}, null, struct(r.`{name}` as v)), r._version) "
        f"filter (where r._op <> 'u' or not {_lacks(name)}) as `{name}`"
        for name in names
    ]
    values = [
        f"if({known[column.name]}, f.`{column.name}`.v, w.`{column.name}`) as `{column.name}`"
        if column.name in known
        else f"w.`{column.name}`"
        for column in stream.columns
    ]
    values += [f"w.{column}" for column, _ in rescued_columns(stream)]
    left = ", ".join(f"if({known[name]} and f.`{name}` is null, '{name}', null)" for name in names)
    kept = ", ".join(_values(stream))
    return f"""
        select {kept}, _key, _version, _op, if(size(_left) = 0, {row_hash_spark(stream)}, null) as _hash,
               _event_time, if(size(_left) = 0, null, _left) as _unavailable, _moved_key
        from (
          select {", ".join(values)}, w._key, w._version, w._op, w._event_time, w._moved_key,
                 array_compact(array({left})) as _left
          from {lacking} as w left join (
            select m._version as _for, {", ".join(said)}
            from {lacking} as m join {rows} as r
              on r._key = if(m._op = 'c', m._moved_key, m._key)
              and (r._version < m._version or r._version = m._version and m._op <> 'c')
              and not (m._op = 'c' and r._op = 'd' and r._moved_key <=> m._key and r._event_time <=> m._event_time)
            group by m._version
          ) as f on f._for = w._version
        )
    """


def _lacks(name: str) -> str:
    return f"coalesce(array_contains(r._unavailable, '{name}'), false)"


def _ends(name: str) -> str:
    """Behind such a change there is nothing to find: the row was not, or was another one."""
    return f"r._op = 'd' or {_lacks(name)}"


def newest_of(rows: str) -> str:
    """Spark SQL: the newest change of each key."""
    ranked = f"select *, row_number() over (partition by _key order by _version desc) as _rank from {rows}"
    return f"select * except (_rank) from ({ranked}) where _rank = 1"


def newest_changes(spark: SparkSession, rows: DataFrame) -> DataFrame:
    """The newest change of each key."""
    return spark.sql(newest_of("{rows}"), rows=rows)


def complete_newest(
    spark: SparkSession,
    stream: Stream,
    news: DataFrame,
    state: DataFrame,
    history: DataFrame,
    floor: int,
    *,
    search: bool,
) -> DataFrame:
    """The newest change of each key, completed: of the keys of `news`, and of those whose key was changed if one of
    `news` lacks values for that reason.

    `state` answers where all of `news` is newer than all of `state`; otherwise `search`: the history is read, which
    holds every change. Nothing older than `floor` answers: a truncate or a snapshot overruled it.
    """
    moved = history.where(MOVED)
    searched = None
    if search:
        searched = news.select("_key").union(moved.select("_key")).union(moved.select("_moved_key")).distinct()
    elif not news.where(MOVED).isEmpty():
        searched = moved.select("_key").union(moved.select("_moved_key")).distinct()
    found = []
    if not search:
        held = spark.sql(held_in_state(stream, "{state}"), state=state)
        others = news if searched is None else news.join(searched, "_key", "left_anti").select(*columns_of(stream))
        found.append(_newest_completed(spark, stream, others, others.unionByName(held), floor))
    if searched is not None:
        rows = (
            history.where("_op <> 't'")
            .join(searched, "_key", "left_semi")
            .select(*columns_of(stream))
            .localCheckpoint()
        )
        rows = _inherited(spark, stream, rows, floor)
        found.append(_newest_completed(spark, stream, rows, rows, floor))
    return found[0] if len(found) == 1 else found[0].unionByName(found[1])


def _newest_completed(spark: SparkSession, stream: Stream, news: DataFrame, rows: DataFrame, floor: int) -> DataFrame:
    newest = newest_changes(spark, news)
    lacks = f"(_unavailable is not null and _version >= {floor})"
    filled = _completed(spark, stream, newest.where(lacks), rows, floor)
    return newest.where(f"not {lacks}").unionByName(filled)


def _inherited(spark: SparkSession, stream: Stream, rows: DataFrame, floor: int) -> DataFrame:
    """The rows with every create completed that took its values from another key: as often as keys changed in a row."""
    open_ = f"({MOVED} and _version >= {floor})"
    left = -1
    while True:
        missing = rows.where(open_).selectExpr("coalesce(sum(size(_unavailable)), 0)").first()
        assert missing is not None
        if missing[0] in (0, left):
            return rows
        left = missing[0]
        filled = _completed(spark, stream, rows.where(open_), rows, floor)
        rows = rows.where(f"not {open_}").unionByName(filled).localCheckpoint()


def _completed(spark: SparkSession, stream: Stream, lacking: DataFrame, rows: DataFrame, floor: int) -> DataFrame:
    answers = rows.where(f"_version >= {floor}")
    return spark.sql(completed(stream, "{lacking}", "{rows}"), lacking=lacking, rows=answers)
