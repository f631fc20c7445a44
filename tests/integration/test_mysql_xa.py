"""Transactions of XA: their rows stand in the log where they are prepared, and come to the lake where they are committed,
and only then, whatever lies between: other transactions, the copy, a restart of the agent or of the server, a kill."""

import random
import unittest

import pymysql
from test_mysql import SECONDS, Base

from harness.mysql_lake import lake_rows
from harness.wait import wait_until

XAER_NOTA = 1397


class Xa(Base):
    def setUp(self):
        super().setUp()
        self.execute("create table t (id int primary key, a varchar(200))")
        self.execute("create table u (id int primary key, a varchar(200))")
        self.execute("create table other (id int primary key)")
        self.execute("insert into t values (1, 'one')")
        self.addCleanup(self.roll_back_all)

    def roll_back_all(self):
        """What is prepared outlives its session, and keeps the table from being dropped."""
        for _, _, _, name in self.server.execute("xa recover"):
            self.end("rollback", name)

    def prepare(self, name: str, *statements: str):
        with self.server.connect() as session, session.cursor() as cursor:
            cursor.execute(f"xa start '{name}'")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute(f"xa end '{name}'")
            cursor.execute(f"xa prepare '{name}'")

    def end(self, how: str, name: str):
        """Once the server has seen that the session in which it was prepared is over: until then nobody else's is it."""

        def ended() -> bool:
            try:
                self.server.execute(f"xa {how} '{name}'")
            except pymysql.err.MySQLError as error:
                if error.args[0] != XAER_NOTA:
                    raise
                return False
            return True

        wait_until(ended, SECONDS, f"{name} can be ended")

    def one_phase(self, name: str, *statements: str):
        self.execute(f"xa start '{name}'")
        for statement in statements:
            self.execute(statement)
        self.execute(f"xa end '{name}'")
        self.execute(f"xa commit '{name}' one phase")

    def test_while_streaming(self):
        agent = self.start()
        self.wait_equal(agent, "t", "u")
        self.one_phase("one", "insert into t values (2, 'two')", "update t set a = 'ONE' where id = 1", "insert into u values (1, 'u')")
        self.wait_equal(agent, "t", "u")
        self.prepare("kept", "insert into t values (3, 'three')", "insert into u values (3, 'three')", "delete from t where id = 2")
        self.prepare("gone", "insert into t values (4, 'four')")
        self.prepare("other", "insert into other values (1)")
        self.execute("insert into u values (5, 'between')")
        self.wait_equal(agent, "t", "u")  # as the server shows it: nothing of what is prepared
        self.end("rollback", "gone")
        self.end("commit", "other")
        self.end("commit", "kept")
        self.execute("update t set a = concat(a, '!') where id = 3")
        self.wait_equal(agent, "t", "u")
        self.prepare("kept", "update t set a = 'the name is used again' where id = 3")
        self.end("commit", "kept")
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)

    def test_across_starts(self):
        """Prepared before the copy, or by a time that this agent did not see, and in a file that was left long ago."""
        self.prepare("copy", "insert into t values (10, 'before the copy')", "update t set a = 'x' where id = 1")
        agent = self.start()
        self.execute("insert into u values (1, 'u')")
        self.wait_equal(agent, "t", "u")
        self.end("commit", "copy")
        self.wait_equal(agent, "t", "u")
        self.prepare("seen", "insert into t values (11, 'seen')")
        self.execute("insert into u values (2, 'u')")
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)
        self.prepare("unseen", "insert into t values (12, 'unseen')", "delete from t where id = 10")
        self.prepare("void", "insert into t values (13, 'void')")
        self.server.execute("flush binary logs")
        self.execute("insert into u values (3, 'u')")
        self.server.execute("flush binary logs")
        agent = self.start()
        self.wait_equal(agent, "t", "u")
        self.end("commit", "unseen")
        self.end("rollback", "void")
        self.end("commit", "seen")
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)

    def test_restart_of_the_server(self):
        agent = self.start()
        self.prepare("survives", "insert into t values (20, 'survives')")
        self.execute("insert into u values (1, 'u')")
        self.wait_equal(agent, "t", "u")
        self.server.restart()
        self.connection = self.server.connect()
        self.addCleanup(self.connection.close)
        self.end("commit", "survives")
        self.execute("insert into u values (2, 'u')")
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)

    def test_kill(self):
        agent = self.start(crash_at="mysql-xa-committed")
        self.wait_equal(agent, "t", "u")
        self.prepare("a", *(f"insert into t values ({at}, repeat('x', 150))" for at in range(100, 140)))
        self.execute("insert into u values (1, 'u')")
        self.end("commit", "a")
        wait_until(lambda: agent.process.poll() is not None, SECONDS, "it strikes")
        self.assertTrue(agent.struck(), agent.text()[-2000:])
        agent = self.start()
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)

    def test_changes_come_once(self):
        """In a log of changes: once, behind what was committed before, and nothing of what was rolled back."""
        pick = random.Random(7)
        agent = self.start(mode="Append")
        wait_until(lambda: "table copied" in agent.text() and not agent.copying(), SECONDS, "copied", agent.alive)
        names, kept = [], set()
        for at in range(1000, 1100):
            if pick.random() < 0.5:
                self.prepare(f"x{at}", f"insert into t values ({at}, 'xa')")
                names.append(at)
            else:
                self.execute(f"insert into t values ({at}, 'plain')")
            while names and pick.random() < 0.4:
                key = names.pop(pick.randrange(len(names)))
                self.end(pick.choice(("commit", "rollback")), f"x{key}")
        for key in names:
            self.end("commit", f"x{key}")
        self.execute("insert into t values (2000, 'last')")
        kept = {row[0] for row in self.execute("select id from t where id >= 1000")}
        self.assertLess(len(kept), 101)
        wait_until(lambda: 2000 in self.keys(), SECONDS, "all is there", agent.alive)
        self.assertEqual(sorted(self.keys()), sorted(kept))
        self.assert_stopped(agent)

    def keys(self) -> list[int]:
        return [key for key, in lake_rows(self.warehouse, "t", ["id"]) if key >= 1000]


class MariadbXa(Xa, unittest.TestCase):
    kind = "MariaDB"


class MysqlXa(Xa, unittest.TestCase):
    kind = "MySQL"


class MysqlXaCompressed(Xa, unittest.TestCase):
    kind = "MySQL"
    settings = {"binlog_transaction_compression": "ON"}


if __name__ == "__main__":
    unittest.main()
