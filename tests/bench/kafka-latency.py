"""1,000 updates a second, each a transaction: from the commit at the source to a consumer that has the record, for both
deliveries and for Debezium in Kafka Connect, into the same broker: told to pause for 10 ms, as in all benches, and with the
pause of half a second that it has by default. The consumer reads what is committed; broker and Connect, JVMs, have 20 s to
get warm."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition
from figures import SCALE, Bench, figure
from harness.agent import Agent
from harness.kafka import Broker
from harness.process import die_with_parent
from harness.relay import stream_manifest
from harness.wait import wait_until
from kafka_peer import connect_postgres, fast_broker

NAME = "kafka-latency"
SECONDS, WARM_SECONDS, RATE, ROWS = max(int(20 * SCALE), 5), 20, 1000, 10_000
BARS = {"idempotent": (10, 50), "transactional": (40, 150)}
SCRIPT = f"\\set id random(1, {ROWS})\nupdate accounts set abalance = abalance + 1 where id = :id;\n"
PEERS = {"debezium": {}, "debezium_default": {"poll_interval_ms": "500"}}
PERCENTILES = {"p50": 0.5, "p99": 0.99}


@contextmanager
def ours(bench: Bench, broker: Broker, prefix: str):
    """Runs until it streams; gives what raises once it has ended."""
    path = bench.folder / f"{prefix}.yaml"
    path.write_text(stream_manifest(bench.postgres, broker.bootstrap, prefix=prefix, partitions=1, delivery=prefix.capitalize(),
                                    database="bench", snapshot="Never", slot=prefix, publication=prefix))  # fmt: skip
    path.chmod(0o600)
    with Agent(path, bench.folder / f"{prefix}.log", subcommand="capture") as agent:
        bench.postgres.wait_confirmed(prefix, 60, "bench", agent.alive)
        yield agent.alive
        agent.alive()
        agent.stop()


@contextmanager
def debezium(bench: Bench, broker: Broker, prefix: str):
    broker.create_topic(topic_of(prefix))
    with connect_postgres(bench, broker, prefix, snapshot_mode="no_data", **PEERS[prefix]) as worker:
        wait_until(lambda: (bench.postgres.slot(f"dbz_{prefix}") or {}).get("active"), 120, "Debezium streams", worker.alive)
        yield worker.alive


def topic_of(prefix: str) -> str:
    return f"{prefix}.public.accounts"


def latencies(bench: Bench, broker: Broker, prefix: str, alive) -> list[float]:
    """Milliseconds, in order, of the records behind the warm-up."""
    script = bench.folder / "update.sql"
    script.write_text(SCRIPT)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "latency", "fetch.wait.max.ms": 5,
                         "isolation.level": "read_committed"})  # fmt: skip
    partition = TopicPartition(topic_of(prefix), 0)
    partition.offset = consumer.get_watermark_offsets(partition)[1]
    consumer.assign([partition])
    load = subprocess.Popen([bench.program("pgbench"), "-n", "-f", script, "-c", "2", "-R", str(RATE), "-T", str(WARM_SECONDS + SECONDS)],
                            env=bench.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent())  # fmt: skip
    found, started = [], time.monotonic()
    while load.poll() is None:
        message = consumer.poll(0.02)  # one by one: consume() waits for its number of records, or for its time to be up
        now = time.time()
        if message and not message.error() and time.monotonic() - started > WARM_SECONDS:
            found.append((now * 1e6 - json.loads(message.value())["source"]["ts_us"]) / 1e3)
    consumer.close()
    alive()
    if len(found) < RATE * SECONDS * 0.8:
        raise SystemExit(f"{NAME}: {prefix}: {len(found)} records came in {SECONDS} s")
    return sorted(found)


def main() -> int:
    with Bench() as bench, fast_broker() as broker:
        bench.accounts(ROWS)
        with bench.postgres.connect() as admin:  # PostgreSQL's default: else the WAL writer, every 200 ms, is what is measured
            admin.execute("alter database bench set synchronous_commit = on")
        found = {}
        for side, prefix in [(ours, name) for name in BARS] + [(debezium, name) for name in PEERS]:
            with side(bench, broker, prefix) as alive:
                found[prefix] = latencies(bench, broker, prefix, alive)
        for name, part in PERCENTILES.items():
            at = {prefix: sorted_ms[int(len(sorted_ms) * part)] for prefix, sorted_ms in found.items()}
            for prefix, bars in BARS.items():
                bar = bars[list(PERCENTILES).index(name)]
                figure(NAME, f"{prefix}_{name}", "ms", at[prefix], at["debezium"], "Debezium", at_most=bar, of="ours")
            for prefix in PEERS:
                figure(NAME, f"{prefix}_{name}", "ms", at[prefix])
    return 0


if __name__ == "__main__":
    sys.exit(main())
