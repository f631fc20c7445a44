"""What a MySQL or MariaDB lacks is said before anything is lost, with the way out; and what may pass is waited for."""

import struct
import subprocess
import unittest

from test_mysql import SECONDS, Base

from harness.agent import OK, Agent, binary
from harness.mysql import GRANTS, SERVERS
from harness.mysql_lake import difference, manifest
from harness.wait import wait_until


class OfATable(Base):
    def setUp(self):
        super().setUp()
        self.execute("create table t (id int primary key, a varchar(20))")
        self.execute("insert into t values (1, 'a'), (2, 'b')")


class Refusals(OfATable):
    def with_global(self, name: str, value: str, usual: str):
        self.server.execute(f"set global {name} = '{value}'")
        self.addCleanup(self.server.execute, f"set global {name} = '{usual}'")

    def create_user(self, name: str, grants=None, **options):
        self.server.create_user(name, grants=grants, **options)
        self.addCleanup(self.server.execute, f"drop user '{name}'@'%'")

    def test_settings(self):
        self.with_global("binlog_format", "MIXED", "ROW")
        self.assert_refused("BinlogFormat", "SET GLOBAL binlog_format = ROW")
        self.server.execute("set global binlog_format = 'ROW'")
        self.with_global("binlog_row_image", "MINIMAL", "FULL")
        self.assert_refused("RowImageIncomplete", "SET GLOBAL binlog_row_image = FULL")

    def test_metadata_warning(self):
        usual = self.server.execute("select @@binlog_row_metadata")[0][0]
        self.with_global("binlog_row_metadata", "MINIMAL", usual)
        agent = self.start()
        self.wait_equal(agent, "t")
        self.assertIn("SET GLOBAL binlog_row_metadata = FULL", agent.text())

    def test_image_of_a_session(self):
        """Somebody's session leaves columns out while the agent follows: never a row with a hole."""
        self.execute("create table w (id int primary key, a int, b int)")
        self.execute("insert into w values (1, 1, 1)")
        agent = self.start()
        self.wait_equal(agent, "t", "w")
        self.execute("set session binlog_row_image = 'MINIMAL'")
        self.execute("update w set a = 2 where id = 1")  # filled in from the lake's own row
        self.wait_equal(agent, "w")
        self.execute("insert into w (id, a, b) values (2, 2, 2)")
        self.execute("update w set b = 7 where id = 2")
        self.execute("delete from w where id = 1")
        self.wait_equal(agent, "w")
        self.execute("insert into w (id, a) values (3, 3)")
        self.assertEqual(agent.wait(), 3, agent.text()[-2000:])
        self.assertIn("RowImageIncomplete", agent.text())

    def test_statements_of_a_session(self):
        agent = self.start()
        self.wait_equal(agent, "t")
        self.execute("set session binlog_format = 'STATEMENT'")
        self.execute("insert into t values (3, 'c')")
        self.assertEqual(agent.wait(), 3, agent.text()[-2000:])
        self.assertIn("BinlogFormat", agent.text())
        self.execute("set session binlog_format = 'ROW'")
        agent = self.start(arguments=["--resnapshot", "shop.t"])
        self.wait_equal(agent, "t")

    def test_rights(self):
        self.create_user("nothing", ["USAGE ON *.*"])
        self.assert_refused("PrivilegeMissing", user="nothing")
        self.create_user("reader", ["SELECT ON {database}.*"])
        self.assert_refused("PrivilegeMissing", "GRANT REPLICATION SLAVE, REPLICATION CLIENT", user="reader")
        self.create_user("blind", ["REPLICATION SLAVE, REPLICATION CLIENT ON *.*", "SELECT ON mysql.*"])
        agent = self.start(user="blind")
        self.assertEqual(agent.wait(), 3, agent.text()[-2000:])
        self.assert_refused("WrongPassword", password="wrong")
        self.assert_refused("WrongPassword", user="nobody")

    def test_table_locks_alone(self):
        """Managed servers let nobody stop all commits: the captured tables are locked for the moment."""
        self.create_user("managed", [GRANTS[0].replace("SELECT", "SELECT, LOCK TABLES"), GRANTS[1]])
        agent = self.start(user="managed")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_names(self):
        self.assert_refused("TableMissing", "shop.none", include='["shop.none"]')
        self.assert_refused("NoTables", include='["other.*"]')
        other = "MariaDB" if self.kind == "MySQL" else "MySQL"
        self.assert_refused("SourceType", f"type: {self.kind}", source_type=other)

    def test_engine(self):
        self.execute("create table m (id int primary key) engine = MyISAM")
        self.assert_refused("UnsupportedEngine", "shop.m", "ENGINE = InnoDB")
        agent = self.start(exclude='["shop.m"]')
        self.wait_equal(agent, "t")

    def test_unreachable(self):
        agent = self.start(port=1)
        wait_until(lambda: "HostUnreachable" in agent.text(), SECONDS, "it says so", agent.alive)
        self.assertEqual(agent.stop(), OK, agent.text()[-2000:])

    def purge(self):
        """A server keeps files that a replica reads, or that it would need itself after a crash."""

        def purged():
            self.server.execute(f"purge binary logs to '{self.server.log_end()[0]}'")
            if len(self.server.execute("show binary logs")) == 1:
                return True
            self.execute("insert into t values (100, 'x')")
            self.execute("delete from t where id = 100")
            self.execute("flush binary logs")
            return False

        wait_until(purged, SECONDS, "the old binlogs are purged")

    def test_purged_at_the_start(self):
        agent = self.start()
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        self.execute("insert into t values (3, 'c')")
        self.execute("flush binary logs")
        self.execute("insert into t values (4, 'd')")
        self.execute("flush binary logs")
        self.purge()
        self.assert_refused("LogPurged", "--resnapshot")
        agent = self.start(arguments=["--resnapshot", "shop.t"])
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_another_server(self):
        agent = self.start()
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        with SERVERS[self.kind]() as other:
            other.create_user()
            other.execute("create database shop")
            other.execute("create table t (id int primary key, a varchar(20))", "shop")
            self.assert_refused("SourceChanged", port=other.port)

    def readers(self) -> int:
        """Of the log."""
        return self.server.execute("select count(*) from information_schema.processlist where command like 'Binlog Dump%'")[0][0]

    def setUp(self):
        super().setUp()
        wait_until(lambda: not self.readers(), SECONDS, "those of before have left")

    def wait_reading(self, agent: Agent):
        """The rows may be there before it follows the log."""
        wait_until(lambda: self.readers() == 1, SECONDS, "it reads the log", agent.alive)

    def test_leaves(self):
        """The server is told that the reader goes, so that it does not keep the lock until its next heartbeats."""
        agent = self.start()
        self.wait_equal(agent, "t")

        def ends() -> int:
            return int(self.server.execute("show global status like 'Com_kill'")[0][1])

        self.wait_reading(agent)
        before = ends()
        self.assert_stopped(agent)
        self.assertEqual(ends(), before + 1)
        wait_until(lambda: self.readers() == 0, SECONDS, "the reader has left")

    def test_two_agents(self):
        agent = self.start()
        self.wait_equal(agent, "t")
        second = Agent(self.folder / "manifest.yaml", self.folder / "second.log")
        self.addCleanup(second.__exit__)
        wait_until(lambda: "ConnectorActive" in second.text(), SECONDS, "the second one waits", second.alive)
        self.execute("insert into t values (3, 'c')")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        self.execute("insert into t values (4, 'd')")
        self.wait_equal(second, "t")
        self.assert_stopped(second)

    def test_two_connectors_of_one_number(self):
        """The server would cut the first one off: the second does not begin."""
        agent = self.start(more_source="    mysql: {serverId: 5400}\n")
        self.wait_equal(agent, "t")
        self.wait_reading(agent)
        other = self.folder / "other.yaml"
        text = (self.folder / "manifest.yaml").read_text()
        other.write_text(text.replace("name: shop", "name: other").replace(str(self.warehouse), str(self.folder / "other")))
        other.chmod(0o600)
        second = Agent(other, self.folder / "second.log")
        self.addCleanup(second.__exit__)
        self.assertEqual(second.wait(), 3, second.text()[-2000:])
        for part in "ServerIdTaken", "spec.source.mysql.serverId", "5400":
            self.assertIn(part, second.text())
        self.execute("insert into t values (3, 'c')")
        self.wait_equal(agent, "t")
        self.assertNotIn("ServerIdTaken", agent.text())
        other.write_text(other.read_text().replace("5400", "5401"))
        second = Agent(other, self.folder / "third.log")
        self.addCleanup(second.__exit__)
        wait_until(lambda: "table copied" in second.text(), SECONDS, "with a number of its own it begins", second.alive)
        self.assert_stopped(second)
        self.assert_stopped(agent)

    def test_another_replica_of_our_number(self):
        """It is no agent, so nothing keeps it from cutting ours off: that is said once, and ours does not cut it off in turn."""
        agent = self.start(more_source="    mysql: {serverId: 5400}\n")
        self.wait_equal(agent, "t")
        self.wait_reading(agent)
        replica = self.server.connect(None)
        self.addCleanup(lambda: replica.open and replica.close())
        with replica.cursor() as cursor:
            if self.kind == "MySQL":
                cursor.execute("select variable_value from performance_schema.user_variables_by_thread where variable_name = 'replica_uuid'")
                cursor.execute("set @replica_uuid = %s", cursor.fetchone())
            cursor.execute("set @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum")
        file = self.server.log_end()[0].encode()
        replica._execute_command(0x12, struct.pack("<IHI", 4, 0, 5400) + file)  # COM_BINLOG_DUMP
        self.assertEqual(agent.wait(), 3, agent.text()[-2000:])
        for part in "ServerIdTaken", "spec.source.mysql.serverId", "5400":
            self.assertIn(part, agent.text())
        replica.close()
        agent = self.start(more_source="    mysql: {serverId: 5401}\n")
        self.execute("insert into t values (3, 'c')")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_connection_cut(self):
        agent = self.start()
        self.wait_equal(agent, "t")
        for at in range(3, 6):
            self.server.cut("firn")
            self.execute(f"insert into t values ({at}, 'x')")
            self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_restart_of_the_server(self):
        agent = self.start()
        self.wait_equal(agent, "t")
        self.server.restart()
        self.connection = self.server.connect()
        self.addCleanup(self.connection.close)
        self.execute("insert into t values (3, 'c')")
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)

    def test_validate(self):
        path = self.folder / "manifest.yaml"
        for more, field in (("    postgresql: {slot: x}\n", "spec.source.postgresql"),
                            ("    heartbeat: {interval: 5s}\n", "spec.source.heartbeat")):  # fmt: skip
            path.write_text(manifest(self.server, self.warehouse, more_source=more))
            done = subprocess.run([binary(), "validate", "-f", path], capture_output=True, text=True)
            self.assertEqual(done.returncode, 3, done.stderr + done.stdout)
            self.assertIn(field, done.stderr + done.stdout)


class Cascades(OfATable):
    """Of a server whose binlog has nothing of what foreign keys do."""

    def make_keys(self):
        self.execute("create table parent (id int primary key)")
        self.execute("create table child (id int primary key, parent int, constraint `odd ``key``` foreign key (parent) references parent (id)"
                     " on delete restrict on update set null)")  # fmt: skip
        self.execute("insert into parent values (1), (2), (3)")
        self.execute("insert into child values (1, 1), (2, 2), (3, 3)")

    def test_cascades(self):
        self.make_keys()
        self.assert_refused("CascadesUnseen", "shop.child", "`odd ``key```", "RESTRICT", "spec.source.tables.exclude", "spec.source.mysql.cascades: Ignore")
        agent = self.start(exclude='["shop.child"]')
        self.execute("delete from child where id = 1")
        self.execute("delete from parent where id = 1")
        self.wait_equal(agent, "parent", "t")
        self.assert_stopped(agent)

    def test_cascades_that_are_ignored(self):
        self.make_keys()
        agent = self.start(more_source="    mysql: {cascades: Ignore}\n")
        self.wait_equal(agent, "parent", "child", "t")
        self.assertIn("the binlog does not have what a foreign key does", agent.text())
        self.execute("update parent set id = 20 where id = 2")  # in child's row the parent is null now, and the binlog does not say so
        self.wait_equal(agent, "parent")
        self.assert_stopped(agent)
        self.assertIn("first difference", difference(self.connection, self.warehouse, "child"))

    def test_cascades_that_come(self):
        self.execute("create table parent (id int primary key)")
        self.execute("create table child (id int primary key, parent int, foreign key (parent) references parent (id) on update no action)")
        agent = self.start()
        self.wait_equal(agent, "child", "t")
        self.execute("alter table child add foreign key (parent) references parent (id) on delete cascade")
        self.assertEqual(agent.wait(), 3, agent.text()[-2000:])
        self.assertIn("CascadesUnseen", agent.text())


class MariadbRefusals(Cascades, Refusals, unittest.TestCase):
    kind = "MariaDB"


class MysqlRefusals(Refusals, unittest.TestCase):
    kind = "MySQL"

    def test_partial_json(self):
        self.with_global("binlog_row_value_options", "PARTIAL_JSON", "")
        self.assert_refused("PartialJson", "binlog_row_value_options = ''")

    def test_partial_json_of_a_session(self):
        """Its updates say how a document changed, not what it is: never a row with a part of it, nor without it."""
        self.execute("create table j (id int primary key, doc json)")
        self.execute("""insert into j values (1, '{"a": 1, "b": "text"}'), (2, '[]')""")
        agent = self.start()
        self.wait_equal(agent, "t", "j")
        self.execute("set session binlog_row_value_options = 'PARTIAL_JSON'")
        self.execute("insert into t values (3, 'c')")  # a table without documents is followed as ever
        self.wait_equal(agent, "t")
        self.execute("insert into j values (3, '{}')")
        self.wait_equal(agent, "j")
        self.execute("update j set doc = json_set(doc, '$.a', 2) where id = 1")
        self.assertEqual(agent.wait(), 3, agent.text()[-2000:])
        for part in "PartialJson", "table shop.j", "binlog_row_value_options = ''", "--resnapshot":
            self.assertIn(part, agent.text())
        self.execute("set session binlog_row_value_options = ''")
        self.assert_refused("PartialJson")  # it stands in the log still
        agent = self.start(arguments=["--resnapshot", "shop.j"])
        self.wait_equal(agent, "t", "j")
        self.execute("update j set doc = json_set(doc, '$.a', 3) where id = 1")
        self.wait_equal(agent, "j")
        self.assert_stopped(agent)

    def test_cascades_that_are_in_the_binlog(self):
        self.execute("create table parent (id int primary key)")
        self.execute("create table child (id int primary key, parent int, foreign key (parent) references parent (id) on delete cascade)")
        self.execute("create table other (id int primary key, parent int, foreign key (parent) references parent (id) on update cascade on delete set null)")
        self.execute("insert into parent values (1), (2), (3)")
        for table in "child", "other":
            self.execute(f"insert into {table} values (1, 1), (2, 2), (3, 1)")
        agent = self.start()
        self.wait_equal(agent, "parent", "child", "other")
        self.execute("delete from parent where id = 1")
        self.execute("delete from child where id = 2")
        self.execute("update parent set id = 20 where id = 2")
        self.wait_equal(agent, "parent", "child", "other")
        self.assertEqual(self.execute("select * from other order by id"), ((1, None), (2, 20), (3, None)))
        self.assert_stopped(agent)


class MysqlOfInnodbsKeys(Cascades, unittest.TestCase):
    """As before 9.6."""

    kind = "MySQL"
    settings = {"innodb_native_foreign_keys": "ON"}



class Off(Base):
    code = "BinlogOff"

    def test_refused(self):
        self.execute("create table t (id int primary key)")
        self.assert_refused(self.code)


class MariadbOff(Off, unittest.TestCase):
    kind = "MariaDB"
    settings = {"log_bin": None}


class MysqlOff(Off, unittest.TestCase):
    kind = "MySQL"
    settings = {"log_bin": None, "skip_log_bin": "1", "gtid_mode": "OFF", "enforce_gtid_consistency": "OFF"}


class MariadbFiltered(Off, unittest.TestCase):
    kind = "MariaDB"
    code = "BinlogFiltered"
    settings = {"binlog_ignore_db": "shop"}


if __name__ == "__main__":
    unittest.main()
