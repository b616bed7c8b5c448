"""Whether what is declared has changed since it was loaded."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from contracts.errors import ContractError
from contracts.loader import load_pipeline
from contracts.settings import Settings
from contracts.stream import Pipeline
from warehouse_sql.declaration import load

log = logging.getLogger("headrace.run")

LOOK_EVERY_S = 2.0
Stamp = dict[Path, tuple[int, int]]


class Declaration:
    """The files of one pipeline as they were when this was made."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._stamp = self._now()
        self._looked = time.monotonic()

    def changed(self) -> bool:
        """Whether a new and valid declaration is there. Looks every two seconds; a wrong one is logged once."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return False
        self._looked = time.monotonic()
        stamp = self._now()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            load(load_pipeline(self._settings.pipeline, self._settings.pipeline_dir))
        except ContractError as error:
            log.error("the declaration changed and is wrong; the one before it goes on: %s", error)
            return False
        log.info("the declaration of %s changed: it is taken up", self._pipeline.name)
        return True

    def _now(self) -> Stamp:
        folders = (self._pipeline.contracts_dir, self._pipeline.warehouse_sql_dir)
        files = (file for folder in folders for file in folder.rglob("*") if file.suffix in (".yaml", ".yml", ".sql"))
        return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}
