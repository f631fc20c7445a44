"""The agent as its user sees it: exit codes, signals, HTTP, inspect, validate, drop."""

import json
import re
import unittest

from harness.agent import OK, REFUSED, USAGE, command
from harness.case import Shop
from harness.wait import wait_until


class CommandLine(unittest.TestCase):
    def test_help_and_version(self):
        for option in ("--help", "--version"):
            result = command(option)
            self.assertEqual(result.returncode, OK)
            self.assertTrue(result.stdout)
        for word in ("run", "capture", "validate", "inspect", "drop", "maintain", "--secrets", "--stop-timeout"):
            self.assertIn(word, command("--help").stdout)

    def test_usage(self):
        for arguments in ([], ["fly"], ["run"], ["run", "--no-such-option"], ["run", "-f"], ["inspect"]):
            with self.subTest(arguments=arguments):
                result = command(*arguments)
                self.assertEqual(result.returncode, USAGE, result.stderr)
                self.assertTrue(result.stderr)

    def test_missing_file(self):
        result = command("run", "-f", "/no/such/file.yaml")
        self.assertIn(result.returncode, (USAGE, REFUSED))
        self.assertIn("/no/such/file.yaml", result.stderr)


class Life(Shop):
    def test_validate(self):
        path = self.write_manifest()
        self.assertEqual(command("validate", "-f", path).returncode, OK)
        text = path.read_text()
        path.write_text(text.replace("mode: Upsert", "mode: Upset").replace("formatVersion: 2", "formatVersion: 7"))
        result = command("validate", "-f", path)
        self.assertEqual(result.returncode, REFUSED)
        said = result.stdout + result.stderr
        for part in ("Upset", "Upsert", "formatVersion", "7"):
            self.assertIn(part, said)
        self.assertEqual(len(re.findall(rf"^{re.escape(str(path))}:\d+: ", said, re.M)), 2, said)

    def test_http(self):
        self.make_shop()
        self.write_manifest()
        agent = self.start(http=True)
        wait_until(lambda: agent.get("/healthz")[0] == 200, 90, "healthz answers", agent.alive)
        agent.wait_ready()
        self.wait_agreed(agent)
        self.assertEqual(agent.get("/nothing")[0], 404)
        metrics = agent.metrics()
        rows = {name: value for name, value in metrics.items() if name.startswith("firn_table_rows")}
        self.assertEqual(len(rows), 4, metrics)
        counted = self.connection.execute("select count(*) from orders").fetchone()[0]
        self.assertEqual([value for name, value in rows.items() if '"public.orders"' in name], [counted])
        for name in ("firn_phase", "firn_lag_bytes", "firn_confirmed_position", "firn_table_commits_total"):
            self.assertTrue(any(series.startswith(name) for series in metrics), name)
        for line in agent.get("/metrics")[1].splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .*|\w+(\{.*\})? [-+.\deE]+(Inf|NaN)?)$")
        self.assert_stopped(agent)
        self.assertEqual(agent.get("/healthz")[0], 0)

    def test_stop_drains_and_commits(self):
        """With an hour between commits, a stop is what commits."""
        self.make_shop()
        self.write_manifest(interval="1h")
        agent = self.start(http=True)
        agent.wait_ready()
        with self.traffic(seed=7, pace=0) as changes:
            wait_until(lambda: changes.done["transactions"] > 500, 60, "traffic")
        end = self.postgres.wal_end()
        self.postgres.execute("select pg_logical_emit_message(true, 'firn', 'end')", "shop")

        def received():
            values = [value for name, value in agent.metrics().items() if name.startswith("firn_received_position")]
            return values and values[0] >= end

        wait_until(received, 60, "the agent has read it all", agent.alive)
        self.assertLess(self.postgres.slot("firn")["confirmed"], end, "nothing was committed yet")
        self.assert_stopped(agent)
        self.assert_equal()
        self.assert_not_ahead()
        self.assertGreaterEqual(self.postgres.slot("firn")["confirmed"], end)

    def test_stop_under_traffic(self):
        """A stop while rows come on ends in time, with whole transactions."""
        self.make_shop()
        self.write_manifest()
        with self.traffic(seed=8):
            for _ in range(3):
                agent = self.start(http=True)
                agent.wait_ready()
                self.assert_stopped(agent)
                self.assert_not_ahead()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_equal()
        self.assert_stopped(agent)

    def test_inspect(self):
        self.make_shop()
        path = self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.connection.execute("delete from orders where id % 10 = 0")
        self.connection.execute("update orders set note = 'seen' where id % 10 = 1")
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        folder = self.warehouse / "shop" / "orders"
        result = command("inspect", "--json", folder)
        self.assertEqual(result.returncode, OK, result.stderr)
        table = json.loads(result.stdout)
        counted = self.connection.execute("select count(*) from orders").fetchone()[0]
        self.assertEqual(table["rows"], counted)
        self.assertEqual(table["format-version"], 2)
        self.assertEqual([field["name"] for field in table["schema"] if field["key"]], ["id"])
        self.assertEqual(len(table["schema"]), 9)
        self.assertTrue(table["positions"])
        self.assertGreaterEqual(len(table["snapshots"]), 2)
        self.assertTrue(table["data-files"] and table["delete-files"])
        text = command("inspect", folder).stdout
        for word in ("orders", table["uuid"], "snapshots", "position", "data files", "delete files", "customer_id"):
            self.assertIn(word, text)
        self.assertNotEqual(command("inspect", self.warehouse / "shop" / "nothing").returncode, OK)
        self.assertEqual(command("validate", "-f", path).returncode, OK)

    def test_drop(self):
        self.make_shop()
        path = self.write_manifest()
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.assertEqual(command("drop", "-f", path, stdin=-3).returncode, USAGE)
        self.assertTrue(self.postgres.slot("firn"))
        result = command("drop", "-f", path, "--yes")
        self.assertEqual(result.returncode, OK, result.stderr)
        self.assertIsNone(self.postgres.slot("firn"))
        self.assertEqual(self.connection.execute("select * from pg_publication").fetchall(), [])
        self.assert_equal()  # deletionPolicy is Retain: the tables stay
        self.assertEqual(command("drop", "-f", path, "--yes").returncode, OK, "what is gone is fine")


if __name__ == "__main__":
    unittest.main(verbosity=2)
