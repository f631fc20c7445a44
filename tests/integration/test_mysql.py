"""MySQL and MariaDB: every type, inserted, updated, deleted, copied and streamed, on both servers."""

import contextlib
import shutil
import tempfile
import threading
import unittest
from pathlib import Path

import duckdb

from harness.agent import OK, Agent
from harness.mysql import SERVERS
from harness.mysql_lake import difference, manifest
from harness.mysql_types import MORE, ODD, TYPES
from harness.wait import TimedOut, wait_until

SECONDS = 180  # limits are for what hangs

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

    @contextlib.contextmanager
    def writing(self, write):
        """write(cursor, number) again and again in a thread, through a connection of its own, until the block ends; the block
        begins once some of it is written."""
        over, failed, self.rounds = threading.Event(), [], 0

        def run():
            try:
                with self.server.connect() as connection, connection.cursor() as cursor:
                    while not over.wait(0.002):
                        write(cursor, self.rounds)
                        self.rounds += 1
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            wait_until(lambda: failed or self.rounds > 5, SECONDS, "the tables are written to")
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

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
        """Nobody writes any more: the lake comes to have the same rows, and the agent has taken note that it has copied them, which
        is a moment later."""
        said = {}

        def equal():
            for table in tables:
                try:
                    said[table] = difference(self.connection, self.warehouse, table, strings)
                except (ValueError, OSError, duckdb.Error) as error:  # no metadata, or no such column, yet
                    said[table] = f"{table}: {error}"
            return not any(said.values()) and not agent.copying() & {f"shop.{table}" for table in tables}

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
