"""From the commit at the source to the row's being visible in the lake's table, through Kafka: `firn-agent capture` and
`firn-agent ingest` beside each other, 1,000 changes a second with commits every second, then 50,000 with commits every ten.
A row says when it was changed; it is visible when the metadata that has its file is there, which is looked for every 5 ms."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
from figures import SCALE, Bench, figure
from harness import lake
from harness.agent import Agent
from harness.kafka import Broker
from harness.process import die_with_parent
from harness.relay import stream_manifest
from harness.wait import wait_until
from kafka_peer import fast_broker
from pyiceberg.table import StaticTable

NAME = "freshness"
ROWS = 10_000
WARM_SECONDS, SECONDS = 20 * SCALE, 60 * SCALE
LOOK_SECONDS = 0.005
# changes a second, of a transaction, commitInterval in seconds, the bar of p99 in seconds
LOADS = ((1000, 1, 1, 2.5), (50_000, 100, 10, 15))
CHANGE = "\\set id random(1, {last})\nupdate accounts set abalance = abalance + 1, updated = clock_timestamp() where id >= :id and id < :id + {each};\n"
UNIT = """\
---
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {name}}}
spec:
  connectorRef: {{name: shop, tables: ["public.*"]}}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {warehouse}}}
      database: {name}
      tableName: "{{table}}"
      mode: Append
      commitInterval: {interval}s
"""


class Watch:
    """When each version of the table's metadata was there first."""

    def __init__(self, table: Path):
        self.table, self.seen, self.over = table, {}, threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(LOOK_SECONDS):
            now = time.time()
            for number, path in (lake.version_files(self.table) if self.table.exists() else {}).items():
                self.seen.setdefault(number, (now, path))

    def end(self) -> dict[int, float]:
        """Snapshot → when it was visible."""
        self.over.set()
        self.thread.join()
        found = {}
        for number in sorted(self.seen):
            moment, path = self.seen[number]
            if path.exists():
                found.setdefault(StaticTable.from_metadata(str(path)).metadata.current_snapshot_id, moment)
        return found


def latencies(table: Path, visible: dict[int, float], begun: float) -> list[float]:
    """Seconds, of each row that was changed since."""
    versions, found = lake.version_files(table), []
    entries = StaticTable.from_metadata(str(versions[max(versions)])).inspect.entries().to_pylist()
    for entry in entries:
        path = entry["data_file"]["file_path"].removeprefix("file://")
        for changed in pq.read_table(path, columns=["updated"])["updated"].to_pylist():
            if changed.timestamp() >= begun and entry["snapshot_id"] in visible:
                found.append(visible[entry["snapshot_id"]] - changed.timestamp())
    return sorted(found)


def measure(bench: Bench, broker: Broker, rate: int, each: int, interval: int) -> list[float]:
    name = f"fresh{rate}"
    path = bench.folder / f"{name}.yaml"
    path.write_text(stream_manifest(bench.postgres, broker.bootstrap, prefix=name, partitions=4, database="bench", snapshot="Never",
                                    slot=name, publication=name)
                    + UNIT.format(name=name, warehouse=bench.folder / "lake", interval=interval))  # fmt: skip
    path.chmod(0o600)
    script = bench.folder / "change.sql"
    script.write_text(CHANGE.format(last=ROWS - each + 1, each=each))
    table = bench.folder / "lake" / name / "accounts"
    with Agent(path, bench.folder / f"{name}-capture.log", subcommand="capture") as capture:
        bench.postgres.wait_confirmed(name, 60, "bench", capture.alive)
        with Agent(path, bench.folder / f"{name}-ingest.log", subcommand="ingest") as ingest:
            watch = Watch(table)
            try:
                call = [bench.program("pgbench"), "-n", "-f", script, "-c", "2", "-R", str(rate // each), "-T", str(int(WARM_SECONDS + SECONDS))]
                load = subprocess.Popen(call, env=bench.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent())  # fmt: skip
                begun = time.time() + WARM_SECONDS
                load.wait()
                changed = bench.connection.execute("select sum(abalance) from accounts").fetchone()[0]
                rows = lambda: sum(int(one["summary"].get("added-records", 0)) for one in lake.load(table).snapshots)  # noqa: E731
                wait_until(lambda: table.exists() and rows() >= changed, 120, "everything is in the table", ingest.alive)
            finally:
                visible = watch.end()
            for agent in (ingest, capture):
                if agent.stop():
                    raise SystemExit(f"{NAME}: {agent.text()}")
    found = latencies(table, visible, begun)
    bench.connection.execute("update accounts set abalance = 0")
    if len(found) < 0.8 * rate * SECONDS:
        raise SystemExit(f"{NAME}: {len(found)} changes of {rate * SECONDS} were made in {SECONDS:g} s")
    return found


def main() -> int:
    with Bench() as bench, fast_broker() as broker:
        bench.accounts(ROWS)
        with bench.postgres.connect() as admin:  # PostgreSQL's default: else the WAL writer, every 200 ms, is what is measured
            admin.execute("alter database bench set synchronous_commit = on")
        for rate, each, interval, bar in LOADS:
            found = measure(bench, broker, rate, each, interval)
            figure(NAME, f"{rate}_changes_p50", "s", found[len(found) // 2])
            figure(NAME, f"{rate}_changes_p99", "s", found[int(len(found) * 0.99)], at_most=bar, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
