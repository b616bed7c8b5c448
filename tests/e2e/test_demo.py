"""The README's first command, as it stands there: it judges itself by source, lake, warehouse and the known answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_demo_proves_that_every_row_arrived(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [sys.executable, "-m", "headrace", "demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=840,
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    assert "Every row arrived." in done.stdout
    assert not list((tmp_path / ".headrace-demo" / "run").glob("*.json")), "the demo left processes behind"
