"""A private Kubernetes: etcd and the API server, and of the controllers those that remove what has no owner or
namespace any more. No node: Deployments are written, nothing runs; a test that wants Pods makes them and says how
they are. Built from their Go modules on first use (tests/harness/go); about 0.4 GB.

    kube.py --fetch

builds everything, so that no test has to wait for that.

A context manager, or start() and stop(). Every request of a test's own goes through `call`, as the administrator."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import authority
from harness.process import die_with_parent, free_port
from harness.server import fetched
from harness.wait import SLOWER, TimedOut, wait_until

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kubectl", "kube-scheduler", "kubelet", "kube-proxy")  # the latter three: kube_node.py
KUBERNETES = "gomod/kubernetes:" + ",".join(f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS)
ETCD = "gomod/etcd:go.etcd.io/etcd/server/v3"
HELM = "gomod/helm:helm.sh/helm/v3/cmd/helm"
START_SECONDS = 120
STOP_SECONDS = 240
IDLE_SECONDS = 30  # a connection is kept for so long: the server closes those that are idle for 90 s

PLURALS = {
    "Namespace": ("/api/v1", "namespaces"), "Node": ("/api/v1", "nodes"), "Secret": ("/api/v1", "secrets"), "ConfigMap": ("/api/v1", "configmaps"),
    "Pod": ("/api/v1", "pods"), "Event": ("/api/v1", "events"), "ResourceQuota": ("/api/v1", "resourcequotas"), "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"), "Deployment": ("/apis/apps/v1", "deployments"),
    "Job": ("/apis/batch/v1", "jobs"), "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "PersistentVolume": ("/api/v1", "persistentvolumes"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ValidatingWebhookConfiguration": ("/apis/admissionregistration.k8s.io/v1", "validatingwebhookconfigurations"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Connector": ("/apis/firn.dev/v1alpha1", "connectors"), "LakeTable": ("/apis/firn.dev/v1alpha1", "laketables"),
    "IngestionUnit": ("/apis/firn.dev/v1alpha1", "ingestionunits"),
    "GitRepository": ("/apis/source.toolkit.fluxcd.io/v1", "gitrepositories"), "Bucket": ("/apis/source.toolkit.fluxcd.io/v1", "buckets"),
    "OCIRepository": ("/apis/source.toolkit.fluxcd.io/v1", "ocirepositories"),
    "Kustomization": ("/apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "Application": ("/apis/argoproj.io/v1alpha1", "applications"), "PodMonitor": ("/apis/monitoring.coreos.com/v1", "podmonitors"),
    "Kafka": ("/apis/kafka.strimzi.io/v1beta2", "kafkas"), "KafkaNodePool": ("/apis/kafka.strimzi.io/v1beta2", "kafkanodepools"),
}  # fmt: skip
CLUSTERED = {"Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ValidatingWebhookConfiguration"}


def fetch():
    """Every program, ahead of its first use."""
    fetched("go", ETCD, KUBERNETES, HELM)


class Refused(Exception):
    """The API server's own words."""

    def __init__(self, status: int, answer: dict):
        super().__init__(f"{status} {answer.get('reason')}: {answer.get('message')}")
        self.status = status
        self.reason = answer.get("reason")
        self.message = answer.get("message", "")


class Cluster:
    address = "127.0.0.1"  # where it is reached
    names = "IP:127.0.0.1,DNS:localhost"
    # What has lost its owner, or its namespace, goes.
    controllers = "garbage-collector-controller,namespace-controller"
    accounts = False  # whether Pods get tokens
    keeps = ("GET",)  # what is asked by the connection of before

    def __init__(self):
        self.folder: Path | None = None
        self.processes: dict[str, subprocess.Popen] = {}
        self.port = self.etcd_port = self.peer_port = None
        self.kept = threading.local()

    # --- its life ---

    def start(self):
        self.etcd = Path(fetched("go", ETCD)) / "server"
        self.programs = Path(fetched("go", KUBERNETES))
        self.folder = Path(tempfile.mkdtemp(prefix="firn-kubernetes-"))
        self.port, self.etcd_port, self.peer_port = free_port(), free_port(), free_port()
        try:
            self._certificates()
            self.start_etcd()
            self.start_api_server()
            self.start_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        for name in ("controllers", "api-server", "etcd"):
            self.stop_one(name)
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def stop_one(self, name: str, number: int = signal.SIGTERM):
        process = self.processes.pop(name, None)
        if not process or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _run(self, name: str, call: list, ready):
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(call, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                                       preexec_fn=die_with_parent())  # fmt: skip
        self.processes[name] = process

        def alive():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}: {self.log(name)}")

        try:
            wait_until(ready, START_SECONDS, f"{name} answers", alive)
        except TimedOut as error:
            raise TimedOut(f"{error}; its log: {self.log(name)}") from None

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def _certificates(self):
        authority.make(self.folder)
        authority.issue(self.folder, "server", "kube-apiserver", self.names)
        self.issue("admin", "admin", "system:masters")
        self.issue("controllers", "system:kube-controller-manager", "system:masters")
        authority._openssl(self.folder, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "accounts.key")
        authority._openssl(self.folder, "pkey", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")

    def issue(self, stem: str, user: str, group: str = None) -> Path:
        """A client's certificate and a kubeconfig that shows it; returns the latter's path."""
        authority.issue(self.folder, stem, f"{user}/O={group}" if group else user)
        return self.write_kubeconfig(stem, {"client-certificate": f"{stem}.only.crt", "client-key": f"{stem}.key"})

    def write_kubeconfig(self, stem: str, user: dict) -> Path:
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "default"}}],
            "clusters": [{"name": "here", "cluster": {"server": f"https://{self.address}:{self.port}", "certificate-authority": "ca.crt"}}],
            "users": [{"name": "me", "user": user}],
        }  # fmt: skip
        path = self.folder / f"{stem}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def start_etcd(self):
        url, peers = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        call = [self.etcd, "--data-dir", self.folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}",
                "--unsafe-no-fsync", "--log-level", "warn"]  # fmt: skip

        def ready():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.etcd_port, timeout=5)
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

        self._run("etcd", call, ready)

    def api_server_options(self) -> list[str]:
        return ["--bind-address=127.0.0.1", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
                "--disable-admission-plugins=ServiceAccount"]  # fmt: skip

    def start_api_server(self):
        call = [self.programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
                f"--secure-port={self.port}", f"--advertise-address={self.address}", "--service-cluster-ip-range=10.96.0.0/16",
                "--client-ca-file=ca.crt", "--tls-cert-file=server.crt", "--tls-private-key-file=server.key",
                "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=accounts.pub",
                "--service-account-signing-key-file=accounts.key", "--profiling=false", *self.api_server_options()]  # fmt: skip

        def ready():
            try:
                return self.raw("GET", "/readyz")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        self._run("api-server", call, ready)

    def start_controllers(self):
        port = free_port()
        config = self.folder / "controllers.kubeconfig"
        call = [self.programs / "kube-controller-manager", f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
                f"--authorization-kubeconfig={config}", "--bind-address=127.0.0.1", f"--secure-port={port}", "--leader-elect=false",
                f"--controllers={self.controllers}", "--use-service-account-credentials=false"]  # fmt: skip
        if self.accounts:
            call += ["--service-account-private-key-file=accounts.key", "--root-ca-file=ca.crt"]
        # the default roles, its own among them, and namespaces are made soon after the API server answers
        wait_until(lambda: self.find("ClusterRole", "system:kube-controller-manager"), START_SECONDS, "the default roles are there")
        wait_until(lambda: self.find("Namespace", "default"), START_SECONDS, "the default namespace is there")
        self._run("controllers", call, lambda: self.is_healthy(port))

    @staticmethod
    def is_healthy(port: int) -> bool:
        context = ssl._create_unverified_context()  # its certificate is of its own making
        try:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    # --- asking it ---

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        context.load_cert_chain(self.folder / "admin.only.crt", self.folder / "admin.key")
        return http.client.HTTPSConnection(self.address, self.port, timeout=120, context=context)

    def raw(self, method: str, path: str, body: str = None, kind: str = "application/json") -> tuple[int, bytes]:
        """By a connection that the thread keeps: most of what is asked is asked many times a second, and to greet each other
        by TLS costs both sides more than the answer. When the server has gone, a question is put to the one after it; whoever
        changes something comes by a connection of his own, so that nothing is done twice."""
        connection, used = getattr(self.kept, "connection", (None, 0))
        self.kept.connection = (None, 0)  # of what fails nothing is kept
        is_kept = connection and method in self.keeps and time.monotonic() < used + IDLE_SECONDS
        if not is_kept:
            connection = self.connect()
        try:
            connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
            answer = connection.getresponse()
            result = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            if not is_kept or method != "GET":
                raise
            return self.raw(method, path)
        self.kept.connection = (connection, time.monotonic())
        return result

    def call(self, method: str, path: str, body=None, kind: str = "application/json"):
        def ask():
            status, answer = self.raw(method, path, json.dumps(body) if body is not None else None, kind)
            # storage of a new kind is made ready for a while
            return None if status == 429 else (status, answer)

        status, answer = wait_until(ask, 90, f"{method} {path} is let in")
        try:
            value = json.loads(answer) if answer else {}
        except json.JSONDecodeError:
            value = {"message": answer.decode(errors="replace")}
        if status >= 300:
            raise Refused(status, value)
        return value

    def path(self, kind: str, name: str = None, namespace: str = "default", more: str = "") -> str:
        base, plural = PLURALS[kind]
        place = "" if kind in CLUSTERED or namespace is None else f"/namespaces/{namespace}"
        return f"{base}{place}/{plural}" + (f"/{urllib.parse.quote(name)}" if name else "") + more

    def get(self, kind: str, name: str, namespace: str = "default") -> dict:
        return self.call("GET", self.path(kind, name, namespace))

    def find(self, kind: str, name: str, namespace: str = "default") -> dict | None:
        try:
            return self.get(kind, name, namespace)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    def all_of(self, kind: str, namespace: str | None = "default", labels: str = "") -> list[dict]:
        more = f"?labelSelector={urllib.parse.quote(labels)}" if labels else ""
        return self.call("GET", self.path(kind, None, namespace, more))["items"]

    def apply(self, text: str, manager: str = "tester", dry_run: bool = False) -> list[dict]:
        """Server-side, strictly, as `kubectl apply --server-side --validate=strict` does."""
        query = f"?fieldManager={manager}&force=true&fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        made = []
        for document in yaml.safe_load_all(text):
            if document:
                meta = document["metadata"]
                path = self.path(document["kind"], meta["name"], meta.get("namespace", "default"), query)
                made.append(self.call("PATCH", path, document, "application/apply-patch+yaml"))
        return made

    def create(self, document: dict, dry_run: bool = False) -> dict:
        """Strictly; what is refused is refused by the schema alone (an apply looks at types first, in other words)."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.call("POST", self.path(document["kind"], None, document["metadata"].get("namespace", "default"), query), document)

    def patch(self, kind: str, name: str, change: dict, namespace: str = "default", subresource: str = "") -> dict:
        return self.call("PATCH", self.path(kind, name, namespace, subresource), change, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str = "default", policy: str = "Background"):
        return self.call("DELETE", self.path(kind, name, namespace, f"?propagationPolicy={policy}"))

    def is_refused(self, document: dict, words: str) -> bool:
        """Whether it would be, now, in these words. What decides on requests (webhooks, quotas) does so a moment after it was
        applied."""
        try:
            self.create(document, dry_run=True)
        except Refused as refused:
            return words in refused.message
        return False

    def may(self, user: str, verb: str, group: str, resource: str, namespace: str = "") -> bool:
        """Without a namespace: in all. Rights hold a moment after they were given."""
        spec = {"user": user, "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return self.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]

    def wait_may(self, user: str, role: dict, namespace: str = ""):
        """Until the role that it was bound to, and that it was, is known: by the first of its rules."""
        (group, *_), (resource, *_), (verb, *_) = (role["rules"][0][name] for name in ("apiGroups", "resources", "verbs"))
        wait_until(lambda: self.may(user, verb, group, resource, namespace), 60, f"{user} may {verb} {resource}")

    def version(self, kind: str, name: str, namespace: str = "default") -> str:
        """Of the object as it is, for passed()."""
        return self.get(kind, name, namespace)["metadata"]["resourceVersion"]

    def passed(self, kind: str, name: str, namespace: str, since: str, holds, seconds: float) -> dict | None:
        """The first state of an object, after that version, that `holds` is true of, were it only for a moment; None: there was none
        within these seconds, as wait_until counts them."""
        seconds *= SLOWER
        query = f"?watch=1&fieldSelector=metadata.name%3D{name}&resourceVersion={since}&timeoutSeconds={max(1, int(seconds))}"
        with contextlib.closing(self.connect()) as connection:
            connection.timeout = seconds + 30
            connection.request("GET", self.path(kind, None, namespace, query))
            answer = connection.getresponse()
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Refused(event["object"].get("code", 0), event["object"])
                if holds(event["object"]):
                    return event["object"]
        return None

    def install(self, folder: Path):
        """The definitions of a folder and those in it, until they are served."""
        for file in sorted(set(folder.rglob("*.yaml")) - {folder / "kustomization.yaml"}):
            (definition,) = self.apply(file.read_text())
            name = definition["metadata"]["name"]

            def established(name=name, definition=definition):
                found = self.get("CustomResourceDefinition", name).get("status", {}).get("conditions") or []
                done = any(one["type"] == "Established" and one["status"] == "True" for one in found)
                return done and self.raw("GET", self.path(definition["spec"]["names"]["kind"], None, None))[0] == 200

            wait_until(established, START_SECONDS, f"{name} is served")

    def secret(self, name: str, namespace: str = "default", **values: str):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.apply(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}))

    def signed(self, token: str, **claims) -> str:
        """An account's token with other claims, by the key that the API server signs with (RFC 7515, RS256)."""

        def encoded(data: bytes) -> bytes:
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        head, payload, _ = token.encode().split(b".")
        known = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        text = head + b"." + encoded(json.dumps(known | claims).encode())
        call = ["openssl", "dgst", "-sha256", "-sign", self.folder / "accounts.key"]
        return (text + b"." + encoded(subprocess.run(call, input=text, capture_output=True, check=True).stdout)).decode()

    def compact(self):
        """etcd forgets every version but the newest: watches that were away have to list again."""
        body = json.dumps({"key": base64.b64encode(b"x").decode()})
        newest = json.loads(self._etcd("/v3/kv/range", body))["header"]["revision"]
        self._etcd("/v3/kv/compaction", json.dumps({"revision": newest, "physical": True}))

    def _etcd(self, path: str, body: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.etcd_port, timeout=120)
        with contextlib.closing(connection):
            connection.request("POST", path, body)
            return connection.getresponse().read()


class BusyCluster(Cluster):
    """For thousands of requests of a server that stays: what changes something comes by the kept connection, too."""

    keeps = ("GET", "POST", "PUT", "PATCH", "DELETE")


ROOT = Path(__file__).resolve().parents[2]


def operator_binary() -> Path:
    return ROOT / "build" / os.environ.get("FIRN_BUILD", "debug") / "operator" / "firn-operator"


class Operator:
    """firn-operator as a process of its own, outside the cluster. Its log is JSON lines."""

    def __init__(self, config: Path, log: Path, *options: str, identity: str = "one", crash_at: str = None):
        self.log_path = log
        self.http_port = free_port()
        environment = {**os.environ, **({"FIRN_CRASH_AT": crash_at} if crash_at else {})}
        call = [operator_binary(), "run", f"--kubeconfig={config}", "--agent-image=firn.test/agent:1", f"--http=127.0.0.1:{self.http_port}",
                "--log-format=json", "--log-level=debug", f"--identity={identity}", *options]  # fmt: skip
        with open(log, "wb") as to:
            self.process = subprocess.Popen(call, stdout=to, stderr=to, stdin=subprocess.DEVNULL, env=environment,
                                            preexec_fn=die_with_parent())  # fmt: skip

    def text(self) -> str:
        return self.log_path.read_text(errors="replace")

    def lines(self) -> list[dict]:
        """But for the last one, while that is being written."""
        return [json.loads(line) for line in self.text().rpartition("\n")[0].splitlines() if line.startswith("{")]

    def said(self, message: str) -> bool:
        return any(line.get("msg", line.get("message")) == message for line in self.lines())

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the operator ended with {self.process.returncode}: {self.text()[-2000:]}")

    def http(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=120)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def ready(self) -> bool:
        return self.http("/readyz")[0] == 200

    def working(self) -> bool:
        return self.said("working")

    def kill(self, number: int = signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        return self.kill(signal.SIGTERM)


if __name__ == "__main__":
    if sys.argv[1:] != ["--fetch"]:
        sys.exit(__doc__)
    fetch()
