"""Whether what is declared has changed since it was loaded."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path

from contracts.errors import HeadraceError
from contracts.loader import load_pipeline
from contracts.settings import Settings
from contracts.stream import Pipeline
from warehouse_sql.declaration import load

log = logging.getLogger("headrace.run")

LOOK_EVERY_S = 2.0
Stamp = dict[Path, tuple[int, int]]


class Declaration:
    """The files of one pipeline as they were when this was made, or when `changed` last looked.

    Make it before the pipeline that is to be worked by is loaded: what is saved later is then seen as a change.
    One for all threads of a process.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._stamp = self._now()
        self._looked = time.monotonic()

    def changed(self) -> bool:
        """Whether a new and valid declaration is there, true once. Looks every two seconds; a wrong one is logged once.

        The caller loads what is there then; a change after this call is told by a later one.
        """
        with self._lock:
            return self._changed()

    def _changed(self) -> bool:
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return False
        self._looked = time.monotonic()
        stamp = self._now()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            load(load_pipeline(self._settings.pipeline, self._settings.pipeline_dir))
        except HeadraceError as error:
            log.error("the declaration changed and is wrong; the one before it goes on: %s", error)
            return False
        except Exception as error:
            # Whatever a file being saved holds, what runs must not end by it.
            said = f"{type(error).__name__}: {error}"
            log.error("the declaration changed and cannot be read; the one before it goes on: %s", said, exc_info=error)
            return False
        log.info("the declaration of %s changed: it is taken up", self._pipeline.name)
        return True

    def _now(self) -> Stamp:
        folders = (self._pipeline.contracts_dir, self._pipeline.warehouse_sql_dir)
        files = (file for folder in folders for file in folder.rglob("*") if file.suffix in (".yaml", ".yml", ".sql"))
        stamp = {}
        for file in files:
            # An editor may replace a file at this moment.
            with suppress(OSError):
                found = file.stat()
                stamp[file] = (found.st_mtime_ns, found.st_size)
        return stamp
