"""Records in Protobuf, written by Google's library (tests/golden/proto), through a registry that keeps their files, into a
table that DuckDB and pyiceberg read: every column what that library says it is. Then a schema with one field more, keys whose
rows are deleted, and what can't be read, among the dead letters with its reason."""

import contextlib
import json
import shutil
import struct
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Producer
from pyiceberg.table import StaticTable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from lake import LOCAL, duckdb_connection

from harness.lake import version_files
from harness.agent import OK, Agent
from harness.kafka import Broker, Registry
from harness.wait import TimedOut, wait_until

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "proto"
WAIT_SECONDS = 90
EVENT, FIRST = "0202", "00"  # how records.txt frames them: the file's second message, its first
ANOTHER_FIELD = b"\xba\x02\x04late"  # number 39


def said(kind: pa.DataType, value) -> str:
    """A value of Arrow's, as records.txt says it."""
    if value is None:
        return "null"
    if pa.types.is_struct(kind):
        return "(" + ",".join(f"{field.name}:{said(field.type, value[field.name])}" for field in kind) + ")"
    if pa.types.is_map(kind):
        return "{" + ",".join(f"{said(kind.key_type, key)}:{said(kind.item_type, inner)}" for key, inner in value) + "}"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "[" + ",".join(said(kind.value_type, each) for each in value) + "]"
    if pa.types.is_boolean(kind):
        return "true" if value else "false"
    if pa.types.is_floating(kind):
        return f"r{struct.pack('<f' if kind == pa.float32() else '<d', value).hex()}"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return f"x{value.hex()}"
    if pa.types.is_timestamp(kind):
        return str(pa.scalar(value, kind).value)
    if pa.types.is_decimal(kind):
        return str(int(value))
    return f'"{value}"' if isinstance(value, str) else str(value)


def rows_of(table: pa.Table) -> list[str]:
    table = table.drop_columns([name for name in table.column_names if name.startswith("_firn_")])
    return sorted(",".join(f"{field.name}:{said(field.type, row[field.name])}" for field in table.schema) for row in table.to_pylist())


class Protobuf(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.broker, self.registry = Broker(), Registry()
        for server in (self.broker, self.registry):
            server.start()
            self.addCleanup(server.stop)
        self.producer = Producer({"bootstrap.servers": self.broker.bootstrap, "enable.idempotence": True})

    def register(self, subject: str, text: str, *references: dict) -> int:
        body = {"schemaType": "PROTOBUF", "schema": text, "references": references}
        return self.registry.ask("POST", f"/subjects/{subject}/versions", body)["id"]

    def write_unit(self, topic: str, table_lines: str) -> Path:
        path = self.folder / f"{topic}.yaml"
        path.write_text(f"""\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {topic}}}
spec:
  kafka: {{topic: {topic}, brokers: "{self.broker.bootstrap}", incomingData: Protobuf, schemaRegistry: {{url: "{self.registry.url}"}}}}
  deadLetter: {{topic: {topic}.dead}}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {self.folder}/lake}}
      database: web
      tableName: {topic}
      commitInterval: 300ms
      {table_lines}
""")
        return path

    def send(self, topic: str, value, key=None):
        self.producer.produce(topic, value, key, 0)

    @contextlib.contextmanager
    def ingest(self, manifest: Path):
        with Agent(manifest, self.folder / "ingest.log", subcommand="ingest") as agent:
            yield agent
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])

    def read(self, topic: str, engine: str) -> pa.Table | None:
        versions = version_files(self.folder / "lake" / "web" / topic)
        if not versions:
            return None
        newest = str(versions[max(versions)])
        if engine == "pyiceberg":
            return StaticTable.from_metadata(newest).scan().to_arrow()
        with duckdb_connection(LOCAL) as connection:
            return connection.execute(f"select * from iceberg_scan('{newest}')").to_arrow_table()

    def wait_rows(self, agent: Agent, topic: str, wanted: list[str]):
        found = []

        def equal():
            agent.alive()
            table = self.read(topic, "pyiceberg")
            found[:] = rows_of(table) if table is not None else []
            return found == sorted(wanted)

        try:
            wait_until(equal, WAIT_SECONDS, f"{len(wanted)} rows of {topic}")
        except TimedOut as error:
            missing, extra = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
            raise AssertionError(f"{error}: missing {sorted(missing)[:2]}, too many {sorted(extra)[:2]}; {agent.text()[-2000:]}") from None
        self.assertEqual(rows_of(self.read(topic, "duckdb")), sorted(wanted))

    def golden(self, number: int, path: str) -> list[tuple[bytes, str]]:
        """Records of one of the file's messages, of the schema's id here, and what their columns are."""
        records = []
        for line in (GOLDEN / "records.txt").read_text().splitlines():
            data, values = line.split("\t")
            if data.startswith(f"0000000001{path}"):
                records.append((struct.pack(">bI", 0, number) + bytes.fromhex(data[10:]), values))
        return records

    def test_events(self):
        common = self.register("common", (GOLDEN / "common.proto").read_text())
        reference = {"name": "common.proto", "subject": "common", "version": 1}
        text = (GOLDEN / "event.proto").read_text()
        number = self.register("events-value", text, reference)
        later = self.register("events-value", text.replace("message Event {", "message Event { string late = 39;"), reference)
        self.assertEqual(len({common, number, later}), 3)
        self.broker.create_topic("events")
        records = self.golden(number, EVENT)
        self.assertGreater(len(records), 6)
        for data, _ in records:
            self.send("events", data)
        broken = {
            "does not begin with 0x00": b"{}",
            "which of its schema's messages": records[0][0][:5],
            "has no schemas/ids/4711": struct.pack(">bI", 0, 4711) + b"\0",
            "no message of the number": struct.pack(">bI", 0, number) + b"\2\x22",
            "is cut short": records[0][0][:-1],
            "field message has a text that is no UTF-8": records[1][0] + b"\x72\1\xff",
            "field id is coded otherwise": records[1][0] + b"\x0a\0",
            "is finer than a microsecond": records[1][0] + b"\xea\1\2\x10\1",
        }
        for data in broken.values():
            self.send("events", data)
        self.producer.flush()
        manifest = self.write_unit("events", "mode: Append")
        with self.ingest(manifest) as agent:
            self.wait_rows(agent, "events", [values for _, values in records])
            more = [(struct.pack(">bI", 0, later) + data[5:] + ANOTHER_FIELD, values) for data, values in self.golden(later, EVENT)]
            for data, _ in more:
                self.send("events", data)
            self.producer.flush()
            wanted = [f"{values},late:null" for _, values in records] + [f'{values},late:"late"' for _, values in more]
            self.wait_rows(agent, "events", wanted)
        letters = self.letters("events.dead")
        self.assertEqual(sorted(value for _, value in letters), sorted(broken.values()))
        for reason, data in broken.items():
            self.assertEqual([value for why, value in letters if reason in why], [data], (reason, letters))

    def letters(self, topic: str) -> list[tuple[str, bytes]]:
        """Reason and value of each (agent/topic/letter.h), once: whoever starts again repeats some."""
        heads, pieces = {}, {}
        for message in self.broker.read(topic):
            headers = dict(message.headers() or [])
            if "firn.piece" in headers:
                pieces[message.key(), headers["firn.piece"]] = message.value()
            else:
                heads[message.key()] = json.loads(message.value())
        return [(head["reason"], b"".join(pieces[key, number.to_bytes(4, "big")] for number in range(head["pieces"])))
                for key, head in heads.items()]  # fmt: skip

    def test_keys(self):
        """Upsert, nested keys' messages, and a record without a value."""
        schema = 'syntax = "proto3"; message K { int64 id = 1; } message V { int64 id = 1; optional string name = 2; }'
        number = self.register("keyed-value", schema)
        self.broker.create_topic("keyed")

        def key(at: int) -> bytes:
            return struct.pack(">bI", 0, number) + b"\0" + bytes([8, at])

        def value(at: int, name: bytes) -> bytes:
            return struct.pack(">bI", 0, number) + b"\2\2" + bytes([8, at, 0x12, len(name)]) + name

        for at in range(1, 21):
            self.send("keyed", value(at, b"first"), key(at))
        self.producer.flush()
        with self.ingest(self.write_unit("keyed", "idColumns: [id]")) as agent:
            self.wait_rows(agent, "keyed", [f'id:{at},name:"first"' for at in range(1, 21)])
            for at in range(1, 6):
                self.send("keyed", value(at, b"then"), key(at))
            for at in range(6, 9):
                self.send("keyed", None, key(at))
            self.producer.flush()
            self.wait_rows(agent, "keyed", [f'id:{at},name:"{"then" if at < 6 else "first"}"' for at in range(1, 21) if not 6 <= at < 9])


if __name__ == "__main__":
    unittest.main()
