"""The primary dies and its standby is promoted: a slot that the standby has, too, goes on in the new timeline, by
itself; nothing is lost or doubled. Where the standby lacks the slot, or changes that the lake has, the agent ends with
the way out, and it works."""

import signal
import unittest

from harness.agent import REFUSED
from harness.case import Shop
from harness.postgres import Postgres, Standby
from harness.wait import wait_until


class Failover(Shop):
    version = 17
    rows = 400
    quick = True
    primary_settings: dict[str, str] = {"synchronized_standby_slots": f"'{Standby.SLOT}'"}
    standby_settings: dict[str, str] = {}

    @classmethod
    def setUpClass(cls):
        pass  # a promotion can't be undone: each test has servers of its own

    def setUp(self):
        self.primary = self.postgres = Postgres(self.version).start()
        self.addCleanup(self.end, self.primary)
        self.standby = Standby(self.primary, self.version, **self.standby_settings).start()
        self.addCleanup(self.end, self.standby)
        self.primary.restart(**self.primary_settings)
        super().setUp()
        self.make_shop()
        self.connection.execute("create table big (id integer primary key, body text, n integer)")
        self.connection.execute("alter table big alter column body set storage external")
        self.change(0)
        self.write_manifest(host=f'["{self.primary.host}", "{self.standby.host}"]', format=3)

    def end(self, server: Postgres):
        server.stop() if server.alive() else None

    def _drop_database(self):
        pass  # it goes with its server

    def change(self, step: int):
        run = self.connection.execute
        run(f"insert into big select i, repeat(md5(i::text), 200), {step} from generate_series({step} * 100, {step} * 100 + 49) i")
        run(f"update big set n = {step} where id % 3 = {step} % 3")
        run(f"delete from big where id % 50 = {step}")
        run(f"update customers set name = name || '{step}' where id % 2 = {step} % 2")

    def wait_standby(self, agent, slot: bool = True):
        """It has everything; and the slot, as one that would outlive the primary."""
        wait_until(self.standby.follows, 90, "the standby follows", agent.alive)
        if slot:
            wait_until(self.synced, 60, "the standby has the slot", agent.alive)

    def synced(self) -> bool:
        """The server looks every 15 s for what a slot needs, and a standby ever more seldom at the slots: both are asked
        to do so now."""
        self.primary.execute("select pg_log_standby_snapshot()")
        self.standby.execute("select pg_reload_conf()")
        return self.standby.has_slot("firn")

    def fail_over(self):
        self.primary._end(signal.SIGQUIT)
        self.connection.close()
        self.standby.promote()
        self.postgres = self.standby
        self.connection = self.standby.connect("shop")
        self.addCleanup(self.connection.close)

    def assert_refused(self, agent, reason: str):
        self.assertEqual(agent.wait(90), REFUSED, agent.text()[-3000:])
        self.assertIn(reason, agent.text())
        self.assertIn("--resnapshot", agent.text())
        agent = self.start(arguments=("--resnapshot", "*.*"))
        self.change(8)
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


class GoesOn(Failover):
    def goes_on(self):
        agent = self.start(http=True)
        agent.wait_ready()
        self.wait_agreed(agent)
        self.assertTrue(self.primary.execute("select failover from pg_replication_slots where slot_name = 'firn'")[0][0])
        self.change(1)
        self.wait_standby(agent)
        self.change(2)
        self.fail_over()
        self.change(3)
        self.wait_agreed(agent)
        self.assert_equal()
        self.assertEqual(sum(v for k, v in agent.metrics().items() if k.startswith("firn_keyed_reads_total")), 0)
        self.change(4)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.change(5)
        agent = self.start()
        self.wait_agreed(agent)
        for engine in ("duckdb", "pyiceberg"):
            self.assert_equal(engine)
        self.assert_stopped(agent)


class V17(GoesOn):
    def test_goes_on(self):
        self.goes_on()

    def test_stopped_meanwhile(self):
        """Tables that were idle, and an agent that was not there when it happened."""
        agent = self.start()
        self.wait_agreed(agent)
        for step in range(1, 4):
            self.connection.execute("update customers set name = name || '.' where id = 1")
            self.wait_agreed(agent)
        self.wait_standby(agent)
        self.assert_stopped(agent)
        self.connection.execute("update customers set name = name || '!' where id = 2")
        wait_until(self.standby.follows, 90, "the standby follows")
        self.fail_over()
        self.change(3)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


class V18(GoesOn):
    version = 18

    def test_goes_on(self):
        self.goes_on()


class Ahead(Failover):
    """Nothing holds the agent to what the standby has."""

    primary_settings: dict[str, str] = {}

    def test_standby_lacks_changes(self):
        agent = self.start()
        self.wait_agreed(agent)
        self.wait_standby(agent)
        self.standby.execute("alter system set primary_conninfo = ''")
        self.standby.execute("select pg_reload_conf()")
        wait_until(lambda: not self.standby.execute("select 1 from pg_stat_wal_receiver"), 90, "it receives no more")
        self.change(1)
        self.wait_agreed(agent)
        self.fail_over()
        self.assert_refused(agent, "SourceChanged")


class Without(Failover):
    primary_settings: dict[str, str] = {}
    standby_settings = {"sync_replication_slots": "off"}

    def test_standby_lacks_the_slot(self):
        agent = self.start()
        self.wait_agreed(agent)
        self.wait_standby(agent, slot=False)
        self.fail_over()
        self.assert_refused(agent, "SlotMissing")


if __name__ == "__main__":
    unittest.main()
