"""kill -9 of the agent at every crash point of the driver, and of the commit, while MySQL and MariaDB are written to:
nothing is lost and nothing doubled."""

import os
import random
import threading
import unittest
from pathlib import Path

from test_mysql import Base

from harness.wait import wait_until

KILLS = int(os.environ.get("FIRN_KILLS", "10"))
SEED = int(os.environ.get("FIRN_SEED", "0")) or random.randrange(1, 1 << 30)


def crash_points(*phases: str) -> list[str]:
    lines = [line.split() for line in (Path(__file__).parent / "crash_points").read_text().splitlines()]
    return [name for name, of, *_ in lines if of in phases]


class Traffic:
    """Inserts, updates, deletes, moves of keys, transactions of several tables, rollbacks, from a seed."""

    def __init__(self, server, seed: int):
        self.connection = server.connect()
        self.random = random.Random(seed)
        self.stop = threading.Event()
        self.failed = None
        self.done = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.done > 5 or self.failed, 90, "traffic flows")
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join()
        self.connection.close()
        if self.failed:
            raise self.failed

    def _run(self):
        try:
            with self.connection.cursor() as cursor:
                while not self.stop.is_set():
                    self._transaction(cursor)
                    self.done += 1
                    self.stop.wait(0.002)
        except BaseException as error:
            self.failed = error

    def _transaction(self, cursor):
        pick = self.random
        cursor.execute("begin")
        for _ in range(pick.choice((1, 1, 3, 20))):
            kind, key = pick.randrange(6), pick.randrange(1, 4000)
            if kind == 0:
                cursor.execute("insert into orders (name, amount, at) values (%s, %s, now(6))", [f"ü{key}" * 3, key / 7])
            elif kind == 1:
                cursor.execute("update orders set amount = amount + 1, name = %s where id = %s", [f"changed {self.done}", key])
            elif kind == 2:
                cursor.execute("delete from orders where id = %s", [key])
            elif kind == 3:
                cursor.execute("update ignore orders set id = id + 100000 where id = %s", [key])
            elif kind == 4:
                cursor.execute("replace into words values (%s, %s, %s)", [f"w{key % 500}", key % 3, "x" * (key % 200)])
            else:
                cursor.execute("delete from words where word = %s", [f"w{key % 500}"])
        cursor.execute("rollback" if pick.random() < 0.05 else "commit")


class Kills(Base):
    TABLES = ("orders", "words")

    def make(self, rows: int = 3000):
        self.execute("create table orders (id int unsigned auto_increment primary key, name varchar(60), amount decimal(12,3), "
                     "at datetime(6))")  # fmt: skip
        self.execute("create table words (word varchar(20) character set latin1, part tinyint, more text, primary key (word, part))")
        for first in range(0, rows, 500):
            values = ", ".join(f"('name {i}', {i} / 3, now(6))" for i in range(first, first + 500))
            self.execute(f"insert into orders (name, amount, at) values {values}")
        values = ", ".join(f"('w{i}', {i % 3}, repeat('y', {i % 100}))" for i in range(500))
        self.execute(f"insert into words values {values}")

    def wait_struck(self, agent):
        wait_until(lambda: agent.process.poll() is not None, 90, f"{agent.crash_at} strikes: {agent.text()[-500:]}")
        self.assertTrue(agent.struck(), f"{agent.crash_at}: {agent.text()[-2000:]}")

    def setUp(self):
        super().setUp()
        os.environ["FIRN_COPY_RANGE_KEYS"] = "400"
        self.addCleanup(os.environ.pop, "FIRN_COPY_RANGE_KEYS", None)
        print(f"seed {SEED}")
        self.make()

    def kills(self, points: list[str]):
        pick = random.Random(SEED)
        agent = self.start()
        self.wait_equal(agent, *self.TABLES)
        self.assert_stopped(agent)
        with Traffic(self.server, SEED):
            for at in range(KILLS):
                self.wait_struck(self.start(crash_at=f"{points[at % len(points)]}:{pick.randrange(1, 3)}"))
        agent = self.start()
        self.wait_equal(agent, *self.TABLES)
        self.assert_stopped(agent)

    def test_while_streaming(self):
        """Points that are passed once for each start are no places for a second pass."""
        once = {"mysql-stream-first-batch", "mysql-stream-mid-transaction", "stream-first-batch", "stream-mid-transaction"}
        other = {"before-confirm", "mysql-unpacking"}  # what only PostgreSQL is told; what needs compressed transactions
        self.kills([point for point in crash_points("mysql-stream", "stream") if point not in once | other])

    def test_once_for_each_start(self):
        agent = self.start()
        self.wait_equal(agent, *self.TABLES)
        self.assert_stopped(agent)
        with Traffic(self.server, SEED):
            for point in ("mysql-stream-first-batch", "mysql-stream-mid-transaction"):
                self.wait_struck(self.start(crash_at=point))
        agent = self.start()
        self.wait_equal(agent, *self.TABLES)
        self.assert_stopped(agent)

    def test_while_copying(self):
        """Each in a copy that begins, and once more in what is left of it."""
        points = [point for point in crash_points("mysql-copy", "copy")
                  if point not in ("slot-created", "copy-first-batch", "copy-last-batch")]  # fmt: skip
        for point in points:
            self.warehouse = self.folder / point
            self.warehouse.mkdir()
            with self.subTest(point), Traffic(self.server, SEED) as traffic:
                self.wait_struck(self.start(crash_at=point))
                again = self.start(crash_at="commit-done")
                self.wait_struck(again)
                agent = self.start()
                more = traffic.done + 50
                wait_until(lambda: traffic.done > more and not agent.copying(), 90, "traffic goes on", agent.alive)
            self.wait_equal(agent, *self.TABLES)
            self.assert_stopped(agent)


    def test_while_columns_change(self):
        for at, point in enumerate(crash_points("mysql-ddl") + ["schema-evolved"]):
            with self.subTest(point), Traffic(self.server, SEED + at):
                agent = self.start(crash_at=point)
                wait_until(lambda: (self.warehouse / "_firn").exists() and not agent.copying(), 90, "the tables are followed",
                           agent.alive)  # fmt: skip
                self.execute(f"alter table orders add column c{at} int after id, add column e{at} int")
                self.execute(f"alter table orders rename column c{at} to d{at}, drop column e{at}")
                self.execute(f"insert into orders (name, d{at}) values ('new', {at})")
                self.wait_struck(agent)
                agent = self.start()
            self.wait_equal(agent, *self.TABLES)
            self.assert_stopped(agent)


class MariadbKills(Kills, unittest.TestCase):
    kind = "MariaDB"


class MysqlKills(Kills, unittest.TestCase):
    kind = "MySQL"
    settings = {"binlog_transaction_compression": "ON"}

    def test_while_unpacking(self):
        self.kills(["mysql-unpacking"])


if __name__ == "__main__":
    unittest.main()
