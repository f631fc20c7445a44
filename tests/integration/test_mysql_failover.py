"""The server dies and its replica takes its place: tables go on where the replica's own binlog has the transactions that
they have, by GTID, and not by a place in a file, which means nothing there; nothing is lost or doubled. Where the replica
lacks transactions that the tables have, or has others between them, or has purged what they need next, the agent ends
with the way out, and it works."""

import json
import signal
import unittest

from test_mysql import SECONDS, Base
from test_mysql_relay import RelayBase

from harness.fault_proxy import FaultProxy
from harness.mysql import SERVERS
from harness.mysql_lake import lake_rows
from harness.relay import Header
from harness.wait import wait_until


class Pair(Base):
    """A primary and its replica. A promotion can't be undone: each test has servers of its own."""

    primary: dict[str, str] = {"server_id": "1"}
    replica: dict[str, str] = {"server_id": "2"}

    @classmethod
    def setUpClass(cls):
        pass

    def setUp(self):
        self.server = SERVERS[self.kind](**self.primary).start()
        self.addCleanup(lambda: self.server.stop())
        self.other = SERVERS[self.kind](**self.replica).start()
        self.addCleanup(lambda: self.other.stop())
        self.server.create_user()
        self.server.execute("create user repl@'%' identified by 'x'")
        self.server.execute("grant replication slave on *.* to repl@'%'")
        super().setUp()
        self.execute("create table t (id int primary key, a varchar(200))")
        self.execute("create table quiet (id int primary key, a varchar(20))")
        self.execute("insert into quiet values (1, 'idle')")
        self.change(0)
        self.replicate()

    def replicate(self):
        """From the first transaction on."""
        if self.kind == "MariaDB":
            self.other.execute(f"change master to master_host = '127.0.0.1', master_port = {self.server.port}, master_user = 'repl', "
                               "master_password = 'x', master_use_gtid = slave_pos, master_connect_retry = 1")  # fmt: skip
            self.other.execute("start slave")
        else:
            self.other.execute(f"change replication source to source_host = '127.0.0.1', source_port = {self.server.port}, source_user = "
                               "'repl', source_password = 'x', get_source_public_key = 1, source_auto_position = 1, "
                               "source_connect_retry = 1, source_retry_count = 86400")  # fmt: skip
            self.other.execute("start replica")

    def stop_replica(self):
        self.other.execute("stop slave" if self.kind == "MariaDB" else "stop replica")

    def gtids(self, server) -> str:
        return server.execute("select @@gtid_binlog_pos" if self.kind == "MariaDB" else "select @@gtid_executed")[0][0]

    def wait_replica(self):
        wait_until(lambda: self.gtids(self.other) == self.gtids(self.server), SECONDS, "the replica has everything", self.other._alive)

    def change(self, step: int):
        first = step * 100
        for at in range(first, first + 10):
            self.execute("insert into t (id, a) values (%s, %s)", [at, f"step {step} " * 10])
        self.execute("begin")
        self.execute("update t set a = concat(a, %s) where id %% 3 = %s", [f"+{step}", step % 3])
        self.execute("delete from t where id = %s", [first + 3])
        self.execute("commit")

    def fail_over(self):
        """The replica is all there is from here on; its own binlog is all that it knows of the time before."""
        self.server._end(signal.SIGKILL)
        self.connection.close()
        self.stop_replica()
        self.other.execute("reset slave all" if self.kind == "MariaDB" else "reset replica all")
        self.server, self.other = self.other, self.server
        self.connection = self.server.connect()
        self.addCleanup(lambda: self.connection.open and self.connection.close())


class Failover(Pair):
    def goes_on(self, **fields):
        agent = self.start(**fields)
        self.wait_equal(agent, "t", "quiet")
        for step in (1, 2):
            self.change(step)
            self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        self.change(3)
        self.other.execute("flush binary logs")  # files are cut elsewhere there
        self.change(4)
        self.wait_replica()
        self.fail_over()
        self.change(5)
        agent = self.start(**fields)
        self.wait_equal(agent, "t", "quiet")
        self.assertIn("which has the same transactions", agent.text())
        self.change(6)
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        self.change(7)
        agent = self.start(**fields)  # now it is the server that the tables know
        self.execute("insert into quiet values (2, 'woken')")
        self.wait_equal(agent, "t", "quiet")
        self.assertNotIn("which has the same transactions", agent.text())
        self.assert_stopped(agent)

    def test_goes_on(self):
        self.goes_on()

    def refused(self, code: str, *parts: str):
        self.assert_refused(code, "--resnapshot", *parts)
        agent = self.start(arguments=["--resnapshot", "*.*"])
        self.change(8)
        self.wait_equal(agent, "t", "quiet")
        self.assert_stopped(agent)

    def followed(self):
        agent = self.start()
        self.change(1)
        self.wait_equal(agent, "t", "quiet")
        return agent

    def test_the_replica_lacks_transactions(self):
        agent = self.followed()
        self.wait_replica()
        self.stop_replica()
        self.change(2)
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        self.fail_over()
        self.change(3)
        self.refused("SourceChanged", "does not go on from where the tables are")

    def test_the_replica_has_others_between(self):
        self.wait_replica()
        with self.other.connect(None) as connection, connection.cursor() as cursor:
            if self.kind == "MariaDB":
                cursor.execute("set gtid_domain_id = 7")
            cursor.execute("create database only_here")
        self.change(2)
        agent = self.followed()
        self.change(3)
        self.wait_equal(agent, "t")
        self.assert_stopped(agent)
        wait_until(lambda: self.other.execute("select count(*) from t", "shop") == self.server.execute("select count(*) from t", "shop"),
                   SECONDS, "the replica follows")  # fmt: skip
        self.fail_over()
        self.refused("SourceChanged", "does not go on from where the tables are")

    def test_purged_at_the_replica(self):
        self.assert_stopped(self.followed())
        for step in (2, 3):
            self.change(step)
            self.wait_replica()
            self.other.execute("flush binary logs")
        self.fail_over()
        self.change(4)

        def purged():
            self.server.execute("flush binary logs")
            self.server.execute(f"purge binary logs to '{self.server.log_end()[0]}'")
            self.change(20 + len(seen))  # as often as it takes: the server keeps what it still reads
            seen.append(1)
            return len(self.server.execute("show binary logs")) < 3

        seen = []
        wait_until(purged, SECONDS, "the binlogs are purged")
        self.refused("LogPurged")


class Tables(Failover):
    def test_goes_on_at_lower_places(self):
        """The replica's own log is shorter: what is new there has places below those that the tables know."""
        for _ in range(6):
            self.execute("flush local binary logs")
        self.goes_on()

    def test_while_it_runs(self):
        """Behind one address: whoever answers there is asked who he is."""
        with FaultProxy("127.0.0.1", self.server.port, http=False) as proxy:
            agent = self.start(port=proxy.port)
            self.change(1)
            self.wait_equal(agent, "t", "quiet")
            self.wait_replica()
            proxy.peer = ("127.0.0.1", self.other.port)
            self.server.cut("firn", spared="Dump")
            self.execute("alter table t add column b int")  # so the catalog is asked, where the other server answers now
            self.change(2)
            wait_until(lambda: "ServerChanged" in agent.text(), SECONDS, "it is noticed", agent.alive)
            self.wait_replica()
            self.fail_over()
            self.change(3)
            self.wait_equal(agent, "t", "quiet")
            self.assertIn("which has the same transactions", agent.text())
            self.assert_stopped(agent)

    def test_every_change_once(self):
        """In a table of changes one that came twice, or not at all, stays to be seen."""
        fields = {"mode": "Append"}
        agent = self.start(**fields)
        wait_until(lambda: "table copied" in agent.text() and not agent.copying(), SECONDS, "copied", agent.alive)
        self.execute("insert into t values (5000, 'a'), (5001, 'b')")
        wait_until(lambda: self.changes(5000) == 1, SECONDS, "followed", agent.alive)
        self.assert_stopped(agent)
        for at in range(5002, 5030):
            self.execute(f"insert into t values ({at}, 'c')")
        self.wait_replica()
        self.fail_over()
        self.execute("insert into t values (5030, 'd')")
        agent = self.start(**fields)
        wait_until(lambda: self.changes(5030) == 1, SECONDS, "it goes on", agent.alive)
        self.assertEqual([self.changes(at) for at in range(5000, 5031)], [1] * 31)
        self.assert_stopped(agent)

    def changes(self, key: int) -> int:
        try:
            return lake_rows(self.warehouse, "t", ["id"]).count((key,))
        except (ValueError, OSError):
            return 0


class RelayFailover(Failover):
    """Into topics, whose readers drop what does not come behind what they have: places at the replica have to."""

    start, topic, values, wait_equal = RelayBase.start, RelayBase.topic, RelayBase.values, RelayBase.wait_equal

    @classmethod
    def setUpClass(cls):
        cls.broker = RelayBase.brokers()
        cls.broker.start()
        cls.addClassCleanup(cls.broker.stop)

    def setUp(self):
        super().setUp()
        self.prefix, self.registry = self.id().split(".")[-1], None

    def test_goes_on(self):
        for _ in range(6):
            self.execute("flush local binary logs")  # the replica's files have smaller numbers
        self.goes_on(partitions=1)
        messages = [message for message in self.broker.read(f"{self.prefix}.shop.t") if message.value()]
        values = [json.loads(message.value()) for message in messages]
        rows = [(Header(message).position, value["after"]) for message, value in zip(messages, values) if value["op"] != "r"]
        positions = [position for position, _ in rows]
        self.assertEqual(positions, sorted(positions))
        self.assertEqual(sum(value["op"] == "c" for value in values), 70)  # seven changes, each of ten rows, came once
        self.assertEqual({value["source"]["server_id"] for value in values if value["op"] == "c"}, {1, 2})
        self.assertGreater(int(values[0]["source"]["file"].split(".")[1]), int(values[-1]["source"]["file"].split(".")[1]))

    def refused(self, code: str, *parts: str):
        agent = self.start()
        self.assertEqual(agent.wait(), 3, agent.text()[-3000:])
        for part in (code, "--resnapshot", *parts):
            self.assertIn(part, agent.text())


class MariadbRelayFailover(RelayFailover, unittest.TestCase):
    kind = "MariaDB"
    replica = {"server_id": "2", "log_slave_updates": "ON"}


class MysqlRelayFailover(RelayFailover, unittest.TestCase):
    kind = "MySQL"


class MariadbFailover(Tables, unittest.TestCase):
    kind = "MariaDB"
    replica = {"server_id": "2", "log_slave_updates": "ON"}


class MysqlFailover(Tables, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main()
