# seconds: 300
"""The records of `firn-agent capture` beside those of Debezium's connectors for MySQL and MariaDB: both follow the same
server, copy and stream the same rows of every type, and every field of key, value and schema is compared, and where the
row comes from. What differs stands in `Differences`, and in README."""

import json
import re
import unittest
import uuid

from test_mysql_relay import RelayBase

from harness.kafka import MYSQL_JARS, Broker, Connect
from harness.mysql import PASSWORD
from harness.mysql_types import MORE, TYPES
from harness.wait import TimedOut, wait_until

JSON = "org.apache.kafka.connect.json.JsonConverter"
CLASSES = {"MySQL": "mysql.MySqlConnector", "MariaDB": "mariadb.MariaDbConnector"}
RIGHTS = "SELECT, RELOAD, LOCK TABLES, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.*"
WAIT_SECONDS = 150
DEFAULTS = """create table defaults (id int primary key, i int not null default 7, n int default 8, s varchar(20) default 'it''s',
    d decimal(10,2) not null default 1.50, f double default 1.5, b bit(1) default b'1', day date default '2020-02-03',
    at datetime(6) default '2020-02-03 01:02:03.5', stamp timestamp(3) not null default current_timestamp(3), t time default '01:02:03',
    e enum('a','b') not null default 'b', big bigint unsigned not null default 9)"""


class Differences:
    """What Debezium makes of our value, where the two differ: so the difference is looked at, too."""

    # Its parser of statements fails on a table that has one.
    UNKNOWN = {"c_inet4", "c_inet6"}

    @staticmethod
    def copied(name: str, value: str) -> str:
        if name in ("c_stamp3", "c_stamp6", "stamp"):  # as few digits as the moment needs, not those of the column
            return re.sub(r"[.]?0+Z$", "Z", value) if "." in value else value
        return value

    @staticmethod
    def streamed(name: str, value: str) -> str:
        if name == "c_latin1":  # a byte that Java's windows-1252 lacks
            return value.replace("\x81", "\ufffd")
        if name == "c_uuid":  # the log leaves zeros at the end out, and it puts them in front
            return str(uuid.UUID(int=int.from_bytes(uuid.UUID(value).bytes.rstrip(b"\0"), "big")))
        if name in ("c_json", "c_json_big"):  # compared parsed; bytes without the server's prefix, moments without zeros
            return value.replace("base64:type15:", "").replace("12.840220", "12.84022")
        return value


class Peer(Connect):
    jars = MYSQL_JARS


class Debezium(RelayBase):
    brokers = Broker  # makes topics for who writes to them

    def connector(self) -> dict:
        self.server.execute(f"create user if not exists 'dbz'@'%' identified by '{PASSWORD}'", None)
        self.server.execute(f"grant {RIGHTS} to 'dbz'@'%'", None)
        return {
            "connector.class": f"io.debezium.connector.{CLASSES[self.kind]}", "tasks.max": 1, "database.hostname": self.server.host,
            "database.port": self.server.port, "database.user": "dbz", "database.password": PASSWORD, "database.server.id": 4242,
            "database.ssl.mode": "disable" if self.kind == "MariaDB" else "disabled", "driver.allowPublicKeyRetrieval": "true",
            "topic.prefix": "dbz", "database.include.list": "shop", "include.schema.changes": "false", "snapshot.locking.mode": "minimal",
            "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
            "schema.history.internal.file.filename": self.folder / "history", "bigint.unsigned.handling.mode": "precise",
            "skipped.operations": "none", "provide.transaction.metadata": "true", "poll.interval.ms": 50,
            "key.converter": JSON, "value.converter": JSON, "key.converter.schemas.enable": "true", "value.converter.schemas.enable": "true",
            "value.converter.replace.null.with.default": "false", "key.converter.replace.null.with.default": "false",
        }  # fmt: skip

    def records(self, prefix: str, table: str) -> list:
        """(key, value) as JSON; tombstones and markers left out."""
        found = [(message.key(), message.value()) for message in self.broker.read(f"{prefix}.shop.{table}") if message.key() and message.value()]
        return [(json.loads(key), json.loads(value)) for key, value in found]

    def fill(self, given: dict, first: int):
        for at in range(4):
            values = ", ".join(values[(at + k) % 3] if at < 3 else "null" for k, values in enumerate(given.values()))
            self.execute(f"insert into every (id, {', '.join(given)}) values ({first + at}, {values})")

    def follow(self):
        types = {name: kind for name, kind in (TYPES | MORE[self.kind]).items() if name not in Differences.UNKNOWN}
        given = {name: values for name, (_, *values) in types.items() if values}
        self.execute("set sql_mode = 'ALLOW_INVALID_DATES'")
        self.execute(f"create table every (id int primary key, {', '.join(f'`{name}` {kind}' for name, (kind, *_) in types.items())})")
        self.execute(DEFAULTS)
        self.execute("create table finish (id int primary key)")
        self.fill(given, 0)
        self.execute("insert into defaults (id) values (1)")
        self.execute("insert into finish values (0)")
        with Peer(self.broker, {"dbz": self.connector()}) as connect:
            agent = self.start(partitions=1, records="{schemas: true, transactions: true}")

            def both_have(count: int):
                names = [f"{prefix}.shop.finish" for prefix in ("dbz", self.prefix)]
                return lambda: set(names) <= set(self.broker.topics()) and all(
                    len(self.records(prefix, "finish")) >= count for prefix in ("dbz", self.prefix))  # fmt: skip

            def alive():
                connect.alive()
                connect.ready()  # raises once it has failed
                agent.alive()

            try:
                wait_until(both_have(1), WAIT_SECONDS, "both have copied", alive)
            except TimedOut as error:
                raise AssertionError(f"{error}; {connect.log()} {agent.text()[-2000:]}") from None
            self.execute("insert into finish values (1)")
            wait_until(both_have(2), WAIT_SECONDS, "both stream", alive)
            self.fill(given, 100)
            self.execute("insert into defaults (id, n) values (2, null), (3, 4)")
            self.execute("update defaults set n = 5")
            sets = ", ".join(f"{name} = {values[2]}" for name, values in given.items())
            self.execute(f"update every set {sets} where id in (0, 103)")
            self.execute("update every set id = 500 where id = 1")
            self.execute("delete from every where id = 2")
            self.execute("insert into finish values (2)")
            wait_until(both_have(3), WAIT_SECONDS, "both have streamed", alive)
            self.assert_stopped(agent)

    # --- comparing ---

    def compare_fields(self, ours: dict, theirs: dict, place: str, streamed: bool):
        if ours is None or theirs is None:
            self.assertEqual(ours, theirs, place)
            return
        self.assertEqual(list(ours), list(theirs), place)
        for name, value in theirs.items():
            own = ours[name]
            if isinstance(own, str):
                own = Differences.streamed(name, own) if streamed else Differences.copied(name, own)
            if name.startswith("c_json") and own and value and self.kind == "MySQL":
                own, value = json.loads(own), json.loads(value)
            if own != value:
                self.said.append(f"{place}.{name}: {str(own)[:200]!r}, Debezium {str(value)[:200]!r}")

    def compare_schema(self, ours: dict, theirs: dict, place: str):
        """Of key, row or block, field by field."""
        ours, theirs = ({field["field"]: field for field in schema["fields"]} for schema in (ours, theirs))
        self.assertEqual(list(ours), list(theirs), place)
        for name, field in theirs.items():
            if name in ("before", "after", "source", "transaction"):
                self.compare_schema(ours[name], field, f"{place}.{name}")
                continue
            if field.get("default") == "it''s":  # it leaves the quote doubled
                field = field | {"default": "it's"}
            if json.dumps(ours[name], sort_keys=True) != json.dumps(field, sort_keys=True):
                self.said.append(f"{place}.{name}: {json.dumps(ours[name])}, Debezium {json.dumps(field)}")

    def compare(self, table: str) -> int:
        ours, theirs = self.records(self.prefix, table), self.records("dbz", table)
        by_key = lambda record: json.dumps(record[0]["payload"])  # noqa: E731: stable, so each key's order stays
        ours, theirs = sorted(ours, key=by_key), sorted(theirs, key=by_key)
        self.assertEqual([(by_key(record), record[1]["payload"]["op"]) for record in ours],
                         [(by_key(record), record[1]["payload"]["op"]) for record in theirs], table)  # fmt: skip
        for number, ((own_key, own), (key, value)) in enumerate(zip(ours, theirs)):
            if number == 0:
                self.compare_schema(own_key["schema"], key["schema"], f"{table} key")
                self.compare_schema(own["schema"], value["schema"], f"{table}")
            own, value = own["payload"], value["payload"]
            op = value["op"]
            place = f"{table} {by_key((own_key, None))} {op}"
            self.assertEqual(list(own), list(value), place)
            for image in ("before", "after"):
                self.compare_fields(own[image], value[image], f"{place} {image}", op != "r")
            mine, source = own["source"] | {"name": "dbz"}, value["source"]
            source["snapshot"] = source["snapshot"] or "false"  # the default, which the converter would put there
            self.assertEqual(list(mine), list(source), place)
            for name, said in source.items():
                if op == "r" and name in ("snapshot", "ts_ms", "ts_us", "ts_ns"):
                    continue
                if mine[name] != said:
                    self.said.append(f"{place} source.{name}: {mine[name]!r}, Debezium {said!r}")
            if own["transaction"] != value["transaction"]:
                self.said.append(f"{place} transaction: {own['transaction']}, Debezium {value['transaction']}")
        return len(ours)

    def test_every_field(self):
        self.said = []
        self.follow()
        self.assertGreaterEqual(self.compare("every"), 12)
        self.assertEqual(self.compare("defaults"), 6)
        self.assertEqual(self.compare("finish"), 3)
        self.assertEqual(self.said, [], "\n" + "\n".join(self.said[:60]))


class MariadbDebezium(Debezium, unittest.TestCase):
    kind = "MariaDB"


class MysqlDebezium(Debezium, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main()
