"""Flux's kustomize-controller, built from its Go module, beside a cluster of kube.py or kube_node.py, with Flux's own
definitions of what it works on. What Flux's source-controller would fetch from Git is a folder that the test publishes: the
source's status names the archive, which is served here.

    flux.py --fetch                            builds it, so that no test has to wait for that

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

from harness import definitions
from harness.kube import Cluster
from harness.process import free_port
from harness.server import Server, fetched

CONTROLLER = "gomod/kustomize-controller:github.com/fluxcd/kustomize-controller"
NAMESPACE = "flux-system"


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
    start_seconds = 300

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
        self.kube.install(definitions.of_modules() / definitions.FLUX)
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
        except (OSError, http.client.HTTPException):
            return False

    # --- what it works on ---

    def publish(self, repository: str, files: dict[str, str]) -> str:
        """As the source-controller says it has fetched them; returns the revision, which the Kustomization will name."""
        packed = archive(files)
        digest = hashlib.sha256(packed).hexdigest()
        place = f"/{repository}/{digest}.tar.gz"
        self.archives[place] = packed
        (found,) = self.kube.apply(json.dumps({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": repository, "namespace": NAMESPACE},
            "spec": {"interval": "1m", "url": "https://git.example.com/pipelines.git"}}))  # fmt: skip
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        revision = f"main@sha1:{digest[:40]}"
        generation = found["metadata"].get("generation", 1)
        status = {"observedGeneration": generation,
                  "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored", "lastTransitionTime": now,
                                  "observedGeneration": generation}],
                  "artifact": {"url": f"http://127.0.0.1:{self.archive_server.server_address[1]}{place}", "path": place.lstrip("/"),
                               "revision": revision, "digest": f"sha256:{digest}", "size": len(packed), "lastUpdateTime": now}}  # fmt: skip
        self.kube.patch("GitRepository", repository, {"status": status}, NAMESPACE, "/status?fieldValidation=Strict")
        return revision

    def kustomization(self, name: str) -> dict:
        return self.kube.get("Kustomization", name, NAMESPACE)

    def condition(self, name: str, type_: str) -> dict:
        found = self.kustomization(name).get("status", {}).get("conditions", [])
        return next((one for one in found if one["type"] == type_), {})


if __name__ == "__main__":
    if sys.argv[1:] != ["--fetch"]:
        sys.exit(__doc__)
    print(fetched("go", CONTROLLER))
