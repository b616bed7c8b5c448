"""The Spark session that streams, merges and replays run in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from py4j.java_gateway import java_import
from pyspark.sql import SparkSession

from contracts.endpoints import Endpoints
from contracts.settings import SparkSettings

_LOGGING = Path(__file__).with_name("log4j2.properties")

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # 50 tasks to read a log of a few rows cost more than the whole batch.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
    "spark.databricks.delta.properties.defaults.checkpointInterval": "100",
}

_PARSING = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Pruning what a parser reads to what a query uses would stop it from seeing what is wrong with the rest.
    "spark.sql.optimizer.enableJsonExpressionOptimization": "false",
    "spark.sql.optimizer.enableCsvExpressionOptimization": "false",
    # A number in a JSON text must reach the cast with the digits the source wrote.
    "spark.sql.json.enableExactStringParsing": "true",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
}

_LARGE_BATCHES = {
    # As a source of the first version Kafka's records are made into rows of objects and back into Spark's own.
    "spark.sql.sources.useV1SourceList": "avro,csv,json,orc,parquet,text",
    # Digests: a writer would look in vain for two that are equal, in each file anew until its first page is full. Of
    # the key of a row that changes often the codec finds what is equal.
    "spark.hadoop.parquet.enable.dictionary#_key": "false",
    "spark.hadoop.parquet.enable.dictionary#_hash": "false",
}

_LOCATE = "spark.hadoop.dfs.client.block.write.locateFollowingBlock"
_HDFS = {
    "spark.hadoop.dfs.client.block.write.replace-datanode-on-failure.enable": "false",
    # A file is closed when the NameNode has heard of its last block from a DataNode. Asked a moment too early, as one
    # in ten is, the client would ask again after 400 ms. From 20 ms on, doubled ten times, it has no less patience.
    f"{_LOCATE}.initial.delay.ms": "20",
    f"{_LOCATE}.retries": "10",
}

_SMALL_BATCHES = {
    "spark.sql.adaptive.enabled": "false",
    # It follows each join's keys down to the file, through every step that makes them, and takes longer than the batch.
    "spark.sql.optimizer.dynamicPartitionPruning.enabled": "false",
    "spark.scheduler.mode": "FAIR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Every execution writes its plan down for a page that nobody opens; this is the shortest text.
    "spark.sql.ui.explainMode": "simple",
    "spark.sql.ui.retainedExecutions": "20",
    "spark.ui.retainedJobs": "100",
    "spark.ui.retainedStages": "100",
    "spark.locality.wait": "0s",
    "spark.cleaner.referenceTracking.blocking": "false",
    "spark.kafka.consumer.cache.capacity": "128",
    # One batch of one wide stream uses more classes than the default, 100, holds: all of them would be generated and
    # compiled anew in every batch, and forgotten when the JVM has just made them fast.
    "spark.sql.codegen.cache.maxEntries": "2000",
    # The generated code of a wide stream is above the JVM's 8000-byte limit for compilation. What plans a batch runs
    # some thousand times, which the optimising compiler is not worth; what runs per row reaches it soon enough.
    "spark.driver.extraJavaOptions": (
        "-XX:-DontCompileHugeMethods -XX:ReservedCodeCacheSize=256m -XX:Tier4InvocationThreshold=50000 "
        "-XX:Tier4MinInvocationThreshold=6000 -XX:Tier4CompileThreshold=150000 "
        f"-Dlog4j2.configurationFile={_LOGGING.as_uri()}"
    ),
}


def build_session(
    endpoints: Endpoints | None,
    spark: SparkSettings,
    jars: Sequence[Path],
    app_name: str,
    warehouse_dir: str | None = None,
    conf: Mapping[str, str] | None = None,
) -> SparkSession:
    """A session with Delta, Kafka and, given `endpoints`, HDFS and the metastore.

    Without `endpoints` it works on the local disk with an in-memory catalog. Later wins: the values here, `spark.conf`
    of the settings, `conf`. An already running session of this process is returned as it is: stop it first to get
    other static settings.
    """
    values = {
        "spark.app.name": app_name,
        "spark.master": spark.master,
        "spark.driver.memory": spark.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(spark.shuffle_partitions),
        **_DELTA,
        **_PARSING,
        **_LARGE_BATCHES,
        **_SMALL_BATCHES,
    }
    if not spark.master.startswith("local"):
        # The driver's own address is for the cluster manager to choose.
        del values["spark.driver.host"], values["spark.driver.bindAddress"]
    if jars:
        values["spark.jars"] = ",".join(str(jar) for jar in jars)
    if warehouse_dir:
        values["spark.sql.warehouse.dir"] = warehouse_dir
    if endpoints:
        values["spark.hadoop.fs.defaultFS"] = endpoints.hdfs_url
        values |= _HDFS
        values["spark.hadoop.hive.metastore.uris"] = endpoints.metastore_uri
        values["spark.sql.catalogImplementation"] = "hive"
        values.setdefault("spark.sql.warehouse.dir", f"{endpoints.hdfs_url}/warehouse")
    values.update(spark.conf)
    values.update(conf or {})
    builder = SparkSession.Builder()
    for name, value in values.items():
        builder = builder.config(name, value)
    session: SparkSession = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    # PySpark asks for it with every list of columns; by its full name it is found without a search in every jar.
    java_import(session._jvm, "org.apache.spark.api.python.PythonUtils")
    return session
