"""A real node: containers of the images that deploy/image makes, the chart installed by Helm, the quickstart's resources
applied by kubectl, Pods under the restricted standard that follow a PostgreSQL into a lake on a volume. Whatever is done
to Pods, node, operator and resources, the tables are equal afterwards and the status says what is so.

Everything is in a network of its own (harness/kube_node.py); where a machine can't have that, the test says why."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import yaml
from harness import definitions, kube_node
from harness.flux import CONTROLLER, Flux
from harness.kafka import Broker
from harness.kube import HELM, ROOT, Refused, operator_binary
from harness.kube_node import ADDRESS, Node
from harness.postgres import PASSWORD, Postgres
from harness.relay import Topic, source_rows
from harness.server import DEPLOY, fetched
from harness.shop import PACE, Traffic, make
from harness.wait import wait_until

sys.path.insert(0, str(ROOT / "tests/compare"))
from compare import compare

ROWS = 8000
SECONDS = 240
NAMESPACE = "retail"
EVERY = ["public=shop"]  # what is compared: all four tables
GROUP = f"firn-{NAMESPACE}-shop-public-orders"  # consumers of one of the topics
VERSION = "0.1.0"  # the chart's


def setUpModule():
    why = kube_node.refused()
    if why:
        raise unittest.SkipTest(f"no node here: {why}")


class OnANode(unittest.TestCase):
    """The steps are taken in the order of their names, one cluster for all: to bring it up is most of the time."""

    format = 2

    @classmethod
    def setUpClass(cls):
        cls.helm_binary = Path(fetched("go", HELM)) / "helm"
        cls.folder = Path(tempfile.mkdtemp(prefix="firn-node-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.folder.chmod(0o755)
        images = [cls.image(kind) for kind in ("agent", "operator")]
        Node()  # builds what it needs while there still is a network, as the others do
        fetched("go", CONTROLLER)
        definitions.of_modules()
        fetched(DEPLOY / "kafka", "--fetch")
        kube_node.enter()
        cls.node = Node(images).start()
        cls.addClassCleanup(cls.node.stop)
        cls.start_source()
        cls.lake = cls.folder / "lake"
        cls.lake.mkdir()
        cls.lake.chmod(0o777)
        for name in ("firn-system", NAMESPACE):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            cls.node.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
        cls.helm("install", "firn", cls.older_chart(), "--set", "replicas=2", "--wait", "--timeout", f"{SECONDS:g}s")

    @classmethod
    def older_chart(cls) -> Path:
        """Whose units have no spec.sla yet."""
        chart = cls.folder / "older"
        shutil.copytree(ROOT / "helm/firn", chart)
        file = chart / "files/crds/ingestionunits.yaml"
        definition = yaml.safe_load(file.read_text())
        (version,) = definition["spec"]["versions"]
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["sla"]
        file.write_text(yaml.safe_dump(definition))
        return chart

    @classmethod
    def image(cls, kind: str) -> Path:
        archive = cls.folder / f"{kind}.tar"
        kube_node.run(ROOT / "deploy/image", kind, "--oci", archive, "--build", operator_binary().parents[1])
        return archive

    @classmethod
    def start_source(cls):
        rules = cls.folder / "pg_hba.conf"
        rules.write_text("host all all 0.0.0.0/0 scram-sha-256\nhost replication all 0.0.0.0/0 scram-sha-256\n")
        cls.source = Postgres(listen_addresses="'*'", hba_file=f"'{rules}'").start()
        cls.addClassCleanup(cls.source.stop)
        cls.source.create_database("shop")
        cls.source.execute(f"create role firn login superuser replication password '{PASSWORD}'")
        cls.connection = cls.source.connect("shop")
        cls.addClassCleanup(cls.connection.close)
        make(cls.connection, ROWS)

    @classmethod
    def helm(cls, *words) -> str:
        environment = {**os.environ, "HOME": str(cls.folder), "KUBECONFIG": str(cls.node.folder / "admin.kubeconfig")}
        words = [cls.helm_binary, "--namespace", "firn-system", *words]
        return kube_node.run(*words, env=environment, timeout=SECONDS + 60)

    def kubectl(self, *words, **more) -> str:
        return self.node.kubectl("--namespace", NAMESPACE, *words, **more)

    def firn(self, *words) -> str:
        """kubectl finds the plugin by its name."""
        environment = {**os.environ, "PATH": f"{ROOT / 'deploy'}:{self.node.programs}:{os.environ['PATH']}",
                       "KUBECONFIG": str(self.node.folder / "admin.kubeconfig")}  # fmt: skip
        return kube_node.run("kubectl", "firn", *words, "--namespace", NAMESPACE, env=environment, timeout=SECONDS)

    # --- the shop ---

    def resources(self, tables: tuple[str, ...] = (), brokers: str = None) -> str:
        return yaml.safe_dump_all([*self.needed(), *self.shop(tables, brokers)])

    def needed(self) -> list[dict]:
        """What the shop's resources name."""
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"}, "stringData": {"username": "firn", "password": PASSWORD}},
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "lake"},
             "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "",
                      "hostPath": {"path": str(self.lake)}, "claimRef": {"namespace": NAMESPACE, "name": "lake"}}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "lake"},
             "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}},
        ]  # fmt: skip

    def shop(self, tables: tuple[str, ...] = (), brokers: str = None) -> list[dict]:
        """deploy/quickstart.yaml, with a volume for its folder. With tables: a unit for each, and no
        pattern. With brokers: deploy/quickstart-kafka.yaml."""
        claim = {"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}}
        container = {"name": "agent", "volumeMounts": [{"name": "lake", "mountPath": str(self.lake)}]}
        documents = []
        for document in yaml.safe_load_all((ROOT / f"deploy/quickstart{'-kafka' if brokers else ''}.yaml").read_text()):
            if document["kind"] == "Connector":
                document["spec"]["source"] |= {"host": ADDRESS, "port": self.source.port}
                document["spec"]["agent"] = {"podTemplate": {"spec": {"containers": [container], "volumes": [claim]}},
                                             "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}}  # fmt: skip
                if brokers:
                    document["spec"]["stream"]["kafka"] |= {"bootstrapServers": brokers, "partitions": 6}
            else:
                document["spec"]["outsourcingUnit"]["table"] |= {"commitInterval": "2s", "formatVersion": self.format}
                document["spec"]["outsourcingUnit"]["table"]["catalog"]["warehouse"] = str(self.lake)
                for table in tables:
                    unit = json.loads(json.dumps(document)) | {"metadata": {"name": table.replace("_", "-")}}
                    unit["spec"]["connectorRef"] = {"name": "shop", "table": f"public.{table}"}
                    documents.append(unit)
                if tables:
                    continue
            documents.append(document)
        return documents

    def metadata(self, table: str) -> dict:
        """Of a table of the lake, as it is now."""
        found = (self.lake / "shop" / table / "metadata").glob("v*.metadata.json")
        return json.loads(max(found, key=lambda path: int(path.name[1:].split(".")[0])).read_text())

    def columns(self, table: str) -> list[str]:
        newest = self.metadata(table)
        (schema,) = [one for one in newest["schemas"] if one["schema-id"] == newest["current-schema-id"]]
        return [field["name"] for field in schema["fields"]]

    def traffic(self, seconds: float):
        """Live, while something else is done: a context manager."""
        stop = threading.Event()

        @contextlib.contextmanager
        def live():
            with self.source.connect("shop") as connection:
                run, failed = Traffic(connection, seed=int(time.monotonic()), bulk=False), []

                def changes():
                    try:
                        run.run(seconds, stop, PACE)
                    except BaseException as error:
                        failed.append(error)

                thread = threading.Thread(target=changes)
                thread.start()
                try:
                    wait_until(lambda: run.done["transactions"] or not thread.is_alive(), SECONDS, "traffic flows")
                    yield
                finally:
                    stop.set()
                    thread.join()
            if failed:
                raise failed[0]
            self.assertGreater(run.done["transactions"], 0)

        return live()

    def compared(self, pairs: list[str] = EVERY) -> tuple[bool, str]:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            same = compare(self.source.dsn("shop"), str(self.lake), pairs)
        return same, output.getvalue()

    def equal(self, pairs: list[str] = EVERY):
        self.source.wait_confirmed("firn_shop", SECONDS, "shop")
        same, output = self.compared(pairs)
        self.assertTrue(same, output + self.everything())
        self.assertEqual(output.count(", equal"), 4 if pairs is EVERY else len(pairs), output)

    def everything(self) -> str:
        """For a failure's message."""
        said = [self.kubectl("get", "firn,deployments,pods,jobs", "-o", "wide"), self.kubectl("get", "events")]
        for namespace, deployment in ((NAMESPACE, "shop-capture"), ("firn-system", "firn")):
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                said.append(self.node.kubectl("-n", namespace, "logs", f"deployment/{deployment}", "--tail=15"))
        return "\n".join(said)

    def until(self, holds, what: str):
        try:
            return wait_until(holds, SECONDS, what, self.node._alive)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def condition(self, kind: str, name: str, type_: str) -> dict:
        found = (self.node.find(kind, name, NAMESPACE) or {}).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == type_), {})

    def stalled(self, *reasons: str) -> dict:
        """Until the Connector says so; and its unit with it."""

        def holds():
            found = self.condition("Connector", "shop", "Stalled")
            return found.get("status") == "True" and found["reason"] in reasons and found

        found = self.until(holds, f"the Connector stalls: {reasons}")
        self.until(lambda: self.condition("IngestionUnit", "shop", "Stalled").get("reason") == found["reason"], "its unit says so")
        told = lambda: {one["reason"] for one in self.node.all_of("Event", NAMESPACE) if one["type"] == "Warning"}  # noqa: E731
        self.until(lambda: found["reason"] in told(), "an Event says so")
        return found

    def ready(self):
        try:
            self.kubectl("wait", "--for=condition=Ready", "connector,ingestionunit", "--all", f"--timeout={SECONDS:g}s")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.everything()}") from None

    def rolled(self, before: str):
        """Another Pod than before runs, and the one alone."""

        def holds():
            pods = self.pods()
            return len(pods) == 1 and pods[0]["metadata"]["name"] != before

        self.until(holds, "another Pod is there")
        self.ready()

    def pods(self) -> list[dict]:
        return self.node.all_of("Pod", NAMESPACE, "firn.dev/role=capture")

    def pod(self) -> str:
        (pod,) = self.until(lambda: len(found := self.pods()) == 1 and found, "one Pod is there")
        return pod["metadata"]["name"]

    def patch(self, change: dict):
        self.node.patch("Connector", "shop", change, NAMESPACE)

    # --- the steps ---

    def test_01_applied(self):
        manifest = self.folder / "shop.yaml"
        manifest.write_text(self.resources())
        with self.traffic(60):
            self.kubectl("apply", "-f", manifest)
            self.ready()
        self.equal()
        (pod,) = self.pods()
        self.assertTrue(pod["spec"]["securityContext"]["runAsNonRoot"])
        # the standard is enforced: what lacks it is refused
        loose = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose"}, "spec": {"containers": [{"name": "a", "image": "firn-agent:" + VERSION}]}}
        (self.folder / "loose.yaml").write_text(json.dumps(loose))
        with self.assertRaises(AssertionError) as caught:
            self.kubectl("apply", "-f", self.folder / "loose.yaml")
        self.assertIn("violates PodSecurity", str(caught.exception))
        # the agents hold no rights, and no token but the one that the operator alone takes
        sources = [source for volume in pod["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", [])]
        self.assertEqual([source["serviceAccountToken"]["audience"] for source in sources], ["firn-channel"])
        self.until(lambda: self.condition("Connector", "shop", "SourceReachable").get("status") == "True", "the agent has reported")
        # each table is to be seen, with its rows as the agent tells them
        self.until(lambda: self.kubectl("get", "fiu").count("Streaming") == 5, "the pattern's unit, and one for each table")
        self.until(lambda: (self.node.find("IngestionUnit", "shop-public-products", NAMESPACE) or {}).get("status", {}).get("rows"), "its rows")

    def test_02_helm_test(self):
        self.helm("test", "firn", "--timeout", f"{SECONDS:g}s")

    def test_03_plugin(self):
        """What it asks of a node: what Pods say, and what they measure."""
        said = self.firn("logs", "connector/shop").splitlines()
        self.assertEqual(said, self.kubectl("logs", self.pod()).splitlines()[: len(said)])
        self.assertIn("the operator hears", "\n".join(said))
        self.assertEqual(len(self.firn("logs", "connector/shop", "--tail=2").splitlines()), 2)
        self.connection.execute("update products set stock = stock + 1")
        end = self.source.wal_end()
        self.source.wait_confirmed("firn_shop", SECONDS, "shop")

        def told() -> list[int]:
            name, confirmed, received, lag, kept = self.firn("positions", "shop").splitlines()[1].split()
            self.assertEqual(name, "shop")
            self.assertGreaterEqual(int(kept), 0)
            return [int(high, 16) << 32 | int(low, 16) for high, _, low in (one.partition("/") for one in (confirmed, received))] + [int(lag)]

        def as_the_source_says() -> bool:
            before = self.source.slot("firn_shop")["confirmed"]
            confirmed, received, lag = told()
            return end <= before <= confirmed <= self.source.slot("firn_shop")["confirmed"] and confirmed <= received and lag < 1 << 20

        self.until(as_the_source_says, "the plugin's positions are the slot's")
        self.assertEqual(self.firn("positions").splitlines()[1].split()[0], "shop")

    def test_04_restarted(self):
        before = self.pod()
        with self.traffic(60):
            self.kubectl("annotate", "connector", "shop", "firn.dev/restart=once")
            self.rolled(before)
        self.equal()

    def test_05_killed(self):
        with self.traffic(60):
            before = self.pods()[0]["status"]["containerStatuses"][0]["restartCount"]
            (number,) = self.node.inside("pgrep", "-x", "firn-agent").split()
            self.node.inside("kill", "-9", number)
            self.until(lambda: self.pods()[0]["status"]["containerStatuses"][0]["restartCount"] > before, "its container is started again")
            self.ready()
        self.equal()

    def test_06_secret_rotated(self):
        before = self.pod()
        self.source.execute("alter role firn password 'another'")
        (self.folder / "secret.yaml").write_text(yaml.safe_dump(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"}, "stringData": {"username": "firn", "password": "another"}}))  # fmt: skip
        with self.traffic(60):
            self.kubectl("apply", "-f", self.folder / "secret.yaml")
            self.rolled(before)
        self.equal()

    def test_07_wrong_image(self):
        self.patch({"spec": {"agent": {"image": "nowhere.invalid/agent:1"}}})
        self.stalled("ErrImagePull", "ImagePullBackOff")
        self.patch({"spec": {"agent": {"image": None}}})
        self.ready()
        self.equal()

    def test_08_quota(self):
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
        (self.folder / "quota.yaml").write_text(json.dumps(quota))
        self.kubectl("apply", "-f", self.folder / "quota.yaml")
        self.until(lambda: "0" in self.kubectl("get", "quota", "none", "-o", "jsonpath={.status.hard.pods}"), "the quota holds")
        self.kubectl("delete", "pod", self.pod())
        self.stalled("PodRefused")
        self.kubectl("delete", "quota", "none")
        self.ready()
        self.equal()

    def test_09_stopped_and_started(self):
        self.patch({"spec": {"state": "Stopped"}})
        self.until(lambda: not self.pods(), "its Pod ends")
        self.until(lambda: self.condition("Connector", "shop", "Ready").get("reason") == "Stopped", "the status says so")
        self.until(lambda: not self.source.slot("firn_shop")["active"], "the slot is let go")
        with self.traffic(60):  # some of it waits at the source
            self.patch({"spec": {"state": "Running"}})
            self.until(lambda: self.pods(), "its Pod is there")
            self.ready()
        self.equal()

    def test_10_drained(self):
        with self.traffic(60):
            self.kubectl("drain", "node1", "--delete-emptydir-data", "--ignore-daemonsets", "--pod-selector=firn.dev/role=capture",
                         f"--timeout={SECONDS:g}s")  # fmt: skip
            self.until(lambda: self.condition("Connector", "shop", "Ready").get("reason") == "Unschedulable", "the status says so")
            self.kubectl("uncordon", "node1")
            self.ready()
        self.equal()

    def test_11_the_leader_dies(self):
        lease = self.node.get("Lease", "firn", "firn-system")["spec"]["holderIdentity"]
        self.node.kubectl("-n", "firn-system", "delete", "pod", lease, "--grace-period=0", "--force")
        began = time.monotonic()
        self.until(lambda: self.node.get("Lease", "firn", "firn-system")["spec"].get("holderIdentity") not in ("", None, lease), "another has the Lease")
        taken = time.monotonic()
        before = self.pod()
        self.until(lambda: self.kubectl("logs", before).count("the operator hears") >= 2, "the agent has found who took over")
        print(f"another has the Lease after {taken - began:.1f} s, the agent is heard {time.monotonic() - taken:.1f} s later", flush=True)
        self.patch({"metadata": {"annotations": {"firn.dev/restart": "twice"}}})
        self.rolled(before)
        self.equal()

    def test_12_drifted(self):
        """By hand: what is changed is put back, what is deleted is made again."""
        with self.traffic(60):
            self.kubectl("scale", "deployment", "shop-capture", "--replicas=0")
            self.kubectl("set", "image", "deployment/shop-capture", "agent=nowhere.invalid/agent:1")

            def is_back() -> bool:
                spec = self.node.get("Deployment", "shop-capture", NAMESPACE)["spec"]
                return (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (1, f"firn-agent:{VERSION}")

            self.until(is_back, "replicas and image are put back")
            # by then its Pod may have been replaced, or not: whoever is quicker
            self.kubectl("rollout", "status", "deployment/shop-capture", f"--timeout={SECONDS:g}s")
            before = self.pod()
            self.kubectl("delete", "deployment,configmap,service", "-l", "app.kubernetes.io/managed-by=firn-operator")
            self.rolled(before)
        self.equal()

    def test_13_changed(self):
        """What may be changed of how it is copied, written, kept and run, while it runs."""
        unit = self.node.get("IngestionUnit", "shop", NAMESPACE)["spec"]["outsourcingUnit"]["table"]
        with self.traffic(60):
            before = self.pod()
            self.patch({"spec": {
                "source": {"tables": {"include": ["public.*"], "exclude": ["public.tmp_?"]}, "heartbeat": {"interval": "30s"},
                           "snapshot": {"parallelism": 2, "maxRowsPerSecond": 1000000}},
                "agent": {"resources": {"limits": {"memory": "512Mi"}}, "podTemplate": {"metadata": {"labels": {"team": "data"}}}}}})  # fmt: skip
            self.rolled(before)
            before = self.pod()
            self.node.patch("IngestionUnit", "shop", {"spec": {"outsourcingUnit": {"table": {
                "commitInterval": "1s", "schemaEvolution": {"widenTypes": False, "droppedColumns": "Drop"}, "formatVersion": 3,
                "file": {"targetSize": "64Mi", "compression": "zstd:9"},
                "maintenance": {"expireSnapshots": {"olderThan": "5d"}}}}}}, NAMESPACE)  # fmt: skip
            type(self).format = 3  # which never goes back
            self.rolled(before)
            (pod,) = self.pods()
            self.assertEqual(pod["metadata"]["labels"]["team"], "data")
            self.assertEqual([one["resources"]["limits"]["memory"] for one in pod["spec"]["containers"] if one["name"] == "agent"], ["512Mi"])
            self.source.execute("alter table products add column note text", "shop")
            one = "where sku = (select min(sku) from products)"  # of many rows it might deadlock with the traffic
            self.source.execute(f"update products set note = 'a' {one}", "shop")
            self.until(lambda: "note" in self.columns("products"), "a column comes")
            self.source.execute("alter table products drop column note", "shop")
            self.source.execute(f"update products set stock = stock + 1 {one}", "shop")
            self.until(lambda: "note" not in self.columns("products"), "and goes, as it says now")
            self.assertEqual(self.metadata("products")["format-version"], 3)
        self.equal()
        self.ready()
        # and back, as far as that goes
        before = self.pod()
        self.node.patch("IngestionUnit", "shop", {"spec": {"outsourcingUnit": {"table": {
            **dict.fromkeys(("schemaEvolution", "file", "maintenance")), "commitInterval": unit["commitInterval"]}}}}, NAMESPACE)  # fmt: skip
        self.rolled(before)
        self.connection.execute("update products set stock = stock + 1")
        self.equal()

    def test_14_its_slot_is_lost(self):
        """What was written meanwhile is in no log any more: it says so, nothing is Ready, and it is mended as it says."""
        self.patch({"spec": {"state": "Stopped"}})
        self.until(lambda: not self.pods(), "its Pod is gone")
        self.source.drop_slots("firn_shop")
        self.connection.execute("update products set stock = stock + 1")
        self.connection.execute("delete from order_lines where line = 1")
        self.patch({"spec": {"state": "Running"}})
        found = self.stalled("SlotMissing")
        self.assertIn("resnapshot", found["message"])
        for kind, name in (("Connector", "shop"), ("IngestionUnit", "shop"), ("LakeTable", "shop-public-products")):
            self.until(lambda kind=kind, name=name: self.condition(kind, name, "Ready").get("status") == "False", f"{kind} {name} is not Ready")
        self.assertFalse(self.compared()[0], "and it isn't")
        with self.traffic(60):
            self.firn("resnapshot", "connector/shop", "*.*")
            self.ready()
        self.equal()
        (request,) = self.until(lambda: (all_ := self.node.get("Connector", "shop", NAMESPACE)["status"]["requests"])[0]["state"] == "Done" and all_,
                                "the request is done")  # fmt: skip
        self.assertEqual((request["kind"], request["tables"]), ("Resnapshot", ["*.*"]))

    def test_15_the_api_server_dies(self):
        """And etcd forgets all but the newest: who follows goes on meanwhile, and what is asked afterwards is done."""
        before = self.pod()
        with self.traffic(60):
            self.node.stop_one("api-server", signal.SIGKILL)
            self.source.wait_confirmed("firn_shop", SECONDS, "shop")
            self.node.compact()
            self.node.start_api_server()
            self.ready()
            self.assertEqual(self.pod(), before)
            self.kubectl("annotate", "--overwrite", "connector", "shop", "firn.dev/restart=thrice")
            self.rolled(before)
        self.equal()

    def test_16_the_operator_is_killed(self):
        """At points of a reconcile; it is started again, and does the rest."""
        for number, point in enumerate(("operator-child-applied:1", "operator-status-written:1")):
            with self.subTest(point), self.traffic(60):
                before = self.pod()
                self.crash_at(f"FIRN_CRASH_AT={point}")
                self.kubectl("annotate", "--overwrite", "connector", "shop", f"firn.dev/restart=for {number}")
                self.until(lambda point=point: self.operator_struck(point.partition(":")[0]), f"{point} strikes")
                self.crash_at("FIRN_CRASH_AT-")
                self.rolled(before)
            self.equal()

    def crash_at(self, variable: str):
        self.node.kubectl("-n", "firn-system", "set", "env", "deployment/firn", variable)
        self.node.kubectl("-n", "firn-system", "rollout", "status", "deployment/firn", f"--timeout={SECONDS:g}s")

    def operator_struck(self, point: str) -> bool:
        """One of its Pods ended there."""
        for pod in self.node.all_of("Pod", "firn-system", "app.kubernetes.io/name=firn-operator"):
            with contextlib.suppress(AssertionError):  # it never ended
                if f"crash point {point} struck" in self.node.kubectl("-n", "firn-system", "logs", "--previous", pod["metadata"]["name"]):
                    return True
        return False

    def test_17_upgraded(self):
        """Definitions, chart and images: what the older ones did not know is known, and agents roll to the new one."""
        for kind in ("agent", "operator"):
            kube_node.run(*self.node._ctr(), "images", "tag", f"docker.io/library/firn-{kind}:{VERSION}", f"docker.io/library/firn-{kind}:next")
        before = self.pod()
        with self.assertRaises(Refused) as caught:
            self.promise()
        self.assertIn('unknown field "spec.sla"', caught.exception.message)
        with self.traffic(60):
            self.helm("upgrade", "firn", ROOT / "helm/firn", "--set", "replicas=2", "--set", "image.tag=next", "--wait", "--timeout", f"{SECONDS:g}s")
            self.rolled(before)
        self.assertEqual(self.pods()[0]["spec"]["containers"][0]["image"], "firn-agent:next")
        self.equal()
        self.promise()
        self.until(lambda: self.condition("IngestionUnit", "shop", "Fresh").get("status") == "True", "the promise is known, and kept")
        self.ready()

    def promise(self):
        path = self.node.path("IngestionUnit", "shop", NAMESPACE, "?fieldValidation=Strict")
        self.node.call("PATCH", path, {"spec": {"sla": {"freshness": "10m"}}}, "application/merge-patch+json")

    def test_18_a_table_dropped(self):
        """One more, filled, maintained by a container of its own, and then dropped with its files, as its resource says."""
        self.connection.execute("create table extra (id int primary key, v text)")
        self.connection.execute("insert into extra select i, 'x' from generate_series(1, 100) i")
        unit = {"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": "extra"}, "spec": {
            "connectorRef": {"name": "shop", "table": "public.extra"}, "outsourcingUnit": {"table": {
                "catalog": {"warehouse": str(self.lake)}, "database": "other", "commitInterval": "1s", "deletionPolicy": "Drop",
                "maintenance": {"orphanFiles": {"olderThan": "1d"}}}}}}  # fmt: skip
        (self.folder / "extra.yaml").write_text(json.dumps(unit))
        self.kubectl("apply", "-f", self.folder / "extra.yaml")
        self.until(lambda: (self.node.find("IngestionUnit", "extra", NAMESPACE) or {}).get("status", {}).get("rows") == 100, "it is filled")
        files = self.until(lambda: list((self.lake / "other" / "extra").rglob("*.parquet")), "it has files")
        self.ready()
        (pod,) = self.pods()
        self.assertEqual({one["name"]: one["ready"] for one in pod["status"]["containerStatuses"]}, {"agent": True, "maintain": True})
        planted = files[0].with_name("planted.parquet")
        shutil.copy(files[0], planted)
        os.utime(planted, (time.time() - 4 * 86400,) * 2)
        said = self.kubectl("exec", pod["metadata"]["name"], "--container", "maintain", "--", "/usr/bin/firn-agent", "maintain", "--once",
                            "--file=/etc/firn/manifest/manifest.yaml", "--secrets=/etc/firn/secrets")  # fmt: skip
        self.assertIn("other.extra: files that no snapshot names: 1 of ", said)
        self.assertFalse(planted.exists())
        self.assertEqual([one for one in files if not one.exists()], [])
        self.kubectl("delete", "ingestionunit", "extra")
        self.until(lambda: self.node.find("LakeTable", "extra", NAMESPACE) is None, "its LakeTable is gone")
        self.assertFalse((self.lake / "other" / "extra").exists())
        self.connection.execute("drop table extra")
        self.ready()

    def test_19_deleted(self):
        """The slot goes with the Connector, by a Pod; the tables stay."""
        self.kubectl("delete", "connector", "shop", f"--timeout={SECONDS:g}s")
        self.assertIsNone(self.source.slot("firn_shop"))
        self.assertEqual(self.source.execute("select count(*) from pg_publication", "shop")[0][0], 0)
        self.until(lambda: not self.node.all_of("Pod", NAMESPACE), "no Pod is left")
        same, output = self.compared()
        self.assertTrue(same, output)
        self.kubectl("delete", "namespace", NAMESPACE, f"--timeout={SECONDS:g}s")

    # --- by Flux ---

    def reconciled(self, revision: str, status: str = "True") -> dict:
        """Until Flux says so of a revision; its word."""

        def holds():
            attempted = self.flux.kustomization("shop").get("status", {}).get("lastAttemptedRevision") == revision
            found = self.flux.condition("shop", "Ready")
            return attempted and found.get("status") == status and found

        try:
            return wait_until(holds, SECONDS, f"Flux says {status} of {revision}", self.flux.alive)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.flux.kustomization('shop').get('status')}\n{self.flux.log()}\n{self.everything()}") from None

    def test_20_gitops(self):
        """Flux's own controller, with the Kustomization of deploy/gitops: Ready by its health checks, what is removed is
        pruned, a change that stalls or that the definitions refuse is reported, and a mended one is taken."""
        every = ("customers", "products", "orders", "order_lines")
        self.begin_anew()
        (self.folder / "needed.yaml").write_text(yaml.safe_dump_all(self.needed()))
        self.kubectl("apply", "-f", self.folder / "needed.yaml")
        documents = list(yaml.safe_load_all((ROOT / "deploy/gitops/flux/firn.yaml").read_text()))
        (kustomization,) = [one for one in documents if one["kind"] == "Kustomization" and one["metadata"]["name"] == "shop"]
        del kustomization["spec"]["dependsOn"]  # Firn is installed by Helm here
        kustomization["spec"] |= {"retryInterval": "5s", "timeout": f"{SECONDS:g}s"}
        with Flux(self.node) as flux, contextlib.ExitStack() as live:
            live.enter_context(self.traffic(300))
            self.__class__.flux = flux
            text = yaml.safe_dump_all(self.shop(every))
            good = flux.publish("pipelines", {"shop/shop.yaml": text})
            self.node.apply(yaml.safe_dump(kustomization))
            self.assertEqual(self.reconciled(good)["reason"], "ReconciliationSucceeded")
            self.assertEqual(flux.condition("shop", "Healthy")["status"], "True")
            for kind, name in (("Connector", "shop"), ("IngestionUnit", "orders")):
                self.assertEqual(self.condition(kind, name, "Ready")["status"], "True")
            pod = self.pod()
            # a Secret that is not there: the definitions can't know, the operator does
            bad = flux.publish("pipelines", {"shop/shop.yaml": text.replace("credentialsSecretRef:\n      name: shop-db", "credentialsSecretRef:\n      name: nobody")})
            found = self.reconciled(bad, "False")
            self.assertEqual(found["reason"], "HealthCheckFailed")
            self.assertIn(f"Connector/{NAMESPACE}/shop status: 'Failed'", found["message"])
            self.assertEqual(self.condition("Connector", "shop", "Stalled")["reason"], "SecretMissing")
            self.assertEqual(self.pod(), pod)  # what ran goes on
            # a field that the definitions refuse: nothing of that revision is applied
            worse = flux.publish("pipelines", {"shop/shop.yaml": text.replace("mode: Upsert", "mode: Nonsense")})
            found = self.reconciled(worse, "False")
            self.assertEqual(found["reason"], "ReconciliationFailed")
            self.assertIn("Nonsense", found["message"])
            # mended, and one unit fewer
            mended = flux.publish("pipelines", {"shop/shop.yaml": yaml.safe_dump_all(self.shop(every[:3]))})
            self.reconciled(mended)
            self.until(lambda: self.node.find("IngestionUnit", "order-lines", NAMESPACE) is None, "what is removed is pruned")
            self.until(lambda: self.node.find("LakeTable", "order-lines", NAMESPACE) is None, "and what it had made")
            live.close()
            self.equal([f"public.{table}=shop/{table}" for table in every[:3]])
            # all of it goes, and the slot with the Connector
            self.node.delete("Kustomization", "shop", kustomization["metadata"]["namespace"])
            self.until(lambda: self.node.find("Connector", "shop", NAMESPACE) is None, "everything is pruned")
        self.assertIsNone(self.source.slot("firn_shop"))

    def test_21_scaled(self):
        """Consumers of a stream, while the source is written to: three of one, then two of three."""
        self.begin_anew()
        with Broker(ADDRESS) as broker:
            manifest = self.folder / "stream.yaml"
            manifest.write_text(self.resources(brokers=broker.bootstrap))
            with self.traffic(300):
                self.kubectl("apply", "-f", manifest)
                self.ready()
                for replicas in (3, 2):
                    self.kubectl("scale", "fiu/shop", f"--replicas={replicas}")
                    self.until(lambda replicas=replicas: broker.members(GROUP) == [6 // replicas] * replicas, f"each of {replicas} has its partitions")
                    self.until(lambda replicas=replicas: self.node.get("IngestionUnit", "shop", NAMESPACE)["status"].get("replicas") == replicas, "it says so")
                    self.ready()
                self.until(lambda: len(self.node.all_of("Pod", NAMESPACE, "firn.dev/role=ingest")) == 2, "the third has drained")
            self.through_topics()
            self.copied_beside(broker)
            self.namespace_goes()

    def through_topics(self):
        self.source.wait_confirmed("firn_shop", SECONDS, "shop")
        self.until(lambda: self.compared()[0], "the tables have what the topics have")
        self.equal()

    def copied_beside(self, broker: Broker):
        """A relay that runs is asked for a table: its topic, which has nothing any more, has it whole, the consumers' table too."""
        for partition in range(6):
            broker.delete_records("shop.public.orders", partition, -1)  # all
        self.assertEqual(broker.read("shop.public.orders"), [])
        pod, logs = self.pod(), self.firn("logs", "unit/shop").splitlines()
        self.assertEqual({line.split("/")[1] for line in logs}, {one["metadata"]["name"] for one in self.node.all_of("Pod", NAMESPACE, "firn.dev/role=ingest")})
        with self.traffic(300):
            self.firn("resnapshot", "connector/shop", "public.orders")
            request = self.until(lambda: (all_ := self.node.get("Connector", "shop", NAMESPACE)["status"].get("requests")) and all_[0]["state"] == "Done" and all_[0],
                                 "the request is done")  # fmt: skip
            self.assertEqual((request["kind"], request["tables"], request["by"]), ("Resnapshot", ["public.orders"], "admin"))
            self.ready()
        self.through_topics()
        topic = Topic(broker, "shop.public.orders", self.source, "orders")
        self.assertEqual((topic.rows_as_text(), topic.disordered), (source_rows(self.source, "orders"), []))
        self.assertGreater(topic.snapshots["incremental"], 0)
        self.assertEqual(self.firn("logs", "connector/shop").count('"table copied beside the stream"'), 1)
        self.assertEqual(self.pod(), pod, "no Pod was rolled")

    def namespace_goes(self):
        """With everything in it that runs: nothing holds it up, and what may have stayed at the source is named."""
        self.kubectl("delete", "namespace", NAMESPACE, f"--timeout={SECONDS:g}s")
        logs = "".join(self.node.kubectl("-n", "firn-system", "logs", pod["metadata"]["name"])
                       for pod in self.node.all_of("Pod", "firn-system", "app.kubernetes.io/name=firn-operator"))  # fmt: skip
        self.assertEqual('"slot left behind"' in logs, self.source.slot("firn_shop") is not None, logs[-3000:])
        same, output = self.compared()
        self.assertTrue(same, output)

    def begin_anew(self):
        """Another lake, the source's password of the first day, and the namespace as it was before anything was applied."""
        self.source.execute(f"alter role firn password '{PASSWORD}'")
        self.__class__.lake = Path(tempfile.mkdtemp(dir=self.folder))
        self.lake.chmod(0o777)
        for kind in ("PersistentVolumeClaim", "PersistentVolume"):
            with contextlib.suppress(Refused):  # there is none
                self.node.delete(kind, "lake", NAMESPACE)
        self.until(lambda: self.node.find("PersistentVolume", "lake") is None, "the volume is gone")
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.node.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}))


if __name__ == "__main__":
    unittest.main(verbosity=2)
