"""Told to stop while the source makes it wait for somebody's open transaction: it drains, says so and ends, and nothing
waits on at the server in its name. That it did wait is seen at the server first."""

import threading
import time
import unittest

from harness.case import Shop
from harness.wait import wait_until

WAITS = """select count(*) from pg_stat_activity
  where application_name = 'firn-agent' and cardinality(pg_blocking_pids(pid)) > 0"""


class Waiting(Shop):
    version = 15

    def setUp(self):
        super().setUp()
        self.connection.execute("create table a (id integer primary key, v text)")
        self.connection.execute("create table b (id integer primary key, v text default 'new', large text)")
        self.connection.execute("alter table b alter column large set storage external")
        self.connection.execute("insert into a select i, 'a' || i from generate_series(1, 100) i")
        self.connection.execute("insert into b select i, 'b' || i, repeat(md5(i::text), 90) from generate_series(1, 100) i")
        self.watch = self.postgres.connect("shop")
        self.addCleanup(self.watch.close)
        self.other = self.postgres.connect("shop")
        self.addCleanup(self.other.close)

    def hold(self, *statements: str):
        for statement in ("begin", *statements):
            self.other.execute(statement)

    def let_go(self):
        self.other.execute("rollback")

    def waiting(self) -> int:
        return self.watch.execute(WAITS).fetchone()[0]

    def wait_waiting(self, agent):
        wait_until(self.waiting, 90, "the agent waits for a lock", agent.alive)

    def assert_stops(self, agent):
        self.wait_waiting(agent)
        self.assert_stopped(agent)
        wait_until(lambda: not self.waiting(), 90, "nothing waits for it at the server")
        self.assert_not_ahead()

    def assert_goes_on(self):
        self.let_go()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


class BeforeTheStream(Waiting):
    def test_new_slot(self):
        """It is consistent only when the transactions that were open have ended."""
        self.hold("insert into a values (1000, 'open')")
        self.write_manifest()
        self.assert_stops(self.start())
        self.assert_goes_on()

    def test_range_of_the_copy(self):
        self.hold("lock table b in access exclusive mode")
        self.write_manifest()
        agent = self.start()
        self.wait_waiting(agent)
        self.connection.execute("insert into a values (1001, 'meanwhile')")
        self.assert_stops(agent)
        self.assert_goes_on()


class InTheStream(Waiting):
    PATIENCE_SECONDS = 15  # the server's, with who reads its log: longer than a busy machine stands still
    settings = {"wal_sender_timeout": f"'{PATIENCE_SECONDS}s'"}

    def agent_that_fetches(self):
        """One that follows the log, and waits to fetch a value that an update left out, of a table that is locked since:
        whoever locks it queues behind the update, so that nobody comes between the two."""
        self.write_manifest(snapshot="Never")
        agent = self.start()
        self.wait_agreed(agent)
        wait_until(lambda: self.stream()[0][1], 90, "the server was answered once", agent.alive)
        self.connection.execute("begin")
        self.connection.execute("update b set v = 'changed'")
        locker = threading.Thread(target=self.hold, args=("lock table b in access exclusive mode",), daemon=True)
        locker.start()
        queued = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'"
        wait_until(lambda: self.watch.execute(queued).fetchone()[0], 90, "the lock is asked for", agent.alive)
        self.connection.execute("commit")
        locker.join(300)
        self.assertFalse(locker.is_alive())
        self.wait_waiting(agent)
        return agent

    def stream(self):
        return self.watch.execute("select pid, reply_time is not null from pg_stat_replication").fetchall()

    def test_fetched_value(self):
        self.assert_stops(self.agent_that_fetches())

    def test_the_server_is_answered(self):
        """A wait that is longer than the server's patience with a silent receiver."""
        agent = self.agent_that_fetches()
        before, since = self.stream(), time.monotonic()
        self.assertEqual(len(before), 1)
        wait_until(lambda: time.monotonic() - since > 1.4 * self.PATIENCE_SECONDS or self.stream() != before, 90, "it waits for longer", agent.alive)
        self.assertEqual(self.stream(), before, agent.text()[-2000:])
        self.assertGreater(self.waiting(), 0)
        self.let_go()
        self.wait_agreed(agent)
        self.assertEqual(self.stream(), before)
        self.connection.execute("update b set large = large || v")
        self.connection.execute("insert into b select 100 + id, v, large from b")
        self.connection.execute("delete from b where id <= 100")
        self.connection.execute("delete from a")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main()
