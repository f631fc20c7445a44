"""Our records beside Debezium's, of the same rows, in every form: Debezium (in Kafka Connect) follows a database and
writes topics; topic_records captures the same database and encodes what it read. What Debezium says of each row (its
place in the log, its transaction, its times) is given to ours, so that everything is compared: keys and values field by
field and in their order, schemas, headers, and Avro's schemas by what the registry calls them. What differs stands in
`Differences`, and in agent/topic/topic.h."""

import json
import os
import re
import struct
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import topic_tables
from harness.kafka import Broker, Connect, Registry, fetch
from harness.postgres import PASSWORD, Postgres
from harness.process import die_with_parent
from harness.wait import wait_until

PROGRAM = os.environ.get("TOPIC_RECORDS", "build/asan/tests/topic_records")
DATABASE = "source"
WAIT_SECONDS = 90
JSON = "org.apache.kafka.connect.json.JsonConverter"
AVRO = "io.apicurio.registry.utils.converter.AvroConverter"
SNAPSHOTS = ["false", "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"]
TABLES = ["plain", "types", "required", "whole", "keyless", "pair_key", "toast", "Odd Name-1", "emptied"]
FEW = r"public\.(plain|types|required|toast|finish)"
ALL = "public.*"

# Debezium's settings (with _ for .), and ours, by number as in topic.h; unknown=1: what Debezium leaves out we do, too.
FORMS = {
    "json": ({}, "format=0", ALL),
    "schema": ({"provide_transaction_metadata": "true"}, "format=1 transactions=1", ALL),
    "avro": ({"provide_transaction_metadata": "true"}, "format=2 transactions=1", ALL),
    "connect": (
        {"time_precision_mode": "connect", "decimal_handling_mode": "string", "binary_handling_mode": "base64",
         "interval_handling_mode": "string", "hstore_handling_mode": "map"},
        "format=1 time=2 decimal=2 binary=1 interval=1 hstore=1", FEW),
    "double": (
        {"time_precision_mode": "adaptive_time_microseconds", "decimal_handling_mode": "double",
         "binary_handling_mode": "hex", "tombstones_on_delete": "false"},
        "format=1 time=1 decimal=1 binary=3 no_tombstones=1", FEW),
    "avroconnect": (
        {"time_precision_mode": "connect", "hstore_handling_mode": "map", "binary_handling_mode": "base64-url-safe"},
        "format=2 time=2 hstore=1 binary=2", FEW),
}  # fmt: skip


class Differences:
    """Columns of `types` and `toast` that are not compared, and why."""

    # Debezium: null, an empty array, or the bytes of a text, for what has elements; a name is lost when streamed.
    # Ours: an array of a domain's values, which Debezium leaves out.
    OURS_ONLY = {"apos"}
    ANOTHER_TYPE = {"v2", "abit"}
    OPTIONAL_ELEMENTS = {"ae"}
    LOST_BY_DEBEZIUM = {"nm"}
    # Before 1582 Debezium's copy counts in the Julian calendar.
    JULIAN = {"d", "ts", "tstz"}
    # What an update left out: Debezium gives the codes of the placeholder as days, and null for these; for bytes only
    # where they are text.
    PLACEHOLDER = {"ad", "ah", "alt"}
    PLACEHOLDER_AS_TEXT = {"by", "aby"}


def converters(kind: str, **settings: str) -> dict:
    both = ("key.converter", "value.converter")
    return {side: kind for side in both} | {f"{side}.{name}": value for side in both for name, value in settings.items()}


def connector_settings(server, registry, name: str) -> dict:
    settings, ours, tables = FORMS[name]
    if "format=2" in ours:
        converter = converters(AVRO, **{f"apicurio.registry.{key}": value for key, value in {
            "url": registry.url.replace("ccompat/v7", "registry/v2"), "auto-register": "true", "as-confluent": "true",
            "headers.enabled": "false", "use-id": "contentId", "find-latest": "false"}.items()})  # fmt: skip
        settings = {**settings, "schema_name_adjustment_mode": "avro", "field_name_adjustment_mode": "avro"}
    else:
        converter = converters(JSON, **{"schemas.enable": "true" if "format=1" in ours else "false"})
    own = Connect.postgres(server, DATABASE, name, tables, skipped_operations="none", **settings)
    return own | converter


def topic_of(form: str, table: str) -> str:
    return f"{form}.public.{re.sub('[^A-Za-z0-9._-]', '_', table)}"


class Reference:
    """What Debezium wrote, and the facts of its rows."""

    def __init__(self, broker, registry):
        self.registry = registry
        self.records = {}
        for form in FORMS:
            names = {topic_of(form, table): table for table in TABLES}
            for topic in broker.topics():
                if topic in names:
                    self.records[form, names[topic]] = [
                        (message.key(), message.value(), message.headers() or []) for message in broker.read(topic)]  # fmt: skip

    def facts(self, form: str) -> str:
        lines = []
        for (of, table), records in self.records.items():
            for _, value, _ in records if of == form else []:
                if value is None:
                    continue
                value = decode(form, value, self.registry)["value"]
                source, transaction = value["source"], value["transaction"] or {}
                last = json.loads(source["sequence"])[0] or 0
                lines.append(
                    f"{table}\t {source['lsn']} {source['txId']} {source['ts_us']} {last} {value['ts_us']}"
                    f" {SNAPSHOTS.index(source['snapshot'])} {transaction.get('total_order', 0)}"
                    f" {transaction.get('data_collection_order', 0)}\n")  # fmt: skip
        return "".join(lines)


def ordered(pairs):
    """A dictionary that is only equal to one of the same order."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AssertionError(f"a name stands twice: {[name for name, _ in pairs]}")
    return found


def decode(form: str, data: bytes | None, registry):
    """None, or {"schema": what is known of it, "value": …}."""
    if data is None:
        return None
    if "format=2" in FORMS[form][1]:
        number, value = registry.read_avro(data)
        return {"schema": number, "value": value}
    text = json.loads(data, object_pairs_hook=ordered)
    if "format=1" in FORMS[form][1]:
        if list(text) != ["schema", "payload"]:
            raise AssertionError(f"schema and payload, but {list(text)}")
        return {"schema": text["schema"], "value": text["payload"]}
    return {"schema": None, "value": text}


def pairs(value):
    """An hstore, or several, whatever its form and order."""
    if isinstance(value, list):
        return [pairs(one) for one in value]
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def row_schemas(schema):
    """The parts of a schema (JSON's or Avro's) that describe a row of the table: lists of fields, to be changed."""
    if isinstance(schema, dict):
        fields = schema.get("fields")
        if isinstance(fields, list) and str(schema.get("connect.name", schema.get("name"))).endswith((".Value", ".Key")):
            yield schema
        for child in schema.values():
            yield from row_schemas(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from row_schemas(child)


def without(schema, names: set):
    """The schema without these columns."""
    schema = json.loads(json.dumps(schema))
    for row in row_schemas(schema):
        row["fields"] = [field for field in row["fields"] if field.get("field", field.get("name")) not in names]
    return schema


class TestDebezium(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        fetch()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="firn-topic-")))
        cls.postgres, cls.broker, cls.registry = Postgres(), Broker(), Registry()
        # Side by side. A server dies with the thread that started it, so the threads stay as long as the class.
        starts = cls.enterClassContext(ThreadPoolExecutor(3))
        for started in [starts.submit(server.start) for server in (cls.postgres, cls.broker, cls.registry)]:
            cls.addClassCleanup(started.result().stop)
        cls.postgres.create_database(DATABASE)
        cls._execute(topic_tables.SETUP, *topic_tables.COPIED)
        connect = Connect(cls.broker, {name: connector_settings(cls.postgres, cls.registry, name) for name in FORMS})
        with connect:
            cls._follow(connect)
        cls.reference = Reference(cls.broker, cls.registry)

    @classmethod
    def _execute(cls, *statements: str):
        with cls.postgres.connect(DATABASE) as connection:
            for statement in statements:
                connection.execute(statement)

    @classmethod
    def _follow(cls, connect):
        """Both copy, then both stream the same statements."""

        def all_have(table: str, count: int):
            return lambda: all(cls.broker.count(topic_of(name, table)) >= count for name in FORMS)

        def streaming():
            slots = cls.postgres.execute("select count(*) from pg_replication_slots where active and slot_name like 'dbz%'")
            return slots[0][0] == len(FORMS)

        wait_until(all_have("types", 3), WAIT_SECONDS, "Debezium has copied", connect.alive)
        wait_until(streaming, WAIT_SECONDS, "Debezium streams", connect.alive)
        environment = {**os.environ, "PGUSER": "postgres", "PGPASSWORD": PASSWORD}
        cls.program = subprocess.Popen(
            [PROGRAM, str(cls.postgres.port), DATABASE], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, preexec_fn=die_with_parent())  # fmt: skip
        cls.addClassCleanup(cls._end_program)
        cls._tell(None, "copied")
        cls._execute(*topic_tables.STREAMED)
        cls._tell("stream", "streamed")
        wait_until(all_have("finish", 1), WAIT_SECONDS, "Debezium has streamed", connect.alive)

    @classmethod
    def _tell(cls, line: str | None, answer: str):
        if line:
            cls.program.stdin.write(line + "\n")
            cls.program.stdin.flush()
        said = cls.program.stdout.readline().strip()
        if said != answer:
            raise AssertionError(f"topic_records: {said!r}, not {answer!r}; ended with {cls.program.poll()}")

    @classmethod
    def _end_program(cls):
        cls.program.stdin.close()
        cls.program.stdout.close()
        ended = cls.program.wait(60)
        if ended:
            raise AssertionError(f"topic_records ended with {ended}")

    def ours(self, form: str, more: str = "nulls_as_defaults=1 unknown=1") -> dict[str, list]:
        """By table: (key, value, headers) of each record, and what else the program says of it."""
        out, facts = self.folder / f"{form}.out", self.folder / f"{form}.facts"
        facts.write_text(self.reference.facts(form))
        words = f"connector={form} {FORMS[form][1]} {more}"
        if "format=2" in words:
            words += f" registry={self.registry.url}"
        self._tell(f"{out} {facts} {words}", "encoded")
        names = {topic_of(form, table): table for table in [*TABLES, "finish"]}
        found = {}
        for line in out.read_text().splitlines():
            record = json.loads(line)
            record = {name: bytes.fromhex(value) if isinstance(value, str) and name not in ("topic", "hash") else value
                      for name, value in record.items()}  # fmt: skip
            found.setdefault(names[record["topic"]], []).append(record)
        return found

    # --- comparing ---

    def assert_same_row(self, form, table, ours, theirs, place, copied, left_out):
        if ours is None or theirs is None:
            self.assertEqual(ours, theirs, place)
            return
        skipped = set()
        if table == "types":
            skipped = Differences.OURS_ONLY | Differences.ANOTHER_TYPE | Differences.LOST_BY_DEBEZIUM
            skipped |= Differences.JULIAN if copied else set()
        if left_out:
            skipped |= Differences.PLACEHOLDER
            skipped |= Differences.PLACEHOLDER_AS_TEXT if "binary=" in FORMS[form][1] else set()
        self.assertEqual([n for n in ours if n not in skipped], [n for n in theirs if n not in skipped], place)
        for name, value in theirs.items():
            if name in skipped:
                continue
            own = ours[name]
            if name in ("h", "ah"):  # Java's order of pairs
                self.assertEqual(pairs(own), pairs(value), f"{place}.{name}")
                continue
            self.assertEqual(repr(own), repr(value), f"{place}.{name}")

    def assert_same_schema(self, table, ours, theirs, place):
        if isinstance(ours, int):
            if table not in ("types",):
                self.assertEqual(ours, theirs, f"{place}: the registry knows two schemas:\n"
                                 f"{json.dumps(self.registry.schema(ours))}\n{json.dumps(self.registry.schema(theirs))}")
                return
            ours, theirs = self.registry.schema(ours), self.registry.schema(theirs)
        names = set()
        if table == "types":
            names = Differences.OURS_ONLY | Differences.ANOTHER_TYPE | Differences.OPTIONAL_ELEMENTS
        self.assertEqual(json.dumps(without(ours, names)), json.dumps(without(theirs, names)), place)

    def assert_same_value(self, form, table, ours, theirs, place, record):
        left_out, moved = len(record["header"]) > 21, "__debezium.newkey" in record
        if ours is None or theirs is None:
            self.assertEqual(ours, theirs, place)
            return
        self.assert_same_schema(table, ours["schema"], theirs["schema"], place)
        ours, theirs = ours["value"], theirs["value"]
        self.assertEqual(list(ours), list(theirs), place)
        theirs["ts_ns"] -= theirs["ts_ns"] % 1000
        for name, value in theirs.items():
            if name in ("before", "after"):
                self.assert_same_row(form, table, ours[name], value, f"{place}.{name}", theirs["op"] == "r", left_out)
            elif moved and name in ("ts_ms", "ts_us", "ts_ns"):  # a pair has one time here
                self.assertGreaterEqual(ours[name], value, f"{place}.{name}")
            else:
                self.assertEqual(json.dumps(ours[name]), json.dumps(value), f"{place}.{name}")

    def compare(self, form: str):
        ours = self.ours(form)
        seen = 0
        for table in TABLES:
            theirs = self.reference.records.get((form, table))
            if theirs is None:
                self.assertEqual(FORMS[form][2], FEW, f"no topic of {table}")
                continue
            own = ours[table]
            self.assertEqual(len(own), len(theirs), f"{form} {table}")
            for number, (record, (key, value, headers)) in enumerate(zip(own, theirs)):
                place = f"{form} {table}[{number}]"
                own_key, key = (decode(form, data, self.registry) for data in (record["key"], key))
                if key is None or own_key is None:
                    self.assertEqual(own_key, key, place)
                else:
                    self.assert_same_schema("key", own_key["schema"], key["schema"], f"{place} key")
                    self.assertEqual(json.dumps(own_key["value"]), json.dumps(key["value"]), f"{place} key")
                self.assert_same_value(form, table, *(decode(form, data, self.registry) for data in (record["value"], value)), place, record)
                self.compare_headers(form, record, dict(headers), place)
                seen += 1
        self.assertGreater(seen, 20)

    def compare_headers(self, form, record, headers, place):
        theirs = {name: value for name, value in headers.items() if not name.startswith("__debezium.context.")}
        for name in ("__debezium.newkey", "__debezium.oldkey"):
            self.assertEqual(name in record, name in theirs, f"{place} {name}")
            if name in theirs and form == "json":
                self.assertEqual(record[name], theirs[name], f"{place} {name}")
        kind, major, minor, version = struct.unpack(">BQQI", record["header"][:21])
        self.assertEqual(version, 0)
        self.assertEqual(chr(kind), "D" if record["value"] is None else "T" if record["everywhere"] else "R", place)

    # --- the forms ---

    def test_json(self):
        self.compare("json")

    def test_json_with_schema(self):
        self.compare("schema")

    def test_avro(self):
        self.compare("avro")

    def test_connects_own_types(self):
        self.compare("connect")

    def test_doubles_and_hex(self):
        self.compare("double")

    def test_avro_with_connects_own_types(self):
        self.compare("avroconnect")

    def test_what_debezium_leaves_out(self):
        """Every column is there, as text, structs and arrays; a null is a null; the header names what was left out."""
        found = self.ours("json", "")
        row = json.loads(found["types"][0]["value"])["after"]
        self.assertEqual(
            {name: row[name] for name in ("jp", "pa", "mr", "xi", "x8", "ti", "rc", "tq", "lsn", "am", "aiv", "anm", "apos", "v2", "apt", "abit")},
            {"jp": '$."a"', "pa": {"a": 1, "b": "x"}, "mr": "{[1,2),[5,9)}", "xi": 7, "x8": "77", "ti": "(1,2)", "rc": row["rc"],
             "tq": "'a' & 'b'", "lsn": "16/B374D848", "am": ["AJY="], "aiv": [86400000000], "anm": ["nm"], "apos": [1, 2],
             "v2": [1, 2, 3], "apt": [{"x": 1.0, "y": 2.0, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAABA", "srid": None}], "abit": ["Fg=="]})  # fmt: skip
        self.assertIsInstance(row["rc"], int)
        nulls = [json.loads(r["value"])["after"] for r in found["plain"] if r["value"]]
        self.assertIn({"note": None, "i2": None}, [{"note": r["note"], "i2": r["i2"]} for r in nulls if r])
        header = found["toast"][-1]["header"]
        columns = struct.unpack(f">{(len(header) - 21) // 2}H", header[21:])
        self.assertLessEqual({2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18}, set(columns))

    def test_one_key_one_place(self):
        """Whatever the form; and every record of a key has its hash."""
        places = {}
        for form in ("json", "avro"):
            for table, records in self.ours(form).items():
                for record in records:
                    if record["key"] is not None:
                        key = json.dumps(decode(form, record["key"], self.registry)["value"])
                        key = key.replace("the id", "the_id")
                        self.assertEqual(places.setdefault((table, key), record["hash"]), record["hash"])
        self.assertGreater(len(set(places.values())), 8)


if __name__ == "__main__":
    unittest.main()
