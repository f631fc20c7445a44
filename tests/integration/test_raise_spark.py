"""What test_raise.py shows to two engines, shown to a third: Spark with Iceberg's own runtime, which knows row ids, and older
snapshots, too."""

import unittest

import test_raise


class Spark(test_raise.Case):
    def read(self, name: str, *columns: str, **options) -> dict[tuple, tuple]:
        """The columns' values by key."""
        import spark_session

        keys = test_raise.KEYS[name].split(", ")
        reader = spark_session.session().read.format("iceberg").options(**options)
        rows = reader.load(self.location(name)).select(*keys, *columns).collect()
        found = {tuple(row)[: len(keys)]: tuple(row)[len(keys) :] for row in rows}
        self.assertEqual(len(found), len(rows), f"{name}: a key stands twice")
        return found

    def ids(self) -> dict[str, dict[tuple, int]]:
        found = {name: {key: row_id for key, (row_id,) in self.read(name, "_row_id").items()} for name in test_raise.NAMES}
        self.assertEqual(found, {name: self.row_ids(name) for name in test_raise.NAMES}, "as DuckDB reads them")
        return found

    def test_raised(self):
        self.fill()
        old = {name: set(self.read(name)) for name in test_raise.NAMES}
        agent = self.goes_on()
        self.assert_stopped(agent)
        self.assert_equal("spark")
        ids = self.ids()
        for name in test_raise.NAMES:
            self.assertEqual(set(self.read(name, **{"snapshot-id": self.heads[name]})), old[name], f"{name}: what was there before")
        self.connection.execute("update orders set gift = not gift; update customers set visits = 3 where id % 2 = 0")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal("spark")
        self.assertEqual(self.ids(), ids)


if __name__ == "__main__":
    unittest.main()
