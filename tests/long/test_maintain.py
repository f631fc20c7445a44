"""Files that no snapshot names, on every store and catalog. As tests/integration/test_maintain.py, whose ways it goes."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_maintain
from harness.agent import REFUSED
from test_maintain import OLD_DAYS, command


class RestOnS3(test_maintain.Files):
    kind = "rest-s3"


class OnS3(test_maintain.Files):
    kind = "directory-s3"


class RestOnFiles(test_maintain.Maintained):
    """The catalog's own files lie there, too, with checksums beside them."""

    kind = "rest-files"
    test_by_itself = test_maintain.Files.test_by_itself


class OnNessie(test_maintain.Maintained):
    """Which tells of a table's newest state, and keeps others."""

    kind = "nessie-s3"

    def test_not_allowed(self):
        self.write_units()
        self.wait_agreed(agent := self.start())
        planted = self.plant("orders", "data", OLD_DAYS)
        once = command("maintain", "-f", self.manifest, "--once")
        self.assertEqual(once.returncode, REFUSED, once.stderr)
        self.assertIn("NotAllowed", once.stderr)
        self.assertIn("Nessie keeps states of the table", once.stderr)
        self.assertEqual(self.there(planted), planted)
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main()
