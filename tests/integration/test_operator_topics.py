"""Units that read topics of others, on a real API server with etcd and without a node: the test takes the node's part, and
runs the agent on the very manifest that the operator made. Rows arrive by routes, in the table of dead letters and in another
topic; what is changed while it runs reaches the agent, and rows go by it."""

import json
import unittest

import yaml
from confluent_kafka import Producer
from harness.agent import OK
from harness.agent import Agent as Process
from harness.events import LOCAL, duckdb_connection
from harness.kafka import Broker
from harness.lake import version_files
from harness.wait import wait_until
from test_operator import Reconcile

SOON_SECONDS = 120


class Topics(Reconcile):
    def setUp(self):
        super().setUp()
        self.broker = Broker()
        self.broker.start()
        self.addCleanup(self.broker.stop)
        self.producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        self.broker.create_topic("events")
        self.pods = 0
        self.channel_started()

    # --- what a node would do ---

    def trust(self) -> str:
        return self.get("ConfigMap", self.child)["data"]["channel-ca.crt"]

    def run_pod(self, unit: str):
        """Its Deployment's Pod is there, and says that it streams."""
        self.child = f"{unit}-ingest"
        deployment = self.get("Deployment", self.child)
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
                  "availableReplicas": 1}  # fmt: skip
        self.kube.patch("Deployment", self.child, {"status": status}, self.namespace, "/status")
        template = deployment["spec"]["template"]
        self.pods += 1
        name = f"{unit}-{self.pods}"
        metadata = {"name": name, "labels": template["metadata"]["labels"]}
        self.kube.call("POST", self.kube.path("Pod", None, self.namespace), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        self.kube.patch("Pod", name, {"status": {"phase": "Running"}}, self.namespace, "/status")
        agent = self.agent(name, self.child)
        agent.say("Streaming", lag=0, retentionStatus=4)
        return agent

    def process(self, unit: str) -> Process:
        path = self.folder / f"{unit}-{self.pods}.yaml"
        path.write_text(self.get("ConfigMap", f"{unit}-ingest")["data"]["manifest.yaml"])
        return Process(path, self.folder / f"{unit}-{self.pods}.log", subcommand="ingest")

    # --- what is there ---

    def apply(self, *documents: dict):
        for document in documents:
            document["apiVersion"] = "firn.dev/v1alpha1"
            document["metadata"]["namespace"] = self.namespace
        self.kube.apply(yaml.safe_dump_all(documents))

    def unit(self, name: str, **spec) -> dict:
        kafka = {"topic": "events", "brokers": self.broker.bootstrap, "incomingData": "Json"}
        return {"kind": "IngestionUnit", "metadata": {"name": name}, "spec": {"kafka": kafka} | spec}

    def table(self, name: str, letters: bool = False) -> dict:
        own = {} if letters else {"mode": "Append", "columns": [{"name": "id", "type": "long"}]}
        catalog = {"type": "Directory", "warehouse": f"{self.folder}/lake"}
        return {"kind": "LakeTable", "metadata": {"name": name},
                "spec": {"catalog": catalog, "database": "web", "tableName": name, "commitInterval": "300ms"} | own}  # fmt: skip

    def produce(self, *records: bytes):
        for record in records:
            self.producer.produce("events", record)
        self.producer.flush()

    def events(self, start: int, count: int):
        self.produce(*(json.dumps({"id": at, "kind": ("view", "buy", "left")[at % 3]}).encode() for at in range(start, start + count)))

    def column(self, table: str, name: str = "id") -> list:
        versions = version_files(self.folder / "lake" / "web" / table)
        if not versions:
            return []
        with duckdb_connection(LOCAL) as connection:
            rows = connection.execute(f"select {name} from iceberg_scan('{versions[max(versions)]}')").fetchall()
        return sorted(row[0] for row in rows)

    def arrive(self, process: Process, table: str, wanted: list, name: str = "id"):
        wait_until(lambda: self.column(table, name) == wanted, SOON_SECONDS, f"{len(wanted)} rows of {table}", process.alive)

    def test_routes_change_while_they_run(self):
        route = {"when": "kind == 'view'", "lakeTableRef": {"name": "views"}}
        more = {"when": "kind == 'buy'", "lakeTableRef": {"name": "orders"}}
        letters = {"deadLetter": {"lakeTableRef": {"name": "dead"}}}
        self.apply(self.unit("events", routes=[route], **letters), self.table("views"))
        self.wait_condition("IngestionUnit", "events", "Stalled", "True", "LakeTableMissing")
        self.apply(self.table("dead", letters=True))
        before = self.until(lambda: self.find("Deployment", "events-ingest"), "it has Pods")["spec"]["template"]
        agent = self.run_pod("events")
        self.wait_condition("IngestionUnit", "events", "Ready", "True")
        self.wait_condition("IngestionUnit", "events", "TopicRetention", "False", "RetentionShort")
        for name in ("views", "dead"):
            self.wait_condition("LakeTable", name, "Ready", "True")
            self.assertEqual(self.get("LakeTable", name)["status"]["unit"], "events")
        self.assertEqual(self.get("IngestionUnit", "events")["status"]["lakeTable"], "views,dead")
        self.events(0, 30)
        self.produce(b"no JSON")
        with self.process("events") as process:
            self.arrive(process, "views", list(range(0, 30, 3)))
            self.arrive(process, "dead", ["BadRecord"] + ["Unrouted"] * 20, "code")
            # a route more: another manifest, and so other Pods
            self.apply(self.table("orders"))
            self.kube.patch("IngestionUnit", "events", {"spec": {"routes": [route, more]}}, self.namespace)
            after = self.until(lambda: (now := self.get("Deployment", "events-ingest")["spec"]["template"]) != before and now, "its Pods are rolled")
            self.assertNotEqual(after["metadata"]["annotations"], before["metadata"]["annotations"])
            self.assertEqual(process.stop(), OK, process.text()[-2000:])
        agent.stop()
        agent = self.run_pod("events")
        self.until(lambda: self.get("IngestionUnit", "events")["status"]["lakeTable"] == "views,orders,dead", "it says all three")
        self.wait_condition("LakeTable", "orders", "Ready", "True")
        self.events(30, 30)
        with self.process("events") as process:
            self.arrive(process, "views", list(range(0, 60, 3)))
            self.arrive(process, "orders", list(range(1, 60, 3)))  # from the topic's beginning
            self.assertEqual(process.stop(), OK, process.text()[-2000:])
        # a table that dead letters can't go to
        self.kube.patch("LakeTable", "dead", {"spec": {"idColumns": ["a"]}}, self.namespace)
        found = self.wait_condition("IngestionUnit", "events", "Stalled", "True", "InvalidSpec")
        self.assertIn("idColumns", found["message"])

    def test_to_topic(self):
        self.apply(self.unit("copied", toTopic={"topic": "others"}))
        self.until(lambda: self.find("Deployment", "copied-ingest"), "it has Pods")
        self.run_pod("copied")
        self.wait_condition("IngestionUnit", "copied", "Ready", "True")
        self.assertNotIn("lakeTable", self.get("IngestionUnit", "copied")["status"])
        self.events(0, 20)
        before = self.get("Deployment", "copied-ingest")["spec"]["template"]
        with self.process("copied") as process:
            wait_until(lambda: len(self.broker.read("others")) == 20, SOON_SECONDS, "they are there", process.alive)
            kafka = {"events": {"nameField": "kind", "allow": [{"name": "buy"}]}}
            self.kube.patch("IngestionUnit", "copied", {"spec": {"kafka": kafka}}, self.namespace)
            self.until(lambda: self.get("Deployment", "copied-ingest")["spec"]["template"] != before, "its Pods are rolled")
            self.assertEqual(process.stop(), OK, process.text()[-2000:])
        self.events(20, 30)
        with self.process("copied") as process:
            wait_until(lambda: len(self.broker.read("others")) == 30, SOON_SECONDS, "those of the event", process.alive)
            self.assertEqual(process.stop(), OK, process.text()[-2000:])
        ids = sorted(json.loads(message.value())["id"] for message in self.broker.read("others"))
        self.assertEqual(ids, sorted([*range(20), *(at for at in range(20, 50) if at % 3 == 1)]))


if __name__ == "__main__":
    unittest.main()
