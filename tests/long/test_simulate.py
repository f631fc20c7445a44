"""agent/commit against tests/simulate: more than ten million steps over at least 20,000 seeds, and every mutant."""

import os
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness.record import record

SEED = int(os.environ.get("FIRN_SEED") or int(time.time()) % 1_000_000 * 1000)
SEEDS = int(os.environ.get("FIRN_SEEDS") or 50_000)
STEPS = 500
PROGRAMS = ROOT / "build" / "release" / "tests"


def run(*command):
    return subprocess.run(["nice", *map(str, command)], capture_output=True, text=True)


class Simulate(unittest.TestCase):
    def test_seeds_and_mutants(self):
        seeds = run(PROGRAMS / "simulate", "--seeds", f"{SEED}-{SEED + SEEDS - 1}", "--steps", STEPS)
        self.assertEqual(seeds.returncode, 0, seeds.stdout + seeds.stderr)
        steps = int(re.search(r"(\d+) steps,", seeds.stdout)[1])
        self.assertGreaterEqual(steps, 10_000_000, seeds.stdout)
        self.assertGreaterEqual(SEEDS, 20_000)
        mutants = run(PROGRAMS / "simulate_mutants", "--mutants", "--seeds", "1-2000")
        self.assertEqual(mutants.returncode, 0, mutants.stdout + mutants.stderr)
        needed = [(int(seed), name) for name, seed in re.findall(r"^(\w+) +seed +(\d+)", mutants.stdout, re.M)]
        self.assertGreaterEqual(len(needed), 15)
        most = ", ".join(f"{name} {seed}" for seed, name in sorted(needed, reverse=True)[:5])
        record("Commit core simulated", [
            f"seeds {SEED} to {SEED + SEEDS - 1}: {seeds.stdout.strip()}",
            f"{len(needed)} rules broken one at a time, each noticed within 2000 seeds; most seeds needed: {most}",
        ])  # fmt: skip


if __name__ == "__main__":
    unittest.main(verbosity=2)
