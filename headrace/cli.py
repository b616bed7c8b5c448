"""The command line: it parses, calls one function, and prints what that returns."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.app import App, configure_logging, load_settings
from headrace.commands import ask, download, extract, init, local, move, process, prove, reread


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--pipeline", "-p", help="Name of the pipeline; default from the settings.")
@click.option(
    "--pipeline-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A pipeline of your own: a directory with contracts/, connectors/ and warehouse_sql/.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log more to stderr.")
@click.version_option(package_name="headrace")
@click.pass_context
def cli(context: click.Context, pipeline: str | None, pipeline_dir: Path | None, verbose: bool) -> None:
    """Bring database changes and files to the warehouse, and prove that every row arrived."""
    configure_logging(verbose)
    context.obj = App(load_settings(pipeline, pipeline_dir))


for module in (local, init, move, download, process, ask, prove, extract, reread):
    for command in module.COMMANDS:
        cli.add_command(command)
