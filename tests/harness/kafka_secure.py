"""The broker with every way to log in, each on a port of its own: SASL (PLAIN, SCRAM, OAUTHBEARER with tokens
that nobody signs), TLS, TLS with the client's certificate; rights by ACLs. Who comes to `bootstrap` may do
everything. Token: the endpoint that gives OAUTHBEARER its tokens."""

import base64
import hashlib
import json
import shutil
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclPermissionType, AclOperation, AdminClient, ResourcePatternType, ResourceType, ScramCredentialInfo,
    ScramMechanism, UserScramCredentialUpsertion)  # fmt: skip

from harness import authority
from harness.fault_proxy import FaultProxy
from harness.kafka import READ_SECONDS, Broker, _properties
from harness.process import die_with_parent, free_port
from harness.server import CACHE
from harness.wait import wait_until

USER, PASSWORD = "alice", "al ice's=secret"
PRINCIPAL = f"User:{USER}"
_MODULES = "org.apache.kafka.common.security"


def _jaas(module: str, **options: str) -> str:
    words = " ".join(f'{name}="{value}"' for name, value in options.items())
    return f"{_MODULES}.{module} required {words};"


class SecureBroker(Broker):
    """`at(name)` for PLAINTEXT, SASL, TLS, MTLS, OAUTH is where clients connect; `ca`, and `client_crt`,
    `client_key` (made out to USER) are files."""

    name = "kafka-secure"
    LISTENERS = {"SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "TLS": "SSL", "MTLS": "SSL", "OAUTH": "SASL_PLAINTEXT"}

    def at(self, listener: str) -> str:
        return self.bootstrap if listener == "PLAINTEXT" else f"127.0.0.1:{self.ports[listener]}"

    def _security(self) -> dict:
        authority.make(self.folder)
        authority.issue(self.folder, "client", USER)
        self.ca, self.client_crt, self.client_key = (self.folder / name for name in ("ca.crt", "client.crt", "client.key"))
        keys = self.folder / "server.pem"
        keys.write_text((self.folder / "server.key").read_text() + (self.folder / "server.crt").read_text())
        settings = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:broker", "allow.everyone.if.no.acl.found": "false",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "ssl.keystore.type": "PEM", "ssl.keystore.location": keys, "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca, "ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/,DEFAULT",
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.oauth.oauthbearer.sasl.jaas.config": _jaas("oauthbearer.OAuthBearerLoginModule", unsecuredLoginStringClaim_sub="broker"),
        }  # fmt: skip
        for name in ("sasl", "sasltls"):
            settings[f"listener.name.{name}.plain.sasl.jaas.config"] = _jaas("plain.PlainLoginModule", **{f"user_{USER}": PASSWORD})
            for size in ("256", "512"):
                settings[f"listener.name.{name}.scram-sha-{size}.sasl.jaas.config"] = _jaas("scram.ScramLoginModule")
        return settings

    def command(self):
        self.ports = {name: free_port() for name in self.LISTENERS}
        controller = free_port()
        places = {"PLAINTEXT": self.port, **self.ports}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self.LISTENERS}
        addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, port in places.items())
        settings = self.folder / "server.properties"
        _properties(settings, {
            "process.roles": "broker,controller", "node.id": 1, "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"{addresses},CONTROLLER://127.0.0.1:{controller}", "advertised.listeners": addresses,
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": self.folder / "data", "num.partitions": 1, "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1, "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1, "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            # a broker that was killed is let back in once its session is over
            "broker.session.timeout.ms": 6000, "broker.heartbeat.interval.ms": 300, **self._security(),
        })  # fmt: skip
        java = self.java("512m")
        shutil.copytree(self._formatted(java, settings), self.folder / "data")
        self.call = [*java, "kafka.Kafka", settings]
        return self.call, {}

    def _formatted(self, java: list, settings: Path) -> Path:
        """The folder of a node that has seen nothing, made once: it knows of no port."""
        jars = hashlib.sha256(str(self.classes()[-1]).encode()).hexdigest()[:12]
        kept = CACHE / f"kafka-formatted-{jars}"
        if not kept.exists():
            done = subprocess.run(
                [*java, "kafka.tools.StorageTool", "format", "-t", "Zmlybi10ZXN0LWNsdXN0ZQ", "-c", settings],
                capture_output=True, text=True, stdin=subprocess.DEVNULL)  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"StorageTool: {done.stdout}{done.stderr}")
            part = CACHE / f"{kept.name}.{self.port}"
            shutil.move(self.folder / "data", part)
            try:
                part.rename(kept)
            except OSError:  # another test was quicker
                shutil.rmtree(part)
        return kept

    def start(self):
        super().start()
        try:
            admin = AdminClient({"bootstrap.servers": self.bootstrap})  # has to outlive its futures
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                wanted = UserScramCredentialUpsertion(USER, ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
                admin.alter_user_scram_credentials([wanted])[USER].result(READ_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def restart(self):
        """Killed, and started again with what it had written."""
        self.kill()
        self.start_again()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def start_again(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.call, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                                            preexec_fn=die_with_parent())  # fmt: skip
        wait_until(self.ready, self.start_seconds, f"{self.name} answers again", self.alive)

    def allow(self, *rights: tuple[ResourceType, str, AclOperation]):
        """USER may do these, once this is over: the broker's own look at who may what comes a moment after the answer."""
        bindings = [AclBinding(kind, name, ResourcePatternType.LITERAL, PRINCIPAL, "*", operation, AclPermissionType.ALLOW)
                    for kind, name, operation in rights]  # fmt: skip
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # has to outlive its futures
        for future in admin.create_acls(bindings).values():
            future.result(READ_SECONDS)
        every = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
        wait_until(lambda: set(bindings) <= set(admin.describe_acls(every).result(READ_SECONDS)), READ_SECONDS, f"{PRINCIPAL} has its rights")


class FaultyBroker(SecureBroker):
    """`at("FAULTS")` leads to the broker through `proxy`."""

    LISTENERS = {**SecureBroker.LISTENERS, "FAULTS": "PLAINTEXT"}

    def at(self, listener: str) -> str:
        return self.proxy.address if listener == "FAULTS" else super().at(listener)

    def _security(self) -> dict:
        self.proxy = FaultProxy("127.0.0.1", self.ports["FAULTS"], http=False).start()
        places = {"PLAINTEXT": self.port, **self.ports, "FAULTS": self.proxy.port}
        return {**super()._security(),
                "advertised.listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in places.items())}  # fmt: skip

    def stop(self):
        super().stop()
        self.proxy.stop()


def _token(subject: str) -> str:
    """A JWT without a signature (RFC 7519 section 6)."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": subject, "iat": now - 5, "exp": now + 600})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


class TokenServer:
    """Gives `clients` (id → secret) a token made out to their id. `asked` is what it was asked."""

    def __init__(self, clients: dict[str, str]):
        self.clients = clients
        self.asked = []

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                asked = {name: values[0] for name, values in form.items()}
                outer.asked.append(asked)
                good = asked.get("grant_type") == "client_credentials" and outer.clients.get(asked.get("client_id")) == asked.get("client_secret")
                answer = {"access_token": _token(asked["client_id"]), "expires_in": 600, "token_type": "Bearer"} if good else {"error": "invalid_client"}
                body = json.dumps(answer).encode()
                self.send_response(200 if good else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *unused):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
