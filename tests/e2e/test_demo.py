"""The README's first command, as it stands there: it judges itself by source, lake, warehouse and the known answer."""

from __future__ import annotations

import re

from contracts.settings import Settings
from headrace.app import App
from headrace.proof import comparisons
from tests.e2e.conftest import KeptDemo


def test_the_demo_proves_that_every_row_arrived(kept_demo: KeptDemo) -> None:
    done = kept_demo.done
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}"
    assert "Every row arrived." in done.stdout
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    made = [
        line for line in lines[lines.index("Proof") :] if re.search(r"  yes\b", line) and "known answer" not in line
    ]
    assert len(made) == comparisons(App(Settings(data_dir=kept_demo.data_dir))), "what `verify` announces"
