#!/usr/bin/env bash
# Cluster configuration, not run by this repository's tests.
# Runs a headrace command as the driver of a Spark application on a cluster (client mode: the driver is this host).
#
#   infra/spark/submit.sh yarn                                run
#   infra/spark/submit.sh spark://master:7077                 run --no-merge
#   infra/spark/submit.sh k8s://https://kubernetes.default    merge
#
# Addresses of Kafka, HDFS, the metastore and the databases come from headrace.yaml or HEADRACE_* variables; the first
# run downloads the jars. SPARK_HOME may name a cluster's own Spark of the same version as the locked pyspark.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -ge 2 ] || { sed -n '3,8p' "$0" >&2; exit 2; }
master=$1; shift
python=${HEADRACE_PYTHON:-.venv/bin/python}
export PYSPARK_PYTHON=$python HEADRACE_SPARK__MASTER=$master
SPARK_HOME=${SPARK_HOME:-$("$python" -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent)')}
jars=$("$python" -c 'from infra.jars import spark_jars; print(",".join(map(str, spark_jars())))')
entry=$("$python" -c 'import headrace.__main__ as main; print(main.__file__)')
exec "$SPARK_HOME/bin/spark-submit" --master "$master" --properties-file infra/spark/spark-defaults.conf \
    --jars "$jars" --name "headrace $1" "$entry" "$@"
