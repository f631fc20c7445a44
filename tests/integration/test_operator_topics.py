"""Units that read topics of others, on a real API server with etcd and without a node: the test takes the node's part, and
runs the agent on the very manifest that the operator made. Rows arrive by routes, in the table of dead letters and in another
topic; what is changed while it runs reaches the agent, and rows go by it. Or a source is in front of the topics, and whatever
of all that goes away, the resources say so, and what they say of the table is what an engine reads in it."""

import json
import unittest

import yaml
from confluent_kafka import Producer
from harness.agent import OK, REFUSED
from harness.agent import Agent as Process
from harness.events import LOCAL, duckdb_connection
from harness.fault_proxy import Fault, FaultProxy
from harness.kafka import Broker, Registry
from harness.lake import load, version_files
from harness.postgres import PASSWORD, Postgres
from harness.relay import stream_manifest
from harness.rest import RestCatalog
from harness.wait import wait_until
from test_operator import Reconcile, condition

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

    def run_agent(self, child: str, subcommand: str) -> Process:
        """As a node would, in a Pod of a Deployment's."""
        deployment = self.until(lambda: self.find("Deployment", child), f"Deployment/{child}")
        self.made_ready(child)
        self.pods += 1
        pod, folder = f"{child}-{self.pods}", self.folder / f"{child}-{self.pods}"
        template = deployment["spec"]["template"]
        self.kube.call("POST", self.kube.path("Pod", None, self.namespace), {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": pod, "labels": template["metadata"]["labels"]}, "spec": template["spec"]})  # fmt: skip
        self.kube.patch("Pod", pod, {"status": {"phase": "Running"}}, self.namespace, "/status")
        config = self.get("ConfigMap", child)["data"]
        folder.mkdir()
        for name, text in (("manifest.yaml", yaml.safe_dump_all(self.mounted()) + "---\n" + config["manifest.yaml"]), ("ca.crt", config["channel-ca.crt"]),
                           ("orders.json", config.get("orders.json", "{}")), ("token", self.token(pod, child))):  # fmt: skip
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        arguments = ("--channel", f"localhost:{self.port}", "--channel-ca", folder / "ca.crt", "--channel-token", folder / "token",
                     "--orders", folder / "orders.json")  # fmt: skip
        agent = Process(folder / "manifest.yaml", folder / "log", subcommand=subcommand, arguments=arguments)
        agent.pod = pod
        self.addCleanup(agent.__exit__)
        return agent

    def made_ready(self, child: str, ready: int = 1):
        deployment = self.get("Deployment", child)
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready,
                  "availableReplicas": ready}  # fmt: skip
        self.kube.patch("Deployment", child, {"status": status}, self.namespace, "/status")

    def mounted(self) -> list[dict]:
        """The Secrets that a node would mount."""
        return []

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

    def asked(self, what: str, words: str) -> dict:
        """Until it is done; what stands in the unit's status of it."""
        self.kube.patch("IngestionUnit", "events", {"metadata": {"annotations": {f"firn.dev/{what}": words}}}, self.namespace)
        _, name, by = words.split()

        def done():
            found = [one for one in self.get("IngestionUnit", "events")["status"].get("requests", []) if (one["id"], one.get("by")) == (name, by)]
            return found and found[0]["state"] == "Done" and found[0]

        return self.until(done, f"{words} is done")

    def test_a_unit_goes_on_from_elsewhere(self):
        """Asked of who runs: a rollback, then other positions; the status says who asked, and from where to where it went."""

        def head() -> str:
            return str(load(self.folder / "lake" / "web" / "views").metadata["current-snapshot-id"])

        def way(request: dict) -> list[str]:
            """Snapshot and next offset, from and to."""
            return [request[name].partition("/")[0] for name in ("from", "to")]

        self.apply(self.unit("events", lakeTableRef={"name": "views"}), self.table("views"))
        process = self.run_agent("events-ingest", "ingest")
        generation = self.get("Deployment", "events-ingest")["metadata"]["generation"]
        self.events(0, 30)
        self.arrive(process, "views", list(range(30)))
        first = head()
        self.events(30, 30)
        self.arrive(process, "views", list(range(60)))
        last = head()
        found = self.asked("rollback", f"{first} back alice")
        self.assertEqual((found["kind"], found["target"], *way(found)), ("Rollback", first, f"{last}@60", f"{first}@30"))
        self.arrive(process, "views", list(range(60)))  # read again, each once
        found = self.asked("positions", "0:50 again bob")
        self.assertEqual((found["kind"], found["target"]), ("Positions", "0:50"))
        self.assertEqual([one.split("@")[1] for one in way(found)], ["60", "50"])
        self.arrive(process, "views", sorted([*range(60), *range(50, 60)]))
        said = {one["message"] for one in self.kube.all_of("Event", self.namespace) if one["reason"] in ("Rollback", "Positions")}
        self.assertIn("a rollback is asked for by alice, as back", said)
        self.assertTrue(any(one.startswith("going on from other positions, as again: Done, from ") for one in said), said)
        self.assertEqual(self.get("Deployment", "events-ingest")["metadata"]["generation"], generation, "no Pod was rolled")
        self.assertEqual(process.stop(), OK, process.text()[-2000:])

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


class Relayed(Topics):
    """From PostgreSQL by way of a topic, in Avro, into a table of a REST catalog, by real agents that report."""

    ROWS = 3000

    def setUp(self):
        super().setUp()
        self.source = Postgres().start()
        self.addCleanup(self.source.stop)
        self.source.create_database("shop")
        self.connection = self.source.connect("shop")
        self.addCleanup(self.connection.close)
        self.connection.execute("create table orders (id int primary key, what text)")
        self.registry, self.catalog = Registry(), RestCatalog(warehouse=self.folder / "lake")
        self.proxies = {}
        for server in (self.registry, self.catalog):
            server.start()
            self.addCleanup(server.stop)
            proxy = self.proxies[server] = FaultProxy("127.0.0.1", server.port).start()
            self.addCleanup(proxy.stop)

    def mounted(self) -> list[dict]:
        return [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": self.namespace},
                 "stringData": {"username": "postgres", "password": PASSWORD}}]  # fmt: skip

    def apply_shop(self):
        class Through:
            url = self.registry.url.replace(str(self.registry.port), str(self.proxies[self.registry].port))

        text = stream_manifest(self.source, self.broker.bootstrap, partitions=1, registry=Through, rate=200)
        self.kube.secret("db", self.namespace, username="postgres", password=PASSWORD)
        uri = f"http://{self.proxies[self.catalog].address}"
        table = {"catalog": {"type": "Rest", "uri": uri, "warehouse": self.catalog.warehouse}, "location": f"{self.folder}/lake/orders",
                 "database": "shop", "tableName": "orders", "commitInterval": "300ms"}  # fmt: skip
        self.apply(*(one for one in yaml.safe_load_all(text) if one["kind"] == "Connector"),
                   {"kind": "IngestionUnit", "metadata": {"name": "orders"}, "spec": {
                       "connectorRef": {"name": "shop", "table": "public.orders"}, "outsourcingUnit": {"table": table},
                       "sla": {"freshness": "3s"}, "deadLetter": {"topic": "orders.dead"}}})  # fmt: skip

    def write(self, count: int, what: str = "new"):
        self.connection.execute("insert into orders (id, what) select coalesce(max, 0) + i, %s || i from (select max(id) from orders) m,"
                                " generate_series(1, %s) i", [what, count])  # fmt: skip

    def read(self) -> list[tuple]:
        """Of the table, by an engine that is not ours."""
        table = self.catalog.catalog().load_table(("shop", "orders")).scan().to_arrow()
        return sorted(zip(*(table[name].to_pylist() for name in ("id", "what"))))

    def equal(self, *agents: Process):
        wanted = self.connection.execute("select id, what from orders order by id").fetchall()
        wait_until(lambda: self.read() == wanted, SOON_SECONDS, f"the table has the source's {len(wanted)} rows",
                   lambda: [agent.alive() for agent in agents])  # fmt: skip
        self.until(lambda: self.get("IngestionUnit", "orders")["status"].get("rows") == len(wanted), "the unit says so many")

    def says(self, kind: str, **wanted: str):
        """type=status/reason; the reason may be left out."""
        name = "shop" if kind == "Connector" else "orders"
        found = None
        for type_, value in wanted.items():
            status, _, reason = value.partition("/")
            try:
                found = self.wait_condition(kind, name, type_, status, reason or None)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.get(kind, name)['status']}\n" + "\n".join(log.read_text()[-3000:] for log in self.folder.glob("*/log"))) from None
        return found

    def away(self, server):
        self.proxies[server].plan([Fault("answer", status=503, times=0)])

    def back(self, server):
        self.assertTrue(self.proxies[server].struck, "the fault struck")
        self.proxies[server].calm()

    def test_what_is_said_is_so(self):
        self.write(self.ROWS)
        self.apply_shop()
        before = {kind: self.kube.version(kind, name, self.namespace) for kind, name in (("Connector", "shop"), ("IngestionUnit", "orders"))}
        capture = self.run_agent("shop-capture", "capture")
        ingest = self.run_agent("orders-ingest", "ingest")
        # the copy, which may be over by now
        found = self.passes("Connector", "shop", before["Connector"], "Copying", SnapshotComplete="False", Ready="False")
        self.assertRegex(condition(found, "Ready")["message"], r"^\d+ of about \d+ rows")
        self.passes("IngestionUnit", "orders", before["IngestionUnit"], "Copying", Ready="False")
        self.says("Connector", Ready="True/Streaming", SnapshotComplete="True/Complete", SourceReachable="True")
        self.says("IngestionUnit", Ready="True/Streaming", Fresh="True", DeadLetters="False")
        self.says("LakeTable", Ready="True", SchemaInSync="True")
        self.equal(capture, ingest)
        # the catalog is away: what waits is counted, and it is late
        self.away(self.catalog)
        self.write(500)
        self.says("IngestionUnit", Ready="False", Fresh="False/Late")
        self.says("LakeTable", Ready="False")
        self.until(lambda: self.get("IngestionUnit", "orders")["status"]["lag"] == "500 records", "its lag is what was written")
        self.says("Connector", Ready="True/Streaming")
        self.back(self.catalog)
        self.says("IngestionUnit", Ready="True/Streaming", Fresh="True/InTime")
        self.until(lambda: self.get("IngestionUnit", "orders")["status"]["lag"] == "0 records", "nothing waits")
        self.says("LakeTable", Ready="True")
        self.equal(capture, ingest)
        # the registry is away when it is asked for another schema
        self.away(self.registry)
        self.connection.execute("alter table orders add column more int")
        self.write(10)
        self.says("Connector", Ready="False")
        self.says("IngestionUnit", Ready="False")
        self.back(self.registry)
        self.says("Connector", Ready="True/Streaming")
        self.says("IngestionUnit", Ready="True/Streaming")
        self.equal(capture, ingest)
        # a record that nobody can read
        self.producer.produce("shop.public.orders", b"no Avro", b"no key")
        self.producer.flush()
        self.says("IngestionUnit", DeadLetters="True")
        series = f'firn_agents_dead_letters{{kind="IngestionUnit",namespace="{self.namespace}",name="orders"}} 1\n'
        self.assertIn(series, self.operator.http("/metrics")[1])
        letter, whole = (message.value() for message in self.broker.read("orders.dead"))
        self.assertEqual((json.loads(letter)["code"], whole), ("BadRecord", b"no Avro"))
        self.write(10)
        self.equal(capture, ingest)
        self.says("IngestionUnit", Ready="True/Streaming")
        # the slot is lost: whoever reads the topic has all that is in it, and is not up to date
        self.assertEqual(capture.stop(), OK, capture.text()[-2000:])
        self.remove_pod(capture.pod)
        self.source.drop_slots("firn")
        self.write(10, "lost")
        capture = self.run_agent("shop-capture", "capture")
        self.assertEqual(capture.wait(), REFUSED, capture.text()[-2000:])
        self.ended(capture)
        found = self.says("Connector", Ready="False", Stalled="True/SlotMissing")
        self.assertIn("--resnapshot", found["message"])
        self.says("IngestionUnit", Ready="False", Stalled="True/SlotMissing")
        self.says("LakeTable", Ready="False")
        # the way out, once
        self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"firn.dev/resnapshot": "*.* again alice"}}}, self.namespace)
        self.until(lambda: "again" in self.get("ConfigMap", "shop-capture")["data"].get("orders.json", ""), "who starts is told")
        self.remove_pod(capture.pod)
        capture = self.run_agent("shop-capture", "capture")
        requests = lambda: self.get("Connector", "shop")["status"].get("requests", [{}])  # noqa: E731
        self.until(lambda: (requests()[0].get("id"), requests()[0].get("state")) == ("again", "Done"), "it is done")
        self.says("Connector", Ready="True/Streaming", Stalled="False")
        self.says("IngestionUnit", Ready="True/Streaming", Stalled="False")
        self.equal(capture, ingest)
        for agent in (capture, ingest):
            self.assertEqual(agent.stop(), OK, agent.text()[-2000:])

    def ended(self, agent: Process):
        """As a kubelet says it, with the end of its log (FallbackToLogsOnError)."""
        last = {"exitCode": agent.process.returncode, "message": agent.text()[-2048:], "reason": "Error"}
        self.made_ready("shop-capture", 0)
        self.kube.patch("Pod", agent.pod, {"status": {"containerStatuses": [
            {"name": "agent", "ready": False, "restartCount": 2, "image": "x", "imageID": "", "lastState": {"terminated": last},
             "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}, self.namespace, "/status")  # fmt: skip


if __name__ == "__main__":
    unittest.main()
