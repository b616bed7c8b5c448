"""The classes that every Spark session loads, as an archive which a JVM maps into its memory. Without it a JVM unpacks,
reads and checks them anew: a third of the processor time of a session that lives for one command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from contracts.errors import HeadraceError
from contracts.settings import SparkSettings
from infra.jars import pyspark_jars, spark_jars
from infra.java import java
from streaming_jobs.session import build_session

NAME = "headrace-spark-"
MADE_WITHIN_S = 300
# Where an archive does not fit a JVM (another class path, another Java), it goes on without, and need not say so.
OPTIONS = "-XX:SharedArchiveFile={} -Xlog:cds*=off"


def share_classes() -> None:
    """All Spark sessions that this process and its children start use the archive, which is made where it is missing.

    Without one, should it not be made, everything works all the same.
    """
    if "SPARK_SUBMIT_OPTS" in os.environ:
        return
    with suppress(HeadraceError, OSError, subprocess.TimeoutExpired):  # who needs what is missing tells it
        os.environ["SPARK_SUBMIT_OPTS"] = OPTIONS.format(_archive())


def _archive() -> Path:
    what = (sys.prefix, str(pyspark_jars()), *map(str, spark_jars()), *map(str, (java(), java().stat().st_mtime_ns)))
    archive = Path(sys.prefix) / f"{NAME}{sha256('|'.join(what).encode()).hexdigest()[:16]}.jsa"
    with FileLock(archive.with_suffix(".lock")):
        if not archive.exists():
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / "made.jsa"
                command = [sys.executable, __file__, str(made), folder]
                # It ends when the JVM does, which writes the archive last.
                subprocess.run(command, capture_output=True, timeout=MADE_WITHIN_S, check=False)
                if made.exists():
                    for older in archive.parent.glob(f"{NAME}*.jsa"):
                        older.unlink()
                    shutil.move(made, archive)
    return archive


def _load_what_all_load(archive: str, folder: str) -> None:
    options = {"spark.driver.defaultJavaOptions": f"-XX:ArchiveClassesAtExit={archive}"}
    spark = build_session(
        *(None, SparkSettings(master="local[2]", driver_memory="1g"), spark_jars(), "classes to share"),
        warehouse_dir=f"{folder}/warehouse",
        conf=options,
    )
    spark.sql("create table numbers (id bigint, name string) using delta")
    rows = spark.range(1000).selectExpr("id", "cast(id as string) as name")
    rows.write.format("delta").mode("append").saveAsTable("numbers")
    spark.sql("select name, count(*) from numbers group by name order by name limit 5").collect()
    spark.sql("merge into numbers using (select 1L as id) as one on numbers.id = one.id when matched then delete")
    spark.stop()


if __name__ == "__main__":
    _load_what_all_load(*sys.argv[1:])
