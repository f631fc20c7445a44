"""deploy/quickstart, small: ends well, and leaves nothing behind."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Quickstart(unittest.TestCase):
    def run_it(self, *options):
        with tempfile.TemporaryDirectory(prefix="firn-quickstart-test-") as folder:
            Path(folder).chmod(0o755)  # the server's user goes through it
            result = subprocess.run(
                [ROOT / "deploy" / "quickstart", "--seconds", "5", "--rows", "20000", *options],
                capture_output=True, text=True, timeout=1500, env={**os.environ, "TMPDIR": folder})  # fmt: skip
            self.assertEqual(list(Path(folder).iterdir()), [], "something was left behind")
        self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-3000:])
        self.assertRegex(result.stdout.splitlines()[-1], r"^match: 4 tables, \d+ rows, hash equal$")
        return result.stdout + result.stderr

    def test_format_2(self):
        self.assertIn("category", self.run_it("--format-version", "2"))

    def test_format_3(self):
        self.assertIn("category", self.run_it("--format-version", "3"))

    def test_mariadb(self):
        self.assertIn("category", self.run_it("--source", "mariadb"))

    def test_mysql(self):
        self.assertIn("category", self.run_it("--source", "mysql", "--format-version", "3"))

    def test_mariadb_kafka(self):
        output = self.run_it("--source", "mariadb", "--kafka")
        self.assertIn('"op":', output)  # a record as a consumer gets it

    def test_s3(self):
        self.assertIn("category", self.run_it("--lake", "s3"))

    def test_kafka(self):
        output = self.run_it("--kafka", "--consumers", "3")
        self.assertIn("consumer 3 of 3", output)
        self.assertIn(" tables 4  rows ", output)  # the progress line
        self.assertIn('"op":', output)  # a record as a consumer gets it


if __name__ == "__main__":
    unittest.main(verbosity=2)
