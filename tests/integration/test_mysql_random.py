"""Random tables under random statements on MySQL and MariaDB, followed by an agent that is stopped and killed in between;
then every row compared by an engine that is not ours (tests/harness/mysql_random.py).

FIRN_SEED=N runs that seed alone, or FIRN_SEEDS (10) from it on, on each server. Without it the seeds are always the same:
what fails here was broken by the change at hand. tests/long/test_mysql_random.py looks for more."""

import os
import signal
import time
import unittest

import pymysql
from test_mysql import Base

from harness.agent import OK, ROOT
from harness.mysql_random import Seed

FIRST = int(os.environ.get("FIRN_SEED", "1"))
COUNT = int(os.environ.get("FIRN_SEEDS", "1" if "FIRN_SEED" in os.environ else "10"))


class Seeds(Base):
    until = None  # of time.monotonic(): seeds that have not begun by then are left out

    def test_seeds(self):
        failed, ran = [], 0
        for number in range(FIRST, FIRST + COUNT):
            if self.until and time.monotonic() > self.until:
                break
            if ran:
                self.doCleanups()
                self.setUp()
            began, ran = time.monotonic(), ran + 1
            try:
                self.run_seed(number)
            except (AssertionError, pymysql.Error) as error:
                failed.append(number)
                print(f"seed {number}, {self.kind}: {error}\n{self.keep(number)}", flush=True)
            else:
                print(f"seed {number}, {self.kind}: {len(self.log)} steps, {self.runs} starts, equal ({time.monotonic() - began:.1f} s)", flush=True)
        self.ran = ran
        self.assertEqual(failed, [])
        self.assertGreater(ran, 0)

    def run_seed(self, number: int):
        self.seed, self.agent = Seed(number, self.kind), None
        self.names = [table.name for table in self.seed.tables]
        self.log = [f"-- seed {number}, {self.kind}"]
        self.execute("set sql_mode = 'ALLOW_INVALID_DATES'")
        for text in self.seed.make:
            self.sql(text)
        for what, text in self.seed.steps:
            if what == "sql":
                self.sql(text)
            else:
                self.log.append(f"-- {what}")
                getattr(self, f"take_{what}")()
        self.assert_stopped(self.agent)

    def sql(self, text: str):
        self.log.append(f"{text};")
        self.execute(text)

    def take_start(self):
        self.agent = self.start(exclude='["shop.noise"]', format=self.seed.format)

    def take_stop(self):
        # So early that nothing listens to signals yet, it ends of it.
        self.assertIn(self.agent.stop(), (OK, -signal.SIGTERM), self.agent.text()[-3000:])

    def take_kill(self):
        self.agent.kill()

    def take_sync(self):
        self.wait_equal(self.agent, *self.names)

    def keep(self, number: int) -> str:
        place = ROOT / "build" / "random" / f"{self.kind}-{number}.sql"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(self.log) + "\n")
        said = self.agent.text()[-1500:] if self.agent else ""
        return (f"after {len(self.log)} steps, the last one: {self.log[-1][:500]}\nthe agent's last words: {said}\n"
                f"kept in {place}; again: FIRN_SEED={number} tests/harness/python tests/integration/test_mysql_random.py")  # fmt: skip


class MariadbSeeds(Seeds, unittest.TestCase):
    kind = "MariaDB"


class MysqlSeeds(Seeds, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main(verbosity=2)
