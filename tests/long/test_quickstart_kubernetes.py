"""deploy/quickstart --kubernetes, small: ends well, and leaves nothing behind. (tests/integration/test_node.py takes the same
way with more on it.)"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import kube_node

ROOT = Path(__file__).resolve().parents[2]


class Quickstart(unittest.TestCase):
    def test_kubernetes(self):
        self.assertIsNone(kube_node.refused())
        with tempfile.TemporaryDirectory(prefix="firn-quickstart-test-") as folder:
            Path(folder).chmod(0o755)  # the server's user, and Pods, go through it
            result = subprocess.run(
                [ROOT / "deploy" / "quickstart", "--kubernetes", "--seconds", "5", "--rows", "20000"],
                capture_output=True, text=True, timeout=900, env={**os.environ, "TMPDIR": folder})  # fmt: skip
            self.assertEqual(list(Path(folder).iterdir()), [], "something was left behind")
        self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-3000:])
        self.assertRegex(result.stdout.splitlines()[-1], r"^match: 4 tables, \d+ rows, hash equal$")
        self.assertIn("ingestionunit.firn.dev/shop-public-orders", result.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
