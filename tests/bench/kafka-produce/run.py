#!/usr/bin/env python3
"""kafka-produce: 1 M records of 660 bytes with a key of 8 to one topic of 4 partitions, idempotent, lz4, to a broker
on the same machine. Ours (with a header of 21 bytes, as records have it) by turns with librdkafka by hand: the same
records the usual way (values copied, a callback for each record), and as its own rdkafka_performance does it, which is
less work (produce_batch, no headers). CPU is the producer's alone, without the making of the values, which all do
alike. Then 1,000 records a second: from handing over to
acknowledgement. FIRN_BENCH_WAYS=all measures the other ways as well."""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import SCALE, alternating, figure, median

from harness.kafka import Broker
from harness.process import die_with_parent

BYTES, PARTITIONS = 660, 4
RECORDS = max(int(1000 * SCALE), 10) * 1000
SECONDS = max(int(20 * SCALE), 3)
WAYS = ("copy-callback", "copy-event", "borrow-callback", "borrow-event", "borrow-interceptor", "plain-interceptor")


def main():
    program = Path(sys.argv[1]).resolve() / "tests" / "kafka_produce_bench"
    with Broker() as broker:
        number = 0

        def run(way: str, records: int = RECORDS, rate: int = 0) -> dict:
            nonlocal number
            number += 1
            topic = f"bench-{number}"
            broker.create_topic(topic, PARTITIONS)
            call = [program, broker.bootstrap, topic, way, records, BYTES, PARTITIONS, *([rate] if rate else [])]
            done = subprocess.run(list(map(str, call)), stdout=subprocess.PIPE, check=True, preexec_fn=die_with_parent())
            if broker.count(topic) != records:
                raise SystemExit(f"kafka-produce: {way}: {broker.count(topic)} records of {records}")
            return json.loads(done.stdout)

        run("firn")  # the broker warms up
        ours, same, bare = alternating(lambda: run("firn"), lambda: run("copy-callback"), lambda: run("batch-callback"))
        million = RECORDS / 1e6
        by = "librdkafka by hand, the same records"
        figure("kafka-produce", "cpu", "CPU-s per million records", median(one["cpu"] for one in ours) / million,
               median(one["cpu"] for one in same) / million, by, at_most=1)  # fmt: skip
        figure("kafka-produce", "cpu-bare", "CPU-s per million records", median(one["cpu"] for one in ours) / million,
               median(one["cpu"] for one in bare) / million, "librdkafka by hand, batches without headers")  # fmt: skip
        figure("kafka-produce", "rate", "records/s", RECORDS / median(one["wall"] for one in ours),
               RECORDS / median(one["wall"] for one in same), by, at_least=0.9)  # fmt: skip
        figure("kafka-produce", "memory", "bytes", median(one["peak"] for one in ours), at_most=128 << 20, of="ours")
        slow = [run("firn", 1000 * SECONDS, 1000) for _ in range(len(ours))]
        figure("kafka-produce", "latency-p50", "ms at 1,000 records/s", median(one["p50"] for one in slow), at_most=10, of="ours")
        figure("kafka-produce", "latency-p99", "ms at 1,000 records/s", median(one["p99"] for one in slow), at_most=50, of="ours")
        print(f"CPU at 1,000 records/s: {median(one['cpu'] for one in slow) / SECONDS:.4f} of a core", file=sys.stderr)
        if os.environ.get("FIRN_BENCH_WAYS"):
            ways = ("batch-callback", *WAYS, "firn")
            for way, results in zip(ways, alternating(*(lambda way=way: run(way) for way in ways))):
                print(f"{way}: {median(one['cpu'] for one in results) / million:.3f} CPU-s per million, "
                      f"{RECORDS / median(one['wall'] for one in results):.0f}/s", file=sys.stderr)  # fmt: skip


main()
