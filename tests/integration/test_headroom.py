"""The source's log is watched: what the slot makes the server keep and how long it will, as metrics and warnings; a
slot that is really lost, while the agent runs and while it does not, ends it with the way out, which works; and an
idle database's slot goes on while others of the server write."""

import signal
import unittest

from harness.agent import REFUSED
from harness.case import Shop
from harness.postgres import Postgres
from harness.wait import wait_until

MEGA = 1 << 20


class Watched(Shop):
    """A server that keeps little log."""

    version = 15
    settings = {"max_slot_wal_keep_size": "'48MB'", "min_wal_size": "'32MB'", "max_wal_size": "'4GB'",
                "wal_keep_size": "'0'", "checkpoint_timeout": "'1h'"}  # fmt: skip
    rows = 300

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres(cls.version, **cls.settings).start()
        cls.addClassCleanup(cls.postgres.stop)

    def setUp(self):
        super().setUp()
        self.postgres.create_database("other")
        self.addCleanup(self.postgres.execute, "drop database other with (force)")
        self.postgres.execute("create table filler (t text)", "other")
        self.make_shop()

    def write(self, heartbeat: str = "interval: 1s", **fields):
        path = self.write_manifest(**fields)
        path.write_text(path.read_text().replace("    tls: ", f"    heartbeat: {{{heartbeat}}}\n    tls: "))

    def run_agent(self):
        agent = self.start(http=True)
        agent.wait_ready()
        return agent

    def metric(self, agent, name: str) -> float:
        return sum(value for series, value in agent.metrics().items() if series.startswith(name + "{"))

    def fill(self, megabytes: int):
        """Log of another database; no checkpoint comes of it by itself while it is small."""
        self.postgres.execute(
            f"insert into filler select repeat(md5(i::text), 31) from generate_series(1, {megabytes * 950}) i", "other")  # fmt: skip

    def checkpoint(self):
        self.postgres.execute("checkpoint")

    def held_back(self):
        """A transaction of our own database that stays open: the slot's place stays before it."""
        connection = self.postgres.connect("shop")
        self.addCleanup(connection.close)
        connection.execute("begin")
        connection.execute("create table held (id int)")
        return connection

    def is_lost(self) -> bool:
        state = self.postgres.slot("firn")
        return bool(state) and state["wal_status"] == "lost"

    def lose(self):
        for _ in range(20):
            self.fill(16)
            self.postgres.execute("select pg_switch_wal()")
            self.checkpoint()
            if self.is_lost():
                return
        self.fail(f"the slot is not lost: {self.postgres.slot('firn')}")

    def assert_way_out(self):
        """As the message has it, the tables are loaded again, and followed."""
        self.assertIn("SlotLost", self.agent_text)
        self.assertIn("--resnapshot '*.*'", self.agent_text)
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.assertIn("SlotLost", agent.text())
        agent = self.start(arguments=("--resnapshot", "*.*"))
        self.connection.execute("update customers set name = name || '!' where id < 50")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


class Measured(Watched):
    def test_figures_and_warning(self):
        self.write()
        agent = self.run_agent()
        self.wait_agreed(agent)
        wait_until(lambda: self.metric(agent, "firn_log_status") == 1, 90, "the slot is measured", agent.alive)
        self.assertLess(self.metric(agent, "firn_log_retained_bytes"), 48 * MEGA)
        room = self.metric(agent, "firn_log_headroom_bytes")
        self.assertGreater(room, 16 * MEGA)
        self.assertLess(room, 96 * MEGA)
        self.assertNotIn("LogHeadroom", agent.text())
        self.held_back()
        self.fill(64)
        wait_until(lambda: "may drop log that is needed at its next checkpoint" in agent.text(), 90, "it is said", agent.alive)
        wait_until(lambda: self.metric(agent, "firn_log_status") == 3, 90, "it is measured", agent.alive)
        wait_until(lambda: self.metric(agent, "firn_log_retained_bytes") > 48 * MEGA, 90, "it grows", agent.alive)
        self.assertLess(self.metric(agent, "firn_log_headroom_bytes"), room)
        self.assertEqual(self.metric(agent, "firn_log_headroom_seconds"), 0)

    def test_lost_while_running(self):
        self.write()
        agent = self.run_agent()
        self.wait_agreed(agent)
        held = self.held_back()
        self.lose()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.agent_text = agent.text()
        held.close()
        self.assert_way_out()

    def test_lost_while_stopped(self):
        self.write()
        agent = self.run_agent()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.lose()
        agent = self.start()
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.agent_text = agent.text()
        self.assert_way_out()

    def test_lost_while_paused(self):
        """The process stands still, as under a debugger or in a frozen container."""
        self.write()
        agent = self.run_agent()
        self.wait_agreed(agent)
        agent.process.send_signal(signal.SIGSTOP)
        try:
            self.lose()
        finally:
            agent.process.send_signal(signal.SIGCONT)
        self.assertEqual(agent.wait(), REFUSED, agent.text())
        self.agent_text = agent.text()
        self.assert_way_out()


class Unlimited(Watched):
    settings = {}

    def test_said_as_such(self):
        self.write()
        agent = self.run_agent()
        self.wait_agreed(agent)
        wait_until(lambda: self.metric(agent, "firn_log_status") in (1, 2), 90, "the slot is measured", agent.alive)
        self.assertEqual(self.metric(agent, "firn_log_headroom_bytes"), float("inf"))
        self.assertEqual(self.metric(agent, "firn_log_headroom_seconds"), float("inf"))
        self.assert_stopped(agent)


class Idle(Watched):
    """Nothing of ours is written, another database is."""

    def moves_on(self, agent):
        """Confirmed and kept from within seconds of what the other database writes; 160 MB go by."""
        for _ in range(10):
            self.fill(16)
            end = self.postgres.wal_end()
            wait_until(lambda: self.postgres.slot("firn")["confirmed"] >= end, 90, "the end is confirmed", agent.alive)
            self.checkpoint()  # which says what runs, from which the slot's place is moved
            self.fill(1)
            wait_until(lambda: self.postgres.slot("firn")["restart"] >= end - MEGA, 90, "the log may go", agent.alive)
        self.assertEqual(self.postgres.slot("firn")["wal_status"], "reserved")
        self.assertNotIn("the source's log gets short", agent.text())

    def test_moves_on(self):
        self.write()
        agent = self.run_agent()
        self.wait_agreed(agent)
        self.moves_on(agent)
        self.ends_well(agent)

    def test_by_keepalives_alone(self):
        """The role may not write messages: the keepalives suffice."""
        for kind in ("text", "bytea"):
            self.postgres.execute(f"revoke execute on function pg_logical_emit_message(boolean, text, {kind}) from public", "shop")
        self.connection.execute("create role firn login replication password 'firn'; grant select on all tables in schema public"
                                " to firn; grant usage on schema public to firn; create publication firn for table"
                                " customers, products, orders, order_lines")  # fmt: skip
        self.addCleanup(self.postgres.execute, "drop role firn")
        self.addCleanup(self.postgres.execute, "drop owned by firn", "shop")
        self.write(user="firn", password="firn")
        agent = self.run_agent()
        self.moves_on(agent)
        self.assertEqual(self.metric(agent, "firn_heartbeats_total"), 0)

    def test_table(self):
        """A table that is written to, and that the lake may have, too."""
        self.connection.execute("create table firn_heartbeat (id integer primary key, at timestamptz)")
        self.write("interval: 200ms, table: public.firn_heartbeat")
        agent = self.run_agent()
        wait_until(lambda: self.metric(agent, "firn_heartbeats_total") >= 5, 90, "heartbeats are written", agent.alive)
        first = self.connection.execute("select at from firn_heartbeat where id = 1").fetchone()[0]
        wait_until(lambda: self.connection.execute("select at > %s from firn_heartbeat", [first]).fetchone()[0], 90, "another", agent.alive)
        wait_until(lambda: self.lake_table("firn_heartbeat"), 90, "the lake has it", agent.alive)
        self.assert_stopped(agent)

    def test_table_lacks(self):
        self.write("interval: 200ms, table: public.firn_heartbeat")
        agent = self.run_agent()
        wait_until(lambda: "no heartbeats" in agent.text(), 90, "it is said", agent.alive)
        self.ends_well(agent)

    def ends_well(self, agent):
        self.connection.execute("update customers set name = name || '!' where id < 50")
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)


if __name__ == "__main__":
    unittest.main()
