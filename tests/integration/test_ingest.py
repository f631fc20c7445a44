"""Source → topics → tables: `firn-agent capture` and `firn-agent ingest` beside each other, tables equal to the source by
engines that are not ours; through restarts, kills at named points and at random, and partitions dealt out anew."""

import json
import os
import random
import signal
import unittest

from confluent_kafka.admin import AclOperation, ResourceType

from harness import shop
from harness.agent import REFUSED
from harness.ingest import IngestCase, lanes
from harness.kafka import SESSION_MS, Connect, Registry
from harness.kafka_secure import PASSWORD, USER
from harness.wait import wait_until
from lake import duckdb_connection, newest_metadata  # of tests/compare, which the harness has put on the path

SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
KILLS = int(os.environ.get("FIRN_INGEST_KILLS", "8"))
POINTS = ("stage-files-written", "ingest-staged", "ingest-pieces-taken", "ingest-committed", "commit-files-written",
          "commit-manifests-written", "metadata-linked", "commit-swapped", "commit-done")  # fmt: skip
JSON = {f"{side}.{name}": value for side in ("key", "value") for name, value in (
    ("converter", "org.apache.kafka.connect.json.JsonConverter"), ("converter.schemas.enable", "true"))}  # fmt: skip
AVRO = {f"{side}.{name}": value for side in ("key", "value") for name, value in (
    ("converter", "io.apicurio.registry.utils.converter.AvroConverter"), ("converter.apicurio.registry.auto-register", "true"),
    ("converter.apicurio.registry.as-confluent", "true"), ("converter.apicurio.registry.headers.enabled", "false"),
    ("converter.apicurio.registry.use-id", "contentId"), ("converter.apicurio.registry.find-latest", "false"))}  # fmt: skip
AVRO_NAMES = {"schema_name_adjustment_mode": "avro", "field_name_adjustment_mode": "avro"}


class Ingest(IngestCase):
    rows = 2000

    def setUp(self):
        os.environ["FIRN_SESSION_MS"] = SESSION_MS
        self.addCleanup(os.environ.pop, "FIRN_SESSION_MS", None)
        super().setUp()

    def assert_engines(self, *engines):
        for engine in engines:
            same, output = self.compared(engine)
            self.assertTrue(same, f"{engine}: {output}")

    def both(self, engines=("duckdb", "pyiceberg"), **fields):
        """Traffic through the copy, a stop of both, traffic again while nobody reads."""
        self.make_shop()
        self.write_manifest(**fields)
        with self.traffic(seed=SEED, bulk=False, pace=0) as changes:
            capture, ingest = self.start(), self.ingest()
            before = changes.done["transactions"]
            self.wait_transactions(changes, before + 400)
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)
        with self.traffic(seed=SEED + 1, bulk=False, pace=0) as changes:
            self.wait_transactions(changes, 300)
        ingest = self.ingest()
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assert_engines(*engines)
        for table in shop.TABLES:
            self.assert_forward(table)
        self.assert_stopped(ingest)
        self.assert_stopped(capture)

    def wait_transactions(self, changes, count: int):
        wait_until(lambda: changes.done["transactions"] >= count, 120, f"{count} transactions")

    def test_upsert(self):
        self.both()

    def test_upsert_v3(self):
        self.both(format=3)

    def versions(self) -> set[int]:
        return {self.lake_table(name).metadata["format-version"] for name in shop.TABLES}

    def test_raised(self):
        """formatVersion of tables that are there goes from 2 to 3; who raises the first is killed at it."""
        self.make_shop()
        self.write_manifest()
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture, ingest = self.start(), self.ingest()
            self.wait_transactions(changes, 150)
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)
        self.assertEqual(self.versions(), {2})
        self.write_manifest(format=3)
        with self.traffic(seed=SEED + 1, bulk=False) as changes:
            ingest = self.ingest(crash_at="format-raised")
            self.assertEqual(ingest.wait(120), -signal.SIGKILL, ingest.text()[-2000:])
            self.assertTrue(ingest.struck(), ingest.text()[-2000:])
            self.assertIn(3, self.versions())
            group = [self.ingest() for _ in range(2)]
            self.wait_transactions(changes, changes.done["transactions"] + 100)
        self.wait_agreed(capture)
        self.wait_equal(capture, *group)
        self.assertEqual(self.versions(), {3})
        self.assertIn("format version raised", "".join(one.text() for one in group))
        self.assert_engines("duckdb", "pyiceberg")
        self.connection.execute("update customers set visits = visits + 1; delete from order_lines where order_id % 3 = 0")
        self.wait_equal(capture, *group)
        for name in shop.TABLES:
            duck = duckdb_connection()
            place = newest_metadata(str(self.warehouse / "shop" / name))
            rows, ids = duck.execute(f"select count(*), count(distinct _row_id) from iceberg_scan('{place}')").fetchone()
            duck.close()
            self.assertEqual(ids, rows, f"{name}: each row has an id of its own")
        for one in group:
            self.assert_stopped(one)
        self.write_manifest(format=2)
        ingest = self.ingest()
        self.assertEqual(ingest.wait(), REFUSED)
        self.assertIn("set formatVersion: 3", ingest.text())

    def test_raised_beside_others(self):
        """As Kubernetes rolls a unit's Pods: a consumer of before, which asks for 2, goes on beside one that asks for 3."""
        self.make_shop()
        self.write_manifest(interval="500ms")
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture, before = self.start(), self.ingest()
            self.wait_transactions(changes, 150)
        self.wait_agreed(capture)
        self.wait_equal(capture, before)
        self.write_manifest(interval="500ms", format=3)
        with self.traffic(seed=SEED + 1, bulk=False) as changes:
            now = self.ingest()
            self.wait_transactions(changes, changes.done["transactions"] + 150)
            if before.process.poll() is None:
                before.kill()
            else:
                self.assertEqual(before.process.returncode, REFUSED, before.text()[-2000:])
                self.assertIn("FormatVersion", before.text())
            self.wait_transactions(changes, changes.done["transactions"] + 50)
        self.wait_agreed(capture)
        self.wait_equal(capture, now, seconds=180)
        self.assertEqual(self.versions(), {3})
        self.assert_engines("duckdb", "pyiceberg")
        self.assert_stopped(now)

    def test_append(self):
        self.both(mode="Append")

    def test_avro(self):
        self.registry = Registry()
        self.registry.start()
        self.addCleanup(self.registry.stop)
        self.both()

    def test_schemas_in_records(self):
        self.both(stream="    records: {schemas: true}\n")

    def test_truncate(self):
        self.connection.execute(
            "create table t (id int primary key, v text); insert into t select i, 'v' || i from generate_series(1, 500) i")
        self.write_manifest()
        capture, ingest = self.start(), self.ingest()
        self.wait_equal(capture, ingest)
        for round in range(3):
            self.connection.execute(f"update t set v = v || '{round}'; truncate t; insert into t select i, 'n' || i from generate_series(1, {50 * round + 1}) i")
            self.wait_equal(capture, ingest)
        self.assert_forward("t")
        self.assert_stopped(ingest)

    def test_columns(self):
        """Columns added and widened, at their places, while both run and while ingest does not."""
        run = self.connection.execute
        run("create table t (id int primary key, a int); insert into t select i, i from generate_series(1, 200) i")
        self.write_manifest()
        capture, ingest = self.start(), self.ingest()
        self.wait_equal(capture, ingest)
        run("update t set a = a + 1 where id < 50; alter table t add column b text; update t set b = 'b' || id where id < 20")
        run("insert into t values (1000, 1, 'new')")
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)
        run("alter table t alter column a type bigint; insert into t values (1001, 5000000000, 'wide'); alter table t add column c date")
        run("update t set c = '2024-02-29' where id > 100")
        ingest = self.ingest()
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)

    def test_more_partitions(self):
        self.make_shop()
        self.write_manifest(partitions=2)
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture, ingest = self.start(), self.ingest()
            self.wait_transactions(changes, 100)
            self.assert_stopped(capture)
            self.write_manifest(partitions=5)
            capture = self.start()
            self.wait_transactions(changes, changes.done["transactions"] + 100)
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assertEqual(len(lanes(next(v for k, v in self.lake_table("orders").properties.items()
                                        if k.startswith("firn.position.")).rsplit(" ", 1)[0])), 5)  # fmt: skip
        self.assert_stopped(ingest)

    def test_grown_before(self):
        """A table that begins with a topic which got more partitions long ago: of a key, what went to the old ones comes first."""
        self.make_shop()
        self.write_manifest(partitions=2)
        capture = self.start()
        with self.traffic(seed=SEED, bulk=False) as changes:
            self.wait_transactions(changes, 100)
            capture.kill()
            self.write_manifest(partitions=5)
            capture = self.start()
            self.wait_transactions(changes, changes.done["transactions"] + 200)
        self.connection.execute("truncate order_lines; insert into order_lines (order_id, line, sku, quantity, price)"
                                " select (select min(id) from orders), 1, sku, 1, 1 from products limit 1")  # fmt: skip
        self.wait_agreed(capture)
        ingest = self.ingest()
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)

    def kill_at_point(self, name: str, capture):
        ingest = self.ingest(crash_at=f"{name}:{self.dice.randint(1, 6)}")
        try:
            ended = ingest.wait(120)
        except AssertionError as error:
            raise AssertionError(f"{error}\ncapture:\n{capture.text()[-3000:]}") from None
        self.assertEqual(ended, -signal.SIGKILL, ingest.text()[-2000:])
        self.assertTrue(ingest.struck(), ingest.text()[-2000:])

    def test_kill_at_points(self):
        """One consumer, killed at each point in turn, with traffic."""
        self.dice = random.Random(SEED)
        self.make_shop()
        self.write_manifest(interval="500ms")
        with self.traffic(seed=SEED, bulk=False):
            capture = self.start()
            for name in POINTS:
                self.kill_at_point(name, capture)
        ingest = self.ingest()
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest, seconds=180)
        for table in shop.TABLES:
            self.assert_forward(table)
        self.assert_stopped(ingest)

    def test_consumers(self):
        """Three consumers: each killed or stopped for a while and begun again, at random, the one that commits among them."""
        dice = random.Random(SEED)
        self.make_shop()
        self.write_manifest(interval="500ms")
        struck = []
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture = self.start()
            group = [self.ingest() for _ in range(3)]
            self.wait_transactions(changes, changes.done["transactions"] + 60)
            while len(struck) < KILLS:
                at = dice.randrange(3)
                if dice.random() < 0.5:
                    group[at].kill()
                    group[at] = self.ingest()
                    struck.append(f"kill {at}")
                else:
                    os.kill(group[at].process.pid, signal.SIGSTOP)
                    self.wait_transactions(changes, changes.done["transactions"] + 80)
                    os.kill(group[at].process.pid, signal.SIGCONT)
                    struck.append(f"stop {at}")
                self.wait_transactions(changes, changes.done["transactions"] + dice.randint(10, 80))
        self.wait_agreed(capture)
        self.wait_equal(capture, *group, seconds=240)
        for table in shop.TABLES:
            self.assert_forward(table)
        print(f"seed {SEED}: {', '.join(struck)}")
        for ingest in group:
            self.assert_stopped(ingest)


class Foreign(IngestCase):
    """Topics that Debezium itself wrote, each a unit's own (spec.kafka): JSON with its schemas, and Avro."""

    rows = 2000
    tables = ("orders", "customers")

    def setUp(self):
        super().setUp()
        self.registry = Registry()
        self.registry.start()
        self.addCleanup(self.registry.stop)
        self.forms = {f"{self.prefix}json": {}, f"{self.prefix}avro": AVRO | {
            f"{side}.converter.apicurio.registry.url": self.registry.url.replace("ccompat/v7", "registry/v2") for side in ("key", "value")}}  # fmt: skip
        for form, table in self.units():
            self.broker.create_topic(f"{form}.public.{table}", partitions=3)

    def units(self):
        return [(form, table) for form in self.forms for table in self.tables]

    def write_units(self):
        path = self.folder / "manifest.yaml"
        security = "{protocol: SASL_PLAINTEXT, mechanism: SCRAM-SHA-512, credentialsSecretRef: {name: kafka}}"
        path.write_text("---\n".join(f"""\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {self.unit}-{table}-{form}}}
spec:
  kafka:
    topic: {form}.public.{table}
    {f'brokers: "{self.broker.at("SASL")}"' if form.endswith("avro") else f'r53: "{self.broker.at("SASL")}"'}
    security: {security}
    incomingData: Debezium
{f'    schemaRegistry: {{url: "{self.registry.url}"}}' if form.endswith("avro") else ''}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {self.warehouse}}}
      database: {form}
      tableName: {table}
      mode: Upsert
      commitInterval: 1s
""" for form, table in self.units()) + f"""\
---
apiVersion: v1
kind: Secret
metadata: {{name: kafka}}
stringData: {json.dumps({"username": USER, "password": PASSWORD})}
""")
        path.chmod(0o600)

    def allow(self):
        """What README says that a user of ingest needs."""
        names = {f"{form}.public.{table}": f"firn-default-{self.unit}-{table}-{form}" for form, table in self.units()}
        for topic, unit in names.items():
            self.broker.allow(*((kind, name, right) for kind, name, rights in (
                (ResourceType.TOPIC, topic, (AclOperation.READ, AclOperation.DESCRIBE)),
                (ResourceType.GROUP, unit, (AclOperation.READ, AclOperation.DESCRIBE)),
                (ResourceType.TOPIC, f"{unit}-control", (AclOperation.READ, AclOperation.DESCRIBE, AclOperation.WRITE, AclOperation.CREATE,
                                                         AclOperation.DESCRIBE_CONFIGS)),
            ) for right in rights))  # fmt: skip

    def wait_forms(self, *agents):
        for form in self.forms:
            self.wait_equal(*agents, tables=f"public={form}")

    def test_debezium(self):
        run = self.connection.execute
        run("create table orders (id int primary key, n bigint, price numeric(12,2), at timestamptz, on_day date, name text, ok boolean)")
        run("create table customers (id bigint, part text, score double precision, made timestamp, primary key (id, part))")
        run("insert into orders select i, i * 5000000000, i / 7.0, now(), current_date - i, 'order ' || i, i % 3 = 0 from generate_series(1, 500) i")
        run("insert into customers select i, 'p' || i % 5, i / 3.0, now() from generate_series(1, 300) i")
        self.write_units()
        connectors = {form: Connect.postgres(self.postgres, "shop", form, "public.(orders|customers)", skipped_operations="none",
                                             **(AVRO_NAMES if more else {})) | (more or JSON)
                      for form, more in self.forms.items()}  # fmt: skip
        with Connect(self.broker, connectors) as worker:
            ingest = self.ingest()
            self.assertEqual(ingest.wait(), REFUSED, ingest.text()[-2000:])
            self.assertIn("KafkaRights", ingest.text())
            self.allow()
            ingest = self.ingest()
            self.wait_forms(ingest, worker)
            run("update orders set price = price + 1, name = name || ' ☃' where id % 2 = 0; delete from orders where id % 11 = 0")
            run("update orders set id = id + 1000 where id % 17 = 1; insert into customers values (1000, 'new', 'NaN', '1999-12-31 23:59:59.999999')")
            self.wait_forms(ingest, worker)
            self.assert_stopped(ingest)
            run("alter table orders add column late text; update orders set late = 'l' || id where id % 5 = 0; delete from customers where id < 50")
            run("insert into orders (id, late) values (9000, null)")
            ingest = self.ingest()
            self.wait_forms(ingest, worker)
            for form, table in self.units():  # somebody adds partitions: each begins by itself
                self.broker.grow(f"{form}.public.{table}", 5)
            run("update orders set n = n + 1; update customers set score = score + 1")
            self.wait_forms(ingest, worker)
            self.assert_stopped(ingest)


class Declared(IngestCase):
    """Topics that Debezium wrote in JSON without schemas, told this and that: the units say what, the tables their columns."""

    bare = {f"{side}.{name}": value for side in ("key", "value") for name, value in (
        ("converter", "org.apache.kafka.connect.json.JsonConverter"), ("converter.schemas.enable", "false"))}  # fmt: skip
    columns = {
        "coarse": {"id": "int", "part": "string", "price": "decimal(12,2)", "at": "timestamptz", "on_day": "date", "made": "timestamp",
                   "tick": "time", "raw": "binary", "mark": "uuid", "ok": "boolean", "score": "double", "doc": "string", "body": "string"},
        "fine": {"id": "long", "any_number": "decimal(30,6)", "made": "timestamp", "made_3": "timestamp", "tick": "time", "tick_0": "time"},
    }  # fmt: skip
    keys = {"coarse": ["id", "part"], "fine": ["id"]}
    open_times = {"milliseconds": ["made_3", "tick_0"], "microseconds": ["made", "tick"]}
    forms = {  # time, decimal, binary: as Debezium is told; as the unit says it; columns of which it can't say the unit
        "adaptive": (("adaptive", "precise", "bytes"), {}, ("made", "made_3", "tick", "tick_0")),
        "times": (("adaptive_time_microseconds", "precise", "base64"), {"time": "AdaptiveMicroseconds", "binary": "Base64"}, ("made", "made_3")),
        "connect": (("connect", "string", "hex"), {"time": "Connect", "decimal": "String", "binary": "Hex"}, ()),
        "micros": (("microseconds", "double", "base64-url-safe"), {"time": "Microseconds", "decimal": "Double", "binary": "Base64UrlSafe"}, ()),
        "nanos": (("nanoseconds", "string", "bytes"), {"time": "Nanoseconds", "decimal": "String"}, ()),
    }  # fmt: skip

    def units(self):
        """What is finer than a millisecond does not get through Connect's own types."""
        return [(form, table) for form in self.forms for table in self.columns if (form, table) != ("connect", "fine")]

    def records(self, form: str, table: str) -> dict:
        _, modes, unsaid = self.forms[form]
        lists = {unit: [name for name in names if name in unsaid and name in self.columns[table]] for unit, names in self.open_times.items()}
        return {"schemas": False} | modes | {unit: names for unit, names in lists.items() if names}

    def write_units(self):
        (self.folder / "manifest.yaml").write_text("---\n".join(f"""\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {self.unit}-{table}-{form}}}
spec:
  kafka:
    topic: {self.prefix}{form}.public.{table}
    brokers: "{self.broker.bootstrap}"
    incomingData: Debezium
    records: {json.dumps(self.records(form, table))}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {self.warehouse}}}
      database: {form}
      tableName: {table}
      commitInterval: 1s
      idColumns: {json.dumps(self.keys[table])}
      columns: {json.dumps([{"name": name, "type": kind} for name, kind in self.columns[table].items()])}
""" for form, table in self.units()))

    def wait_units(self, *agents):
        for form, table in self.units():
            self.wait_equal(*agents, tables=f"public.{table}={form}/{table}")

    def test_debezium(self):
        run = self.connection.execute
        run("create table coarse (id int, part text, price numeric(12,2), at timestamptz, on_day date, made timestamp, tick time, raw bytea,"
            " mark uuid, ok boolean, score double precision, doc jsonb, body text, primary key (id, part))")  # fmt: skip
        run("alter table coarse alter column body set storage external")
        run("create table fine (id bigint primary key, any_number numeric, made timestamp, made_3 timestamp(3), tick time, tick_0 time(0))")
        run("insert into coarse select i, 'p' || i % 5, i / -7.0, now() - i * interval '1 hour', current_date - i, '1969-12-31 23:59:58.5'::timestamp"
            " + i * interval '17 ms', '23:59:58.877'::time - i * interval '3 ms', sha256(i::text::bytea), gen_random_uuid(), i % 3 = 0, i / 3.0,"
            " jsonb_build_object('i', i, 'no', null), repeat(md5(i::text), 500) from generate_series(1, 300) i")  # fmt: skip
        run("insert into coarse (id, part) values (0, 'nothing'), (-1, E'☃ \"\\\\')")
        run("insert into fine select i, (i / -7.0)::numeric(30,6), timestamp '1999-12-31 23:59:59.999999' + i * interval '1 s', now(),"
            " '00:00:00.000001', '23:59:59' from generate_series(1, 300) i")  # fmt: skip
        for form in self.forms:
            for table in self.columns:
                self.broker.create_topic(f"{self.prefix}{form}.public.{table}", partitions=3)
        self.write_units()
        connectors = {}
        for form, (told, _, _) in self.forms.items():
            modes = dict(zip(("time_precision_mode", "decimal_handling_mode", "binary_handling_mode"), told))
            connectors[form] = Connect.postgres(self.postgres, "shop", self.prefix + form, "public.(coarse|fine)", **modes) | self.bare
        with Connect(self.broker, connectors) as worker:
            ingest = self.ingest()
            self.wait_units(ingest, worker)
            run("update coarse set price = -price, score = 'NaN' where id % 2 = 0; delete from coarse where id % 11 = 1")  # body is left out
            run("update coarse set part = 'moved', body = body || '☃' where id % 17 = 2; update fine set any_number = 123456789.123456 where id % 3 = 1")
            run("insert into fine values (1000, -0.000001, '1700-01-01', '2199-12-31 23:59:59.999', '23:59:59.999999', '00:00')")
            self.wait_units(ingest, worker)
            self.assert_stopped(ingest)
            run("alter table fine add column late date; update fine set late = '2024-02-29' where id % 5 = 0; delete from fine where id < 10")
            self.columns = self.columns | {"fine": self.columns["fine"] | {"late": "date"}}
            self.write_units()
            ingest = self.ingest()
            run("update fine set made = made + interval '1 us', late = '1970-01-01'")
            self.wait_units(ingest, worker)
            self.assert_engines_of("coarse", "fine")
            self.assert_stopped(ingest)

    def assert_engines_of(self, *tables):
        for form, table in self.units():
            same, output = self.compared("pyiceberg", f"public.{table}={form}/{table}")
            self.assertTrue(same, f"{form} {table}: {output}")


if __name__ == "__main__":
    unittest.main()
