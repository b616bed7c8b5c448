"""Sample data of a pipeline: where its declaration lies, and writing it out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from contracts.errors import Fatal
from headrace.app import App
from producers.generator.answer import Answer
from producers.generator.declaration import load_sample_data
from producers.generator.generate import generate


def generate_sample(app: App, out: Path, *, scale: float, seed: int | None, batch_dates: Sequence[date]) -> Answer:
    """Write the pipeline's sample files and `answer.json` below `out`; Fatal if it declares no sample data."""
    declaration = app.pipeline.contracts_dir / "sample_data.yaml"
    if not declaration.exists():
        raise Fatal(
            f"pipeline {app.pipeline.name} declares no sample data",
            next_step=f"write {declaration}; contracts/edtech/sample_data.yaml is an example",
        )
    out.mkdir(parents=True, exist_ok=True)
    return generate(load_sample_data(declaration, app.pipeline), app.pipeline, out, batch_dates, scale=scale, seed=seed)
