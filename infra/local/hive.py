"""Local Hive metastore (embedded Derby) and Spark's HiveServer2 endpoint, both from pyspark's own jars."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from infra import jars
from infra.local import probes
from infra.local.hdfs import CLIENT_CONF, configuration
from infra.local.jvm import END_WITHOUT_MEMORY, java_command, java_env, logging_file
from infra.local.layout import LOOPBACK, Layout
from infra.local.part import Part

SQL_MEMORY = "1536m"


def metastore(layout: Layout, hdfs_url: str) -> Part:
    """The metastore: Hive's own, behind a socket of ours, because Hive 2.3 cannot bind it to one address."""
    return Part(
        name="metastore",
        argv=(
            *java_command("512m", logging_file(layout, "metastore"), short_start=True),
            "-Dderby.stream.error.file=" + str(layout.part_dir("metastore") / "derby.log"),
            "-cp",
            f"{layout.config_dir / 'hive'}{os.pathsep}{jars.pyspark_jars()}/*",
            "org.codehaus.commons.compiler.AbstractJavaSourceClassLoader",
            "-sourcepath",
            str(Path(__file__).with_name("java")),
            "LoopbackMetastore",
            str(layout.ports["metastore"]),
        ),
        port=layout.ports["metastore"],
        after=("namenode", "datanode1", "datanode2"),
        prepare=lambda: _prepare_metastore(layout, hdfs_url),
        ready=lambda: probes.metastore(metastore_uri(layout)),
    )


def metastore_uri(layout: Layout) -> str:
    """`thrift://host:port` of the local metastore."""
    return f"thrift://{LOOPBACK}:{layout.ports['metastore']}"


def _prepare_metastore(layout: Layout, hdfs_url: str) -> None:
    layout.write("hive/core-site.xml", configuration({"fs.defaultFS": hdfs_url}))
    layout.write("hive/hdfs-site.xml", configuration(CLIENT_CONF))
    database = layout.part_dir("metastore") / "derby"
    layout.write(
        "hive/hive-site.xml",
        configuration(
            {
                "javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={database};create=true",
                "javax.jdo.option.ConnectionDriverName": "org.apache.derby.jdbc.EmbeddedDriver",
                "datanucleus.schema.autoCreateAll": "true",
                "hive.metastore.schema.verification": "false",
                # pyspark lacks the default pool (BoneCP), and DROP SCHEMA reports an error without one.
                "datanucleus.connectionPoolingType": "HikariCP",
                "hive.metastore.warehouse.dir": f"{hdfs_url}/warehouse",
                "hive.metastore.uris": metastore_uri(layout),
                "hive.async.log.enabled": "false",  # wants a jar that pyspark does not carry
            }
        ),
    )


def sql(layout: Layout, hdfs_url: str, uri: str) -> Part:
    """Spark's Thrift server as a process of its own: here a large result can hurt no stream."""
    host, port = address(layout)
    return Part(
        name="sql",
        argv=(
            str(jars.pyspark_jars().parent / "bin" / "spark-submit"),
            "--properties-file",
            str(layout.config_dir / "sql.conf"),
            "--class",
            "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2",
            "spark-internal",
        ),
        env={
            **java_env(),
            "SPARK_HOME": str(jars.pyspark_jars().parent),
            "SPARK_CONF_DIR": str(layout.config_dir / "sql"),
            "SPARK_LOCAL_IP": LOOPBACK,
        },
        cwd=layout.part_dir("sql"),
        port=port,
        after=("metastore",),
        prepare=lambda: _prepare_sql(layout, hdfs_url, uri),
        ready=lambda: probes.sql(host, port),
    )


def address(layout: Layout) -> tuple[str, int]:
    """Host and port of the local HiveServer2 endpoint."""
    return LOOPBACK, layout.ports["sql"]


def _prepare_sql(layout: Layout, hdfs_url: str, uri: str) -> None:
    host, port = address(layout)
    own = os.pathsep.join(str(jar) for jar in jars.spark_jars())
    layout.write("sql/spark-env.sh", "")  # so that no other is looked for
    scratch = layout.part_dir("sql") / "scratch"
    # By default it lies outside the deployment. What a killed endpoint left there nobody needs.
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    # Warnings about each statement would bury the last lines of the log.
    log_option = logging_file(
        layout,
        "sql",
        org__apache__spark__sql__catalyst__util__StringUtils="error",
        org__apache__spark__scheduler__DAGScheduler="error",
    )
    values = {
        "spark.master": "local[2]",
        "spark.app.name": "headrace sql",
        "spark.driver.memory": SQL_MEMORY,
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.extraClassPath": own,
        # A JVM that only compiles lightly keeps 48 MB of compiled code, which is full after a few minutes of queries.
        "spark.driver.extraJavaOptions": (
            f"{log_option} {END_WITHOUT_MEMORY} -XX:ReservedCodeCacheSize=256m -Djava.net.preferIPv4Stack=true"
        ),
        # A proof of one pipeline alone has more generated classes than the 100 of the default.
        "spark.sql.codegen.cache.maxEntries": "1000",
        "spark.driver.maxResultSize": "256m",
        "spark.ui.enabled": "false",
        # Spark keeps plans and statements for pages that nobody can open: megabytes each, where views rest on views.
        "spark.sql.ui.explainMode": "simple",
        "spark.sql.maxPlanStringLength": "16k",
        "spark.sql.ui.retainedExecutions": "10",
        "spark.sql.thriftserver.ui.retainedSessions": "10",
        "spark.sql.thriftserver.ui.retainedStatements": "10",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.thriftServer.incrementalCollect": "true",
        "spark.sql.warehouse.dir": f"{hdfs_url}/warehouse",
        "spark.hadoop.fs.defaultFS": hdfs_url,
        "spark.hadoop.hive.metastore.uris": uri,
        "spark.hadoop.hive.server2.thrift.bind.host": host,
        "spark.hadoop.hive.server2.thrift.port": str(port),
        "spark.hadoop.hive.server2.logging.operation.enabled": "false",
        "spark.hadoop.hive.exec.local.scratchdir": str(scratch),
        **{f"spark.hadoop.{name}": value for name, value in CLIENT_CONF.items()},
    }
    layout.write("sql.conf", "".join(f"{name} {value}\n" for name, value in values.items()))
