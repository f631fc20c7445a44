"""MySQL and MariaDB under the operator, on a real API server with etcd and without a node: the test takes the node's part, and
runs the agent on the very manifest that the operator made, with its channel. What the resources say is what the source and the
lake say: while it copies and streams, paused, copied again, with the server away, and when the server is back."""

import signal
import sys
import unittest
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

import test_mysql
import test_operator
from harness.agent import OK, Agent
from harness.mysql import PASSWORD
from harness.mysql_lake import manifest

ROWS = 500
SECONDS = 60  # limits are for what hangs


class Sources(test_operator.Reconcile):
    """Of one server."""

    kind: str

    def setUp(self):
        super().setUp()
        self.warehouse = self.folder / "lake"
        self.warehouse.mkdir()
        self.server = test_mysql.SERVERS[self.kind]().start()
        self.addCleanup(self.server.stop)
        self.server.create_user()
        self.server.execute("create database shop")
        self.connection = self.server.connect()
        self.addCleanup(lambda: self.connection.open and self.connection.close())
        self.channel_started()

    execute, wait_equal = test_mysql.Base.execute, test_mysql.Base.wait_equal

    # --- what a node would do ---

    def apply(self):
        self.kube.secret("db", self.namespace, username="firn", password=PASSWORD)
        documents = [one for one in yaml.safe_load_all(manifest(self.server, self.warehouse)) if one["kind"] != "Secret"]
        for one in documents:
            one["metadata"]["namespace"] = self.namespace
        self.kube.apply(yaml.safe_dump_all(documents))

    def pod(self) -> Agent:
        """The Deployment's Pod: its manifest, with the Secret that Kubernetes would mount, the channel's CA and a token."""
        self.wait_children()
        self.make_pod("agent", {"phase": "Running"})
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": self.namespace},
                  "stringData": {"username": "firn", "password": PASSWORD}}  # fmt: skip
        path, ca, token = (self.folder / name for name in ("manifest.yaml", "ca.crt", "token"))
        path.write_text(yaml.safe_dump(secret) + "---\n" + self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"])
        path.chmod(0o600)
        ca.write_text(self.trust())
        token.write_text(self.token("agent"))
        channel = ("--channel", f"localhost:{self.port}", "--channel-ca", ca, "--channel-token", token)
        agent = Agent(path, self.folder / "agent.log", arguments=channel)
        self.addCleanup(agent.__exit__)
        self.run_deployment()
        return agent

    def ended(self, name: str, agent: Agent):
        """As a kubelet says it, with the end of its log (FallbackToLogsOnError)."""
        last = {"exitCode": agent.process.returncode, "message": agent.text()[-2048:], "reason": "Error"}
        self.run_deployment(0)
        self.kube.patch("Pod", name, {"status": {"containerStatuses": [
            {"name": "agent", "ready": False, "restartCount": 2, "image": "x", "imageID": "", "lastState": {"terminated": last},
             "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}, self.namespace, "/status")  # fmt: skip

    def write(self, start: int):
        self.execute("insert into orders select n, concat('order ', n) from numbers where n >= %s and n < %s", [start, start + ROWS // 2])

    def rows(self) -> int:
        return self.get("IngestionUnit", "shop-shop-orders")["status"].get("rows")

    def conditions(self, kind: str, name: str, **wanted: str):
        """type=status, and status/reason where it is asked for."""
        for type_, value in wanted.items():
            status, _, reason = value.partition("/")
            self.wait_condition(kind, name, type_, status, reason or None)

    def test_life(self):
        self.execute("create table numbers (n int primary key)")
        self.execute("insert into numbers values " + ", ".join(f"({n})" for n in range(2 * ROWS)))
        self.execute("create table orders (id int primary key, what varchar(40))")
        self.write(0)
        self.apply()
        agent = self.pod()
        self.conditions("Connector", "shop", Ready="True/Streaming", SourceReachable="True/Reachable", SnapshotComplete="True/Complete",
                        LogHeadroom="True/Enough")  # fmt: skip
        self.wait_equal(agent, "orders", "numbers")
        self.write(ROWS // 2)
        self.wait_equal(agent, "orders")
        for name in ("shop-shop-orders", "shop-shop-numbers"):
            self.conditions("IngestionUnit", name, Ready="True")
            self.conditions("LakeTable", name, Ready="True", SchemaInSync="True/InSync")
        self.until(lambda: self.get("Connector", "shop")["status"]["tables"] == 2, "both tables are counted")
        # paused: nothing is read, and it says so
        self.kube.patch("Connector", "shop", {"spec": {"state": "Paused"}}, self.namespace)
        self.conditions("Connector", "shop", Ready="True/Paused")
        self.kube.patch("Connector", "shop", {"spec": {"state": "Running"}}, self.namespace)
        self.conditions("Connector", "shop", Ready="True/Streaming")
        # copied again, beside the stream
        self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"firn.dev/resnapshot": "shop.orders again alice"}}}, self.namespace)
        done = lambda: [one for one in self.get("Connector", "shop")["status"].get("requests", []) if (one["id"], one["state"]) == ("again", "Done")]  # noqa: E731
        self.until(done, "it is copied again")
        # the server is away, and comes again
        self.connection.close()
        self.server._end(signal.SIGKILL)
        self.conditions("Connector", "shop", Ready="False", SourceReachable="False")
        self.conditions("IngestionUnit", "shop-shop-orders", Ready="False")
        self.server.start()
        self.connection = self.server.connect()
        self.conditions("Connector", "shop", Ready="True/Streaming", SourceReachable="True/Reachable")
        self.write(ROWS)
        self.wait_equal(agent, "orders", "numbers")
        # the log that it needs is gone
        self.assertEqual(agent.stop(), OK, agent.text()[-2000:])
        self.remove_pod("agent")
        needed = self.server.log_end()[0]
        self.write(ROWS + ROWS // 2)

        def purged() -> bool:
            """A server keeps files that it would need itself after a crash."""
            self.execute("flush binary logs")
            self.execute("update numbers set n = n where n = 0")
            self.execute(f"purge binary logs to '{self.server.log_end()[0]}'")
            return needed not in [file for file, *_ in self.execute("show binary logs")]

        self.until(purged, "the log is purged")
        agent = self.pod()
        self.assertEqual(agent.wait(SECONDS), 3, agent.text()[-2000:])
        self.ended("agent", agent)
        found = self.wait_condition("Connector", "shop", "Stalled", "True", "LogPurged")
        self.assertIn("--resnapshot", found["message"])
        self.conditions("IngestionUnit", "shop-shop-orders", Stalled="True/LogPurged", Ready="False")


class Mariadb(Sources):
    kind = "MariaDB"


class Mysql(Sources):
    kind = "MySQL"


del Sources

if __name__ == "__main__":
    unittest.main()
