"""What test_ddl.py shows to two engines, in both format versions, shown to a third: Spark with Iceberg's own runtime.
One session reads all of it."""

import unittest

import test_ddl


class Spark(test_ddl.Ddl):
    engines = ("spark",)

    def assert_follows(self, kept=()):
        """Each table is read once, at the end: it has the files of before and after every change."""

    def test_v2(self):
        self.format, self.mode = 2, "Append"
        self.live()

    def test_v3(self):
        self.format, self.mode = 3, "Upsert"
        self.live()


if __name__ == "__main__":
    unittest.main()
