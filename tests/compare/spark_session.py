"""Spark 3.5 with Iceberg's own runtime, for reading tables by their folder (tests/long)."""

import functools
import os
import subprocess
from pathlib import Path

import pyarrow as pa

RUNTIME = "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.12.0"


@functools.cache
def session():
    from pyspark.sql import SparkSession

    fetch = Path(__file__).resolve().parents[2] / "deploy" / "maven"
    jar = subprocess.run([fetch, RUNTIME], capture_output=True, text=True, check=True).stdout.strip()
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}  # the machine's name need not resolve
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", jar)
        .config("spark.driver.memory", "2g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .config("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.lake.type", "hadoop")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def read(location: str) -> pa.RecordBatchReader:
    frame = session().read.format("iceberg").load(location)
    batches = frame._collect_as_arrow()
    schema = batches[0].schema if batches else pa.schema([(name, pa.null()) for name in frame.columns])
    return pa.RecordBatchReader.from_batches(schema, batches)
