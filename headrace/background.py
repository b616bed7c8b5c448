"""headrace's own long-lived processes, as parts that `up` and `down` keep with the deployment."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from headrace.app import App
from infra.java import java_home
from infra.local.layout import data_dir, open_layout
from infra.local.part import NotReady, Part

RUN = "run"
MONITOR = "monitor"


def processes(app: App, run_options: tuple[str, ...] = ()) -> list[Part]:
    """`headrace run` and the live monitor of this pipeline."""
    command = [sys.executable, "-m", "headrace", "--pipeline", app.settings.pipeline]
    if app.settings.pipeline_dir:
        command += ["--pipeline-dir", str(app.settings.pipeline_dir.resolve())]
    env = {"JAVA_HOME": str(java_home()), "HEADRACE_DATA_DIR": str(data_dir(app.settings))}
    port = monitor_port(app)
    return [
        Part(
            RUN,
            (*command, "run", *run_options),
            ready=lambda: _running(app),
            env=env,
            # Where this command found its settings file.
            cwd=Path.cwd(),
            prepare=lambda: app.status_file.unlink(missing_ok=True),
            stop_timeout_s=60,
        ),
        Part(
            MONITOR,
            (*command, "monitor", "--port", str(port)),
            ready=lambda: _answers(f"http://127.0.0.1:{port}/metrics"),
            env=env,
            cwd=Path.cwd(),
            port=port,
        ),
    ]


def monitor_port(app: App) -> int:
    """The loopback port of the monitor's pages."""
    return open_layout(app.settings).ports[MONITOR]


def _running(app: App) -> None:
    """Ready once the process has written its first status."""
    if not app.status_file.exists():
        raise NotReady("Spark has not started yet")


def _answers(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # loopback, our own process
            answer.read(1)
    except (urllib.error.URLError, OSError) as error:
        raise NotReady(str(error)) from error
