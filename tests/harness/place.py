"""Where a test's lake tables are: a catalog and a store, real servers, reached by the agent through fault
proxies that do nothing until told to. Readers go to the servers directly."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from lake import LOCAL, Access

from harness.fault_proxy import FaultProxy
from harness.rest import BUCKET, RestCatalog
from harness.s3 import S3Server

KINDS = ("directory-files", "directory-s3", "rest-files", "rest-s3", "nessie-s3")
CLIENT = ("firn", "oauth-secret-of-the-tests")  # Iceberg's server gives a token to anyone


class Place:
    """`kind` is catalog-store. Context manager, or start() and stop(). `folder` is where files go when the
    store is files (else it may be left out). oauth: the agent has to fetch a token from Iceberg's server first."""

    def __init__(self, kind: str, folder: Path = None, s3: str = "versitygw", vend: bool = False, faults: bool = True, oauth: bool = False):
        if kind not in KINDS:
            raise ValueError(f"no place {kind}; there are {', '.join(KINDS)}")
        self.kind = kind
        self.folder = folder
        self.vend = vend
        self.faults = faults
        self.s3 = S3Server(s3) if kind.endswith("-s3") else None
        self.oauth = oauth
        self.rest = None
        if not kind.startswith("directory-"):
            self.rest = RestCatalog("iceberg" if kind.startswith("rest-") else "nessie", self.s3, None if self.s3 else folder, vend)
        self.s3_proxy: FaultProxy | None = None
        self.rest_proxy: FaultProxy | None = None

    def start(self):
        if self.folder:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
        if self.s3:
            self.s3.start()
            self.s3.create_bucket(BUCKET)
            if self.faults:
                self.s3_proxy = FaultProxy("127.0.0.1", self.s3.port)
                self.s3_proxy.start()
        if self.rest:
            self.rest.told_endpoint = f"http://{self.s3_proxy.address}" if self.s3_proxy else None
            self.rest.start()
            if self.faults:
                self.rest_proxy = FaultProxy("127.0.0.1", self.rest.port)
                self.rest_proxy.start()
        return self

    def stop(self):
        for server in (self.rest_proxy, self.s3_proxy, self.rest, self.s3):
            if server:
                server.stop()

    def clear(self):
        """No table, and nothing in the store; the servers go on. Of a REST catalog over an object store."""
        catalog = self.rest.catalog()
        for (namespace, *_) in catalog.list_namespaces():
            for name in catalog.list_tables(namespace):
                catalog.drop_table(name)
        client = self.s3.client()
        for key in self.s3.keys(BUCKET):
            client.delete_object(Bucket=BUCKET, Key=key)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    @property
    def proxies(self) -> list[FaultProxy]:
        return [proxy for proxy in (self.s3_proxy, self.rest_proxy) if proxy]

    @property
    def warehouse(self) -> str:
        """The folder of all tables."""
        return f"s3://{BUCKET}" if self.s3 else str(self.folder)

    @property
    def record(self) -> str:
        """The URI of the confirmed record."""
        folder = f"{self.warehouse}/shop" if self.kind == "nessie-s3" else self.warehouse
        return f"{folder}/_firn/default.shop.json"

    def table_lines(self) -> str:
        """`catalog` and `storage` of a LakeTable's spec, at its top level."""
        if not self.rest:
            lines = f"catalog: {{type: Directory, warehouse: \"{self.warehouse}\"}}\n"
        else:
            uri = self.rest.uri.replace(str(self.rest.port), str((self.rest_proxy or self.rest).port))
            more = ", vendedCredentials: true" if self.vend else ""
            more += ", auth: OAuth2, credentialsSecretRef: {name: catalog}" if self.oauth else ""
            lines = f"catalog: {{type: Rest, uri: \"{uri}\", warehouse: \"{self.rest.warehouse}\"{more}}}\n"
            if self.rest.kind == "nessie":  # whose warehouse is a name: where the record goes is told by the tables' place
                lines += f"location: \"{self.warehouse}/shop/{{table}}\"\n"
        if self.s3:
            port = (self.s3_proxy or self.s3).port
            lines += (
                f"storage: {{endpoint: \"http://127.0.0.1:{port}\", region: {self.s3.region}, pathStyle: true, "
                "credentialsSecretRef: {name: s3}}\n"
            )
        return lines

    def secrets(self) -> str:
        """Documents that stand before the others in a manifest."""
        oauth = f"""\
apiVersion: v1
kind: Secret
metadata: {{name: catalog}}
stringData: {{clientId: "{CLIENT[0]}", clientSecret: "{CLIENT[1]}"}}
---
""" if self.oauth else ""  # fmt: skip
        if not self.s3:
            return oauth
        return oauth + f"""\
apiVersion: v1
kind: Secret
metadata: {{name: s3}}
stringData: {{accessKeyId: "{self.s3.access_key}", secretAccessKey: "{self.s3.secret_key}"}}
---
"""

    def access(self) -> Access:
        """For the comparer."""
        if not self.s3 and not self.rest:
            return LOCAL
        found = {"catalog_uri": self.rest.uri, "catalog_warehouse": self.rest.warehouse} if self.rest else {}
        if self.s3:
            found |= {"s3_endpoint": self.s3.endpoint, "s3_region": self.s3.region,
                      "s3_access_key": self.s3.access_key, "s3_secret_key": self.s3.secret_key}  # fmt: skip
        return Access(**found)

    def read(self, uri: str) -> bytes | None:
        """An object of the store, None when there is none."""
        if not self.s3:
            path = Path(uri.removeprefix("file://"))
            return path.read_bytes() if path.exists() else None
        client = self.s3.client()
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            return client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None

    def objects(self, location: str) -> set[str]:
        """The URIs of everything under a table's location."""
        if self.s3:
            prefix = location.removeprefix(f"s3://{BUCKET}/").rstrip("/") + "/"
            return {f"s3://{BUCKET}/{key}" for key in self.s3.keys(BUCKET, prefix)}
        root = location.removeprefix("file://")
        return {f"file://{folder}/{name}" for folder, _, names in os.walk(root) for name in names}
