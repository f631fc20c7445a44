"""Tables with updates, deletes, truncates and partitions, read equal by engines that nobody here wrote:
DuckDB, pyiceberg, Spark 3.5 (v2 and v3), Trino 476 (v2)."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from harness.case import Shop
from harness.kinds import Kinds
from harness.record import record
from harness.wait import wait_until

# Spark has no time of day; the others show it.
WITHOUT = {"spark": ("clock",)}


class Readers(Shop):
    rows = 50000
    found: list[str] = []

    @classmethod
    def tearDownClass(cls):
        record("Tables read by other engines", cls.found)

    def read(self, engine, format_version, mode, without=()):
        self.make_shop()
        kinds = Kinds(self.connection, seed=11, without=without)
        kinds.make()
        kinds.insert(200)
        self.write_manifest(format=format_version, mode=mode)
        agent = self.start()
        with self.traffic(seed=11) as changes:
            for _ in range(4):
                kinds.changes()
            wait_until(lambda: changes.done["transactions"] > 2000, 120, "traffic")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        said = self.assert_equal(engine).splitlines()[-1]
        self.found.append(f"{engine}, v{format_version} {mode}: {said}")


def tests():
    for engine, versions in {"duckdb": (2, 3), "pyiceberg": (2, 3), "spark": (2, 3), "trino": (2,)}.items():
        for version in versions:
            for mode in ("Upsert", "Append"):

                def test(self, engine=engine, version=version, mode=mode):
                    self.read(engine, version, mode, WITHOUT.get(engine, ()))

                yield f"test_{engine}_v{version}_{mode}", test


for name, test in tests():
    setattr(Readers, name, test)

if __name__ == "__main__":
    unittest.main(verbosity=2)
