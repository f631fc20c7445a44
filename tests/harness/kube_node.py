"""A private Kubernetes with a real node: what kube.py has, all controllers and the scheduler, and containerd, runc,
kubelet, kube-proxy and a bridge for Pods, in namespaces of its own. There is no way out of them: images are loaded
from files (deploy/image), and what Pods are to reach is started by the test, in the same network. Needs root.

    enter()                       before anything else is started: this process moves into a network of its own
    with Node([IMAGE.tar, …]) …

    kube_node.py --fetch          fetches and builds what is needed; prints where kubectl and helm are, as for PATH
    kube_node.py FOLDER IMAGE…    keeps one up until it is told to end, in the network in which it is started;
                                  FOLDER/kubeconfig is there when it is ready

Pods reach the node, and the servers that a test starts, at 10.250.0.1; they find Services by name, and nothing else.
One kill ends it all."""

import ctypes
import hashlib
import http.client
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import authority
from harness.kube import HELM, KUBERNETES, ROOT, START_SECONDS, Cluster, Refused, fetch
from harness.process import free_port
from harness.server import CACHE, fetched
from harness.wait import TimedOut, wait_until

ADDRESS = "10.250.0.1"
SERVICES = "10.96.0.1"  # where Pods find the API server
NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000
GROUPS = Path("/sys/fs/cgroup")
PAUSE = "registry.local/firn-pause:1"
TOOLS = ("containerd", "ctr", "runc", "iptables", "conntrack", "ip", "unshare", "nsenter", "mount")
PLUGINS = Path("/usr/lib/cni")  # of Debian's containernetworking-plugins

CONTAINERD = """version = 2
root = "{folder}/containerd/root"
state = "/run/containerd"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"""
NETWORK = """{{"cniVersion": "0.4.0", "name": "pods", "plugins": [
 {{"type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "10.244.0.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"""
KUBELET = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {address}
port: {port}
healthzPort: {health}
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {folder}/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {folder}/kubelet.only.crt
tlsPrivateKeyFile: {folder}/kubelet.key
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failCgroupV1: false
containerRuntimeEndpoint: unix://{folder}/containerd.sock
resolvConf: {folder}/resolv.conf
clusterDNS: [{address}]
clusterDomain: cluster.local
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 65536
serializeImagePulls: false
volumePluginDir: {folder}/plugins
syncFrequency: 5s
configMapAndSecretChangeDetectionStrategy: Watch
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 2s
"""


def refused() -> str | None:
    """Why this machine can't have a node; None: it can."""
    if os.geteuid() != 0:
        return "a node needs root: for namespaces, mounts and control groups"
    missing = [name for name in TOOLS if not shutil.which(name)]
    if missing or not (PLUGINS / "bridge").exists():
        return f"missing: {' '.join(missing) or PLUGINS / 'bridge'}; deploy/packages install node"
    if not (GROUPS / "memory").is_dir() and not (GROUPS / "cgroup.controllers").exists():
        return f"no control groups under {GROUPS}"
    if not os.access(GROUPS / "memory" if (GROUPS / "memory").is_dir() else GROUPS, os.W_OK):
        return f"{GROUPS} can't be written"
    return None


def run(*words, **more) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def enter():
    """This process, and what it starts from now on, sees a network of its own: loopback and the node's bridge."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS | NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")
    make_network()


def make_network():
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node0", "type", "bridge")
    run("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "route", "add", "default", "dev", "node0")  # kubelet wants one; it leads nowhere
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


class Groups:
    """A control group for the node's, of either version of the kernel's interface."""

    def __init__(self, name: str):
        self.name = name

    def roots(self) -> list[Path]:
        if (GROUPS / "cgroup.controllers").exists():
            return [GROUPS]
        return [GROUPS / name for name in ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
                if (GROUPS / name).is_dir()]  # fmt: skip

    def make(self):
        for root in self.roots():
            (root / self.name).mkdir(exist_ok=True)
            if root == GROUPS:
                wanted = " ".join(f"+{name}" for name in ("cpu", "cpuset", "memory", "pids", "io"))
                for place in (root, root / self.name):
                    (place / "cgroup.subtree_control").write_text(wanted)
            if root.name == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (root / self.name / file).write_text((root / file).read_text())

    def remove(self):
        """Empty by now; the kernel may need a moment to see it."""

        def gone():
            for root in self.roots():
                for folder, _, _ in os.walk(root / self.name, topdown=False):
                    try:
                        os.rmdir(folder)
                    except OSError:
                        pass
            return not any((root / self.name).exists() for root in self.roots())

        wait_until(gone, 60, "the node's control groups are gone")


class Names:
    """What Services are called, for Pods: a name server that knows these alone. RFC 1035, section 4."""

    A, IN = 1, 1
    NO_NAME = 3

    def __init__(self, find):
        self.find = find  # (Service, namespace) → its addresses
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                packet, peer = self.socket.recvfrom(512)
                self.socket.sendto(self.answer(packet), peer)
            except (struct.error, IndexError, UnicodeDecodeError):
                continue  # no question
            except OSError:
                return  # closed

    def answer(self, packet: bytes) -> bytes:
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode().lower())
            at += 1 + packet[at]
        kind, of = struct.unpack(">HH", packet[at + 1 : at + 5])
        known = len(labels) == 5 and labels[2:] == ["svc", "cluster", "local"]
        addresses = self.find(labels[0], labels[1]) if known else []
        asked = addresses if (kind, of) == (self.A, self.IN) else []
        answers = [b"\xc0\x0c" + struct.pack(">HHIH", kind, of, 5, 4) + socket.inet_aton(one) for one in asked]
        flags = 0x8580 if addresses else 0x8580 | self.NO_NAME
        return packet[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0) + packet[12 : at + 5] + b"".join(answers)

    def stop(self):
        self.socket.close()


class Node(Cluster):
    address = ADDRESS
    names = f"IP:127.0.0.1,DNS:localhost,IP:{ADDRESS},IP:{SERVICES},DNS:kubernetes.default.svc"
    controllers = "*"
    accounts = True

    def __init__(self, images=()):
        super().__init__()
        self.images = [*images, pause_image()]
        self.groups = Groups(f"firn-node-{os.getpid()}")
        self.kubelet_port = self.dns = None

    def api_server_options(self) -> list[str]:
        return ["--bind-address=0.0.0.0", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
                "--kubelet-client-certificate=admin.only.crt", "--kubelet-client-key=admin.key", "--kubelet-certificate-authority=ca.crt",
                "--kubelet-preferred-address-types=InternalIP"]  # fmt: skip

    def start(self):
        super().start()
        try:
            self._start_scheduler()
            self._start_node()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        if self.dns:
            self.dns.stop()
        self.stop_one("proxy")
        self.stop_one("node", signal.SIGKILL)  # takes every process of its own with it
        self.stop_one("scheduler")
        try:
            self.groups.remove()
        finally:
            super().stop()

    def _start_scheduler(self):
        port = free_port()
        config = self.folder / "controllers.kubeconfig"
        self._run("scheduler", [
            self.programs / "kube-scheduler", f"--kubeconfig={config}", f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}", "--bind-address=127.0.0.1", f"--secure-port={port}", "--leader-elect=false"],
            lambda: self.is_healthy(port))  # fmt: skip

    def _start_node(self):
        folder = self.folder
        self.folder.chmod(0o755)  # Pods go through it to what they mount
        self.groups.make()
        self.issue("node1", "system:node:node1", "system:nodes")
        authority.issue(folder, "kubelet", "system:node:node1", f"IP:{ADDRESS},DNS:node1")
        self.kubelet_port = free_port()
        (folder / "cni").mkdir()
        (folder / "cni" / "10-pods.conflist").write_text(NETWORK.format())
        (folder / "containerd.toml").write_text(CONTAINERD.format(folder=folder, pause=PAUSE, plugins=PLUGINS))
        (folder / "kubelet.yaml").write_text(
            KUBELET.format(folder=folder, address=ADDRESS, port=self.kubelet_port, health=free_port(), group=self.groups.name))
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} node1\n")
        (folder / "resolv.conf").write_text("")
        self._run("node", [
            "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "--propagation", "private",
            Path(__file__).with_name("kube_node_init"), folder, self.programs / "kubelet"], self._answers)  # fmt: skip
        for image in self.images:
            self.load(image)
        self.dns = Names(self._service_addresses)
        metrics = free_port()
        health = free_port()
        self._run("proxy", [
            self.programs / "kube-proxy", f"--kubeconfig={folder / 'controllers.kubeconfig'}", "--hostname-override=node1",
            "--proxy-mode=iptables", "--cluster-cidr=10.244.0.0/16", "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
            f"--metrics-bind-address=127.0.0.1:{metrics}", f"--healthz-bind-address=127.0.0.1:{health}"], lambda: True)  # fmt: skip
        wait_until(self._ready, START_SECONDS, "the node is ready", self._alive)

    def _alive(self):
        for name in ("node", "proxy"):
            if name in self.processes and self.processes[name].poll() is not None:
                raise AssertionError(f"{name} ended: {self.log(name)}")

    def _answers(self) -> bool:
        """containerd does."""
        return subprocess.run([*self._ctr(), "version"], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0

    def _ready(self) -> bool:
        node = self.find("Node", "node1")
        found = (node or {}).get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in found)

    def _service_addresses(self, name: str, namespace: str) -> list[str]:
        """Of a Service without an address of its own those of the Pods that are ready."""
        try:
            address = (self.find("Service", name, namespace) or {}).get("spec", {}).get("clusterIP")
            slices = self.all_of("EndpointSlice", namespace, f"kubernetes.io/service-name={name}") if address == "None" else []
        except (OSError, http.client.HTTPException, Refused, TimedOut):
            return []  # the API server is away, or on its way
        if address not in ("", "None", None):
            return [address]
        ends = [end for one in slices for end in one.get("endpoints") or [] if end.get("conditions", {}).get("ready")]
        return [one for end in ends for one in end["addresses"]][:16]

    def _ctr(self) -> list:
        return ["ctr", "--address", self.folder / "containerd.sock", "--namespace", "k8s.io"]

    def load(self, image: Path):
        """An image of deploy/image's is there from now on."""
        try:
            run(*self._ctr(), "images", "import", image, timeout=300)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log('node')}") from None

    def inside(self, *words) -> str:
        """Runs a command among the node's processes, and gives what it prints."""
        return run("nsenter", "--target", self.first(), "--mount", "--pid", "--ipc", "--uts", "--", *words)

    def first(self) -> str:
        """The node's first process, as its number is outside."""
        return Path(f"/proc/{self.processes['node'].pid}/task/{self.processes['node'].pid}/children").read_text().split()[0]

    def log(self, name: str) -> str:
        if name != "node":
            return super().log(name)
        logs = [self.folder / f"{one}.log" for one in ("node", "containerd", "kubelet")]
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in logs if path.exists())

    def kubectl(self, *words, seconds: float = 300, code: int = 0) -> str:
        call = [self.programs / "kubectl", "--kubeconfig", self.folder / "admin.kubeconfig", *map(str, words)]
        done = subprocess.run(call, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        if done.returncode != code:
            raise AssertionError(f"kubectl {' '.join(map(str, words))} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout


def pause_image() -> Path:
    """Built once."""
    folder = CACHE / "node"
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("pause.c")
    image = folder / f"pause-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.tar"
    if not image.exists():
        program = folder / f"firn-pause.{os.getpid()}"
        part = image.with_suffix(f".{os.getpid()}")
        run("gcc", "-std=gnu17", "-Os", "-static", "-s", "-o", program, source)
        run(ROOT / "deploy/image", program, "--oci", part, "--name", PAUSE)
        program.unlink()
        part.rename(image)
    return image


def serve(folder: Path, images: list[Path]):
    make_network()
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(0))
    with Node(images) as node:
        part = folder / "kubeconfig.part"
        part.write_text((node.folder / "admin.kubeconfig").read_text())
        for name in ("ca.crt", "admin.only.crt", "admin.key"):
            shutil.copy(node.folder / name, folder)
        part.rename(folder / "kubeconfig")
        while True:
            node._alive()
            time.sleep(1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--fetch"]:
        fetch()
        pause_image()
        print(":".join(dict.fromkeys(fetched("go", KUBERNETES, HELM).splitlines())))
    elif len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        serve(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]])
    else:
        sys.exit(__doc__)
