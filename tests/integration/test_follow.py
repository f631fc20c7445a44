"""Copy, then changes, in both format versions and modes; equal by two engines that are not ours."""

import unittest

from harness.agent import OK, REFUSED
from harness.case import Shop
from harness.kinds import Kinds
from harness.postgres_proxy import PostgresProxy, error
from harness.wait import wait_until

ENGINES = ("duckdb", "pyiceberg")


class Follow(Shop):
    """Each test is made for every combination below."""

    format = mode = None
    quick = True

    def manifest(self, **fields):
        self.write_manifest(format=self.format, mode=self.mode, **fields)

    def assert_all_equal(self, engines=ENGINES):
        for engine in engines:
            with self.subTest(engine=engine):
                self.assert_equal(engine)

    def live(self):
        """Traffic before, during and after the copy, a stop in between, and traffic again."""
        self.quick = False  # as users have it
        self.make_shop()
        self.manifest()
        with self.traffic(seed=1, pace=0) as changes:
            agent = self.start()
            before = changes.done["transactions"]
            self.postgres_has_slot(agent)
            self.wait_transactions(changes, before + 500)
        self.wait_agreed(agent)
        self.assert_all_equal()
        self.assert_stopped(agent)
        self.assert_not_ahead()

        with self.traffic(seed=2, pace=0) as changes:
            self.wait_transactions(changes, 200)  # while nobody follows
            agent = self.start()
            self.postgres_has_slot(agent)
            self.wait_transactions(changes, 500)
        self.wait_agreed(agent)
        self.assert_all_equal()
        self.assert_stopped(agent)

    def kinds(self):
        """Every type with its edge values, truncates, key changes, replica identities."""
        kinds = Kinds(self.connection, seed=3)
        kinds.make()
        kinds.insert(100)
        kinds.changes()
        self.manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_all_equal()
        for _ in range(5):
            kinds.changes()
        self.wait_agreed(agent)
        self.assert_all_equal()
        self.connection.execute("truncate kinds, pairs, parts")
        kinds.changes()
        self.wait_agreed(agent)
        self.assert_all_equal()
        self.assert_stopped(agent)

    def large(self):
        """Transactions larger than the server keeps in memory, one of them given up, others beside."""
        self.make_shop()
        self.manifest()
        agent = self.start()
        run = self.connection.execute
        with self.traffic(seed=4, bulk=False):
            with self.connection.transaction():
                (sku,) = run("select sku from products order by sku limit 1 for key share").fetchone()
                run("insert into order_lines select id, 100 + l, %s, 1, 1.5, null, '{}', null"
                    " from (select id from orders for key share) o, generate_series(1, 60) l", [sku])  # fmt: skip
                run("update order_lines set quantity = 7 where line > 130")
                run("savepoint s")
                run("delete from order_lines where line > 140")
                run("rollback to s")
                run("delete from order_lines where line between 120 and 125")
            with self.postgres.connect("shop") as other:
                other.execute("begin")
                other.execute("lock table order_lines in share row exclusive mode")  # no deadlock with the traffic
                other.execute("update order_lines set quantity = 0 where line > 100")
                other.execute("rollback")
        self.wait_agreed(agent, 180)
        self.assert_all_equal()
        self.assert_stopped(agent)

    def partitioned(self):
        kinds = Kinds(self.connection, seed=5)
        kinds.make()
        kinds.changes()
        self.manifest(include='["public.parts"]', more_table=(
            '      partitionBy: ["region", "day(at)", "bucket(4, id)", "truncate(50, n)"]\n'))  # fmt: skip
        agent = self.start()
        for _ in range(3):
            kinds.changes()
        self.wait_agreed(agent)
        for engine in ENGINES:
            self.assert_equal(engine, "public.parts=shop/parts")
        self.assert_stopped(agent)

    def postgres_has_slot(self, agent):
        wait_until(lambda: self.postgres.slot("firn"), 60, "the slot is there", agent.alive)

    def wait_transactions(self, changes, count):
        wait_until(lambda: changes.done["transactions"] >= count, 120, f"{count} transactions of traffic")


class Snapshot(Shop):
    def test_only(self):
        """Mode Only ends by itself when everything is copied."""
        self.make_shop()
        self.write_manifest(snapshot="Only")
        agent = self.start()
        self.assertEqual(agent.wait(), OK, agent.text())
        self.assert_equal()

    def test_never(self):
        """Mode Never takes what happens from now on."""
        self.connection.execute("create table t (id int primary key, v text)")
        self.connection.execute("insert into t values (1, 'old')")
        self.write_manifest(snapshot="Never")
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("insert into t values (2, 'new'), (3, 'new')")
        self.connection.execute("update t set v = 'newer' where id = 3")
        self.wait_agreed(agent)
        self.connection.execute("delete from t where id = 1")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


class IdColumns(Shop):
    """Rows are known in the lake by something else than the source's key."""

    def follow(self, key: str, format: int):
        run = self.connection.execute
        run(f"create table t (id int{key}, code text not null, part int not null, v text, big text)")
        run("alter table t replica identity full; alter table t alter big set storage external")
        run("insert into t select i, 'c' || i, i % 3, 'v', repeat('x', 4000) from generate_series(1, 50) i")
        self.write_manifest(format=format, more_table="      idColumns: [part, code]\n")
        agent = self.start()
        self.wait_agreed(agent)
        run("update t set code = code || '!' where id % 4 = 0")
        run("update t set id = id + 1000 where id % 5 = 0")
        run("update t set part = part + 10, big = 'short' where id % 6 = 0")
        run("update t set v = 'w' where id % 7 = 0")
        run("delete from t where id % 11 = 0")
        run("alter table t rename column code to name")
        run("update t set name = name || '?' where id % 3 = 0")
        self.wait_agreed(agent)
        for engine in ENGINES:
            self.assert_equal(engine)
        return agent

    def test_without_a_key(self):
        self.assert_stopped(self.follow("", 2))

    def test_beside_a_key(self):
        agent = self.follow(" primary key", 3)
        self.connection.execute("alter table t replica identity default; update t set v = 'unseen'")
        self.assertEqual(agent.wait(), REFUSED)
        self.assertIn("the replica identity no longer has it, which idColumns or keyColumns names", agent.text())
        self.connection.execute("alter table t replica identity full")
        self.write_manifest(format=3, more_table="      idColumns: [part, name]\n")
        agent = self.start(arguments=["--resnapshot", "public.t"])
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


    def test_beside_the_key_of_partitions(self):
        """A partition doesn't take over its table's replica identity, and its old rows have only what its own has."""
        run = self.connection.execute
        run("create table t (id integer primary key, code integer not null, v text) partition by hash (id)")
        for part in range(2):
            run(f"create table t{part} partition of t for values with (modulus 2, remainder {part})")
        run("alter table t replica identity full; alter table t1 replica identity full")
        run("insert into t select i, i, 'v' from generate_series(1, 100) i")
        self.write_manifest(more_table="      idColumns: [code]\n")
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED)
        self.assertIn("ReplicaIdentityPartition", agent.text())
        self.assertIn("ALTER TABLE t0 REPLICA IDENTITY FULL", agent.text())
        for change in ("delete from t where id % 7 = 0", "update t set code = code + 1000 where id % 5 = 0"):
            run("alter table t0 replica identity full")
            agent = self.start(arguments=["--resnapshot", "public.t"])
            self.wait_agreed(agent)
            run("update t set code = code + 2000, id = id + 1000 where id % 11 = 0; update t set v = 'w' where id % 3 = 0")
            run("delete from t where id % 13 = 0")
            self.wait_agreed(agent)
            self.assert_equal()
            run("alter table t0 replica identity default")
            run(change)
            self.assertEqual(agent.wait(), REFUSED)
            self.assertIn("ReplicaIdentityPartition", agent.text())
            self.assertIn("table public.t column code: an update or delete came without its old value", agent.text())
            self.assert_not_ahead()


class Undone(Shop):
    """What was rolled back to a savepoint, of a streamed transaction. The server owes a Stream Abort for it, and leaves
    it out when it had spilled more than 4,096 of its changes to its disk before it began to stream. And rolled back DDL
    can leave its caches such that it always fails at the same place."""

    quick = True
    settings = {"logical_decoding_work_mem": "'2MB'"}

    def setUp(self):
        super().setUp()
        self.connection.execute("create table a (id bigint primary key, v text); alter table a alter v set storage external")
        self.connection.execute("create table b (id bigint primary key)")
        self.write_manifest()
        self.agent = self.start()
        self.wait_agreed(self.agent)

    def roll_back(self, rows: int, large: str, meanwhile):
        """Two transactions: the other one goes on beyond it, and is not over when all is asked for again."""
        with self.postgres.connect("shop") as writer, self.postgres.connect("shop") as other:
            other.execute("begin")
            writer.execute("begin")
            other.execute("insert into a select 100000 + i, 'other' || i from generate_series(1, 20000) i")
            writer.execute("insert into a values (1, 'kept')")
            writer.execute("savepoint s")
            writer.execute(f"insert into a select i, 'undone' from generate_series(10, {rows}) i")
            writer.execute(large)
            meanwhile()
            writer.execute("insert into a select i, 'undone' from generate_series(10001, 10010) i")
            writer.execute("rollback to s")
            writer.execute("insert into a values (2, 'kept, too')")
            writer.execute("savepoint s; insert into b values (3); release s")
            writer.execute("commit")
            if not self.agent:
                self.agent = self.start()
            self.wait_agreed(self.agent)
            self.assert_equal()
            other.execute("savepoint s; insert into b values (4); release s; delete from a where id % 3 = 1; commit")
        self.connection.execute("insert into b values (5)")
        self.wait_agreed(self.agent)
        for engine in ENGINES:
            self.assert_equal(engine)
        self.assertEqual(self.agent.text().count("transactions are no longer streamed"), 1, "the server said it this time")
        self.assert_stopped(self.agent)

    def test_begun_before_the_start(self):
        """The confirmed position lies in the transaction's midst: what is before it can't be streamed."""

        def restart():
            self.wait_agreed(self.agent)
            self.agent.kill()
            self.agent = None

        self.roll_back(9000, "select 1", restart)

    def test_incomplete_value(self):
        """Nor can a row whose large value has come in part, when memory is full."""
        large = "insert into a select 3, string_agg(md5(i::text), '') from generate_series(1, 100000) i"
        self.roll_back(6000, large, lambda: self.wait_agreed(self.agent))

    def test_server_fails_at_it(self):
        self.assert_stopped(self.agent)
        begun = []

        def change(statement, kind, body):
            if "streaming 'on'" in statement and kind == b"d" and body[:1] == b"w" and body[25:26] == b"S":
                begun.append(body)
                if len(begun) == 3:
                    return error("XX000", 'could not map filenumber "base/1/2" to relation OID')
            return None

        with PostgresProxy(self.postgres.port, change) as proxy:
            self.write_manifest(port=proxy.port)
            agent = self.start()
            self.wait_agreed(agent)
            with self.postgres.connect("shop") as writer:
                writer.execute("begin; insert into b values (1)")
                writer.execute("insert into a select i, 'large' from generate_series(1, 60000) i")
                self.connection.execute("insert into b values (2)")
                writer.execute("commit")
            self.wait_agreed(agent)
            self.assertEqual(proxy.changed, 1)
            self.assertIn("could not map filenumber", agent.text())
            self.assertNotIn("starting again", agent.text())
            self.assert_equal()
            self.assert_stopped(agent)


def combinations():
    """A class for each format version and mode, so that every case stands alone in the results."""
    for format_version in (2, 3):
        for mode in ("Upsert", "Append"):
            tests = {f"test_{name}": getattr(Follow, name) for name in ("live", "kinds", "large", "partitioned")}
            settings = {"logical_decoding_work_mem": "'64kB'"}
            name = f"V{format_version}{mode}"
            yield name, type(name, (Follow,), {**tests, "format": format_version, "mode": mode, "settings": settings})


globals().update(combinations())

if __name__ == "__main__":
    unittest.main(verbosity=2)
