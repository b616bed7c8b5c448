"""The proof, and the demonstration that ends with it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing

import click

from headrace.app import POSITIVE, App, FiniteRange, pass_app
from headrace.commands.ask import json_option
from headrace.output import show
from headrace.progress import Bar


@click.command()
@click.option(
    "--wait", type=FiniteRange(min=0), default=0.0, help="Repeat until all is equal, at most this many seconds."
)
@json_option
@pass_app
def verify(app: App, wait: float, as_json: bool) -> None:
    """Prove it: every offset accounted for, source = lake = warehouse by count and content.

    Waits until every change committed so far is in Kafka. Stop the writers first: a source that is written to while
    it is compared differs. Exit code 1 if anything differs.
    """
    from headrace.findings import Finding, until_equal
    from headrace.proof import comparisons, proof

    total = comparisons(app)
    with Bar() as bar:

        def compared() -> Generator[Finding, None, None]:
            bar.show("proving", total=total, unit="comparisons")
            with closing(proof(app)) as found:
                for done, finding in enumerate(found, start=1):
                    bar.show("proving", done=done, total=max(done, total), unit="comparisons")
                    yield finding

        findings = until_equal(compared, timeout_s=wait)
    show([finding.row() for finding in findings], as_json=as_json, title="Proof")
    if not all(finding.equal for finding in findings):
        sys.exit(1)


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running, to explore.")
@click.option(
    "--scale", type=POSITIVE, default=1.0, show_default=True, help="Times the declared number of sample rows."
)
@pass_app
def demo(app: App, keep: bool, scale: float) -> None:
    """The whole pipeline on real parts, with a kill -9 in the middle, ending with the tables and the proof."""
    from headrace.demo import run_demo

    if not run_demo(app, keep=keep, scale=scale):
        sys.exit(1)


COMMANDS = (verify, demo)
