"""The channel with many agents, on a real API server that reviews each token: connections and words are the real ones, what
speaks them is one process that stands for all agents (channel_agents_bench). Memory for each, what a report a second from
each costs, how soon a condition stands in a status, and how long it takes until all are heard again after the operator was
killed. No node: the test makes the agents' Pods, and says of them what a node would."""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import SCALE, figure
from harness.kube import ROOT, BusyCluster, Cluster, Operator
from harness.process import die_with_parent, free_port
from harness.wait import wait_until

NAME = "channel-scale"
NAMESPACE = "agents"
NUMBERS = (int(1000 * SCALE), int(5000 * SCALE))
AT_ONCE = 4
CHANGES = 60
REST_SECONDS = 20
STATUSES_PER_S = 20  # at most: REPORTS_WRITES_PER_S
FIGURES_SECONDS = 60  # each unit's figures are in its status once in that time
MEMORY_MAX = 24 << 10  # for each agent
CPU_MAX = 0.02  # of a core, at 1,000 agents
CONDITION_SECONDS_MAX = 2
STORM_SECONDS_MAX = 30


def rss(operator: Operator) -> int:
    lines = Path(f"/proc/{operator.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))


def cpu(operator: Operator) -> float:
    words = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def each(function, numbers):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, numbers))


def unit(number: int) -> str:
    spec = {"kafka": {"topic": f"t{number}", "brokers": "kafka:9092", "incomingData": "Json", "startFrom": "Earliest",
                      "events": {"nameField": "e", "allow": [{"name": "a"}]}},
            "outsourcingUnit": {"table": {"catalog": {"warehouse": "/lake"}, "database": "bench", "tableName": f"t{number}", "mode": "Append",
                                          "columns": [{"name": "e", "type": "string"}]}}}  # fmt: skip
    return json.dumps({"apiVersion": "firn.dev/v1alpha1", "kind": "IngestionUnit", "metadata": {"name": f"u{number}", "namespace": NAMESPACE}, "spec": spec})


def token(kube: Cluster, operator: Operator, number: int) -> str:
    """Of a Pod as the unit's Deployment would have it, which says that it runs."""
    name = f"u{number}-ingest"
    deployment = wait_until(lambda: kube.find("Deployment", name, NAMESPACE), 600, f"{name} is made", operator.alive)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    spec = {"serviceAccountName": name, "containers": [{"name": "agent", "image": "a"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    made = kube.call("POST", kube.path("Pod", None, NAMESPACE), pod)
    status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    kube.patch("Deployment", name, {"status": status}, NAMESPACE, "/status")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": made["metadata"]["uid"]}
    ask = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
           "spec": {"audiences": ["firn-channel"], "expirationSeconds": 7200, "boundObjectRef": bound}}  # fmt: skip
    return kube.call("POST", kube.path("ServiceAccount", name, NAMESPACE, "/token"), ask)["status"]["token"]


class Agents:
    def __init__(self, program: Path, port: int, folder: Path):
        self.heard = 0
        self.process = subprocess.Popen([program, "localhost", "127.0.0.1", str(port), folder / "ca.crt", folder / "tokens"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent())  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.heard = int(line.split()[1])

    def say(self, word: str, number: int):
        self.process.stdin.write(f"{word} {number}\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.kill()
        self.process.wait()


def latency(kube: Cluster, agents: Agents, number: int) -> float:
    """From the agent's word to the status."""

    def ready() -> str:
        found = kube.get("IngestionUnit", f"u{number}", NAMESPACE)["status"]["conditions"]
        return next(one["status"] + one["reason"] for one in found if one["type"] == "Ready")

    wait_until(lambda: ready() == "TrueStreaming", 60, f"u{number} is ready")
    began = time.monotonic()
    agents.say("retry", number)
    wait_until(lambda: ready() == "FalseHostUnreachable", 60, f"u{number} says what is wrong")
    took = time.monotonic() - began
    agents.say("stream", number)
    return took


def one_number(kube: Cluster, program: Path, folder: Path, count: int):
    port = free_port()
    options = (f"--namespace={NAMESPACE}", f"--lease-namespace={NAMESPACE}", "--log-level=info", f"--channel=127.0.0.1:{port}", "--channel-host=localhost")
    operator = Operator(kube.folder / "admin.kubeconfig", folder / f"operator-{count}.log", *options)
    wait_until(operator.working, 60, "the operator works", operator.alive)
    each(lambda number: kube.apply(unit(number)), range(count))
    (folder / "tokens").write_text("".join(one + "\n" for one in each(lambda number: token(kube, operator, number), range(count))))
    (folder / "ca.crt").write_text(kube.get("ConfigMap", "u0-ingest", NAMESPACE)["data"]["channel-ca.crt"])
    time.sleep(REST_SECONDS)  # what all that took is given back
    before = rss(operator)
    agents = Agents(program, port, folder)
    try:
        wait_until(lambda: agents.heard == count, 120, "all are heard", operator.alive)
        time.sleep(REST_SECONDS + count / STATUSES_PER_S)  # each reports, and its first words are in its status
        figure(NAME, f"memory_for_each_of_{count}", "bytes", (rss(operator) - before) / count, at_most=MEMORY_MAX, of="ours")
        used = cpu(operator)
        time.sleep(FIGURES_SECONDS)  # is what is measured
        figure(NAME, f"cpu_at_{count}_reports_a_second", "cores", (cpu(operator) - used) / FIGURES_SECONDS, at_most=CPU_MAX * count / 1000, of="ours")
        took = sorted(latency(kube, agents, number * count // CHANGES) for number in range(min(CHANGES, count)))
        figure(NAME, f"condition_p99_of_{count}", "s", took[int(len(took) * 0.99) - 1], at_most=CONDITION_SECONDS_MAX, of="ours")
        operator.kill()
        wait_until(lambda: agents.heard == 0, 60, "nobody is heard")
        operator = Operator(kube.folder / "admin.kubeconfig", folder / f"again-{count}.log", *options)
        wait_until(operator.working, 60, "another works", operator.alive)
        began = time.monotonic()
        wait_until(lambda: agents.heard == count, 120, "all are heard again", operator.alive)
        figure(NAME, f"all_heard_again_of_{count}", "s", time.monotonic() - began, at_most=STORM_SECONDS_MAX, of="ours")
    finally:
        agents.stop()
        operator.stop()


def main(build: Path) -> int:
    folder = Path(tempfile.mkdtemp(prefix="firn-bench-"))
    try:
        for count in NUMBERS:
            with BusyCluster() as kube:
                kube.install(ROOT / "crds")
                kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
                one_number(kube, build / "tests/channel_agents_bench", folder, count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
