"""JSON events of 9.5 KB that somebody else wrote, with 60 fields of which 20 are extracted, into a table in Append; beside
Iceberg's Kafka Connect sink, which is told to take the same 20 (ReplaceField). MB/s of the topic per second of CPU."""

import itertools
import random
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb
import orjson
from confluent_kafka import Producer
from figures import alternating, figure, median
from harness.kafka import Broker
from harness.lake import version_files
from ingest_peer import interval, nothing, ours, records, sink
from kafka_peer import fast_broker

NAME = "kafka-ingest-clickstream"
ROWS = records(400_000)
PARTITIONS = 4
DISTINCT = 2000
BYTES = 9500
TOPIC = "clicks"
# The 20 that are taken, spread over the record; then 40 that are not: texts, numbers, objects, lists.
TAKEN = {
    "event_id": "string", "event_name": "string", "event_time": "timestamptz", "user_id": "long", "session": "uuid",
    "page": "string", "referrer": "string", "country": "string", "city": "string", "device": "string", "browser": "string",
    "width": "int", "height": "int", "duration_ms": "int", "scroll": "double", "price": "double", "quantity": "int",
    "logged_in": "boolean", "experiment": "string", "score": "double",
}  # fmt: skip
UNIT = """\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {name}}}
spec:
  kafka: {{topic: {topic}, brokers: "{brokers}", incomingData: Json}}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {warehouse}}}
      database: web
      tableName: {name}
      mode: Append
      columns: [{columns}]
      commitInterval: {interval}s
"""


def taken(dice: random.Random, number: int) -> dict:
    word = lambda: "".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(4, 12)))  # noqa: E731
    made = {
        "string": word, "long": lambda: dice.randrange(10**12), "int": lambda: dice.randrange(5000),
        "double": lambda: round(dice.random() * 1000, 4), "boolean": lambda: dice.random() < 0.5,
        "timestamptz": lambda: f"2026-11-{dice.randint(1, 28):02}T{dice.randrange(24):02}:10:{dice.randrange(60):02}.{dice.randrange(1000):03}Z",
        "uuid": lambda: f"{dice.getrandbits(32):08x}-0000-4000-8000-{dice.getrandbits(48):012x}",
    }  # fmt: skip
    return {name: made[kind]() for name, kind in TAKEN.items()} | {"event_id": f"e{number}"}


def event(dice: random.Random, number: int) -> bytes:
    fields = list(taken(dice, number).items())
    for i in range(40):
        value = [f"text {i} with \"quotes\" and ünïcode", i * 1.5, {"a": i, "b": [i, None, True], "c": {"d": "e" * 20}}, ["x", "y", i]][i % 4]
        fields.insert(dice.randrange(len(fields)), (f"other_{i}", value))
    record = dict(fields)
    record["other_0"] += "".join(dice.choices("0123456789abcdef ", k=BYTES - len(orjson.dumps(record))))
    return orjson.dumps(record)


def fill(broker: Broker) -> int:
    """Bytes of the values that were sent."""
    dice = random.Random(7)
    events = [event(dice, number) for number in range(min(DISTINCT, ROWS))]
    broker.create_topic(TOPIC, partitions=PARTITIONS)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": "lz4", "linger.ms": 50, "queue.buffering.max.messages": 20_000})
    for number in range(ROWS):
        while True:
            try:
                producer.produce(TOPIC, events[number % len(events)], partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush()
    return sum(len(events[number % len(events)]) for number in range(ROWS))


def check(table: Path):
    """Content, by another engine: each event as often as it was sent, its columns as it has them."""
    versions = version_files(table)
    parquet = f"{table}/data/**/*.parquet"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"select count(*), count(distinct event_id), sum(user_id), round(sum(price), 2) from read_parquet('{parquet}')").fetchone()  # fmt: skip
    dice = random.Random(7)
    events = [orjson.loads(event(dice, number)) for number in range(min(DISTINCT, ROWS))]
    every = [events[number % len(events)] for number in range(ROWS)]
    wanted = (ROWS, len(events), sum(each["user_id"] for each in every), round(sum(each["price"] for each in every), 2))
    if not versions or found[:3] != wanted[:3] or abs(found[3] - wanted[3]) > 0.5:
        raise SystemExit(f"{NAME}: the table has {found}, the topic {wanted}")


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="firn-bench-"))
    numbers = itertools.count(1)
    try:
        with fast_broker() as broker:
            size = fill(broker) / 1e6

            def firn():
                name = f"ours{next(numbers)}"
                path = folder / f"{name}.yaml"
                columns = ", ".join(f"{{name: {column}, type: {kind}}}" for column, kind in TAKEN.items())
                path.write_text(UNIT.format(name=name, topic=TOPIC, brokers=broker.bootstrap, warehouse=folder / "lake", columns=columns,
                                            interval=interval(ROWS)))  # fmt: skip
                run = ours(path, folder / "lake" / "web" / name, ROWS)
                check(folder / "lake" / "web" / name)
                return run

            def peer():
                return sink(broker, f"sink{next(numbers)}", TOPIC, folder / "sink", ROWS, **{
                    "transforms": "some", "transforms.some.type": "org.apache.kafka.connect.transforms.ReplaceField$Value",
                    "transforms.some.include": ",".join(TAKEN)})  # fmt: skip

            runs, peers, limits = alternating(firn, peer, lambda: nothing(broker, TOPIC, PARTITIONS, ROWS))
            figure(NAME, "mb_per_cpu_second", "MB/s", size / median([run.cpu for run in runs]),
                   size / median([run.cpu for run in peers]), "Iceberg's sink", at_least=5)  # fmt: skip
            figure(NAME, "rate", "MB/s", size / median([run.wall for run in runs]), size / median([run.wall for run in peers]), "Iceberg's sink")
            figure(NAME, "rate_of_librdkafka", "MB/s", size / median([run.wall for run in runs]),
                   size / median([run.wall for run in limits]), "librdkafka, to nothing")  # fmt: skip
            figure(NAME, "peak_rss", "bytes", max(run.peak for run in runs), median([run.peak for run in peers]), "Iceberg's sink", at_most=0.1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
