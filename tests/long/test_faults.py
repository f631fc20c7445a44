"""The storms of tests/integration/test_faults.py, more and longer, with answers that never come; peers that are away
for minutes."""

import os
import sys
import time
import unittest
from pathlib import Path

for name, value in {"FIRN_STORMS": "2", "FIRN_FAULTS": "10", "FIRN_HANGS": "1", "FIRN_AWAY": "150"}.items():
    os.environ.setdefault(name, value)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_faults
from harness.record import record


PLACES = 5


class Faults(test_faults.Faults):
    started = time.monotonic()

    def test_rest_and_files(self):
        self.faults("rest-files", format=3)

    @classmethod
    def tearDownClass(cls):
        if len(test_faults.Faults.said) < PLACES:  # whole, or none
            return
        struck = sum(test_faults.Faults.struck.values())
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(test_faults.Faults.struck.items()))
        assert struck >= 200, f"{struck} faults struck, at least 200 must"
        record("Faults of networks and servers under live traffic", [
            f"{struck} faults struck: {kinds}",
            "after each storm source and lake equal (DuckDB, pyiceberg but for Nessie), nothing committed twice,"
            " no file missing, the agent the same process",
            *test_faults.Faults.said,
            f"{os.environ['FIRN_STORMS']} storms a place; seed {test_faults.SEED};"
            f" {(time.monotonic() - cls.started) / 60:.0f} minutes",
        ])  # fmt: skip


class Away(test_faults.Away):
    pass


if __name__ == "__main__":
    unittest.main(verbosity=2)
