"""What a person asks of an agent: tables copied again, once for each id, whoever starts it how often; a pause."""

import unittest

from harness.agent import REFUSED, command
from harness.case import Shop
from harness.wait import wait_until

ROWS = 4000


class Asked(Shop):
    rows = ROWS
    quick = True

    def ask(self, resnapshot: str = None, state: str = "Running"):
        """The manifest, with that annotation and state."""
        path = self.write_manifest()
        note = f", annotations: {{firn.dev/resnapshot: \"{resnapshot}\"}}" if resnapshot else ""
        text = path.read_text()
        head = "kind: Connector\nmetadata: {name: shop}\nspec:\n"
        self.assertEqual(text.count(head), 1)
        path.write_text(text.replace(head, f"kind: Connector\nmetadata: {{name: shop{note}}}\nspec:\n  state: {state}\n"))

    def said(self, agent, state: str) -> list[str]:
        """The ids of requests of which the log says so."""
        words = "tables that were asked to be copied again"
        return [line["id"] for line in agent.lines() if line["msg"] == words and line["state"] == state]

    def copied(self, agent) -> list[str]:
        return sorted(line["table"] for line in agent.lines() if line["msg"] == "table copied")

    def figure(self, agent, name: str) -> float:
        return next((value for series, value in agent.metrics().items() if series.startswith(name + "{")), 0)

    def head(self, table: str) -> int:
        return self.lake_table(table).snapshots[-1]["snapshot-id"]

    def run_once(self, wanted: str = None, **options):
        """An agent, until what is asked for is done and the lake agrees."""
        agent = self.start(**options)
        if wanted:
            wait_until(lambda: wanted in self.said(agent, "Done"), 60, f"{wanted} is done", agent.alive)
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)
        return agent

    def test_copied_again_once(self):
        self.make_shop()
        self.ask()
        self.assertIn("public.orders", self.copied(self.run_once()))
        self.ask("public.orders first alice@example.com")
        agent = self.run_once("first")
        self.assertEqual(self.copied(agent), ["public.orders"])
        self.assertTrue([line for line in agent.lines() if line.get("by") == "alice@example.com"])
        # neither a start nor another word for the same id does it again
        self.assertEqual(self.copied(self.run_once("first")), [])
        self.ask("public.order*,public.customers first")
        self.assertEqual(self.copied(self.run_once("first")), ["public.customers", "public.order_lines"])
        self.ask("public.orders second")
        self.assertEqual(self.copied(self.run_once("second")), ["public.orders"])
        properties = self.lake_table("orders").properties
        self.assertEqual([text for name, text in properties.items() if name.startswith("firn.resnapshot.")], ["second"])

    def test_killed_while_it_copies_again(self):
        self.make_shop()
        self.ask()
        self.run_once()
        self.ask("public.orders once")
        before = self.lake_table("orders").properties
        agent = self.start(crash_at="copy-committed")
        agent.wait(60)
        self.assertTrue(agent.struck(), agent.text()[-2000:])
        self.assertNotEqual(before, self.lake_table("orders").properties)
        with self.traffic():
            agent = self.start()
            wait_until(lambda: "once" in self.said(agent, "Done"), 60, "it is done", agent.alive)
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)
        self.assertEqual(self.copied(self.run_once("once")), [])

    def test_a_lost_slot(self):
        """What ended the agent is mended by what is asked for."""
        self.make_shop()
        self.ask()
        self.run_once()
        self.postgres.drop_slots("firn")
        self.connection.execute("delete from order_lines where order_id % 3 = 0")
        agent = self.start()
        self.assertEqual(agent.wait(60), REFUSED, agent.text()[-2000:])
        self.ask("*.* mended")
        self.run_once("mended")

    def test_refused(self):
        self.make_shop()
        self.ask("public.nosuch nothing")
        agent = self.start()
        wait_until(lambda: "nothing" in self.said(agent, "Refused"), 60, "it is refused", agent.alive)
        self.wait_agreed(agent)
        self.assert_equal()
        self.ask("orders")
        done = command("validate", "-f", self.folder / "manifest.yaml")
        self.assertEqual(done.returncode, REFUSED)
        self.assertIn('metadata.annotations: there is no table "orders": write firn.dev/resnapshot as TABLES', done.stderr)

    def test_paused(self):
        self.make_shop()
        self.ask()
        self.run_once()
        self.ask(state="Paused")
        agent = self.start(http=True)
        wait_until(lambda: self.figure(agent, "firn_phase") == 7, 60, "it pauses", agent.alive)
        head = self.head("orders")
        self.connection.execute("update orders set note = repeat('x', 500)")
        written = self.connection.execute("select sum(length(note)) from orders").fetchone()[0]
        self.assertGreater(written, 1000)
        # its slot is held, and what that keeps is measured
        wait_until(lambda: self.figure(agent, "firn_log_retained_bytes") > written, 60, "the log that is kept grows", agent.alive)
        self.assertTrue(self.postgres.slot("firn")["active"])
        self.assertEqual(self.head("orders"), head)
        self.assertGreater(self.figure(agent, "firn_freshness_seconds"), 0)
        self.assert_stopped(agent)
        self.ask(state="Running")
        self.run_once()
        self.assertNotEqual(self.head("orders"), head)


if __name__ == "__main__":
    unittest.main()
