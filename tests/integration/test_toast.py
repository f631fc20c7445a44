"""Large values that an update leaves out of the log (unchanged TOAST): they come from the lake table's own row. The
source's row has changed or gone by the time the log is read, so that fetching it by key would give another value, or
none; and the agent's own count of such fetches stays 0."""

import unittest

from pyiceberg.expressions import LessThan

from harness.case import Shop
from harness.place import Place
from harness.wait import wait_until

ENGINES = ("duckdb", "pyiceberg")
COLUMNS = "body text, raw bytea, doc jsonb, tags text[], made made, mades made[], n integer, note text"


class Toast(Shop):
    format = None

    def make(self, rows: int = 60, key: str = "id integer primary key"):
        run = self.connection.execute
        run("create type part as (a integer, b text)")
        run("create type made as (p part, t text[])")
        for table in ("big", "moved"):
            run(f"create table {table} ({key}, {COLUMNS})")
            for column in ("body", "raw", "doc", "tags", "made", "mades"):
                run(f"alter table {table} alter column {column} set storage external")
        self.insert("big", 1, rows)
        self.insert("moved", 1, rows)

    def insert(self, table: str, first: int, last: int, connection=None, mark: str = ""):
        """Every large column of every row beyond what a page takes, each with another text; some null or empty."""
        (connection or self.connection).execute(f"""
            insert into {table} select i, t, decode(md5(t), 'hex') || convert_to(t, 'UTF8'), jsonb_build_object('t', t, 'i', i),
              case i % 4 when 0 then '{{}}' when 1 then null else array[t, null, 'x' || i, t] end,
              case when i % 5 > 0 then row(row(i, t)::part, array[t, null])::made end,
              array[row(row(i, t)::part, '{{}}')::made, null, row(null, null)::made, row(row(null, 'e')::part, array[t])::made],
              0, 'new'
            from (select i, (select string_agg(md5(i || '{mark}' || k), '') from generate_series(1, 90) k) t
              from generate_series({first}, {last}) i) r""")  # fmt: skip

    def keyed_reads(self, agent) -> float:
        return sum(value for name, value in agent.metrics().items() if name.startswith("firn_keyed_reads_total"))

    def filled(self, agent) -> float:
        return sum(value for name, value in agent.metrics().items() if name.startswith("firn_table_filled_values_total"))

    def run_agent(self):
        agent = self.start(http=True)
        agent.wait_ready()
        return agent

    def assert_filled(self, agent, at_least: int):
        """Agreed, equal, by no fetch at all."""
        self.wait_agreed(agent)
        wait_until(lambda: self.filled(agent) >= at_least, 90, "values are counted", agent.alive)
        self.assertEqual(self.keyed_reads(agent), 0)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                self.assert_equal(engine)


class Filled(Toast):
    """Of a table in one format version."""

    def live(self):
        self.make()
        self.write_manifest(format=self.format)
        agent = self.run_agent()
        self.wait_agreed(agent)
        run = self.connection.execute
        run("update big set n = 1 where id <= 20")  # of files that were copied
        self.assert_filled(agent, 100)
        run("update big set n = n + 1, note = 'again' where id <= 30")  # of files committed since, too
        with self.connection.transaction():  # rows of the same transaction, changed several times
            self.insert("big", 101, 140)
            run("update big set n = 1 where id between 101 and 130")
            run("update big set n = 2, body = body || 'x' where id between 111 and 125")
            run("update big set n = 3 where id between 101 and 135")
            run("delete from big where id between 121 and 123")
            self.insert("big", 121, 122, mark="anew")
            run("update big set n = 4 where id between 119 and 124")
        self.insert("big", 201, 240)  # in another transaction, before a commit
        run("update big set n = 1 where id > 200")
        with self.connection.transaction():  # keys that change, and back
            run("update moved set id = id + 1000 where id <= 10")
            run("update moved set id = id + 1000, n = 5 where id > 1005")
            run("update moved set n = 6 where id > 1000")
        run("update moved set id = id - 1000 where id between 1001 and 1003")
        run("update moved set n = 7 where id < 20")
        self.assert_filled(agent, 500)
        self.assert_stopped(agent)

    def stopped(self):
        """What is read by key now is not what it was: nothing of it may show."""
        self.make()
        self.write_manifest(format=self.format)
        agent = self.run_agent()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        run = self.connection.execute
        run("update big set n = 1 where id <= 40")  # values as they were copied
        run("update big set body = 'small', tags = null where id <= 10")
        run("update big set n = 2 where id <= 10")  # some by now small, others as they were
        run("delete from big where id between 11 and 20")
        self.insert("big", 11, 15, mark="anew")
        run("update big set n = 3 where id between 11 and 15")
        run("update big set id = id + 1000 where id between 21 and 30")
        run("update moved set id = id + 1000 where id <= 10")
        run("update moved set n = 1 where id > 1000")
        self.insert("moved", 1, 5, mark="other")  # the old keys are others' now
        run("update moved set n = 2 where id <= 5")
        run("delete from moved where id > 1005")
        run("truncate moved") if self.format == 3 else None
        self.insert("moved", 301, 310)
        run("update moved set note = null where id > 300")
        agent = self.run_agent()
        self.assert_filled(agent, 200)
        self.assert_stopped(agent)
        run("update big set note = 'late'")
        agent = self.run_agent()
        self.assert_filled(agent, 100)
        self.assert_stopped(agent)

    def columns_changed(self):
        self.make()
        self.write_manifest(format=self.format)
        agent = self.run_agent()
        self.wait_agreed(agent)
        run = self.connection.execute
        with self.connection.transaction():
            run("update big set n = 1 where id <= 20")
            run("alter table big rename column body to text")
            run("alter table big add column extra text")
            run("update big set extra = 'e', n = 2 where id <= 30")
            run("alter table big drop column note")
            run("update big set n = 3 where id <= 40")
        run("update big set n = 4")
        self.wait_agreed(agent)
        self.assertEqual(self.keyed_reads(agent), 0)
        self.assert_equal("duckdb", kept=("public.big.note",))
        self.assert_stopped(agent)


class V2(Filled):
    format = 2
    test_live, test_stopped, test_columns_changed = Filled.live, Filled.stopped, Filled.columns_changed


class V3(Filled):
    format = 3
    test_live, test_stopped, test_columns_changed = Filled.live, Filled.stopped, Filled.columns_changed


class Spread(Toast):
    """Many files and partitions, commits in between, kills."""

    def test_partitions(self):
        self.make(200)
        self.write_manifest(format=3, more_table='      partitionBy: ["bucket(5, id)"]\n')
        agent = self.run_agent()
        self.wait_agreed(agent)
        for step in range(6):
            first = 1000 + 100 * step
            self.insert("big", first, first + 50)
            self.connection.execute(f"update big set n = n + 1 where id % 7 = {step}")
            self.connection.execute(f"update big set note = 'n' where id between {first} and {first + 20}")
            if step == 3:
                self.wait_agreed(agent)
        self.assert_filled(agent, 500)
        self.assert_stopped(agent)

    def test_root_is_full(self):
        """The published root's identity is FULL and its partitions' is not: old rows come as whole, with nulls."""
        run = self.connection.execute
        run("create table spread (id integer primary key, body text) partition by hash (id)")
        for part in range(3):
            run(f"create table spread{part} partition of spread for values with (modulus 3, remainder {part})")
        run("alter table spread alter body set storage external")
        run("alter table spread replica identity full")
        run("insert into spread select i, repeat('x', 9000) || i from generate_series(1, 60) i")
        self.write_manifest(format=2)
        agent = self.run_agent()
        self.wait_agreed(agent)
        run("update spread set id = id + 1000 where id % 3 > 0")  # some stay in their partition
        self.assert_filled(agent, 1)
        self.assert_stopped(agent)

    def test_killed(self):
        self.make()
        self.write_manifest(format=2)
        agent = self.start()
        self.wait_agreed(agent)
        for step in range(4):
            self.connection.execute(f"update big set n = n + 1 where id % 4 <> {step}")
            self.connection.execute(f"update moved set id = id + 1000 where id % 10 = {step}")
            agent.kill()
            self.connection.execute(f"update moved set id = id - 1000 where id > 1000 and id % 4 = {step}")
            agent = self.run_agent()
        self.wait_agreed(agent)
        self.assertEqual(self.keyed_reads(agent), 0)
        self.assert_equal("pyiceberg")
        self.assert_stopped(agent)

    def test_text_key(self):
        """A key of text, that is large itself."""
        self.make(40, "id text primary key")
        self.write_manifest(format=2)
        agent = self.run_agent()
        self.wait_agreed(agent)
        run = self.connection.execute
        run("update big set n = 1")
        run("update big set id = id || repeat('k', 1500) where length(id) = 1")
        run("update big set n = 2")
        self.assert_filled(agent, 300)
        self.assert_stopped(agent)


class Fetched(Toast):
    """Where the lake's table has no such row, the source is asked."""

    def test_append(self):
        self.make(20)
        self.write_manifest(mode="Append")
        agent = self.run_agent()
        self.wait_agreed(agent)
        self.connection.execute("update big set n = 1")
        self.wait_agreed(agent)
        wait_until(lambda: self.keyed_reads(agent) == 20, 90, "each is fetched", agent.alive)
        self.assertEqual(self.filled(agent), 0)
        self.assert_stopped(agent)

    def test_never_copied(self):
        self.make(20)
        self.write_manifest(snapshot="Never")
        agent = self.run_agent()
        self.wait_agreed(agent)
        self.connection.execute("update big set n = 1")
        self.connection.execute("update moved set n = 1")
        self.assert_agreed_by_fetching(agent, 40)

    def assert_agreed_by_fetching(self, agent, reads: int):
        self.wait_agreed(agent)
        wait_until(lambda: self.keyed_reads(agent) >= reads, 90, "they are fetched", agent.alive)
        self.assert_equal("duckdb")
        self.assert_stopped(agent)


class Deleted(Fetched):
    """Somebody deletes rows of the lake's table: the first update of one starts the flow again, which fetches."""

    test_append = test_never_copied = None

    def test_deleted_in_the_lake(self):
        place = Place("rest-files", self.warehouse, faults=False).start()
        self.addCleanup(place.stop)
        self.make(20)
        self.write_manifest(place=place)
        agent = self.run_agent()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        place.rest.catalog().load_table(("shop", "big")).delete(LessThan("id", 6))
        agent = self.run_agent()
        self.connection.execute("update big set n = 1")
        self.wait_agreed(agent)
        wait_until(lambda: self.keyed_reads(agent) >= 20, 90, "they are fetched", agent.alive)
        self.assertIn("BaseRowMissing", agent.text())
        self.assert_equal("pyiceberg", place=place)
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main()
