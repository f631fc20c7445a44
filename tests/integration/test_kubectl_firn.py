"""The plugin of kubectl's, on a real API server, with kubectl itself; nothing runs: the test says what the operator, the
controllers and a node would say."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness.kube import KUBERNETES, ROOT, Cluster
from harness.server import fetched

GOLDEN = """\
NAME          READY     PHASE       LAG   FRESHNESS   ROWS
shop          False     Pending     -     -           -      ConnectionLost the agent tries again: the server is away
  customers   True      Streaming   0     0s          12
  orders      Unknown   Unknown     4Ki   -           70     AgentSilent its agent was heard last at 2026-01-01T00:00:00Z
stock         -         Pending     -     -           -
clicks        True      Streaming   -     -           5
"""


def condition(status: str, reason: str, message: str = "") -> dict:
    return {"type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip


class Plugin(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.kube = Cluster().start()
        cls.addClassCleanup(cls.kube.stop)
        cls.kube.install(ROOT / "crds")
        cls.folder = Path(tempfile.mkdtemp(prefix="firn-plugin-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        (cls.folder / "kubectl").symlink_to(Path(fetched("go", KUBERNETES)) / "kubectl")
        for name in ("kubectl-firn", "kubectl_complete-firn"):
            (cls.folder / name).symlink_to(ROOT / "deploy" / name)
        for name in ("retail", "empty"):
            cls.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")
        cls.make()

    @classmethod
    def make(cls):
        for name in ("shop", "stock"):
            spec = {"source": {"type": "PostgreSQL", "host": "db", "database": name, "credentialsSecretRef": {"name": "db"}}}
            cls.apply("Connector", name, spec)
        table = {"catalog": {"warehouse": "/lake"}, "database": "retail"}
        for name in ("orders", "customers"):
            cls.apply("IngestionUnit", name, {"connectorRef": {"name": "shop", "table": f"public.{name}"}, "outsourcingUnit": {"table": table}})
        cls.apply("IngestionUnit", "clicks", {"kafka": {"topic": "clicks", "brokers": "kafka:9092", "incomingData": "Json", "startFrom": "Earliest",
                  "events": {"nameField": "e", "allow": [{"name": "click"}]}},
                  "outsourcingUnit": {"table": table | {"tableName": "clicks", "mode": "Append", "columns": [{"name": "e", "type": "string"}]}}})  # fmt: skip
        cls.say("Connector", "shop", {"phase": "Pending", "tables": 2,
                "conditions": [condition("False", "ConnectionLost", "the agent tries again: the server is away")]})  # fmt: skip
        cls.say("IngestionUnit", "orders", {"phase": "Unknown", "lag": "4Ki", "rows": 70,
                "conditions": [condition("Unknown", "AgentSilent", "its agent was heard last at 2026-01-01T00:00:00Z")]})  # fmt: skip
        cls.say("IngestionUnit", "customers", {"phase": "Streaming", "lag": "0", "rows": 12, "freshAt": "2099-01-01T00:00:00Z",
                "conditions": [condition("True", "Streaming", "it follows the source")]})  # fmt: skip
        cls.say("IngestionUnit", "clicks", {"phase": "Streaming", "rows": 5, "conditions": [condition("True", "Streaming")]})

    @classmethod
    def apply(cls, kind: str, name: str, spec: dict):
        cls.kube.apply(json.dumps({"apiVersion": "firn.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "retail"}, "spec": spec}))

    @classmethod
    def say(cls, kind: str, name: str, status: dict):
        cls.kube.patch(kind, name, {"status": status}, "retail", "/status")

    def firn(self, *words: str, code: int = 0, namespace: str = "retail") -> str:
        """As a person types it: kubectl finds the plugin by its name."""
        return self.kubectl("firn", *words, "--namespace", namespace, code=code)

    def kubectl(self, *words: str, code: int = 0) -> str:
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": str(self.folder), "KUBECONFIG": str(self.kube.folder / "admin.kubeconfig")}
        done = subprocess.run(["kubectl", *words], capture_output=True, text=True, timeout=300, env=environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if not code else done.stderr

    def test_status(self):
        self.assertEqual(self.firn("status"), GOLDEN)
        self.assertEqual(self.firn("status", namespace="empty"), "There is no Connector and no IngestionUnit here.\n")
        everywhere = self.kubectl("firn", "status", "-A")
        self.assertIn("retail/shop ", everywhere)

    def test_status_live(self):
        """Drawn again and again, until one has seen enough."""
        call = [sys.executable, ROOT / "deploy/kubectl-firn", "status", "--watch", "--namespace", "retail"]
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": str(self.folder), "KUBECONFIG": str(self.kube.folder / "admin.kubeconfig")}
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment) as live:
            try:
                text = ""
                while text.count("\033[H\033[2J") < 3:
                    text += live.stdout.read(1)
            finally:
                live.send_signal(signal.SIGINT)
            self.assertEqual(live.wait(120), 130)
        self.assertEqual(text.split("\033[H\033[2J")[1:3], [GOLDEN, GOLDEN])

    def test_describe(self):
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "one", "namespace": "retail"}, "reason": "ConnectionLost", "message": "away",
                 "type": "Warning", "lastTimestamp": "2026-01-01T00:00:00Z", "involvedObject":
                 {"kind": "Connector", "name": "shop", "namespace": "retail", "uid": self.kube.get("Connector", "shop", "retail")["metadata"]["uid"]}}  # fmt: skip
        self.kube.call("POST", self.kube.path("Event", None, "retail"), event)
        said = self.firn("describe", "shop")
        self.assertIn("Connector retail/shop: Pending\ntables 2\n", said)
        self.assertRegex(said, r"Ready +False +ConnectionLost +\d+d +the agent tries again: the server is away\n")
        self.assertIn("It has no Pod.\n", said)
        self.assertRegex(said, r"ConnectionLost +\d+d +away\n")

    def test_pods(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "agent", "image": "a"}]},
               "metadata": {"name": "agent", "namespace": "retail", "labels": {"firn.dev/connector": "stock", "firn.dev/role": "capture"}}}  # fmt: skip
        self.kube.call("POST", self.kube.path("Pod", None, "retail"), pod)
        self.addCleanup(self.kube.delete, "Pod", "agent", "retail", "Background&gracePeriodSeconds=0")
        self.assertRegex(self.firn("describe", "stock"), r"agent +Pending +0 +-\n")
        self.assertEqual(self.firn("logs", "stock", "--tail=5"), "")  # no node has it
        # what kubectl says comes through
        self.assertIn("not all of the Pods' logs could be read", self.firn("logs", "stock", "--tail=few", code=1))
        self.assertIn("clicks has no Pod", self.firn("logs", "clicks", code=1))
        self.assertRegex(self.firn("positions", "stock"), r"stock +- +- +- +- +no Pod of it runs\n")

    def test_paused_and_resumed(self):
        def state():
            return self.kube.get("Connector", "shop", "retail")["spec"]["state"]

        self.assertIn("connector/shop is paused", self.firn("pause", "shop"))
        self.assertEqual(state(), "Paused")
        self.firn("resume", "connector/shop")
        self.assertEqual(state(), "Running")
        self.firn("restart", "orders")
        first = self.kube.get("IngestionUnit", "orders", "retail")["metadata"]["annotations"]["firn.dev/restart"]
        self.firn("restart", "unit/orders")
        self.assertNotEqual(self.kube.get("IngestionUnit", "orders", "retail")["metadata"]["annotations"]["firn.dev/restart"], first)

    def test_resnapshot(self):
        def asked() -> list[str]:
            return self.kube.get("Connector", "shop", "retail")["metadata"]["annotations"]["firn.dev/resnapshot"].split(" ")

        self.assertIn("connector/shop copies public.orders, public.c* again", self.firn("resnapshot", "shop", "public.orders", "public.c*"))
        tables, first, by = asked()
        self.assertEqual(tables, "public.orders,public.c*")
        self.assertEqual(by, self.kubectl("auth", "whoami", "--output=jsonpath={.status.userInfo.username}"))
        self.firn("resnapshot", "unit/customers")
        tables, second, by = asked()
        self.assertEqual(tables, "public.customers")
        self.assertNotEqual(first, second)
        request = {"kind": "Resnapshot", "id": second, "by": by, "tables": [tables], "state": "Running", "askedAt": "2026-01-01T00:00:00Z"}
        self.say("Connector", "shop", {"requests": [request]})
        self.assertRegex(self.firn("describe", "shop"), rf"Resnapshot +{second} +Running +\d+d +{by} +public.customers\n")
        self.assertIn("write which tables are to be copied again", self.firn("resnapshot", "shop", code=1))
        self.assertIn("orders is no table", self.firn("resnapshot", "shop", "orders", code=1))
        self.assertIn("orders is a unit: its own tables", self.firn("resnapshot", "orders", "public.orders", code=1))
        self.assertIn("clicks reads a topic that others fill", self.firn("resnapshot", "clicks", code=1))
        self.assertIn("public.orders does not go with pause", self.firn("pause", "shop", "public.orders", code=2))
        self.assertEqual(asked()[1], second)

    def test_a_unit_goes_on_from_elsewhere(self):
        def asked(what: str) -> list[str]:
            return self.kube.get("IngestionUnit", "clicks", "retail")["metadata"]["annotations"][f"firn.dev/{what}"].split(" ")

        self.assertIn("unit/clicks goes back", self.firn("rollback", "clicks", "2026-11-22T00:00:00Z"))
        target, one, by = asked("rollback")
        self.assertEqual((target, by), ("2026-11-22T00:00:00Z", self.kubectl("auth", "whoami", "--output=jsonpath={.status.userInfo.username}")))
        self.assertIn("unit/clicks goes on from there", self.firn("positions", "unit/clicks", "0:17,1:4"))
        self.assertEqual(asked("positions")[0], "0:17,1:4")
        done = {"kind": "Rollback", "id": one, "by": by, "target": target, "state": "Done", "askedAt": "2026-01-01T00:00:00Z",
                "endedAt": "2026-01-01T00:00:05Z", "from": "7@12,9", "to": "5@4,4"}  # fmt: skip
        self.say("IngestionUnit", "clicks", {"requests": [done]})
        self.assertRegex(self.firn("describe", "clicks"), rf"Rollback +{one} +Done +\d+d +{by} +{target} +from 7@12,9 to 5@4,4\n")
        self.assertIn("write where it is to go", self.firn("rollback", "clicks", code=1))
        self.assertIn("shop is a Connector: name the unit", self.firn("rollback", "shop", "5", code=1))
        self.assertIn("rollback needs a NAME", self.firn("rollback", code=2))
        self.assertEqual(asked("rollback")[1], one)

    def test_what_it_refuses(self):
        self.assertIn("there is no connector or unit nothing here", self.firn("describe", "nothing", code=1))
        self.assertIn("there is no connector orders here", self.firn("describe", "connector/orders", code=1))
        self.assertIn("is a unit: what is paused and resumed is its Connector", self.firn("pause", "orders", code=1))
        self.assertIn("is a unit: positions are those of its Connector", self.firn("positions", "orders", code=1))
        self.assertIn("table is neither connector nor unit", self.firn("logs", "table/orders", code=1))
        self.assertIn("describe needs a NAME", self.firn("describe", code=2))
        self.assertIn("--loud does not go with status", self.firn("status", "--loud", code=2))
        self.assertEqual(self.kube.get("Connector", "shop", "retail")["spec"]["state"], "Running")

    def test_two_of_a_name(self):
        """What can only be meant of one is done to that one; else it is asked."""
        table = {"catalog": {"warehouse": "/lake"}, "database": "retail"}
        self.apply("IngestionUnit", "stock", {"connectorRef": {"name": "stock", "table": "public.stock"}, "outsourcingUnit": {"table": table}})
        self.addCleanup(self.kube.delete, "IngestionUnit", "stock", "retail")
        self.assertIn("stock may be connector/stock of retail or unit/stock of retail", self.firn("describe", "stock", code=1))
        self.firn("pause", "stock")
        self.assertEqual(self.kube.get("Connector", "stock", "retail")["spec"]["state"], "Paused")
        self.firn("resume", "stock")

    def test_completion(self):
        """As a shell asks kubectl."""
        self.assertEqual(self.kubectl("__complete", "firn", "pos").splitlines()[0], "positions")
        said = self.kubectl("__complete", "firn", "describe", "--namespace", "retail", "unit/").splitlines()
        self.assertEqual(said[:3], ["unit/clicks", "unit/customers", "unit/orders"])
        self.assertEqual(self.kubectl("__complete", "firn", "describe", "--namespace", "retail", "connector/sh").splitlines()[0], "connector/shop")


if __name__ == "__main__":
    unittest.main()
