"""What every command shares: settings, pipeline and addresses, each looked up once and only if asked for."""

from __future__ import annotations

import logging
import sys
from functools import cached_property
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console
from rich.logging import RichHandler

from contracts.endpoints import Endpoints
from contracts.errors import ContractError, Fatal
from contracts.loader import load_pipeline
from contracts.settings import CONFIG_FILE, Settings
from contracts.stream import Pipeline, Stream
from infra.local.deployment import endpoints
from infra.local.layout import exists

log = logging.getLogger("headrace")
progress_console = Console(stderr=True)


class App:
    """The command line's one object; commands get it by `@click.pass_obj`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def pipeline(self) -> Pipeline:
        """The declared pipeline."""
        return load_pipeline(self.settings.pipeline, self.settings.pipeline_dir)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Where each part answers; Fatal if Kafka is to be local and was never started here."""
        if not self.settings.kafka.bootstrap_servers and not exists(self.settings):
            raise Fatal(
                f"no deployment was ever started in {self.settings.data_dir.resolve()}, and no Kafka is configured",
                state="Nothing was done.",
                next_step=f"`headrace up`; or name your own parts in {CONFIG_FILE}; or set HEADRACE_DATA_DIR",
            )
        return endpoints(self.settings)

    def stream(self, name: str) -> Stream:
        """The stream of that name, or an error that lists those there are."""
        try:
            return self.pipeline.stream(name)
        except KeyError:
            names = ", ".join(stream.name for stream in self.pipeline.streams)
            raise Fatal(
                f"pipeline {self.pipeline.name} has no stream {name}", next_step=f"name one of: {names}"
            ) from None

    @property
    def status_file(self) -> Path:
        """Where `headrace run` writes each stream's position and lag, for `headrace status`."""
        return self.settings.data_dir / f"{self.settings.pipeline}.status.json"


def load_settings(pipeline: str | None, pipeline_dir: Path | None) -> Settings:
    """Settings from file, environment and the command line's own options, which win."""
    given = {"pipeline": pipeline, "pipeline_dir": pipeline_dir}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ContractError(
            f"setting `{name}`: {first['msg']}",
            file=CONFIG_FILE,
            write="the names and types are those of `headrace settings`",
        ) from error


def configure_logging(verbose: bool) -> None:
    """Logs go to stderr: rich for a person, plain lines with time and level for a file."""
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(console=progress_console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    for noisy in ("py4j", "urllib3", "pyhive", "faust", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Every analysis error comes as an exception as well.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    # What kafka-python has to say about an absent broker comes as one error with a next step.
    logging.getLogger("kafka").setLevel(logging.DEBUG if verbose else logging.CRITICAL)


pass_app = click.make_pass_decorator(App)
