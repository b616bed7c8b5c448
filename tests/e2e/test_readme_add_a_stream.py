"""The README's "Add a stream", typed as it stands there: a pipeline of one's own, outside the repository, no Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = README.split("## Add a stream")[1].split("\n## ")[0]
NEW_PIPELINE, NEW_STREAM = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


class Shell:
    """A terminal in one folder, as after `source .venv/bin/activate`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def type(self, text: str, timeout_s: float = 300) -> str:
        """Run it, stop at the first command that fails; what it printed on stdout."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def ask(self, command: str) -> list[dict[str, Any]]:
        """The rows that a command with `--json` prints."""
        found: list[dict[str, Any]] = json.loads(self.type(f"{command} --json"))
        return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """In the folder of the new pipeline, which runs."""
    shell = Shell(tmp_path_factory.mktemp("readme"))
    try:
        shell.type(NEW_PIPELINE)
        shell.folder /= "shop"
        yield shell
    finally:
        shell.type("headrace reset --yes")


def test_a_stream_joins_while_it_runs(shell: Shell) -> None:
    run = pid_of(shell, "run")

    told = shell.type(NEW_STREAM)

    assert "shop.public.customers" in told, "the plan names the new topic"
    assert pid_of(shell, "run") == run, "adding a stream started `headrace run` again"
    assert "Ada" in told
    assert rows(shell, "select order_id from shop_lake.orders_current order by 1") == ["1", "3"]
    assert rows(shell, "select customer_id from shop_lake.customers_current order by 1") == ["7", "8"]
    refused = shell.ask("headrace quarantine list")
    assert [(row["stream"], row["rows"]) for row in refused] == [("orders", 1)]
    assert shell.ask("headrace files")[0]["state"] == "done"
    assert shell.type("headrace plan").startswith("nothing to do")


def test_a_column_that_a_contract_gains_is_added_while_it_runs(shell: Shell) -> None:
    contract = shell.folder / "contracts" / "orders.yaml"
    before = contract.read_text("utf-8")
    gained = "      - {name: note, logicalType: string, physicalType: string}\n      - name: batch_date\n"
    contract.write_text(before.replace("      - name: batch_date\n", gained), "utf-8")

    planned = shell.type("headrace plan || true")
    shell.type("headrace apply")
    shell.type("printf 'order_id,customer_id,amount,note\\n4,7,1.00,gift\\n' > orders_2026-11-02.csv")
    shell.type("headrace push orders_2026-11-02.csv")
    shell.type("headrace verify --wait 120")

    assert "shop_lake.orders.note" in planned
    assert rows(shell, "select note from shop_lake.orders_current where order_id = 4") == ["gift"]


def pid_of(shell: Shell, part: str) -> int:
    parts = shell.ask("headrace status")[0]["parts"]
    return int(next(row["pid"] for row in parts if row["part"] == part))


def rows(shell: Shell, statement: str) -> list[str]:
    return [str(next(iter(row.values()))) for row in shell.ask(f'headrace sql "{statement}"')]
