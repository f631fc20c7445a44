"""How long MySQL and MariaDB keep the binlog that is needed: measured, warned of when it gets short; and a binlog that is
reset while it is read ends the agent, with the way out."""

import os
import unittest

from test_mysql import SECONDS, Base

from harness.agent import REFUSED
from harness.wait import wait_until


class Headroom(Base):
    def setUp(self):
        super().setUp()
        os.environ["FIRN_HEADROOM_MS"] = "100"
        self.addCleanup(os.environ.pop, "FIRN_HEADROOM_MS", None)
        self.execute("create table t (id int primary key, a text)")
        self.execute("insert into t values (1, 'one')")

    def metric(self, agent, name: str) -> float:
        return agent.metrics().get(f'{name}{{connector="default/shop"}}', float("nan"))

    def write(self) -> bool:
        """Something to be committed, though what was there before has just been."""
        self.execute("insert into t select max(id) + 1, repeat('x', 60000) from t as before_it")
        return True

    def keep(self, seconds: int):
        self.server.execute(f"set global binlog_expire_logs_seconds = {seconds}", None)

    def test_measured(self):
        self.keep(86400)
        agent = self.start(http=True, interval="20s")
        agent.wait_ready()
        wait_until(lambda: self.metric(agent, "firn_log_headroom_seconds") == 86400, SECONDS, "nothing is waited for", agent.alive)
        self.assertEqual(self.metric(agent, "firn_log_status"), 1)
        wait_until(lambda: self.write() and self.metric(agent, "firn_log_retained_bytes") > 600000, SECONDS, "what is not committed is counted", agent.alive)
        wait_until(lambda: self.write() and self.metric(agent, "firn_log_headroom_seconds") < 86399, SECONDS, "it gets older", agent.alive)
        self.assertLess(self.metric(agent, "firn_log_headroom_bytes"), 2**62)
        self.keep(1)  # it is older than that: the server may remove it
        wait_until(lambda: self.write() and (self.metric(agent, "firn_log_status"), self.metric(agent, "firn_log_headroom_seconds")) == (3, 0),
                   SECONDS, "it may go", agent.alive)  # fmt: skip
        wait_until(lambda: "LogHeadroom: the source's log gets short" in agent.text(), SECONDS, "that is said", agent.alive)
        wait_until(lambda: self.metric(agent, "firn_log_status") == 1, SECONDS, "once it is committed nothing is needed", agent.alive)
        self.keep(0)
        wait_until(lambda: self.metric(agent, "firn_log_headroom_seconds") == float("inf"), SECONDS, "all is kept", agent.alive)
        self.assert_stopped(agent)

    def test_reset_while_reading(self):
        agent = self.start()
        self.execute("insert into t values (2, 'two')")
        self.wait_equal(agent, "t")
        self.server.execute("flush binary logs", None)
        self.execute("insert into t values (3, 'three')")
        self.wait_equal(agent, "t")
        self.server.execute("reset master" if self.kind == "MariaDB" else "reset binary logs and gtids", None)
        self.execute("insert into t values (4, 'four')")
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-2000:])
        self.assertIn("LogPurged", agent.text())
        self.assertIn("--resnapshot", agent.text())
        agent = self.start(arguments=["--resnapshot", "*.*"])
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)


class MariadbHeadroom(Headroom, unittest.TestCase):
    kind = "MariaDB"


class MysqlHeadroom(Headroom, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main()
