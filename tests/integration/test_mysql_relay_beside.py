"""firn-agent capture copies tables of MySQL and MariaDB once more beside the stream (spec.stream.resnapshot, or as a person
asks by the annotation). The topics begin
without the rows that were there before (snapshot.mode Never), so that whatever is missing from the copy is missing in the end;
keys are of every kind, the tables are written to meanwhile, and the agent is killed in the middle."""

import os
import random
import signal
import unittest

from test_mysql import SECONDS
from test_mysql_relay import RelayBase

from harness.mysql_relay import difference
from harness.wait import wait_until

ROWS = 1000
CHUNK = 150
# table: its key's columns, and those of the row with a number
KEYS = {
    "k_int": ("a int, primary key (a)", "seq - 500"),
    "k_big": ("a bigint unsigned, primary key (a)", "18446744073709551615 - seq"),
    "k_text": ("a varchar(40) character set latin1, primary key (a)", "concat(char(65 + seq % 50 using latin1), '''\\\\', seq)"),
    "k_pair": ("a int, b varchar(20), c date, primary key (c, a, b)", "seq % 7, concat('k', seq), date '2026-01-01' + interval seq % 3 day"),
    "k_bytes": ("a varbinary(8), b tinyint, primary key (a, b)", "unhex(lpad(hex(seq * 7919), 6, '0')), seq % 2"),
    "k_odd": ("a enum('z','y','x'), b decimal(12,3), c bit(12), primary key (a, b, c)", "1 + seq % 3, seq / 8, seq"),
    "k_time": ("a datetime(3), b time(2), primary key (a, b)", "timestamp'2026-01-01 00:00:00.5' + interval seq second, sec_to_time(seq)"),
}


class Beside(RelayBase):
    def setUp(self):
        super().setUp()
        self.agents, self.dice = [], random.Random(4711)
        os.environ["FIRN_CHUNK_ROWS"] = str(CHUNK)
        self.addCleanup(os.environ.pop, "FIRN_CHUNK_ROWS")
        self.execute("create table mark (id int auto_increment primary key)")
        self.execute("create table numbers (seq int primary key)")
        self.execute("insert into numbers values " + ", ".join(f"({number})" for number in range(1, ROWS + 1)))
        for table, (columns, values) in KEYS.items():
            key, _, primary = columns.partition(", primary")
            self.execute(f"create table {table} ({key}, n int default 0, body varchar(50), primary{primary})")
            names = ", ".join(part.split()[0] for part in key.split(", "))
            self.execute(f"insert into {table} ({names}) select {values} from numbers")

    def start(self, *arguments, **options):
        self.agents.append(super().start(*arguments, snapshot="Never", **options))
        return self.agents[-1]

    def asked(self, number: str, tables: str = '"shop.k_*"') -> str:
        return f"    resnapshot: {{id: \"{number}\", tables: [{tables}]}}\n"

    def copied(self, *agents) -> set:
        lines = [line for agent in agents or self.agents for line in agent.lines()]
        return {line["table"] for line in lines if line["msg"] == "table copied beside the stream"}

    def lacking(self, *tables: str) -> list[str]:
        """Those whose topics are not the tables."""
        return [table for table in tables if difference(self.broker, self.prefix, self.connection, table, None)[0]]

    def said(self, agent, state: str) -> dict:
        """Requests of which the log says so, and why."""
        words = "tables that were asked to be copied again"
        return {line["id"]: line.get("reason", "") for line in agent.lines() if line["msg"] == words and line["state"] == state}

    def wait_said(self, agent, state: str, number: str) -> str:
        wait_until(lambda: number in self.said(agent, state), SECONDS, f"{number} is {state}", agent.alive)
        return self.said(agent, state)[number]

    def begin(self, **options):
        """The stream has begun, without the rows of before."""
        agent = self.start(**options)

        def followed():
            self.execute("insert into mark values ()")
            return f"{self.prefix}.shop.mark" in self.broker.topics() and self.values("mark")

        wait_until(followed, SECONDS, "the log is followed", agent.alive)
        self.assert_stopped(agent)
        self.assertEqual(self.lacking(*KEYS), list(KEYS))

    def write(self, cursor, number: int):
        """All tables are changed: values, keys, rows that come and go."""
        table, at = self.dice.choice(list(KEYS)), self.dice.randrange(ROWS)
        cursor.execute(f"update {table} set n = n + 1, body = 'changed' where n < 3 order by body, n limit {1 + at % 5}")
        if at % 3 == 0:
            cursor.execute(f"delete from {table} where n > 1 order by a limit 1")
        if table == "k_int":
            cursor.execute(f"insert ignore into k_int (a, body) values ({ROWS + at}, 'new')")
            cursor.execute(f"update k_int set a = {2 * ROWS} + {number} where a < {ROWS} order by a desc limit 1")

    def kill_at(self, point: str, **options):
        agent = self.start(crash_at=point, **options)
        self.assertEqual(agent.wait(SECONDS), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
        self.assertTrue(agent.struck(), f"{point} did not strike: {agent.text()[-2000:]}")

    def went_on(self) -> bool:
        return any("going on copying table beside the stream" in each.text() for each in self.agents)

    def copy_under_traffic(self, delivery: str):
        self.begin(delivery=delivery)
        options = {"delivery": delivery, "more_stream": self.asked("one")}
        with self.writing(self.write):
            for point in "relay-chunk-read:2", "relay-chunk-sent:2":
                self.kill_at(point, **options)
            settled = 3
            while not self.went_on():  # what is settled is recorded a moment later, or lost with the process
                self.kill_at(f"relay-chunk-settled:{settled}", **options)
                settled += 4  # of 49
            agent = self.start(**options)
            wait_until(lambda: len(self.copied()) == len(KEYS), 2 * SECONDS, "all are copied", agent.alive)
            wait_until(lambda: self.rounds > 20, SECONDS, "the tables were written to")
        self.wait_equal(agent, *KEYS)
        self.assert_stopped(agent)

    def test_idempotent(self):
        self.copy_under_traffic("Idempotent")

    def test_transactional(self):
        self.copy_under_traffic("Transactional")

    def test_quiet(self):
        """Nobody writes: the log stands still, and chunks come all the same; columns follow; once for each id."""
        self.begin()
        agent = self.start(more_stream=self.asked("one"))
        wait_until(lambda: len(self.copied()) == len(KEYS), 2 * SECONDS, "all are copied", agent.alive)
        self.wait_equal(agent, *KEYS)
        self.execute("alter table k_int add column more int")
        self.execute("insert into k_int (a, more) values (5000, 7)")
        self.wait_equal(agent, "k_int")
        self.assert_stopped(agent)
        self.agents.clear()
        agent = self.start(more_stream=self.asked("one"))
        self.execute("insert into k_int (a) values (5001)")
        self.wait_equal(agent, "k_int")
        self.assert_stopped(agent)
        self.assertEqual(self.copied(), set())
        agent = self.start(more_stream=self.asked("two", '"shop.k_int"'))
        wait_until(lambda: self.copied() == {"shop.k_int"}, SECONDS, "it is copied again", agent.alive)
        self.wait_equal(agent, *KEYS)
        self.assert_stopped(agent)

    def test_asked(self):
        """A person asks meanwhile: once for each id, those tables and no others."""
        self.begin()
        with self.writing(self.write):
            agent = self.start(resnapshot="shop.k_int,shop.k_pair one alice@example.com")
            self.wait_said(agent, "Done", "one")
        self.wait_equal(agent, "k_int", "k_pair")
        self.assertEqual([line["by"] for line in agent.lines() if "by" in line], ["alice@example.com"])
        self.assert_stopped(agent)
        others = [table for table in KEYS if table not in ("k_int", "k_pair")]
        self.assertEqual(self.lacking(*KEYS), others)
        self.execute("create table k_float (a float primary key)")
        self.execute("insert into k_float values (1.5)")
        agent = self.start(resnapshot="shop.k_int,shop.k_b* one")  # neither a start nor another word for the id does it again
        self.wait_said(agent, "Done", "one")
        self.assertEqual(self.copied(agent), {"shop.k_big", "shop.k_bytes"})
        self.assert_stopped(agent)
        agent = self.start(resnapshot="shop.k_float two")
        self.assertIn("column a of its key is a FLOAT or DOUBLE", self.wait_said(agent, "Refused", "two"))
        self.execute("insert into k_int (a) values (5000)")  # and the stream goes on
        self.wait_equal(agent, "k_int", "k_pair", "k_big", "k_bytes")
        self.assert_stopped(agent)
        self.assertEqual(list(self.said(agent, "Refused")), ["two"])


class MariadbBeside(Beside, unittest.TestCase):
    kind = "MariaDB"


class MysqlBeside(Beside, unittest.TestCase):
    kind = "MySQL"


class MysqlWithoutGtids(Beside, unittest.TestCase):
    kind = "MySQL"
    settings = {"gtid_mode": "OFF", "enforce_gtid_consistency": "OFF"}
    test_idempotent = test_transactional = test_quiet = test_asked = None

    def test_refused(self):
        """What a snapshot shows is not known there: what a person asks is refused, and the stream goes on; what is declared
        stops it."""
        self.begin()
        agent = self.start(resnapshot="shop.k_int one")
        self.assertIn("gtid_mode = ON", self.wait_said(agent, "Refused", "one"))
        count = len(self.values("mark"))
        self.execute("insert into mark values ()")
        wait_until(lambda: len(self.values("mark")) > count, SECONDS, "the stream goes on", agent.alive)
        self.assert_stopped(agent)
        agent = self.start(more_stream=self.asked("one"))
        self.assertEqual(agent.wait(SECONDS), 3, agent.text()[-2000:])
        self.assertIn("gtid_mode = ON", agent.text())


if __name__ == "__main__":
    unittest.main()
