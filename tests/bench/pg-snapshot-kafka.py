"""The copy of 2 M rows of the 144-byte row into a topic, in JSON and in Avro; beside Debezium's of the same table into the same
broker. Ours is `snapshot.mode: Only`, from the process's start to its end; Debezium (JSON) is measured over the records
behind its first twentieth."""

import itertools
import sys

from figures import SCALE, Bench, alternating, figure, measured, median
from harness.agent import binary
from harness.kafka import Registry
from harness.relay import stream_manifest
from kafka_peer import debezium, fast_broker

ROWS = int(2_000_000 * SCALE)
PARTITIONS = 1
NAME = "pg-snapshot-kafka"


def main() -> int:
    with Bench() as bench, fast_broker() as broker, Registry() as registry:
        bench.accounts(ROWS)
        numbers = itertools.count(1)

        def firn(form: str):
            prefix = f"{form}{next(numbers)}"  # a topic and a state of its own
            bench.forget()
            path = bench.folder / f"{prefix}.yaml"
            path.write_text(stream_manifest(bench.postgres, broker.bootstrap, prefix=prefix, partitions=PARTITIONS, database="bench",
                                            snapshot="Only", registry=registry if form == "avro" else None))  # fmt: skip
            path.chmod(0o600)
            run = measured([binary(), "capture", "-f", path, "--progress", "never", "--log-level", "warn"])
            found = broker.count(f"{prefix}.public.accounts") - PARTITIONS  # the marker of the copy's end
            if run.code or found != ROWS:
                raise SystemExit(f"{NAME}: {prefix} ended with {run.code}, {found} of {ROWS} records")
            return run

        def peer():
            return debezium(bench, broker, f"dbz{next(numbers)}", ROWS, snapshot_mode="initial_only")

        jsons, avros, peers = alternating(lambda: firn("json"), lambda: firn("avro"), peer)
        rate, cpu, peak = (median([getattr(run, what) for run in peers]) for what in ("wall", "cpu", "peak"))
        for name, runs in (("json", jsons), ("avro", avros)):
            figure(NAME, f"{name}_rows_per_cpu_second", "rows/s", ROWS / median([run.cpu for run in runs]), ROWS / cpu, "Debezium", at_least=10)
            figure(NAME, f"{name}_rate", "rows/s", ROWS / median([run.wall for run in runs]), ROWS / rate, "Debezium")
            figure(NAME, f"{name}_peak_rss", "bytes", max(run.peak for run in runs), peak, "Debezium")
    return 0


if __name__ == "__main__":
    sys.exit(main())
