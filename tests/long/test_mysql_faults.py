"""100 faults of tests/integration/test_mysql_faults.py."""

import os
import sys
import time
import unittest
from pathlib import Path

os.environ.setdefault("FIRN_FAULTS", "100")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_mysql_faults
from harness.record import record


class LongFaults(test_mysql_faults.Faults):
    started = time.monotonic()

    @classmethod
    def tearDownClass(cls):
        faults = test_mysql_faults.Faults
        if len(faults.said) < 2:  # whole, or none
            return
        struck = sum(faults.struck.values())
        assert struck == test_mysql_faults.FAULTS, f"{struck} faults struck"
        record("Faults of MySQL and MariaDB, of their networks and of the agent", [
            f"{struck} faults, each seen to strike; after every {test_mysql_faults.SETTLE_EVERY}, and in the end, the lake has the source's rows (DuckDB)",
            *faults.said,
            f"seed {test_mysql_faults.SEED}; {(time.monotonic() - LongFaults.started) / 60:.0f} minutes",
        ])  # fmt: skip


class MariadbFaults(LongFaults, unittest.TestCase):
    kind, first = "MariaDB", test_mysql_faults.MariadbFaults.first


class MysqlFaults(LongFaults, unittest.TestCase):
    kind, first = "MySQL", test_mysql_faults.MysqlFaults.first


if __name__ == "__main__":
    unittest.main(verbosity=2)
