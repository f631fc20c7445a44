"""The kills of tests/integration/test_kill.py, a hundred of them, in all formats and modes."""

import os
import sys
import time
import unittest
from collections import Counter
from pathlib import Path

os.environ.setdefault("FIRN_KILLS", "100")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_kill
from harness.record import record


class Kills(test_kill.Kill):
    def test_kills(self):
        started = time.monotonic()
        super().test_kills()
        counted = Counter(how.split(":")[0] for how in self.struck)
        points = ", ".join(f"{how} {count}" for how, count in sorted(counted.items()) if how != "random")
        record("kill -9 under live traffic", [
            f"{len(self.struck)} kills, every one struck, source and lake equal after each (DuckDB), at the end by pyiceberg",
            f"{counted['random']} at random times, {len(self.struck) - counted['random']} at points: {points}",
            f"v2 and v3, Upsert and Append; seed {test_kill.SEED}; {(time.monotonic() - started) / 60:.0f} minutes",
        ])  # fmt: skip


if __name__ == "__main__":
    unittest.main(verbosity=2)
