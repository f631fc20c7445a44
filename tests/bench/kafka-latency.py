"""1,000 updates a second, each a transaction: from the commit at the source to a consumer that has the record, for both
deliveries. The consumer reads what is committed; the broker, a JVM, has 20 s to get warm. Debezium,
measured elsewhere on such a machine: p50 457 ms, p99 966 ms."""

import json
import subprocess
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from figures import Bench, figure
from harness.agent import Agent
from harness.kafka import Broker
from harness.process import die_with_parent
from harness.relay import stream_manifest
from kafka_peer import fast_broker

NAME = "kafka-latency"
SECONDS, WARM_SECONDS, RATE, ROWS = 40, 20, 1000, 10_000
BARS = {"Idempotent": (10, 50), "Transactional": (40, 150)}
SCRIPT = f"\\set id random(1, {ROWS})\nupdate accounts set abalance = abalance + 1 where id = :id;\n"


def measure(bench: Bench, broker: Broker, delivery: str) -> list[float]:
    prefix = delivery.lower()
    path = bench.folder / f"{prefix}.yaml"
    path.write_text(stream_manifest(bench.postgres, broker.bootstrap, prefix=prefix, partitions=1, delivery=delivery, database="bench",
                                    snapshot="Never", slot=prefix, publication=prefix))  # fmt: skip
    path.chmod(0o600)
    script = bench.folder / "update.sql"
    script.write_text(SCRIPT)
    topic = f"{prefix}.public.accounts"
    with Agent(path, bench.folder / f"{prefix}.log", subcommand="capture") as agent:
        bench.postgres.wait_confirmed(prefix, 60, "bench", agent.alive)
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "latency", "fetch.wait.max.ms": 5,
                             "isolation.level": "read_committed"})  # fmt: skip
        consumer.assign([TopicPartition(topic, 0, consumer.get_watermark_offsets(TopicPartition(topic, 0))[1])])
        load = subprocess.Popen([bench.program("pgbench"), "-n", "-f", script, "-c", "2", "-R", str(RATE), "-T", str(SECONDS)],
                                env=bench.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent())  # fmt: skip
        found, started = [], time.monotonic()
        while load.poll() is None:
            message = consumer.poll(0.02)  # one by one: consume() waits for its number of records, or for its time to be up
            now = time.time()
            if message and not message.error() and time.monotonic() - started > WARM_SECONDS:
                found.append((now * 1e6 - json.loads(message.value())["source"]["ts_us"]) / 1e3)
        consumer.close()
        agent.alive()
        agent.stop()
    if len(found) < RATE * (SECONDS - WARM_SECONDS) * 0.8:
        raise SystemExit(f"{NAME}: {len(found)} records came")
    return sorted(found)


def main() -> int:
    with Bench() as bench, fast_broker() as broker:
        bench.accounts(ROWS)
        with bench.postgres.connect() as admin:  # PostgreSQL's default: else the WAL writer, every 200 ms, is what is measured
            admin.execute("alter database bench set synchronous_commit = on")
        for delivery, (middle, high) in BARS.items():
            found = measure(bench, broker, delivery)
            name = delivery.lower()
            figure(NAME, f"{name}_p50", "ms", found[len(found) // 2], at_most=middle, of="ours")
            figure(NAME, f"{name}_p99", "ms", found[int(len(found) * 0.99)], at_most=high, of="ours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
