"""The operator beside a bare client, on a real API server: 20 Connectors, 1,000 LakeTables and 1,000 IngestionUnits applied
at once, and 4,000 of each more. How long until their children are whole, how soon a change of a spec is in its Deployment,
memory, what it costs at rest, and how many requests it makes. No node: what Pods do is not the operator's."""

import http.client
import json
import os
import shutil
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
APPLIED_MAX = 1.3
CHANGE_SECONDS_MAX = 0.5
MEMORY_MAX, MEMORY_MORE_MAX = 20 << 20, 40 << 20
CPU_AT_REST_MAX = 0.005
MANAGED = "app.kubernetes.io/managed-by=firn-operator"


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


def children(kube: Cluster, namespace: str) -> list[dict]:
    kinds = ("ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment")
    return [{"kind": kind} | one for kind in kinds for one in kube.all_of(kind, namespace, MANAGED)]


def units_in(kube: Cluster, namespace: str) -> int:
    return sum(one["data"]["manifest.yaml"].count('"kind":"IngestionUnit"') for one in kube.all_of("ConfigMap", namespace, MANAGED))


def whole(kube: Cluster, namespace: str, units: int) -> bool:
    """Each unit is in a manifest, and each Connector has all its children. Not asked for all the time: it costs the server, too."""
    time.sleep(0.03)
    return units_in(kube, namespace) == units and len(children(kube, namespace)) == CONNECTORS * 6


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


def one_run(kube: Cluster, folder: Path, number: int) -> tuple[float, float, Operator, str]:
    namespace, other = f"run-{number}", f"bare-{number}"
    for name in (namespace, other):
        kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    kube.secret("db", namespace, username="a", password="b")
    operator = Operator(kube.folder / "admin.kubeconfig", folder / f"operator-{number}.log", f"--namespace={namespace}",
                        f"--lease-namespace={namespace}", "--log-level=info")  # fmt: skip
    wait_until(operator.working, 60, "the operator works", operator.alive)
    documents = resources(namespace, range(UNITS))
    started = time.monotonic()
    apply_all(kube, documents)
    wait_until(lambda: whole(kube, namespace, UNITS), 600, "the children are whole", operator.alive)
    ours = time.monotonic() - started
    wait_until(lambda: all_said(kube, namespace), 600, "each has a status", operator.alive)
    settled(operator)  # or the client would have less of the API server
    # the same resources and the same children, by a client that thinks nothing
    bare = [json.loads(json.dumps(one).replace(namespace, other)) for one in documents]
    for child in children(kube, namespace):
        child["apiVersion"] = {"Deployment": "apps/v1", "PodDisruptionBudget": "policy/v1", "NetworkPolicy": "networking.k8s.io/v1"}.get(child["kind"], "v1")
        child["metadata"] = {key: child["metadata"][key] for key in ("name", "labels")} | {"namespace": other}
        child.pop("status", None)
        bare.append(child)
    reference = apply_all(kube, bare)
    return ours, reference, operator, namespace


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="firn-bench-"))
    try:
        times = []
        for number in range(REPEAT):
            with Cluster() as kube:
                kube.install(ROOT / "crds")
                ours, reference, operator, namespace = one_run(kube, folder, number)
                times.append((ours, reference))
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
