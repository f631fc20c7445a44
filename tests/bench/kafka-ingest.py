"""5 M of Debezium's records (660 B in JSON; the same in Avro) that wait in a topic, into a table in Append; beside Iceberg's Kafka
Connect sink of the same JSON, and librdkafka that reads it to nothing. Ours from the process's start to its end; the sink
over the rows behind its first twentieth."""

import itertools
import sys
from pathlib import Path

from figures import Bench, alternating, figure, measured, median
from harness.agent import binary
from harness.kafka import Broker, Registry
from harness.relay import stream_manifest
from ingest_peer import interval, nothing, ours, records, sink
from kafka_peer import fast_broker

NAME = "kafka-ingest"
ROWS = records(5_000_000)
PARTITIONS = 4
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


class Topic:
    """Filled by `firn-agent capture`: the copy of table accounts."""

    def __init__(self, bench: Bench, broker: Broker, form: str, registry: Registry | None):
        self.bench, self.form = bench, form
        self.numbers = itertools.count(1)
        self.manifest = stream_manifest(bench.postgres, broker.bootstrap, prefix=form, partitions=PARTITIONS, registry=registry,
                                        database="bench", snapshot="Only", slot=form, publication=form)  # fmt: skip
        path = self.write("capture", "")
        self.name = f"{form}.public.accounts"
        run = measured([binary(), "capture", "-f", path, "--progress", "never", "--log-level", "warn"])
        found = broker.count(self.name) - PARTITIONS  # the markers of the copy's end
        if run.code or found != ROWS:
            raise SystemExit(f"{NAME}: capture ended with {run.code}, {found} of {ROWS} records in {self.name}")

    def write(self, name: str, unit: str) -> Path:
        path = self.bench.folder / f"{self.form}-{name}.yaml"
        path.write_text(self.manifest + unit)
        path.chmod(0o600)
        return path

    def ingest(self):
        """A group and a table of its own; every row is looked at."""
        name = f"{self.form}{next(self.numbers)}"
        warehouse = self.bench.folder / "lake"
        path = self.write(name, UNIT.format(name=name, warehouse=warehouse, interval=interval(ROWS)))
        run = ours(path, warehouse / name / "accounts", ROWS)
        self.bench.check(NAME, warehouse, f"public={name}")
        return run


def main() -> int:
    with Bench() as bench, fast_broker() as broker, Registry() as registry:
        bench.accounts(ROWS)
        json, avro = Topic(bench, broker, "json", None), Topic(bench, broker, "avro", registry)
        numbers = itertools.count(1)

        def peer():
            return sink(broker, f"sink{next(numbers)}", json.name, bench.folder / "sink", ROWS, **{
                "transforms": "dbz", "transforms.dbz.type": "org.apache.iceberg.connect.transforms.DebeziumTransform"})  # fmt: skip

        jsons, avros, peers, limits = alternating(json.ingest, avro.ingest, peer, lambda: nothing(broker, json.name, PARTITIONS, ROWS))
        cpu, rate = ROWS / median([run.cpu for run in peers]), ROWS / median([run.wall for run in peers])
        peak = median([run.peak for run in peers])
        for form, runs, bar in (("json", jsons, 5), ("avro", avros, 8)):
            own = ROWS / median([run.cpu for run in runs])
            figure(NAME, f"{form}_rows_per_cpu_second", "rows/s", own, cpu, "Iceberg's sink", at_least=bar)
            figure(NAME, f"{form}_rate", "rows/s", ROWS / median([run.wall for run in runs]), rate, "Iceberg's sink")
            figure(NAME, f"{form}_peak_rss", "bytes", max(run.peak for run in runs), peak, "Iceberg's sink", at_most=0.1)
        limit = ROWS / median([run.wall for run in limits])
        figure(NAME, "json_rate_of_librdkafka", "rows/s", ROWS / median([run.wall for run in jsons]), limit, "librdkafka, to nothing")
        figure(NAME, "librdkafka_cpu_per_million", "s", median([run.cpu for run in limits]) / ROWS * 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
