"""DDL of the source at its place in the stream: every kind that is followed, with rows before it, in the
same transaction and after it, in both format versions and modes, by two engines that are not ours; with
kills around it; and what is refused, with its way out."""

import os
import signal
import unittest

from harness.agent import REFUSED
from harness.case import Shop
from harness.place import Place
from harness.wait import wait_until

ENGINES = ("duckdb", "pyiceberg")
COLUMNS = "id bigint primary key, a integer, b text, n numeric(10,2), f real, must text not null"

# What is added with a default: every type whose default the lake can have.
DEFAULTS = (
    "add column d_int integer not null default 7, add column d_long bigint default -9000000000,"
    " add column d_text text default 'it''s \"ä\", {1}', add column d_bool boolean not null default true,"
    " add column d_num numeric(12,2) default 12.5, add column d_double double precision default 1,"
    " add column d_real real default 0.25, add column d_date date default '2024-02-29',"
    " add column d_at timestamp default '2024-02-29 12:13:14.5', add column d_zone timestamptz default"
    " '2024-02-29 12:13:14+02', add column d_uuid uuid default '00010203-0405-0607-0809-0a0b0c0d0e0f',"
    " add column d_plain varchar(9)"
)

# name: (the DDL, statements after it that show its effect); {t} is the table.
KINDS = {
    "adds": (["alter table {t} add column extra text"], ["update {t} set extra = 'x' || id where id % 3 = 0"]),
    "adds_one_by_one": (
        ["alter table {t} add column one integer", "insert into {t} (id, must, one) values (901, 'm', 1)",
         "alter table {t} add column two date, add column three integer[]",
         "insert into {t} (id, must, one, two, three) values (902, 'm', 2, '2024-01-02', '{1,null}')",
         "alter table {t} add column four jsonb"],
        ["update {t} set four = '[1]', three = '{5}' where id < 10"]),
    "drops": (["alter table {t} drop column b"], ["update {t} set a = a + 1 where id < 9"]),
    "renames": (["alter table {t} rename column b to label"], ["update {t} set label = label || '!' where id < 9"]),
    "renames_key": (["alter table {t} rename column id to key"], ["update {t} set a = 5 where key < 9"]),
    "widens": (
        ["alter table {t} alter column a type bigint, alter column f type double precision,"
         " alter column n type numeric(14,2)"],
        ["update {t} set a = 5000000000 + id, f = 0.1, n = 123456789012.34 where id < 9"]),
    "may_be_null": (["alter table {t} alter column must drop not null"], ["update {t} set must = null where id < 9"]),
    "all_at_once": (
        ["alter table {t} drop column b", "alter table {t} rename column a to amount",
         "alter table {t} alter column amount type bigint", "alter table {t} add column c timestamptz",
         "alter table {t} rename column c to changed", "alter table {t} alter column must drop not null"],
        ["update {t} set amount = 5000000000, must = null, changed = '2024-01-01 00:00+00' where id < 9"]),
    "again": (
        ["alter table {t} drop column b", "insert into {t} (id, must) values (901, 'm')", "alter table {t} add column b date",
         "insert into {t} (id, must, b) values (902, 'm', '2024-02-29')"],
        ["update {t} set b = '2024-03-01' where id < 9"]),
    "limits": (
        ["alter table {t} alter column b type varchar(40)", "insert into {t} (id, must, b) values (901, 'm', 'b')",
         "alter table {t} alter column b type varchar(60)"],
        ["update {t} set b = repeat('b', 60) where id < 9"]),
    "sets_default": (
        ["alter table {t} alter column a set default 5", "insert into {t} (id, must) values (901, 'm')",
         "alter table {t} alter column a drop default, alter column b set default 'b'"],
        ["insert into {t} (id, must) values (902, 'm')"]),
    "comments": (
        ["alter table {t} add column extra text", "comment on column {t}.extra is 'what it is'", "comment on column {t}.a is 'too late'"],
        ["update {t} set extra = 'x' where id < 9"]),
    "partitioned": (["alter table {t} add column extra integer"], ["update {t} set extra = 3 where id % 2 = 0"]),
    "nested_adds": (["alter type {t}_in add attribute extra text"], ["update {t} set {c} where id % 3 = 0"]),
    "nested_drops": (["alter type {t}_in drop attribute b"], ["update {t} set {c} where id % 3 = 0"]),
    "nested_renames": (["alter type {t}_in rename attribute a to alpha"], ["update {t} set {c} where id % 3 = 0"]),
    "nested_all": (
        ["alter type {t}_in drop attribute b", "alter type {t}_in rename attribute a to alpha",
         "alter type {t}_in add attribute b date", "alter type {t}_out add attribute more {t}_in",
         "alter type {t}_mood add value 'new' before 'sad'", "alter domain {t}_domain add check (true)"],
        ["update {t} set {c} where id % 3 = 0", "update {t} set mood = 'new' where id % 2 = 0"]),
}  # fmt: skip
WITH_DEFAULTS = {
    "defaults": (["alter table {t} " + DEFAULTS], ["update {t} set d_int = 8, d_text = null where id < 9"]),
    "partitioned_default": (
        ["alter table {t} add column d integer not null default 7, add column e text default 'e'"],
        ["update {t} set d = 8, e = null where id < 9"]),
    "default_of_none": (
        ["alter table {t} add column later integer", "alter table {t} alter column later set default 5"],
        ["insert into {t} (id, must) values (903, 'm')"]),
}  # fmt: skip
KEPT = (
    "public.again.b_3", "public.drops.b", "public.all_at_once.b",
    *(f"public.nested_drops.{column}.b" for column in "clde"), *(f"public.nested_all.{column}.b_2" for column in "clde"),
)  # fmt: skip
NESTED = (
    "create type {t}_in as (a integer, b text)", "create type {t}_out as (n integer, one {t}_in, ones {t}_in[])",
    "create type {t}_mood as enum ('glad', 'sad')", "create domain {t}_domain as {t}_in",
)  # fmt: skip
NESTED_COLUMNS = "c {t}_in, l {t}_in[] default '{}', d {t}_domain, e {t}_out, mood {t}_mood"
OF_TYPE = {"integer": "id::integer", "text": "'text ' || id", "date": "date '2024-02-29' + id::integer"}


class Ddl(Shop):
    """What the tests below are made of."""

    format = mode = None
    engines = ENGINES
    quick = True

    def kinds(self):
        return KINDS | (WITH_DEFAULTS if self.format == 3 else {})

    def make_tables(self):
        for name in self.kinds():
            part = " partition by hash (id)" if name.startswith("partitioned") else ""
            columns = COLUMNS
            if name.startswith("nested"):
                for statement in NESTED:
                    self.connection.execute(statement.replace("{t}", name))
                columns += ", " + NESTED_COLUMNS.replace("{t}", name)
            self.connection.execute(f"create table {name} ({columns}){part}")
            if part:
                for number in range(2):
                    self.connection.execute(
                        f"create table {name}_{number} partition of {name} for values with (modulus 2, remainder {number})")  # fmt: skip
            self.rows_of(name, 1, 40)

    def composite(self, name, last):
        """A value of the type as it is by now; `last`: or null, instead of its last attribute."""
        attributes = self.connection.execute(
            "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = %s::regclass and attnum > 0"
            " and not attisdropped order by attnum", [name]).fetchall()  # fmt: skip
        inner = name.replace("_out", "_in")
        values = [OF_TYPE.get(kind) or (self.composite(inner, last) if kind == inner else f"array[{self.composite(inner, last)}, null]")
                  for (kind,) in attributes]  # fmt: skip
        return f"row({', '.join([*values[:-1], last or values[-1]])})::{name}"

    def nested_values(self, name):
        one, other = self.composite(f"{name}_in", ""), self.composite(f"{name}_in", "null")
        return f"c = {one}, l = array[{one}, null, {other}], d = {other}, e = {self.composite(f'{name}_out', '')}, mood = 'sad'"

    def rows_of(self, name, first, last, connection=None):
        key = "key" if self.key_is_renamed(name) else "id"
        (connection or self.connection).execute(
            f"insert into {name} ({key}, must) select i, 'must ' || i from generate_series({first}, {last}) i;"
            f" update {name} set n = {key} / 4.0, f = {key} / 3.0 where {key} % 2 = 0 and {key} >= {first};"
            f" delete from {name} where {key} = {last}")  # fmt: skip
        if name.startswith("nested"):
            (connection or self.connection).execute(
                f"update {name} set {self.nested_values(name)} where id between {first} and {last} and id % 7 > 0")  # fmt: skip

    def key_is_renamed(self, name):
        return self.connection.execute(
            "select 1 from pg_attribute where attrelid = %s::regclass and attname = 'key'", [name]).fetchone()  # fmt: skip

    def change(self, name, step=0):
        """Rows and the DDL in one transaction, then rows in others."""
        ddl, shows = self.kinds()[name]
        first = 100 + step
        with self.connection.transaction():
            self.rows_of(name, first, first + 9)
            for statement in ddl:
                self.connection.execute(statement.replace("{t}", name))
            self.rows_of(name, first + 20, first + 29)
        for statement in shows:
            if "{c}" in statement:
                statement = statement.replace("{c}", self.nested_values(name))
            self.connection.execute(statement.replace("{t}", name))
        self.rows_of(name, first + 40, first + 49)

    def write(self, **fields):
        self.write_manifest(format=self.format, mode=self.mode, include='["public.*"]', exclude='["public.*_[01]"]', **fields)

    def assert_follows(self, kept=KEPT):
        for engine in self.engines:
            with self.subTest(engine=engine):
                self.assert_equal(engine, kept=kept)

    def ids(self, table):
        metadata = self.lake_table(table).metadata
        schema = next(each for each in metadata["schemas"] if each["schema-id"] == metadata["current-schema-id"])
        return {field["name"]: field["id"] for field in schema["fields"]}, schema

    def live(self):
        """While the agent follows; then again from a standstill."""
        self.make_tables()
        self.write()
        agent = self.start()
        self.wait_agreed(agent)
        before = self.ids("renames")[0]
        for name in self.kinds():
            self.rows_of(name, 50, 59)
            self.change(name)
        self.wait_agreed(agent)
        self.assert_follows()
        after, schema = self.ids("renames")
        self.assertEqual(after["label"], before["b"])
        self.assertNotIn("b", after)
        docs = {field["name"]: field.get("doc") for field in self.ids("comments")[1]["fields"]}
        self.assertEqual((docs["extra"], docs["a"]), ("what it is", None))
        if self.mode == "Upsert":
            self.assertEqual(schema["identifier-field-ids"], [before["id"]])
        self.assert_stopped(agent)
        for name in self.kinds():
            self.connection.execute(f"alter table {name} add column again integer")
            self.connection.execute(f"update {name} set again = 1 where a is null" if name in ("adds", "drops") else
                                    f"update {name} set again = 2")  # fmt: skip
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal(self.engines[-1], kept=KEPT)
        self.assert_stopped(agent)

    def catch_up(self):
        """Everything happens while nobody follows: the catalog is ahead of the log."""
        self.make_tables()
        self.write(more_table="      schemaEvolution: {droppedColumns: Drop}\n")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        for name in self.kinds():
            self.rows_of(name, 50, 59)
            self.change(name)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_follows(kept=())
        self.assertNotIn("b", self.ids("drops")[0])
        for name, inside in (("nested_drops", ["a"]), ("nested_all", ["alpha", "b"]), ("nested_adds", ["a", "b", "extra"])):
            fields = {field["name"]: field["type"] for field in self.ids(name)[1]["fields"]}
            self.assertEqual([field["name"] for field in fields["c"]["fields"]], inside)
        self.assert_stopped(agent)

    def kills(self):
        """kill -9 with the new columns in memory (once for each kind), and at every step of the commit."""
        self.make_tables()
        self.write()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        for name in self.kinds():
            self.change(name)
        points = [f"schema-evolved:{number}" for number in (1, 4, 7)]
        points += ["commit-files-written", "commit-manifests-written", "commit-swapped", "commit-done:2", "record-before"]
        for point in points:
            agent = self.start(crash_at=point)
            self.assertEqual(agent.wait(), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
            self.assertTrue(agent.struck(), point)
            self.assert_not_ahead()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_follows()
        self.assert_stopped(agent)


class Directory(Ddl):
    """Each of the above in the combinations named at the end."""


class Rest(Ddl):
    """A catalog that writes metadata itself, and answers for its own rules of schemas."""

    format, mode = 3, "Upsert"

    def test_rest_and_files(self):
        place = Place("rest-files", self.warehouse).start()
        self.addCleanup(place.stop)
        self.make_tables()
        self.write(place=place)
        agent = self.start()
        self.wait_agreed(agent)
        for name in self.kinds():
            self.change(name)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.connection.execute("alter table adds drop column extra")
        self.rows_of("adds", 300, 310)
        agent = self.start()  # the schema of before, but for its number
        self.wait_agreed(agent)
        for engine in ENGINES:
            self.assert_equal(engine, place=place, kept=(*KEPT, "public.adds.extra"))
        self.assert_stopped(agent)


class Refused(Shop):
    """What can't be followed ends the agent with a reason, loses nothing, and --resnapshot mends it."""

    settings = {"logical_decoding_work_mem": "'64kB'"}
    quick = True

    def setUp(self):
        super().setUp()
        self.connection.execute(f"create table t ({COLUMNS})")
        self.insert(1, 20)

    def insert(self, first, last, more="", values=""):
        self.connection.execute(
            f"insert into t (id, must{more}) select i, 'm'{values} from generate_series({first}, {last}) i")  # fmt: skip

    def follow(self, **fields):
        self.write_manifest(**fields)
        agent = self.start()
        self.wait_agreed(agent)
        return agent

    def refused(self, agent, code, *said):
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-3000:])
        for text in (code, *said):
            self.assertIn(text, agent.text())

    def reloaded(self, engine="duckdb", kept=(), more="", values=""):
        agent = self.start(arguments=["--resnapshot", "public.t"])
        self.wait_agreed(agent)
        self.insert(500, 510, more, values)
        self.wait_agreed(agent)
        self.assert_equal(engine, kept=kept)
        self.assert_stopped(agent)

    def check(self, ddl, code, *said, more="", values="", kept=(), again=False, reloads=True, **fields):
        agent = self.follow(**fields)
        self.connection.execute(ddl)
        self.insert(100, 110, more, values)
        self.refused(agent, code, *said)
        self.assert_not_ahead()
        if again:
            self.refused(self.start(), code)  # until somebody acts
        if reloads:
            self.reloaded(kept=kept, more=more, values=values)

    def test_type(self):
        self.check("alter table t alter column a type text", "SchemaIncompatible", "column a", "--resnapshot",
                   kept=("public.t.a_2",), again=True)  # fmt: skip

    def test_default_in_v2(self):
        self.check("alter table t add column d integer default 5", "SchemaIncompatible", "column d", "formatVersion: 3")

    def test_default_of_each_row(self):
        self.check("alter table t add column s serial", "SchemaIncompatible", "column s", format=3)

    def test_add_not_allowed(self):
        self.check("alter table t add column x integer", "SchemaIncompatible", "addColumns",
                   more_table="      schemaEvolution: {addColumns: false}\n")  # fmt: skip

    def test_widening_not_allowed(self):
        self.check("alter table t alter column a type bigint", "SchemaIncompatible", "widenTypes",
                   more_table="      schemaEvolution: {widenTypes: false}\n")  # fmt: skip

    def test_key(self):
        self.check("update t set a = id; alter table t drop constraint t_pkey, add primary key (a)",
                   "KeyChanged", "idColumns", more=", a", values=", i")  # fmt: skip

    def test_same_name_again(self):
        """Nobody can tell from the log whether the last column is the one of before."""
        self.connection.execute("alter table t add column z integer")
        self.check("alter table t drop column z; alter table t add column z integer", "SchemaUndecided", "--resnapshot")

    def test_came_and_went(self):
        """Of a column that was there only while nobody looked not even the name is known: it may have been that of the next."""
        self.assert_stopped(self.follow())
        self.connection.execute("alter table t add column c text")
        self.insert(100, 110, ", c", ", 'of the first'")
        self.connection.execute("alter table t drop column c; alter table t add column c text")
        self.insert(111, 120)
        self.refused(self.start(), "SchemaUndecided", "--resnapshot")
        self.reloaded()

    def test_name_given_again(self):
        """The column was renamed, then dropped, then came another of that name: rows of in between have the first one's
        values under the last one's name."""
        self.connection.execute("alter table t add column z text")
        self.assert_stopped(self.follow())
        self.connection.execute("alter table t rename column z to y")
        self.insert(100, 110, ", y", ", 'of the first'")
        self.connection.execute("alter table t drop column y; alter table t add column y text")
        self.insert(111, 120, ", y", ", 'of the second'")
        self.refused(self.start(), "SchemaUndecided", "--resnapshot")
        self.assert_not_ahead()
        self.reloaded(kept=("public.t.z",))

    def test_name_given_back(self):
        """Dropped, and its name was another's for a while."""
        self.connection.execute("alter table t add column z text")
        self.assert_stopped(self.follow())
        self.connection.execute("alter table t drop column z; alter table t add column z text")
        self.insert(100, 110, ", z", ", 'of the second'")
        self.connection.execute("alter table t rename column z to y")
        self.insert(111, 120, ", y", ", 'of the second'")
        self.refused(self.start(), "SchemaUndecided", "--resnapshot")
        self.assert_not_ahead()
        self.reloaded(kept=("public.t.z",))

    def test_came_and_went_without_a_row(self):
        agent = self.follow()
        self.connection.execute("alter table t add column c text; alter table t drop column c; alter table t add column d text")
        self.insert(100, 110, ", d", ", 'd'")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.connection.execute("alter table t add column e date; alter table t drop column e; alter table t add column g date")
        self.insert(111, 120, ", g", ", '2024-02-29'")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_default_after_truncate(self):
        """A table that was emptied, or rewritten before the column came, has no rows with values that nobody knows."""
        run = self.connection.execute
        agent = self.follow(format=3)
        run("truncate t")
        self.insert(100, 105)
        self.wait_agreed(agent)
        run("alter table t add column x integer; alter table t alter column x set default 5")
        self.insert(106, 110)
        self.wait_agreed(agent)
        run("vacuum full t")
        self.insert(111, 115)
        self.wait_agreed(agent)
        run("alter table t add column y integer; alter table t alter column y set default 5")
        self.insert(116, 120)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        run("truncate t; alter table t add column z integer default random() * 9; alter table t alter column z set default 5")
        self.insert(121, 130)
        agent = self.start()
        self.wait_agreed(agent)
        run("truncate t")
        self.wait_agreed(agent)
        run("alter table t add column s serial")
        self.insert(131, 140)
        self.wait_agreed(agent)
        self.assert_equal("pyiceberg")
        self.assert_stopped(agent)

    def test_default_of_rows_after_truncate(self):
        """Rows came between the two: their values are not in the log."""
        self.assert_stopped(self.follow(format=3))
        self.connection.execute("truncate t")
        self.insert(100, 105)
        self.connection.execute("alter table t add column z integer default random() * 9; alter table t alter column z set default 5")
        self.insert(106, 110)
        self.refused(self.start(), "SchemaIncompatible", "column z")
        self.assert_not_ahead()
        self.reloaded()

    def test_column_list(self):
        agent = self.follow()
        self.connection.execute("alter publication firn set table t (id, must)")
        self.insert(100, 110)
        self.refused(agent, "SchemaUndecided", "column list")
        self.assert_not_ahead()
        self.connection.execute("alter publication firn set table t")
        self.reloaded()

    def test_partition_column(self):
        """What the lake's table is partitioned by can't be dropped, if dropped columns are to go."""
        self.check("alter table t drop column a", "SchemaIncompatible", "column a", "droppedColumns: Keep",
                   more_table="      schemaEvolution: {droppedColumns: Drop}\n      partitionBy: [\"a\"]\n", reloads=False)  # fmt: skip

    # --- composites

    def nested(self, **fields):
        self.connection.execute("create type pair as (a integer, b text); alter table t add column c pair, add column l pair[]")
        self.connection.execute("update t set c = row(id, 'c'), l = array[row(id, 'l')::pair]")
        return self.follow(**fields)

    def test_nested_same_type_again(self):
        """A value of before and one of after the change look alike."""
        agent = self.nested()
        self.connection.execute("alter type pair drop attribute b; alter type pair add attribute d text")
        self.insert(100, 110, ", c, l", ", row(i, 'd')::pair, '{}'")
        self.refused(agent, "SchemaUndecided", "composite", "--resnapshot")
        self.assert_not_ahead()
        self.refused(self.start(), "SchemaUndecided")
        self.reloaded(kept=("public.t.c_7", "public.t.l_8"))

    def test_nested_came_and_went(self):
        """Of an attribute that was there only while nobody looked the catalog keeps the size of its values, not the type:
        it is not taken for one of another size, and for one of its own it may be."""
        run = self.connection.execute
        self.assert_stopped(self.nested())
        run("alter type pair add attribute d date; alter type pair drop attribute d; alter type pair add attribute e numeric(10,2)")
        run("alter type pair add attribute f boolean; alter type pair drop attribute f; alter type pair add attribute g jsonb")
        self.insert(100, 110, ", c, l", ", row(i, 'b', 1.5, '{}')::pair, array[row(i, null, 2.5, null)::pair]")
        agent = self.start()
        self.wait_agreed(agent)
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine)
        self.assert_stopped(agent)
        run("alter type pair add attribute h date; alter type pair drop attribute h; alter type pair add attribute k integer")
        self.insert(111, 120, ", c, l", ", row(i, 'b', 1.5, '{}', i)::pair, '{}'")
        self.refused(self.start(), "SchemaUndecided", "composite", "--resnapshot")
        self.assert_not_ahead()
        self.reloaded(kept=("public.t.c_7", "public.t.l_8"))

    def loaded_again(self, dropped, stays, kept_inside=(), kept=()):
        agent = self.nested(more_table=f"      schemaEvolution: {{droppedColumns: {dropped}}}\n")
        run = self.connection.execute
        run("alter type pair drop attribute a; insert into t (id, must, c, l) values (100, 'm', row('c'), array[row('l')::pair])")
        self.wait_agreed(agent)
        self.assert_equal(kept=kept_inside)
        run(f"drop table t; create table t ({COLUMNS}, c pair, l pair[]); alter publication firn add table t")
        self.insert(1, 20, ", c, l", ", row('c')::pair, array[row('l')::pair]")
        self.refused(agent, "SourceTableReplaced")
        self.reloaded(kept=kept)
        metadata = self.lake_table("t").metadata
        schema = next(each for each in metadata["schemas"] if each["schema-id"] == metadata["current-schema-id"])
        self.assertEqual(sorted(each["name"] for each in schema["fields"] if each["name"][0] in "cl"), stays)

    def test_nested_loaded_again(self):
        """A struct that keeps an attribute which is gone is not what is loaded: it stays beside."""
        self.loaded_again("Keep", ["c", "c_7", "l", "l_8"], ("public.t.c.a", "public.t.l.a"), ("public.t.c_7", "public.t.l_8"))

    def test_nested_loaded_again_dropped(self):
        self.loaded_again("Drop", ["c", "l"])

    def test_nested_add_not_allowed(self):
        agent = self.nested(more_table="      schemaEvolution: {addColumns: false}\n")
        self.connection.execute("alter type pair add attribute d text")
        self.insert(100, 110, ", c, l", ", row(i, 'b', 'd')::pair, '{}'")
        self.refused(agent, "SchemaIncompatible", "addColumns", "column c")
        self.assert_not_ahead()
        self.reloaded(kept=("public.t.c_7", "public.t.l_8"))

    def test_nested_behind(self):
        """Any number of changes while nobody followed; a column of a type that is altered again; a type that is dropped."""
        run = self.connection.execute
        self.assert_stopped(self.nested())
        run("alter type pair add attribute d date")
        self.insert(100, 110, ", c, l", ", row(i, 'b', '2024-02-29')::pair, array[row(i, 'b', null)::pair, null]")
        run("alter table t add column later pair")
        self.insert(111, 120, ", later, l", ", row(i, 'b', '2024-02-29')::pair, '{}'")
        run("alter type pair drop attribute b; alter type pair rename attribute a to alpha")
        self.insert(121, 130, ", later, l", ", row(i, '2024-02-29')::pair, '{}'")
        run("alter type pair add attribute e pg_lsn")
        self.insert(131, 140, ", later, l", ", row(i, '2024-02-29', '0/1')::pair, '{}'")
        run("create type inner_one as (x integer); alter type pair add attribute f inner_one")
        self.insert(141, 150, ", c, l", ", row(i, '2024-02-29', '0/1', row(i)::inner_one)::pair, '{}'")
        run("delete from t where id % 5 = 0; update t set c = c, a = 1 where id % 2 = 0")
        agent = self.start()
        self.wait_agreed(agent)
        kept = [f"public.t.{column}.b" for column in ("c", "l", "later")]
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine, kept=kept)
        self.assert_stopped(agent)
        run("alter type inner_one add attribute y text")
        self.insert(151, 160, ", c, l", ", row(i, '2024-02-29', '0/1', row(i, 'y')::inner_one)::pair, '{}'")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal(kept=kept)
        self.assert_stopped(agent)

    def test_nested_while_copied(self):
        """The copy begins anew with the type of then."""
        self.connection.execute("create type pair as (a integer, b text); alter table t add column c pair")
        self.connection.execute(
            "insert into t (id, must, c) select i, repeat('m', 200), row(i, 'b')::pair from generate_series(100, 20000) i")  # fmt: skip
        self.write_manifest(rate=2000)
        agent = self.start()
        wait_until(lambda: (table := self.lake_table("t")) and table.metadata["snapshots"], 90, "some is copied", agent.alive)
        self.assertIn("public.t", agent.copying())
        self.connection.execute("alter type pair add attribute d date")
        self.insert(30000, 30010, ", c", ", row(i, 'b', '2024-02-29')::pair")
        wait_until(lambda: "ColumnsChanged" in agent.text(), 90, "the change is noticed", agent.alive)
        self.wait_agreed(agent)
        self.assert_equal("pyiceberg")
        self.assert_stopped(agent)

    def test_large_nested_value(self):
        """An update leaves it out; the table has it as it was before its type changed."""
        self.connection.execute("create type pair as (a integer, b text); alter table t add column c pair")
        self.connection.execute("alter table t alter c set storage external; update t set c = row(id, repeat('b', 9000))")
        agent = self.follow()
        self.connection.execute("alter type pair add attribute d text; update t set a = 1 where id < 9")
        self.connection.execute("update t set c = row(id, 'b', 'd') where id in (10, 11); update t set a = 2 where id < 5")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.connection.execute("update t set a = 3 where id < 15")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_dropped_long_ago(self):
        """What was dropped before the agent came, or while it followed, leaves no doubt about what comes."""
        run = self.connection.execute
        run("alter table t add column gone text; alter table t drop column gone")
        agent = self.follow()
        run("alter table t add column x integer; insert into t (id, must, x) values (100, 'm', 1)")
        self.wait_agreed(agent)
        run("alter table t add column y integer; insert into t (id, must, y) values (101, 'm', 1)")
        self.wait_agreed(agent)
        run("alter table t drop column y; insert into t (id, must) values (102, 'm')")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        run("alter table t add column z integer; insert into t (id, must, z) values (103, 'm', 1)")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal(kept=("public.t.y",))
        self.assert_stopped(agent)

    def test_unpublished(self):
        """What was not in the publication for a while is not in the log."""
        agent = self.follow()
        self.assert_stopped(agent)
        self.connection.execute("alter publication firn drop table t")
        self.insert(100, 110)
        self.refused(self.start(), "Unpublished", "public.t", "--resnapshot")
        self.reloaded()

    def test_streamed(self):
        """DDL in transactions that the server streams before they are over, some of them given up."""
        run = self.connection.execute
        self.write_manifest(format=3, more_table="      idColumns: [id]\n")
        agent = self.start()
        self.wait_agreed(agent)
        many = "insert into t (id, must, b{more}) select i, 'm', repeat('b', 50){values} from generate_series({first}, {first} + 2000) i"

        def rows(first, more="", values=""):
            run(many.format(first=first, more=more, values=values))

        run("begin; alter table t add column gone integer")
        rows(10000, ", gone", ", 1")
        run("rollback")
        rows(20000)
        run("begin; savepoint s; alter table t add column undone text, drop column a; update t set undone = ''")
        run("rollback to s; insert into t (id, must, a) values (29000, 'm', 1); commit")
        run("begin")
        rows(30000)
        run("alter table t add column x integer default 3")
        rows(40000, ", x", ", 1")
        rows(60000, ", x, a", ", 2, 2")
        run("alter table t rename column id to key; alter table t add column z date default '2024-02-29'")
        run("insert into t (key, must, z) select i, 'z', null from generate_series(70000, 72000) i; commit")
        run("delete from t where key % 3 = 0")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)
        agent = self.start()  # idColumns has the old name still
        run("update t set x = 9 where key < 20")
        self.wait_agreed(agent)
        self.assert_equal("pyiceberg")
        self.assert_stopped(agent)

    def test_large_value_of_a_renamed_column(self):
        """An update leaves a large value out, and its column is called otherwise by the time it is fetched."""
        self.connection.execute(
            "alter table t add column x text, add column y text; alter table t alter x set storage external,"
            " alter y set storage external; update t set x = repeat('x', 9000), y = repeat('y', 9000)")  # fmt: skip
        self.assert_stopped(self.follow())
        self.connection.execute(
            "update t set a = 1 where id < 9; alter table t rename x to z; alter table t rename y to x;"
            " alter table t rename z to y; update t set a = 2 where id < 5; alter table t rename x to w;"
            " update t set a = 3 where id < 3")  # fmt: skip
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_made_anew(self):
        self.check(f"drop table t; create table t ({COLUMNS}); alter publication firn add table t",
                   "SourceTableReplaced", "--resnapshot")  # fmt: skip

    def test_moved(self):
        self.check("create schema other; alter table t set schema other; set search_path = other",
                   "TableRenamed", "other.t", reloads=False)  # fmt: skip

    def test_renamed_partitioned(self):
        """The log goes on under the old name: the catalog is looked at now and then."""
        self.connection.execute("drop table t; create table t (id bigint primary key, must text) partition by hash (id);"
                                " create table t_0 partition of t for values with (modulus 1, remainder 0)")  # fmt: skip
        os.environ["FIRN_LOOK_MS"] = "300"
        self.addCleanup(os.environ.pop, "FIRN_LOOK_MS")
        self.insert(1, 10)
        agent = self.follow(include='["public.t*"]', exclude='["public.t_0"]')
        self.connection.execute("alter table t rename to u")
        self.refused(agent, "TableRenamed", "public.u")
        self.assert_not_ahead()

    def test_renamed(self):
        """Named anew in the manifest, it goes on where it stood."""
        path = self.write_manifest()
        path.write_text(path.read_text().replace('tables: ["public.*"]', "table: public.t").replace('"{table}"', "t"))
        agent = self.start()
        self.wait_agreed(agent)
        self.insert(30, 35)
        self.connection.execute("alter table t rename to u")
        self.connection.execute("insert into u (id, must) values (100, 'u')")
        self.refused(agent, "TableRenamed", "public.u")
        path.write_text(path.read_text().replace("table: public.t", "table: public.u"))
        before = self.lake_table("t").metadata["table-uuid"]
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal(tables="public.u=shop/t")
        self.assertEqual(self.lake_table("t").metadata["table-uuid"], before)
        self.assert_stopped(agent)


def _combine():
    every = [(version, mode) for version in (2, 3) for mode in ("Upsert", "Append")]
    combinations = {
        "live": every, "catch_up": [(2, "Upsert"), (3, "Append")], "kills": [(2, "Append"), (3, "Upsert")],
    }  # fmt: skip
    for test, kinds in combinations.items():
        for version, mode in kinds:

            def run(self, test=test, version=version, mode=mode):
                self.format, self.mode = version, mode
                getattr(self, test)()

            setattr(Directory, f"test_{test}_v{version}_{mode.lower()}", run)


_combine()

if __name__ == "__main__":
    unittest.main(verbosity=2)
