"""The types of every version of PostgreSQL in both format versions: what tests/integration/test_types.py leaves out."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_types

from harness.record import record


class Types(test_types.TypesOf):
    found: list[str] = []

    @classmethod
    def tearDownClass(cls):
        record("Types of PostgreSQL 16 and 17", Types.found)

    def copied_and_streamed(self, format: int):
        super().copied_and_streamed(format)
        Types.found.append(
            f"{self.version}, v{format}: {self.types} types, copied and streamed, equal by DuckDB and pyiceberg")


globals().update(test_types.versions({16: (2,), 17: (3,)}, Types))

if __name__ == "__main__":
    unittest.main(verbosity=2)
