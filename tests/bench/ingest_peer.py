"""What the benches of `firn-agent ingest` share: ours until a table has all rows, Iceberg's Kafka Connect sink beside it, and
what librdkafka costs that reads the same topic to nothing."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from figures import SCALE, Run, measured
from harness import lake
from harness.agent import ROOT, Agent, binary
from harness.kafka import PEERS, Broker
from harness.wait import wait_until
from kafka_peer import Worker

JSON = "org.apache.kafka.connect.json.JsonConverter"
PATIENCE_SECONDS = 900
LOOK_SECONDS = 0.05


def records(usual: int) -> int:
    """FIRN_BENCH_ROWS is for trying it out."""
    return int(os.environ.get("FIRN_BENCH_ROWS", usual * SCALE))


def interval(count: int) -> int:
    """Seconds between commits, of both: several commits, however few records there are."""
    return 5 if count >= 1_000_000 else 1


def rows_in(table: lake.Table | None) -> int:
    current = table and table.metadata.get("current-snapshot-id")
    found = [each for each in table.snapshots if each["snapshot-id"] == current] if current else []
    return int(found[0]["summary"]["total-records"]) if found else 0


def ours(manifest: Path, table: Path, count: int) -> Run:
    """From the process's start until the table has all rows and the process has ended."""

    def until_there(process):
        until = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if table.exists() and rows_in(lake.load(table)) >= count:
                process.send_signal(signal.SIGTERM)
                return
            time.sleep(LOOK_SECONDS)
        process.kill()

    run = measured([binary(), "ingest", "-f", manifest, "--progress", "never", "--log-level", "warn"], until_there)
    found = rows_in(lake.load(table))
    if run.code or found != count:
        raise SystemExit(f"ingest ended with {run.code}, {found} of {count} rows")
    return run


class Sink(Worker):
    jars = PEERS


def newest(folder: Path) -> lake.Table | None:
    """Of Hadoop's catalog."""
    versions = lake.version_files(folder) if folder.exists() else {}
    return lake.Table(folder, json.loads(versions[max(versions)].read_text())) if versions else None


def sink(broker: Broker, name: str, topic: str, folder: Path, count: int, **settings: str) -> Run:
    """Appends the topic to table bench.<name>; what it costs for all rows, measured over those behind the commit with the
    first twentieth of them, the JVM's start and its warm-up left out."""
    broker.create_topic(f"{name}-control")
    connector = {
        "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector", "topics": topic, "tasks.max": 1,
        "consumer.override.auto.offset.reset": "earliest", "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": JSON, "value.converter.schemas.enable": "false",
        "header.converter": "org.apache.kafka.connect.storage.StringConverter",
        "iceberg.tables": f"bench.{name}", "iceberg.tables.auto-create-enabled": "true", "iceberg.control.topic": f"{name}-control",
        "iceberg.control.commit.interval-ms": interval(count) * 1000, "iceberg.catalog.type": "hadoop",
        "iceberg.catalog.warehouse": f"file://{folder}", **settings,
    }  # fmt: skip
    table = folder / "bench" / name
    with Sink(broker, {name: connector}) as worker:
        probe = Agent.__new__(Agent)  # its figures of a process
        probe.process = worker.process

        def arrived(least: int) -> int:
            wait_until(lambda: rows_in(newest(table)) >= least, PATIENCE_SECONDS, f"the sink's row {least}", worker.alive)
            return rows_in(newest(table))

        first = arrived(max(count // 20, 1))
        started, cpu = time.monotonic(), probe.cpu_seconds()
        found = arrived(count)
        wall, used, peak = time.monotonic() - started, probe.cpu_seconds() - cpu, probe.memory()["peak"]
    part = (count - first) / count
    if found != count or part < 0.5:
        raise SystemExit(f"{name}: the sink has {found} of {count} rows, {first} of them when it was first looked at")
    return Run(wall / part, used / part, peak, 0)


def nothing(broker: Broker, topic: str, partitions: int, count: int) -> Run:
    """librdkafka alone."""
    build = ROOT / "build" / os.environ.get("FIRN_BUILD", "release")
    subprocess.run(["cmake", "--build", build, "--target", "kafka_consume_bench"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run([build / "tests" / "kafka_consume_bench", broker.bootstrap, topic, str(partitions), str(count)],
                          check=True, capture_output=True, text=True)  # fmt: skip
    wall, cpu, _ = map(float, done.stdout.split())
    return Run(wall, cpu, 0, 0)
