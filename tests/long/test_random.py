"""Many seeds of tests/integration/test_random.py, others with every run: FIRN_SEEDS (1000) of them from FIRN_SEED on, for
as long as FIRN_MINUTES (60) lasts, one server of each version at work."""

import os
import random
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.postgres import VERSIONS
from harness.random_case import run_seeds
from harness.record import record

FIRST = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
COUNT = int(os.environ.get("FIRN_SEEDS", "1000"))
SECONDS = 60 * float(os.environ.get("FIRN_MINUTES", "60"))


def _line(version: int, ran: list) -> str:
    failed = [each.seed for each in ran if not each.equal]
    return (f"PostgreSQL {version}: {len(ran)} seeds, {len(failed)} of them not equal{''.join(f' ({seed})' for seed in failed)};"
            f" {sum(each.steps for each in ran)} steps, {sum(each.starts for each in ran)} starts of the agent,"
            f" {sum(each.kills for each in ran)} kill -9")  # fmt: skip


class Seeds(unittest.TestCase):
    def test_seeds(self):
        started = time.monotonic()
        outcomes = run_seeds(range(FIRST, FIRST + COUNT), at_once=len(VERSIONS), until=started + SECONDS)
        record("Random tables under random statements", [
            *(_line(version, [each for each in outcomes if each.version == version]) for version in VERSIONS),
            "after each seed every row equal by DuckDB and pyiceberg",
            f"{len(outcomes)} of the seeds {FIRST} to {FIRST + COUNT - 1}; {(time.monotonic() - started) / 60:.0f} minutes",
        ])  # fmt: skip
        self.assertTrue(outcomes)
        self.assertEqual([each.seed for each in outcomes if not each.equal], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
