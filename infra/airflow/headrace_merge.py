"""Cluster configuration, not run by this repository's tests: merge rounds as an Airflow DAG.

Copy it to the DAGs folder of an Airflow 2.9+ whose worker has headrace at HEADRACE_HOME (default /opt/headrace) and its
addresses in /etc/headrace/headrace.yaml. Run the streams elsewhere with `headrace run --no-merge`.
A round that is repeated or that overlaps nothing new changes nothing, so retries are safe and there is no catch-up.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.decorators import dag
from airflow.operators.bash import BashOperator

HOME = os.environ.get("HEADRACE_HOME", "/opt/headrace")


@dag(
    schedule="*/5 * * * *",
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["headrace"],
)
def headrace_merge() -> None:
    """One merge round every five minutes, then the ledger in the task's log."""
    merge = BashOperator(
        task_id="merge",
        bash_command=f"{HOME}/.venv/bin/headrace merge",
        env={"HEADRACE_CONFIG": "/etc/headrace/headrace.yaml"},
        append_env=True,
        execution_timeout=timedelta(hours=1),
    )
    ledger = BashOperator(
        task_id="ledger",
        bash_command=f"{HOME}/.venv/bin/headrace ledger",
        env={"HEADRACE_CONFIG": "/etc/headrace/headrace.yaml"},
        append_env=True,
    )
    merge >> ledger


headrace_merge()
