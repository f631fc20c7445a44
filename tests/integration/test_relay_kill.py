"""kill -9 of firn-agent capture under live traffic: at named points (common/crash.h) and at random times, first during the
copy. After it every topic, folded by key, is its table; Idempotent repeats only what it had sent, with equal position;
Transactional shows nothing twice to who reads what is committed.

FIRN_KILLS (10) is how many for each delivery; FIRN_SEED makes a run again.
"""

import os
import random
import signal
import time
import unittest
from pathlib import Path

from harness.relay import RelayCase
from harness.wait import wait_until

KILLS = int(os.environ.get("FIRN_KILLS", "10"))
SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
STRIKE_SECONDS = 90


def crash_points(*phases: str) -> list[tuple[str, bool]]:
    """Names, and whether a run passes them often."""
    lines = [line.split() for line in (Path(__file__).parent / "crash_points").read_text().splitlines()]
    return [(name, often == "many") for name, of, often, *_ in lines if of in phases]


class Kill(RelayCase):
    rows = 20000
    settings = {"logical_decoding_work_mem": "'64kB'"}

    def kill_at_point(self, name: str, often: bool):
        point = f"{name}:{self.dice.randint(1, 3)}" if often else name
        agent = self.start(crash_at=point)
        with self.postgres.connect("shop") as connection:

            def over():
                connection.execute("update products set stock = stock + 1 where sku = (select min(sku) from products)")
                return agent.process.poll() is not None

            wait_until(over, STRIKE_SECONDS, f"{point} strikes")
        self.assertEqual(agent.wait(), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
        self.assertTrue(agent.struck(), f"{point} did not strike: {agent.text()[-2000:]}")
        self.struck.append(point)

    def kill_at_random(self):
        agent = self.start()
        time.sleep(self.dice.uniform(0.05, 2))  # a moment is what is wanted, not that something is over
        agent.kill()
        self.struck.append("random")

    def kills(self, delivery: str, copying: list, streaming: list):
        self.dice = random.Random(SEED)
        self.struck = []
        self.make_shop()
        self.write_manifest(delivery=delivery)
        with self.traffic(SEED, bulk=False):
            for name, often in copying:  # in the order in which they are passed: one that has struck may not come again
                self.kill_at_point(name, often)
            self.kill_at_random()
            whole = self.start()
            self.wait_agreed(whole)
            whole.kill()
            while len(self.struck) < max(KILLS, len(copying) + 1):
                points = self.dice.sample(streaming, len(streaming))
                for name, often in points:
                    if len(self.struck) < KILLS:
                        self.kill_at_point(name, often)
                if len(self.struck) < KILLS:
                    self.kill_at_random()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        topics = self.assert_equal(repeats=delivery == "Idempotent")
        print(f"seed {SEED}, {delivery}: {len(self.struck)} kills ({', '.join(self.struck)}); "
              f"{sum(topic.repeated for topic in topics.values())} records came twice")  # fmt: skip
        return topics

    def test_idempotent(self):
        self.kills("Idempotent", crash_points("relay-copy"), crash_points("relay-stream"))

    def test_transactional(self):
        stream = [point for point in crash_points("relay-stream", "relay-transaction")
                  if point[0] not in ("relay-acknowledged", "relay-state-written")]  # fmt: skip
        self.kills("Transactional", crash_points("relay-copy"), stream)

    def test_columns(self):
        """Killed between having learnt of columns and having said so."""
        self.dice, self.struck = random.Random(SEED), []
        for delivery in ("Idempotent", "Transactional"):
            with self.subTest(delivery):
                self.connection.execute("drop schema public cascade; create schema public")
                self.connection.execute("create table t (id int primary key, a int); insert into t select i, i from generate_series(1, 50) i")
                self.prefix += delivery
                slot = delivery.lower()
                self.write_manifest(delivery=delivery, slot=slot, publication=slot)
                agent = self.start()
                self.wait_agreed(agent, slot=slot)
                self.assert_stopped(agent)
                agent = self.start(crash_at="relay-columns")
                self.connection.execute("alter table t add column b text; update t set b = 'b' || id")
                self.assertEqual(agent.wait(), -signal.SIGKILL)
                self.assertTrue(agent.struck())
                self.connection.execute("alter table t drop column a; update t set b = b || '!'")
                agent = self.start()
                self.wait_agreed(agent, slot=slot)
                self.assert_stopped(agent)
                self.assert_equal(["t"], repeats=delivery == "Idempotent")


if __name__ == "__main__":
    unittest.main()
