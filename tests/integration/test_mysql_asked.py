"""What a person asks of an agent that follows MySQL or MariaDB: tables copied again, once for each id; a pause."""

import unittest

from test_mysql import SECONDS, Base

from harness.agent import REFUSED
from harness.mysql_lake import difference
from harness.wait import wait_until

ROWS = 2000


class Asked(Base):
    def setUp(self):
        super().setUp()
        for table in "t", "u":
            self.execute(f"create table {table} (id int auto_increment primary key, a varchar(50), n int)")
            self.execute(f"insert into {table} (a, n) values " + ", ".join(f"('{table}{i}', {i})" for i in range(ROWS)))

    def said(self, agent, state: str) -> list[str]:
        """The ids of requests of which the log says so."""
        words = "tables that were asked to be copied again"
        return [line["id"] for line in agent.lines() if line["msg"] == words and line["state"] == state]

    def copied(self, agent) -> list[str]:
        return sorted(line["table"] for line in agent.lines() if line["msg"] == "table copied")

    def figure(self, agent, name: str) -> float:
        return next((value for series, value in agent.metrics().items() if series.startswith(name + "{")), 0)

    def run_once(self, wanted: str = None, **options):
        """An agent, until what is asked for is done and the lake has the same rows."""
        agent = self.start(**options)
        if wanted:
            wait_until(lambda: wanted in self.said(agent, "Done"), SECONDS, f"{wanted} is done", agent.alive)
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)
        return agent

    def write(self, cursor, at: int):
        for table in "t", "u":
            cursor.execute(f"update {table} set n = n + 1 where id % 97 = {at % 97}")
            cursor.execute(f"insert into {table} (a, n) values ('more', {at})")
            cursor.execute(f"delete from {table} where id = {at}")

    def test_copied_again_once(self):
        self.assertEqual(self.copied(self.run_once()), ["shop.t", "shop.u"])
        with self.writing(self.write):
            before = self.rounds
            agent = self.start(resnapshot="shop.t first alice@example.com")
            wait_until(lambda: "first" in self.said(agent, "Done"), SECONDS, "it is done", agent.alive)
            wait_until(lambda: self.rounds > before, SECONDS, "it was written to meanwhile")
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)
        self.assertEqual(self.copied(agent), ["shop.t"])
        self.assertTrue([line for line in agent.lines() if line.get("by") == "alice@example.com"])
        # neither a start nor another word for the same id does it again
        self.assertEqual(self.copied(self.run_once("first", resnapshot="shop.t first")), [])
        self.assertEqual(self.copied(self.run_once("first", resnapshot="shop.* first")), ["shop.u"])

    def test_killed_while_it_copies_again(self):
        self.run_once()
        agent = self.start(crash_at="copy-committed", resnapshot="shop.t once")
        agent.wait(SECONDS)
        self.assertTrue(agent.struck(), agent.text()[-2000:])
        self.execute("update t set n = -1 where id < 100")
        self.run_once("once", resnapshot="shop.t once")
        self.assertEqual(self.copied(self.run_once("once", resnapshot="shop.t once")), [])

    def test_a_statement_is_mended(self):
        """What ended the agent is mended by what is asked for."""
        self.run_once()
        self.execute("set session binlog_format = 'STATEMENT'")
        self.execute("update t set n = 7 where id = 5")
        self.execute("set session binlog_format = 'ROW'")
        agent = self.start()
        self.assertEqual(agent.wait(SECONDS), REFUSED, agent.text()[-2000:])
        self.run_once("mended", resnapshot="shop.t mended")

    def test_refused(self):
        agent = self.start(resnapshot="shop.nosuch nothing")
        wait_until(lambda: "nothing" in self.said(agent, "Refused"), SECONDS, "it is refused", agent.alive)
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)

    def test_paused(self):
        self.run_once()
        agent = self.start(http=True, state="Paused")
        wait_until(lambda: self.figure(agent, "firn_phase") == 7, SECONDS, "it pauses", agent.alive)
        self.execute("update t set a = repeat('x', 50)")
        written = ROWS * 50
        # the log that will be needed is measured
        wait_until(lambda: self.figure(agent, "firn_log_retained_bytes") > written, SECONDS, "the log that is kept grows", agent.alive)
        self.assertIn("first difference", difference(self.connection, self.warehouse, "t"))
        self.assertGreater(self.figure(agent, "firn_freshness_seconds"), 0)
        self.assert_stopped(agent)
        self.run_once()


class MariadbAsked(Asked, unittest.TestCase):
    kind = "MariaDB"


class MysqlAsked(Asked, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main()
