"""The README's "Point it at your own Postgres and Kafka": every part belongs to somebody else, the settings name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import yaml

from connectors.postgres.load import run_sql_file
from headrace.demo import Demo
from producers.generator.answer import Answer
from tests.e2e.shell import README, Shell
from tests.e2e.theirs import passwords, settings

CONTRACT = re.findall(r"customers.yaml <<'YAML'\n(.*?)YAML\n", README, re.DOTALL)[0]
TABLE = """
create schema sales;
create table sales.customers (customer_id bigint primary key, customer_name text not null);
insert into sales.customers values (7, 'Ada'), (8, 'Grace');
"""


@pytest.fixture
def shell(demo: tuple[Demo, Answer], tmp_path: Path) -> Iterator[Shell]:
    """A folder with a pipeline and the README's settings, their values those of a deployment that runs elsewhere."""
    theirs, app = demo[0].app.endpoints, demo[0].app
    often = {"run": {"merge_every_s": 5}}  # what is proven waits for a round
    (tmp_path / "headrace.yaml").write_text(yaml.safe_dump(settings(theirs, "sales", "sales") | often), "utf-8")
    contract = CONTRACT.replace("shop.", "sales.").replace("public.", "sales.")
    (tmp_path / "sales" / "contracts").mkdir(parents=True)
    (tmp_path / "sales" / "contracts" / "customers.yaml").write_text(contract, "utf-8")
    # The administrator of their Connect keeps the password where their provider may read it.
    secrets = app.settings.data_dir.resolve() / "secrets" / "sales.properties"
    secrets.write_text(f"debezium={theirs.replicator.password.get_secret_value()}\n", "utf-8")
    (tmp_path / "sales" / "connectors").mkdir()
    reference = {"database.password": f"${{file:{secrets}:debezium}}"}
    (tmp_path / "sales" / "connectors" / "postgres.json").write_text(json.dumps(reference), "utf-8")
    (tmp_path / "table.sql").write_text(TABLE, "utf-8")
    run_sql_file(theirs.source, tmp_path / "table.sql")
    shell = Shell(tmp_path, **passwords(theirs))
    try:
        yield shell
    finally:
        shell.type("headrace down")


def test_a_pipeline_runs_on_parts_that_belong_to_somebody_else(shell: Shell, demo: tuple[Demo, Answer]) -> None:
    shell.type("headrace up && headrace apply && headrace verify --wait 300", timeout_s=600)

    parts = {row["part"]: row["state"] for row in shell.ask("headrace status")[0]["parts"]}
    assert {part for part, state in parts.items() if state == "running"} == {"run", "monitor"}, parts
    assert shell.column("select customer_name from sales_lake.customers_current order by 1") == ["Ada", "Grace"]
    assert not (shell.folder / ".headrace" / "secrets" / "sales").exists(), (
        "the password was written although theirs is used"
    )

    # What the connector was never sent comes by reading that part again; on a terminal one sees how far it is.
    with closing(psycopg2.connect(**demo[0].app.endpoints.source.dsn())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in (
            "alter publication headrace_sales drop table sales.customers",
            "update sales.customers set customer_name = customer_name || '!'",
            "alter publication headrace_sales add table sales.customers",
        ):
            cursor.execute(statement)
    again = "headrace resnapshot customers --where customer_id=7"
    would = {"stream": "customers", "table": "sales.customers", "rows, about": 1, "rows gone from the source": "stay"}
    assert shell.ask(f"{again} --dry-run") == [would]
    shown = shell.type(f"script -qefc 'stty cols 160; {again} --wait 120' /dev/null")
    assert re.search(r"reading customers[^\r\n]*?0/1 rows", shown), shown
    assert re.search(r"customers +sales\.customers +1 .* yes", shown), shown
    assert shell.column("select customer_name from sales_lake.customers_current order by 1") == ["Ada!", "Grace"]
