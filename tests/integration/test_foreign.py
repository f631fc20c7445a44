"""Others write to tables that the agent fills, while traffic flows: pyiceberg appends, overwrites, deletes, expires
snapshots and rolls back, DuckDB inserts. Their rows stay what they are, the source's stay right, the table's position
is never lost, and the agent goes on by itself; only a rollback ends it, with the ways out, and they work."""

import re
import time
import unittest

import duckdb
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual

from harness import history
from harness.agent import REFUSED
from harness.case import Shop
from harness.place import Place
from harness.wait import wait_until
from lake import duckdb_connection  # of tests/compare, which the harness has put on the path

FOREIGN = 10**9  # ids from here on are not the source's
RACE_SECONDS = 180


class Foreign(Shop):
    rows = 1000
    kind = "rest-s3"
    quick = True
    fields: dict = {"interval": "5s"}  # others have to win a commit now and then, also on a slow machine

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.kind != "nessie-s3":  # which tells of what was there before, too
            cls.place = Place(cls.kind, faults=False).start()
            cls.addClassCleanup(cls.place.stop)

    def setUp(self):
        super().setUp()
        if self.kind == "nessie-s3":
            self.place = Place(self.kind, faults=False).start()
            self.addCleanup(self.place.stop)
        else:
            self.addCleanup(self.place.clear)
        self.make_shop()
        self.write_manifest(place=self.place, **self.fields)
        self.agent = self.start()
        self.wait_agreed(self.agent)
        self.catalog = self.place.rest.catalog()

    def load(self, name: str):
        return self.catalog.load_table(("shop", name))

    def win(self, change):
        """Until it goes through: the agent commits all the time."""

        def won():
            try:
                change()
                return True
            except (CommitFailedException, ValidationException):  # it saw what came in between, before or after it asked
                return False

        wait_until(won, RACE_SECONDS, "the foreign commit goes through", self.agent.alive)

    def foreign_ids(self, name: str) -> list[int]:
        rows = self.load(name).scan(row_filter=GreaterThanOrEqual("id", FOREIGN), selected_fields=("id",)).to_arrow()
        return sorted(rows["id"].to_pylist())

    def position(self, name: str) -> tuple[int, int]:
        return history.load(self.place, name).position

    def goes_on(self, name: str, change):
        """With traffic before, while and after somebody else commits."""
        before = self.position(name)
        with self.traffic(seed=int(time.monotonic()), bulk=False):
            self.win(change)
        self.connection.execute(f"update {name} set {'visits = 7' if name == 'customers' else 'gift = true'} where id % 3 = 0")
        self.wait_agreed(self.agent)
        self.assertLess(before, self.position(name))
        self.assertIsNone(self.agent.process.poll())
        found = self.load(name).scan(selected_fields=("id",)).to_arrow().num_rows
        if self.fields.get("mode") != "Append":
            ours = self.connection.execute(f"select count(*) from {name}").fetchone()[0]
            self.assertEqual(found, ours + len(self.foreign_ids(name)), name)

    # --- what others do ---

    def one(self, table, number: int) -> pa.Table:
        """A row of the table's own, as another."""
        row = table.scan(row_filter=EqualTo("id", 3)).to_arrow().slice(0, 1)
        return row.set_column(row.schema.get_field_index("id"), row.schema.field("id"), pa.array([number], pa.int64()))

    def append(self):
        table = self.load("customers")
        table.append(pa.concat_tables([self.one(table, FOREIGN + 1), self.one(table, FOREIGN + 2)]))

    def overwrite(self):
        """A row of theirs, and one of the source's: what they make of it lasts until the source changes it."""
        table = self.load("customers")
        rows = pa.concat_tables([self.one(table, FOREIGN + 3), self.one(table, 3)])
        rows = rows.set_column(rows.schema.get_field_index("notes"), rows.schema.field("notes"), pa.array(["foreign"] * 2))
        table.overwrite(rows, GreaterThanOrEqual("id", FOREIGN + 2) | EqualTo("id", 3))

    def delete(self):
        self.load("customers").delete(GreaterThanOrEqual("id", FOREIGN))

    def expire(self):
        """All but the head."""
        table = self.load("customers")
        head = table.current_snapshot().snapshot_id
        table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in table.snapshots() if s.snapshot_id != head]).commit()

    def insert(self):
        rest = self.place.rest
        duck = duckdb_connection(self.place.access())
        try:
            duck.execute(f"attach '{rest.warehouse}' as rest (type iceberg, endpoint '{rest.uri}', authorization_type 'none',"
                         " access_delegation_mode 'none', read_only false)")
            duck.execute("insert into rest.shop.orders by name select * replace (id + 1000000000 as id) from rest.shop.orders limit 2")
        except duckdb.Error as error:
            if not re.search("409|conflict|requirement", str(error), re.I):
                raise
            raise CommitFailedException(str(error)) from error
        finally:
            duck.close()

    def done(self, *engines: str):
        self.assert_equal(place=self.place)
        for engine in engines:
            self.assert_equal(engine, place=self.place)
        self.assert_stopped(self.agent)


class Rest(Foreign):
    def test_rows(self):
        self.goes_on("customers", self.append)
        self.assertEqual(self.foreign_ids("customers"), [FOREIGN + 1, FOREIGN + 2])
        self.goes_on("customers", self.overwrite)
        self.assertEqual(self.foreign_ids("customers"), [FOREIGN + 1, FOREIGN + 3])
        self.goes_on("customers", self.delete)
        self.assertEqual(self.foreign_ids("customers"), [])
        self.done("pyiceberg")

    def test_duckdb(self):
        self.goes_on("orders", self.insert)
        foreign = self.foreign_ids("orders")
        self.assertEqual(len(foreign), 2)
        self.win(lambda: self.load("orders").delete(GreaterThanOrEqual("id", FOREIGN)))
        self.done("pyiceberg")

    def test_snapshots_expire(self):
        if self.kind == "nessie-s3":
            self.skipTest("Nessie keeps the head alone")
        self.goes_on("customers", self.expire)
        table = history.load(self.place, "customers")
        self.assertEqual(history.wrong(table), [])
        # idle meanwhile, and stopped: the claim's own snapshot may be gone as well
        self.win(self.append)
        self.win(self.expire)
        self.assert_stopped(self.agent)
        self.agent = self.start()
        self.goes_on("customers", self.delete)
        self.done("pyiceberg")


class RestLog(Rest):
    """Append."""

    fields = {"interval": "5s", "mode": "Append"}

    def overwrite(self):
        """Of a log they can overwrite their own."""
        table = self.load("customers")
        table.overwrite(self.one(table, FOREIGN + 3), GreaterThanOrEqual("id", FOREIGN + 2))


class Nessie(Rest):
    kind = "nessie-s3"


class RolledBack(Foreign):
    def roll_back(self):
        table = self.load("orders")
        table.manage_snapshots().rollback_to_snapshot(table.current_snapshot().parent_snapshot_id).commit()

    def test_rolled_back(self):
        """Rows that were confirmed are missing: only a person can say what is wanted."""
        with self.traffic(bulk=False):
            wait_until(lambda: len(self.load("orders").snapshots()) > 3, 60, "some commits", self.agent.alive)
            self.win(self.roll_back)
            self.assertEqual(self.agent.wait(), REFUSED, self.agent.text())
        for part in ("RolledBack", "public.orders", "--resnapshot public.orders"):
            self.assertIn(part, self.agent.text())
        # the first way out, word for word
        snapshot = re.search(r"make snapshot (\d+) its head again", self.agent.text())
        self.assertTrue(snapshot, self.agent.text())
        self.load("orders").manage_snapshots().set_current_snapshot(int(snapshot[1])).commit()
        self.agent = self.start()
        self.wait_agreed(self.agent)
        self.done("pyiceberg")
        # the second one
        self.roll_back()
        self.agent = self.start()
        self.assertEqual(self.agent.wait(), REFUSED, self.agent.text())
        self.assertIn("RolledBack", self.agent.text())
        self.agent = self.start(arguments=["--resnapshot", "public.orders"])
        self.wait_agreed(self.agent)
        self.done("pyiceberg")




if __name__ == "__main__":
    unittest.main(verbosity=2)
