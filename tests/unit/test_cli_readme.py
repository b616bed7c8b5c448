"""The command line and the README cannot drift apart."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from headrace.cli import cli

FOLDER = Path(__file__).parents[2]
README = (FOLDER / "README.md").read_text("utf-8")


def commands(group: click.Group = cli, path: str = "headrace") -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def summary(command: click.Command) -> str:
    return (command.help or "").split("\n\n")[0].replace("\n", " ").strip()


ALL = dict(commands())


@pytest.mark.parametrize("path", ALL)
def test_every_command_has_help_and_stands_in_the_readme(path: str) -> None:
    command = ALL[path]
    assert summary(command), f"{path} has no help"
    arguments = " ".join(
        p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)
    )
    line = f"| `{path}{' ' + arguments if arguments else ''}` | {summary(command)} |"
    assert line in README, f"README lacks this line: {line}"


def test_every_option_has_help() -> None:
    silent = [
        f"{path} {option.opts[0]}"
        for path, command in ALL.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert not silent


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    named = set(re.findall(r"^headrace ((?:quarantine )?[a-z]+)", blocks, re.MULTILINE))
    assert named
    assert {f"headrace {name}" for name in named} <= set(ALL)


def test_what_the_readme_installs_later_is_looked_for_though_all_else_is_there() -> None:
    asked = set(re.findall(r"make setup ([A-Z]+_INSTALL=1)", README))
    assert asked
    for variable in asked:
        done = subprocess.run(["make", "-n", "setup", variable], cwd=FOLDER, capture_output=True, text=True, check=True)
        assert "infra.preflight" in done.stdout, variable


def test_what_changes_state_has_a_dry_run() -> None:
    for path in ("apply", "load", "push", "replay", "reset"):
        assert any("--dry-run" in option.opts for option in ALL[f"headrace {path}"].params), path
