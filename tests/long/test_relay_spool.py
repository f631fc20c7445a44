"""The spool of tests/integration/test_relay_spool.py the other way round: a bucket of MinIO with Idempotent, a folder with
Transactional, and a bucket that is full."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_relay_spool


class Spool(test_relay_spool.Spool):
    s3_kind = "minio"

    def test_idempotent(self):
        self.in_bucket()
        super().test_idempotent()

    def test_transactional(self):
        self.in_bucket = lambda: None
        super().test_transactional()

    def test_full_and_back(self):
        self.in_bucket()
        super().test_full_and_back()


if __name__ == "__main__":
    unittest.main(verbosity=2)
