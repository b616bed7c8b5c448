"""The README's "Add a stream", typed as it stands there: a pipeline of one's own, outside the repository, no Python."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.shell import README, Shell

SECTION = README.split("## Add a stream")[1].split("\n## ")[0]
NEW_PIPELINE, NEW_STREAM = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """In the folder of the new pipeline, which runs."""
    # What is proven waits for a round.
    shell = Shell(tmp_path_factory.mktemp("readme"), HEADRACE_RUN__MERGE_EVERY_S="5")
    try:
        shell.type(NEW_PIPELINE, timeout_s=600)
        shell.folder /= "shop"
        yield shell
    finally:
        shell.type("headrace reset --yes")


def test_a_stream_joins_while_it_runs(shell: Shell) -> None:
    run = shell.pid_of("run")

    told = shell.type(NEW_STREAM, timeout_s=600)

    assert "shop.public.customers" in told, "the plan names the new topic"
    assert shell.pid_of("run") == run, "adding a stream started `headrace run` again"
    assert "Ada" in told
    assert shell.column("select order_id from shop_lake.orders_current order by 1") == ["1", "3"]
    assert shell.column("select customer_id from shop_lake.customers_current order by 1") == ["7", "8"]
    refused = shell.ask("headrace quarantine list")
    assert [(row["stream"], row["rows"]) for row in refused] == [("orders", 1)]
    assert shell.ask("headrace files")[0]["state"] == "done"
    assert shell.type("headrace plan").startswith("nothing to do")


def test_a_column_that_a_contract_gains_is_added_while_it_runs(shell: Shell) -> None:
    contract = shell.folder / "contracts" / "orders.yaml"
    before = contract.read_text("utf-8")
    gained = "      - {name: note, logicalType: string, physicalType: string}\n      - name: batch_date\n"
    run = shell.pid_of("run")

    # `run` adds the column within seconds: held for as long as `plan` looks.
    os.kill(run, signal.SIGSTOP)
    try:
        contract.write_text(before.replace("{name: order_id,", "{name: order,"), "utf-8")
        refused = shell.type("headrace plan 2>&1 || true")
        contract.write_text(before.replace("      - name: batch_date\n", gained), "utf-8")
        planned = shell.type("headrace plan || true")
    finally:
        os.kill(run, signal.SIGCONT)
    shell.type("headrace apply")
    shell.type("printf 'order_id,customer_id,amount,note\\n4,7,1.00,gift\\n' > orders_2026-11-02.csv")
    shell.type("headrace push orders_2026-11-02.csv")
    shell.type("headrace verify --wait 300", timeout_s=400)

    assert "identified by order_id, the contract says order" in refused
    assert "shop_lake.orders.note" in planned
    assert shell.column("select note from shop_lake.orders_current where order_id = 4") == ["gift"]


def test_a_type_that_changes_stops_a_stream_until_its_contract_says_it(shell: Shell) -> None:
    contract = shell.folder / "contracts" / "customers.yaml"
    before = contract.read_text("utf-8")

    def declare(text: str) -> None:
        """Returns when `run` has taken this contract up."""
        status = shell.folder / ".headrace" / "shop.status.json"
        run = json.loads(status.read_text("utf-8"))["run"]
        contract.write_text(text, "utf-8")
        shell.wait(lambda: bool(json.loads(status.read_text("utf-8"))["run"] != run), 120)

    shell.type("echo 'alter table customers add column points int' > points.sql && headrace load points.sql")
    stops = "  - {property: headrace.evolution, value: stop}\nschema:\n"
    points = "      - {name: points, logicalType: integer, physicalType: int}\n"
    stopping = before.replace("schema:\n", stops, 1) + points
    declare(stopping)

    (shell.folder / "wider.sql").write_text(
        "insert into customers values (9, 'Edsger', 3);\n"
        "alter table customers alter column points type bigint;\n"
        "insert into customers values (10, 'Barbara', 3000000000), (11, 'Donald', 4);\n",
        "utf-8",
    )
    shell.type("headrace load wider.sql")
    reasons: dict[str, str] = {}

    def parked() -> bool:
        (found,) = json.loads(shell.type("headrace status --json || true"))
        reasons.update({row["stream"]: row["reason"] for row in found["streams"] if row["state"] == "parked"})
        return bool(reasons)

    shell.wait(parked, 120)
    assert reasons.keys() == {"customers"}
    other = "the declared type cannot hold every value of the table's (declared int, found bigint)"
    assert f"public.customers.points: {other}" in reasons["customers"]
    assert "headrace resume customers" in reasons["customers"]

    declare(stopping.replace("physicalType: int}", "physicalType: bigint}"))
    shell.type("headrace apply && headrace resume customers")
    shell.type("headrace verify --wait 300", timeout_s=400)
    found = shell.ask('headrace sql "select customer_id, points from shop_lake.customers_current order by 1"')
    assert [(int(row["customer_id"]), row["points"]) for row in found[2:]] == [(9, 3), (10, 3_000_000_000), (11, 4)]
