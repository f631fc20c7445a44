"""Records in Protobuf, written by Google's library (tests/golden/proto), through a registry that keeps their files, into a
table that DuckDB and pyiceberg read: every column what that library says it is. Then a schema with one field more, keys whose
rows are deleted, and what can't be read, among the dead letters with its reason."""

import struct
import unittest
from pathlib import Path

import pyarrow as pa
from harness.events import EventsCase

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "proto"
EVENT = "0202"  # how records.txt frames it: the file's second message
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


class Protobuf(EventsCase):
    incoming = "Protobuf"

    def row(self, schema: pa.Schema, values: dict) -> str:
        return ",".join(f"{field.name}:{said(field.type, values[field.name])}" for field in schema)

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
        self.assert_letters("events.dead", broken)

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
