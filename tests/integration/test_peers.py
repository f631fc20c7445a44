"""Those who read Debezium's topics read ours: firn-agent capture follows a shop under traffic; its topics (JSON with
its schema) are read by Debezium's ExtractNewRecordState and JDBC sink into another database, and by Iceberg's Kafka
Connect sink, and both end with what the source has. Debezium's connector follows the same traffic in the same worker:
the records of transactions and messages are as its own (those of rows: test_topic_debezium.py)."""

import base64
import json
import sys
import unittest
from collections import Counter
from decimal import Decimal
from pathlib import Path

from harness.kafka import PEERS, Connect
from harness.postgres import PASSWORD
from harness.relay import RelayCase, _decoded, _text, source_rows
from harness.shop import TABLES, Traffic
from harness.wait import TimedOut, wait_until
from pyiceberg.table import StaticTable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from lake import LakeError, newest_metadata

PARTITIONS = 3
ROWS = 400
STEPS = 60
SINK_SECONDS = 300
HEARTBEAT = "firn.heartbeat"  # of an agent, which its own topics leave out
RECORDS = "    records: {schemas: true, transactions: true, messages: true}\n"
JSON = "org.apache.kafka.connect.json.JsonConverter"
WITH_SCHEMA = {f"{side}.converter{setting}": value for side in ("key", "value") for setting, value in (("", JSON), (".schemas.enable", "true"))}
# Connect's own converter of headers guesses a type for the bytes of each, and the JDBC sink wants all of a record's alike.
HEADERS = {"header.converter": "org.apache.kafka.connect.storage.StringConverter"}
FROM_THE_BEGINNING = {"consumer.override.auto.offset.reset": "earliest", "tasks.max": 1, **WITH_SCHEMA, **HEADERS}


class Worker(Connect):
    jars = PEERS


class Peers(RelayCase):
    def sinks(self) -> dict[str, dict]:
        topics = ",".join(f"{self.prefix}.public.{table}" for table in TABLES)
        jdbc = {
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "topics": topics,
            "connection.url": f"jdbc:postgresql://{self.postgres.host}:{self.postgres.port}/copy",
            "connection.username": "postgres", "connection.password": PASSWORD, "insert.mode": "upsert", "delete.enabled": "true",
            "primary.key.mode": "record_key", "schema.evolution": "basic",
            "transforms": "unwrap", "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
        }  # fmt: skip
        iceberg = {
            "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector", "topics": topics,
            "iceberg.tables.dynamic-enabled": "true", "iceberg.tables.route-field": "_cdc.target",
            "iceberg.tables.auto-create-enabled": "true", "iceberg.control.topic": f"{self.prefix}-control",
            "iceberg.control.commit.interval-ms": 2000, "iceberg.catalog.type": "hadoop",
            "iceberg.catalog.warehouse": f"file://{self.folder}/iceberg",
            "transforms": "dbz", "transforms.dbz.type": "org.apache.iceberg.connect.transforms.DebeziumTransform",
        }  # fmt: skip
        return {f"{self.prefix}-jdbc": FROM_THE_BEGINNING | jdbc, f"{self.prefix}-iceberg": FROM_THE_BEGINNING | iceberg}

    def wait_same(self, what: str, found, worker):
        """Until what a sink has made of each table is the table."""
        for table in TABLES:
            theirs = source_rows(self.postgres, table)
            last = []

            def same():
                last[:] = found(table)
                return last == theirs  # noqa: B023

            try:
                wait_until(same, SINK_SECONDS, f"{what} has all of {table}", worker.alive)
            except TimedOut as error:
                missing, extra = sorted(set(theirs) - set(last)), sorted(set(last) - set(theirs))
                raise AssertionError(f"{error}: {len(last)} rows, {len(theirs)} at the source; missing {missing[:2]}, too many {extra[:2]};"
                                     f" the worker: {worker.log()}") from None  # fmt: skip

    def in_database(self, table: str) -> list[str]:
        name = f"{self.prefix}_public_{table}"
        if not self.postgres.execute(f"select to_regclass('{name}') is not null", "copy")[0][0]:
            return []
        return source_rows(self.postgres, table, "copy", name)

    def in_iceberg(self, table: str) -> list[str]:
        """The sink appends every change; the latest of each key counts."""
        folder = self.folder / "iceberg" / "public" / table
        try:
            metadata = newest_metadata(str(folder))
        except LakeError:  # no first version yet
            return []
        changes = StaticTable.from_metadata(str(metadata)).scan().to_arrow().to_pylist()
        kinds = self.postgres.execute(
            "select attname, typname, atttypmod from pg_attribute a join pg_type t on t.oid = a.atttypid"
            f" where attrelid = '{table}'::regclass and attnum > 0 and not attisdropped", "shop")  # fmt: skip
        latest = {}
        for change in sorted(changes, key=lambda change: change["_cdc"]["offset"]):
            latest[_text(change["_cdc"]["key"])] = change
        rows = [change for change in latest.values() if change["_cdc"]["op"] != "D"]
        decoded = lambda kind, value: value if isinstance(value, Decimal) else _decoded(*kind, value)  # noqa: E731
        return sorted(_text({name: decoded(kind, row[name]) for name, *kind in kinds}) for row in rows)

    def wait_message(self, prefix: str, worker, text: str):
        """Until Debezium has passed this place of the log."""
        self.connection.execute("select pg_logical_emit_message(true, 'place', %s)", [text])
        content = base64.b64encode(text.encode()).decode().encode()
        topic = f"{prefix}.message"

        def passed():
            return topic in self.broker.topics() and any(content in (message.value() or b"") for message in self.broker.read(topic))

        try:
            wait_until(passed, SINK_SECONDS, f"Debezium has passed {text}", worker.alive)
        except TimedOut as error:
            raise AssertionError(f"{error}; the worker: {worker.ask(f'/connectors/{prefix}/status')} {worker.log()}") from None

    @staticmethod
    def collections(counts: list[dict]) -> dict[str, int]:
        """Messages are counted by Debezium each by itself, under the name of an object in Java's memory: README."""
        found = Counter()
        for each in counts:
            name = each["data_collection"]
            found["LOGICAL_DECODING_MESSAGE" if "LogicalDecodingMessageId@" in name else name] += each["event_count"]
        return dict(found)

    def records(self, topic: str, begin: int, end: int) -> list[str]:
        """What a topic says of this part of the log, without what says who wrote it and when."""
        found = []
        for message in self.broker.read(topic):
            value = json.loads(message.value())["payload"] if message.value() else None
            if value is None or (value.get("message") or {}).get("prefix") == HEARTBEAT:
                continue
            lsn = value["source"]["lsn"] if "source" in value else int(value["id"].split(":")[1])
            if "source" in value:
                value["source"]["name"] = "prefix"
                for name in ("ts_ms", "ts_us", "ts_ns"):
                    value.pop(name, None)
            xid = value.get("id", "").split(":")[0]
            if value.get("op") == "m" and not value["transaction"]:
                for name in ("ts_ms", "ts_us", "ts_ns"):
                    value["source"].pop(name)  # when it was read: the log does not say when it was written
            if value.get("op") == "m" and value["transaction"]:
                value["transaction"].pop("data_collection_order")  # 1 there, in each: README
            if value.get("status") == "END":
                value["data_collections"] = self.collections(value["data_collections"])
            if begin < lsn <= end:
                found.append(_text(value))
        return found

    def assert_like_debezium(self, name: str, theirs: str, begin: int, end: int):
        ours, others = (self.records(f"{prefix}.{name}", begin, end) for prefix in (self.prefix, theirs))
        missing, extra = Counter(others) - Counter(ours), Counter(ours) - Counter(others)
        self.assertFalse(missing or extra, f"{name}: missing {sorted(missing)[:2]}, too many {sorted(extra)[:2]}")
        self.assertGreater(len(ours), 5, name)

    def test_sinks_and_debezium(self):
        self.make_shop(ROWS)
        self.postgres.create_database("copy")
        self.addCleanup(self.postgres.execute, "drop database copy with (force)")
        self.write_manifest(partitions=PARTITIONS, stream=RECORDS)
        agent = self.start()
        self.wait_agreed(agent)
        theirs = f"{self.prefix}dbz"
        debezium = Connect.postgres(self.postgres, "shop", theirs, "public.*", snapshot_mode="no_data", provide_transaction_metadata="true")
        for topic in ("message", "transaction", *(f"public.{table}" for table in TABLES)):
            self.broker.create_topic(f"{theirs}.{topic}")  # nobody's topics are made for them here
        self.broker.create_topic(f"{self.prefix}-control")
        with Worker(self.broker, {**self.sinks(), theirs: debezium | WITH_SCHEMA}) as worker:
            self.wait_message(theirs, worker, "begin")
            begin = self.postgres.wal_end()
            traffic = Traffic(self.connection, 7, bulk=False)
            for _ in range(STEPS):
                traffic.step()
            for number in range(10):  # alone, beside rows, in no transaction
                with self.connection.transaction():
                    self.connection.execute("select pg_logical_emit_message(true, 'order', %s)", [f"noted {number} ☃"])
                    if number % 2:
                        self.connection.execute("update products set stock = stock + 1 where sku < 'sku-000003'")
                        self.connection.execute("select pg_logical_emit_message(%s, 'order', 'again')", [number % 4 == 1])
            end = self.postgres.wal_end()
            self.assertGreater(min(traffic.done[what] for what in ("inserts", "updates", "deletes", "key changes")), 0)
            self.wait_agreed(agent)
            self.wait_same("the JDBC sink", self.in_database, worker)
            self.wait_same("Iceberg's sink", self.in_iceberg, worker)
            self.wait_message(theirs, worker, "end")
        self.assert_stopped(agent)
        self.assert_equal(repeats=False)
        for name in ("message", "transaction"):
            self.assert_like_debezium(name, theirs, begin, end)


if __name__ == "__main__":
    unittest.main()
