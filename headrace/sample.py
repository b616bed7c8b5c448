"""Sample data of a pipeline: where its declaration lies, and writing it out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from contracts.errors import Fatal
from headrace.app import App
from producers.generator.answer import Answer
from producers.generator.declaration import load_sample_data
from producers.generator.generate import Progress, generate


def generate_sample(
    app: App,
    out: Path,
    *,
    scale: float,
    seed: int | None,
    batch_dates: Sequence[date],
    progress: Progress = lambda *_: None,
) -> Answer:
    """Write the pipeline's sample files and `answer.json` below `out`; `progress` is told of rows.

    Raises:
        Fatal: the pipeline declares no sample data, or a value or a file cannot be made as they are declared.
    """
    declaration = app.pipeline.contracts_dir / "sample_data.yaml"
    if not declaration.exists():
        raise Fatal(
            f"pipeline {app.pipeline.name} declares no sample data",
            next_step=f"write {declaration}; contracts/edtech/sample_data.yaml is an example",
        )
    data = load_sample_data(declaration, app.pipeline)
    try:
        return generate(data, app.pipeline, out, batch_dates, scale=scale, seed=seed, progress=progress)
    except ValueError as error:
        raise Fatal(
            f"sample data cannot be made: {error}", next_step="correct the declaration", file=declaration
        ) from error
    except OSError as error:
        raise Fatal(f"sample data cannot be written: {error}", next_step="name another directory", out=out) from error
