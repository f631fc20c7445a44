"""Spark writes to tables that the agent fills, while traffic flows: rows, compaction, expiry, a rollback. As
tests/integration/test_foreign.py, whose ways it goes."""

import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import test_foreign
from harness import history
from harness.agent import REFUSED
from harness.record import record
from harness.wait import wait_until


class Spark(test_foreign.Foreign):
    kind = "rest-files"
    said: list[str] = []

    def setUp(self):
        super().setUp()
        import spark_session
        from pyspark.sql.functions import col

        self.col = col
        self.spark = spark_session.session()
        self.name = f"rest{self.place.rest.port}"  # a catalog of its own for each test
        for key, value in {"": "org.apache.iceberg.spark.SparkCatalog", ".type": "rest", ".uri": self.place.rest.uri,
                           ".cache-enabled": "false"}.items():  # fmt: skip
            self.spark.conf.set(f"spark.sql.catalog.{self.name}{key}", value)

    def win(self, change):
        from py4j.protocol import Py4JJavaError

        def won():
            try:
                change()
                return True
            except Py4JJavaError as error:
                if not re.search("CommitFailed|Requirement failed|conflict|Found concurrently added|found new (position )?delete", str(error)):
                    raise
                return False

        wait_until(won, 3 * test_foreign.RACE_SECONDS, "the foreign commit goes through", self.agent.alive)

    def call(self, procedure: str, arguments: str = ""):
        self.spark.sql(f"call {self.name}.system.{procedure}(table => 'shop.customers'{arguments})").collect()

    def insert(self):
        customers = self.spark.table(f"{self.name}.shop.customers")
        customers.limit(2).withColumn("id", self.col("id") + test_foreign.FOREIGN).writeTo(f"{self.name}.shop.customers").append()

    def delete(self):
        self.spark.sql(f"delete from {self.name}.shop.customers where id >= {test_foreign.FOREIGN}")

    def compact(self):
        self.call("rewrite_data_files", ", options => map('rewrite-all', 'true')")

    def position_kept(self):
        self.assertTrue(self.position("customers"))

    def expire(self):
        self.call("expire_snapshots", ", older_than => timestamp '2099-01-01 00:00:00', retain_last => 1")

    def writes(self):
        for change in (self.insert, self.compact, self.expire):
            if change == self.compact:
                self.win(change)  # under traffic Spark never wins: every row it moved has been changed meanwhile
            self.goes_on("customers", change if change != self.compact else self.position_kept)
            self.assertEqual(len(self.foreign_ids("customers")), 2)
            self.assertEqual(history.wrong(history.load(self.place, "customers")), [])
        self.goes_on("customers", self.delete)
        self.assertEqual(self.foreign_ids("customers"), [])
        self.done("pyiceberg")

    def test_rows_and_files(self):
        self.writes()
        self.said.append("v2 Upsert: INSERT, expire_snapshots (retain_last 1), DELETE under traffic, rewrite_data_files while it was quiet: equal")

    def test_rolled_back(self):
        with self.traffic(bulk=False):
            wait_until(lambda: len(self.load("customers").snapshots()) > 3, 60, "some commits", self.agent.alive)

            def roll_back():
                parent = self.load("customers").current_snapshot().parent_snapshot_id
                self.call("rollback_to_snapshot", f", snapshot_id => {parent}")

            self.win(roll_back)
            self.assertEqual(self.agent.wait(), REFUSED, self.agent.text())
        snapshot = re.search(r"RolledBack.*make snapshot (\d+) its head again", self.agent.text())
        self.assertTrue(snapshot, self.agent.text())
        self.call("set_current_snapshot", f", snapshot_id => {snapshot[1]}")
        self.agent = self.start()
        self.wait_agreed(self.agent)
        self.done("pyiceberg")
        version = self.fields.get("format", 2)
        self.said.append(f"v{version}: rollback_to_snapshot under traffic: RolledBack; set_current_snapshot as the message says: equal")


class SparkV3(Spark):
    fields = {"interval": "2s", "format": 3}

    def test_rows_and_files(self):
        self.writes()
        self.said.append("v3 Upsert: the same")


def tearDownModule():
    if len(Spark.said) == 4:  # whole, or none
        record("Spark writes to tables that Firn fills", sorted(Spark.said))


if __name__ == "__main__":
    unittest.main(verbosity=2)
