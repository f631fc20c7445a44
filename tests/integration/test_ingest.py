# seconds: 600
"""Source → topics → tables: `firn-agent capture` and `firn-agent ingest` beside each other, tables equal to the source by
engines that are not ours; through restarts, kills at named points and at random, and partitions dealt out anew."""

import os
import random
import signal
import unittest

from harness import shop
from harness.ingest import IngestCase, lanes
from harness.kafka import Registry
from harness.wait import wait_until

SEED = int(os.environ.get("FIRN_SEED", random.SystemRandom().randrange(10**6)))
KILLS = int(os.environ.get("FIRN_INGEST_KILLS", "8"))
POINTS = ("stage-files-written", "ingest-staged", "ingest-pieces-taken", "ingest-committed", "commit-files-written",
          "commit-manifests-written", "metadata-linked", "commit-swapped", "commit-done")  # fmt: skip


class Ingest(IngestCase):
    rows = 2000

    def setUp(self):
        os.environ["FIRN_SESSION_MS"] = "6000"  # what a consumer that was killed is waited for
        self.addCleanup(os.environ.pop, "FIRN_SESSION_MS", None)
        super().setUp()

    def assert_engines(self, *engines):
        for engine in engines:
            same, output = self.compared(engine)
            self.assertTrue(same, f"{engine}: {output}")

    def both(self, engines=("duckdb", "pyiceberg"), **fields):
        """Traffic through the copy, a stop of both, traffic again while nobody reads."""
        self.make_shop()
        self.write_manifest(**fields)
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture, ingest = self.start(), self.ingest()
            before = changes.done["transactions"]
            self.wait_transactions(changes, before + 800)
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)
        with self.traffic(seed=SEED + 1, bulk=False) as changes:
            self.wait_transactions(changes, 300)
        ingest = self.ingest()
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assert_engines(*engines)
        for table in shop.TABLES:
            self.assert_forward(table)
        self.assert_stopped(ingest)
        self.assert_stopped(capture)

    def wait_transactions(self, changes, count: int):
        wait_until(lambda: changes.done["transactions"] >= count, 120, f"{count} transactions")

    def test_upsert(self):
        self.both()

    def test_upsert_v3(self):
        self.both(format=3)

    def test_append(self):
        self.both(mode="Append")

    def test_avro(self):
        self.registry = Registry()
        self.registry.start()
        self.addCleanup(self.registry.stop)
        self.both()

    def test_schemas_in_records(self):
        self.both(stream="    records: {schemas: true}\n")

    def test_truncate(self):
        self.connection.execute(
            "create table t (id int primary key, v text); insert into t select i, 'v' || i from generate_series(1, 500) i")
        self.write_manifest()
        capture, ingest = self.start(), self.ingest()
        self.wait_equal(capture, ingest)
        for round in range(3):
            self.connection.execute(f"update t set v = v || '{round}'; truncate t; insert into t select i, 'n' || i from generate_series(1, {50 * round + 1}) i")
            self.wait_equal(capture, ingest)
        self.assert_forward("t")
        self.assert_stopped(ingest)

    def test_columns(self):
        """Columns added and widened, at their places, while both run and while ingest does not."""
        run = self.connection.execute
        run("create table t (id int primary key, a int); insert into t select i, i from generate_series(1, 200) i")
        self.write_manifest()
        capture, ingest = self.start(), self.ingest()
        self.wait_equal(capture, ingest)
        run("update t set a = a + 1 where id < 50; alter table t add column b text; update t set b = 'b' || id where id < 20")
        run("insert into t values (1000, 1, 'new')")
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)
        run("alter table t alter column a type bigint; insert into t values (1001, 5000000000, 'wide'); alter table t add column c date")
        run("update t set c = '2024-02-29' where id > 100")
        ingest = self.ingest()
        self.wait_equal(capture, ingest)
        self.assert_stopped(ingest)

    def test_more_partitions(self):
        self.make_shop()
        self.write_manifest(partitions=2)
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture, ingest = self.start(), self.ingest()
            self.wait_transactions(changes, 500)
            self.assert_stopped(capture)
            self.write_manifest(partitions=5)
            capture = self.start()
            self.wait_transactions(changes, changes.done["transactions"] + 500)
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest)
        self.assertEqual(len(lanes(next(v for k, v in self.lake_table("orders").properties.items()
                                        if k.startswith("firn.position.")).rsplit(" ", 1)[0])), 5)  # fmt: skip
        self.assert_stopped(ingest)

    def kill_at_point(self, name: str):
        ingest = self.ingest(crash_at=f"{name}:{self.dice.randint(1, 6)}")
        self.assertEqual(ingest.wait(120), -signal.SIGKILL, ingest.text()[-2000:])
        self.assertTrue(ingest.struck(), ingest.text()[-2000:])

    def test_kill_at_points(self):
        """One consumer, killed at each point in turn, with traffic."""
        self.dice = random.Random(SEED)
        self.make_shop()
        self.write_manifest(interval="500ms")
        with self.traffic(seed=SEED, bulk=False):
            capture = self.start()
            for name in POINTS:
                self.kill_at_point(name)
        ingest = self.ingest()
        self.wait_agreed(capture)
        self.wait_equal(capture, ingest, seconds=180)
        for table in shop.TABLES:
            self.assert_forward(table)
        self.assert_stopped(ingest)

    def test_consumers(self):
        """Three consumers: each killed or stopped for a while and begun again, at random, the one that commits among them."""
        dice = random.Random(SEED)
        self.make_shop()
        self.write_manifest(interval="500ms")
        struck = []
        with self.traffic(seed=SEED, bulk=False) as changes:
            capture = self.start()
            group = [self.ingest() for _ in range(3)]
            self.wait_transactions(changes, changes.done["transactions"] + 300)
            while len(struck) < KILLS:
                at = dice.randrange(3)
                if dice.random() < 0.5:
                    group[at].kill()
                    group[at] = self.ingest()
                    struck.append(f"kill {at}")
                else:
                    os.kill(group[at].process.pid, signal.SIGSTOP)
                    self.wait_transactions(changes, changes.done["transactions"] + 400)
                    os.kill(group[at].process.pid, signal.SIGCONT)
                    struck.append(f"stop {at}")
                self.wait_transactions(changes, changes.done["transactions"] + dice.randint(50, 400))
        self.wait_agreed(capture)
        self.wait_equal(capture, *group, seconds=240)
        for table in shop.TABLES:
            self.assert_forward(table)
        print(f"seed {SEED}: {', '.join(struck)}")
        for ingest in group:
            self.assert_stopped(ingest)


if __name__ == "__main__":
    unittest.main()
