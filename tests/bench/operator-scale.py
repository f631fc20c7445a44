"""The operator beside a bare client, on a real API server: 20 Connectors, 1,000 LakeTables and 1,000 IngestionUnits applied
at once, and 4,000 of each more. How long until their children are whole, how soon a change of a spec is in its Deployment,
memory, what it costs at rest, and how many requests it makes. No node: what Pods do is not the operator's."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path

from figures import REPEAT, SCALE, figure, median
from harness.kube import ROOT, Cluster, Operator
from harness.wait import wait_until

NAME = "operator-scale"
CONNECTORS = 20
UNITS = int(1000 * SCALE)
MORE = int(5000 * SCALE)
AT_ONCE = 4  # connections of each side
CHANGES = 100
REST_SECONDS = 20
PAIRS = 3  # in a repetition
APPLIED_MAX = 1.3
CHANGE_SECONDS_MAX = 0.5
MEMORY_MAX, MEMORY_MORE_MAX = 20 << 20, 40 << 20
CPU_AT_REST_MAX = 0.005
MANAGED = "app.kubernetes.io/managed-by=firn-operator"
CHILDREN = {"ServiceAccount": "v1", "ConfigMap": "v1", "Service": "v1", "PodDisruptionBudget": "policy/v1", "NetworkPolicy": "networking.k8s.io/v1",
            "Deployment": "apps/v1"}  # fmt: skip
WATCH_SECONDS = 1200


class Client:
    """Connections that are kept, as a quick client would."""

    def __init__(self, kube: Cluster):
        self.kube = kube
        context = ssl.create_default_context(cafile=kube.folder / "ca.crt")
        context.load_cert_chain(kube.folder / "admin.only.crt", kube.folder / "admin.key")
        self.connection = http.client.HTTPSConnection(kube.address, kube.port, context=context)

    def apply(self, document: dict):
        meta = document["metadata"]
        path = self.kube.path(document["kind"], meta["name"], meta["namespace"], "?fieldManager=bench&force=true")
        self.connection.request("PATCH", path, json.dumps(document), {"Content-Type": "application/apply-patch+yaml"})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{NAME}: {answer.status} {body[:300]}")


def apply_all(kube: Cluster, documents: list[dict]) -> float:
    """By AT_ONCE connections side by side; seconds."""
    started = time.monotonic()
    threads = [threading.Thread(target=lambda part=documents[at::AT_ONCE]: [client.apply(one) for client in [Client(kube)] for one in part])
               for at in range(AT_ONCE)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def resources(namespace: str, units: range) -> list[dict]:
    def one(kind: str, name: str, spec: dict) -> dict:
        return {"apiVersion": "firn.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}

    source = {"type": "PostgreSQL", "host": "db", "database": "shop", "credentialsSecretRef": {"name": "db"}}
    list_ = [one("Connector", f"c{at}", {"source": source}) for at in range(CONNECTORS)]
    for at in units:
        list_.append(one("LakeTable", f"t{at}", {"catalog": {"warehouse": "/lake"}, "database": "d", "tableName": f"t{at}"}))
        list_.append(one("IngestionUnit", f"t{at}", {
            "connectorRef": {"name": f"c{at % CONNECTORS}", "table": f"public.t{at}"}, "lakeTableRef": {"name": f"t{at}"}}))  # fmt: skip
    return list_


def lines_of(answer: http.client.HTTPResponse):
    """Until it is cut off."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while line := answer.readline():
            yield line


class Children:
    """Of a namespace, as watches tell of them, for to ask for all of them again and again costs the server, too, and says late
    what it saw early. `whole_at`: since when each unit is in a manifest, and each Connector has all its children."""

    def __init__(self, kube: Cluster, namespace: str, units: int):
        self.kube, self.namespace, self.units = kube, namespace, units
        self.lock = threading.Lock()
        self.found = {kind: {} for kind in CHILDREN}
        self.whole_at = None
        self.sockets = []
        self.threads = [threading.Thread(target=self.follow, args=(kind, *self.watch(kind))) for kind in CHILDREN]

    def watch(self, kind: str):
        query = f"?labelSelector={MANAGED.replace('=', '%3D')}"
        since = self.kube.call("GET", self.kube.path(kind, None, self.namespace, query))["metadata"]["resourceVersion"]
        connection = self.kube.connect()
        connection.timeout = WATCH_SECONDS
        connection.request("GET", self.kube.path(kind, None, self.namespace, f"{query}&watch=1&resourceVersion={since}&timeoutSeconds={WATCH_SECONDS}"))
        self.sockets.append(connection.sock)
        return connection, connection.getresponse()

    def follow(self, kind: str, connection: http.client.HTTPSConnection, answer: http.client.HTTPResponse):
        for line in lines_of(answer):
            event = json.loads(line)
            name, data = event["object"]["metadata"]["name"], event["object"].get("data", {})
            with self.lock:
                self.found[kind].pop(name, None)
                if event["type"] != "DELETED":
                    self.found[kind][name] = data.get("manifest.yaml", "").count('"kind":"IngestionUnit"')
                if not self.whole_at and self.is_whole():
                    self.whole_at = time.monotonic()
        connection.close()

    def is_whole(self) -> bool:
        return sum(self.found["ConfigMap"].values()) == self.units and all(len(of) == CONNECTORS for of in self.found.values())

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *unused):
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()


def units_in(kube: Cluster, namespace: str) -> int:
    return sum(one["data"]["manifest.yaml"].count('"kind":"IngestionUnit"') for one in kube.all_of("ConfigMap", namespace, MANAGED))


def cpu(operator: Operator) -> float:
    fields = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(operator: Operator) -> int:
    for line in Path(f"/proc/{operator.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise SystemExit(f"{NAME}: the operator ended")


def looks(operator: Operator) -> float:
    text = operator.http("/metrics")[1]
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("firn_operator_reconciles_total"))


def requests(kube: Cluster) -> float:
    """What the API server counted of writes and reads, of everybody."""
    text = kube.raw("GET", "/metrics")[1].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines()
               if line.startswith("apiserver_request_total") and 'verb="WATCH"' not in line)  # fmt: skip


def all_said(kube: Cluster, namespace: str) -> bool:
    return all(one.get("status", {}).get("observedGeneration", -1) >= 1 for kind in ("IngestionUnit", "LakeTable") for one in kube.all_of(kind, namespace))


def settled(operator: Operator):
    """No key was looked at for two seconds."""
    last = [looks(operator), time.monotonic()]

    def quiet() -> bool:
        now = looks(operator)
        if now != last[0]:
            last[:] = [now, time.monotonic()]
        time.sleep(0.1)
        return time.monotonic() - last[1] > 2

    wait_until(quiet, 900, "the operator is at rest", operator.alive)


def change_latencies(kube: Cluster, operator: Operator, namespace: str) -> list[float]:
    """From the answer to a change of a Connector's image to the Deployment that has it, as a watch would see it."""
    took = []
    client = Client(kube)
    for at in range(CHANGES):
        name = f"c{at % CONNECTORS}"
        path = kube.path("Connector", name, namespace)
        started = time.monotonic()
        client.connection.request("PATCH", path, json.dumps({"spec": {"agent": {"image": f"agent:{at}"}}}),
                                  {"Content-Type": "application/merge-patch+json"})  # fmt: skip
        if (answer := client.connection.getresponse()).read() and answer.status >= 300:
            raise SystemExit(f"{NAME}: {answer.status}")

        def there() -> bool:
            client.connection.request("GET", kube.path("Deployment", f"{name}-capture", namespace))
            found = json.loads(client.connection.getresponse().read())
            return found["spec"]["template"]["spec"]["containers"][0]["image"] == f"agent:{at}"

        wait_until(there, 30, "the change is in its Deployment", operator.alive)
        took.append(time.monotonic() - started)
    return sorted(took)


def make_namespace(kube: Cluster, name: str):
    kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))


def begun(kube: Cluster, folder: Path, namespace: str) -> Operator:
    """One that works, and has nothing to do yet."""
    make_namespace(kube, namespace)
    kube.secret("db", namespace, username="a", password="b")
    operator = Operator(kube.folder / "admin.kubeconfig", folder / f"{namespace}.log", f"--namespace={namespace}",
                        f"--lease-namespace={namespace}", "--log-level=info")  # fmt: skip
    wait_until(operator.working, 60, "the operator works", operator.alive)
    return operator


def by_operator(kube: Cluster, operator: Operator, namespace: str) -> float:
    """Seconds from the first resource until the children are whole. Afterwards all is said, and the operator at rest."""
    settled(operator)
    documents = resources(namespace, range(UNITS))
    with Children(kube, namespace, UNITS) as children:
        started = time.monotonic()
        apply_all(kube, documents)
        wait_until(lambda: children.whole_at, 600, "the children are whole", operator.alive)
    wait_until(lambda: all_said(kube, namespace), 600, "each has a status", operator.alive)
    settled(operator)  # or the client would have less of the API server
    return children.whole_at - started


def by_client(kube: Cluster, operator: Operator, namespace: str, made: list[dict]) -> float:
    """The same resources and the same children, by a client that thinks nothing. Until the last of them is answered."""
    make_namespace(kube, namespace)
    documents = resources(namespace, range(UNITS))
    for child in made:
        documents.append(child | {"metadata": child["metadata"] | {"namespace": namespace}})
    settled(operator)
    return apply_all(kube, documents)


def made_in(kube: Cluster, namespace: str) -> list[dict]:
    """Its children, as they could be applied."""
    list_ = []
    for kind, version in CHILDREN.items():
        for child in kube.all_of(kind, namespace, MANAGED):
            child.pop("status", None)
            meta = {key: child["metadata"][key] for key in ("name", "labels")}
            list_.append(child | {"apiVersion": version, "kind": kind, "metadata": meta})
    return list_


def one_run(kube: Cluster, folder: Path, number: int) -> tuple[list[tuple[float, float]], Operator, str]:
    """Pairs of ours and the client's, by turns in another order, for the machine may be quicker now and slower then. A server that
    has just begun costs more: its heap is small, and collected more often. So all of it goes once for nothing before either."""
    pairs = []
    for pair in range(PAIRS + 1):
        namespace, other = f"run-{number}-{pair}", f"bare-{number}-{pair}"
        operator = begun(kube, folder, namespace)
        if pair == 0:
            by_operator(kube, operator, namespace)
            made = made_in(kube, namespace)
        elif (number + pair) % 2:
            ours = by_operator(kube, operator, namespace)
            pairs.append((ours, by_client(kube, operator, other, made)))
        else:
            reference = by_client(kube, operator, other, made)
            pairs.append((by_operator(kube, operator, namespace), reference))
        if pair:
            print(f"{NAME}: children whole {pairs[-1][0]:.2f} s, bare client {pairs[-1][1]:.2f} s", file=sys.stderr)
        if pair < PAIRS:
            operator.stop()
    return pairs, operator, namespace


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="firn-bench-"))
    try:
        times = []
        for number in range(REPEAT):
            with Cluster() as kube:
                kube.install(ROOT / "crds")
                pairs, operator, namespace = one_run(kube, folder, number)
                times += pairs
                if number < REPEAT - 1:
                    operator.stop()
                    continue
                settled(operator)
                before, asked = cpu(operator), requests(kube)
                time.sleep(REST_SECONDS)  # rest is what is measured
                at_rest = (cpu(operator) - before) / REST_SECONDS
                asked_at_rest = (requests(kube) - asked) / REST_SECONDS
                took = memory(operator)
                changed = change_latencies(kube, operator, namespace)
                apply_all(kube, resources(namespace, range(UNITS, MORE)))
                wait_until(lambda: units_in(kube, namespace) == MORE, 900, "the larger number is whole", operator.alive)
                settled(operator)
                more = memory(operator)
                operator.stop()
        figure(NAME, "children_whole", "s", median([ours for ours, _ in times]), median([bare for _, bare in times]), "bare client",
               at_most=APPLIED_MAX)  # fmt: skip
        figure(NAME, "change_to_deployment_p99", "s", changed[int(len(changed) * 0.99) - 1], at_most=CHANGE_SECONDS_MAX, of="ours")
        figure(NAME, f"memory_at_{UNITS}_units", "bytes", took, at_most=MEMORY_MAX, of="ours")
        figure(NAME, f"memory_at_{MORE}_units", "bytes", more, at_most=MEMORY_MORE_MAX, of="ours")
        figure(NAME, "cpu_at_rest", "cores", at_rest, at_most=CPU_AT_REST_MAX, of="ours")
        figure(NAME, "requests_at_rest_of_all_clients", "1/s", asked_at_rest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
