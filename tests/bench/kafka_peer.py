"""What the benches of `firn-agent capture` share: a broker and Debezium as who cares for speed starts them, the broker
warm, and what Debezium costs from its first records to its last, the JVM's start and warm-up left out."""

import os
import time
from contextlib import contextmanager

from confluent_kafka import Producer
from figures import Bench, Run
from harness.agent import Agent
from harness.kafka import Broker, Connect
from harness.wait import wait_until

PEER_SECONDS = 300
WARM_ROUNDS, WARM_RECORDS, WARM_BYTES = 10, 100_000, 800
JSON = "org.apache.kafka.connect.json.JsonConverter"
# As here: JSON without its schema, lz4.
CONVERTERS = {
    "key.converter": JSON, "key.converter.schemas.enable": "false", "value.converter": JSON,
    "value.converter.schemas.enable": "false", "producer.override.compression.type": "lz4",
}  # fmt: skip
# A small pause when there was nothing to read: it waits for half a second unless told otherwise.
FAST = {"poll_interval_ms": "10"}


@contextmanager
def fast_broker():
    """With the JVM's own compilers and collector, which are done with what a record takes: its first hundred thousand cost
    it three times as much as later ones, and would be those of whoever writes first."""
    os.environ["KAFKA_JVM_PERFORMANCE_OPTS"] = "-XX:+UseG1GC"
    with Broker() as broker:
        warm_up(broker)
        yield broker


def cpu_seconds(process) -> float:
    probe = Agent.__new__(Agent)  # its figures of a process
    probe.process = process
    return probe.cpu_seconds()


def warm_up(broker: Broker):
    """Records as ours, until two rounds of them have cost the broker about as much as the best of those before."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "compression.type": "lz4", "linger.ms": 3,
                         "log_level": 0})  # fmt: skip
    broker.create_topic("warm")
    best, as_dear = float("inf"), 0
    for _ in range(WARM_ROUNDS):
        begun = cpu_seconds(broker.process)
        for number in range(WARM_RECORDS):
            if number % 1000 == 0:
                producer.poll(0)
            while True:
                try:
                    producer.produce("warm", os.urandom(WARM_BYTES // 8).hex() * 4, str(number))
                    break
                except BufferError:
                    producer.poll(0.05)
        producer.flush()
        cost = cpu_seconds(broker.process) - begun
        as_dear = as_dear + 1 if cost > 0.9 * best else 0
        best = min(best, cost)
        if as_dear == 2:
            break
    broker.drop_topic("warm")


class Worker(Connect):
    """The same for Connect."""

    def java(self, heap: str, *more: str) -> list:
        call = super().java("1g", *more)
        return [word for word in call if word not in ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")]


def connect_postgres(bench: Bench, broker: Broker, prefix: str, **settings: str) -> Worker:
    """Debezium, to follow table accounts into <prefix>.public.accounts. settings: the connector's, with _ for the dots."""
    connector = Connect.postgres(bench.postgres, "bench", prefix, "public.accounts", **(FAST | settings), slot_drop_on_stop="true")
    return Worker(broker, {prefix: connector | CONVERTERS})


def until_written(broker: Broker, worker: Worker, topic: str, records: int) -> Run:
    """Starts Connect, until so many records are there; what it costs for all of them, measured over those behind the
    first twentieth."""
    with worker:
        probe = Agent.__new__(Agent)
        probe.process = worker.process

        def arrived(count: int):
            wait_until(lambda: topic in broker.topics() and broker.count(topic) >= count, PEER_SECONDS, f"Debezium's record {count}", worker.alive)

        arrived(max(records // 20, 1))
        started, cpu, first = time.monotonic(), probe.cpu_seconds(), broker.count(topic)
        arrived(records)
        wall, used, peak = time.monotonic() - started, probe.cpu_seconds() - cpu, probe.memory()["peak"]
    part = (records - first) / records
    if part < 0.5:
        raise SystemExit(f"{topic}: Debezium had written {first} of {records} records before it was looked at")
    return Run(wall / part, used / part, peak, 0)


def debezium(bench: Bench, broker: Broker, prefix: str, records: int, **settings: str) -> Run:
    """What it costs Debezium to write so many records of PostgreSQL's table."""
    return until_written(broker, connect_postgres(bench, broker, prefix, **settings), f"{prefix}.public.accounts", records)
