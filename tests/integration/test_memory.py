"""Many tables together hold no more than a bound in files that are being written: the fattest end early."""

import os
import unittest
from unittest import mock

from harness.case import Shop

TABLES = 24
ROWS = 400


class Bound(Shop):
    settings = {"logical_decoding_work_mem": "'1MB'"}

    def fill(self, first: int):
        with self.connection.transaction():
            for table in range(TABLES):
                self.connection.execute(
                    f"insert into t{table} select i, md5(i::text) || md5((i * 7)::text) || md5((i * {table + 3})::text)"
                    f" from generate_series({first}, {first + ROWS - 1}) i")  # fmt: skip

    def added(self) -> tuple[int, int]:
        """Data files, and commits that added some."""
        added = [int(snapshot["summary"].get("added-data-files", 0)) for table in range(TABLES)
                 for snapshot in self.lake_table(f"t{table}").snapshots]  # fmt: skip
        return sum(added), sum(count > 0 for count in added)

    def run_with(self, mode: str, **environment) -> tuple[int, int]:
        """What the stream added."""
        for table in range(TABLES):
            self.connection.execute(f"create table t{table} (id int primary key, v text)")
        self.write_manifest(mode=mode, interval="3s")
        with mock.patch.dict(os.environ, environment):
            agent = self.start()
        self.wait_agreed(agent)
        before = self.added()
        for first in range(0, 10 * ROWS, ROWS):
            self.fill(first)
        self.connection.execute("update t0 set v = 'changed' where id % 3 = 0")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine)
        after = self.added()
        return after[0] - before[0], after[1] - before[1]

    def test_bound(self):
        for mode in ("Upsert", "Append"):
            with self.subTest(mode=mode):
                files, commits = self.run_with(mode, FIRN_BUFFERS_BYTES=str(1 << 20))
                self.assertGreater(files, commits + TABLES)
                self.start_afresh()

    def test_usual(self):
        files, commits = self.run_with("Append")
        self.assertEqual(files, commits)

    def test_values_kept(self):
        """Large values that updates leave out are kept as long as there is room, and else read again."""
        for table in range(TABLES):
            self.connection.execute(f"create table t{table} (id int primary key, n int, v text)")
            self.connection.execute(f"alter table t{table} alter v set storage external")
            self.connection.execute(
                f"insert into t{table} select i, 0, repeat(md5(i::text || {table}), 100) from generate_series(1, 100) i")  # fmt: skip
        self.write_manifest(mode="Upsert", interval="3s")
        with mock.patch.dict(os.environ, FIRN_BUFFERS_BYTES=str(2 << 20)):
            agent = self.start()
        self.wait_agreed(agent)
        for _ in range(4):
            for table in range(TABLES):
                self.connection.execute(f"update t{table} set n = n + 1 where id % 3 <> 0")
            self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal()

    def start_afresh(self):
        self.connection.execute("drop schema public cascade; create schema public")
        self.postgres.drop_slots()
        self.connection.execute("drop publication if exists firn")
        self.warehouse = self.folder / f"warehouse-{self.runs}"
        self.warehouse.mkdir()


if __name__ == "__main__":
    unittest.main(verbosity=2)
