"""firn-agent capture copies tables once more beside the stream (spec.stream.resnapshot). The topics begin without the rows
that were there before (snapshot.mode Never), so that whatever is missing from the copy is missing in the end; the shop is
live, large values are left out of the log, and the agent is killed in the middle."""

import os
import signal
import unittest

from harness.relay import PLACEHOLDER, RelayCase
from harness.shop import TABLES
from harness.wait import wait_until

ROWS = 3000


class Beside(RelayCase):
    rows = ROWS

    def setUp(self):
        super().setUp()
        self.agents = []
        os.environ["FIRN_CHUNK_ROWS"] = "400"
        self.addCleanup(os.environ.pop, "FIRN_CHUNK_ROWS")
        self.make_shop()
        self.connection.execute("create table wide (part int, id text, body text, n int not null default 0, primary key (part, id));"
                                " alter table wide alter body set storage external;"
                                " insert into wide select i % 3, 'k''' || i, repeat(md5(i::text), 100), 0 from generate_series(1, 1200) i")  # fmt: skip

    def asked(self, number: str, tables: str = '"public.*"') -> str:
        return f"    resnapshot: {{id: \"{number}\", tables: [{tables}]}}\n"

    def start(self, *arguments, **options):
        self.agents.append(super().start(*arguments, **options))
        return self.agents[-1]

    def copied(self, *agents) -> set:
        return {line["table"] for agent in agents for line in agent.lines() if line["msg"] == "table copied beside the stream"}

    def went_on(self) -> bool:
        return any("going on copying table beside the stream" in agent.text() for agent in self.agents)

    def kill_at(self, point: str):
        agent = self.start(crash_at=point)
        self.assertEqual(agent.wait(90), -signal.SIGKILL, f"{point}: {agent.text()[-2000:]}")
        self.assertTrue(agent.struck(), f"{point} did not strike: {agent.text()[-2000:]}")

    def copy_under_traffic(self, delivery: str):
        self.write_manifest(snapshot="Never", delivery=delivery)
        agent = self.start()
        wait_until(lambda: self.postgres.slot("firn"), 60, "the slot is there", agent.alive)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.write_manifest(snapshot="Never", delivery=delivery, stream=self.asked("one"))
        with self.traffic(bulk=False):
            for point in ("relay-chunk-read:2", "relay-chunk-sent:2", "relay-chunk-settled:3"):
                self.kill_at(point)
            kills = 0
            while not self.went_on():  # a kill between two tables leaves nothing to go on with
                self.assertLess(kills := kills + 1, 6, "no copy goes on within a table")
                self.kill_at("relay-chunk-settled:2")
            agent = self.start()
            self.connection.execute("update wide set n = n + 1 where part = 1")  # its body is left out
            wait_until(lambda: len(self.copied(agent)) >= 1, 90, "a table is copied", agent.alive)
            while len(self.copied(agent)) < 2:
                self.connection.execute("update wide set n = n + 1 where id like '%7'")
            wait_until(lambda: len(self.copied(*self.agents)) == len(TABLES) + 1, 90, "every table is copied", agent.alive)
            self.wait_agreed(agent)
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        topics = self.assert_equal((*TABLES, "wide"), repeats=delivery == "Idempotent")
        for topic in topics.values():
            self.assertGreater(topic.snapshots["incremental"], 0)
            self.assertGreaterEqual(sum(topic.copied.values()), 3)
        self.assertNotIn(PLACEHOLDER, [row["body"] for row in topics["wide"].rows.values()])
        return topics

    def test_idempotent(self):
        self.copy_under_traffic("Idempotent")
        self.write_manifest(snapshot="Never", stream=self.asked("one"))
        again = self.start()  # the same id: it is done
        self.wait_agreed(again)
        self.assert_stopped(again)
        self.assertNotIn("beside the stream", again.text())
        self.write_manifest(snapshot="Never", stream=self.asked("two", '"public.products"'))
        more = self.start()
        wait_until(lambda: self.copied(more), 60, "products are copied once more", more.alive)
        self.assert_stopped(more)
        self.assertEqual(self.copied(more), {"public.products"})

    def test_transactional(self):
        self.copy_under_traffic("Transactional")

    def test_columns_change(self):
        """Columns that nobody has written to since, and some that change meanwhile."""
        self.write_manifest(snapshot="Never")
        agent = self.start()
        wait_until(lambda: self.postgres.slot("firn"), 60, "the slot is there", agent.alive)
        self.wait_agreed(agent)
        self.connection.execute("update wide set n = 1 where part = 0")  # the stream knows the columns of then
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.connection.execute("alter table wide add column more text; alter table products drop column weight_kg")
        self.write_manifest(snapshot="Never", stream=self.asked("one", '"public.wide", "public.products", "public.orders"'))
        agent = self.start()
        wait_until(lambda: len(self.copied(agent)) >= 1, 90, "the first table is copied", agent.alive)
        self.connection.execute("alter table wide add column last int; truncate orders cascade")
        wait_until(lambda: len(self.copied(agent)) == 3, 90, "all are copied", agent.alive)
        self.connection.execute("update wide set more = 'm' || n, last = n where part = 2")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assert_equal(("wide", "products", "orders"))


if __name__ == "__main__":
    unittest.main()
