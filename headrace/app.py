"""What every command shares: settings, pipeline and addresses, each looked up once and only if asked for."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Collection
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from rich.logging import RichHandler

from contracts.endpoints import Endpoints
from contracts.errors import ContractError, Fatal, ServiceUnavailable
from contracts.loader import load_pipeline
from contracts.settings import CONFIG_FILE, ENVIRONMENT_PREFIX, Settings, config_file
from contracts.stream import Pipeline, Stream
from infra.local.deployment import endpoints
from infra.local.layout import exists

log = logging.getLogger("headrace")
progress_console = Console(stderr=True)

# What reads them is not the settings: infra, tests, and whatever starts headrace.
_OTHER_VARIABLES = (
    *("BENCH_ROWS", "CACHE", "CHAOS_SEEDS", "CONFIG", "DEPLOYMENT", "DROP", "FAILPOINT", "HOME", "MAVEN_REPOSITORY"),
    *("PYTHON", "SOAK_MINUTES", "TEST_DATA_DIR"),
)
_WRITE = "the names and types are those of `headrace settings`"


class App:
    """The command line's one object; commands get it by `@click.pass_obj`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.hurried = False
        # Why the SQL endpoint did not answer: whoever is in a hurry does not ask it again.
        self.sql_away: ServiceUnavailable | None = None

    def in_a_hurry(self) -> App:
        """The same for whoever looks and must not wait; see `Endpoints.hurried`."""
        found = copy(self)
        found.hurried = True
        if "endpoints" in self.__dict__:
            found.endpoints = self.endpoints.hurried()
        return found

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
        found = endpoints(self.settings)
        return found.hurried() if self.hurried else found

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
    """Settings from file, environment and the command line's own options, which win.

    Raises:
        ContractError: says in which file and line, or in which variable of the environment, what is wrong.
    """
    options = {"pipeline": pipeline, "pipeline_dir": pipeline_dir}
    given = {name: value for name, value in options.items() if value is not None}
    try:
        found = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong_setting([str(part) for part in first["loc"]], first["msg"], given) from error
    except SettingsError as error:
        field = re.findall(r'field "(\w+)"', str(error))[:1]
        within = f"{ENVIRONMENT_PREFIX}{''.join(field)}".upper()
        names = sorted(name for name in os.environ if f"{name.upper()}__".startswith(f"{within}__"))
        raise ContractError(
            f"setting `{''.join(field)}`: is no JSON: {error.__cause__}",
            file=f"environment variable {' or '.join(names)}",
            write=_WRITE,
        ) from error
    _warn_of_unknown_variables()
    return found


def _wrong_setting(place: list[str], message: str, given: Collection[str]) -> ContractError:
    """Blames what had the last word: an option, the environment, the file."""
    what = f"setting `{'.'.join(place)}`: {message}"
    if place[0] in given:
        return ContractError(what, file=f"--{place[0].replace('_', '-')}", write=_WRITE)
    for end in range(len(place), 0, -1):
        for name in _variables(place[:end]):
            if _holds(os.environ[name], place[end:]):
                return ContractError(what, file=f"environment variable {name}", write=_WRITE)
    if document := config_file():
        return document.error(what, place, _WRITE)
    return ContractError(what, file=CONFIG_FILE, write=_WRITE)


def _variables(place: list[str]) -> list[str]:
    wanted = f"{ENVIRONMENT_PREFIX}{'__'.join(place)}".upper()
    return [name for name in os.environ if name.upper() == wanted]


def _holds(text: str, place: list[str]) -> bool:
    """Whether this JSON says something at this place; any text does at the empty one."""
    value = json.loads(text) if place else None
    for name in place:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


def _warn_of_unknown_variables() -> None:
    # No refusal: Kubernetes names variables after a service called headrace.
    known = {f"{ENVIRONMENT_PREFIX}{name}".upper() for name in (*Settings.model_fields, *_OTHER_VARIABLES)}
    for name in os.environ:
        if name.upper().startswith(ENVIRONMENT_PREFIX) and name.upper().split("__")[0] not in known:
            log.warning("environment variable %s is no setting and has no effect; %s", name, _WRITE)


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
    # What kafka-python and thrift have to say about an absent server comes as one error with a next step.
    for client in ("kafka", "thrift"):
        logging.getLogger(client).setLevel(logging.DEBUG if verbose else logging.CRITICAL)


class FiniteRange(click.FloatRange):
    """As FloatRange, but neither infinite nor NaN, which is never outside a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Usage error if it is no number, not finite or out of range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


POSITIVE = FiniteRange(min=0, min_open=True)
pass_app = click.make_pass_decorator(App)
