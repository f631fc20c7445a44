"""Many seeds of tests/integration/test_random.py, others with every run: FIRN_SEEDS (1000) of them from FIRN_SEED on, for
as long as FIRN_MINUTES (150) lasts, each version of PostgreSQL having its share of it."""

import os
import random
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.random_case import RandomCase, seeds_by_version
from harness.record import record

FIRST = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
COUNT = int(os.environ.get("FIRN_SEEDS", "1000"))
SECONDS = 60 * float(os.environ.get("FIRN_MINUTES", "150"))
SEEDS = seeds_by_version(range(FIRST, FIRST + COUNT))
FOUND: list[str] = []
STARTED = time.monotonic()


class Seeds(RandomCase):
    """One server for all seeds of a version, a case of its own for each."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.until = time.monotonic() + SECONDS / len(SEEDS)
        cls.ran, cls.failed, cls.all_kills, cls.all_starts, cls.steps = 0, [], 0, 0, 0

    @classmethod
    def tearDownClass(cls):
        FOUND.append(
            f"PostgreSQL {cls.version}: {cls.ran} seeds, {len(cls.failed)} of them not equal{''.join(f' ({seed})' for seed in cls.failed)};"
            f" {cls.steps} steps, {cls.all_starts} starts of the agent, {cls.all_kills} kill -9")  # fmt: skip
        if len(FOUND) == len(SEEDS):
            record("Random tables under random statements", [
                *FOUND,
                "after each seed every row equal by DuckDB and pyiceberg",
                f"seeds {FIRST} to {FIRST + COUNT - 1}, as far as the time went; {(time.monotonic() - STARTED) / 60:.0f} minutes",
            ])  # fmt: skip

    def seed(self, seed: int):
        if time.monotonic() > self.until:
            self.skipTest("the time is over")
        cls = type(self)
        cls.ran += 1
        try:
            self.run_seed(seed)
        except BaseException:
            cls.failed.append(seed)
            raise
        finally:
            cls.all_kills += self.kills
            cls.all_starts += self.starts
            cls.steps += len(self.log)


def _cases():
    for version, seeds in sorted(SEEDS.items()):
        tests = {f"test_seed_{seed}": lambda self, seed=seed: self.seed(seed) for seed in seeds}
        yield f"PostgreSQL{version}", type(f"PostgreSQL{version}", (Seeds,), {"version": version, **tests})


globals().update(_cases())
del RandomCase, Seeds  # have no tests of their own

if __name__ == "__main__":
    unittest.main(verbosity=2)
