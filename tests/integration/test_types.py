"""Every type with its edge values, copied and streamed, from PostgreSQL 15 to 18; compared by two engines that are
not ours. 15 is Debian's, with PostGIS; what a version lacks stands in LACKS, so that nothing is skipped in silence. 16 and
17 in one format version here, in the other in tests/long/test_types.py."""

import shutil
import unittest

from harness.agent import FAILED, REFUSED
from harness.case import Shop
from harness.postgres import Postgres
from harness.pg_types import Types

# Extensions that the server's binaries come without. Debian 12 packages no pgvector: 15 has it where it was installed.
LACKS = {16: {"vector", "postgis"}, 17: {"vector", "postgis"}, 18: {"vector", "postgis"}}
MAY_LACK_15 = {"vector"}


class Of(Shop):
    """On a server of one version."""

    version = None
    quick = True

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(cls.version, **cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)

    def names(self, table: str) -> set[str]:
        return {field["name"] for field in self.lake_table(table).metadata["schemas"][-1]["fields"]}

    def assert_said(self, agent, *texts: str):
        for text in texts:
            self.assertIn(text, agent.text())

    def refused(self, *texts: str):
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assert_said(agent, *texts)


class TypesOf(Of):
    def assert_engines_agree(self):
        for table in ("types", "whole", "keyed", "null_lists"):
            self.assert_equal("duckdb", f"public.{table}=shop/{table}")
        for table in ("types", "whole", "keyed"):
            self.assert_equal("pyiceberg", f"public.{table}=shop/{table}")

    def copied_and_streamed(self, format: int):
        self.connection.execute("alter database shop set timezone = 'Asia/Kolkata'")
        self.connection.execute("alter database shop set intervalstyle = 'iso_8601'")
        self.connection.execute("alter database shop set extra_float_digits = 0")
        self.connection.execute("alter database shop set datestyle = 'German'")
        self.connection.execute("alter database shop set bytea_output = 'escape'")
        self.connection.execute("alter database shop set xmloption = 'document'")
        types = Types(self.connection, self.version)
        if self.version == 15:
            self.assertLessEqual(types.skipped, MAY_LACK_15)
        else:
            self.assertEqual(types.skipped, LACKS[self.version])
        print(f"PostgreSQL {self.version}: {len(types.kinds)} types; without {', '.join(sorted(types.skipped)) or 'nothing'}")
        self.types = len(types.kinds)
        types.make()
        types.insert()
        types.insert_null_lists()
        self.write_manifest(format=format, exclude='["public.spatial_ref_sys"]')
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_engines_agree()
        self.assert_generated(agent)
        types.insert()
        types.change()
        self.wait_agreed(agent)
        self.assert_engines_agree()
        self.assert_stopped(agent)

    def assert_generated(self, agent):
        """Stored ones are in the log since 18, virtual ones never; what is not in the log is left out, and said."""
        sent = self.version >= 18
        self.assertEqual({"doubled", "tripled"} & self.names("types"), {"doubled"} if sent else set())
        said = next(line for line in agent.text().splitlines() if "generated columns are left out" in line)
        self.assertIn("tripled" if sent else "doubled", said)
        self.assertNotIn("doubled" if sent else "tripled", said)


class Overrides(Of):
    """Types that the resource gives columns, and what is refused."""

    version = 15

    # Of each type something that its own Iceberg type can't hold, or that is read otherwise as text.
    COLUMNS = {
        "day": ("date", "'infinity'", "'0044-03-15 BC'"),
        "at": ("timestamptz", "'-infinity'", "'294276-12-31 23:59:59.999999+00'"),
        "plain": ("timestamp", "'infinity'", "'2024-01-01 00:00:00.5'"),
        "clock": ("time", "'24:00'", "'00:00:00.000001'"),
        "grid": ("int[]", "'{{1,2},{3,null}}'", "'[0:1]={5,6}'"),
        "texts": ("text[]", "'[2:2][1:2]={{a,\"b c\"}}'", "'{}'"),
        "amount": ("numeric(10,2)", "'NaN'", "12.50"),
        "flag": ("boolean", "true", "null"),
        "raw": ("bytea", "'\\x00ff'", "''"),
        "number": ("uuid", "'00000000-0000-0000-0000-000000000001'", "null"),
        "exact": ("float8", "0.1", "'-0'"),
        "made": ("pair", "row(1, 'a \"b\"')", "row(null, '')"),
        "mades": ("pair[]", "array[row(1, 'x,y')::pair, null]", "'{}'"),
        "whole": ("bigint", "-9223372036854775808", "0"),
    }

    def columns(self, *lines: str):
        self.write_manifest(more_table="".join(f"      {line}\n" for line in ("columns:", *(f"  - {line}" for line in lines))))

    def fields(self) -> list[dict]:
        return self.lake_table("t").metadata["schemas"][-1]["fields"]

    def make(self):
        run = self.connection.execute
        run("create type pair as (a int, b text)")
        run("create table t (id int primary key, " + ", ".join(f"{name} {kind}" for name, (kind, *_) in self.COLUMNS.items()) + ")")
        self.insert(1, 0)

    def insert(self, row: int, turn: int):
        values = [f"({values[(row + turn) % 2]})::{kind}" for kind, *values in self.COLUMNS.values()]
        self.connection.execute(f"insert into t values ({row}, {', '.join(values)})")
        self.connection.execute(f"insert into t values ({row + 100}, {', '.join('null' for _ in values)})")

    def test_any_as_string(self):
        self.make()
        self.columns(*(f'{{name: {name}, type: string, doc: "as text"}}' for name in self.COLUMNS))
        agent = self.start()
        self.wait_agreed(agent)
        self.insert(2, 0)
        self.insert(3, 0)
        self.connection.execute("update t set whole = 5, day = 'infinity' where id = 1")
        self.connection.execute("delete from t where id = 102")
        self.wait_agreed(agent)
        strings = [f"public.t.{name}" for name in self.COLUMNS]
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine, "public.t=shop/t", strings=strings)
        self.assert_stopped(agent)
        docs = {field["name"]: field.get("doc") for field in self.fields()}
        self.assertEqual(docs, {"id": None, **dict.fromkeys(self.COLUMNS, "as text")})

    def test_numeric_as_decimal(self):
        self.connection.execute("create table t (id int primary key, n numeric, m numeric(4,1))")
        self.connection.execute("insert into t values (1, 12.34, 1.5), (2, -99999999.99, null)")
        self.columns("{name: 'n', type: 'decimal(10,2)'}", "{name: m, type: 'decimal(38,1)'}")
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("insert into t values (3, 0.01, -999.9)")
        self.wait_agreed(agent)
        self.assert_equal(tables="public.t=shop/t")
        kinds = {field["name"]: field["type"] for field in self.fields()}
        self.assertEqual(kinds, {"id": "int", "n": "decimal(10, 2)", "m": "decimal(38, 1)"})
        self.connection.execute("insert into t values (4, 0.001, 0)")
        self.assertEqual(agent.wait(), FAILED)
        self.assert_said(agent, "table public.t column n: the value does not fit its decimal; row id=4")

    def test_refused(self):
        self.connection.execute("create table t (id int primary key, at timestamp, c money, k regclass)")
        self.columns("{name: at, type: timestamptz}")
        self.refused("columns gives at of table public.t the type timestamptz, but it is timestamp")
        self.columns("{name: c, type: string}")
        self.refused("columns gives c of table public.t the type string, but it is decimal(19,2)")
        self.columns("{name: k, type: string}")
        self.refused("columns gives k of table public.t the type string, but it is long")
        self.columns("{name: att, type: string}")
        self.refused("columns names 'att', which table public.t doesn't have")

    def test_what_a_type_can_not_hold(self):
        for kind, value, said in (
            ("int[]", "'{{1},{2}}'", "is an array of more than one dimension"),
            ("int[]", "'[0:0]={1}'", "is an array whose lower bound is not 1"),
            ("date", "'infinity'", "is an infinite date"),
            ("numeric(5,2)", "'NaN'", "is NaN, which no decimal holds"),
            ("time", "'24:00'", "is 24:00:00"),
        ):
            with self.subTest(kind=kind, value=value):
                self.connection.execute(f"create table t (id int primary key, c {kind})")
                self.connection.execute(f"insert into t values (7, {value})")
                self.write_manifest()
                agent = self.start()
                self.assertEqual(agent.wait(), FAILED, agent.text())
                self.assert_said(agent, "BadValue", f"table public.t column c: the value {said}", "row id=7")
                self.connection.execute("drop table t")
                self.connection.execute("drop publication firn")
                self.postgres.drop_slots("firn")
                shutil.rmtree(self.warehouse)
                self.warehouse.mkdir()

    def test_types_without_a_mapping(self):
        self.connection.execute("create extension cube")
        self.connection.execute("create table t (id int primary key, c cube)")
        self.write_manifest()
        self.refused("table public.t column c has type cube")


class Generated(Of):
    version = 18

    def test_a_publication_without_stored_columns(self):
        """It says what is sent; and what it leaves out is neither copied."""
        self.connection.execute("create table t (id int primary key, v int, w int generated always as (v + 1) stored)")
        self.connection.execute("create publication firn for table t")
        self.connection.execute("insert into t values (1, 1)")
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("update t set v = 2")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assertEqual(self.names("t"), {"id", "v"})
        self.assert_said(agent, "generated columns are left out")
        self.assert_stopped(agent)

    def test_a_key_that_is_stored(self):
        self.connection.execute(
            "create table t (v int, w text generated always as (v || 'x') stored not null unique, big text)")  # fmt: skip
        self.connection.execute("alter table t replica identity using index t_w_key")
        self.connection.execute("insert into t (v, big) select n, repeat('x', 3000 * n) from generate_series(1, 9) n")
        self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.connection.execute("update t set big = big || 'y' where v % 2 = 0")
        self.connection.execute("update t set v = v + 100 where v % 3 = 0")
        self.connection.execute("delete from t where v = 1")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_a_whole_old_row_that_can_not_be_sent(self):
        """To publish it would make the source's own statements fail: so it isn't."""
        self.connection.execute("create table t (id int primary key, v int, w int generated always as (v + 1) virtual)")
        self.connection.execute("alter table t replica identity full")
        self.connection.execute("insert into t values (1, 1)")
        self.write_manifest()
        self.refused("ReplicaIdentityGenerated", "table public.t has REPLICA IDENTITY FULL and generated columns that are not sent (w)")
        self.connection.execute("update t set v = 2")
        self.connection.execute("alter table t replica identity default")
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


def versions(formats: dict[int, tuple[int, ...]], base=TypesOf):
    """Test cases by name: of each version of PostgreSQL the format versions."""
    for version, wanted in formats.items():
        name = f"PostgreSQL{version}"
        tests = {f"test_v{format}": lambda self, format=format: self.copied_and_streamed(format) for format in wanted}
        yield name, type(name, (base,), {"version": version, **tests})


globals().update(versions({15: (2, 3), 16: (3,), 17: (2,), 18: (2, 3)}))

if __name__ == "__main__":
    unittest.main()
