"""200 faults of tests/integration/test_ingest_faults.py."""

import os
import sys
import time
import unittest
from pathlib import Path

os.environ.setdefault("FIRN_FAULTS", "200")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_ingest_faults
from harness.record import record


class Faults(test_ingest_faults.Faults):
    started = time.monotonic()

    @classmethod
    def tearDownClass(cls):
        if not test_ingest_faults.Faults.said:  # whole, or none
            return
        struck = sum(test_ingest_faults.Faults.struck.values())
        assert struck == test_ingest_faults.FAULTS, f"{struck} faults struck"
        record("Faults of consumers, Kafka and the catalog while tables are filled from topics", [
            f"{struck} faults, each seen to strike; four consumers, live traffic; in the end every table is the source's,"
            " and of its snapshots none repeats another one's interval",
            *test_ingest_faults.Faults.said,
            f"seed {test_ingest_faults.SEED}; {(time.monotonic() - cls.started) / 60:.0f} minutes",
        ])  # fmt: skip


if __name__ == "__main__":
    unittest.main(verbosity=2)
