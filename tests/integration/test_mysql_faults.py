"""The agent follows MySQL and MariaDB under live traffic while everything around it has a bad day: kill -9 at points and at
random, the server restarted and killed, its replica promoted in its place, binlogs purged while nobody reads, connections
that are cut, reset, slow or hang, and cut in the middle of an event. Each is seen to strike; after every few, and in the
end, the lake has the source's rows.

FIRN_FAULTS (10) of them, half of them on each server, every kind on one of both; FIRN_SEED makes a run again."""

import contextlib
import os
import random
import signal
import threading
import time
import unittest
from collections import Counter

import pymysql
from test_mysql import SECONDS
from test_mysql_failover import Pair
from test_mysql_kill import Kills, Traffic, crash_points

from harness.fault_proxy import TCP_KINDS, Fault, FaultProxy
from harness.wait import wait_until

FAULTS = int(os.environ.get("FIRN_FAULTS", "10"))
SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
STRIKE_SECONDS = 300  # limits are for what hangs: a pause between two attempts is up to half a minute
SETTLE_EVERY = 5
LARGE_BYTES, LARGE_ROWS = 200_000, 5
# A killed server has what it said it has: the log of its engine is with the system before a commit is over.
DURABLE = {"innodb_flush_log_at_trx_commit": "2", "log_slave_updates": "ON"}
# Those that a stream passes again and again.
POINTS = [point for point in crash_points("stream")
          if point not in ("stream-first-batch", "stream-mid-transaction", "before-confirm")]  # fmt: skip


class Stubborn(Traffic):
    """Goes on when its server was away, or is another one. hold(): nothing is written meanwhile."""

    def __init__(self, case, seed: int):
        self.case = case
        self.turn = threading.Lock()
        self.outage = 0  # the last one before its connection was made
        super().__init__(case.server, seed)

    def _run(self):
        try:
            while not self.stop.is_set():
                with self.turn:
                    self._attempt()
                self.stop.wait(0.002)
        except BaseException as error:
            self.failed = error

    def _attempt(self):
        there, outage = self.case.up.is_set(), self.case.outage
        try:
            if outage != self.outage:
                self._leave()
                self.connection, self.outage = self.case.server.connect(), outage
            with self.connection.cursor() as cursor:
                self._transaction(cursor)
            self.done += 1
        except (pymysql.Error, OSError):
            if there and self.case.up.is_set() and outage == self.case.outage:
                raise
            self.outage = -1
            self.case.up.wait(0.1)

    def _leave(self):
        with contextlib.suppress(pymysql.Error, OSError):
            self.connection.close()

    @contextlib.contextmanager
    def hold(self):
        with self.turn:
            yield


class Faults(Pair):
    struck: Counter = Counter()  # of both servers
    said: list[str] = []
    first: int  # of the kinds, which one is the first

    primary = {"server_id": "1", **DURABLE}
    replica = {"server_id": "2", **DURABLE}
    make, TABLES = Kills.make, Kills.TABLES

    def setUp(self):
        super().setUp()
        self.up = threading.Event()  # the server is there
        self.up.set()
        self.outage = 0  # how many there were
        self.dice = random.Random(SEED)
        self.proxy = FaultProxy("127.0.0.1", self.server.port, http=False).start()
        self.addCleanup(self.proxy.stop)
        self.execute("create table large (id int auto_increment primary key, text longtext)")
        self.make()

    def run_agent(self, **options):
        self.agent = self.start(port=self.proxy.port, **options)

    def settle(self):
        with self.traffic.hold():
            self.wait_equal(self.agent, *self.TABLES, "large", "t", "quiet")

    @contextlib.contextmanager
    def noticed(self, what: str = "starting again from the durable position"):
        """The agent says so, and is the same process."""
        before = len(self.agent.text())
        yield
        wait_until(lambda: what in self.agent.text()[before:], STRIKE_SECONDS, f"the agent says: {what}", self.agent.alive)

    @contextlib.contextmanager
    def away(self):
        """The server ends, and is there again, or another one is."""
        self.outage += 1
        self.up.clear()
        yield
        self.connection = self.server.connect()
        self.up.set()

    # --- faults, each seen to strike ---

    def kill(self):
        more = self.traffic.done + self.dice.randint(1, 300)  # some moment
        wait_until(lambda: self.traffic.done > more, STRIKE_SECONDS, "traffic goes on", self.agent.alive)
        self.agent.kill()
        self.run_agent()

    def point(self):
        self.agent.kill()
        self.run_agent(crash_at=f"{self.dice.choice(POINTS)}:{self.dice.randint(1, 3)}")
        wait_until(lambda: self.agent.process.poll() is not None, STRIKE_SECONDS, f"{self.agent.crash_at} strikes")
        self.assertTrue(self.agent.struck(), f"{self.agent.crash_at}: {self.agent.text()[-2000:]}")
        self.run_agent()

    def server_restart(self):
        with self.noticed(), self.away():
            self.server.restart()

    def server_kill(self):
        """In the middle of whatever it does."""
        with self.noticed(), self.away():
            self.server._end(signal.SIGKILL)
            self.server.start()

    def failover(self):
        """The replica takes the place of the primary, which dies, and comes back as a replica of it."""
        with self.noticed("which has the same transactions"):
            with self.traffic.hold(), self.away():
                self.wait_replica()
                self.fail_over()
                self.proxy.peer = ("127.0.0.1", self.server.port)
            self.other.start()
            if self.kind == "MariaDB":
                self.other.execute("set global gtid_slave_pos = @@gtid_binlog_pos")
            self.replicate()

    def purge(self):
        """What comes next is gone when the agent is back."""
        self.agent.kill()
        needed, before = self.server.log_end()[0], self.traffic.done
        wait_until(lambda: self.traffic.done > before + 20, STRIKE_SECONDS, "traffic goes on")

        def purged():
            self.execute("flush binary logs")
            with self.traffic.hold():
                self.wait_replica()  # the server keeps what that reads
            self.execute(f"purge binary logs to '{self.server.log_end()[0]}'")
            return needed not in [file for file, *_ in self.execute("show binary logs")]

        wait_until(purged, SECONDS, "the binlogs are purged")
        self.run_agent()
        self.assertEqual(self.agent.wait(STRIKE_SECONDS), 3, self.agent.text()[-3000:])
        self.assertIn("LogPurged", self.agent.text())
        self.run_agent(arguments=["--resnapshot", "*.*"])
        self.settle()  # killed before its copies have begun it would have to be told once more

    def network(self):
        before = len(self.proxy.struck)
        self.proxy.random(self.dice.randrange(10**6), 0.05, [self.dice.choice(TCP_KINDS)], seconds=1, bytes_per_second=20_000)
        wait_until(lambda: len(self.proxy.struck) > before, STRIKE_SECONDS, "a fault strikes the connection", self.agent.alive)
        self.proxy.calm()

    def mid_event(self):
        """Each of the events that wait is larger than what the other connections bring all in all."""
        self.settle()  # nothing is copied any more
        self.agent.kill()
        with self.traffic.hold():
            for _ in range(LARGE_ROWS):
                self.execute("insert into large (text) values (repeat('large', %s))", [LARGE_BYTES // 5])
            self.execute("delete from large order by id limit 1")
        before, kind = len(self.proxy.struck), self.dice.choice(("cut", "reset"))
        self.proxy.plan([Fault(kind, times=0, after_bytes=self.dice.randrange(LARGE_BYTES // 2, LARGE_BYTES * 3))])
        self.run_agent()
        with self.noticed():
            wait_until(lambda: len(self.proxy.struck) > before, STRIKE_SECONDS, f"{kind} in an event", self.agent.alive)
            self.proxy.plan([])

    # --- the run ---

    def test_storm(self):
        began = time.monotonic()
        kinds = [self.kill, self.purge, self.mid_event, self.server_kill, self.failover, self.point, self.network, self.server_restart]
        faults = [kinds[(self.first + at) % len(kinds)] for at in range(FAULTS // 2)]
        self.dice.shuffle(faults)
        self.run_agent()
        self.wait_equal(self.agent, *self.TABLES)
        struck = Counter()
        with Stubborn(self, SEED) as self.traffic:
            for number, fault in enumerate(faults, 1):
                print(f"{self.kind}, seed {SEED}: fault {number}, {fault.__name__}, after {time.monotonic() - began:.0f} s", flush=True)
                fault()
                struck[fault.__name__] += 1
                if number % SETTLE_EVERY == 0:
                    self.settle()
            self.settle()
        self.assert_stopped(self.agent)
        Faults.struck += struck
        Faults.said.append(f"{self.kind}: {', '.join(f'{name} {times}' for name, times in sorted(struck.items()))}; {self.traffic.done} transactions")
        print(f"seed {SEED}, {Faults.said[-1]}", flush=True)


class MariadbFaults(Faults, unittest.TestCase):
    kind = "MariaDB"
    first = 0


class MysqlFaults(Faults, unittest.TestCase):
    kind = "MySQL"
    first = 5


if __name__ == "__main__":
    unittest.main()
