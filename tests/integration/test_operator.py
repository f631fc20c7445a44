"""The operator on a real API server, with etcd and without a node: what it makes, what it says, and that neither a
kill at any named point of its code nor the loss of the API server, of etcd's history or of the lease changes that.
Pods are made by the test where their state is to be seen."""

import copy
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tarfile
import tempfile
import time
import unittest
from pathlib import Path

import yaml
from harness.agent import command
from harness.channel import Agent, Closed, Connection
from harness.kube import HELM, KUBERNETES, ROOT, Cluster, Operator, Refused, operator_binary
from harness.process import free_port
from harness.server import fetched
from harness.wait import wait_until
from harness.webhook import Webhook

GOLDEN = ROOT / "tests/golden/manifest"
SECONDS = float(os.environ.get("FIRN_OPERATOR_SECONDS", "60"))
PLURALS = {"Connector": "connectors", "LakeTable": "laketables", "IngestionUnit": "ingestionunits"}
CHILDREN = ("ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment")

_cluster = None


def cluster() -> Cluster:
    """One for all cases: it takes seconds to start."""
    global _cluster
    if _cluster is None:
        _cluster = Cluster().start()
        unittest.addModuleCleanup(_cluster.stop)
        _cluster.install(ROOT / "crds")
    return _cluster


def shop(namespace: str, **source) -> str:
    """A Connector, its Secret, and two units with their tables: one LakeTable beside the unit, one in it."""
    spec = {"type": "PostgreSQL", "host": "db", "database": "shop", "credentialsSecretRef": {"name": "shop-db"}} | source
    documents = [
        {"kind": "Connector", "metadata": {"name": "shop"}, "spec": {"source": spec}},
        {"kind": "LakeTable", "metadata": {"name": "orders"},
         "spec": {"catalog": {"warehouse": "/lake"}, "database": "retail", "tableName": "orders"}},
        {"kind": "IngestionUnit", "metadata": {"name": "orders"},
         "spec": {"connectorRef": {"name": "shop", "table": "public.orders"}, "lakeTableRef": {"name": "orders"}}},
        {"kind": "IngestionUnit", "metadata": {"name": "customers"},
         "spec": {"connectorRef": {"name": "shop", "table": "public.customers"},
                  "outsourcingUnit": {"table": {"catalog": {"warehouse": "/lake"}}}}},
    ]  # fmt: skip
    for document in documents:
        document["apiVersion"] = "firn.dev/v1alpha1"
        document["metadata"]["namespace"] = namespace
    return yaml.safe_dump_all(documents)


def lua(value) -> str:
    """As Lua writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"[{lua(key)}]={lua(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(map(lua, value)) + "}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nil"}[value]
    return str(value) if isinstance(value, int) else '"' + "".join(f"\\{byte:03d}" for byte in str(value).encode()) + '"'


def health(thing: dict) -> tuple[str, str]:
    """What Argo CD makes of it, by the script that deploy/gitops gives it."""
    script = (ROOT / "deploy/gitops/argocd/health.lua").read_text()
    program = f"obj = {lua(thing)}\nlocal function check()\n{script}\nend\nlocal found = check()\nprint(found.status)\nprint(found.message)"
    done = subprocess.run(["lua5.1", "-"], input=program, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    status, _, message = done.stdout.partition("\n")
    return status, message.rstrip("\n")


def condition(thing: dict | None, name: str) -> dict:
    found = (thing or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == name), {})


class Verdicts(unittest.TestCase):
    """The definitions, against `firn-agent validate` and each rule of change."""

    def setUp(self):
        self.kube = cluster()
        self.folder = Path(tempfile.mkdtemp(prefix="firn-verdicts-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    @staticmethod
    def changed(good: dict, change: dict) -> dict:
        document = copy.deepcopy(good)
        for path, value in change.items():
            *above, last = path.split(".")
            at = document
            for part in above:
                at = at[part]
            if value is None:
                at.pop(last, None)
            else:
                at[last] = value
        return document

    def agent_takes(self, document: dict, good: dict) -> tuple[bool, str]:
        others = [one for kind, one in good.items() if kind != document["kind"]]
        if document["kind"] == "Connector":  # nothing needs to name it
            others = [one for one in others if one["kind"] == "LakeTable"]
        path = self.folder / "case.yaml"
        path.write_text(yaml.safe_dump_all([*others, document]))
        done = command("validate", "-f", path)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return done.returncode == 0, done.stderr

    def server_takes(self, document: dict) -> tuple[bool, str]:
        try:
            self.kube.create(document, dry_run=True)
            return True, ""
        except Refused as refused:
            self.assertIn(refused.status, (400, 422), refused)
            return False, refused.message

    def test_gitops(self):
        """Argo CD's ConfigMap has the script for each kind; what Flux waits for is there by these names."""
        kubectl = Path(fetched("go", KUBERNETES)) / "kubectl"
        text = subprocess.run([kubectl, "kustomize", ROOT / "deploy/gitops/argocd"], capture_output=True, text=True, check=True).stdout
        script = (ROOT / "deploy/gitops/argocd/health.lua").read_text()
        names = {kind: f"resource.customizations.health.firn.dev_{kind}" for kind in ("Connector", "LakeTable", "IngestionUnit")}
        config = yaml.safe_load(text)
        self.assertEqual(config["metadata"]["name"], "argocd-cm")
        self.assertEqual(config["data"], {name: script for name in names.values()})
        for thing in ({"metadata": {}}, {"metadata": {}, "status": {}}):
            self.assertEqual(health(thing)[0], "Progressing")
        flux = list(yaml.safe_load_all((ROOT / "deploy/gitops/flux/firn.yaml").read_text()))
        checks = [check for one in flux for check in one["spec"].get("healthChecks", [])]
        self.assertEqual({check["apiVersion"] for check in checks}, {"firn.dev/v1alpha1"})
        self.assertLessEqual({check["kind"] for check in checks}, set(names))

    def cases(self, table: dict) -> list[dict]:
        """Those of the table, and of each LakeTable's a twin that stands within a unit."""
        twins, own = [], {"spec", "spec.database", "spec.tableName"}  # which a unit may leave out, or have in braces
        for case in table["cases"]:
            if case["of"] == "LakeTable" and not own & set(case["change"]) and "only" not in case and "braces" not in case.get("refused", ""):
                spec = self.changed(table["good"]["LakeTable"], case["change"] | {"spec.tableName": "within"})["spec"]
                twins.append(case | {"of": "IngestionUnit", "change": {"spec.lakeTableRef": None, "spec.outsourcingUnit": {"table": spec}}})
        return table["cases"] + twins

    @staticmethod
    def rules(schema: dict, path: str = "spec"):
        """Path and words of each rule that is not of a change, or of what is not there yet."""
        for rule in schema.get("x-kubernetes-validations", []):
            if "oldSelf" not in rule["rule"] and "is not supported yet" not in rule["message"]:
                yield path, rule["message"]
        for name, one in schema.get("properties", {}).items():
            yield from Verdicts.rules(one, f"{path}.{name}")
        for one in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(one, dict):
                yield from Verdicts.rules(one, path)

    def test_same_verdicts(self):
        table = yaml.safe_load((GOLDEN / "verdicts.yaml").read_text())
        cases = self.cases(table)
        self.assertGreater(len(cases), 300)
        wrong, said = [], {"Connector": "", "LakeTable": "", "IngestionUnit": ""}
        for case in cases:
            document = self.changed(table["good"][case["of"]], case["change"])
            wanted = "refused" not in case
            agent, agent_words = self.agent_takes(document, table["good"])
            server, server_words = self.server_takes(document)
            only = case.get("only")
            good = agent == (wanted or only == "server") and server == (wanted or only == "agent")
            if not good or (not server and case["refused"] not in server_words):
                wrong.append(f"{case}: agent {agent} {agent_words.strip()!r}, server {server} {server_words!r}")
            said[case["of"]] += re.sub(r"\[\d+\]", "", server_words) + "\n"
        self.assertEqual(wrong, [], f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong))
        untold = [f"{kind} {path}: {words}" for kind, plural in PLURALS.items()
                  for path, words in self.rules(yaml.safe_load((ROOT / f"crds/{plural}.yaml").read_text())["spec"]["versions"][0]["schema"]
                                                ["openAPIV3Schema"]["properties"]["spec"])
                  if not re.search(rf"{re.escape(path)}: Invalid value: .*{re.escape(words)}", said[kind])]  # fmt: skip
        self.assertEqual(untold, [], "rules that no case is refused by")

    def test_what_may_not_change(self):
        good = yaml.safe_load((GOLDEN / "verdicts.yaml").read_text())["good"]
        for document in good.values():
            self.kube.apply(yaml.safe_dump(document))
            self.addCleanup(self.kube.delete, document["kind"], document["metadata"]["name"])
        refused = [
            ("LakeTable", "orders", {"tableName": "other"}, "tableName can't be changed"),
            ("LakeTable", "orders", {"database": "other"}, "database can't be changed"),
            ("LakeTable", "orders", {"location": "/lake/x"}, "location can't be changed"),
            ("LakeTable", "orders", {"mode": "Append"}, "mode can't be changed"),
            ("Connector", "shop", {"source": {"database": "other"}}, "database can't be changed"),
        ]
        for kind, name, spec, words in refused:
            with self.subTest(spec=spec), self.assertRaises(Refused) as caught:
                self.kube.patch(kind, name, {"spec": spec})
            self.assertIn(words, caught.exception.message)
        self.kube.patch("LakeTable", "orders", {"spec": {"formatVersion": 3, "commitInterval": "5s"}})
        with self.assertRaises(Refused) as caught:
            self.kube.patch("LakeTable", "orders", {"spec": {"formatVersion": 2}})
        self.assertIn("formatVersion never goes down", caught.exception.message)
        self.kube.patch("Connector", "shop", {"spec": {"source": {"host": "other", "port": 6543}}})

    def test_examples(self):
        """Every manifest of deploy/ and of the golden folder."""
        paths = [*ROOT.glob("deploy/quickstart*.yaml"), *ROOT.glob("kind/s*.yaml"), GOLDEN / "shop.yaml", GOLDEN / "lakes.yaml"]
        self.assertEqual(len(paths), 9)
        for path in paths:
            for document in yaml.safe_load_all(path.read_text()):
                if document and document["kind"] != "Namespace" and "." not in document["apiVersion"].partition("/")[0].removesuffix("firn.dev"):
                    document["metadata"].pop("namespace", None)
                    taken, words = self.server_takes(document)
                    self.assertTrue(taken, f"{path.name} {document['kind']}: {words}")

    def test_defaults_and_names(self):
        self.kube.apply(shop("default"), dry_run=True)
        (made,) = self.kube.apply(yaml.safe_dump(next(yaml.safe_load_all(shop("default", tls={})))), dry_run=True)
        self.assertEqual(made["spec"]["state"], "Running")
        self.assertNotIn("port", made["spec"]["source"])  # which it is, the type says
        self.assertEqual(made["spec"]["source"]["tls"]["mode"], "Prefer")
        names = self.kube.get("CustomResourceDefinition", "ingestionunits.firn.dev")["status"]["acceptedNames"]
        self.assertEqual((names["shortNames"], names["categories"]), (["fiu"], ["firn"]))


class Reconcile(unittest.TestCase):
    """A namespace of its own for each test, and an operator that sees only that."""

    options: tuple[str, ...] = ()
    number = 0

    def setUp(self):
        self.kube = cluster()
        Reconcile.number += 1
        self.namespace = f"test-{Reconcile.number}"
        self.folder = Path(tempfile.mkdtemp(prefix="firn-operator-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {self.namespace}}}}}")
        self.runs = 0

    def start(self, identity: str = "one", crash_at: str = None, *options) -> Operator:
        self.runs += 1
        operator = Operator(
            self.kube.folder / "admin.kubeconfig", self.folder / f"operator-{self.runs}.log", f"--namespace={self.namespace}",
            f"--lease-namespace={self.namespace}", "--missing-timeout=2s", *self.options, *options, identity=identity,
            crash_at=crash_at)  # fmt: skip
        self.operator = operator
        self.addCleanup(operator.kill)
        return operator

    def started(self, *arguments, **more) -> Operator:
        operator = self.start(*arguments, **more)
        self.until(operator.working, "the operator works")
        return operator

    def until(self, holds, what: str, seconds: float = SECONDS, watch: bool = True):
        try:
            return wait_until(holds, seconds, what, self.operator.alive if watch else None)
        except AssertionError as error:
            raise AssertionError(f"{error}; the operator: {self.operator.text()[-3000:]}") from None

    def find(self, kind: str, name: str):
        return self.kube.find(kind, name, self.namespace)

    def get(self, kind: str, name: str):
        return self.kube.get(kind, name, self.namespace)

    def secret(self, name: str = "shop-db", password: str = "secret"):
        self.kube.secret(name, self.namespace, username="firn", password=password)

    def apply_shop(self, **source):
        self.secret()
        self.kube.apply(shop(self.namespace, **source))

    def is_condition(self, kind: str, name: str, type_: str, status: str, reason: str = None):
        found = condition(self.find(kind, name), type_)
        return found.get("status") == status and (reason is None or found.get("reason") == reason) and found

    def wait_condition(self, kind: str, name: str, type_: str, status: str, reason: str = None) -> dict:
        return self.until(lambda: self.is_condition(kind, name, type_, status, reason), f"{kind}/{name} {type_}={status} {reason}")

    def wait_children(self):
        for kind in CHILDREN:
            self.until(lambda kind=kind: self.find(kind, "shop-capture"), f"{kind}/shop-capture is there")

    def run_deployment(self, available: int = 1, namespace: str = None):
        """What the Deployment's controller and a node would say."""
        namespace = namespace or self.namespace
        deployment = self.kube.get("Deployment", "shop-capture", namespace)
        replicas = deployment["spec"]["replicas"]
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": replicas, "updatedReplicas": replicas,
                  "readyReplicas": available, "availableReplicas": available}  # fmt: skip
        self.kube.patch("Deployment", "shop-capture", {"status": status}, namespace, "/status")

    def make_pod(self, name: str, status: dict, deployment: str = "shop-capture"):
        template = self.get("Deployment", deployment)["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": template["metadata"]["labels"]}, "spec": template["spec"]}
        self.kube.call("POST", self.kube.path("Pod", None, self.namespace), pod)
        self.kube.patch("Pod", name, {"status": status}, self.namespace, "/status")

    def remove_pod(self, name: str):
        self.kube.delete("Pod", name, self.namespace, "Background&gracePeriodSeconds=0")

    def finish_job(self, name: str, condition: str = "Complete"):
        """What the Job's controller would say."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        first = "SuccessCriteriaMet" if condition == "Complete" else "FailureTarget"
        status = {"startTime": now, "conditions": [{"type": one, "status": "True", "lastTransitionTime": now} for one in (first, condition)]}
        status |= {"completionTime": now, "succeeded": 1} if condition == "Complete" else {"failed": 1}
        self.kube.patch("Job", name, {"status": status}, self.namespace, "/status")

    def settle(self):
        """Applied, made, and running as far as anybody says."""
        self.apply_shop()
        self.wait_children()
        self.until(self.all_ready, "everything is ready")

    def all_ready(self) -> bool:
        """Says for the Deployment, whenever it changed, that its Pods run."""
        deployment = self.get("Deployment", "shop-capture")
        if deployment.get("status", {}).get("observedGeneration") != deployment["metadata"]["generation"]:
            self.run_deployment()
        things = (("Connector", "shop"), ("IngestionUnit", "orders"), ("IngestionUnit", "customers"), ("LakeTable", "orders"),
                  ("LakeTable", "customers"))  # fmt: skip
        return all(self.is_condition(kind, name, "Ready", "True") for kind, name in things)

    # --- agents that report ---

    def channel_started(self, *options: str):
        self.port = free_port()
        self.started("one", None, "--figures-interval=1s", f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost", *options)

    def token(self, pod: str | None, account: str = "shop-capture", audience: str = "firn-channel") -> str:
        spec = {"audiences": [audience], "expirationSeconds": 600}
        if pod:
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": self.get("Pod", pod)["metadata"]["uid"]}
        path = self.kube.path("ServiceAccount", account, self.namespace, "/token")
        return self.kube.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})["status"]["token"]

    def trust(self) -> str:
        return self.get("ConfigMap", "shop-capture")["data"]["channel-ca.crt"]

    def agent(self, pod: str, account: str = "shop-capture", token: str = None) -> Agent:
        """As soon as the operator's watch has told it of the Pod."""

        def heard():
            try:
                return Agent(self.port, self.trust(), token or self.token(pod, account))
            except Closed as closed:
                self.assertEqual(str(closed), "NotNow")
                return None

        agent = self.until(heard, f"{pod} is heard")
        self.addCleanup(agent.stop)
        return agent


class Life(Reconcile):
    def test_shop(self):
        self.started()
        self.apply_shop()
        self.wait_children()
        deployment = self.get("Deployment", "shop-capture")
        owner = deployment["metadata"]["ownerReferences"][0]
        self.assertEqual((owner["kind"], owner["name"], owner["controller"]), ("Connector", "shop", True))
        self.assertEqual(deployment["spec"]["replicas"], 1)
        self.assertEqual(deployment["spec"]["strategy"]["type"], "Recreate")
        # at first touch, not "not ready"
        self.wait_condition("Connector", "shop", "Ready", "Unknown")
        self.assertEqual(health(self.get("Connector", "shop"))[0], "Progressing")
        self.assertEqual(condition(self.get("Connector", "shop"), "Reconciling")["status"], "True")
        # what the Pods read is what the agent takes
        path = self.folder / "manifest.yaml"
        path.write_text(self.until(lambda: (c := self.find("ConfigMap", "shop-capture")) and c["data"]["manifest.yaml"].count("IngestionUnit")
                                   == 2 and c["data"]["manifest.yaml"], "both units are in the manifest"))  # fmt: skip
        done = command("validate", "-f", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("valid: 1 connectors, 1 tables, 2 units", done.stdout)
        # a table of its own for the unit that has it in place
        table = self.until(lambda: self.find("LakeTable", "customers"), "the unit's table")
        self.assertEqual((table["spec"]["database"], table["spec"]["tableName"]), ("public", "customers"))
        self.until(self.all_ready, "everything is ready")
        for kind, name in (("Connector", "shop"), ("IngestionUnit", "orders"), ("LakeTable", "orders"), ("LakeTable", "customers")):
            self.assertTrue(self.is_condition(kind, name, "Ready", "True", "Streaming"))
            thing = self.get(kind, name)
            self.assertEqual(health(thing), ("Healthy", "Streaming: it follows the source"))
            self.assertEqual(health(thing | {"metadata": {"generation": thing["metadata"]["generation"] + 1}})[0], "Progressing")
            self.assertEqual(condition(thing, "Reconciling")["status"], "False")
            self.assertEqual(condition(thing, "Stalled")["status"], "False")
            self.assertEqual(thing["status"]["observedGeneration"], thing["metadata"]["generation"])
            self.assertEqual(thing["status"]["phase"], "Streaming")
        self.assertEqual(self.get("LakeTable", "orders")["status"]["unit"], "orders")
        self.assertEqual(self.get("Connector", "shop")["status"]["tables"], 2)
        reasons = {event["reason"] for event in self.kube.all_of("Event", self.namespace)}
        self.assertIn("Streaming", reasons)

    def test_before_the_first_word(self):
        """What the operator has not looked at is on its way, not current; of many at once each is told in the end."""
        tables = [{"apiVersion": "firn.dev/v1alpha1", "kind": "LakeTable", "metadata": {"name": f"t{at}", "namespace": self.namespace},
                   "spec": {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": f"t{at}"}} for at in range(60)]  # fmt: skip
        self.kube.apply(json.dumps(tables[0]))
        table = self.get("LakeTable", "t0")
        self.assertEqual(table["status"], {"observedGeneration": -1, "phase": "Pending"})
        self.assertEqual(health(table)[0], "Progressing")
        self.started()
        self.wait_condition("LakeTable", "t0", "Ready", "Unknown", "NoUnit")
        self.kube.apply(yaml.safe_dump_all(tables[1:]))

        def all_told():
            return [condition(one, "Ready").get("reason") for one in self.kube.all_of("LakeTable", self.namespace)] == ["NoUnit"] * len(tables)

        self.until(all_told, "each is told")
        self.assertEqual({one["status"]["observedGeneration"] for one in self.kube.all_of("LakeTable", self.namespace)}, {1})

    def test_a_connector_comes_with_a_crowd(self):
        """It is made once its units are there, or once a second where they come one by one, and not anew for each of them."""
        self.started()
        self.secret()
        began = time.monotonic()
        documents = [shop(self.namespace)]
        for at in range(60):
            table = {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": f"t{at}"}
            unit = {"connectorRef": {"name": "shop", "table": f"public.t{at}"}, "lakeTableRef": {"name": f"t{at}"}}
            documents += [json.dumps({"apiVersion": "firn.dev/v1alpha1", "kind": kind, "metadata": {"name": f"t{at}", "namespace": self.namespace},
                                      "spec": spec}) for kind, spec in (("LakeTable", table), ("IngestionUnit", unit))]  # fmt: skip
        self.kube.apply("\n---\n".join(documents))
        self.wait_children()
        self.until(lambda: self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"].count('"kind":"IngestionUnit"') == 62, "all are in it")
        self.until(lambda: self.get("Connector", "shop")["status"].get("tables") == 62, "its status counts them")
        self.assertLess(self.get("Deployment", "shop-capture")["metadata"]["generation"], 5 + time.monotonic() - began)
        self.until(self.all_ready, "everything is ready")

        def all_said():
            return all(one["status"]["observedGeneration"] == 1 for kind in ("IngestionUnit", "LakeTable") for one in self.kube.all_of(kind, self.namespace))

        self.until(all_said, "each has a status")

    def test_at_rest_nothing_is_written(self):
        self.started()
        self.settle()

        def versions():
            return {(kind, name): self.get(kind, name)["metadata"]["resourceVersion"]
                    for kind, name in [(kind, "shop-capture") for kind in CHILDREN] + [("Connector", "shop"), ("IngestionUnit", "orders")]}  # fmt: skip

        def settled():
            before = versions()
            looks = self.looks()
            self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"note": str(looks)}}}, self.namespace)
            self.until(lambda: self.looks() > looks, "it looked again")
            after = versions()
            return {key for key in before if before[key] != after[key]} == {("Connector", "shop")}

        self.until(settled, "a look changes nothing")

    def looks(self) -> int:
        text = self.operator.http("/metrics")[1]
        return int(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("firn_operator_reconciles_total")))

    def test_drift_is_repaired(self):
        self.started()
        self.settle()
        self.kube.patch("Deployment", "shop-capture", {"spec": {"replicas": 3}}, self.namespace)
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "replicas are back")
        container = {"name": "agent", "image": "evil:1"}
        self.kube.call("PATCH", self.kube.path("Deployment", "shop-capture", self.namespace), {"spec": {"template": {"spec": {"containers": [container]}}}},
                       "application/strategic-merge-patch+json")  # fmt: skip
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["template"]["spec"]["containers"][0]["image"] == "firn.test/agent:1",
                   "the image is back")  # fmt: skip
        self.kube.patch("ConfigMap", "shop-capture", {"data": {"manifest.yaml": "nothing"}}, self.namespace)
        self.until(lambda: "Connector" in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "the manifest is back")
        for kind in CHILDREN:
            uid = self.get(kind, "shop-capture")["metadata"]["uid"]
            self.kube.delete(kind, "shop-capture", self.namespace)
            self.until(lambda kind=kind, uid=uid: (found := self.find(kind, "shop-capture")) and found["metadata"]["uid"] != uid, f"{kind} is made again")
        # what others add stays
        self.kube.patch("Deployment", "shop-capture", {"metadata": {"annotations": {"mine": "yes"}}}, self.namespace)
        self.kube.patch("Deployment", "shop-capture", {"spec": {"replicas": 2}}, self.namespace)
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "replicas are back")
        self.assertEqual(self.get("Deployment", "shop-capture")["metadata"]["annotations"]["mine"], "yes")

    def test_changes_roll(self):
        self.started()
        self.settle()
        template = self.get("Deployment", "shop-capture")["spec"]["template"]

        def rolled(what):
            nonlocal template
            before = template
            self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["template"] != before, f"{what} rolls the Pods")
            template = self.get("Deployment", "shop-capture")["spec"]["template"]

        self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": "5s"}}, self.namespace)
        rolled("a table's change")
        self.assertIn('"commitInterval":"5s"', self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"])
        self.secret(password="another")
        rolled("a Secret's change")
        self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"firn.dev/restart": "now"}}}, self.namespace)
        rolled("firn.dev/restart")
        self.kube.patch("Connector", "shop", {"spec": {"agent": {"image": "mine:2"}}}, self.namespace)
        rolled("the image")
        self.assertEqual(template["spec"]["containers"][0]["image"], "mine:2")
        # a change that is not taken up yet is not Ready
        self.wait_condition("Connector", "shop", "Ready", "False", "RollingOut")
        self.wait_condition("IngestionUnit", "orders", "Ready", "False", "RollingOut")
        self.run_deployment()
        self.wait_condition("IngestionUnit", "orders", "Ready", "True")
        # stopped, and started
        self.kube.patch("Connector", "shop", {"spec": {"state": "Stopped"}}, self.namespace)
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 0, "it is stopped")
        self.run_deployment(0)
        self.wait_condition("Connector", "shop", "Ready", "True", "Stopped")
        self.assertEqual(health(self.get("Connector", "shop"))[0], "Suspended")
        self.wait_condition("IngestionUnit", "orders", "Ready", "False", "ConnectorStopped")
        # paused: hands off
        self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"firn.dev/pause-reconciliation": "true"}}}, self.namespace)
        looks = self.looks()
        self.kube.patch("Connector", "shop", {"spec": {"state": "Running"}}, self.namespace)
        self.until(lambda: self.looks() >= looks + 1, "it looked")
        self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"firn.dev/pause-reconciliation": None}}}, self.namespace)
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "it runs again")

    def test_mistakes_are_named_and_mended(self):
        self.started()
        # the Secret is not there: nothing is made, and it is said; then it comes
        self.kube.apply(shop(self.namespace))
        found = self.wait_condition("Connector", "shop", "Stalled", "True", "SecretMissing")
        self.assertIn("Secret shop-db", found["message"])
        self.assertEqual(health(self.get("Connector", "shop")), ("Degraded", f"SecretMissing: {found['message']}"))
        self.assertIsNone(self.find("Deployment", "shop-capture"))
        self.wait_event("Connector", "shop", "SecretMissing")
        self.secret()
        self.wait_children()
        self.until(self.all_ready, "everything is ready")
        self.wait_condition("Connector", "shop", "Stalled", "False")
        # two units on one table: the younger is refused, the older goes on
        other = {"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": "zz-second", "namespace": self.namespace},
                 "spec": {"connectorRef": {"name": "shop", "table": "public.x"}, "lakeTableRef": {"name": "orders"}}}  # fmt: skip
        self.kube.apply(json.dumps(other))
        found = self.wait_condition("IngestionUnit", "zz-second", "Stalled", "True", "InvalidSpec")
        self.assertIn("is filled by IngestionUnit orders already", found["message"])
        self.wait_event("IngestionUnit", "zz-second", "InvalidSpec")
        self.assertTrue(self.is_condition("IngestionUnit", "orders", "Stalled", "False"))
        # a table that is not there: on its way at first, then it stalls; then it comes
        other["spec"]["lakeTableRef"]["name"] = "later"
        self.kube.apply(json.dumps(other))
        self.wait_condition("IngestionUnit", "zz-second", "Reconciling", "True", "LakeTableMissing")
        self.wait_condition("IngestionUnit", "zz-second", "Stalled", "True", "LakeTableMissing")
        self.wait_event("IngestionUnit", "zz-second", "LakeTableMissing")
        self.kube.apply(json.dumps({"apiVersion": "firn.dev/v1alpha1", "kind": "LakeTable", "metadata": {"name": "later", "namespace": self.namespace},
                                    "spec": {"catalog": {"warehouse": "/lake"}, "database": "retail", "tableName": "later"}}))  # fmt: skip
        self.until(lambda: "public.x" in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "it is in the manifest")
        self.until(lambda: self.all_ready() and self.is_condition("IngestionUnit", "zz-second", "Ready", "True"), "it is ready")
        # a table whose Secret is not there: its unit waits, and no other
        self.kube.apply(json.dumps({"apiVersion": "firn.dev/v1alpha1", "kind": "LakeTable", "metadata": {"name": "kept", "namespace": self.namespace},
                                    "spec": {"catalog": {"warehouse": "s3://bucket/lake"}, "storage": {"credentialsSecretRef": {"name": "lake-s3"}},
                                             "database": "retail", "tableName": "kept"}}))  # fmt: skip
        self.kube.apply(json.dumps({**other, "metadata": {"name": "kept", "namespace": self.namespace},
                                    "spec": {"connectorRef": {"name": "shop", "table": "public.kept"}, "lakeTableRef": {"name": "kept"}}}))  # fmt: skip
        found = self.wait_condition("IngestionUnit", "kept", "Stalled", "True", "SecretMissing")
        self.assertIn("Secret lake-s3", found["message"])
        self.wait_event("IngestionUnit", "kept", "SecretMissing")
        self.until(self.all_ready, "the others go on")
        self.assertNotIn("public.kept", self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"])
        self.secret("lake-s3")
        self.until(lambda: "public.kept" in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "it is in the manifest")
        self.until(lambda: self.all_ready() and self.is_condition("IngestionUnit", "kept", "Ready", "True"), "it is ready")
        # a unit without its Connector
        self.kube.apply(json.dumps({**other, "metadata": {"name": "alone", "namespace": self.namespace},
                                    "spec": {"connectorRef": {"name": "nobody", "table": "public.y"}, "lakeTableRef": {"name": "later"}}}))  # fmt: skip
        self.wait_condition("IngestionUnit", "alone", "Stalled", "True", "ConnectorMissing")

    def test_what_pods_say(self):
        self.started()
        self.settle()
        self.run_deployment(0)
        log = json.dumps({"msg": "stopped", "reason": "SlotMissing", "error": "slot firn_shop is gone: --resnapshot '*.*'"})
        ended = {"exitCode": 3, "message": f"{log}\n", "reason": "Error"}
        self.make_pod("one", {"phase": "Running", "containerStatuses": [
            {"name": "agent", "ready": False, "restartCount": 2, "image": "x", "imageID": "", "lastState": {"terminated": ended},
             "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]})  # fmt: skip
        found = self.wait_condition("Connector", "shop", "Stalled", "True", "SlotMissing")
        self.assertIn("slot firn_shop is gone", found["message"])
        self.wait_condition("IngestionUnit", "orders", "Stalled", "True", "SlotMissing")
        self.wait_condition("LakeTable", "orders", "Stalled", "True", "SlotMissing")
        self.remove_pod("one")
        self.run_deployment()
        self.wait_condition("LakeTable", "orders", "Ready", "True")

    def test_a_stream(self):
        """Topics in between: the Connector's Pod fills them, and each unit has Pods of its own."""
        self.started()
        self.secret()
        documents = list(yaml.safe_load_all(shop(self.namespace)))
        documents[0]["spec"]["stream"] = {"kafka": {"bootstrapServers": "kafka:9092"}}
        self.kube.apply(yaml.safe_dump(documents[0]))
        capture = self.until(lambda: self.find("Deployment", "shop-capture"), "it needs no unit")
        arguments = capture["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertEqual(arguments[0], "capture")
        generation = capture["metadata"]["generation"]
        documents[2]["spec"]["numberOfConsumers"] = 2
        self.kube.apply(yaml.safe_dump_all(documents[1:]))
        ingest = self.until(lambda: self.find("Deployment", "orders-ingest"), "the unit's own")
        (container,) = ingest["spec"]["template"]["spec"]["containers"]
        self.assertEqual((container["args"][0], ingest["spec"]["replicas"]), ("ingest", 2))
        path = self.folder / "manifest.yaml"
        path.write_text(self.get("ConfigMap", "orders-ingest")["data"]["manifest.yaml"])
        self.assertIn("valid: 1 connectors, 1 tables, 1 units", command("validate", "-f", path).stdout)
        path.write_text(self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"])
        self.assertIn("valid: 1 connectors, 0 tables, 0 units", command("validate", "-f", path).stdout)
        # what the unit or its table has changed is not the capture's to read again; a Secret is both's
        self.kube.call("PATCH", self.kube.path("IngestionUnit", "orders", self.namespace, "/scale"), {"spec": {"replicas": 3}},
                       "application/merge-patch+json")  # fmt: skip
        self.until(lambda: self.get("Deployment", "orders-ingest")["spec"]["replicas"] == 3, "kubectl scale scales it")
        self.assertEqual(self.get("Deployment", "shop-capture")["metadata"]["generation"], generation)
        before = self.get("Deployment", "orders-ingest")["spec"]["template"]
        self.secret(password="another")
        self.until(lambda: self.get("Deployment", "orders-ingest")["spec"]["template"] != before, "a Secret's change rolls the consumers")
        # without the stream the Connector's Pod fills the tables
        self.kube.patch("Connector", "shop", {"spec": {"stream": None}}, self.namespace)
        self.wait_condition("IngestionUnit", "orders", "Stalled", "True", "InvalidSpec")  # three consumers of nothing
        self.kube.patch("IngestionUnit", "orders", {"spec": {"numberOfConsumers": 1}}, self.namespace)
        self.until(lambda: self.find("Deployment", "orders-ingest") is None, "the unit's own Pods go")
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["template"]["spec"]["containers"][0]["args"][0] == "run", "it runs")

    def containers(self, deployment: str) -> dict[str, dict]:
        return {one["name"]: one for one in self.get("Deployment", deployment)["spec"]["template"]["spec"]["containers"]}

    def test_maintained(self):
        """A table asks for its orphans to be removed: beside each agent that fills it a container does, and goes again."""
        self.started()
        self.secret()
        self.kube.apply(shop(self.namespace))
        self.until(lambda: self.find("Deployment", "shop-capture"), "it runs")
        self.assertEqual(set(self.containers("shop-capture")), {"agent"})
        ask = {"spec": {"maintenance": {"orphanFiles": {"olderThan": "3d"}}}}
        self.kube.patch("LakeTable", "orders", ask, self.namespace)
        self.until(lambda: len(self.containers("shop-capture")) == 2, "it has a container for it")
        agent, beside = (self.containers("shop-capture")[name] for name in ("agent", "maintain"))
        self.assertIn("--no-maintenance", agent["args"])
        self.assertEqual((beside["args"][0], beside["image"]), ("maintain", agent["image"]))
        self.assertEqual(beside["securityContext"], agent["securityContext"])
        self.assertEqual([one for one in agent["volumeMounts"] if one["name"] != "channel"], beside["volumeMounts"])
        documents = yaml.safe_load_all(self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"])
        (read,) = [one["spec"] for one in documents if one and one["kind"] == "LakeTable"]
        self.assertEqual(read["maintenance"]["orphanFiles"], {"olderThan": "3d"})
        # by way of topics the unit's Pods do it, and the Connector's have no table
        self.kube.patch("Connector", "shop", {"spec": {"stream": {"kafka": {"bootstrapServers": "kafka:9092"}}}}, self.namespace)
        self.until(lambda: self.find("Deployment", "orders-ingest"), "the unit's own")
        self.assertEqual(set(self.containers("orders-ingest")), {"agent", "maintain"})
        self.until(lambda: set(self.containers("shop-capture")) == {"agent"}, "the Connector's has none")
        self.kube.patch("LakeTable", "orders", {"spec": {"maintenance": None}}, self.namespace)
        self.until(lambda: set(self.containers("orders-ingest")) == {"agent"}, "it goes")
        self.assertNotIn("--no-maintenance", self.containers("orders-ingest")["agent"]["args"])

    @staticmethod
    def tables(**rows: int) -> dict[str, dict]:
        return {f"all-public-{table}": {"table": f"public.{table}", "rows": count, "copied": count, "toCopy": 5, "copying": 0, "upkeep": 1}
                for table, count in rows.items()}  # fmt: skip

    def test_a_patterns_tables_and_their_figures(self):
        """What an agent reports of rows and tables."""
        self.channel_started()
        self.secret()
        documents = list(yaml.safe_load_all(shop(self.namespace)))
        documents[2:] = [{"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": "all", "namespace": self.namespace},
                          "spec": {"connectorRef": {"name": "shop", "tables": ["public.*"]}, "sla": {"freshness": "10s"},
                                   "outsourcingUnit": {"table": {"catalog": {"warehouse": "/lake"}, "database": "retail"}}}}]  # fmt: skip
        self.kube.apply(yaml.safe_dump_all(documents))
        self.wait_children()
        manifest = self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"]
        self.run_deployment(0)
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        agent.say("Snapshotting", self.tables(a=5, b=0), lag=0)
        found = self.wait_condition("Connector", "shop", "Reconciling", "True", "Copying")
        self.assertIn("5 of about 10 rows", found["message"])
        agent.say("Streaming", self.tables(a=5, b=7), lag=4100, freshness=2000, logStatus=1)
        self.run_deployment()
        self.until(lambda: self.rows("all-public-a") == 5 and self.rows("all-public-b") == 7, "each table has a unit that says its rows")
        self.until(lambda: self.rows("all") == 12, "the pattern's unit says all of them")
        unit = self.get("IngestionUnit", "all-public-a")
        self.assertEqual(unit["spec"]["connectorRef"], {"name": "shop", "table": "public.a"})
        self.assertEqual(unit["metadata"]["ownerReferences"][0]["name"], "all")
        self.wait_condition("IngestionUnit", "all-public-a", "Ready", "True")
        table = self.until(lambda: self.find("LakeTable", "all-public-a"), "its table")
        self.assertEqual((table["spec"]["database"], table["spec"]["tableName"]), ("retail", "a"))
        status = self.get("IngestionUnit", "all")["status"]
        self.assertEqual(status["lag"], "4Ki")
        self.assertRegex(status["freshAt"], "^20..-")
        self.wait_condition("IngestionUnit", "all", "Fresh", "True", "InTime")
        self.assertEqual(self.get("Connector", "shop")["status"]["tables"], 2)
        for name, reason in (("SourceReachable", "Reachable"), ("SnapshotComplete", "Complete"), ("LogHeadroom", "Enough")):
            self.wait_condition("Connector", "shop", name, "True", reason)
        self.wait_condition("LakeTable", "all-public-a", "SchemaInSync", "True", "InSync")
        self.wait_condition("LakeTable", "all-public-a", "Maintained", "True", "ByCommits")
        # one scrape shows all agents
        labels = f'{{kind="Connector",namespace="{self.namespace}",name="shop"}}'
        metrics = self.operator.http("/metrics")[1]
        self.assertIn(f"firn_agents_lag_bytes{labels} 4100\n", metrics)
        self.assertIn(f"firn_agents_rows{labels} 12\n", metrics)
        self.assertIn("firn_channel_connections 1\n", metrics)
        # they are to be seen, and not to be read: the Pod's manifest is as it was
        self.assertEqual(self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], manifest)
        # put back when somebody deletes one
        self.kube.delete("IngestionUnit", "all-public-b", self.namespace)
        self.until(lambda: (again := self.find("IngestionUnit", "all-public-b")) and again["metadata"]["uid"] != unit["metadata"]["uid"], "it is back")
        # what is wrong is said at once, and so is that it is well again
        agent.say("Retrying", reason="ConnectionLost", error="the server is away", lag=4100)
        found = self.wait_condition("Connector", "shop", "Ready", "False", "ConnectionLost")
        self.assertIn("the server is away", found["message"])
        self.wait_condition("Connector", "shop", "SourceReachable", "False", "ConnectionLost")
        self.wait_condition("IngestionUnit", "all-public-a", "Ready", "False", "ConnectionLost")
        self.wait_condition("LakeTable", "all-public-a", "SchemaInSync", "Unknown", "NotReported")
        agent.say("Streaming", lag=0, freshness=11000)
        self.wait_condition("Connector", "shop", "Ready", "True", "Streaming")
        self.wait_condition("IngestionUnit", "all", "Fresh", "False", "Late")
        # the process begins again, and does not have one of its tables any more: gone with it
        agent.stop()
        agent = self.agent("agent")
        agent.say("Streaming", self.tables(b=8), lag=0, freshness=0)
        self.until(lambda: self.find("IngestionUnit", "all-public-a") is None, "its table is gone, and so is it")
        self.until(lambda: self.find("LakeTable", "all-public-a") is None, "and its LakeTable")
        self.until(lambda: self.rows("all-public-b") == 8, "the other goes on")

    def requests(self, kind: str = "Connector", name: str = "shop") -> list[dict]:
        return self.get(kind, name)["status"].get("requests", [])

    def annotate(self, text: str | None, kind: str = "Connector", name: str = "shop", what: str = "resnapshot"):
        self.kube.patch(kind, name, {"metadata": {"annotations": {f"firn.dev/{what}": text}}}, self.namespace)

    def orders_of_pods(self, name: str = "shop-capture") -> dict:
        return json.loads(self.get("ConfigMap", name)["data"].get("orders.json", '{"orders": {}}'))["orders"]

    def test_what_is_asked_of_an_agent(self):
        """Once for each id, whoever runs the operator and the agent; told to who runs, and no Pod is rolled."""
        self.channel_started()
        self.apply_shop()
        self.wait_children()
        self.until(self.all_ready, "everything is ready")
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        agent.say("Streaming", lag=0, logStatus=1)
        generation = self.get("Deployment", "shop-capture")["metadata"]["generation"]
        self.annotate("public.orders first alice@example.com")
        self.until(lambda: agent.orders == [{"resnapshot": "public.orders first alice@example.com"}], "the agent is asked, once")
        (request,) = self.until(self.requests, "its status says so")
        self.assertRegex(request.pop("askedAt"), "^20..-")
        wanted = {"kind": "Resnapshot", "id": "first", "by": "alice@example.com", "tables": ["public.orders"], "state": "Waiting"}
        self.assertEqual(request, wanted)
        self.assertEqual(self.orders_of_pods(), agent.orders[0])
        agent.say("Snapshotting", lag=0, logStatus=1, request="first", requestState="Running")
        self.until(lambda: self.requests()[0]["state"] == "Running", "it is under way")
        # somebody else works, and the agent begins again: both know
        self.operator.kill()
        agent.stop()
        self.start("two", None, "--figures-interval=1s", f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost")
        self.until(self.operator.working, "another one works")
        agent = self.agent("agent")
        agent.say("Streaming", lag=0, logStatus=1)
        self.until(lambda: len(agent.orders) == 1, "the agent is asked again")
        self.assertEqual(len(self.requests()), 1)
        agent.say("Streaming", lag=0, logStatus=1, request="first", requestState="Done")
        self.until(lambda: self.requests()[0]["state"] == "Done", "it is done")
        self.assertRegex(self.requests()[0]["endedAt"], "^20..-")
        self.until(lambda: agent.orders[-1] == {}, "nothing is asked any more")
        self.until(lambda: self.orders_of_pods() == {}, "nor of a Pod that begins")
        # a pause, and a request that the agent refuses beside it
        self.kube.patch("Connector", "shop", {"spec": {"state": "Paused"}}, self.namespace)
        self.until(lambda: agent.orders[-1] == {"pause": True}, "it is to pause")
        self.assertEqual(self.orders_of_pods(), {"pause": True})
        agent.say("Paused", lag=5, logStatus=1, request="first", requestState="Done")
        self.wait_condition("Connector", "shop", "Ready", "True", "Paused")
        self.assertEqual(self.get("Connector", "shop")["status"]["phase"], "Paused")
        self.wait_condition("IngestionUnit", "orders", "Ready", "True", "Paused")
        self.wait_condition("Connector", "shop", "SourceReachable", "True")
        self.annotate("public.nosuch second")
        self.until(lambda: agent.orders[-1] == {"pause": True, "resnapshot": "public.nosuch second"}, "both are asked")
        agent.say("Paused", lag=5, logStatus=1, request="second", requestState="Refused", requestWhy="there is none")
        self.until(lambda: self.requests()[0].get("message") == "there is none", "why it is refused stands there")
        self.annotate("orders")  # what can't be read is nobody's to do
        found = self.until(lambda: len(self.requests()) == 3 and self.requests()[0], "it is refused")
        self.assertEqual((found["state"], found["message"].partition(":")[0]), ("Refused", 'there is no table "orders"'))
        self.kube.patch("Connector", "shop", {"spec": {"state": "Running"}}, self.namespace)
        self.until(lambda: agent.orders[-1] == {}, "it goes on")
        self.assertEqual([one["id"] for one in self.requests()][1:], ["second", "first"])
        self.assertEqual(self.get("Deployment", "shop-capture")["metadata"]["generation"], generation, "no Pod was rolled")
        events = self.kube.call("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        said = [one["message"] for one in events if one["reason"] == "Resnapshot"]
        self.assertIn("copying again is asked for by alice@example.com, as first", said)
        self.assertIn("copying again, as first: Done", said)
        self.assertIn("copying again, as second: Refused: there is none", said)

    def test_what_is_asked_of_a_unit(self):
        """Its own process is asked, one thing at a time, and says from where to where its table went; that lasts."""
        self.channel_started()
        self.secret()
        documents = list(yaml.safe_load_all(shop(self.namespace)))
        self.kube.apply(yaml.safe_dump_all(documents))
        self.wait_children()
        rollback = {"kind": "IngestionUnit", "name": "orders", "what": "rollback"}
        self.annotate("7 early", **rollback)  # its Connector's Pod fills it, from the source's log
        found = self.until(lambda: self.requests("IngestionUnit", "orders")[:1], "it is refused")[0]
        self.assertEqual((found["kind"], found["state"], found["target"]), ("Rollback", "Refused", "7"))
        self.assertIn("kubectl firn resnapshot", found["message"])
        self.kube.patch("Connector", "shop", {"spec": {"stream": {"kafka": {"bootstrapServers": "kafka:9092"}}}}, self.namespace)
        generation = self.until(lambda: self.find("Deployment", "orders-ingest"), "the unit's own")["metadata"]["generation"]
        self.make_pod("agent", {"phase": "Running"}, "orders-ingest")
        agent = self.agent("agent", "orders-ingest")
        agent.say("Streaming")
        self.annotate("2026-11-22T00:00:00Z first alice@example.com", **rollback)
        self.annotate("0:17 second", **rollback | {"what": "positions"})
        self.until(lambda: agent.orders == [{"rollback": "2026-11-22T00:00:00Z first alice@example.com"}], "one of them is asked")
        self.until(lambda: self.orders_of_pods("orders-ingest") == agent.orders[0], "a Pod that begins is asked, too")
        # somebody else works meanwhile
        self.operator.kill()
        agent.stop()
        self.start("two", None, "--figures-interval=1s", f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost")
        self.until(self.operator.working, "another one works")
        agent = self.agent("agent", "orders-ingest")
        agent.say("Streaming")
        self.until(lambda: len(agent.orders) == 1, "the agent is asked again")
        agent.say("Streaming", request="first", requestState="Done", requestFrom="9@12,9", requestTo="5@4,4")
        self.until(lambda: agent.orders[-1] == {"positions": "0:17 second"}, "then the other")
        found = {one["id"]: one for one in self.requests("IngestionUnit", "orders")}
        self.assertEqual((found["first"]["state"], found["first"]["from"], found["first"]["to"]), ("Done", "9@12,9", "5@4,4"))
        self.assertEqual((found["first"]["by"], found["second"]["state"]), ("alice@example.com", "Waiting"))
        agent.say("Streaming", request="second", requestState="Refused", requestWhy="it begins at 20")
        self.until(lambda: agent.orders[-1] == {}, "nothing is asked any more")
        found = {one["id"]: one for one in self.requests("IngestionUnit", "orders")}
        self.assertEqual((found["second"]["state"], found["second"]["message"]), ("Refused", "it begins at 20"))
        self.assertEqual(self.get("Deployment", "orders-ingest")["metadata"]["generation"], generation, "no Pod was rolled")
        events = self.kube.call("GET", f"/api/v1/namespaces/{self.namespace}/events")["items"]
        said = [one["message"] for one in events if one["reason"] in ("Rollback", "Positions")]
        self.assertIn("a rollback, as first: Done, from 9@12,9 to 5@4,4", said)
        self.assertIn("going on from other positions, as second: Refused: it begins at 20", said)

    def test_never_ready_when_nobody_is_heard(self):
        self.channel_started()
        self.apply_shop()
        self.wait_children()
        self.until(self.all_ready, "everything is ready, for as long as an agent may need")
        self.make_pod("agent", {"phase": "Running"})
        found = self.wait_condition("Connector", "shop", "Ready", "Unknown", "AgentSilent")
        self.assertIn("has not been heard yet", found["message"])
        self.wait_condition("IngestionUnit", "orders", "Ready", "Unknown", "AgentSilent")
        self.assertEqual(health(self.get("Connector", "shop"))[0], "Progressing")
        agent = self.agent("agent")
        agent.say("Streaming", lag=0, logStatus=1)
        self.until(self.all_ready, "everything is ready again")
        self.wait_condition("Connector", "shop", "LogHeadroom", "True")
        agent.stop()
        began = time.monotonic()
        found = self.wait_condition("Connector", "shop", "Ready", "Unknown", "AgentSilent")
        self.assertLess(time.monotonic() - began, 30 * float(os.environ.get("FIRN_SLOW", "1")))
        self.assertRegex(found["message"], "heard last at 20..-")
        self.wait_condition("Connector", "shop", "LogHeadroom", "Unknown", "AgentSilent")

    def refusal(self, token: str) -> str | None:
        """Why it is refused; None: it is taken."""
        connection = Connection(self.port, self.trust())
        try:
            connection.hello(token)
            return None
        except Closed as closed:
            return str(closed)
        finally:
            connection.close()

    def other_pod(self, name: str, account: str | None, labels: dict, namespace: str = None):
        """One that the operator did not ask for; account None: that of its namespace's Connector."""
        namespace = namespace or self.namespace
        if account:
            self.kube.apply(json.dumps({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}))
        spec = {"serviceAccountName": account or "shop-capture", "containers": [{"name": "a", "image": "a"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
        self.kube.call("POST", self.kube.path("Pod", None, namespace), pod)

    def bound_token(self, account: str, kind: str, name: str, namespace: str) -> str:
        spec = {"audiences": ["firn-channel"], "expirationSeconds": 600, "boundObjectRef": {
            "kind": kind, "apiVersion": "v1", "name": name, "uid": self.kube.get(kind, name, namespace)["metadata"]["uid"]}}  # fmt: skip
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.kube.call("POST", self.kube.path("ServiceAccount", account, namespace, "/token"), request)["status"]["token"]

    def test_whom_the_channel_listens_to(self):
        """Tokens of the real API server: each must be this cluster's, valid now, meant for the channel, and an agent's Pod's."""
        other = f"{self.namespace}-other"
        self.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {other}}}}}")
        self.addCleanup(self.kube.delete, "Namespace", other)
        self.channel_started(f"--namespace={other}")
        self.apply_shop()
        self.wait_children()
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        labels = self.get("Pod", "agent")["metadata"]["labels"]
        self.other_pod("plain", "other", {})
        self.other_pod("disguised", "other", labels)
        self.other_pod("agent", "shop-capture", labels, other)  # the same names in another namespace
        node = f"{self.namespace}-node"
        self.kube.apply(f"{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}}}")
        self.addCleanup(self.kube.delete, "Node", node)
        good, now = self.token("agent"), int(time.time())
        forged = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB")
        cases = {
            "another audience": (self.token("agent", audience="vault"), "TokenRefused"),
            "the API server's own": (self.token("agent", audience="https://kubernetes.default.svc"), "TokenRefused"),
            "expired": (self.kube.signed(good, iat=now - 7200, nbf=now - 7200, exp=now - 3600), "TokenRefused"),
            "not valid yet": (self.kube.signed(good, nbf=now + 3600, exp=now + 7200), "TokenRefused"),
            "somebody else's signature": (forged, "TokenRefused"),
            "of no Pod": (self.token(None), "NoPod"),
            "a node's": (self.bound_token("shop-capture", "Node", node, self.namespace), "NoPod"),
            "a second namespace's": (self.bound_token("shop-capture", "Pod", "agent", other), "ForeignPod"),
            "a Pod without the labels": (self.token("plain", "other"), "NotNow"),  # no watch tells of it
            "with the labels and another account": (self.token("disguised", "other"), "ForeignPod"),
            "no token": ("nonsense", "TokenRefused"),
        }
        for what, (token, reason) in cases.items():
            with self.subTest(what):
                self.until(lambda token=token, reason=reason: self.refusal(token) == reason, f"{what} is refused as {reason}")
        self.assertIsNone(self.refusal(self.kube.signed(good)), "signed anew, with the claims as they were")
        self.assertEqual((self.channel_tls(), self.channel_tls(ssl.TLSVersion.TLSv1_2)), ("TLSv1.3", "TLSv1.2"))
        with self.assertRaisesRegex(ssl.SSLError, "alert protocol version"):
            self.channel_tls(ssl.TLSVersion.TLSv1_1)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.channel_tls(host="elsewhere")
        # another Connector of the same name, in the second namespace: its Pod speaks for it, and for nobody else
        for kind, name in (("Pod", "agent"), ("ServiceAccount", "shop-capture")):
            self.kube.delete(kind, name, other, "Background&gracePeriodSeconds=0")
        self.kube.secret("shop-db", other, username="firn", password="secret")
        self.kube.apply(shop(other))
        self.until(lambda: self.kube.find("Deployment", "shop-capture", other), "it has Pods")
        self.other_pod("agent", None, labels, other)
        self.remove_pod("disguised")
        self.run_deployment()
        self.run_deployment(namespace=other)
        agent.say("Streaming", lag=0, logStatus=1)
        self.wait_condition("Connector", "shop", "SourceReachable", "True", "Reachable")
        token = self.bound_token("shop-capture", "Pod", "agent", other)
        self.until(lambda: self.refusal(token) is None, "it is heard")
        namesake = self.agent("agent", token=token)
        namesake.say("Retrying", reason="ConnectionLost", error="said by the namesake", lag=9)
        self.until(lambda: condition(self.kube.get("Connector", "shop", other), "SourceReachable").get("reason") == "ConnectionLost", "its own says so")
        self.assertTrue(self.is_condition("Connector", "shop", "SourceReachable", "True", "Reachable"))
        self.assertNotIn("namesake", json.dumps(self.get("Connector", "shop")["status"]))
        # the Pod goes, and its token with it: also for another Pod of its name
        agent.stop()
        self.remove_pod("agent")
        self.until(lambda: self.refusal(good) == "TokenRefused", "the Pod's token is no good any more")
        self.make_pod("agent", {"phase": "Running"})
        self.agent("agent")
        self.assertEqual(self.refusal(good), "TokenRefused")
        text = self.operator.http("/metrics")[1]
        for reason in {reason for _, reason in cases.values()}:
            self.assertRegex(text, rf'firn_channel_refused_total{{reason="{reason}"}} [1-9]')
        self.assertNotIn(good, self.operator.text())

    def channel_arguments(self) -> list[str]:
        return self.get("Deployment", "shop-capture")["spec"]["template"]["spec"]["containers"][0]["args"]

    def channel_tls(self, most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED, host: str = "localhost") -> str:
        """The version that is spoken with who can speak so much."""
        context = ssl.create_default_context(cadata=self.trust())
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # it is not this end that refuses
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, most
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as to, context.wrap_socket(to, server_hostname=host) as connection:
            return connection.version()

    def test_agents_find_who_took_over(self):
        """Two operators one after the other, with the same keys; what the Pods are given to find them."""
        self.channel_started()
        self.apply_shop()
        self.wait_children()
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        trust = self.trust()
        secret = self.get("Secret", "firn-operator-channel")
        self.assertEqual(set(secret["data"]), {"ca.crt", "ca.key", "tls.crt", "tls.key"})
        agent.say("Streaming", lag=0)
        first, before = self.operator, self.port
        self.port = free_port()
        self.start("two", None, "--figures-interval=1s", f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost")
        self.until(self.operator.ready, "the other one stands by")
        with self.assertRaises(ConnectionRefusedError):
            self.channel_tls()  # who works listens, and nobody else
        first.kill()
        self.until(self.operator.working, "the other one works")
        self.until(lambda: f"--channel=localhost:{self.port}" in self.channel_arguments(), f"Pods are told another port than {before}")
        again = self.agent("agent")
        again.say("Streaming", lag=7)
        self.until(lambda: "firn_channel_connections 1\n" in self.operator.http("/metrics")[1], "it is heard")
        self.assertEqual(self.trust(), trust)
        self.assertEqual(self.get("Secret", "firn-operator-channel")["data"], secret["data"])
        template = self.get("Deployment", "shop-capture")["spec"]["template"]["spec"]
        (volume,) = [one for one in template["volumes"] if one["name"] == "channel"]
        (source,) = volume["projected"]["sources"]
        self.assertEqual(source["serviceAccountToken"]["audience"], "firn-channel")

    def rows(self, unit: str):
        return (self.find("IngestionUnit", unit) or {}).get("status", {}).get("rows")

    def test_somebody_elses_name(self):
        self.started()
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-capture", "namespace": self.namespace}, "data": {"a": "b"}}
        self.kube.apply(json.dumps(config))
        self.apply_shop()
        found = self.wait_condition("Connector", "shop", "Stalled", "True", "NameTaken")
        self.assertIn("ConfigMap shop-capture", found["message"])
        self.assertEqual(self.get("ConfigMap", "shop-capture")["data"], {"a": "b"})
        self.kube.delete("ConfigMap", "shop-capture", self.namespace)
        self.wait_children()

    def test_one_name_in_kafka(self):
        """Kafka has no namespaces: test-1/x-c and test-1-x/c are one consumer group. On the same brokers the younger waits."""
        other = f"{self.namespace}-x"
        self.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {other}}}}}")
        self.addCleanup(self.kube.delete, "Namespace", other)
        self.started("one", None, f"--namespace={other}")

        def unit(namespace: str, name: str, brokers: str):
            document = {"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": name, "namespace": namespace}, "spec": {
                "kafka": {"topic": "clicks", "brokers": brokers, "incomingData": "Json"},
                "outsourcingUnit": {"table": {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": name, "mode": "Append",
                                              "columns": [{"name": "a", "type": "string"}]}}}}  # fmt: skip
            self.kube.apply(json.dumps(document))

        def deployment(namespace: str, name: str):
            return self.kube.find("Deployment", f"{name}-ingest", namespace)

        unit(self.namespace, "x-c", "one:9092,two:9092")
        self.until(lambda: deployment(self.namespace, "x-c"), "the elder has Pods")
        made = self.get("IngestionUnit", "x-c")["metadata"]["creationTimestamp"]
        self.until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > made, "another second, for they are told apart by seconds")
        unit(other, "c", "three:9092")
        self.until(lambda: deployment(other, "c"), "on other brokers they don't meet")
        unit(other, "c", "three:9092,two:9092")
        found = self.until(lambda: (one := condition(self.kube.get("IngestionUnit", "c", other), "Stalled")).get("reason") == "NameTaken" and one,
                           "the younger waits")  # fmt: skip
        self.assertIn(f"IngestionUnit x-c of namespace {self.namespace}", found["message"])
        self.assertIn(f"firn-{self.namespace}-x-c", found["message"])
        self.until(lambda: deployment(other, "c") is None, "it has no Pods")
        self.assertIsNotNone(deployment(self.namespace, "x-c"))
        self.kube.delete("IngestionUnit", "x-c", self.namespace)
        self.until(lambda: deployment(other, "c"), "it goes on by itself")

    def test_a_refusing_webhook(self):
        """One that refuses, then one that nobody reaches: each is said, and gone by itself when it is mended."""
        with Webhook(self.kube.folder, "no Deployments on Sundays") as webhook:
            hook = {"name": "sundays.firn.test", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
                    "timeoutSeconds": 2, "clientConfig": {"url": webhook.url, "caBundle": webhook.authority()},
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
                    "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE", "UPDATE"]}]}  # fmt: skip
            self.kube.apply(json.dumps({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                                        "metadata": {"name": self.namespace}, "webhooks": [hook]}))  # fmt: skip
            self.addCleanup(self.kube.delete, "ValidatingWebhookConfiguration", self.namespace)
            self.started()
            self.apply_shop()
            found = self.wait_condition("Connector", "shop", "Stalled", "True", "ObjectRefused")
            self.assertIn("no Deployments on Sundays", found["message"])
            self.assertGreater(webhook.asked, 0)
            self.wait_condition("IngestionUnit", "orders", "Stalled", "True", "ObjectRefused")
            self.assertIsNone(self.find("Deployment", "shop-capture"))
            self.assertIsNotNone(self.find("ConfigMap", "shop-capture"))
            self.wait_event("Connector", "shop", "ObjectRefused")
            webhook.refusal = None
            self.until(lambda: self.find("Deployment", "shop-capture"), "it is made without anybody's doing")
            self.until(self.all_ready, "everything is ready")
            before = self.get("Deployment", "shop-capture")["spec"]["template"]
        self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": "5s"}}, self.namespace)
        found = self.wait_condition("Connector", "shop", "Stalled", "True", "ObjectRefused")
        self.assertIn("failed calling webhook", found["message"])
        self.assertEqual(self.get("Deployment", "shop-capture")["spec"]["template"], before)
        with Webhook(self.kube.folder, None, webhook.port):
            self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["template"] != before, "the change is in its Deployment")
            self.until(self.all_ready, "everything is ready")

    def wait_event(self, kind: str, name: str, reason: str):
        """A Warning of it."""

        def told():
            return any((event["type"], event["reason"]) == ("Warning", reason) and event["involvedObject"]["name"] == name
                       and event["involvedObject"]["kind"] == kind for event in self.kube.all_of("Event", self.namespace))  # fmt: skip

        self.until(told, f"an Event of {kind}/{name} says {reason}")

    def test_deletion(self):
        """The slot first, by a Job; then everything goes."""
        self.started()
        self.settle()
        self.kube.delete("Connector", "shop", self.namespace)
        job = self.until(lambda: self.find("Job", "shop-drop"), "the Job that drops the slot")
        self.assertEqual(job["spec"]["template"]["spec"]["containers"][0]["args"][0], "drop")
        self.assertIsNone(self.find("Deployment", "shop-capture"))
        self.assertIsNotNone(self.find("Connector", "shop"))
        manifest = self.get("ConfigMap", "shop-drop")["data"]["manifest.yaml"]
        self.assertIn("Connector", manifest)
        self.assertNotIn("LakeTable", manifest)  # no table is dropped with it
        self.finish_job("shop-drop")
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        for kind in CHILDREN:
            self.until(lambda kind=kind: self.find(kind, "shop-capture") is None, f"{kind} is gone")
        self.until(lambda: self.find("ConfigMap", "shop-drop") is None, "the Job's manifest is gone")
        self.wait_condition("IngestionUnit", "orders", "Stalled", "True", "ConnectorMissing")
        self.kube.delete("IngestionUnit", "customers", self.namespace)
        self.until(lambda: self.find("LakeTable", "customers") is None, "the unit's table goes with it")
        self.assertIsNotNone(self.find("LakeTable", "orders"))

    def test_a_table_that_is_to_be_dropped(self):
        """Not while it is filled; then by a Job with the Connector's volumes; what can't be dropped is named."""
        self.started()
        self.secret()
        documents = list(yaml.safe_load_all(shop(self.namespace)))
        documents[0]["spec"]["agent"] = {"podTemplate": {"spec": {"volumes": [{"name": "lake", "emptyDir": {}}]}}}
        documents[1]["spec"]["deletionPolicy"] = "Drop"
        documents[3]["spec"]["outsourcingUnit"]["table"]["deletionPolicy"] = "Drop"
        self.kube.apply(yaml.safe_dump_all(documents))
        self.wait_children()
        self.until(self.all_ready, "everything is ready")
        for name in ("orders", "customers"):
            self.until(lambda name=name: self.get("LakeTable", name)["status"].get("connector") == "shop", "it is known whose Pods reach it")
            self.assertEqual(self.get("LakeTable", name)["metadata"]["finalizers"], ["firn.dev/table"])
        # asked for and taken back
        self.kube.patch("LakeTable", "orders", {"spec": {"deletionPolicy": "Retain"}}, self.namespace)
        self.until(lambda: not self.get("LakeTable", "orders")["metadata"].get("finalizers"), "nothing keeps it")
        self.kube.patch("LakeTable", "orders", {"spec": {"deletionPolicy": "Drop"}}, self.namespace)
        self.until(lambda: self.get("LakeTable", "orders")["metadata"].get("finalizers"), "it will be dropped")
        self.until(self.all_ready, "everything is ready")
        before = self.get("Deployment", "shop-capture")["metadata"]["generation"]
        self.kube.delete("LakeTable", "orders", self.namespace)
        self.until(lambda: '"public.orders"' not in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "it is filled no more")
        self.wait_condition("IngestionUnit", "orders", "Reconciling", "True", "LakeTableMissing")
        self.until(lambda: self.get("Deployment", "shop-capture")["metadata"]["generation"] > before, "new Pods are asked for")
        self.assertIsNone(self.find("Job", "orders-drop-table"))  # the Pods of before may run
        self.run_deployment()
        job = self.until(lambda: self.find("Job", "orders-drop-table"), "the Job that drops it")
        pod = job["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["args"][0], "drop")
        self.assertIn("lake", [volume["name"] for volume in pod["volumes"]])
        path = self.folder / "manifest.yaml"
        path.write_text(self.get("ConfigMap", "orders-drop-table")["data"]["manifest.yaml"])
        self.assertIn("valid: 0 connectors, 1 tables, 0 units", command("validate", "-f", path).stdout)
        self.assertIsNotNone(self.find("LakeTable", "orders"))
        self.finish_job("orders-drop-table")
        self.until(lambda: self.find("LakeTable", "orders") is None, "it is gone")
        self.until(lambda: self.find("ConfigMap", "orders-drop-table") is None, "and what dropped it")
        # a unit's own table goes with the unit
        self.kube.delete("IngestionUnit", "customers", self.namespace)
        job = self.until(lambda: (self.deployment_runs() or True) and self.find("Job", "customers-drop-table"), "the Job that drops it")
        self.finish_job("customers-drop-table", "Failed")
        self.until(lambda: self.find("LakeTable", "customers") is None, "it is gone")
        self.assertTrue(self.operator.said("table left behind"))
        self.assertIn("TableLeft", {event["reason"] for event in self.kube.all_of("Event", self.namespace)})
        self.assertIn("firn_leaked_tables 1", self.operator.http("/metrics")[1])

    def deployment_runs(self):
        deployment = self.find("Deployment", "shop-capture")
        if deployment and deployment.get("status", {}).get("observedGeneration") != deployment["metadata"]["generation"]:
            self.run_deployment()

    def test_a_source_out_of_reach_holds_nobody_up(self):
        self.started("one", None, "--cleanup-timeout=3s")
        self.settle()
        self.kube.delete("Connector", "shop", self.namespace)
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        self.assertTrue(self.operator.said("slot left behind"))
        self.assertIn("firn_leaked_slots 1", self.operator.http("/metrics")[1])
        self.assertIn("SlotLeaked", {event["reason"] for event in self.kube.all_of("Event", self.namespace)})

    def test_deleted_before_it_ran(self):
        """There is no slot to drop: it goes at once."""
        self.started()
        self.kube.apply(shop(self.namespace))
        self.wait_condition("Connector", "shop", "Stalled", "True", "SecretMissing")
        self.kube.delete("Connector", "shop", self.namespace)
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        self.assertIsNone(self.find("Job", "shop-drop"))
        self.assertFalse(self.operator.said("slot left behind"))

    def test_namespace_deleted(self):
        self.started()
        self.settle()
        self.kube.delete("Namespace", self.namespace)
        self.until(lambda: self.kube.find("Namespace", self.namespace) is None, "the namespace is gone")


class Changes(Reconcile):
    """Every field that may be changed, changed on what runs. All cases side by side: one wait, not one for each."""

    TABLE = "spec.outsourcingUnit.table"  # a LakeTable's spec, within a unit

    @staticmethod
    def leaves(schema: dict, path: str = "spec") -> set[str]:
        """The fields of a definition that may be changed in this version; of a list of objects, path[].field."""
        rules = schema.get("x-kubernetes-validations", [])
        if any("is not supported yet by this version: leave it out" in rule.get("message", "") for rule in rules):
            return set()
        choices = schema.get("enum", [])
        later = [one for rule in rules if "is not supported yet" in rule.get("message", "") for one in choices if f"'{one}'" in rule["rule"]]
        if len(choices) - len(later) == 1:
            return set()  # one choice is none
        fixed = {rule["message"].partition(" can't be changed")[0] for rule in rules if " can't be changed" in rule.get("message", "")}
        items = schema.get("items", {})
        if items.get("properties"):
            return Changes.leaves(items, path + "[]")
        if not schema.get("properties"):
            return {path}
        return set().union(*(Changes.leaves(one, f"{path}.{name}") for name, one in schema["properties"].items() if name not in fixed))

    @staticmethod
    def touched(change, leaves: set[str], path: str = "spec") -> set[str]:
        if path in leaves or change is None:
            return {path}
        if isinstance(change, list):
            return set().union(*(Changes.touched(one, leaves, path + "[]") for one in change))
        if isinstance(change, dict):
            return set().union(*(Changes.touched(one, leaves, f"{path}.{name}") for name, one in change.items()))
        return {path}

    @staticmethod
    def laid_over(spec, change):
        if not isinstance(spec, dict) or not isinstance(change, dict):
            return change
        merged = {name: Changes.laid_over(spec.get(name), one) for name, one in change.items() if one is not None}
        return {name: one for name, one in spec.items() if name not in change} | merged

    @staticmethod
    def cases() -> list[dict]:
        """Those of the table, and of each LakeTable's a twin that stands within its unit."""
        cases = yaml.safe_load((GOLDEN / "changes.yaml").read_text())["cases"]
        for case in list(cases):
            (of,) = case["change"]
            kind, name = of.split("/")
            if kind != "LakeTable":
                continue
            other = f"{name}-within"
            unit = {key: one for key, one in case["start"][f"IngestionUnit/{name}"].items() if key != "lakeTableRef"}
            if "connectorRef" in unit:
                unit["connectorRef"] = unit["connectorRef"] | {"name": other}
            start = {f"IngestionUnit/{other}": unit | {"outsourcingUnit": {"table": case["start"][of] | {"tableName": other}}}}
            start |= {f"Connector/{other}": spec for key, spec in case["start"].items() if key == f"Connector/{name}"}
            cases.append({"start": start, "change": {f"IngestionUnit/{other}": {"outsourcingUnit": {"table": case["change"][of]}}}})
        return cases

    def apply(self, of: str, spec: dict):
        kind, name = of.split("/")
        meta = {"name": name, "namespace": self.namespace}
        self.kube.apply(yaml.safe_dump({"apiVersion": "firn.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}))

    @staticmethod
    def secrets(value) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(Changes.secrets, value))
        if not isinstance(value, dict):
            return set()
        return {one["name"] for key, one in value.items() if key.endswith("SecretRef") and one}.union(*map(Changes.secrets, value.values()))

    def manifests(self) -> dict[str, list[dict]]:
        """What Pods read of each resource, with the hash for which their Deployment rolls."""
        found = {}
        hashes = {one["metadata"]["name"]: one["spec"]["template"]["metadata"]["annotations"]["firn.dev/manifest-hash"]
                  for one in self.kube.all_of("Deployment", self.namespace)}  # fmt: skip
        for map_ in self.kube.all_of("ConfigMap", self.namespace):
            name = map_["metadata"]["name"]
            for one in yaml.safe_load_all(map_["data"].get("manifest.yaml", "")):
                if one and name in hashes:
                    found.setdefault(f"{one['kind']}/{one['metadata']['name']}", []).append(one["spec"] | {"hash": hashes[name]})
        return found

    def test_each_field_has_a_case(self):
        missing, strange = {}, {}
        for kind, plural in PLURALS.items():
            definition = yaml.safe_load((ROOT / f"crds/{plural}.yaml").read_text())
            leaves = self.leaves(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])
            touched = set().union(*(self.touched(change, leaves) for case in self.cases() for of, change in case["change"].items()
                                    if of.startswith(kind + "/")))  # fmt: skip
            missing[kind], strange[kind] = sorted(leaves - touched), sorted(touched - leaves)
            self.assertGreater(len(leaves), 30)
        self.assertEqual(missing, {"Connector": [], "LakeTable": [], "IngestionUnit": []})
        self.assertEqual(strange, {"Connector": [], "LakeTable": [], "IngestionUnit": []})

    def test_each_change_arrives(self):
        cases = self.cases()
        start = {of: spec for case in cases for of, spec in case["start"].items()}
        changed = {of: self.laid_over(start[of], change) for case in cases for of, change in case["change"].items()}
        for name in self.secrets([start, changed]):
            self.secret(name)
        self.started()
        for of, spec in start.items():
            self.apply(of, spec)
        before = self.until(lambda: set(changed) <= set(now := self.manifests()) and now, "all of them run")
        for of, spec in changed.items():
            self.apply(of, spec)
        wanted = {of: self.get(*of.split("/")) for of in changed}
        lost = set(wanted)

        def all_arrived() -> bool:
            now = self.manifests()
            lost.difference_update([of for of in lost if self.arrived(wanted[of], before[of], now.get(of, []))])
            return not lost

        try:
            self.until(all_arrived, "every change is in a manifest, for which Pods roll, and observed")
        except AssertionError as error:
            now = self.manifests()
            self.fail(f"{error}\n" + "\n".join(f"{of}: {now.get(of)}, {self.get(*of.split('/')).get('status')}" for of in sorted(lost)))
        pods = self.get("Deployment", "pods-capture")["spec"]
        (container,) = pods["template"]["spec"]["containers"]
        self.assertEqual((pods["replicas"], container["image"], container["resources"]["limits"]["memory"], pods["template"]["spec"]["nodeSelector"]),
                         (0, "agent:2", "3Gi", {"a": "b"}))  # fmt: skip
        self.assertEqual(self.get("Deployment", "unit-ingest")["spec"]["replicas"], 2)
        self.assertEqual(self.get("LakeTable", "layout")["metadata"]["finalizers"], ["firn.dev/table"])
        for name in ("rest", "signed", "layout", "misfits"):
            made, within = self.get("LakeTable", f"{name}-within")["spec"], self.get("LakeTable", name)["spec"]
            self.assertEqual(made | {"tableName": name}, within)

    def arrived(self, wanted: dict, before: list[dict], now: list[dict]) -> bool:
        spec = {name: one for name, one in wanted["spec"].items() if name != "agent"}  # which is not for the agent to read
        hashes = [one["hash"] for one in before]
        if not any(one == spec | {"hash": one["hash"]} and one["hash"] not in hashes for one in now):
            return False
        status = self.get(wanted["kind"], wanted["metadata"]["name"])["status"]
        return status["observedGeneration"] == wanted["metadata"]["generation"] >= 2 and condition({"status": status}, "Stalled").get("status") == "False"


class Faults(Reconcile):
    def shape(self) -> dict:
        """What is there, without what differs from run to run."""
        found = {}
        for kind in CHILDREN:
            for one in self.kube.all_of(kind, self.namespace, "app.kubernetes.io/managed-by=firn-operator"):
                found[kind, one["metadata"]["name"]] = json.dumps(
                    {"spec": {key: value for key, value in one.get("spec", {}).items() if not key.startswith("clusterIP")},
                     "data": one.get("data")}, sort_keys=True).replace(self.namespace, "NAMESPACE")  # fmt: skip
        return found

    def test_killed_at_each_point(self):
        points = [line.split() for line in (Path(__file__).parent / "crash_points").read_text().splitlines()]
        points = [(name, often == "many") for name, phase, often, *_ in points if phase == "operator"]
        self.assertGreaterEqual(len(points), 4)
        for name, many in points:
            for nth in (1, 4) if name == "operator-child-applied" else (3,) if many else (1,):
                with self.subTest(point=name, nth=nth):
                    self.start(crash_at=f"{name}:{nth}")
                    self.secret()
                    self.kube.apply(shop(self.namespace))
                    if name == "operator-child-removed":
                        self.until(lambda: self.find("Deployment", "shop-capture"), "a child is there", watch=False)
                        self.kube.delete("IngestionUnit", "orders", self.namespace)
                        self.kube.delete("IngestionUnit", "customers", self.namespace)
                    if name == "operator-slot-dropped":
                        self.wait_children()
                        self.until(lambda: self.get("Connector", "shop").get("status", {}).get("manifestHash"), "its status")
                        self.kube.delete("Connector", "shop", self.namespace)
                        self.until(lambda: self.find("Job", "shop-drop"), "the Job")
                        self.finish_job("shop-drop")
                    self.until(lambda: self.operator.process.poll() is not None, "it is killed", watch=False)
                    self.assertIn(f"crash point {name} struck", self.operator.text())
                    self.started()
                    if name == "operator-slot-dropped":
                        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
                    self.kube.apply(shop(self.namespace))
                    self.wait_children()
                    self.until(self.all_ready, "everything is ready")
                    shape = self.shape()
                    self.assertEqual(sorted(shape), sorted((kind, "shop-capture") for kind in CHILDREN))
                    self.operator.stop()
                    self.clear()

    def clear(self):
        """Everything goes, without the operator."""
        self.kube.patch("Connector", "shop", {"metadata": {"finalizers": None}}, self.namespace)
        for kind, name in (("IngestionUnit", "orders"), ("IngestionUnit", "customers"), ("LakeTable", "orders"), ("Connector", "shop")):
            self.kube.delete(kind, name, self.namespace)
        for kind in (*CHILDREN, "LakeTable"):
            wait_until(lambda kind=kind: not self.kube.all_of(kind, self.namespace, "app.kubernetes.io/managed-by=firn-operator"), SECONDS,
                       f"no {kind} is left")  # fmt: skip

    def ensure_up(self):
        if "api-server" not in self.kube.processes:
            self.kube.start_api_server()
        if "controllers" not in self.kube.processes:
            self.kube.start_controllers()

    def test_api_server_restarted_and_etcd_compacted(self):
        self.addCleanup(self.ensure_up)
        self.started()
        self.settle()
        self.kube.stop_one("controllers")
        self.kube.stop_one("api-server", signal.SIGKILL)
        self.until(lambda: self.operator.text().count("watch interrupted") > 3, "the watches broke off")
        self.until(lambda: self.operator.said("the lease can't be renewed: nothing is written until it is"), "it lets go")
        self.kube.start_api_server()
        self.kube.patch("Deployment", "shop-capture", {"spec": {"replicas": 3}}, self.namespace)
        self.kube.compact()
        self.kube.start_controllers()
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "drift during the outage is repaired", 120)
        self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": "7s"}}, self.namespace)
        self.until(lambda: '"7s"' in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "changes are followed", 120)
        self.assertTrue(self.operator.working())

    def test_leader(self):
        first = self.started("first")
        second = self.start("second")
        self.until(second.ready, "the second is ready to take over")
        self.operator = first
        self.settle()
        self.assertFalse(second.working())
        killed = time.monotonic()
        first.kill()
        self.operator = second
        self.until(second.working, "the second works")
        took = time.monotonic() - killed
        self.assertLess(took, 15 * float(os.environ.get("FIRN_SLOW", "1")), "takeover")
        self.kube.patch("Deployment", "shop-capture", {"spec": {"replicas": 3}}, self.namespace)
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "the second repairs")
        # let go on SIGTERM: the next need not wait
        third = self.start("third")
        self.until(third.ready, "the third is ready")
        self.assertEqual(second.stop(), 0, second.text()[-2000:])
        self.operator = third
        self.until(third.working, "the third works")
        # taken away: whoever had it ends
        self.kube.call("PATCH", self.kube.path("Lease", "firn-operator", self.namespace), {"spec": {"holderIdentity": "somebody"}},
                       "application/merge-patch+json")  # fmt: skip
        self.until(lambda: third.process.poll() is not None, "the third ends", watch=False)
        self.assertEqual(third.process.returncode, 1)

    def test_rights(self):
        """The manifests' own roles are enough, with agents that report, and of Secrets' values it asks for its own alone."""
        (cluster,) = yaml.safe_load_all((ROOT / "deploy/kubernetes/role.yaml").read_text())
        others = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/operator.yaml").read_text()))
        roles = [cluster, *(one for one in others if one["kind"] in ("Role", "ClusterRole"))]
        self.assertEqual([role["kind"] for role in roles], ["ClusterRole", "Role", "ClusterRole"])
        config = self.kube.issue("limited", "firn-limited")
        for role in roles:
            kind, name = role["kind"], role["metadata"]["name"]
            place = {"namespace": self.namespace} if kind == "Role" else {}
            self.kube.apply(yaml.safe_dump({**role, "metadata": {"name": name, **place}}))
            binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": f"{kind}Binding", "metadata": {"name": f"{name}-limited", **place},
                       "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
                       "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "firn-limited"}]}  # fmt: skip
            self.kube.apply(json.dumps(binding))
        self.port = free_port()
        self.operator = Operator(config, self.folder / "limited.log", f"--namespace={self.namespace}", f"--lease-namespace={self.namespace}",
                                 "--cleanup-timeout=2s", f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost")  # fmt: skip
        self.addCleanup(self.operator.kill)
        self.until(self.operator.working, "it works")
        self.settle()
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        agent.say("Streaming", lag=0, logStatus=1)
        self.wait_condition("Connector", "shop", "LogHeadroom", "True")
        self.assertIn("\nfirn_agents_lag_bytes{", self.operator.http("/metrics")[1])
        agent.stop()
        self.remove_pod("agent")
        self.kube.delete("Connector", "shop", self.namespace)
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        self.until(lambda: "\nfirn_agents_lag_bytes{" not in self.operator.http("/metrics")[1], "and what its agent measured")
        self.assertNotIn("Forbidden", self.operator.text())


class Install(unittest.TestCase):
    """The chart, the plain manifests and the images."""

    @classmethod
    def setUpClass(cls):
        cls.kube = cluster()
        cls.helm = Path(fetched("go", HELM)) / "helm"
        cls.folder = Path(tempfile.mkdtemp(prefix="firn-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        for name in ("firn-system", "retail", "sales"):
            cls.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")

    def run_command(self, *words, code: int = 0) -> str:
        environment = {**os.environ, "HOME": str(self.folder), "KUBECONFIG": str(self.kube.folder / "admin.kubeconfig")}
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, env=environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + (done.stderr if code else "")

    def render(self, *values) -> list[dict]:
        words = [word for value in values for word in ("--set", value)]
        text = self.run_command(self.helm, "template", "firn", ROOT / "helm/firn", "--namespace", "firn-system",
                                "--kube-version", "1.34.4", *words)  # fmt: skip
        documents = [one for one in yaml.safe_load_all(text) if one]
        for one in documents:
            if one["kind"] in ("PodMonitor",):
                continue
            self.kube.apply(yaml.safe_dump(one), dry_run=True)
        return documents

    def kinds(self, documents) -> list[str]:
        return sorted(one["kind"] for one in documents)

    def test_chart(self):
        everything = self.render()
        self.assertEqual(self.kinds(everything).count("CustomResourceDefinition"), 3)
        for one in everything:
            if one["kind"] == "CustomResourceDefinition":
                file = yaml.safe_load((ROOT / f"crds/{one['spec']['names']['plural']}.yaml").read_text())
                self.assertEqual(one["spec"], file["spec"])
                self.assertEqual(one["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        self.run_command(self.helm, "lint", "--strict", "--kube-version", "1.34.4", ROOT / "helm/firn")
        role = yaml.safe_load((ROOT / "deploy/kubernetes/role.yaml").read_text())
        (cluster_role,) = [one for one in everything if one["kind"] == "ClusterRole" and one["metadata"]["name"] == "firn-firn-system"]
        self.assertEqual(cluster_role["rules"], role["rules"])

    def test_chart_of_a_pod_monitor(self):
        """One of the Prometheus operator's, for the operator's Pods and the agents'; not unless it is asked for."""
        self.assertNotIn("PodMonitor", self.kinds(self.render()))
        found = [one for one in self.render("podMonitor.enabled=true", "podMonitor.interval=7s") if one["kind"] == "PodMonitor"]
        self.assertTrue(found)
        for one in found:
            self.assertEqual({end["interval"] for end in one["spec"]["podMetricsEndpoints"]}, {"7s"})

    def test_chart_for_some_namespaces(self):
        some = self.render("namespaces={retail,sales}", "crds.enabled=false", "replicas=2")
        cluster_wide = [one["roleRef"]["name"] for one in some if one["kind"] == "ClusterRoleBinding"]
        self.assertEqual(cluster_wide, ["firn-firn-system-tokens"])  # whose a token is, and nothing else
        self.assertEqual({one["metadata"]["namespace"] for one in some if one["kind"] == "RoleBinding"}, {"retail", "sales", "firn-system"})
        (deployment,) = [one for one in some if one["kind"] == "Deployment"]
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("--namespace=retail", arguments)
        self.assertIn("--agent-image=firn-agent:0.1.0", arguments)

    def test_chart_refuses_odd_values(self):
        for value in ("replicas=many", "unknown=1", "namespaces={Retail}", "logLevel=loud"):
            said = self.run_command(self.helm, "template", "firn", ROOT / "helm/firn", "--set", value, code=1)
            self.assertIn("values don't meet the specifications", said)

    def test_chart_installed(self):
        """By Helm itself: what it makes, the upgrade of the definitions, and that they stay."""
        install = (self.helm, "upgrade", "--install", "firn", ROOT / "helm/firn", "--namespace", "firn-system")
        # another test's definitions are no release's
        said = self.run_command(*install, "--set", "crds.enabled=false")
        self.assertIn("kubectl apply -f shop.yaml", said)
        self.assertEqual(self.kube.get("Deployment", "firn", "firn-system")["spec"]["replicas"], 1)
        self.run_command(*install, "--set", "crds.enabled=false", "--set", "replicas=2")
        self.assertEqual(self.kube.get("Deployment", "firn", "firn-system")["spec"]["replicas"], 2)
        self.run_command(self.helm, "uninstall", "firn", "--namespace", "firn-system")
        self.assertIsNone(self.kube.find("Deployment", "firn", "firn-system"))
        self.assertIsNotNone(self.kube.find("CustomResourceDefinition", "connectors.firn.dev"))

    def test_plain_manifests(self):
        kubectl = Path(fetched("go", KUBERNETES)) / "kubectl"
        documents = [one for one in yaml.safe_load_all(self.run_command(kubectl, "kustomize", ROOT / "deploy/kubernetes")) if one]
        self.assertEqual(self.kinds(documents).count("CustomResourceDefinition"), 3)
        for one in documents:
            self.kube.apply(yaml.safe_dump(one), dry_run=True)

    def test_images(self):
        """Each runs with nothing of this machine's around it."""
        build = operator_binary().parents[1]
        for kind in ("agent", "operator"):
            root = self.folder / kind
            self.run_command(ROOT / "deploy/image", kind, "--folder", root, "--build", build)
            said = self.run_command("unshare", "--user", "--map-root-user", "chroot", root, f"/usr/bin/firn-{kind}", "--version")
            self.assertEqual(said.split()[0], f"firn-{kind}")
            for number in (1, 2):
                self.run_command(ROOT / "deploy/image", kind, "--oci", self.folder / f"{number}.tar", "--build", build)
            self.assertEqual((self.folder / "1.tar").read_bytes(), (self.folder / "2.tar").read_bytes())
            with tarfile.open(self.folder / "1.tar") as tar:
                index = json.load(tar.extractfile("index.json"))
                manifest = json.load(tar.extractfile("blobs/sha256/" + index["manifests"][0]["digest"][7:]))
                config = json.load(tar.extractfile("blobs/sha256/" + manifest["config"]["digest"][7:]))
                packed = tar.extractfile("blobs/sha256/" + manifest["layers"][0]["digest"][7:]).read()
            self.assertEqual(hashlib.sha256(packed).hexdigest(), config["rootfs"]["diff_ids"][0][7:])
            self.assertEqual(config["config"]["User"], "65532:65532")


class Commands(unittest.TestCase):
    def test_usage(self):
        def run(*words):
            return subprocess.run([operator_binary(), *words], capture_output=True, text=True, timeout=60)

        self.assertEqual(run("--help").returncode, 0)
        self.assertEqual(run("run").returncode, 2)
        self.assertEqual(run("run", "--agent-image=x", "--kubeconfig=/nowhere").returncode, 3)
        self.assertIn("/nowhere", run("run", "--agent-image=x", "--kubeconfig=/nowhere").stderr)
        documents = list(yaml.safe_load_all(run("crds").stdout))
        self.assertEqual([one["spec"]["names"]["kind"] for one in documents], ["Connector", "LakeTable", "IngestionUnit"])


if __name__ == "__main__":
    unittest.main()
