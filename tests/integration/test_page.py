"""The live page in a real browser, on a real API server, with agents that say what a test wants said: what stands there,
who sees what, whom it speaks to, and that the browser finds nothing to complain of. FIRN_PAGE_SHOTS: a folder that keeps
what it looked like."""

import http.client
import json
import os
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import yaml
from harness.browser import Browser
from harness.channel import Agent, Closed
from harness.kube import ROOT, Cluster, Operator
from harness.process import free_port
from harness.wait import wait_until

SECONDS = 120
MIB, GIB = 1 << 20, 1 << 30


def condition(type_: str, status: str, reason: str, message: str = "") -> dict:
    return {"type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}


class LivePage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kube = Cluster().start()
        cls.addClassCleanup(cls.kube.stop)
        cls.kube.install(ROOT / "crds")
        cls.folder = Path(tempfile.mkdtemp(prefix="firn-page-"))
        cls.shots = Path(os.environ.get("FIRN_PAGE_SHOTS", cls.folder))
        cls.shots.mkdir(parents=True, exist_ok=True)
        cls.addClassCleanup(lambda: subprocess.run(["rm", "-rf", cls.folder], check=True))
        cls.port, cls.channel = free_port(), free_port()
        for space in ("retail", "other", "empty"):
            cls.kube.apply(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {space}}}}}")
        cls.operator = Operator(
            cls.kube.folder / "admin.kubeconfig", cls.folder / "operator.log", "--lease-namespace=retail", "--figures-interval=1s",
            f"--channel=127.0.0.1:{cls.channel}", "--channel-host=localhost", f"--page=127.0.0.1:{cls.port}")  # fmt: skip
        cls.addClassCleanup(cls.operator.kill)
        wait_until(cls.operator.working, 60, "the operator works")
        cls.pipeline("retail", "shop", "PostgreSQL", ["customers", "orders", "shipments", "products"])
        cls.pipeline("retail", "billing", "MySQL", ["invoices", "payments"])
        cls.pipeline("other", "secret", "MariaDB", ["salaries"])
        cls.browser = Browser()
        cls.browser.__enter__()
        cls.addClassCleanup(cls.browser.__exit__)

    # --- what there is to be seen ---

    @classmethod
    def apply(cls, *documents: dict):
        cls.kube.apply(yaml.safe_dump_all([{"apiVersion": "firn.dev/v1alpha1", **one} for one in documents]))

    @classmethod
    def pipeline(cls, space: str, name: str, source: str, tables: list[str]):
        """A Connector with a Pod that its ReplicaSet and a node say to run, and units."""
        cls.kube.secret("db", space, username="firn", password="secret")
        spec = {"type": source, "host": f"{name}-db.internal", "database": name, "credentialsSecretRef": {"name": "db"}}
        units = [{"kind": "IngestionUnit", "metadata": {"name": f"{name}-{table}", "namespace": space},
                  "spec": {"connectorRef": {"name": name, "table": f"public.{table}"}, "sla": {"freshness": "1m"},
                           "outsourcingUnit": {"table": {"catalog": {"warehouse": "/lake"}, "database": "lake", "tableName": f"{name}_{table}"}}}}
                 for table in tables]  # fmt: skip
        cls.apply({"kind": "Connector", "metadata": {"name": name, "namespace": space}, "spec": {"source": spec}}, *units)
        child = f"{name}-capture"
        deployment = wait_until(lambda: cls.kube.find("Deployment", child, space), SECONDS, f"{child} is made")
        template = deployment["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-pod", "labels": template["metadata"]["labels"]}, "spec": template["spec"]}
        cls.kube.call("POST", cls.kube.path("Pod", None, space), pod)
        cls.kube.patch("Pod", f"{name}-pod", {"status": {"phase": "Running"}}, space, "/status")

    def run_deployment(self, space: str, name: str):
        deployment = self.kube.get("Deployment", f"{name}-capture", space)
        status = {"observedGeneration": deployment["metadata"]["generation"], "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
        self.kube.patch("Deployment", f"{name}-capture", {"status": status}, space, "/status")

    def agent(self, space: str, name: str) -> Agent:
        def heard():
            bound = {"kind": "Pod", "apiVersion": "v1", "name": f"{name}-pod", "uid": self.kube.get("Pod", f"{name}-pod", space)["metadata"]["uid"]}
            path = self.kube.path("ServiceAccount", f"{name}-capture", space, "/token")
            wanted = {"audiences": ["firn-channel"], "expirationSeconds": 600, "boundObjectRef": bound}
            token = self.kube.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted})["status"]["token"]
            ca = self.kube.get("ConfigMap", f"{name}-capture", space)["data"]["channel-ca.crt"]
            try:
                return Agent(self.channel, ca, token)
            except (Closed, ConnectionRefusedError):
                return None

        agent = wait_until(heard, SECONDS, f"{name}'s agent is heard")
        self.addCleanup(agent.stop)
        return agent

    # --- who looks ---

    def token(self, name: str, *rights: tuple[str, str]) -> str:
        """Of an account of namespace empty; rights: (namespace, or "" for all; resources with commas)."""
        self.kube.apply(f"{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: empty}}}}")
        for number, (space, resources) in enumerate(rights):
            kind = "Role" if space else "ClusterRole"
            meta = {"name": f"look-{name}-{number}", **({"namespace": space} if space else {})}
            rules = [{"apiGroups": ["firn.dev"], "resources": resources.split(","), "verbs": ["list"]}]
            api = "rbac.authorization.k8s.io/v1"
            subject = {"kind": "ServiceAccount", "name": name, "namespace": "empty"}
            role = {"apiVersion": api, "kind": kind, "metadata": meta, "rules": rules}
            self.kube.apply(yaml.safe_dump_all([role, {
                "apiVersion": api, "kind": f"{kind}Binding", "metadata": meta, "subjects": [subject],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": meta["name"]}}]))  # fmt: skip
            self.kube.wait_may(f"system:serviceaccount:empty:{name}", role, space)
        path = self.kube.path("ServiceAccount", name, "empty", "/token")
        return self.kube.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})["status"]["token"]

    def opened(self, port: int = None):
        page = self.browser.page()
        page.look(1280, 900)
        page.open(f"http://127.0.0.1:{port or self.port}/")
        return page

    def until(self, holds, what: str):
        return wait_until(holds, SECONDS, what, self.operator.alive)

    def logged_in(self, token: str):
        page = self.opened()
        self.until(lambda: page.text("#login"), "it asks who one is")
        page.type("#token", token)
        page.click("#login button")
        self.until(lambda: page.text("#main") is not None, "it shows what there is")
        return page

    def row(self, page, unit: str) -> str:
        return page.text(f"tr[data-unit='{unit}']") or ""

    def card(self, name: str) -> str:
        return f".pipeline[data-id='retail/c/{name}']"

    # --- the tests ---

    def test_all_is_well_and_is_not(self):
        page = self.logged_in(self.token("all", ("", "connectors,ingestionunits")))
        shop, billing, secret = (self.agent(*one) for one in (("retail", "shop"), ("retail", "billing"), ("other", "secret")))
        for space, name in (("retail", "shop"), ("retail", "billing"), ("other", "secret")):
            self.run_deployment(space, name)

        def tables(name: str, changes: int, **more) -> dict:
            sizes = {"shop": {"customers": 48210, "orders": 1204533, "shipments": 4871022, "products": 912},
                     "billing": {"invoices": 88211, "payments": 90125}, "secret": {"salaries": 77}}[name]  # fmt: skip
            return {f"{name}-{table}": {"table": f"public.{table}", "rows": rows, "changes": changes * (place + 1), "copying": 0, **more}
                    for place, (table, rows) in enumerate(sizes.items())}  # fmt: skip

        log = {"logStatus": 1, "logRetained": 64 * MIB, "logHeadroom": 4 * GIB, "logSeconds": 90000, "memory": 61 * MIB}
        began, told, said = time.monotonic(), [0], [0.0]

        def stream():
            """As agents do, some 140 changes a second; who reports more often than they may is cut off."""
            if time.monotonic() - said[0] < 0.25:
                return page.text("#verdict")
            said[0] = time.monotonic()
            told[0] = int(10 * (said[0] - began) * 1.4)
            shop.say("Streaming", tables("shop", told[0]), lag=18 * 1024, freshness=1400, **log)
            secret.say("Streaming", tables("secret", told[0] // 9), lag=0, freshness=0, **log)
            return page.text("#verdict")

        billing.say("Streaming", tables("billing", 0), lag=0, freshness=0, **log)
        self.until(lambda: stream() == "All well" and not time.sleep(0.25), "one glance says that all is well")
        self.until(lambda: stream() and re.match(r"(?:[^\t]*\t){2}[\d.]+/s", self.row(page, "shop-orders")), "a table has its rate")
        self.assertEqual([page.text(f"#sum-{name}") for name in ("pipelines", "tables")], ["3", "7"])
        self.assertIn("4,871,022", self.row(page, "shop-shipments"))
        self.assertIn("18 KiB", page.text(self.card("shop") + " .source"))
        self.assertIn("Log 64 MiB, 4 GiB left (25 h)", page.text(self.card("shop") + " .head"))
        self.assertIn("shop-db.internal", page.text(self.card("shop") + " .source"))
        self.assertEqual(page.texts(self.card("shop") + " .source .chip"), ["Streaming"])
        self.until(lambda: stream() and page.run("document.querySelectorAll('.spark polyline').length") > 3, "lines are drawn")
        moves = f"getComputedStyle(document.querySelector(\"{self.card('shop')} .drops\")).animationDuration"
        self.until(lambda: stream() and float(page.run(moves).removesuffix("s")) > 0, "what flows is seen to flow")
        page.screenshot(self.shots / "well-light.png")

        # copying; an error that may pass; the log runs short; late
        copying = tables("billing", 0)
        copying["billing-payments"] |= {"copying": 1, "copied": 30000, "toCopy": 90000}
        billing.say("Snapshotting", copying, lag=5 * MIB, freshness=0, **log)
        shop.say("Retrying", tables("shop", told[0]), lag=900 * MIB, freshness=400000, restarts=3, reason="StoreFailed",
                 error="PUT s3://lake/orders: 503 SlowDown: <b>reduce</b> your rate", **log | {"logRetained": 3900 * MIB, "logHeadroom": 100 * MIB,
                 "logSeconds": 240})  # fmt: skip
        self.until(lambda: page.text("#verdict") == "1 of 3 needs attention", "it says that one needs attention")
        self.assertIn("PUT s3://lake/orders: 503 SlowDown: <b>reduce</b> your rate", page.text(self.card("shop") + " .words"))
        self.assertIn("LogShort", self.until(lambda: "LogShort" in (text := "".join(page.texts(self.card("shop") + " .words"))) and text, "the log"))
        self.until(lambda: page.run("document.querySelector('.pipeline').dataset.id") == "retail/c/shop", "it stands first")
        self.assertIn("30 k of about 90 k rows", self.until(lambda: "of about" in (text := self.row(page, "billing-payments")) and text, "how far the copy is"))
        self.assertEqual(page.run("document.title"), "(1) Firn")
        self.until(lambda: ", late" in self.row(page, "shop-orders"), "a promise that is not kept")
        page.screenshot(self.shots / "trouble-light.png", whole=True)
        page.click("#troubled")
        self.until(lambda: page.run("document.querySelectorAll('.pipeline').length") == 1, "only what needs attention")
        page.click("#troubled")
        page.type("#filter", "payments")
        self.until(lambda: page.texts(".pipeline h2") == ["billing"], "what is looked for")
        page.run("document.querySelector('#filter').value = ''; draw()")
        for name, width, height, dark, mobile in (("trouble-dark", 1280, 900, True, False), ("phone-light", 390, 844, False, True), ("phone-dark", 390, 844, True, True)):
            page.look(width, height, dark, mobile)
            self.assertLessEqual(page.run("document.documentElement.scrollWidth"), width, f"{name}: nothing stands out to the right")
            page.screenshot(self.shots / f"{name}.png")
        page.look(1280, 900)

        # what goes, goes
        self.kube.delete("IngestionUnit", "billing-payments", "retail")
        self.until(lambda: not self.row(page, "billing-payments"), "a unit that was deleted is gone")
        # a silent agent
        secret.stop()
        self.until(lambda: "AgentSilent" in "".join(page.texts(".pipeline[data-id='other/c/secret'] .words")), "its agent is silent")
        self.assertEqual(page.errors, [])
        # the operator goes and comes back: the tab finds it again by itself
        self.assertEqual(page.run("sessionStorage.length"), 1)
        page.click("#foot button")
        self.until(lambda: page.text("#login"), "whoever leaves is asked again")
        self.assertEqual(page.run("sessionStorage.length"), 0)

    def test_who_sees_what(self):
        page = self.logged_in(self.token("some", ("retail", "connectors,ingestionunits"), ("other", "connectors")))
        self.until(lambda: len(page.texts(".pipeline h2")) == 2, "what may be listed is seen")
        self.assertEqual(sorted(page.texts(".pipeline h2")), ["billing", "shop"])
        self.assertNotIn("secret", page.run("document.documentElement.outerHTML + JSON.stringify([...pipelines.values()])"))
        self.assertIn("system:serviceaccount:empty:some", page.text("#foot"))
        # a tab that is loaded again goes on
        page.open(f"http://127.0.0.1:{self.port}/")
        self.until(lambda: len(page.texts(".pipeline h2")) == 2, "it is known still")
        self.assertEqual(page.errors, [])
        for name, token, words in (("nobody", self.token("nobody"), "You may not list"), ("liar", "no.such.token", "does not know this token"),
                                   ("agent", self.of_an_agent(), "does not know this token")):  # fmt: skip
            with self.subTest(name):
                page = self.opened()
                self.until(lambda page=page: page.text("#login"), "it asks who one is")
                page.type("#token", token)
                page.click("#login button")
                self.until(lambda page=page, words=words: words in (page.text("#refused") or ""), words)
                self.assertIsNone(page.text("#main"))
                self.assertEqual(page.errors, [])
                if name == "nobody":
                    page.screenshot(self.shots / "login.png")
        self.assertNotIn("no.such.token", self.operator.text())

    def of_an_agent(self) -> str:
        """Meant for the channel alone."""
        path = self.kube.path("ServiceAccount", "shop-capture", "retail", "/token")
        return self.kube.call("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["firn-channel"]}})["status"]["token"]

    def ask(self, path: str = "/", port: int = None, address: str = "127.0.0.1", source: str = "127.0.0.1", method: str = "GET", **headers) -> tuple[int, dict, str]:
        connection = http.client.HTTPConnection(address, port or self.port, timeout=120, source_address=(source, 0))
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, "" if answer.status == 101 else answer.read().decode()
        connection.close()
        return found

    def upgrade(self, **more) -> int:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Protocol": "firn.page"}  # fmt: skip
        try:
            return self.ask("/live", **headers, **more)[0]
        except (http.client.HTTPException, OSError):
            return 0

    def test_what_is_served(self):
        for path, type_ in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
            status, headers, text = self.ask(path)
            self.assertEqual((status, headers["content-type"].partition(";")[0]), (200, type_))
            self.assertRegex(headers["content-security-policy"], r"^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'$")
            self.assertEqual((headers["x-content-type-options"], headers["cache-control"]), ("nosniff", "no-store"))
            self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/)[^\s\"')]+", text), [], "nothing is from elsewhere")
            self.assertNotRegex(text, r"<script>|\sstyle=|\son\w+=\"|innerHTML")
        self.assertEqual(self.ask("/metrics")[0], 404)
        self.assertEqual(self.ask("/../main.c")[0], 404)
        self.assertEqual(self.ask("/", method="DELETE")[0], 404)
        # another site's page, or one that does not say whose it is
        self.assertEqual(self.upgrade(Origin=f"http://127.0.0.1:{self.port}"), 101)
        self.assertNotEqual(self.upgrade(Origin="http://elsewhere.example"), 101)
        self.assertNotEqual(self.upgrade(), 101)

    def test_behind_a_proxy(self):
        """The header of a name counts from the declared address, and from nowhere else."""
        port = free_port()
        self.kube.apply(yaml.safe_dump_all([
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "look-alice"},
             "subjects": [{"kind": "User", "name": "alice@example.com"}],
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}]))  # fmt: skip
        other = Operator(self.kube.folder / "admin.kubeconfig", self.folder / "proxied.log", "--lease-namespace=retail", f"--page=0.0.0.0:{port}",
                         "--page-proxy=127.0.0.9", "--page-user-header=X-Forwarded-User", identity="two")  # fmt: skip
        self.addCleanup(other.kill)
        wait_until(lambda: "serving the page" in other.text(), SECONDS, "it serves", other.alive)

        def says(source: str, **headers) -> list:
            return viewer(port, source, headers, {})

        def seen() -> list:
            """With the first lists there."""
            found = says("127.0.0.9", **{"X-Forwarded-User": "alice@example.com"})
            return len(found) == 2 and found[0]["welcome"]["user"] == "alice@example.com" and len(found[1]["pipelines"]) == 3 and found

        welcome = wait_until(seen, SECONDS, "the proxy's word counts", other.alive)
        self.assertFalse(welcome[1]["works"], "this one stands by")
        self.assertEqual({one["namespace"] for one in welcome[1]["pipelines"]}, {"retail", "other"})
        self.assertEqual(says("127.0.0.9", **{"X-Forwarded-User": "mallory"}), ["Forbidden"])
        self.assertEqual(says("127.0.0.9"), ["TokenWanted"])
        self.assertEqual(says("127.0.0.1", **{"X-Forwarded-User": "alice@example.com"}), ["TokenWanted"])
        # from where nobody was declared nothing is served
        own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
        if own:
            self.assertEqual(self.ask("/", port, own[0], own[0])[0], 403)
        done = subprocess.run([other.process.args[0], "run", "--agent-image=a", "--page=0.0.0.0:1", f"--kubeconfig={self.kube.folder}/admin.kubeconfig",
                               "--leader-elect=false"], capture_output=True, text=True, timeout=300)  # fmt: skip
        self.assertEqual(done.returncode, 3)
        self.assertIn("the page is plain HTTP", done.stderr)


def viewer(port: int, source: str, headers: dict, word: dict) -> list:
    """A WebSocket's first two words, or the reason why it was closed."""
    import socket
    import struct

    with socket.create_connection(("127.0.0.1", port), timeout=120, source_address=(source, 0)) as to:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        to.sendall(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: https://127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: firn.page\r\n{lines}\r\n".encode())  # fmt: skip
        stream = to.makefile("rb")
        assert b" 101 " in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        data = json.dumps(word).encode()
        to.sendall(b"\x81" + bytes([0x80 | len(data)]) + b"\0\0\0\0" + data)
        found = []
        while len(found) < 2:
            first, length = stream.read(2)
            length = struct.unpack(">H", stream.read(2))[0] if length == 126 else struct.unpack(">Q", stream.read(8))[0] if length == 127 else length
            text = stream.read(length)
            if first & 15 == 8:
                return [text[2:].decode()]
            found.append(json.loads(text))
        return found


if __name__ == "__main__":
    unittest.main()
