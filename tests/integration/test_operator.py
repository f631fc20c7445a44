"""The operator on a real API server, with etcd and without a node: what it makes, what it says, and that neither a
kill at any named point of its code nor the loss of the API server, of etcd's history or of the lease changes that.
Pods are made by the test where their state is to be seen."""

import base64
import contextlib
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
import textwrap
import time
import unittest
import urllib.parse
from pathlib import Path

import yaml
from harness import definitions
from harness.agent import command
from harness.channel import Agent, Closed, Connection
from harness.kube import HELM, KUBERNETES, ROOT, Cluster, Operator, Refused, operator_binary
from harness.kube_witness import Witness
from harness.process import free_port
from harness.server import fetched
from harness.wait import wait_until
from harness.webhook import Webhook

GOLDEN = ROOT / "tests/golden/manifest"
FOR_OTHERS = [ROOT / path for path in ("deploy/gitops/flux/firn.yaml", "deploy/gitops/argocd/application.yaml", "kind/kafka.yaml")]
SECONDS = float(os.environ.get("FIRN_OPERATOR_SECONDS", "120"))
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
        _cluster.install(definitions.of_modules())
        with tempfile.TemporaryDirectory(prefix="firn-strimzi-") as folder:
            _cluster.install(definitions.of_strimzi(Path(folder)))
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
    done = subprocess.run(["lua5.1", "-"], input=program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    status, _, message = done.stdout.partition("\n")
    return status, message.rstrip("\n")


def shown(namespace: str, *words: str) -> list[list[str]]:
    """By kubectl get, as people see it: a line's words."""
    kubectl = Path(fetched("go", KUBERNETES)) / "kubectl"
    call = [kubectl, f"--kubeconfig={cluster().folder}/admin.kubeconfig", "--namespace", namespace, "get", *words]
    return [line.split() for line in subprocess.run(call, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()]


def condition(thing: dict | None, name: str) -> dict:
    found = (thing or {}).get("status", {}).get("conditions", [])
    return next((one for one in found if one["type"] == name), {})


def misspelt(value, path: str):
    """Each field in turn with a letter too many: its path, and the whole. Not those of a mapping that takes any."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        place = f"{path}.{key}" if isinstance(value, dict) else f"{path}[{key}]"
        if isinstance(value, dict):
            yield f"{place}x", {f"{name}x" if name == key else name: inner for name, inner in value.items()}
        if key not in ("valuesObject", "config", "limits"):  # a chart's, a broker's, a container's
            for inner, changed in misspelt(one, place):
                whole = copy.copy(value)
                whole[key] = changed
                yield inner, whole


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
        self.kube.create(config | {"metadata": config["metadata"] | {"namespace": "default"}}, dry_run=True)
        for thing in ({"metadata": {}}, {"metadata": {}, "status": {}}):
            self.assertEqual(health(thing)[0], "Progressing")
        flux = list(yaml.safe_load_all((ROOT / "deploy/gitops/flux/firn.yaml").read_text()))
        checks = [check for one in flux for check in one["spec"].get("healthChecks", [])]
        self.assertEqual({check["apiVersion"] for check in checks}, {"firn.dev/v1alpha1"})
        self.assertLessEqual({check["kind"] for check in checks}, set(names))

    def cases(self, table: dict, cases: list[dict]) -> list[dict]:
        """Those, and of each LakeTable's a twin that stands within a unit."""
        twins, own = [], {"spec", "spec.database", "spec.tableName"}  # which a unit may leave out, or have in braces
        for case in cases:
            if case["of"] != "LakeTable" or "only" in case or "braces" in case.get("refused", ""):
                continue
            if "from" in case:
                within = {key: {f"spec.outsourcingUnit.table{path[4:]}": value for path, value in case[key].items()} for key in ("from", "change")}
                start = {"spec.lakeTableRef": None, "spec.outsourcingUnit": {"table": copy.deepcopy(table["good"]["LakeTable"]["spec"])}}
                twins.append(case | within | {"of": "IngestionUnit", "from": start | within["from"]})
            elif not own & set(case["change"]):
                spec = self.changed(table["good"]["LakeTable"], case["change"] | {"spec.tableName": "within"})["spec"]
                twins.append(case | {"of": "IngestionUnit", "change": {"spec.lakeTableRef": None, "spec.outsourcingUnit": {"table": spec}}})
        return cases + twins

    @staticmethod
    def rules(schema: dict, path: str = "spec"):
        """Path, rule and words of each."""
        for rule in schema.get("x-kubernetes-validations", []):
            yield path, rule["rule"], rule["message"]
        for name, one in schema.get("properties", {}).items():
            yield from Verdicts.rules(one, f"{path}.{name}")
        for one in (schema.get("items"), schema.get("additionalProperties")):
            if isinstance(one, dict):
                yield from Verdicts.rules(one, path)

    @staticmethod
    def rules_of(kind: str) -> list[tuple[str, str, str]]:
        versions = yaml.safe_load((ROOT / f"crds/{PLURALS[kind]}.yaml").read_text())["spec"]["versions"]
        return list(Verdicts.rules(versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]))

    @staticmethod
    def values(value, path: str) -> list:
        """What stands at the path; in lists, in each item."""
        if isinstance(value, list) and path:
            return [found for one in value for found in Verdicts.values(one, path)]
        name, _, rest = path.partition(".")
        return [value] if not name else Verdicts.values(value[name], rest) if isinstance(value, dict) and name in value else []

    @staticmethod
    def stands_beside(document: dict, path: str, rule: str) -> bool:
        """Whether the rule had something to hold of: a field that it names is there. Where none may be, what it would be in is."""
        found = Verdicts.values(document, path)
        if rule == "false":
            return not found and bool(Verdicts.values(document, path.rpartition(".")[0]))
        names = set(re.findall(r"\bself\.(\w+)(?![\w(])", rule))
        return any(not names or (isinstance(one, dict) and names & set(one)) for one in found)

    def untold(self, change: bool, refused: dict[str, str], taken: dict[str, list]) -> list[str]:
        """Rules, of a change or of what stands there, that no case is refused by, or that none is taken beside. refused: the
        server's words by kind; taken: for each case its documents, one, or before and after a change."""
        wrong = []
        for kind in PLURALS:
            rules = [one for one in self.rules_of(kind) if ("oldSelf" in one[1]) == change]
            self.assertGreater(len(rules), 1)
            words = re.sub(r"\[\d+\]", "", refused[kind])
            for path, rule, message in rules:
                if not re.search(rf"{re.escape(path)}: Invalid value: .*{re.escape(message)}", words):
                    wrong.append(f"no case is refused by: {kind} {path}: {message}")
                if not any(all(self.stands_beside(one, path, rule) for one in documents) for documents in taken[kind]):
                    wrong.append(f"no case is taken beside: {kind} {path}: {message}")
        return wrong

    def test_same_verdicts(self):
        table = yaml.safe_load((GOLDEN / "verdicts.yaml").read_text())
        cases = self.cases(table, table["cases"])
        self.assertGreater(len(cases), 300)
        wrong, refused, taken = [], dict.fromkeys(PLURALS, ""), {kind: [] for kind in PLURALS}
        for case in cases:
            document = self.changed(table["good"][case["of"]], case["change"])
            wanted = "refused" not in case
            agent, agent_words = self.agent_takes(document, table["good"])
            server, server_words = self.server_takes(document)
            only = case.get("only")
            good = agent == (wanted or only == "server") and server == (wanted or only == "agent")
            if not good or (not server and case["refused"] not in server_words):
                wrong.append(f"{case}: agent {agent} {agent_words.strip()!r}, server {server} {server_words!r}")
            refused[case["of"]] += server_words + "\n"
            if server:
                taken[case["of"]].append([document])
        self.assertEqual(wrong, [], f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong))
        wrong = self.untold(False, refused, taken)
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_what_may_not_change(self):
        """From one to another of the table's, on what is there."""
        table = yaml.safe_load((GOLDEN / "verdicts.yaml").read_text())
        cases = self.cases(table, table["changes"])
        wrong, refused, taken = [], dict.fromkeys(PLURALS, ""), {kind: [] for kind in PLURALS}
        for case in cases:
            before = self.changed(table["good"][case["of"]], case["from"])
            after = self.changed(before, case["change"])
            self.kube.apply(yaml.safe_dump(before))
            try:
                self.kube.apply(yaml.safe_dump(after), dry_run=True)
                words = ""
                taken[case["of"]].append([before, after])
            except Refused as error:
                self.assertEqual(error.status, 422, error)
                words = error.message
            finally:
                self.kube.delete(before["kind"], before["metadata"]["name"])
            if bool(words) != ("refused" in case) or case.get("refused", "") not in words:
                wrong.append(f"{case}: {words!r}")
            refused[case["of"]] += words + "\n"
        self.assertEqual(wrong, [], f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong))
        wrong = self.untold(True, refused, taken)
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_freshness_ages(self):
        """What kubectl shows is a date that ages, while nobody writes anything."""
        unit = self.kube.create(yaml.safe_load((GOLDEN / "verdicts.yaml").read_text())["good"]["IngestionUnit"])
        self.addCleanup(self.kube.delete, "IngestionUnit", "orders")
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 40))
        unit = self.kube.patch("IngestionUnit", "orders", {"status": {"freshAt": at}}, subresource="/status")

        def freshness() -> int:
            head, row = shown("default", "fiu", "orders")
            self.assertEqual((head[3], row[:2]), ("FRESHNESS", ["orders", "Pending"]))  # Ready is not known yet
            self.assertRegex(row[2], r"^[0-9]+s$")
            return int(row[2][:-1])

        first = freshness()
        self.assertGreaterEqual(first, 40)
        wait_until(lambda: freshness() > first, 90, "it ages")
        self.assertEqual(self.kube.get("IngestionUnit", "orders")["metadata"]["resourceVersion"], unit["metadata"]["resourceVersion"])

    def test_examples(self):
        """Every manifest of deploy/, of kind/ and of the golden folder."""
        paths = [*ROOT.glob("deploy/quickstart*.yaml"), *ROOT.glob("kind/s*.yaml"), *FOR_OTHERS]
        paths += [GOLDEN / f"{one}.yaml" for one in ("shop", "lakes", "streams")]
        self.assertEqual(len(paths), 13)
        (release,) = re.findall(r"^strimzi=(.+)$", (ROOT / "kind/up").read_text(), re.M)
        self.assertIn(f"<artifactId>api</artifactId><version>{release}</version>", definitions.STRIMZI.read_text())
        for path in paths:
            for document in yaml.safe_load_all(path.read_text()):
                if document and document["kind"] != "Namespace":
                    document["metadata"].pop("namespace", None)
                    taken, words = self.server_takes(document)
                    self.assertTrue(taken, f"{path.name} {document['kind']}: {words}")

    def test_readmes_manifests(self):
        """Each piece of YAML that README shows, laid over a good resource of its kind where it is no whole one."""
        good = yaml.safe_load((GOLDEN / "verdicts.yaml").read_text())["good"]
        blocks = re.findall(r"^( *)```yaml\n(.*?)^\1```$", (ROOT / "README.md").read_text(), re.S | re.M)
        self.assertGreaterEqual(len(blocks), 8)
        fields = {kind: set(yaml.safe_load((ROOT / f"crds/{plural}.yaml").read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
                            ["properties"]["spec"]["properties"]) for kind, plural in PLURALS.items()}  # fmt: skip
        for _, text in blocks:
            written = yaml.safe_load(textwrap.dedent(text))
            spec = written.get("spec", written)
            kind = written.get("kind") or next(kind for kind in PLURALS if set(spec) <= fields[kind])
            document = copy.deepcopy(good[kind])
            own = document["spec"]
            if kind == "IngestionUnit" and not {"connectorRef"} & set(spec):
                own |= {"kafka": {"topic": "clicks", "brokers": "kafka:9092", "incomingData": "Json"}, "connectorRef": None}
            if kind == "IngestionUnit" and {"outsourcingUnit", "routes", "toTopic"} & set(spec):
                own["lakeTableRef"] = None
            document["spec"] = {name: one for name, one in (own | spec).items() if one is not None}
            with self.subTest(text=text.splitlines()[0]):
                taken, words = self.server_takes(document)
                self.assertTrue(taken, words)

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
        self.config = self.kube.folder / "admin.kubeconfig"
        Reconcile.number += 1
        self.namespace = f"test-{Reconcile.number}"
        self.folder = Path(tempfile.mkdtemp(prefix="firn-operator-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {self.namespace}}}}}")
        self.runs = 0

    def start(self, identity: str = "one", crash_at: str = None, *options) -> Operator:
        self.runs += 1
        operator = Operator(
            self.config, self.folder / f"operator-{self.runs}.log", f"--namespace={self.namespace}",
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

    def passes(self, kind: str, name: str, since: str, reason: str, **types: str) -> dict:
        """It has been so since that version of it, were it only for a moment: these conditions at once, with the reason."""

        def holds(thing: dict) -> bool:
            found = [condition(thing, type_) for type_ in types]
            return all((one.get("status"), one.get("reason")) == (status, reason) for one, status in zip(found, types.values()))

        found = self.kube.passed(kind, name, self.namespace, since, holds, SECONDS)
        self.assertIsNotNone(found, f"{kind}/{name} {types} {reason}; the operator: {self.operator.text()[-3000:]}")
        return found

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
        self.deployment_runs()
        things = (("Connector", "shop"), ("IngestionUnit", "orders"), ("IngestionUnit", "customers"), ("LakeTable", "orders"),
                  ("LakeTable", "customers"))  # fmt: skip
        return all(self.is_condition(kind, name, "Ready", "True") for kind, name in things)

    def deployment_runs(self):
        deployment = self.find("Deployment", "shop-capture")
        if deployment and deployment.get("status", {}).get("observedGeneration") != deployment["metadata"]["generation"]:
            self.run_deployment()

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
        """As soon as the operator listens (it works before), and its watch has told it of the Pod."""

        def heard():
            try:
                return Agent(self.port, self.trust(), token or self.token(pod, account))
            except ConnectionRefusedError:
                return None
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
        # which comes behind the status
        self.until(lambda: "Streaming" in {event["reason"] for event in self.kube.all_of("Event", self.namespace)}, "an Event says so")

    def test_before_the_first_word(self):
        """What the operator has not looked at is on its way, not current; of more than one chunk of a list, and of many at once,
        each is told in the end."""
        tables = [{"apiVersion": "firn.dev/v1alpha1", "kind": "LakeTable", "metadata": {"name": f"t{at}", "namespace": self.namespace},
                   "spec": {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": f"t{at}"}} for at in range(580)]  # fmt: skip
        with contextlib.closing(self.kube.connect()) as connection:  # one for all: each costs a handshake
            for table in tables[:520]:
                connection.request("POST", self.kube.path("LakeTable", None, self.namespace), json.dumps(table), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                self.assertEqual((answer.status, bool(answer.read())), (201, True))
        table = self.get("LakeTable", "t0")
        self.assertEqual(table["status"], {"observedGeneration": -1, "phase": "Pending"})
        self.assertEqual(health(table)[0], "Progressing")
        witness = self.enterContext(Witness(self.kube))
        self.config = witness.config
        self.started()
        self.wait_condition("LakeTable", "t0", "Ready", "Unknown", "NoUnit")
        chunks = [urllib.parse.parse_qs(one.target.partition("?")[2]) for one in witness.of("laketables") if one.method == "GET"]
        chunks = [one for one in chunks if "watch" not in one]
        self.assertEqual([one["limit"] for one in chunks], [["500"], ["500"]])
        self.assertEqual(["continue" in one for one in chunks], [False, True])
        self.kube.apply(yaml.safe_dump_all(tables[520:]))

        def all_told():
            return [condition(one, "Ready").get("reason") for one in self.kube.all_of("LakeTable", self.namespace)] == ["NoUnit"] * len(tables)

        self.until(all_told, "each is told")
        self.assertEqual({one["status"]["observedGeneration"] for one in self.kube.all_of("LakeTable", self.namespace)}, {1})

    def test_a_connector_comes_with_a_crowd(self):
        """It is made once its units are there, or once a second where they come one by one, and not anew for each of them; nor
        for each that goes."""
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
        generation = self.get("Deployment", "shop-capture")["metadata"]["generation"]
        began = time.monotonic()
        for at in range(60):
            self.kube.delete("IngestionUnit", f"t{at}", self.namespace)
            time.sleep(0.04)  # kubectl's pace
        self.until(lambda: self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"].count('"kind":"IngestionUnit"') == 2, "the others are out of it")
        self.assertLess(self.get("Deployment", "shop-capture")["metadata"]["generation"] - generation, 4 + time.monotonic() - began)

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
        # paused: hands off, whatever changes
        self.annotate("true", what="pause-reconciliation")
        before = self.versions("shop-capture")
        self.kube.patch("Connector", "shop", {"spec": {"state": "Running", "agent": {"image": "mine:3"}}}, self.namespace)
        self.looked_at("Connector", "shop")
        self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": "6s"}}, self.namespace)
        self.looked_at("Connector", "shop")
        self.assertEqual(self.versions("shop-capture"), before)
        self.annotate(None, what="pause-reconciliation")
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "it runs again")
        self.until(lambda: '"6s"' in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "with all that changed meanwhile")

    def versions(self, name: str) -> dict[str, str]:
        """Of the children."""
        return {kind: self.get(kind, name)["metadata"]["resourceVersion"] for kind in CHILDREN}

    def looked_at(self, kind: str, name: str):
        """Again and again, each time for another annotation: in between nothing else is looked at for long."""
        for _ in range(3):
            looks = self.looks()
            self.kube.patch(kind, name, {"metadata": {"annotations": {"note": str(looks)}}}, self.namespace)
            self.until(lambda looks=looks: self.looks() > looks, "it looked")

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
        before = self.kube.version("IngestionUnit", "zz-second", self.namespace)
        self.kube.apply(json.dumps(other))
        self.passes("IngestionUnit", "zz-second", before, "LakeTableMissing", Reconciling="True")
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
        for kind in ("Connector", "IngestionUnit", "LakeTable"):
            status, words = health(self.get(kind, "shop" if kind == "Connector" else "orders"))
            self.assertEqual(status, "Degraded", kind)
            self.assertRegex(words, "^SlotMissing: .*slot firn_shop is gone")
        # it is told once, where it is
        told = lambda: [(one["involvedObject"]["kind"], one["involvedObject"]["name"]) for one in self.kube.all_of("Event", self.namespace)  # noqa: E731
                        if one["reason"] == "SlotMissing"]  # fmt: skip
        self.until(told, "an Event says so")
        self.assertEqual(told(), [("Connector", "shop")])
        # what runs again, and is not ready, has left that behind
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
        self.kube.patch("Pod", "one", {"status": {"containerStatuses": [
            {"name": "agent", "ready": False, "restartCount": 3, "image": "x", "imageID": "", "lastState": {"terminated": ended},
             "state": {"running": {"startedAt": since}}}]}}, self.namespace, "/status")  # fmt: skip
        self.wait_condition("Connector", "shop", "Stalled", "False")
        self.wait_condition("Connector", "shop", "Ready", "False", "Starting")
        self.wait_condition("LakeTable", "orders", "Ready", "False", "Starting")
        self.assertEqual(told(), [("Connector", "shop")])
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
        # paused: hands off
        self.annotate("true", "IngestionUnit", "orders", "pause-reconciliation")
        before = self.versions("orders-ingest")
        self.kube.patch("IngestionUnit", "orders", {"spec": {"numberOfConsumers": 4}}, self.namespace)
        self.looked_at("IngestionUnit", "orders")
        self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": "6s"}}, self.namespace)
        self.looked_at("IngestionUnit", "orders")
        self.assertEqual(self.versions("orders-ingest"), before)
        self.annotate(None, "IngestionUnit", "orders", "pause-reconciliation")
        self.until(lambda: self.get("Deployment", "orders-ingest")["spec"]["replicas"] == 4, "it goes on")
        self.until(lambda: '"6s"' in self.get("ConfigMap", "orders-ingest")["data"]["manifest.yaml"], "with all that changed meanwhile")
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
        self.until(lambda: self.get("Connector", "shop")["status"].get("tables") == 2, "both tables are counted")
        for name, reason in (("SourceReachable", "Reachable"), ("SnapshotComplete", "Complete"), ("LogHeadroom", "Enough")):
            self.wait_condition("Connector", "shop", name, "True", reason)
        self.wait_condition("LakeTable", "all-public-a", "SchemaInSync", "True", "InSync")
        self.wait_condition("LakeTable", "all-public-a", "Maintained", "True", "ByCommits")
        for kind, name in (("Connector", "shop"), ("IngestionUnit", "all"), ("LakeTable", "all-public-a")):
            self.wait_condition(kind, name, "Ready", "True", "Streaming")
        self.see_columns()
        # one scrape shows all agents
        labels = f'{{kind="Connector",namespace="{self.namespace}",name="shop"}}'
        metrics = self.operator.http("/metrics")[1]
        self.assertIn(f"firn_agents_lag_bytes{labels} 4100\n", metrics)
        self.assertIn(f"firn_agents_rows{labels} 12\n", metrics)
        self.until(lambda: "firn_channel_connections 1\n" in self.operator.http("/metrics")[1], "one agent is connected")
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

    def see_columns(self):
        """Of each kind, by name, as people see them."""
        columns = {"fcon": ["TABLES"], "flt": ["UNIT"], "fiu": ["FRESHNESS", "LAG", "ROWS"]}
        for name, own in columns.items():
            self.assertEqual(shown(self.namespace, name)[0], ["NAME", "READY", "PHASE", *own, "AGE"])
        self.assertEqual(shown(self.namespace, "fcon", "shop")[1][:4], ["shop", "True", "Streaming", "2"])
        self.assertEqual(shown(self.namespace, "flt", "all-public-a")[1][:4], ["all-public-a", "True", "Streaming", "all-public-a"])
        row = shown(self.namespace, "fiu", "all")[1]
        self.assertEqual([*row[:3], *row[4:6]], ["all", "True", "Streaming", "4Ki", "12"])
        self.assertRegex(row[3], r"^[0-9]+s$")

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
        self.until(lambda: self.orders_of_pods() == agent.orders[0], "a Pod that begins is asked, too")
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
        self.until(lambda: self.orders_of_pods() == {"pause": True}, "a Pod that begins is, too")
        agent.say("Paused", lag=5, logStatus=1, request="first", requestState="Done")
        self.wait_condition("Connector", "shop", "Ready", "True", "Paused")
        self.assertEqual(self.get("Connector", "shop")["status"]["phase"], "Paused")
        self.wait_condition("IngestionUnit", "orders", "Ready", "True", "Paused")
        for kind, name in (("Connector", "shop"), ("IngestionUnit", "orders")):
            status, words = health(self.get(kind, name))
            self.assertEqual((status, words.partition(":")[0]), ("Suspended", "Paused"), kind)
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
        found = self.wait_condition("Connector", "shop", "Ready", "Unknown", "AgentSilent")
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
        agent.say("Streaming", lag=0, logStatus=1)  # whoever says nothing for half a minute is cut off
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
        self.until(lambda: self.refusal(self.kube.signed(good)) is None, "signed anew, with the claims as they were, it is taken")
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
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as to, context.wrap_socket(to, server_hostname=host) as connection:
            return connection.version()

    def test_a_channel_without_its_secret(self):
        """Not ready, with a log that names the Secret and the way out; nothing that runs is touched; it goes on when the Secret is there."""
        self.channel_started()
        self.settle()
        before = self.get("Deployment", "shop-capture")["spec"]
        self.operator.stop()
        self.operator = self.start("two", None, f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost", "--channel-secret=own")
        self.until(lambda: self.operator.said("agents can't report, and nothing is made until they can"), "the log says so")
        line = next(line for line in self.operator.lines() if line.get("reason") == "SecretMissing")
        self.assertIn(f"Secret own of namespace {self.namespace}", line["error"])
        self.assertIn("channel.certificateSecret", line["error"])
        status, text = self.operator.http("/readyz")
        self.assertEqual((status, "agents can't report" in text), (503, True), text)
        self.assertEqual(self.get("Deployment", "shop-capture")["spec"], before)
        own = self.get("Secret", "firn-operator-channel")["data"]
        data = {key: own[key] for key in ("tls.crt", "tls.key", "ca.crt")}
        self.kube.apply(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own", "namespace": self.namespace}, "data": data}))
        self.until(self.operator.ready, "it is ready")
        self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": "7s"}}, self.namespace)
        self.until(lambda: '"7s"' in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "changes are followed")

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

    def test_a_table_has_one_unit(self):
        """Whoever feeds it: the elder of two that no manifest holds together."""
        self.started()
        self.settle()

        def applied(kind: str, name: str, **spec):
            self.kube.apply(json.dumps({"apiVersion": "firn.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": self.namespace},
                                        "spec": spec}))  # fmt: skip

        def clicks(table: str):
            applied("IngestionUnit", "clicks", kafka={"topic": "clicks", "brokers": "one:9092", "incomingData": "Json"}, lakeTableRef={"name": table})

        made = self.get("IngestionUnit", "orders")["metadata"]["creationTimestamp"]
        self.until(lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) > made, "another second, for they are told apart by seconds")
        # of a topic
        clicks("orders")
        found = self.wait_condition("IngestionUnit", "clicks", "Stalled", "True", "TableTaken")
        self.assertIn("LakeTable orders is filled by IngestionUnit orders already", found["message"])
        self.wait_event("IngestionUnit", "clicks", "TableTaken")
        self.assertIsNone(self.find("Deployment", "clicks-ingest"))
        # a table that another unit made
        clicks("customers")
        self.until(lambda: (one := self.is_condition("IngestionUnit", "clicks", "Stalled", "True", "TableTaken")) and "IngestionUnit customers"
                   in one["message"], "nor this")  # fmt: skip
        applied("LakeTable", "clicks", catalog={"warehouse": "/lake"}, database="d", tableName="clicks", mode="Append",
                columns=[{"name": "a", "type": "string"}])  # fmt: skip
        clicks("clicks")
        self.until(lambda: self.find("Deployment", "clicks-ingest"), "with a table of its own it runs")
        self.wait_condition("IngestionUnit", "clicks", "Stalled", "False")
        clicks("orders")
        self.until(lambda: self.find("Deployment", "clicks-ingest") is None, "it ends")
        # of another Connector
        applied("Connector", "other", source={**self.get("Connector", "shop")["spec"]["source"], "host": "another"})
        applied("IngestionUnit", "other", connectorRef={"name": "other", "table": "public.orders"}, lakeTableRef={"name": "orders"})
        self.wait_condition("IngestionUnit", "other", "Stalled", "True", "TableTaken")
        self.assertIsNone(self.find("Deployment", "other-capture"))
        self.assertTrue(self.all_ready())
        # the elder goes; of the two that wait the elder is next
        self.kube.delete("IngestionUnit", "clicks", self.namespace)
        self.kube.delete("IngestionUnit", "orders", self.namespace)
        self.until(lambda: self.find("Deployment", "other-capture"), "it goes on by itself")
        self.wait_condition("IngestionUnit", "other", "Stalled", "False")

    def test_a_topics_secret_is_missing(self):
        self.started()
        document = {"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": "clicks", "namespace": self.namespace}, "spec": {
            "kafka": {"topic": "clicks", "brokers": "one:9092", "incomingData": "Json",
                      "security": {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", "credentialsSecretRef": {"name": "kafka"}}},
            "outsourcingUnit": {"table": {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": "clicks", "mode": "Append",
                                          "columns": [{"name": "a", "type": "string"}]}}}}  # fmt: skip
        self.kube.apply(json.dumps(document))
        found = self.wait_condition("IngestionUnit", "clicks", "Stalled", "True", "SecretMissing")
        self.assertIn("Secret kafka, which it names", found["message"])
        self.wait_event("IngestionUnit", "clicks", "SecretMissing")
        self.assertIsNone(self.find("Deployment", "clicks-ingest"))
        self.secret("kafka")
        self.until(lambda: self.find("Deployment", "clicks-ingest"), "it goes on by itself")
        self.wait_condition("IngestionUnit", "clicks", "Stalled", "False")

    def test_another_takes_over_what_is_said(self):
        """What holds is not said anew, and never otherwise in between."""
        self.started()
        self.settle()
        self.operator.stop()
        things = [(kind, name) for kind in ("IngestionUnit", "LakeTable") for name in ("orders", "customers")] + [("Connector", "shop")]
        versions = lambda: [self.get(kind, name)["metadata"]["resourceVersion"] for kind, name in things]  # noqa: E731
        before = versions()
        told = len(self.kube.all_of("Event", self.namespace))
        self.started("two")
        self.until(lambda: self.looks() >= len(things), "it looked at each")
        self.kube.patch("Connector", "shop", {"metadata": {"annotations": {"note": "a"}}}, self.namespace)
        looks = self.looks()
        self.until(lambda: self.looks() > looks, "and once more")
        self.assertEqual(versions()[:-1], before[:-1])
        self.assertEqual(len(self.kube.all_of("Event", self.namespace)), told)

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
                    "timeoutSeconds": 30, "clientConfig": {"url": webhook.url, "caBundle": webhook.authority()},
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
                    "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE", "UPDATE"]}]}  # fmt: skip
            self.kube.apply(json.dumps({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                                        "metadata": {"name": self.namespace}, "webhooks": [hook]}))  # fmt: skip
            self.addCleanup(self.kube.delete, "ValidatingWebhookConfiguration", self.namespace)
            pods = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
            probe = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe", "namespace": self.namespace},
                     "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pods}}  # fmt: skip
            wait_until(lambda: self.kube.is_refused(probe, "no Deployments on Sundays"), SECONDS, "the webhook is asked")
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
        self.assertEqual(health(self.get("Connector", "shop")), ("Progressing", "it is being deleted"))
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

    def is_deleting(self, reason: str, kind: str = "Connector", name: str = "shop"):
        """Its Ready, if that is why it is not gone yet."""
        found = self.get(kind, name)
        ready = condition(found, "Ready")
        return found["status"].get("phase") == "Deleting" and ready.get("reason") == reason and ready

    def test_what_holds_a_deletion_up(self):
        """Its Secret went with it, a quota is full, nobody reaches a webhook, the Job fails: each is said, nothing stays behind for it,
        and it goes on by itself when it is mended."""
        self.started()
        self.settle()
        quota = self.kube.path("ResourceQuota", "jobs", self.namespace)
        full = {"hard": {"count/jobs.batch": "0"}}
        self.kube.apply(json.dumps({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs", "namespace": self.namespace}, "spec": full}))
        self.kube.call("PATCH", quota + "/status", {"status": {**full, "used": {"count/jobs.batch": "0"}}}, "application/merge-patch+json")
        pods = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
        probe = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe", "namespace": self.namespace}, "spec": {"template": pods}}
        self.until(lambda: self.kube.is_refused(probe, "exceeded quota: jobs"), "the quota holds")
        self.kube.delete("Connector", "shop", self.namespace)
        self.kube.delete("Secret", "shop-db", self.namespace)
        found = self.until(lambda: self.is_deleting("SecretMissing"), "the missing Secret is said")
        self.assertIn("Secret shop-db", found["message"])
        self.wait_event("Connector", "shop", "SecretMissing")
        self.secret()
        found = self.until(lambda: self.is_deleting("ObjectRefused"), "the quota is said")
        self.assertIn("exceeded quota: jobs", found["message"])
        self.wait_event("Connector", "shop", "ObjectRefused")
        hook = {"name": "jobs.firn.test", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 2,
                "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/"},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
                "rules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"], "operations": ["CREATE"]}]}  # fmt: skip
        self.kube.apply(json.dumps({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                                    "metadata": {"name": self.namespace}, "webhooks": [hook]}))  # fmt: skip
        self.until(lambda: self.kube.is_refused(probe, "failed calling webhook"), "the webhook is asked")
        self.kube.call("DELETE", quota)
        self.until(lambda: (one := self.is_deleting("ObjectRefused")) and "failed calling webhook" in one["message"], "the webhook is said")
        self.kube.delete("ValidatingWebhookConfiguration", self.namespace)
        job = self.until(lambda: self.find("Job", "shop-drop"), "the Job that drops the slot")
        self.until(lambda: self.is_deleting("Dropping"), "what it waits for is said")
        self.finish_job("shop-drop", "Failed")

        def made_again():
            other = self.find("Job", "shop-drop")
            return other and other["metadata"]["uid"] != job["metadata"]["uid"]

        self.until(made_again, "another Job")
        self.assertTrue(self.is_deleting("DropFailed"))
        self.wait_event("Connector", "shop", "DropFailed")
        self.assertEqual(self.get("Connector", "shop")["metadata"]["finalizers"], ["firn.dev/source"])
        self.finish_job("shop-drop")
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        self.assertFalse(self.operator.said("slot left behind"))
        self.assertNotIn("SlotLeaked", {event["reason"] for event in self.kube.all_of("Event", self.namespace)})

    def test_mysql_keeps_nothing_at_its_source(self):
        """No finalizer, no Job; who has one of before loses it."""
        self.started()
        self.apply_shop(type="MySQL")
        self.wait_children()
        self.assertNotIn("finalizers", self.get("Connector", "shop")["metadata"])
        self.kube.patch("Connector", "shop", {"metadata": {"finalizers": ["firn.dev/source", "firn.test/other"]}}, self.namespace)
        self.until(lambda: self.get("Connector", "shop")["metadata"]["finalizers"] == ["firn.test/other"], "ours is gone, another's is not")
        self.operator.stop()
        self.kube.patch("Connector", "shop", {"metadata": {"finalizers": ["firn.dev/source"]}}, self.namespace)
        self.kube.delete("Connector", "shop", self.namespace)
        self.started("two")
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        self.assertIsNone(self.find("Job", "shop-drop"))
        self.assertFalse(self.operator.said("slot left behind"))

    def test_a_table_that_is_to_be_dropped(self):
        """Not while it is filled; then by a Job with the Connector's volumes; what can't be dropped is named."""
        self.started()
        self.secret()
        documents = list(yaml.safe_load_all(shop(self.namespace)))
        documents[0]["spec"]["agent"] = {"podTemplate": {"spec": {"volumes": [{"name": "lake", "emptyDir": {}}], "restartPolicy": "Always",
                                                                   "containers": [{"name": "beside", "image": "firn.test/beside:1"}]}}}  # fmt: skip
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
        unit = self.kube.version("IngestionUnit", "orders", self.namespace)
        self.kube.delete("LakeTable", "orders", self.namespace)
        self.until(lambda: '"public.orders"' not in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "it is filled no more")
        self.passes("IngestionUnit", "orders", unit, "LakeTableMissing", Reconciling="True")
        self.until(lambda: self.get("Deployment", "shop-capture")["metadata"]["generation"] > before, "new Pods are asked for")
        self.assertIsNone(self.find("Job", "orders-drop-table"))  # the Pods of before may run
        self.run_deployment()
        job = self.until(lambda: self.find("Job", "orders-drop-table"), "the Job that drops it")
        pod = job["spec"]["template"]["spec"]
        self.assertEqual(pod["containers"][0]["args"][0], "drop")
        self.assertEqual([container["name"] for container in pod["containers"]], ["agent"])
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
        self.until(lambda: self.is_deleting("DropFailed", "LakeTable", "customers"), "that the Job failed is said")
        self.until(lambda: (one := self.find("Job", "customers-drop-table")) and one["metadata"]["uid"] != job["metadata"]["uid"], "another Job")
        self.operator.stop()
        self.started("two", None, "--cleanup-timeout=1s")
        self.until(lambda: self.find("LakeTable", "customers") is None, "it is gone")
        self.assertTrue(self.operator.said("table left behind"))
        self.assertIn("TableLeft", {event["reason"] for event in self.kube.all_of("Event", self.namespace)})
        self.assertIn("firn_leaked_tables 1", self.operator.http("/metrics")[1])

    def test_a_topics_table_that_is_to_be_dropped(self):
        """Its unit is gone by then, and with it what the Pods had to reach the lake."""
        self.started()
        over = {"spec": {"serviceAccountName": "lake", "volumes": [{"name": "lake", "emptyDir": {}}]}}
        table = {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": "clicks", "mode": "Append",
                 "columns": [{"name": "a", "type": "string"}]}  # fmt: skip
        document = {"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": "clicks", "namespace": self.namespace}, "spec": {
            "kafka": {"topic": "clicks", "brokers": "one:9092", "incomingData": "Json"},
            "agent": {"image": "firn.test/agent:of-clicks", "podTemplate": over}, "outsourcingUnit": {"table": table}}}  # fmt: skip
        self.kube.apply(json.dumps(document))
        self.until(lambda: (one := self.find("LakeTable", "clicks")) and one.get("status", {}).get("unit") == "clicks", "it has its table")
        self.assertNotIn("agent", self.get("LakeTable", "clicks")["status"])
        table["deletionPolicy"] = "Drop"
        self.kube.apply(json.dumps(document))
        self.until(lambda: self.get("LakeTable", "clicks")["status"].get("agent") == document["spec"]["agent"], "it is known how its Pods reach it")
        self.kube.delete("IngestionUnit", "clicks", self.namespace)
        job = self.until(lambda: self.find("Job", "clicks-drop-table"), "the Job that drops it")
        self.assertIsNone(self.find("IngestionUnit", "clicks"))
        pod = job["spec"]["template"]["spec"]
        self.assertEqual((pod["serviceAccountName"], pod["containers"][0]["image"]), ("lake", "firn.test/agent:of-clicks"))
        self.assertIn("lake", [volume["name"] for volume in pod["volumes"]])
        self.finish_job("clicks-drop-table")
        self.until(lambda: self.find("LakeTable", "clicks") is None, "it is gone")

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
        self.until(lambda: self.get("LakeTable", "layout")["metadata"].get("finalizers") == ["firn.dev/table"], "what drops has a finalizer")
        for name in ("rest", "signed", "layout", "misfits"):
            within = self.get("LakeTable", name)["spec"]
            self.until(lambda name=name, within=within: self.get("LakeTable", f"{name}-within")["spec"] | {"tableName": name} == within,
                       f"{name} is made within its unit as beside it")  # fmt: skip

    def arrived(self, wanted: dict, before: list[dict], now: list[dict]) -> bool:
        spec = {name: one for name, one in wanted["spec"].items() if name != "agent"}  # which is not for the agent to read
        hashes = [one["hash"] for one in before]
        if not any(one == spec | {"hash": one["hash"]} and one["hash"] not in hashes for one in now):
            return False
        status = self.get(wanted["kind"], wanted["metadata"]["name"])["status"]
        return status["observedGeneration"] == wanted["metadata"]["generation"] >= 2 and condition({"status": status}, "Stalled").get("status") == "False"


class Faults(Reconcile):
    def shape(self) -> dict[tuple, dict]:
        """What is there, without what differs from run to run: units made in one second stand in the manifest by name, else by
        age, and it has its hash."""
        found = {}
        for kind in CHILDREN:
            for one in self.kube.all_of(kind, self.namespace, "app.kubernetes.io/managed-by=firn-operator"):
                content = {key: value for key, value in one.items() if key not in ("metadata", "status")}
                if kind == "ConfigMap":
                    content["data"]["manifest.yaml"] = sorted(content["data"]["manifest.yaml"].split("\n---\n"))
                if kind == "Deployment":
                    self.assertTrue(content["spec"]["template"]["metadata"]["annotations"].pop("firn.dev/manifest-hash"))
                found[kind, one["metadata"]["name"]] = content | {"labels": one["metadata"]["labels"]}
        return found

    def test_killed_at_each_point(self):
        points = [line.split() for line in (Path(__file__).parent / "crash_points").read_text().splitlines()]
        points = [(name, often == "many") for name, phase, often, *_ in points if phase == "operator"]
        self.assertGreaterEqual(len(points), 4)
        self.started()
        self.settle()
        wanted = self.shape()
        self.assertEqual(sorted(wanted), sorted((kind, "shop-capture") for kind in CHILDREN))
        self.operator.stop()
        self.clear()
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
                        self.until(lambda: self.find("ConfigMap", "shop-drop") is None, "what dropped its slot is collected")
                    self.kube.apply(shop(self.namespace))
                    self.wait_children()
                    self.until(self.all_ready, "everything is ready")
                    self.assertEqual(self.shape(), wanted)
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

    def test_what_is_hard_to_read(self):
        """A NUL in a text or a name, values thousands deep: the API server takes them. They cost their object at most, not its kind."""
        self.started("one")
        self.settle()
        for kind, name in (("Connector", "shop"), ("IngestionUnit", "orders"), ("LakeTable", "customers"), ("Secret", "shop-db"),
                           ("Deployment", "shop-capture"), ("ConfigMap", "shop-capture")):  # fmt: skip
            self.kube.patch(kind, name, {"metadata": {"annotations": {"firn.test/odd": "a\0b"}}}, self.namespace)
            self.assertEqual(self.get(kind, name)["metadata"]["annotations"]["firn.test/odd"], "a\0b")
        odd = next(yaml.safe_load_all(shop(self.namespace)))
        for depth in (50, 1500, 9000):
            odd["metadata"]["name"] = f"odd-{depth}"
            odd["spec"]["agent"] = {"podTemplate": {"a\0b": "DEEP"}}
            text = json.dumps(odd).replace('"DEEP"', '{"x":' * depth + '"\\u0000"' + "}" * depth)
            status, answer = self.kube.raw("POST", self.kube.path("Connector", None, self.namespace), text)
            self.assertEqual(status, 201, answer[:500])
        for identity, interval in (("one", "7s"), ("two", "8s")):  # by its watches, then by its lists
            if identity == "two":
                self.operator.stop()
                self.started(identity)
            self.kube.patch("LakeTable", "orders", {"spec": {"commitInterval": interval}}, self.namespace)
            self.until(lambda interval=interval: f'"{interval}"' in self.get("ConfigMap", "shop-capture")["data"]["manifest.yaml"], "it is followed")
            self.until(self.all_ready, "everything is ready")
            for depth in (50, 1500, 9000):  # of which Python does not read all either
                path = self.kube.path("Connector", f"odd-{depth}", self.namespace)
                self.until(lambda path=path: b'"reason":"NoUnits"' in self.kube.raw("GET", path)[1], f"{path} has its word")
            self.assertFalse(self.operator.said("watch interrupted"))

    def taken_over(self, leader: Operator) -> Operator:
        """Who leads within 15 s when it is killed; where the machine was busy just then, who leads after that one."""
        for name in ("second", "another", "one more"):
            follower = self.start(name)
            self.until(follower.ready, "it is ready to take over")
            self.assertFalse(follower.working())
            killed = time.monotonic()
            leader.kill()
            self.operator = leader = follower
            self.until(follower.working, "it works")
            if time.monotonic() - killed < 15:
                return follower
        self.fail("three takeovers took longer than 15 s each")

    def test_leader(self):
        first = self.started("first")
        self.settle()
        second = self.taken_over(first)
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

    def test_a_leader_that_slept(self):
        """Stopped, while another of a newer release takes over: on waking it would put all of its own release back, and never does."""
        first = self.started("first")
        second = self.start("second", None, "--agent-image=firn.test/agent:2")
        self.until(second.ready, "the second is ready to take over")
        self.operator = first
        self.settle()
        first.process.send_signal(signal.SIGSTOP)
        self.addCleanup(first.process.send_signal, signal.SIGCONT)
        self.operator = second

        def image() -> str:
            return self.get("Deployment", "shop-capture")["spec"]["template"]["spec"]["containers"][0]["image"]

        self.until(lambda: image() == "firn.test/agent:2", "the second works")
        before = self.get("Deployment", "shop-capture")
        first.process.send_signal(signal.SIGCONT)
        self.until(lambda: first.process.poll() is not None, "the first ends", watch=False)
        self.assertEqual(first.process.returncode, 1)
        self.assertTrue(first.said("the lease was lost: somebody else works now"))
        self.assertEqual(self.get("Deployment", "shop-capture"), before)
        self.kube.patch("Deployment", "shop-capture", {"spec": {"replicas": 3}}, self.namespace)
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["replicas"] == 1, "the second goes on")

    def grant(self, role: dict, subject: dict):
        """A Role in the test's namespace, a ClusterRole for all."""
        kind, name = role["kind"], role["metadata"]["name"]
        place = {"namespace": self.namespace} if kind == "Role" else {}
        self.kube.apply(yaml.safe_dump({**role, "metadata": {"name": name, **place}}))
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": f"{kind}Binding", "metadata": {"name": f"{name}-limited", **place},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}, "subjects": [subject]}  # fmt: skip
        self.kube.apply(json.dumps(binding))
        self.addCleanup(self.kube.delete, f"{kind}Binding", f"{name}-limited", self.namespace)
        self.kube.wait_may(subject["name"], role, self.namespace if place else "")

    def test_rights(self):
        """The manifests' own roles are enough, with agents that report, and of Secrets' values it asks for its own alone."""
        (cluster,) = yaml.safe_load_all((ROOT / "deploy/kubernetes/role.yaml").read_text())
        others = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/operator.yaml").read_text()))
        roles = [cluster, *(one for one in others if one["kind"] in ("Role", "ClusterRole"))]
        self.assertEqual([role["kind"] for role in roles], ["ClusterRole", "Role", "ClusterRole"])
        self.kube.issue("limited", "firn-limited")
        for role in roles:
            self.grant(role, {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "firn-limited"})
        witness = self.enterContext(Witness(self.kube, "limited"))
        self.port = free_port()
        self.operator = Operator(witness.config, self.folder / "limited.log", f"--namespace={self.namespace}", f"--lease-namespace={self.namespace}",
                                 "--cleanup-timeout=2s", f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost")  # fmt: skip
        self.addCleanup(self.operator.kill)
        self.until(self.operator.working, "it works")
        self.settle()
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        agent.say("Streaming", lag=0, logStatus=1)
        self.wait_condition("Connector", "shop", "LogHeadroom", "True")
        self.assertIn("\nfirn_agents_lag_bytes{", self.operator.http("/metrics")[1])
        template = self.get("Deployment", "shop-capture")["spec"]["template"]
        self.secret(password="never to be seen")
        self.until(lambda: self.get("Deployment", "shop-capture")["spec"]["template"] != template, "the Secret's change is seen")
        agent.stop()
        self.remove_pod("agent")
        self.kube.delete("Connector", "shop", self.namespace)
        self.until(lambda: self.find("Connector", "shop") is None, "the Connector is gone")
        self.until(lambda: "\nfirn_agents_lag_bytes{" not in self.operator.http("/metrics")[1], "and what its agent measured")
        self.assertNotIn("Forbidden", self.operator.text())
        self.see_no_values(witness)

    def see_no_values(self, witness: Witness):
        """By what went over the wire: of Secrets metadata alone, but for the channel's own."""
        asked = [one for one in witness.of("secrets") if not one.target.endswith("/secrets/firn-operator-channel")]
        made = [one for one in asked if one.method == "POST"]  # the channel's, when it was not there
        self.assertEqual([one.target for one in made], [f"/api/v1/namespaces/{self.namespace}/secrets"])
        rest = [one for one in asked if one.method != "POST"]
        self.assertEqual({("watch=1" in one.target, one.method, one.accept.partition(",")[0]) for one in rest},
                         {(False, "GET", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
                          (True, "GET", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")})  # fmt: skip
        answers = bytes(witness.answers)
        self.assertIn(b'"kind":"PartialObjectMetadataList"', answers)
        self.assertIn(self.get("Secret", "shop-db")["metadata"]["resourceVersion"].encode(), answers)
        self.assertIn(self.get("Secret", "firn-operator-channel")["data"]["tls.crt"].encode(), answers, "values are found where there are any")
        for password in ("secret", "never to be seen"):
            self.assertNotIn(b'"password":"' + base64.b64encode(password.encode()), answers)

    def test_rights_in_one_namespace(self):
        """What the chart gives its account with `namespaces` set is enough there, and nothing elsewhere."""
        home = f"{self.namespace}-home"
        self.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {home}}}}}")
        self.addCleanup(self.kube.delete, "Namespace", home)
        call = [Path(fetched("go", HELM)) / "helm", "template", "firn", ROOT / "helm/firn", "--namespace", home, "--kube-version", "1.34.4",
                "--set", f"namespaces={{{self.namespace}}},crds.enabled=false"]  # fmt: skip
        rendered = [one for one in yaml.safe_load_all(subprocess.run(call, capture_output=True, text=True, check=True).stdout) if one]
        rights = [one for one in rendered if one["kind"] in ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")]
        for one in rights:
            self.kube.apply(yaml.safe_dump(one))
            self.addCleanup(self.kube.delete, one["kind"], one["metadata"]["name"], one["metadata"].get("namespace", "default"))
        (account,) = [one["metadata"]["name"] for one in rights if one["kind"] == "ServiceAccount"]
        user = f"system:serviceaccount:{home}:{account}"
        bound = {one["roleRef"]["name"] for one in rights if one["kind"].endswith("Binding")}
        for one in rights:
            if one["metadata"]["name"] in bound and one["kind"] in ("Role", "ClusterRole"):
                self.kube.wait_may(user, one, one["metadata"].get("namespace", ""))
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        token = self.kube.call("POST", self.kube.path("ServiceAccount", account, home, "/token"), request)["status"]["token"]
        (deployment,) = [one for one in rendered if one["kind"] == "Deployment"]
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        arguments = [one for one in arguments if one.startswith(("--namespace=", "--lease-"))]
        self.assertEqual(arguments, [f"--lease-namespace={home}", "--lease-name=firn", f"--namespace={self.namespace}"])
        self.port = free_port()
        self.operator = Operator(self.kube.write_kubeconfig("scoped", {"token": token}), self.folder / "scoped.log", *arguments,
                                 f"--channel=127.0.0.1:{self.port}", "--channel-host=localhost")  # fmt: skip
        self.addCleanup(self.operator.kill)
        self.until(self.operator.working, "it works")
        self.settle()
        self.make_pod("agent", {"phase": "Running"})
        agent = self.agent("agent")
        agent.say("Streaming", lag=0, logStatus=1)
        self.wait_condition("Connector", "shop", "LogHeadroom", "True")
        self.assertNotIn("Forbidden", self.operator.text())

        self.assertTrue(self.kube.may(user, "list", "firn.dev", "connectors", self.namespace))
        self.assertTrue(self.kube.may(user, "update", "coordination.k8s.io", "leases", home))
        for where in ("default", home, ""):
            for group, resource in (("firn.dev", "connectors"), ("", "secrets"), ("", "configmaps"), ("apps", "deployments")):
                self.assertFalse(self.kube.may(user, "list", group, resource, where), f"{resource} in {where!r}")
        for verb in ("get", "create", "update"):
            self.assertFalse(self.kube.may(user, verb, "coordination.k8s.io", "leases", self.namespace))


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
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, env=environment)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + (done.stderr if code else "")

    def render(self, *values) -> list[dict]:
        words = [word for value in values for word in ("--set", value)]
        text = self.run_command(self.helm, "template", "firn", ROOT / "helm/firn", "--namespace", "firn-system",
                                "--kube-version", "1.34.4", *words)  # fmt: skip
        documents = [one for one in yaml.safe_load_all(text) if one]
        for one in documents:
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

    def test_misspelt(self):
        """What is handed to Flux, Argo CD, Strimzi and the Prometheus operator is held against their own definitions: none of
        its fields may have a letter too many."""
        documents = [one for path in FOR_OTHERS for one in yaml.safe_load_all(path.read_text())]
        documents += [one for one in self.render("podMonitor.enabled=true") if one["kind"] == "PodMonitor"]
        self.assertEqual(set(self.kinds(documents)), {"Application", "GitRepository", "Kafka", "KafkaNodePool", "Kustomization", "PodMonitor"})
        for document in documents:
            meta = {"name": document["metadata"]["name"], "namespace": "default"}
            self.kube.create(document | {"metadata": meta}, dry_run=True)
            for path, spec in misspelt(document["spec"], "spec"):
                with self.subTest(kind=document["kind"], path=path), self.assertRaises(Refused) as refused:
                    self.kube.create(document | {"metadata": meta, "spec": spec}, dry_run=True)
                self.assertIn(f'unknown field "{path}"', refused.exception.message)

    def test_chart_for_some_namespaces(self):
        some = self.render("namespaces={retail,sales}", "crds.enabled=false", "replicas=2")
        cluster_wide = [one["roleRef"]["name"] for one in some if one["kind"] == "ClusterRoleBinding"]
        self.assertEqual(cluster_wide, ["firn-firn-system-tokens"])  # whose a token is, and nothing else
        self.assertEqual({one["metadata"]["namespace"] for one in some if one["kind"] == "RoleBinding"}, {"retail", "sales", "firn-system"})
        (deployment,) = [one for one in some if one["kind"] == "Deployment"]
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("--namespace=retail", arguments)
        self.assertIn("--agent-image=firn-agent:0.1.0", arguments)

    def test_chart_of_page_and_channel(self):
        """A proxy before the page; a certificate of one's own, which is read and never written."""
        def arguments(documents: list[dict]) -> list[str]:
            (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
            return deployment["spec"]["template"]["spec"]["containers"][0]["args"]

        def secrets(documents: list[dict]) -> list[dict]:
            (own,) = [one for one in documents if one["kind"] == "Role" and one["metadata"]["name"] == "firn-own"]
            return [rule for rule in own["rules"] if "secrets" in rule["resources"]]

        plain = self.render()
        self.assertIn("--page=127.0.0.1:8090", arguments(plain))
        self.assertFalse([one for one in arguments(plain) if one.startswith(("--page-", "--channel-secret"))])
        self.assertEqual([(rule["verbs"], rule.get("resourceNames")) for rule in secrets(plain)], [(["create"], None), (["get", "update"], ["firn-channel"])])
        given = self.render("page.proxy=10.0.0.7", "page.userHeader=X-Forwarded-User", "channel.certificateSecret=mine")
        self.assertLessEqual({"--page=0.0.0.0:8090", "--page-proxy=10.0.0.7", "--page-user-header=X-Forwarded-User", "--channel-secret=mine"},
                             set(arguments(given)))  # fmt: skip
        self.assertEqual([(rule["verbs"], rule.get("resourceNames")) for rule in secrets(given)], [(["get"], ["mine"])])
        self.assertFalse([one for one in arguments(self.render("page.enabled=false")) if one.startswith("--page")])
        said = self.run_command(self.helm, "template", "firn", ROOT / "helm/firn", "--kube-version", "1.34.4", "--set", "page.proxy=10.0.0.7", code=1)
        self.assertIn("page.proxy needs page.userHeader", said)

    def test_chart_refuses_odd_values(self):
        for value in ("replicas=many", "unknown=1", "namespaces={Retail}", "logLevel=loud"):
            said = self.run_command(self.helm, "template", "firn", ROOT / "helm/firn", "--set", value, code=1)
            self.assertIn("values don't meet the specifications", said)
        own = (self.helm, "template", "firn", ROOT / "helm/firn", "--kube-version", "1.34.4", "--set", "image.repository=registry.test/own")
        self.assertIn("agent.image is empty", self.run_command(*own, code=1))
        self.assertIn("--agent-image=registry.test/agent:1", self.run_command(*own, "--set", "agent.image=registry.test/agent:1"))

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
            return subprocess.run([operator_binary(), *words], capture_output=True, text=True, timeout=300)

        self.assertEqual(run("--help").returncode, 0)
        self.assertEqual(run("run").returncode, 2)
        self.assertEqual(run("run", "--agent-image=x", "--kubeconfig=/nowhere").returncode, 3)
        self.assertIn("/nowhere", run("run", "--agent-image=x", "--kubeconfig=/nowhere").stderr)
        documents = list(yaml.safe_load_all(run("crds").stdout))
        self.assertEqual([one["spec"]["names"]["kind"] for one in documents], ["Connector", "LakeTable", "IngestionUnit"])


if __name__ == "__main__":
    unittest.main()
