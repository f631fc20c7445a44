"""What the benches of `firn-agent capture` share: a broker and Debezium as who cares for speed starts them, and what
Debezium costs from its first records to its last, the JVM's start and warm-up left out."""

import os
import time
from contextlib import contextmanager

from figures import Bench, Run
from harness.agent import Agent
from harness.kafka import Broker, Connect
from harness.wait import wait_until

PEER_SECONDS = 300
JSON = "org.apache.kafka.connect.json.JsonConverter"
# As here: JSON without its schema, lz4; a small pause when there was nothing to read.
SETTINGS = {
    "key.converter": JSON, "key.converter.schemas.enable": "false", "value.converter": JSON,
    "value.converter.schemas.enable": "false", "producer.override.compression.type": "lz4", "poll.interval.ms": 10,
}  # fmt: skip


@contextmanager
def fast_broker():
    """With the JVM's own compilers and collector."""
    os.environ["KAFKA_JVM_PERFORMANCE_OPTS"] = "-XX:+UseG1GC"
    with Broker() as broker:
        yield broker


class Worker(Connect):
    """The same for Connect."""

    def java(self, heap: str, *more: str) -> list:
        call = super().java("1g", *more)
        return [word for word in call if word not in ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")]


def debezium(bench: Bench, broker: Broker, prefix: str, records: int, **settings: str) -> Run:
    """Follows table accounts into <prefix>.public.accounts until so many records are there; what it costs for all of
    them, measured over those behind the first twentieth. settings: the connector's, with _ for the dots."""
    connector = Connect.postgres(bench.postgres, "bench", prefix, "public.accounts", slot_drop_on_stop="true", **settings) | SETTINGS
    topic = f"{prefix}.public.accounts"
    with Worker(broker, {prefix: connector}) as worker:
        probe = Agent.__new__(Agent)  # its figures of a process
        probe.process = worker.process

        def arrived(count: int):
            wait_until(lambda: topic in broker.topics() and broker.count(topic) >= count, PEER_SECONDS, f"Debezium's record {count}", worker.alive)

        arrived(max(records // 20, 1))
        started, cpu, first = time.monotonic(), probe.cpu_seconds(), broker.count(topic)
        arrived(records)
        wall, used, peak = time.monotonic() - started, probe.cpu_seconds() - cpu, probe.memory()["peak"]
    part = (records - first) / records
    if part < 0.5:
        raise SystemExit(f"{prefix}: Debezium had written {first} of {records} records before it was looked at")
    return Run(wall / part, used / part, peak, 0)
