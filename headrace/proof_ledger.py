"""Kafka = ledger = history: every offset is booked once, and what is booked is there."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.app import App
from headrace.findings import Finding, side_by_side
from headrace.lake import rows_of
from headrace.overview import WHOLE, files_overview
from streaming_jobs.gaps import Booked, read_ranges, stable_ends
from streaming_jobs.ledger import BROKEN

EVERY_ROW = 1_000_000_000


def ledger_holds(app: App) -> Iterator[Finding]:
    """Every offset that Kafka can show is booked, exactly once, with sums that add up; the histories hold the rows
    that are booked; every gap is read by the independent reader, here and now; every file is whole."""
    table = f"{app.pipeline.name}_lake.ledger"
    yield ledger_is_up_to_date(app)
    if app.pipeline.file_streams:
        yield files_are_whole(app)
    broken = rows_of(app, BROKEN.format(ledger=table))
    said = "; ".join(f"{row['stream']}: {row['finding']}" for row in broken[:3])
    yield Finding("ledger: every offset once, every sum right", "findings", f"{len(broken)}", not broken, said)
    lost = rows_of(app, f"select stream, sum(gap) as n from {table} where kind = 'lost' group by stream")
    if lost:
        said = "; ".join(f"{row['stream']}: {row['n']:,}" for row in lost)
        yield Finding("Kafka lost them before they were read", "offsets", "accepted by a person", True, said)
    yield from side_by_side(
        lambda: histories_hold_what_is_booked(app),
        lambda: (question(app) for question in (quarantine_holds_what_is_booked, gaps_are_harmless)),
    )


def ledger_is_up_to_date(app: App) -> Finding:
    """What can be read from Kafka at this moment is booked."""
    topics = {stream.topic: stream.name for stream in app.pipeline.streams}
    table = f"{app.pipeline.name}_lake.ledger"
    ends = f"select topic_id, partition, max(last_offset) + 1 as next from {table} where kind <> 'replay' group by 1, 2"
    booked = {(row["topic_id"], row["partition"]): row["next"] for row in rows_of(app, ends)}
    readable = stable_ends(app.endpoints.kafka, topics)
    missing = {*topics} - {place.topic for place in readable}
    behind, end, reached = [f"topic {topic} does not exist: `headrace apply`" for topic in sorted(missing)], 0, 0
    for place, (beginning, stable) in readable.items():
        position = booked.get((place.topic_id, place.partition), beginning)
        end, reached = end + stable, reached + position
        if position < stable:
            behind.append(f"{topics[place.topic]}: {stable - position:,} offsets wait")
    return Finding("Kafka = ledger", f"Kafka {end:,}", f"ledger {reached:,}", not behind, "; ".join(behind[:3]))


_HISTORY = """
with fixed as (
  select distinct {known} as place from {lake}.quarantine where stream = %(stream)s and state = 'fixed'
)
select count(*) as n, count_if(f.place is null) as of_batches, count(*) - count(distinct {identity}) as twice
from {history} as h left join fixed as f on f.place = {place}
"""


def histories_hold_what_is_booked(app: App) -> Iterator[Finding]:
    """Each history has exactly the rows that its batches say they wrote, each once, and those that a replay took out
    of the quarantine."""
    lake = f"{app.pipeline.name}_lake"
    written = f"select stream, sum(accepted + conflicting) as n from {lake}.ledger where kind = 'batch' group by stream"
    booked = {row["stream"]: int(row["n"]) for row in rows_of(app, written)}
    for stream in app.pipeline.streams:
        known, place, identity = ("struct(file_hash, line)", "struct(h._file_hash, h._line)", "_file_hash, _line")
        if stream.is_cdc:
            known, place = "struct(topic, `partition`, `offset`)", "struct(h._topic, h._partition, h._offset)"
            identity = "_version"
        query = _HISTORY.format(known=known, lake=lake, history=stream.history, identity=identity, place=place)
        found = rows_of(app, query, stream=stream.name)[0]
        wanted, detail = booked.get(stream.name, 0), ""
        if found["of_batches"] < wanted:
            detail = f"`headrace replay {stream.name} --from-offset 0` brings back what is missing"
        elif found["of_batches"] > wanted:
            detail = f"more than was booked; if a replay of {stream.name} was interrupted, repeat it"
        elif found["twice"]:
            detail = f"{found['twice']:,} rows stand there twice"
        more = found["n"] - found["of_batches"]
        yield Finding(
            f"{stream.name}: ledger = history",
            f"ledger {wanted:,}" + (f" + {more:,} from quarantine" if more else ""),
            f"history {found['n']:,}",
            not detail,
            detail,
        )


_QUARANTINE = """
with booked as (
  select stream, sum(quarantined) as n from {lake}.ledger where kind = 'batch' group by stream
), held as (
  select stream, count(*) as n from {lake}.quarantine
  where run in (select run from {lake}.ledger where kind = 'batch') group by stream
)
select coalesce(b.stream, h.stream) as stream, coalesce(b.n, 0) as booked, coalesce(h.n, 0) as held
from booked as b full join held as h on h.stream = b.stream
"""


def quarantine_holds_what_is_booked(app: App) -> Finding:
    """Every row that a batch refused stands in the quarantine, whatever became of it since."""
    rows = rows_of(app, _QUARANTINE.format(lake=f"{app.pipeline.name}_lake"))
    wrong = [
        f"{row['stream']}: {row['booked']:,} booked, {row['held']:,} held"
        for row in rows
        if row["booked"] != row["held"]
    ]
    booked, held = sum(row["booked"] for row in rows), sum(row["held"] for row in rows)
    return Finding("ledger = quarantine", f"ledger {booked:,}", f"quarantine {held:,}", not wrong, "; ".join(wrong[:3]))


def files_are_whole(app: App) -> Finding:
    """Every file that was sent has all of its rows accounted for."""
    files = [row for row in files_overview(app) if row["state"] not in ("rejected", "replaced")]
    open_files = [row for row in files if row["state"] not in WHOLE]
    said = "; ".join(f"{row['file']} is {row['state']}" for row in open_files[:3])
    return Finding(
        "files: all rows accounted for",
        f"sent {len(files)}",
        f"whole {len(files) - len(open_files)}",
        not open_files,
        said,
    )


def gaps_are_harmless(app: App) -> Finding:
    """A plain Kafka consumer reads every booked range again and finds exactly the booked number of records. What Kafka
    has forgotten since was read by `headrace run` in time, and says so in the ledger."""
    columns = "topic, topic_id, partition, first_offset, last_offset, gap, aborted, control, proven_at"
    columns += ", coalesce(records, rows) as records"
    ledger = rows_of(
        app, f"select {columns} from {app.pipeline.name}_lake.ledger where kind = 'batch'", limit=EVERY_ROW
    )
    booked = [
        Booked(
            row["topic"],
            row["topic_id"],
            row["partition"],
            row["first_offset"],
            row["last_offset"] + 1,
            row["records"],
            row["gap"],
        )
        for row in ledger
    ]
    problems, aborted, control, earlier = [], 0, 0, 0
    for row, reading in zip(ledger, read_ranges(app.endpoints.kafka, booked), strict=True):
        if reading.gone and row["proven_at"] is not None:
            aborted, control, earlier = aborted + row["aborted"], control + row["control"], earlier + 1
            continue
        aborted, control = aborted + reading.aborted_count, control + reading.control_count
        if reading.problem:
            one = reading.booked
            problems.append(f"{one.topic}-{one.partition} {one.first}-{one.next - 1}: {reading.problem}")
    gaps = sum(item.gap for item in booked)
    remark = f"{earlier:,} ranges were proven while Kafka had them" if earlier else ""
    return Finding(
        "Kafka, read independently",
        f"booked {sum(item.rows for item in booked):,} records, gaps {gaps:,}",
        f"aborted {aborted:,}, control {control:,}",
        not problems and gaps == aborted + control,
        "; ".join(problems[:3]) or remark,
    )
