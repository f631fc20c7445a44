"""Many seeds of tests/integration/test_mysql_random.py, others with every run: FIRN_SEEDS (1000) of them on each server
from FIRN_SEED on, for as long as FIRN_MINUTES (60) lasts."""

import os
import random
import sys
import time
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration")]
os.environ.setdefault("FIRN_SEED", str(random.SystemRandom().randrange(10**6)))
os.environ.setdefault("FIRN_SEEDS", "1000")
SECONDS = 60 * float(os.environ.get("FIRN_MINUTES", "60"))

from test_mysql_random import FIRST, Seeds  # noqa: E402: it reads what is set above

from harness.record import record  # noqa: E402


class LongSeeds(Seeds):
    def test_seeds(self):
        started = time.monotonic()
        type(self).until = started + SECONDS / 2  # one server after the other
        super().test_seeds()
        record(f"Random tables of {self.kind} under random statements", [
            f"{self.ran} seeds from {FIRST} on, all equal; {(time.monotonic() - started) / 60:.0f} minutes"])  # fmt: skip


class MariadbSeeds(LongSeeds, unittest.TestCase):
    kind = "MariaDB"


class MysqlSeeds(LongSeeds, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main(verbosity=2)
