"""Records in Protobuf, written by Google's library (tests/golden/proto), through a registry that keeps their files, into a
table that DuckDB and pyiceberg read: every column what that library says it is. Then a schema with one field more, keys whose
rows are deleted, and what can't be read, among the dead letters with its reason."""

import struct
import unittest
from pathlib import Path

import pyarrow as pa
from harness.events import EventsCase
from harness.wait import wait_until

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


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


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

    def test_routes(self):
        """Rows to the table of their route by a text, an enum's name and a boolean; a field more comes to each table; what none
        takes is a dead letter."""
        text = """syntax = "proto3"; enum Kind { KIND_NONE = 0; VIEW = 1; BUY = 2; }
            message E { int64 id = 1; Kind kind = 2; bool ok = 3; string shop = 4; }"""
        routes = {"views": "kind in ['VIEW', '7']", "abroad": "shop == 'abroad'", "failed": "ok == 'false'"}
        path = self.write_routes("routed", routes)
        self.broker.create_topic("routed", partitions=3)
        wanted = {name: [] for name in routes}
        unrouted = []

        def produce(start: int, count: int, number: int, more: bytes = b"", late: str = ""):
            for at in range(start, start + count):
                kind, ok, shop = (0, 1, 2, 7)[at % 4], at % 3 > 0, ("home", "abroad")[at % 5 == 0]
                data = struct.pack(">bI", 0, number) + b"\0" + bytes([8]) + varint(at) + bytes([0x10, kind, 0x18, ok, 0x22, len(shop)])
                data += shop.encode() + more
                self.producer.produce("routed", data, partition=at % 3)
                name = "views" if kind in (1, 7) else "abroad" if shop == "abroad" else "failed" if not ok else None
                if name is None:
                    unrouted.append(data)
                    continue
                said = ("KIND_NONE", "VIEW", "BUY", "7")[at % 4]
                wanted[name].append((f'id:{at},kind:"{said}",ok:{str(ok).lower()},shop:"{shop}"', late))
            self.producer.flush()

        produce(0, 300, self.register("routed-value", text))
        with self.ingest(path) as agent:
            for name in routes:
                self.wait_rows(agent, name, [row for row, _ in wanted[name]])
            later = self.register("routed-value", text.replace("shop = 4;", "shop = 4; string late = 5;"))
            produce(300, 300, later, b"\x2a\4late", '"late"')
            for name in routes:
                self.wait_rows(agent, name, [f"{row},late:{late or 'null'}" for row, late in wanted[name]])
            wait_until(lambda: len(self.letters("routed.dead")) == len(unrouted), 60, "what no route takes is there", agent.alive)
        letters = self.letters("routed.dead")
        self.assertEqual(sorted(value for _, value in letters), sorted(unrouted))
        self.assertEqual([why for why, _ in letters if "no route" not in why], [])

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
