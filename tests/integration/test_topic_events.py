"""Topics that nobody of ours wrote: plain events in Avro and in JSON of which some can't be read. Those are among the dead
letters, whole, each with its reason, and all others in the table. A schema that conflicts with the table's columns stops the
flow with the way out, and nothing is passed."""

import io
import json
import os
import struct
import unittest
from pathlib import Path

import fastavro
from harness.agent import OK, REFUSED, Agent
from harness.events import EventsCase
from harness.wait import wait_until


def avro(schema: dict) -> str:
    return json.dumps(schema)


def record(name: str, /, **types) -> dict:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in types.items()]}


class Avro(EventsCase):
    incoming = "Avro"

    def framed(self, number: int, schema: dict, values: dict) -> bytes:
        to = io.BytesIO()
        fastavro.schemaless_writer(to, schema, values)
        return struct.pack(">bI", 0, number) + to.getvalue()

    def test_broken(self):
        inner = record("I", a=["null", "int"], b={"type": "array", "items": "string"})
        schema = record("E", id="long", name=["null", "string"], more=inner)
        number = self.register("clicks-value", avro(schema))
        union = self.register("union", avro(record("U", id="long", name=["null", "string", "int"])))
        other = self.register("other", 'syntax = "proto3"; message O { int64 id = 1; }', kind="PROTOBUF")
        values = [{"id": i, "name": f"n{i}" if i % 3 else None, "more": {"a": i, "b": ["x"] * (i % 3)}} for i in range(30)]
        good = [self.framed(number, schema, each) for each in values]
        broken = {
            "does not begin with 0x00 and a schema's id": b'{"id": 1}',
            "has no schemas/ids/4711": struct.pack(">bI", 0, 4711) + b"\2",
            f"schemas/ids/{other} is none of Avro": struct.pack(">bI", 0, other) + b"\2",
            "a union of more than a type and null": struct.pack(">bI", 0, union) + b"\2\0",
            "is cut short, or no Avro": good[1][:-1],
            "goes on behind its end": good[2] + b"\0",
            "has a text that is no UTF-8": good[1].replace(b"n1", b"n\xff"),
        }
        self.broker.create_topic("clicks")
        for at, data in enumerate(good):
            self.send("clicks", data)
            if at < len(broken):
                self.send("clicks", list(broken.values())[at])
        self.producer.flush()
        with self.ingest(self.write_unit("clicks", "mode: Append")) as agent:
            self.wait_rows(agent, "clicks", [json.dumps(each) for each in values])
            # a column more: what stands below another one stays
            schema["fields"].append({"name": "late", "type": ["null", "double"]})
            later = self.register("clicks-value", avro(schema))
            more = [each | {"late": 0.5} for each in values]
            for each in more:
                self.send("clicks", self.framed(later, schema, each))
            self.producer.flush()
            self.wait_rows(agent, "clicks", [json.dumps(each | {"late": None}) for each in values] + [json.dumps(each) for each in more])
        self.assert_letters("clicks.dead", broken)

    def test_routes(self):
        """Rows to the table of their route by what they hold, with two processes; a column more comes to each table."""
        schema = record("E", id="long", kind=["null", "string"], ok="boolean")
        number = self.register("routed-value", avro(schema))
        routes = {"views": "kind in ['view', 'look']", "failed": "ok == 'false'", "rest": None}
        path = self.write_routes("routed", routes)
        self.broker.create_topic("routed", partitions=3)
        wanted = {name: [] for name in routes}

        def produce(start: int, count: int, number: int, **more):
            for at in range(start, start + count):
                row = {"id": at, "kind": ("view", "look", "buy", None)[at % 4], "ok": at % 3 > 0} | more
                self.producer.produce("routed", self.framed(number, schema, row), partition=at % 3)
                name = "views" if at % 4 < 2 else "rest" if row["ok"] else "failed"
                wanted[name].append({"late": None} | row)
            self.producer.flush()

        def lines(name: str, *columns: str) -> list[str]:
            return [json.dumps({column: row[column] for column in columns}) for row in wanted[name]]

        produce(0, 1000, number)
        with self.ingest(path) as agent, Agent(path, self.folder / "other.log", subcommand="ingest") as other:
            for name in routes:
                self.wait_rows(agent, name, lines(name, "id", "kind", "ok"))
            schema["fields"].append({"name": "late", "type": ["null", "double"]})
            produce(1000, 1000, self.register("routed-value", avro(schema)), late=0.5)
            for name in routes:
                self.wait_rows(agent, name, lines(name, "id", "kind", "ok", "late"))
            other.stop()

    def test_conflict(self):
        """Of a column that was a text and is a number."""
        before, after = record("E", id="long", name="string"), record("F", id="long", name="long")
        number, other = self.register("mixed-value", avro(before)), self.register("mixed-other", avro(after))
        self.broker.create_topic("mixed")
        for at in range(10):
            self.send("mixed", self.framed(number, before, {"id": at, "name": "a"}))
        self.producer.flush()
        manifest = self.write_unit("mixed", "mode: Append")
        with self.ingest(manifest) as agent:
            self.wait_rows(agent, "mixed", [json.dumps({"id": at, "name": "a"}) for at in range(10)])
        self.send("mixed", self.framed(other, after, {"id": 10, "name": 7}))
        self.send("mixed", self.framed(number, before, {"id": 11, "name": "b"}))
        self.producer.flush()
        with Agent(manifest, self.folder / "refused.log", subcommand="ingest") as agent:
            wait_until(lambda: agent.process.poll() is not None, 60, "it ends")
            self.assertEqual(agent.process.returncode, REFUSED, agent.text()[-2000:])
            self.assertIn("SchemaIncompatible", agent.text())
            self.assertIn("column name in two types", agent.text())
        self.assertEqual(self.read("mixed", "pyiceberg").num_rows, 10)

    def test_incompatible(self):
        """A second schema that the table can't follow, the registry's latest when it begins again: its records are among the dead
        letters, those of the first and of a third that adds a column are rows."""
        first, second = record("E", id="long", name="string"), record("E", id="long", name="long")
        third = record("E", id="long", name="string", late=["null", "int"])
        self.broker.create_topic("judged")
        rows, broken, sent = [], {}, 0

        def send(number: int, schema: dict, **values):
            nonlocal sent
            self.send("judged", self.framed(number, schema, values))
            self.producer.flush()
            sent += 1

        def good(number: int, schema: dict, start: int):
            for at in range(start, start + 10):
                send(number, schema, id=at, name=f"n{at}")
                rows.append({"id": at, "name": f"n{at}"})

        def bad(number: int, at: int):
            broken[f"offset {sent}: "] = self.framed(number, second, {"id": at, "name": at})
            send(number, second, id=at, name=at)

        manifest = self.write_unit("judged", "mode: Append\n      schemaEvolution: {incompatible: DeadLetter}")
        one = self.register("judged-value", avro(first))
        good(one, first, 0)
        with self.ingest(manifest) as agent:
            self.wait_rows(agent, "judged", [json.dumps(row) for row in rows])
            two = self.register("judged-other", avro(second))
            bad(two, 100)
            good(one, first, 10)
            self.wait_rows(agent, "judged", [json.dumps(row) for row in rows])
        self.register("judged-value", avro(second))
        good(one, first, 20)
        bad(two, 101)
        good(one, first, 30)
        with Agent(manifest, self.folder / "again.log", http=True, subcommand="ingest") as agent:
            self.wait_rows(agent, "judged", [json.dumps(row) for row in rows])
            send(self.register("judged-value", avro(third)), third, id=40, name="n40", late=7)
            bad(two, 102)
            self.wait_rows(agent, "judged", [json.dumps(row | {"late": None}) for row in rows] + [json.dumps({"id": 40, "name": "n40", "late": 7})])
            wait_until(lambda: len(self.letters("judged.dead")) == 3, 60, "every letter is there", agent.alive)
            # the first of its two may have been read again for the new column
            self.assertGreaterEqual(agent.metrics()['firn_dead_letters_total{table="judged",unit="default/judged"}'], 2)
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])
        self.assert_letters("judged.dead", broken)


class Json(EventsCase):
    incoming = "Json"

    def write_dead_table(self, topic: str, table_lines: str, name: str) -> Path:
        """The unit of write_unit, its dead letters in the table of that name."""
        path = self.write_unit(topic, table_lines)
        path.write_text(path.read_text().replace(f"deadLetter: {{topic: {topic}.dead}}", f"deadLetter: {{lakeTableRef: {{name: {name}}}}}")
                        + self.table(name))  # fmt: skip
        return path

    def dead_rows(self, name: str) -> list[dict]:
        table = self.read(name, "pyiceberg")
        return sorted(table.to_pylist(), key=lambda row: row["topic_offset"]) if table is not None else []

    def test_broken(self):
        values = [{"id": i, "count": i * 10**9, "s": f"s{i} ☃"} for i in range(30)]
        broken = {
            "has a text that is no UTF-8": b'{"id": 1, "s": "\xff"}',
            "is too deep": b'{"id": 1, "other": ' + b"[" * 5000 + b"]" * 5000 + b"}",
            "field id stands twice": b'{"id": 1, "id": 2}',
            "field count does not fit its column": b'{"id": 1, "count": 123456789012345678901234567890}',
            "is cut short": b'{"id": 1, "s": "abc',
            "has half a surrogate pair": b'{"id": 1, "s": "\\ud800"}',
            "is no JSON": b"\0\0\0\0\1",
            "goes on behind its end": b'{"id": 1} {"id": 2}',
        }
        self.broker.create_topic("plain")
        for at, each in enumerate(values):
            self.send("plain", json.dumps(each | {"unread": [1, {"a": None}]}).encode())
            if at < len(broken):
                self.send("plain", list(broken.values())[at])
        self.producer.flush()
        columns = "mode: Append\n      columns: [{name: id, type: long}, {name: count, type: long}, {name: s, type: string}]"
        with self.ingest(self.write_unit("plain", columns)) as agent:
            self.wait_rows(agent, "plain", [json.dumps(each) for each in values])
        self.assert_letters("plain.dead", broken)

    def test_retention(self):
        """A topic that keeps its records for less than was declared is told of."""
        self.broker.create_topic("short", **{"retention.ms": str(3600 * 1000)})
        self.send("short", b'{"id": 1}')
        self.producer.flush()
        path = self.write_unit("short", "mode: Append\n      columns: [{name: id, type: long}]")
        path.write_text(path.read_text().replace("incomingData: Json", "incomingData: Json, retention: 7d"))
        with Agent(path, self.folder / "ingest.log", http=True, subcommand="ingest") as agent:
            self.wait_rows(agent, "short", ['{"id": 1}'])
            wait_until(lambda: agent.metrics().get('firn_topic_retention_status{table="short",unit="default/short"}') == 4, 60, "it is told", agent.alive)
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])
        told = [line for line in agent.lines() if "less than spec.kafka.retention" in line["msg"]]
        self.assertEqual([(line["topic"], line["keeps"], line["declared"]) for line in told], [("short", "1h", "7d")], agent.text())

    def test_hurried(self):
        """A table that was to be committed more seldom than its topic lets it."""
        self.broker.create_topic("hurried", **{"retention.ms": str(3600 * 1000)})
        self.send("hurried", b'{"id": 1}')
        self.producer.flush()
        path = self.write_unit("hurried", "mode: Append\n      columns: [{name: id, type: long}]")
        path.write_text(path.read_text().replace("commitInterval: 300ms", "commitInterval: 20m"))
        with Agent(path, self.folder / "ingest.log", http=True, subcommand="ingest") as agent:
            wait_until(lambda: agent.metrics().get('firn_topic_retention_status{table="hurried",unit="default/hurried"}') == 2,
                       60, "it is told", agent.alive)  # fmt: skip
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])
        told = [line for line in agent.lines() if "less than commitInterval" in line["msg"]]
        self.assertEqual([(line["topic"], line["keeps"], line["commit_interval"]) for line in told], [("hurried", "1h", "20m")], agent.text())

    def test_dead_table(self):
        """Dead letters in a table: two processes of which one is killed in the midst of them; each is a row, whole, once."""
        path = self.write_dead_table("judged", "mode: Append\n      columns: [{name: id, type: long}]", "dead")
        self.broker.create_topic("judged", partitions=3)
        good, wanted, ends = [], [], [0, 0, 0]

        def produce(start: int, count: int):
            for at in range(start, start + count):
                bad = at % 7 == 0
                value = (f'{{"id": {at}, ' + "x" * (at % 5 * 100) if bad else f'{{"id": {at}}}').encode()
                headers = [("trace", str(at).encode()), ("trace", b"again")] if bad else None
                self.producer.produce("judged", value, key=None if at % 2 else b"k", partition=at % 3, headers=headers)
                if bad:
                    wanted.append((at % 3, ends[at % 3], None if at % 2 else b"k", value, str(at).encode()))
                else:
                    good.append(json.dumps({"id": at}))
                ends[at % 3] += 1
            self.producer.flush()

        def letters(engine: str) -> list[tuple]:
            table = self.read("dead", engine)
            rows = table.to_pylist() if table is not None else []
            for row in rows:
                self.assertEqual((row["topic"], row["code"], len(row["headers"])), ("judged", "BadRecord", 2))
                self.assertIn(f"partition {row['topic_partition']} offset {row['topic_offset']}", row["reason"])
                self.assertEqual([each["name"] for each in row["headers"]], ["trace", "trace"])
            names = ("topic_partition", "topic_offset", "key", "value")
            return sorted((tuple(row[name] for name in names) + (row["headers"][0]["value"],) for row in rows), key=lambda row: row[:2])

        produce(0, 2000)
        with self.ingest(path) as agent:
            self.wait_rows(agent, "judged", good)
            with Agent(path, self.folder / "killed.log", subcommand="ingest") as killed:
                wait_until(lambda: "partitions are dealt out" in killed.text(), 60, "the second one joins", killed.alive)
                produce(2000, 4000)
                killed.kill()
            produce(6000, 1000)
            self.wait_rows(agent, "judged", good)
            wanted.sort(key=lambda row: row[:2])
            wait_until(lambda: letters("pyiceberg") == wanted, 60, "every letter is there, once", agent.alive)
            self.assertEqual(letters("duckdb"), wanted)

    def test_large_letters(self):
        """One that is larger than its topic takes is there in pieces; where it has to be one record, on its way to a table, the
        flow ends with the way out, and nothing is passed before the topic takes it."""
        small, at_most = 60, 100_000
        bad = b'{"id": 1, "s": "' + os.urandom(150_000).hex().encode()
        good = [json.dumps({"id": at}) for at in range(2 * small)]
        columns = "mode: Append\n      columns: [{name: id, type: long}]"
        for topic, letters in (("large", "large.dead"), ("whole", "firn-default-whole-letters")):
            self.broker.create_topic(topic)
            self.broker.create_topic(letters, **{"max.message.bytes": str(at_most)})
            for row in good[:small]:
                self.send(topic, row.encode())
            self.send(topic, bad)
            for row in good[small:]:
                self.send(topic, row.encode())
        self.producer.flush()
        with self.ingest(self.write_unit("large", columns)) as agent:
            self.wait_rows(agent, "large", good)
        self.assert_letters("large.dead", {"is cut short": bad})
        self.assertGreater(self.broker.count("large.dead"), 1 + len(bad) // at_most)
        path = self.write_dead_table("whole", columns, "kept")
        with Agent(path, self.folder / "refused.log", subcommand="ingest") as refused:
            self.assertEqual(refused.wait(), REFUSED, refused.text()[-2000:])
        for part in ("RecordTooLarge", "topic firn-default-whole-letters", f"the topic takes at most {at_most}", "raise its max.message.bytes"):
            self.assertIn(part, refused.text())
        table = self.read("whole", "pyiceberg")
        self.assertLessEqual(table.num_rows if table is not None else 0, small)
        self.broker.alter_topic("firn-default-whole-letters", **{"max.message.bytes": "1000000"})
        with self.ingest(path) as agent:
            self.wait_rows(agent, "whole", good)
            wait_until(lambda: [row["value"] for row in self.dead_rows("kept")] == [bad], 60, "it is there, whole", agent.alive)

    def test_replayed_letters(self):
        """What was at fault put right, dead letters become rows: read again from their places, or from the topic of the letters by
        another unit."""
        rows = [{"id": at, "count": at * (10**9 if at % 7 == 0 else 1)} for at in range(40)]
        large = [row for row in rows if row["count"] >= 2**31]
        narrow = "idColumns: [id]\n      columns: [{name: id, type: long}, {name: count, type: int}]"
        self.broker.create_topic("mended")
        for row in rows:
            self.send("mended", json.dumps(row).encode(), json.dumps({"id": row["id"]}))
        self.producer.flush()
        path = self.write_dead_table("mended", narrow, "broken")
        with self.ingest(path) as agent:
            self.wait_rows(agent, "mended", [json.dumps(row) for row in rows if row not in large])
            wait_until(lambda: len(self.dead_rows("broken")) == len(large), 60, "the others are letters", agent.alive)
        places = [row["topic_offset"] for row in self.dead_rows("broken")]
        self.assertEqual(places, [row["id"] for row in large])
        text = path.read_text().replace("name: count, type: int", "name: count, type: long")
        path.write_text(text.replace("topic: mended,", f"topic: mended, replay: {{id: one, offsets: [{{partition: 0, offset: {places[0]}}}]}},"))
        with self.ingest(path) as agent:
            self.wait_rows(agent, "mended", [json.dumps(row) for row in rows])
        again = self.write_unit("firn-default-mended-letters", narrow.replace("type: int", "type: long"))
        with self.ingest(again) as agent:
            self.wait_rows(agent, "firn-default-mended-letters", [json.dumps(row) for row in large])
        self.assertEqual([row["topic_offset"] for row in self.dead_rows("broken")], places)

    def test_routes(self):
        """One topic to three tables, with two processes of which one is killed: every record is in one table, once."""
        routes = {"views": "event == 'view'", "orders": "event in ['buy', 'pay']", "rest": None}
        path = self.write_routes("routed", routes, "columns: [{name: id, type: long}, {name: event, type: string}]")
        self.broker.create_topic("routed", partitions=3)
        wanted = {name: [] for name in routes}
        kinds = {"view": "views", "buy": "orders", "pay": "orders", "left": "rest"}

        def produce(start: int, count: int):
            for at in range(start, start + count):
                event = list(kinds)[at % 4]
                row = json.dumps({"id": at, "event": event})
                self.producer.produce("routed", row, partition=at % 3)
                wanted[kinds[event]].append(row)
            self.producer.flush()

        produce(0, 2000)
        self.producer.produce("routed", b'{"id": 1, "ev', partition=0)
        with self.ingest(path) as agent:
            for name in routes:
                self.wait_rows(agent, name, wanted[name])
            with Agent(path, self.folder / "killed.log", subcommand="ingest") as killed:
                wait_until(lambda: "partitions are dealt out" in killed.text(), 60, "the second one joins", killed.alive)
                produce(2000, 4000)
                killed.kill()
            produce(6000, 1000)
            for name in routes:
                self.wait_rows(agent, name, wanted[name])
        self.assert_letters("routed.dead", {"is cut short": b'{"id": 1, "ev'})


if __name__ == "__main__":
    unittest.main()
