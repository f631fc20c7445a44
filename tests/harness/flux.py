"""Flux's kustomize-controller, built from its Go module, beside a cluster of kube.py or kube_node.py. What Flux's
source-controller would fetch from Git is a folder that the test publishes: the source's status names the archive, which is
served here. Of Flux's definitions there is what the controller needs to start: their fields are not checked.

    flux.py --fetch                                         builds it, so that no test has to wait for that

    with Flux(cluster) as flux:
        flux.publish("pipelines", {"shop/shop.yaml": TEXT})     a revision of GitRepository/pipelines, which is made
        flux.condition("shop", "Ready")                         of the Kustomization that was applied"""

import hashlib
import http.client
import io
import json
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.kube import Cluster
from harness.process import free_port
from harness.server import Server, fetched
from harness.wait import wait_until

CONTROLLER = "gomod/kustomize-controller:github.com/fluxcd/kustomize-controller"
NAMESPACE = "flux-system"
SOURCES, KUSTOMIZATIONS = "source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"
KINDS = ((SOURCES, "GitRepository", "gitrepositories"), (SOURCES, "OCIRepository", "ocirepositories"), (SOURCES, "Bucket", "buckets"),
         (KUSTOMIZATIONS, "Kustomization", "kustomizations"))  # fmt: skip


def definition(group: str, kind: str, plural: str) -> str:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}
    return json.dumps({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
                 "versions": [version]}})  # fmt: skip


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


class Flux(Server):
    name = "kustomize-controller"
    start_seconds = 120

    def __init__(self, kube: Cluster):
        super().__init__()
        self.kube = kube
        self.archives: dict[str, bytes] = {}
        self.health = None
        flux = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                found = flux.archives.get(self.path)
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, *unused):
                pass

        self.archive_server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)

    def start(self):
        threading.Thread(target=self.archive_server.serve_forever, daemon=True).start()
        self.kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
        for group, kind, plural in KINDS:
            self.kube.apply(definition(group, kind, plural))
            wait_until(lambda group=group, plural=plural: self.kube.raw("GET", f"/apis/{group}/v1/{plural}")[0] == 200, 60, f"{plural} are served")
        return super().start()

    def stop(self):
        super().stop()
        self.archive_server.shutdown()
        self.archive_server.server_close()

    def command(self):
        self.health = free_port()
        program = Path(fetched("go", CONTROLLER)) / "kustomize-controller"
        call = [program, "--metrics-addr=127.0.0.1:0", f"--health-addr=127.0.0.1:{self.health}", "--requeue-dependency=1s", "--http-retry=2"]
        environment = {"KUBECONFIG": str(self.kube.folder / "admin.kubeconfig"), "RUNTIME_NAMESPACE": NAMESPACE, "TMPDIR": str(self.folder)}
        return call, environment

    def ready(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.health, timeout=5)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    # --- what it works on ---

    def path(self, kind: str, name: str, more: str = "") -> str:
        group, _, plural = next(one for one in KINDS if one[1] == kind)
        return f"/apis/{group}/v1/namespaces/{NAMESPACE}/{plural}/{name}{more}"

    def apply(self, document: dict) -> dict:
        path = self.path(document["kind"], document["metadata"]["name"], "?fieldManager=tester&force=true")
        return self.kube.call("PATCH", path, document, "application/apply-patch+yaml")

    def publish(self, repository: str, files: dict[str, str]) -> str:
        """As the source-controller says it has fetched them; returns the revision, which the Kustomization will name."""
        packed = archive(files)
        digest = hashlib.sha256(packed).hexdigest()
        place = f"/{repository}/{digest}.tar.gz"
        self.archives[place] = packed
        found = self.apply({"apiVersion": f"{SOURCES}/v1", "kind": "GitRepository", "metadata": {"name": repository, "namespace": NAMESPACE},
                            "spec": {"interval": "1m", "url": "https://git.example.com/pipelines.git"}})  # fmt: skip
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        revision = f"main@sha1:{digest[:40]}"
        generation = found["metadata"].get("generation", 1)
        status = {"observedGeneration": generation,
                  "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored", "lastTransitionTime": now,
                                  "observedGeneration": generation}],
                  "artifact": {"url": f"http://127.0.0.1:{self.archive_server.server_address[1]}{place}", "path": place.lstrip("/"),
                               "revision": revision, "digest": f"sha256:{digest}", "size": len(packed), "lastUpdateTime": now}}  # fmt: skip
        self.kube.call("PATCH", self.path("GitRepository", repository, "/status"), {"status": status}, "application/merge-patch+json")
        return revision

    def kustomization(self, name: str) -> dict:
        return self.kube.call("GET", self.path("Kustomization", name))

    def condition(self, name: str, type_: str) -> dict:
        found = self.kustomization(name).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == type_), {})


if __name__ == "__main__":
    if sys.argv[1:] != ["--fetch"]:
        sys.exit(__doc__)
    print(fetched("go", CONTROLLER))
