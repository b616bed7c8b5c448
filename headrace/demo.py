"""`headrace demo`: a pipeline's whole life in a few minutes, on real parts, judged by its known answer.

Works for any pipeline that declares sample data; it knows no table by name.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import psutil
import psycopg2
from rich.markup import escape

from connectors.plan import apply
from connectors.postgres.load import load, run_sql_file
from contracts.errors import Fatal, Retryable
from headrace.app import App
from headrace.background import RUN, processes
from headrace.demo_answer import answer_findings
from headrace.findings import Finding
from headrace.lake import rows_of
from headrace.output import render, result_console, show
from headrace.overview import crashes, files_overview
from headrace.planning import planned
from headrace.proof import proof
from headrace.rounds import settled
from headrace.running import prefer_quick_start
from headrace.sample import generate_sample
from infra.local import deployment
from producers.generator.answer import Answer
from producers.push import push
from warehouse_sql import declaration

DATA_DIR = Path(".headrace-demo")
BATCH_DATES = (date(2026, 1, 5), date(2026, 1, 6))
WORKLOAD_EVERY_S = 0.25
PROOF_WITHIN_S = 300.0


def run_demo(app: App, *, keep: bool, scale: float) -> bool:
    """Returns whether the proof holds. Uses a deployment of its own below `.headrace-demo`, emptied first.

    What failed stays to be looked at: stopped, or running with `keep`.
    """
    prefer_quick_start()
    demo = Demo(App(app.settings.model_copy(update={"data_dir": DATA_DIR})), scale)
    holds = False
    try:
        holds = demo.run()
        return holds
    finally:
        settings = demo.app.settings
        for said in crashes(deployment.status(settings)):
            demo.say(f"\n{escape(said)}")
        if keep:
            demo.say(f"\nIt keeps running. To explore: [bold]export HEADRACE_DATA_DIR={DATA_DIR}[/bold], then")
            demo.say("headrace status · files · ledger · quarantine list · sql 'show tables'; headrace reset when done")
        elif not holds:
            with demo.step("Stop everything; data and logs stay"):
                deployment.down(settings)
            demo.say(f"\nTo look into it: [bold]export HEADRACE_DATA_DIR={DATA_DIR}[/bold], then")
            demo.say("headrace logs PART; headrace up, status, verify; headrace reset when done")
        else:
            with demo.step("Stop everything and delete the demo's data"):
                deployment.reset(settings)


class Demo:
    """One demonstration; `run` once."""

    def __init__(self, app: App, scale: float) -> None:
        self.app = app
        self._scale = scale
        self._console = result_console()
        self._began = time.monotonic()
        self.sample = app.settings.data_dir / "sample"
        self.crashed: list[str] = []
        """The last words of parts that ended by themselves."""

    def say(self, text: str) -> None:
        """One line for the person watching."""
        self._console.print(text, highlight=False)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what begins, and how long it took."""
        started = time.monotonic()
        with self._console.status(what):
            yield
        self.say(
            f"[green]✓[/green] {what} [dim]{time.monotonic() - started:.0f} s, {started - self._began:.0f} s in[/dim]"
        )

    def run(self) -> bool:
        """The demonstration, from an empty folder to the verdict."""
        app = self.app
        answer = self.prepare(BATCH_DATES)
        with self.workload(), self.step("Push files while Postgres changes; kill -9 the streaming job in the middle"):
            first, second, corrected = self._files(answer)
            push(first, app.pipeline, app.endpoints.kafka)
            killed = threading.Timer(1.0, self.kill, [RUN])
            killed.start()
            push(second, app.pipeline, app.endpoints.kafka)
            killed.join()
        with self.workload(), self.step("Start it again; push a corrected file"):
            self.start_processes()
            push(corrected, app.pipeline, app.endpoints.kafka)
        with self.step("Stop the workload, wait for the last merge, compare everything"):
            findings = self.settled(answer)
        self._show_results(findings)
        holds = all(finding.equal for finding in findings)
        verdict = "[bold green]Every row arrived.[/bold green]" if holds else "[bold red]Something differs.[/bold red]"
        self.say(f"\n{verdict} {time.monotonic() - self._began:.0f} s in all.")
        return holds

    def prepare(self, batch_dates: Sequence[date]) -> Answer:
        """An emptied deployment with the source filled, the pipeline applied and its processes running."""
        app = self.app
        with self.step("Start Postgres, Kafka, Connect, HDFS, metastore and the SQL endpoint"):
            deployment.reset(app.settings)
            deployment.up(app.settings)
        with self.step("Make sample data with known dirt, fill the source database"):
            answer = generate_sample(app, self.sample, scale=self._scale, seed=None, batch_dates=batch_dates)
            self._fill_source(answer)
        with self.step("Apply the pipeline: topics, access, connector, tables"):
            apply(planned(app))
        with self.step("Start the streams and the merges"):
            self.start_processes()
        return answer

    def _fill_source(self, answer: Answer) -> None:
        run_sql_file(self.app.endpoints.source, self.app.pipeline.connectors_dir / "source_ddl.sql")
        for table in answer.tables:
            source = self.app.pipeline.stream(table.stream).table_source
            load(self.sample / table.file, source.qualified, self.app.endpoints.source)

    def _files(self, answer: Answer) -> tuple[list[Path], list[Path], list[Path]]:
        def chosen(correction: bool, first: bool) -> list[Path]:
            return [
                self.sample / file.file
                for file in answer.files
                if file.correction == correction and (correction or (file.unit == str(BATCH_DATES[0])) == first)
            ]

        return chosen(False, True), chosen(False, False), chosen(True, True)

    def start_processes(self) -> None:
        """Start `headrace run` and the monitor where they do not run, and whatever else of the deployment is down."""
        deployment.up(self.app.settings, extra=processes(self.app, ("--merge-every", "5s")))

    def kill(self, part: str) -> None:
        """kill -9 one part of the deployment with all its processes."""
        pid = next((one.pid for one in deployment.status(self.app.settings) if one.name == part), None)
        if pid is None:
            raise Fatal(f"{part} does not run, so it cannot be killed", next_step=f"headrace logs {part}")
        victim = psutil.Process(pid)
        for process in [victim, *victim.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    @contextmanager
    def workload(self) -> Iterator[None]:
        """Runs the pipeline's `workload.sql` over and over beside the body, if there is one."""
        file = self.app.pipeline.connectors_dir / "workload.sql"
        stop = threading.Event()

        def work() -> None:
            connection = psycopg2.connect(**self.app.endpoints.source.dsn())
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not stop.wait(WORKLOAD_EVERY_S):
                    cursor.execute(file.read_text(encoding="utf-8"))
            connection.close()

        worker = threading.Thread(target=work, name="workload")
        if file.exists():
            worker.start()
        try:
            yield
        finally:
            stop.set()
            if worker.ident is not None:
                worker.join()

    def settled(self, answer: Answer) -> list[Finding]:
        """Proof and known answer, as soon as all is equal after a merge round or `PROOF_WITHIN_S` are over."""
        return settled(self.app.settings, lambda: self._readable(answer), timeout_s=PROOF_WITHIN_S)

    def _readable(self, answer: Answer) -> Iterator[Finding]:
        """The findings, with one unequal one at the end if something cannot be read yet. The SQL endpoint, through
        which only readers go, is named and started again if it crashed; what carries rows is not: it shall show."""
        try:
            yield from self._findings(answer)
        except (Fatal, Retryable) as error:
            with suppress(Retryable):  # tried again with the findings
                self._revive_sql()
            yield Finding("everything can be read", "yes", "not yet", False, error.what)

    def _revive_sql(self) -> None:
        said = crashes([part for part in deployment.status(self.app.settings) if part.name == "sql"])
        if said:
            self.crashed += said
            self.say(escape("\n".join(said)))
            deployment.up(self.app.settings, ["sql"])

    def _findings(self, answer: Answer) -> Iterator[Finding]:
        yield from proof(self.app)
        yield from answer_findings(self.app, answer)

    def _show_results(self, findings: list[Finding]) -> None:
        try:
            self._show_tables()
        finally:  # also if nothing can be read any more
            table = [list(finding.row().values()) for finding in findings]
            self._console.print(render("\nProof", ["what", "one side", "other side", "equal", "detail"], table))

    def _show_tables(self) -> None:
        warehouse = declaration.load(self.app.pipeline)
        for name, query in warehouse.named("queries").items():
            rows = rows_of(self.app, query, limit=5)
            show(rows, as_json=False, title=f"\n{name.replace('_', ' ').capitalize()} (first 5)")
        files = [{key: row[key] for key in list(row)[:9]} for row in files_overview(self.app)]
        show(files, as_json=False, title="\nFiles")
        quarantine = f"{self.app.pipeline.name}_lake.quarantine"
        refused = rows_of(
            self.app,
            f"select stream, rule, column_name, count(*) as rows, min(reason) as example from {quarantine} "
            "group by stream, rule, column_name order by stream, rule, column_name",
        )
        show(refused, as_json=False, title="\nQuarantine, by reason")
