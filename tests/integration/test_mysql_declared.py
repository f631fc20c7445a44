"""Topics that Debezium's connectors for MySQL and MariaDB wrote in JSON without schemas, by `firn-agent ingest` into tables whose
columns are declared: the source's, row by row."""

import json
import unittest

from test_mysql_relay import RelayBase
from test_mysql_topic_debezium import JSON, Peer

from harness.agent import OK, Agent
from harness.kafka import Broker, Connect
from harness.mysql_lake import difference
from harness.wait import TimedOut, wait_until

WAIT_SECONDS = 120
COLUMNS = {  # at the source, in the lake
    "id": ("int", "int"), "part": ("varchar(20)", "string"), "n": ("tinyint", "int"), "ok": ("bit(1)", "boolean"),
    "price": ("decimal(12,2)", "decimal(12,2)"), "big": ("bigint unsigned", "decimal(20,0)"), "score": ("double", "double"),
    "made": ("datetime", "timestamp"), "made_3": ("datetime(3)", "timestamp"), "made_6": ("datetime(6)", "timestamp"),
    "at": ("timestamp(6) null", "timestamptz"), "tick": ("time", "time"), "tick_6": ("time(6)", "time"), "on_day": ("date", "date"),
    "in_year": ("year", "int"), "word": ("enum('a','b c')", "string"), "raw": ("varbinary(40)", "binary"), "body": ("longtext", "string"),
}  # fmt: skip
KEY = ("id", "part")
ROWS = """insert into typed select i, concat('p', i % 5), i % 256 - 128, i % 2, i / -7, 18446744073709551615 - i, i / 3,
    '1969-12-31 23:59:58' + interval i hour, '2020-02-03 01:02:03.5' + interval i * 1000 microsecond, '1999-12-31 23:59:59.999999' + interval i second,
    '2020-02-03 01:02:03.000001' + interval i day, sec_to_time(i), '23:59:59.999999', '1000-01-01' + interval i month, 1901 + i % 250,
    if(i % 2, 'a', 'b c'), unhex(sha2(i, 256)), repeat('☃', i) from numbers"""


class Declared(RelayBase):
    brokers = Broker

    def write_unit(self):
        path = self.folder / "unit.yaml"
        path.write_text(f"""\
apiVersion: firn.dev/v1alpha1
kind: IngestionUnit
metadata: {{name: {self.prefix}}}
spec:
  kafka:
    topic: {self.prefix}.shop.typed
    brokers: "{self.broker.bootstrap}"
    incomingData: Debezium
    records: {{schemas: false, time: AdaptiveMicroseconds, milliseconds: [made, made_3], microseconds: [made_6]}}
  outsourcingUnit:
    table:
      catalog: {{type: Directory, warehouse: {self.folder}/lake}}
      database: shop
      tableName: typed
      commitInterval: 1s
      idColumns: {json.dumps(KEY)}
      columns: {json.dumps([{"name": name, "type": kind} for name, (_, kind) in COLUMNS.items()])}
""")
        return path

    def connector(self) -> dict:
        return Connect.mysql(self.server, "shop", self.prefix, self.folder / "history", bigint_unsigned_handling_mode="precise",
                             table_include_list="shop.typed") | {
            "key.converter": JSON, "value.converter": JSON, "key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false",
        }  # fmt: skip

    def wait_table(self, agent: Agent, connect: Connect):
        said = []

        def equal():
            try:
                said[:] = [difference(self.connection, self.folder / "lake", "typed")]
            except Exception as error:  # a table that is not there yet
                said[:] = [f"{type(error).__name__}: {error}"]
            return said == [""]

        def alive():
            agent.alive()
            connect.alive()
            connect.ready()

        try:
            wait_until(equal, WAIT_SECONDS, "table and source are equal", alive)
        except TimedOut as error:
            raise AssertionError(f"{error}: {said}; {agent.text()[-2000:]}") from None

    def test_debezium(self):
        self.execute(f"create table typed ({', '.join(f'{name} {kind}' for name, (kind, _) in COLUMNS.items())}, primary key ({', '.join(KEY)}))")
        self.execute("create table numbers (i int primary key)")
        self.execute(f"insert into numbers values {', '.join(f'({i})' for i in range(1, 301))}")
        self.execute(ROWS)
        self.execute("insert into typed (id, part) values (0, 'nothing')")
        self.broker.create_topic(f"{self.prefix}.shop.typed", partitions=3)
        with Peer(self.broker, {"dbz": self.connector()}) as connect, Agent(self.write_unit(), self.folder / "ingest.log", subcommand="ingest") as agent:
            self.wait_table(agent, connect)
            self.execute("update typed set price = -price, made = made + interval 1 second, made_3 = '2001-01-01 00:00:00.001' where id % 2 = 0")
            self.execute("delete from typed where id % 11 = 1")
            self.execute("update typed set part = 'moved', tick_6 = '00:00:00.000001', in_year = 2155 where id % 17 = 2")
            self.execute("insert into typed (id, part, made, made_6) values (1000, '☃ \"', '9999-12-31 23:59:59', '1000-01-01 00:00:00.000001')")
            self.wait_table(agent, connect)
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])


class MysqlDeclared(Declared, unittest.TestCase):
    kind = "MySQL"


class MariadbDeclared(Declared, unittest.TestCase):
    kind = "MariaDB"


if __name__ == "__main__":
    unittest.main()
