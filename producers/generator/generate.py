"""Writes a pipeline's sample data and the true answer into a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from hashlib import sha256
from itertools import chain
from pathlib import Path

from contracts.canonical import fingerprint_python
from contracts.errors import Fatal
from contracts.stream import FILE_UNIT, Pipeline, Stream
from producers.generator.answer import Answer, Contents, FileAnswer, Statement, StreamAnswer, StreamBooks, TableAnswer
from producers.generator.daily import DailyMaker, Made, hashes_of
from producers.generator.declaration import DailyFile, SampleData, Table
from producers.generator.render import csv_lines
from producers.generator.values import Drawing, Values

CORRECTED = "corrected"
Progress = Callable[[int, int], None]
"""Rows written so far, and about how many there will be."""


def generate(
    data: SampleData,
    pipeline: Pipeline,
    out_dir: Path,
    batch_dates: Sequence[date],
    *,
    scale: float = 1.0,
    seed: int | None = None,
    progress: Progress = lambda *_: None,
) -> Answer:
    """Write the tables' CSV files, one file per stream and day, corrections, and `answer.json`.

    The same declaration, seed, scale and days give the same bytes. Rows scale, the amounts of dirt do not. Files
    already there are overwritten, others left alone. A file whose name has no day lies in a folder named after it.

    Raises:
        Fatal: a day has fewer rows than dirt is declared for, or a file's name is not the stream's.
    """
    seed = data.seed if seed is None else seed
    out_dir.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, Values]] = {}
    written = _Written(progress, _rows_in_all(data, scale, len(batch_dates)))
    tables = tuple(_table(table, data, pipeline, out_dir, scale, seed, known, written) for table in data.tables)
    files: list[FileAnswer] = []
    streams: dict[str, StreamAnswer] = {}
    for declared in data.daily_files:
        stream = pipeline.stream(declared.stream)
        maker = DailyMaker(stream, declared, data, seed, _scaled(declared.rows, scale), known)
        books = _days(maker, declared, stream, out_dir, batch_dates, written)
        files += [statement.answer for statement in books.statements]
        streams[stream.name] = books.close()
    answer = Answer(seed, scale, tuple(str(day) for day in batch_dates), tables, tuple(files), streams)
    answer.write(out_dir)
    return answer


class _Written:
    """How many rows are written; the dirt is more than was declared, so it ends at what was to be expected."""

    def __init__(self, progress: Progress, in_all: int) -> None:
        self._progress, self._rows, self._in_all = progress, 0, in_all

    def add(self, rows: int) -> None:
        """So many more."""
        self._rows += rows
        self._progress(min(self._rows, self._in_all), self._in_all)


def _scaled(rows: int, scale: float) -> int:
    return max(1, round(rows * scale))


def _rows_in_all(data: SampleData, scale: float, days: int) -> int:
    tables = sum(_scaled(table.rows, scale) for table in data.tables)
    return tables + sum(
        _scaled(file.rows, scale) * (days + (1 if _is_corrected(file, days) else 0)) for file in data.daily_files
    )


def _is_corrected(declared: DailyFile, days: int) -> bool:
    return declared.correction is not None and -days <= declared.correction.day < days


def _table(
    table: Table,
    data: SampleData,
    pipeline: Pipeline,
    out_dir: Path,
    scale: float,
    seed: int,
    known: dict[str, dict[str, Values]],
    written: _Written,
) -> TableAnswer:
    stream = pipeline.stream(table.stream)
    rows = _scaled(table.rows, scale)
    columns = Drawing(f"{seed}/{table.stream}", rows, data.lists, known).draw(table.columns)
    known[table.stream] = columns
    names = [column.name for column in stream.columns]
    lines = csv_lines([names, *zip(*(columns[name] for name in names), strict=True)])
    (out_dir / table.file).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    written.add(rows)
    return TableAnswer(stream.name, table.file, *fingerprint_python(hashes_of(stream.columns, columns, rows)))


def _days(
    maker: DailyMaker,
    declared: DailyFile,
    stream: Stream,
    out_dir: Path,
    batch_dates: Sequence[date],
    written: _Written,
) -> StreamBooks:
    books = StreamBooks()
    repeat: list[dict[str, object]] = []
    for number, day in enumerate(batch_dates):
        made = maker.make(number, len(batch_dates), day, repeat)
        repeat = made.to_repeat
        books.statements.append(_write(made, stream, declared, day, out_dir, "", written))
    if declared.correction and _is_corrected(declared, len(batch_dates)):
        number = declared.correction.day % len(batch_dates)
        made = maker.correct(number, batch_dates[number])
        books.statements.append(_write(made, stream, declared, batch_dates[number], out_dir, CORRECTED, written))
    return books


def _write(
    made: Made, stream: Stream, declared: DailyFile, day: date, out_dir: Path, folder: str, written: _Written
) -> Statement:
    name = declared.file.format(unit=day)
    source = stream.file_source
    found = source.match(name)
    named = source.unit in {column.name for column in stream.columns if column.from_file_name}
    if found is None or (named and found[source.unit] != str(day)):
        raise Fatal(
            f"{name} is no name of stream {stream.name}: its files match {source.pattern}",
            next_step="change `file` in the declaration of the sample data",
        )
    path = out_dir / folder / ("" if name != declared.file else str(day)) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = sha256(), 0
    further = made.further.count if made.further else 0
    blocks = made.further.blocks() if made.further else ()
    with path.open("wb") as file:
        for part, rows in chain([(made.head, 0)], blocks, [(made.text, made.rows - further)]):
            digest.update(part)
            size += file.write(part)
            written.add(rows)
    answer = FileAnswer(
        stream=stream.name,
        file=str(path.relative_to(out_dir)),
        unit=name if source.unit == FILE_UNIT else str(day),
        hash=digest.hexdigest(),
        bytes=size,
        rows=made.rows,
        accepted=made.outcomes["accepted"],
        duplicate=made.outcomes["duplicate"],
        conflicting=made.outcomes["conflicting"],
        quarantined=made.quarantined,
        correction=bool(folder),
    )
    beyond = Contents(further, made.further.fingerprint) if made.further else Contents(0, 0)
    return Statement(answer, made.keys, made.versions, made.hashes, beyond)
