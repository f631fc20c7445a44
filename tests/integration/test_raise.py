"""`formatVersion` of a table that is there goes from 2 to 3: raised in place when the agent starts, under traffic, killed on
the way, and read by DuckDB and pyiceberg (test_raise_spark.py: Spark): every row as at the source, with one row id that it keeps, and what older
snapshots hold stays what it was."""

import json
import signal
import unittest
from pathlib import Path

from harness import history
from harness.agent import REFUSED
from harness.case import Shop
from harness.fault_proxy import Fault
from harness.place import Place
from harness.wait import wait_until
from lake import LOCAL, duckdb_connection, newest_metadata  # of tests/compare, which the harness has put on the path

NAMES = ("customers", "products", "orders", "order_lines")
KEYS = {"customers": "id", "products": "sku", "orders": "id", "order_lines": "order_id, line"}


def crash_points(phase: str) -> list[str]:
    lines = [line.split() for line in (Path(__file__).parent / "crash_points").read_text().splitlines()]
    return [name for name, of, *_ in lines if of == phase]


class Case(Shop):
    rows = 1000
    quick = True
    place: Place | None = None
    mode = "Upsert"

    def manifest(self, format: int, **fields):
        self.write_manifest(format=format, mode=self.mode, **({"place": self.place} if self.place else {}), **fields)

    def location(self, name: str) -> str:
        return f"shop/{name}" if self.place and self.place.rest else str(self.warehouse / "shop" / name)

    @property
    def access(self):
        return self.place.access() if self.place else LOCAL

    def metadata(self, name: str) -> dict:
        path = newest_metadata(self.location(name), self.access)
        return json.loads(self.place.read(str(path)) if self.place else path.read_bytes())

    def versions(self) -> set[int]:
        return {self.metadata(name)["format-version"] for name in NAMES}

    def rows_at(self, name: str, snapshot: int) -> list[tuple]:
        """Of an older snapshot, by pyiceberg."""
        from pyiceberg.table import StaticTable

        table = StaticTable.from_metadata(str(newest_metadata(self.location(name), self.access)), self.access.properties)
        return sorted(map(repr, table.scan(snapshot_id=snapshot).to_arrow().to_pylist()))

    def row_ids(self, name: str) -> dict[tuple, int]:
        """By key, as DuckDB reads them; each row has one, and no two have the same."""
        duck = duckdb_connection(self.access)
        try:
            rows = duck.execute(f"select {KEYS[name]}, _row_id from iceberg_scan('{newest_metadata(self.location(name), self.access)}')").fetchall()
        finally:
            duck.close()
        found = {tuple(key): row_id for *key, row_id in rows}
        self.assertEqual(len(found), len(rows), f"{name}: a key stands twice")
        self.assertNotIn(None, found.values())
        self.assertEqual(len(set(found.values())), len(rows), f"{name}: two rows have one id")
        return found

    def assert_all_equal(self):
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine, **({"place": self.place} if self.place else {}))

    def fill(self):
        """A table of v2, with updates and deletes, whose agent has ended."""
        self.make_shop()
        self.manifest(2)
        with self.traffic(seed=1, bulk=False) as changes:
            agent = self.start()
            wait_until(lambda: changes.done["transactions"] >= 150, 60, "traffic", agent.alive)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assertEqual(self.versions(), {2})
        self.heads = {name: self.metadata(name)["current-snapshot-id"] for name in NAMES}

    def assert_raised(self, agent):
        said = [line for line in agent.lines() if line["msg"] == "format version raised"]
        self.assertEqual({line["table"] for line in said}, {f"public.{name}" for name in NAMES})
        self.assertEqual({(line["from"], line["to"]) for line in said}, {(2, 3)})
        self.assertEqual(len(said), len(NAMES))

    def deletes(self, name: str) -> dict[str, int]:
        """Delete files of the head, by kind: those of v2, and vectors."""
        from pyiceberg.table import StaticTable

        table = StaticTable.from_metadata(str(newest_metadata(self.location(name), self.access)), self.access.properties)
        formats = [entry.data_file.file_format for manifest in table.current_snapshot().manifests(table.io) if manifest.content == 1
                   for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)]  # fmt: skip
        return {kind: sum(kind in str(each).lower() for each in formats) for kind in ("parquet", "puffin")}

    def goes_on(self):
        """Raised with changes at the source that nobody has followed, and traffic; then rows keep their ids."""
        old = {name: self.rows_at(name, head) for name, head in self.heads.items()}
        before = {name: self.deletes(name) for name in NAMES}
        self.assertTrue(any(kinds["parquet"] for kinds in before.values()), before)
        self.connection.execute("update orders set gift = not gift where id % 2 = 0; delete from order_lines where line = 1 and order_id % 3 = 0")
        self.manifest(3)
        with self.traffic(seed=2, bulk=False) as changes:
            agent = self.start()
            done = changes.done["transactions"]
            wait_until(lambda: changes.done["transactions"] >= done + 100, 60, "traffic", agent.alive)
        self.wait_agreed(agent)
        self.assert_raised(agent)
        self.assertEqual(self.versions(), {3})
        self.assert_all_equal()
        for name in NAMES:
            by_id = {each["snapshot-id"]: each for each in self.metadata(name)["snapshots"]}
            raised = min((each for each in by_id.values() if "first-row-id" in each), key=lambda each: each["sequence-number"])
            self.assertEqual(raised["parent-snapshot-id"], self.heads[name], f"{name}: a snapshot of its own, on top of the last of v2")
            self.assertNotIn("first-row-id", by_id[self.heads[name]])
            self.assertEqual(self.rows_at(name, self.heads[name]), old[name], f"{name}: what was there before")
            self.assertEqual(self.rows_at(name, raised["snapshot-id"]), old[name], f"{name}: just after")
        if self.mode == "Upsert":
            self.keeps_ids(agent)
        return agent

    def keeps_ids(self, agent):
        run = self.connection.execute
        ids = {name: self.row_ids(name) for name in NAMES}
        run("update customers set visits = visits + 1; update orders set gift = not gift where id % 5 < 3;"
            " update order_lines set quantity = 3; delete from order_lines where order_id % 7 = 0")  # fmt: skip
        self.wait_agreed(agent)
        for name in NAMES:
            now = self.row_ids(name)
            self.assertEqual({key: ids[name][key] for key in now}, now, name)
        self.assertEqual(len(self.row_ids("customers")), len(ids["customers"]))
        self.assert_all_equal()
        after = {name: self.deletes(name) for name in ("customers", "order_lines")}
        self.assertEqual([kinds["parquet"] for kinds in after.values()], [0, 0], "each of their files has a vector now, or is gone")


class Directory(Case):
    def test_upsert(self):
        self.fill()
        agent = self.goes_on()
        self.assert_not_ahead()
        self.assert_stopped(agent)
        agent = self.start()  # once
        self.connection.execute("update products set price = price + 1")
        self.wait_agreed(agent)
        self.assertNotIn("format version raised", agent.text())
        self.assert_all_equal()
        self.assert_stopped(agent)
        self.manifest(2)
        heads = {name: self.metadata(name)["current-snapshot-id"] for name in NAMES}
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED)
        self.assertIn("FormatVersion", agent.text())
        self.assertIn("set formatVersion: 3", agent.text())
        self.assertEqual({name: self.metadata(name)["current-snapshot-id"] for name in NAMES}, heads)

    def test_append(self):
        self.mode = "Append"
        self.make_shop()
        self.manifest(2)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.manifest(3)
        with self.traffic(seed=2, bulk=False):
            agent = self.start()
        self.wait_agreed(agent)
        self.assert_raised(agent)
        self.assertEqual(self.versions(), {3})
        self.assert_all_equal()
        self.assert_stopped(agent)

    def test_way_out(self):
        """What v2 can't follow v3 can, and nothing of it is lost: a column added with a default."""
        run = self.connection.execute
        run("create table t (id int primary key, a int); insert into t select i, i from generate_series(1, 50) i")
        self.manifest(2)
        agent = self.start()
        self.wait_agreed(agent)
        run("update t set a = a + 1 where id % 2 = 0; delete from t where id % 5 = 0")
        self.wait_agreed(agent)
        run("alter table t add column d integer default 5; insert into t values (100, 1, 2)")
        self.assertEqual(agent.wait(), REFUSED)
        self.assertIn("formatVersion: 3 can", agent.text())
        self.manifest(3)
        agent = self.start()
        self.wait_agreed(agent)
        run("update t set a = 0 where id < 20; alter table t add column e integer default 6; update t set e = 7 where id = 1")
        self.wait_agreed(agent)
        self.assert_all_equal()
        self.assert_stopped(agent)

    def test_kills(self):
        """In the commit that raises the first table, and after it; then the next process goes on."""
        points = ["commit-manifests-written", "metadata-linked", "commit-swapped", *crash_points("raise")]
        self.assertIn("format-raised", points)
        for point in points:
            with self.subTest(point):
                self.connection.execute("drop schema public cascade; create schema public")
                self.postgres.drop_slots()
                self.connection.execute("drop publication if exists firn")
                self.warehouse = self.folder / f"warehouse-{point}"
                self.warehouse.mkdir()
                self.fill()
                self.connection.execute("update orders set gift = not gift")
                self.manifest(3)
                agent = self.start(crash_at=point)
                self.assertEqual(agent.wait(), -signal.SIGKILL, agent.text()[-2000:])
                self.assertTrue(agent.struck(), agent.text()[-2000:])
                self.assertEqual(self.versions(), {2} if point == "commit-manifests-written" else {2, 3})
                self.assert_not_ahead()
                agent = self.start()
                self.wait_agreed(agent)
                self.assertEqual(self.versions(), {3})
                self.keeps_ids(agent)
                self.assert_not_ahead()
                self.assert_stopped(agent)


class Rest(Case):
    """Iceberg's own server writes the metadata, over S3; it checks what it is told."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = Place("rest-s3").start()
        cls.addClassCleanup(cls.place.stop)

    def setUp(self):
        super().setUp()
        self.addCleanup(self.place.clear)

    def test_upsert(self):
        self.fill()
        agent = self.goes_on()
        self.assert_stopped(agent)
        for name in NAMES:
            table = history.load(self.place, name)
            self.assertEqual(history.wrong(table), [])
            self.assertEqual(table.orphans, set(), name)

    def test_no_answer(self):
        """The server is told, and its answer does not come."""
        self.fill()
        self.connection.execute("update orders set gift = not gift")
        self.manifest(3)
        fault = Fault(kind="swallow", method="POST", path=r"/tables/\w+$")
        self.place.rest_proxy.plan([fault])
        agent = self.start()
        wait_until(lambda: fault.struck, 60, "an answer is lost", agent.alive)
        self.wait_agreed(agent)
        self.assertIn("raising the format version to 3", agent.text())
        self.assertEqual(self.versions(), {3})
        self.assert_all_equal()
        self.keeps_ids(agent)
        self.assert_stopped(agent)


class Nessie(Case):
    """It knows no v3."""

    def test_refused(self):
        self.place = Place("nessie-s3").start()
        self.addCleanup(self.place.stop)
        self.fill()
        self.connection.execute("update orders set gift = not gift")
        self.manifest(3)
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-3000:])
        self.assertIn("FormatVersion", [line.get("reason") for line in agent.lines()])
        self.assertIn("the catalog does not raise it", agent.text())
        self.assertEqual({name: self.metadata(name)["current-snapshot-id"] for name in NAMES}, self.heads)
        self.manifest(2)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_all_equal()
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main(verbosity=2)
