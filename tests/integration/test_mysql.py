# seconds: 900
"""MySQL and MariaDB: every type, inserted, updated, deleted, copied and streamed, on both servers."""

import shutil
import tempfile
import unittest
from pathlib import Path

import duckdb

from harness.agent import OK, Agent
from harness.mysql import SERVERS
from harness.mysql_lake import difference, manifest
from harness.wait import TimedOut, wait_until

SECONDS = 90

# name: type, values as SQL. The first half of what a type can be by its edges, then what is usual.
TYPES = {
    "c_tiny": ("tinyint", "-128", "127", "0"),
    "c_utiny": ("tinyint unsigned", "0", "255", "1"),
    "c_bool": ("boolean", "true", "false", "2"),
    "c_small": ("smallint", "-32768", "32767", "5"),
    "c_usmall": ("smallint unsigned", "0", "65535", "5"),
    "c_medium": ("mediumint", "-8388608", "8388607", "5"),
    "c_umedium": ("mediumint unsigned", "0", "16777215", "5"),
    "c_int": ("int", "-2147483648", "2147483647", "5"),
    "c_uint": ("int unsigned", "0", "4294967295", "5"),
    "c_big": ("bigint", "-9223372036854775808", "9223372036854775807", "5"),
    "c_ubig": ("bigint unsigned", "0", "18446744073709551615", "5"),
    "c_zero": ("int zerofill", "0", "4294967295", "7"),
    "c_float": ("float", "1.17549e-38", "3.40282e38", "0.1"),
    "c_double": ("double", "-1.7976931348623157e308", "2.2250738585072014e-308", "0.1"),
    "c_decimal": ("decimal(10,2)", "-99999999.99", "99999999.99", "0.01"),
    "c_decimal0": ("decimal(5,0)", "-99999", "99999", "0"),
    "c_decimal38": ("decimal(38,10)", "-9999999999999999999999999999.9999999999", "1234567890.0987654321", "0"),
    "c_decimal65": ("decimal(65,30)", "-12345678901234567890123456789012345.123456789012345678901234567890", "0.5", "1"),
    "c_bit1": ("bit(1)", "b'0'", "b'1'", "b'1'"),
    "c_bit10": ("bit(10)", "b'0'", "b'1111111111'", "b'10000001'"),
    "c_bit64": ("bit(64)", "b'0'", "0xffffffffffffffff", "b'101'"),
    "c_year": ("year", "1901", "2155", "2026"),
    "c_date": ("date", "'1000-01-01'", "'9999-12-31'", "'2026-02-28'"),
    "c_time": ("time", "'00:00:00'", "'23:59:59'", "'12:34:56'"),
    "c_time6": ("time(6)", "'00:00:00.000001'", "'23:59:59.999999'", "'12:34:56.7'"),
    "c_datetime": ("datetime", "'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2026-11-22 10:11:12'"),
    "c_datetime1": ("datetime(1)", "'1000-01-01 00:00:00.1'", "'9999-12-31 23:59:59.9'", "'2026-11-22 10:11:12'"),
    "c_datetime6": ("datetime(6)", "'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'", "'2026-11-22 10:11:12.5'"),
    "c_stamp": ("timestamp null", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2026-11-22 10:11:12'"),
    "c_stamp3": ("timestamp(3) null", "'1970-01-01 00:00:01.001'", "'2038-01-19 03:14:07.999'", "'2026-11-22 10:11:12.5'"),
    "c_stamp6": ("timestamp(6) null", "'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'", "'2026-11-22 10:11:12.5'"),
    "c_char": ("char(10)", "''", "'äöü€𝄞'", "'ends '"),
    "c_char_long": ("char(255)", "repeat('€', 255)", "'x'", "''"),
    "c_varchar": ("varchar(20)", "''", "'ein Text '", "'日本語'"),
    "c_varchar_long": ("varchar(2000)", "repeat('𝄞', 2000)", "'x'", "''"),
    "c_latin1": ("varchar(20) character set latin1", "'äöü'", "_latin1 0x80819f", "'plain'"),
    "c_utf8mb3": ("varchar(20) character set utf8mb3", "'äöü€'", "''", "'plain'"),
    "c_ucs2": ("char(20) character set ucs2", "'äöü€'", "''", "'plain'"),
    "c_utf16": ("varchar(20) character set utf16", "'äöü€𝄞'", "''", "'plain'"),
    "c_utf32": ("varchar(20) character set utf32", "'äöü€𝄞'", "''", "'plain'"),
    "c_sjis": ("varchar(20) character set sjis", "'日本'", "''", "'plain'"),
    "c_gbk": ("varchar(20) character set gbk", "'中文'", "''", "'plain'"),
    "c_cp1251": ("varchar(20) character set cp1251", "'Привет'", "''", "'plain'"),
    "c_koi8r": ("varchar(20) character set koi8r", "'Привет'", "''", "'plain'"),
    "c_latin2": ("varchar(20) character set latin2", "'Žluť'", "''", "'plain'"),
    "c_ascii": ("varchar(20) character set ascii", "'plain'", "''", "'text'"),
    "c_binary": ("binary(5)", "x'00'", "x'0102030405'", "x'61'"),
    "c_varbinary": ("varbinary(20)", "x''", "x'00ff00'", "x'61'"),
    "c_tinytext": ("tinytext", "''", "repeat('x', 255)", "'ä'"),
    "c_text": ("text", "''", "repeat('y', 65535)", "'ä'"),
    "c_mediumtext": ("mediumtext", "''", "repeat('z', 70000)", "'ä'"),
    "c_longtext": ("longtext", "''", "repeat('w', 70000)", "'ä'"),
    "c_tinyblob": ("tinyblob", "x''", "repeat('x', 255)", "x'ff00'"),
    "c_blob": ("blob", "x''", "repeat('y', 65535)", "x'ff00'"),
    "c_mediumblob": ("mediumblob", "x''", "repeat('z', 70000)", "x'ff00'"),
    "c_longblob": ("longblob", "x''", "repeat('w', 70000)", "x'ff00'"),
    "c_enum": ("enum('a','b''c','ä','')", "'a'", "'b''c'", "'ä'"),
    "c_enum_latin1": ("enum('é','è') character set latin1", "'é'", "'è'", "'é'"),
    "c_set": ("set('x','y','ä z')", "''", "'x,ä z'", "'x,y,ä z'"),
    "c_json": ("json", """'{"b": [1, 2.5, null, true], "a": "ä\\\\n"}'""", "'[]'", "'\"text\"'"),
    "c_geometry": ("geometry", "point(1, 2)", "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')", "point(-1, 0.5)"),
    "c_point": ("point", "point(1, 2)", "point(3, 4)", "point(-1, 0.5)"),
    "c_virtual": ("int generated always as (id + 1) virtual",),
    "c_stored": ("varchar(40) generated always as (concat('row ', id)) stored",),
}
MORE = {
    "MySQL": {
        "c_json_big": ("json", "json_array(9223372036854775807, 18446744073709551615, 1e100, 0.1)", "cast(now(6) as json)",
                       "json_object('d', cast(1.50 as decimal(5,2)), 'b', x'0102')"),
        "c_vector": ("vector(3)", "to_vector('[1,2,3]')", "to_vector('[-0.5,0,1e10]')", "to_vector('[0,0,0]')"),
        "c_srid": ("point srid 4326", "ST_GeomFromText('POINT(1 2)', 4326)", "ST_GeomFromText('POINT(3 4)', 4326)", "null"),
    },
    "MariaDB": {
        "c_uuid": ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", "'01890a5d-ac96-774b-bcce-b302099a8057'",
                   "'00000000-0000-0000-0000-000000000000'"),
        "c_inet6": ("inet6", "'::'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.1'"),
        "c_inet4": ("inet4", "'0.0.0.0'", "'255.255.255.255'", "'192.0.2.1'"),
        "c_invisible": ("int invisible", "1", "2", "3"),
    },
}  # fmt: skip
# What no type of Iceberg's holds: as strings, every value.
ODD = {
    "o_date": ("date", "'0000-00-00'", "'2026-02-00'", "'2026-01-01'"),
    "o_datetime": ("datetime(3)", "'0000-00-00 00:00:00'", "'2026-00-01 01:02:03.004'", "'2026-01-01'"),
    "o_stamp": ("timestamp null", "'0000-00-00 00:00:00'", "'2026-01-01 00:00:00'", "null"),
    "o_time": ("time(3)", "'-838:59:59'", "'838:59:59'", "'-00:00:01.500'"),
    "o_int": ("int unsigned", "0", "4294967295", "5"),
    "o_decimal": ("decimal(12,4)", "-1.5", "12345678.0001", "0"),
    "o_year": ("year", "0", "1999", "2155"),
    "o_bit": ("bit(1)", "b'0'", "b'1'", "b'1'"),
}


class Base:
    """Of one server, which all tests of a class share; a database, a warehouse and an agent for each."""

    kind: str
    settings: dict[str, str] = {}

    @classmethod
    def setUpClass(cls):
        cls.server = SERVERS[cls.kind](**cls.settings).start()
        cls.addClassCleanup(cls.server.stop)
        cls.server.create_user()

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="firn-mysql-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.warehouse = self.folder / "warehouse"
        self.warehouse.mkdir()
        self.runs = 0
        self.server.execute("drop database if exists shop")
        self.server.execute("create database shop character set utf8mb4")
        self.connection = self.server.connect()
        self.addCleanup(lambda: self.connection.open and self.connection.close())

    def execute(self, statement: str, values=None):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def start(self, crash_at: str = None, arguments=(), http: bool = False, **fields) -> Agent:
        path = self.folder / "manifest.yaml"
        path.write_text(manifest(self.server, self.warehouse, **fields))
        path.chmod(0o600)
        self.runs += 1
        agent = Agent(path, self.folder / f"agent-{self.runs}.log", crash_at, http, confirm_ms=100, arguments=arguments)
        self.addCleanup(agent.__exit__)
        return agent

    def wait_copied(self, agent: Agent, table: str):
        wait_until(lambda: f'"table":"shop.{table}"' in agent.text().replace(" ", "") and "table copied" in agent.text()
                   and not agent.copying(), SECONDS, f"{table} is copied", agent.alive)  # fmt: skip

    def wait_equal(self, agent: Agent, *tables: str, strings=()):
        """Nobody writes any more: the lake comes to have the same rows."""
        said = {}

        def equal():
            for table in tables:
                try:
                    said[table] = difference(self.connection, self.warehouse, table, strings)
                except (ValueError, OSError, duckdb.Error) as error:  # no metadata, or no such column, yet
                    said[table] = f"{table}: {error}"
            return not any(said.values())

        try:
            wait_until(equal, SECONDS, "lake and source are equal", agent.alive)
        except TimedOut as error:
            raise AssertionError(f"{error}: {said}; {agent.text()[-2000:]}") from None

    def assert_stopped(self, agent: Agent):
        self.assertEqual(agent.stop(), OK, agent.text()[-3000:])

    def assert_refused(self, code: str, *parts: str, **fields):
        agent = self.start(**fields)
        self.assertEqual(agent.wait(), 3, agent.text()[-3000:])
        for part in (code, *parts):
            self.assertIn(part, agent.text())


class Types(Base):
    def make(self, table: str, types: dict):
        columns = ", ".join(f"`{name}` {kind}" for name, (kind, *_) in types.items())
        self.execute(f"create table `{table}` (id int primary key, {columns})")

    def fill(self, table: str, types: dict, first: int):
        """A row of each of the values, one of nulls, one that is updated and one that is deleted."""
        given = {name: values for name, (_, *values) in types.items() if values}
        for at in range(5):
            values = ", ".join(values[(at + k) % 3] for k, values in enumerate(given.values()))
            self.execute(f"insert into `{table}` (id, {', '.join(given)}) values ({first + at}, {values})")
        self.execute(f"insert into `{table}` (id) values ({first + 5})")

    def change(self, table: str, types: dict, first: int):
        given = {name: values for name, (_, *values) in types.items() if values}
        for at in range(3):
            values = ", ".join(f"{name} = {values[(at + 1) % 3]}" for name, values in given.items())
            self.execute(f"update `{table}` set {values} where id = {first + at}")
        nulls = ", ".join(f"{name} = null" for name in given)
        self.execute(f"update `{table}` set {nulls} where id = {first + 3}")
        self.execute(f"delete from `{table}` where id = {first + 4}")
        values = ", ".join(f"{name} = {values[0]}" for name, values in given.items())
        self.execute(f"update `{table}` set id = {first + 50}, {values} where id = {first + 5}")

    def follow(self, table: str, types: dict, strings=(), **fields):
        self.execute("set sql_mode = 'ALLOW_INVALID_DATES'")
        self.make(table, types)
        self.fill(table, types, 0)
        agent = self.start(**fields)
        self.wait_copied(agent, table)
        self.wait_equal(agent, table, strings=strings)
        self.fill(table, types, 1000)
        self.wait_equal(agent, table, strings=strings)
        self.change(table, types, 0)
        self.change(table, types, 1000)
        self.wait_equal(agent, table, strings=strings)
        self.assert_stopped(agent)
        self.execute(f"update `{table}` set id = 7777 where id = 0")  # nobody follows it: a comparison that sees nothing would
        self.assertIn("first difference", difference(self.connection, self.warehouse, table, strings))  # be equal still

    def test_every_type(self):
        self.follow("every", TYPES | MORE[self.kind])

    def test_every_type_v3(self):
        self.follow("every", TYPES | MORE[self.kind], format=3)

    def test_as_strings(self):
        columns = "".join(f"        - {{name: {name}, type: string}}\n" for name in ODD if name != "o_bit")
        self.follow("odd", ODD, strings=set(ODD) - {"o_bit"}, more_table=f"      columns:\n{columns}")


class MariadbTypes(Types, unittest.TestCase):
    kind = "MariaDB"


class MysqlTypes(Types, unittest.TestCase):
    kind = "MySQL"


class MariadbCompressed(Types, unittest.TestCase):
    """Each event compressed by itself, and table maps that name nothing: the catalog says it."""

    kind = "MariaDB"
    settings = {"log_bin_compress": "ON", "log_bin_compress_min_len": "10", "binlog_row_metadata": "NO_LOG"}


class MysqlCompressed(Types, unittest.TestCase):
    """Transactions compressed whole, and table maps that name nothing: the catalog says it."""

    kind = "MySQL"
    settings = {"binlog_transaction_compression": "ON", "binlog_row_metadata": "MINIMAL", "binlog_checksum": "NONE"}


if __name__ == "__main__":
    unittest.main()
