"""ALTER TABLE and its like on MySQL and MariaDB: followed at their place, or refused before the first row they concern."""

import os
import unittest

from test_mysql import SECONDS, Base

from harness.wait import wait_until


class Ddl(Base):
    names = True  # table maps name their columns

    def setUp(self):
        super().setUp()
        self.execute("create table t (id int primary key, a varchar(20), b int, c varchar(10) not null default 'c')")
        self.insert(0)

    def insert(self, first: int, columns="id, a, b", row="({0}, 'a{0}', {0})"):
        self.execute(f"insert into t ({columns}) values " + ", ".join(row.format(first + i) for i in range(5)))

    def follow(self, **fields):
        agent = self.start(**fields)
        self.wait_equal(agent, "t")
        return agent

    def refused(self, agent, code: str):
        self.assertEqual(agent.wait(), 3, agent.text()[-3000:])
        self.assertIn(code, agent.text())

    def alter(self, *statements: str, live=True, after=None):
        """A row before, and rows after; live: while the agent follows, else it catches up."""
        agent = self.follow()
        if not live:
            self.assert_stopped(agent)
        self.insert(100)
        for statement in statements:
            self.execute(statement)
        if after:
            after()
        if not live:
            agent = self.start()
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        agent = self.start()  # and what is kept of the columns reads the rest
        self.execute("update t set b = b + 1")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_add_column(self):
        for live in (True, False):
            with self.subTest(live=live):
                name = f"d{live:d}"
                self.alter(f"alter table t add column {name} bigint after a", live=live,
                           after=lambda: self.insert(200 + 100 * live, f"id, a, b, {name}", "({0}, 'a{0}', {0}, {0})"))  # fmt: skip
                self.execute("delete from t where id > 50")

    def test_add_with_defaults(self):
        """Older rows have the statement's default, whatever it is later; v3 can say so."""
        agent = self.follow(format=3)
        self.assert_stopped(agent)
        self.execute("alter table t add column i int not null default 5, add column s varchar(20) default 'it''s', "
                     "add column d decimal(8,2) default -1.5, add column n int not null, add column e varchar(5) not null, "
                     "add column y date default '2026-01-02', add column f double default 0.25, add column z int")  # fmt: skip
        self.execute("insert into t (id, a, b, n, e) values (200, 'x', 1, 2, 'e')")
        if self.names:
            self.execute("alter table t alter column i set default 6, alter column s drop default")
        agent = self.start(format=3)
        self.wait_equal(agent, "t")
        self.execute("insert into t (id, n, e, s) values (201, 7, 'f', null)")
        self.execute("update t set b = 100 where id = 1")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_nobody_writes(self):
        """The log says it once: who goes on behind the statement knows it from the lake's table, though no row had come."""
        agent = self.follow(format=3)
        self.execute("alter table t rename column a to word, add column n int not null default 7")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        agent = self.start(format=3)
        self.execute("alter table t rename column word to a, rename column b to word")
        self.wait_equal(agent, "t")
        agent.kill()
        agent = self.start(format=3)
        self.insert(300, "id, a, word")
        self.execute("update t set a = 'changed' where id = 1")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_rename_column(self):
        self.alter("alter table t rename column a to new_name", after=lambda: self.insert(200, "id, new_name, b"))

    def test_change_column(self):
        """To another name and back, with rows in between that only their table map tells of."""
        statements = ("alter table t change column b `b new` bigint, algorithm = copy",
                      "insert into t (id, `b new`) values (150, 20000000000)", "alter table t change `b new` b bigint")  # fmt: skip
        if self.names:
            self.alter(*statements, live=False, after=lambda: self.insert(200, "id, a, b", "({0}, 'a{0}', {0} + 10000000000)"))
            return
        agent = self.follow()
        self.assert_stopped(agent)
        for statement in statements:
            self.execute(statement)
        self.refused(self.start(), "SchemaUndecided")

    def test_widen(self):
        self.alter("alter table t modify b bigint, modify a varchar(2000) character set latin1",
                   after=lambda: self.insert(200, "id, a, b", "({0}, 'äö{0}', {0} + 10000000000)"))  # fmt: skip

    def test_nullable(self):
        self.alter("alter table t modify c varchar(10) null",
                   after=lambda: self.insert(200, "id, a, b, c", "({0}, 'a{0}', {0}, null)"))  # fmt: skip

    def test_truncate(self):
        self.alter("truncate table t", after=lambda: self.insert(300))

    def test_several_caught_up_with(self):
        statements = ["alter table t add column d int", "insert into t (id, a, b, d) values (400, 'x', 1, 2)",
                      "alter table t rename column a to aa, add column e varchar(5)",
                      "insert into t (id, aa, b, d, e) values (401, 'x', 1, 2, 'e')",
                      "alter table t modify b bigint", "insert into t (id, aa, b, d, e) values (402, 'x', 10000000000, 2, 'e')"]  # fmt: skip
        if self.names:
            self.alter(*statements, live=False)
            return
        for metadata in sorted({self.settings["binlog_row_metadata"], "MINIMAL"}):
            with self.subTest(metadata=metadata):
                self.doCleanups()
                self.setUp()
                self.undecided(metadata, *statements)

    def undecided(self, metadata: str, *statements: str):
        """Refused, whoever starts it how often; the way out that it names loads the table, and loses nothing of others."""
        self.execute(f"set global binlog_row_metadata = '{metadata}'")
        self.addCleanup(self.server.execute, f"set global binlog_row_metadata = '{self.settings['binlog_row_metadata']}'")
        self.execute("create table u (id int primary key, n int)")
        self.execute("insert into u values (1, 1), (2, 2)")
        agent = self.start()
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)
        self.execute("update u set n = 10 where id = 1")
        for statement in statements:
            self.execute(statement)
        self.execute("delete from u where id = 2")
        for _ in range(2):
            agent = self.start()
            self.refused(agent, "SchemaUndecided")
            for word in "table shop.t", "binlog_row_metadata = FULL", "--resnapshot shop.t":
                self.assertIn(word, agent.text())
        agent = self.start(arguments=["--resnapshot", "shop.t"])
        self.wait_equal(agent, "t", "u")
        self.insert(500, "id, aa, b, d, e", "({0}, 'a{0}', {0} + 10000000000, {0}, 'e')")
        self.execute("alter table t add column f int")
        self.insert(600, "id, aa, f", "({0}, 'a{0}', {0})")
        self.execute("update u set n = 11 where id = 1")
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)
        self.execute("update t set f = 7 where id > 550")
        agent = self.start()  # without the way out: it is done
        self.wait_equal(agent, "t", "u")
        self.assert_stopped(agent)
        self.assertNotIn("table copied", agent.text())

    def test_added_and_gone_again(self):
        """Rows in between tell of a column that the catalog has no more."""
        if not self.names:
            return
        agent = self.follow(format=3)
        self.assert_stopped(agent)
        for statement in ("alter table t add column d int default 5", "insert into t (id, a, b, d) values (500, 'x', 1, 9)",
                          "alter table t rename column d to dd", "alter table t add column d varchar(5)",
                          "insert into t (id, a, b, d, dd) values (501, 'x', 1, 'y', 2)", "alter table t drop column d"):
            self.execute(statement)  # fmt: skip
        agent = self.start(format=3)
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_name_given_again(self):
        """The catalog has another column of the name by the time that a statement is read."""
        if not self.names:
            return
        first = {"added": ("alter table t add column d timestamp null first", "d", "'2026-01-02 03:04:05'"),
                 "added of bytes": ("alter table t add column d varchar(9) not null default 'x' after b", "d", "'ein'"),
                 "renamed": ("alter table t rename column b to d", "d", "7"),
                 "changed": ("alter table t change b d bigint", "d", "20000000000"),
                 "widened": ("alter table t modify b bigint", "b", "20000000000")}  # fmt: skip
        then = {"added": "bit(1)", "added of bytes": "varbinary(9)", "renamed": "float", "changed": "varchar(9)", "widened": "text"}
        for case, (statement, name, value) in first.items():
            for rows in (True, False):
                with self.subTest(case, rows=rows):
                    self.doCleanups()
                    self.setUp()
                    agent = self.follow(format=3)
                    self.assert_stopped(agent)
                    self.execute(statement)
                    if rows:
                        self.execute(f"insert into t (id, {name}) values (500, {value})")
                    self.execute(f"alter table t drop column {name}")
                    self.execute(f"alter table t add column {name} {then[case]} null")
                    self.execute(f"insert into t (id, {name}) values (501, 1), (502, null)")
                    agent = self.start(format=3)
                    self.wait_equal(agent, "t")
                    self.assert_stopped(agent)

    def test_type_by_settings(self):
        """What a statement calls a text is bytes, and what it calls a date is a moment: by the table's default, and in a mode."""
        agent = self.follow()
        self.assert_stopped(agent)
        self.execute("alter table t character set binary")
        self.execute("alter table t add column d varchar(9), add column e text")
        self.execute("insert into t (id, d, e) values (600, x'ff00', x'00ff')")
        agent = self.start()
        self.wait_equal(agent, "t")
        if self.kind == "MariaDB":
            self.execute("set sql_mode = 'ORACLE'")
            self.execute("alter table t add column f date")
            self.execute("insert into t (id, f) values (601, '2026-01-02 03:04:05')")
            self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_digits_there_and_back(self):
        """The column is as it was, but the server has cut its values meanwhile, of which the log has nothing."""
        if not self.names:
            return
        self.execute("alter table t add column d datetime(6)")
        self.execute("insert into t (id, d) values (700, '2026-01-02 03:04:05.678901')")
        agent = self.follow()
        self.assert_stopped(agent)
        self.execute("alter table t modify d datetime")
        self.execute("alter table t modify d datetime(6)")
        self.refused(self.start(), "fewer digits of a second")

    def test_drop_column(self):
        agent = self.follow(more_table="      schemaEvolution: {droppedColumns: Drop}\n")
        self.execute("alter table t drop column a")
        self.insert(200, "id, b", "({0}, {0})")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_ghost_table(self):
        """As gh-ost and pt-online-schema-change put a table that they filled in the place of ours."""
        agent = self.follow()
        self.execute("create table _t_gho like t")
        self.execute("alter table _t_gho add column d int")
        self.execute("insert into _t_gho (id, a, b, c) select id, a, b, c from t")
        self.execute("rename table t to _t_del, _t_gho to t")
        self.insert(200, "id, a, b, d", "({0}, 'a{0}', {0}, {0})")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_while_it_is_copied(self):
        """Names change hands while ranges are read: on MySQL the copy begins anew, with the columns of then. MariaDB keeps
        who alters a table waiting until whoever reads it in a snapshot is done."""
        os.environ["FIRN_COPY_RANGE_KEYS"] = "1000"
        self.addCleanup(os.environ.pop, "FIRN_COPY_RANGE_KEYS", None)
        self.execute("create table big (id int primary key, a int, b int)")
        for first in range(0, 60000, 2000):
            self.execute("insert into big values " + ", ".join(f"({i}, {i}, {-i})" for i in range(first, first + 2000)))
        agent = self.start(snapshot="Initial, maxRowsPerSecond: 12000")
        wait_until(lambda: "copying table" in agent.text(), SECONDS, "the copy has begun", agent.alive)
        self.execute("alter table big rename column a to x, rename column b to a")
        if self.kind == "MariaDB" and not self.names:
            self.wait_equal(agent, "big")  # the copy is over: of changes that the stream meets it can follow one at a time
        self.execute("alter table big rename column x to b")
        self.execute("insert into big (id, a, b) values (100000, 1, 2)")
        self.wait_equal(agent, "t", "big")
        if self.kind == "MySQL":
            self.assertIn("begins anew", agent.text())
        self.assert_stopped(agent)

    def test_not_ours(self):
        """Statements on other tables, temporary ones, and a table made of a SELECT, change nothing."""
        agent = self.follow(exclude='["shop.x*", "shop.y"]')
        for statement in ("create table x (id int primary key)", "alter table x add column t int", "insert into x values (1, 2)",
                          "create temporary table tmp (id int)", "insert into tmp values (1)", "drop temporary table tmp",
                          "create table y as select * from t", "truncate table x", "drop table x", "drop table y",
                          "analyze table t", "create index t_a on t (a)", "alter table t add index (b), comment 'truncate partition'",
                          "create view v as select * from t", "drop view v"):  # fmt: skip
            self.execute(statement)
        self.insert(200)
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_new_table(self):
        os.environ["FIRN_LOOK_MS"] = "300"
        self.addCleanup(os.environ.pop, "FIRN_LOOK_MS")
        agent = self.follow()
        self.execute("create table later (id int primary key, a text)")
        self.execute("insert into later values (1, 'x'), (2, 'y')")
        wait_until(lambda: (self.warehouse / "shop/later/metadata").exists(), SECONDS, "the new table is found", agent.alive)
        self.wait_equal(agent, "t", "later")
        self.assert_stopped(agent)

    def test_refused(self):
        cases = {
            "alter table t add column d datetime default current_timestamp": "SchemaIncompatible",
            "alter table t add column d int generated always as (b + 1) stored": "SchemaIncompatible",
            "alter table t add column d datetime not null default '2026-01-01 00:00:00'": "SchemaIncompatible",
            "alter table t modify b varchar(20)": "SchemaIncompatible",
            "alter table t drop primary key, add primary key (id, c)": "KeyChanged",
            "drop table t": "SourceTableReplaced",
            "rename table t to u": "TableRenamed",
            "rename table t to u, other to t": "SourceTableReplaced",
        }
        for statement, code in cases.items():
            with self.subTest(statement):
                self.tearDown()
                self.doCleanups()
                self.setUp()
                self.execute("create table other like t")
                agent = self.follow()
                self.execute(statement)
                if "modify" in statement or "key" in statement:
                    self.insert(200)
                self.refused(agent, code)

    def test_partitions(self):
        self.execute("create table p (id int primary key, a int) partition by range (id) (partition low values less than (100), "
                     "partition high values less than (1000))")  # fmt: skip
        self.execute("insert into p values (1, 1), (200, 2)")
        agent = self.start()
        self.wait_equal(agent, "t", "p")
        self.execute("alter table p add partition (partition top values less than maxvalue)")
        self.execute("alter table p reorganize partition high into (partition m values less than (500), partition n values less than (1000))")
        self.execute("insert into p values (300, 1), (2000, 2)")
        self.wait_equal(agent, "p")
        self.execute("alter table p truncate partition low")
        self.refused(agent, "RowsMoved")
        agent = self.start(arguments=["--resnapshot", "shop.p"])
        self.wait_equal(agent, "t", "p")
        self.assert_stopped(agent)


class MariadbDdl(Ddl, unittest.TestCase):
    kind = "MariaDB"


class MysqlDdl(Ddl, unittest.TestCase):
    kind = "MySQL"


class MariadbUnnamed(Ddl, unittest.TestCase):
    kind = "MariaDB"
    names = False
    settings = {"binlog_row_metadata": "NO_LOG"}


class MysqlUnnamed(Ddl, unittest.TestCase):
    kind = "MySQL"
    names = False
    settings = {"binlog_row_metadata": "MINIMAL"}


if __name__ == "__main__":
    unittest.main()
