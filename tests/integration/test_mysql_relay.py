"""firn-agent capture of MySQL and MariaDB: every type, copied and streamed, in Debezium's envelope; live traffic, DDL,
TRUNCATE, kill -9 and a broker that is killed. Every topic, folded by key, is its table; what the block `source` says of a
row is where the server's own log has it."""

import json
import os
import random
import time
import unittest

from test_mysql import SECONDS, Base
from test_mysql_kill import Kills, Traffic, crash_points

from harness.agent import Agent
from harness.kafka import Registry
from harness.kafka_secure import SecureBroker
from harness.mysql_relay import MysqlTopic, difference, stream_manifest
from harness.mysql_types import MORE, ODD, TYPES
from harness.relay import Header
from harness.wait import TimedOut, wait_until

KILLS = int(os.environ.get("FIRN_KILLS", "6"))
SEED = int(os.environ.get("FIRN_SEED", "0")) or random.randrange(1, 1 << 30)


class RelayBase(Base):
    number = 0
    brokers = SecureBroker

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.broker = cls.brokers()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)

    def setUp(self):
        super().setUp()
        RelayBase.number += 1
        self.prefix = f"t{RelayBase.number}"
        self.registry = None

    def start(self, crash_at: str = None, arguments=(), **fields) -> Agent:
        path = self.folder / "manifest.yaml"
        path.write_text(stream_manifest(self.server, self.broker.bootstrap, prefix=self.prefix, registry=self.registry, **fields))
        path.chmod(0o600)
        self.runs += 1
        agent = Agent(path, self.folder / f"agent-{self.runs}.log", crash_at, confirm_ms=100, arguments=arguments, subcommand="capture")
        self.addCleanup(agent.__exit__)
        return agent

    def topic(self, table: str) -> MysqlTopic:
        return MysqlTopic(self.broker, self.prefix, self.connection, table, self.registry)

    def values(self, table: str) -> list[dict]:
        """Of the envelopes, in the order of one partition."""
        return [json.loads(message.value()) for message in self.broker.read(f"{self.prefix}.shop.{table}") if message.value()]

    def wait_equal(self, agent: Agent, *tables: str, repeats: bool = True) -> dict[str, MysqlTopic]:
        """Nobody writes any more: the topics come to be the tables."""
        said, topics = {}, {}

        def equal():
            for table in tables:
                said[table], topics[table] = difference(self.broker, self.prefix, self.connection, table, self.registry, repeats)
            return not any(said.values())

        def known():  # topics are made with the first flow
            return all(f"{self.prefix}.shop.{table}" in self.broker.topics() for table in tables)

        wait_until(known, SECONDS, "topics are there", agent.alive)
        try:
            wait_until(equal, SECONDS, "topics and source are equal", agent.alive)
        except TimedOut as error:
            raise AssertionError(f"{error}: {said}; {agent.text()[-2000:]}") from None
        return topics


class Relay(RelayBase):
    def make_every(self):
        types = TYPES | MORE[self.kind]
        columns = ", ".join(f"`{name}` {kind}" for name, (kind, *_) in types.items())
        self.execute("set sql_mode = 'ALLOW_INVALID_DATES'")
        self.execute(f"create table every (id int primary key, {columns})")
        return {name: values for name, (_, *values) in types.items() if values}

    def fill(self, given: dict, first: int):
        for at in range(5):
            values = ", ".join(values[(at + k) % 3] for k, values in enumerate(given.values()))
            self.execute(f"insert into every (id, {', '.join(given)}) values ({first + at}, {values})")
        self.execute(f"insert into every (id) values ({first + 5})")

    def follow_every(self):
        given = self.make_every()
        self.fill(given, 0)
        agent = self.start(partitions=1)
        self.wait_equal(agent, "every")
        self.fill(given, 1000)
        for first in (0, 1000):
            for at in range(3):
                values = ", ".join(f"{name} = {values[(at + 1) % 3]}" for name, values in given.items())
                self.execute(f"update every set {values} where id = {first + at}")
            self.execute(f"delete from every where id = {first + 4}")
            self.execute(f"update every set id = {first + 50} where id = {first + 5}")
        topic = self.wait_equal(agent, "every", repeats=False)["every"]
        self.assert_stopped(agent)
        self.assertEqual((topic.ops["r"], topic.ops["u"], topic.ops["d"]), (6, 6, 4))
        self.assertEqual(topic.copied, {0: 1})
        self.execute("update every set id = 7777 where id = 0")  # a comparison that sees nothing would be equal still
        self.assertIn("first difference", difference(self.broker, self.prefix, self.connection, "every", self.registry)[0])

    def test_every_type(self):
        self.follow_every()

    def test_every_type_in_avro(self):
        self.registry = Registry()
        self.registry.start()
        self.addCleanup(self.registry.stop)
        self.follow_every()

    def test_source(self):
        """Where a row comes from is what the server says of its log; and the row as it was stands in `before`."""
        self.execute("create table t (id int primary key, a varchar(20))")
        self.execute("insert into t values (1, 'copied')")
        agent = self.start(partitions=1, records="{transactions: true}")
        self.wait_equal(agent, "t")
        self.execute("insert into t values (2, 'a'), (3, 'b')")
        self.execute("update t set a = concat(a, '!') where id > 1")
        self.execute("delete from t where id = 3")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        copied, *streamed = self.values("t")
        self.assertEqual([value["op"] for value in streamed], ["c", "c", "u", "u", "d"])
        self.assertEqual((copied["op"], copied["before"], copied["source"]["server_id"], copied["source"]["row"]), ("r", None, 0, 0))
        self.assertEqual([value["source"]["row"] for value in streamed], [0, 1, 0, 1, 0])
        self.assertEqual([value["before"] for value in streamed], [None, None, {"id": 2, "a": "a"}, {"id": 3, "a": "b"}, {"id": 3, "a": "b!"}])
        file = streamed[0]["source"]["file"]
        log = self.execute(f"show binlog events in '{file}'")
        kinds = {event[1]: event[2].lower() for event in log}
        gtids = [event[5] for event in log if event[2].lower() == "gtid"][-3:]
        for value in streamed:
            source = value["source"]
            self.assertEqual((source["connector"], source["db"], source["table"]), (self.kind.lower(), "shop", "t"))
            self.assertIn("_rows", kinds[source["pos"]])
            self.assertEqual((source["server_id"], source["file"], source["snapshot"]), (1, file, "false"))
            self.assertIn(source["gtid"], " ".join(gtids))
            self.assertEqual(value["transaction"]["id"], source["gtid"])
            self.assertLess(abs(source["ts_ms"] / 1000 - time.time()), 600)
        self.assertEqual([value["transaction"]["total_order"] for value in streamed], [1, 2, 1, 2, 1])
        self.assertEqual(len({value["source"]["gtid"] for value in streamed}), 3)
        self.assertEqual(all(value["source"]["thread"] for value in streamed), self.kind == "MySQL")
        ends = [json.loads(message.value()) for message in self.broker.read(f"{self.prefix}.transaction")]
        self.assertEqual([(each["status"], each["event_count"]) for each in ends],
                         [("BEGIN", None), ("END", 2), ("BEGIN", None), ("END", 2), ("BEGIN", None), ("END", 1)])  # fmt: skip

    def test_no_moments(self):
        """Dates that are none: null, or 1970 where a column is NOT NULL; in a key they stop. Times of any length are exact."""
        self.execute("set sql_mode = 'ALLOW_INVALID_DATES'")
        columns = ", ".join(f"{name} {kind}" for name, (kind, *_) in ODD.items())
        self.execute(f"create table odd (id int primary key, {columns}, d date not null, s timestamp not null)")
        given = {name: values for name, (_, *values) in ODD.items()}

        def fill(first):
            for at in range(3):
                values = ", ".join(values[at] for values in given.values())
                self.execute(f"insert into odd (id, {', '.join(given)}, d, s) values ({first + at}, {values}, '0000-00-00', '0000-00-00')")

        def there(count):
            return lambda: f"{self.prefix}.shop.odd" in self.broker.topics() and len(self.topic("odd").rows) == count

        fill(0)
        agent = self.start(partitions=1)
        wait_until(there(3), SECONDS, "the rows are copied", agent.alive)
        fill(10)
        wait_until(there(6), SECONDS, "the rows are streamed", agent.alive)
        rows = sorted(self.topic("odd").rows.values(), key=lambda row: row["id"])
        for copied, streamed in zip(rows[:3], rows[3:]):
            self.assertEqual(copied | {"id": 0}, streamed | {"id": 0})
        self.assertEqual([row["o_date"] and str(row["o_date"]) for row in rows[:3]], [None, None, "2026-01-01"])
        self.assertEqual([row["o_datetime"] for row in rows[:2]], [None, None])
        self.assertEqual([row["o_stamp"] and str(row["o_stamp"]) for row in rows[:3]], [None, "2026-01-01 00:00:00", None])
        self.assertEqual([row["o_time"] for row in rows[:3]], ["-838:59:59.000", "838:59:59.000", "-00:00:01.500"])
        self.assertEqual({(str(row["d"]), str(row["s"])) for row in rows}, {("1970-01-01", "1970-01-01 00:00:00")})
        self.assert_stopped(agent)
        self.execute("create table in_key (d date primary key)")
        self.execute("insert into in_key values ('0000-00-00')")
        self.prefix += "key"
        agent = self.start(include='["shop.in_key"]')
        wait_until(lambda: "BadValue" in agent.text(), SECONDS, "a key that is no date is refused")

    def test_unsigned(self):
        """bigint unsigned is exact; as a long what is larger goes to the dead letters, and the flow goes on."""
        self.execute("create table t (id int primary key, n bigint unsigned)")
        self.execute("insert into t values (1, 18446744073709551615), (2, 9223372036854775807)")
        agent = self.start(partitions=1, records="{bigintUnsigned: Long}")
        self.execute("insert into t values (3, 7)")
        name = f"{self.prefix}.shop.t"
        wait_until(lambda: name in self.broker.topics() and len(self.values("t")) == 2, SECONDS, "rows are there", agent.alive)
        self.assertEqual(sorted(value["after"]["n"] for value in self.values("t")), [7, 9223372036854775807])
        letters = f"{self.prefix}.firn-dead-letters"
        wait_until(lambda: letters in self.broker.topics() and self.broker.count(letters), SECONDS, "a dead letter", agent.alive)
        self.assertTrue(any(b'"n":"AP//////////"' in message.value() for message in self.broker.read(letters)))
        self.assert_stopped(agent)

    def test_columns_and_truncate(self):
        self.execute("create table t (id int primary key, a int not null default 7, b varchar(20))")
        self.execute("insert into t (id, b) values (1, 'one'), (2, 'two')")
        agent = self.start(records="{schemas: true}")
        self.wait_equal(agent, "t")
        self.execute("alter table t add column c decimal(10,2) after id, rename column b to d")
        self.execute("insert into t values (3, 1.5, 8, 'three')")
        self.execute("update t set c = 2.25, d = upper(d)")  # older records have the older name
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        self.execute("alter table t modify a bigint not null, drop column d")
        self.execute("insert into t values (4, 4.75, 5000000000)")
        agent = self.start(records="{schemas: true}")
        self.execute("update t set a = a + 1")
        topic = self.wait_equal(agent, "t")["t"]
        versions = {Header(message).version for message in topic.messages}
        self.assertEqual(versions, {1, 2, 3})
        newest = max(topic.messages, key=lambda message: Header(message).position)
        fields = json.loads(newest.value())["schema"]["fields"][1]["fields"]
        self.assertEqual([(field["field"], field["type"]) for field in fields], [("id", "int32"), ("c", "bytes"), ("a", "int64")])
        self.execute("truncate table t")
        self.execute("insert into t values (9, null, 9)")
        self.assertEqual(len(self.wait_equal(agent, "t")["t"].rows), 1)
        wait_until(lambda: self.topic("t").ops["t"] == 3, SECONDS, "each partition is told", agent.alive)
        self.assert_stopped(agent)


class RelayFaults(RelayBase):
    TABLES = ("orders", "words")
    make = Kills.make
    wait_struck = Kills.wait_struck

    def setUp(self):
        super().setUp()
        os.environ["FIRN_COPY_RANGE_KEYS"] = "400"
        self.addCleanup(os.environ.pop, "FIRN_COPY_RANGE_KEYS", None)
        print(f"seed {SEED}")
        self.make()

    def kills(self, delivery: str, copying: list[str], streaming: list[str]):
        """First in the copy, in the order in which points are passed, then in the stream; transactional readers see nothing twice."""
        pick = random.Random(SEED)
        with Traffic(self.server, SEED):
            for point in copying:
                self.wait_struck(self.start(crash_at=point, delivery=delivery))
            for at in range(KILLS):
                self.execute(f"alter table words comment '{at}'")
                self.wait_struck(self.start(crash_at=f"{pick.choice(streaming)}:{pick.randrange(1, 4)}", delivery=delivery))
            agent = self.start(delivery=delivery)
            time.sleep(pick.uniform(0.05, 2))  # a moment is what is wanted, not that something is over
            agent.kill()
        agent = self.start(delivery=delivery)
        self.wait_equal(agent, *self.TABLES, repeats=delivery == "Idempotent")
        self.assert_stopped(agent)
        self.assert_told([f"alter table words comment '{at}'" for at in range(KILLS)], delivery == "Idempotent")

    def assert_told(self, statements: list[str], repeats: bool):
        """The topic of schema changes has them in order, each once; one that is repeated stands at the same place of the log."""
        found = [json.loads(message.value()) for message in self.broker.read(self.prefix)]
        places = {}
        for value in found:
            if value["source"]["snapshot"] == "false":
                place = value["source"]["file"], value["source"]["pos"]
                self.assertEqual(places.setdefault(place, value["ddl"]), value["ddl"])
        self.assertEqual([ddl for _, ddl in sorted(places.items())], statements)
        streamed = [value["ddl"] for value in found if value["source"]["snapshot"] == "false"]
        if repeats:
            streamed = list(dict.fromkeys(streamed))
        self.assertEqual(streamed, statements)

    def test_kills_idempotent(self):
        self.kills("Idempotent", crash_points("relay-copy"), crash_points("relay-stream"))

    def test_kills_transactional(self):
        stream = set(crash_points("relay-stream", "relay-transaction")) - {"relay-acknowledged", "relay-state-written"}
        self.kills("Transactional", crash_points("relay-copy"), sorted(stream))

    def test_broker_restarts(self):
        agent = self.start()
        with Traffic(self.server, SEED) as traffic:
            for _ in range(2):
                more = traffic.done + 30
                wait_until(lambda: traffic.done > more, SECONDS, "traffic goes on", agent.alive)
                self.broker.kill()
                more = traffic.done + 30
                wait_until(lambda: traffic.done > more, SECONDS, "traffic goes on without the broker", agent.alive)
                self.broker.start_again()
        self.wait_equal(agent, *self.TABLES)
        self.assert_stopped(agent)


class MariadbRelay(Relay, unittest.TestCase):
    kind = "MariaDB"


class MysqlRelay(Relay, unittest.TestCase):
    kind = "MySQL"


class MariadbRelayFaults(RelayFaults, unittest.TestCase):
    kind = "MariaDB"


class MysqlRelayFaults(RelayFaults, unittest.TestCase):
    kind = "MySQL"
    settings = {"binlog_transaction_compression": "ON"}


if __name__ == "__main__":
    unittest.main()
