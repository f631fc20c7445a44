"""100 faults of tests/integration/test_relay_faults.py."""

import os
import sys
import time
import unittest
from pathlib import Path

os.environ.setdefault("FIRN_FAULTS", "100")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_relay_faults
from harness.record import record


class Faults(test_relay_faults.Faults):
    started = time.monotonic()

    @classmethod
    def tearDownClass(cls):
        if len(test_relay_faults.Faults.said) < 2:  # whole, or none
            return
        struck = sum(test_relay_faults.Faults.struck.values())
        assert struck == test_relay_faults.FAULTS, f"{struck} faults struck"
        record("Faults of Kafka, the source and the agent while topics are filled", [
            f"{struck} faults, each seen to strike; in the end every topic, folded by key, is its table, in order per key,"
            " repeats only with equal position, none with Transactional",
            *test_relay_faults.Faults.said,
            f"seed {test_relay_faults.SEED}; {(time.monotonic() - cls.started) / 60:.0f} minutes",
        ])  # fmt: skip


if __name__ == "__main__":
    unittest.main(verbosity=2)
