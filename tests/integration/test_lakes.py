"""The servers that lakes are tested on come up, do what they are for, and leave nothing behind: S3 by
versitygw and MinIO, Iceberg's REST catalog and Nessie. The first run on a machine builds and fetches them."""

import os
import socket
import ssl
import tempfile
import unittest
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError

from harness.fault_proxy import Fault, FaultProxy
from harness.rest import RestCatalog
from harness.s3 import S3Server

SCHEMA = {
    "type": "struct", "schema-id": 0, "identifier-field-ids": [1],
    "fields": [{"id": 1, "name": "id", "type": "long", "required": True}, {"id": 2, "name": "s", "type": "string", "required": False}],
}  # fmt: skip


def listening(port: int) -> set[str]:
    """The addresses on which something listens at a port."""
    found = set()
    for name, size in (("tcp", 4), ("tcp6", 16)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                family = socket.AF_INET if size == 4 else socket.AF_INET6
                found.add(socket.inet_ntop(family, b"".join(words)))
    return found


class Servers(unittest.TestCase):
    def assert_here_alone(self, server):
        self.assertLessEqual(listening(server.port), {"127.0.0.1", "::1", "::ffff:127.0.0.1"})
        self.assertTrue(listening(server.port))

    def assert_gone(self, folder, pid, port):
        self.assertFalse(folder.exists())
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertFalse(listening(port))

    def run_server(self, server, check):
        """Up, checked, down, twice: a server can be started again, empty."""
        for _ in range(2):
            with server:
                folder, pid, port = server.folder, server.process.pid, server.port
                self.assert_here_alone(server)
                check(server)
            self.assert_gone(folder, pid, port)

    def s3(self, kind):
        def check(server):
            client = server.client()
            self.assertEqual(client.list_buckets()["Buckets"], [])
            server.create_bucket("lake")
            server.create_bucket("lake")
            client.put_object(Bucket="lake", Key="a/ü =+%2F", Body=b"0123456789")
            self.assertEqual(server.keys("lake", "a/"), ["a/ü =+%2F"])
            self.assertEqual(client.get_object(Bucket="lake", Key="a/ü =+%2F", Range="bytes=-4")["Body"].read(), b"6789")
            with self.assertRaises(ClientError) as refused:
                client.put_object(Bucket="lake", Key="a/ü =+%2F", Body=b"x", IfNoneMatch="*")
            self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 412)
            with self.assertRaises(ClientError) as refused:
                server.client(secret_key="wrong-wrong-wrong").list_objects_v2(Bucket="lake")
            self.assertEqual(refused.exception.response["Error"]["Code"], "SignatureDoesNotMatch")

        self.run_server(S3Server(kind), check)

    def test_versitygw(self):
        self.s3("versitygw")

    def test_minio(self):
        self.s3("minio")

    def tls(self, kind):
        with S3Server(kind, tls=True) as server:
            self.assert_here_alone(server)
            server.create_bucket("lake")
            server.client().put_object(Bucket="lake", Key="a", Body=b"1")
            self.assertEqual(server.keys("lake"), ["a"])
            trusting = ssl.create_default_context(cadata=server.ca_pem)
            with self.assertRaises(HTTPError) as refused:
                urllib.request.urlopen(server.endpoint, timeout=120, context=trusting)
            self.assertEqual(refused.exception.code, 403)
            with self.assertRaisesRegex(OSError, "CERTIFICATE_VERIFY_FAILED"):
                urllib.request.urlopen(server.endpoint, timeout=120)

    def test_versitygw_tls(self):
        self.tls("versitygw")

    def test_minio_tls(self):
        self.tls("minio")

    def test_faults_on_the_way_to_s3(self):
        """Signed requests pass the proxy; one is done without an answer, one is refused."""
        with S3Server() as s3, FaultProxy("127.0.0.1", s3.port) as proxy:
            s3.create_bucket("lake")
            client = s3.client(endpoint=f"http://{proxy.address}")
            client.put_object(Bucket="lake", Key="t/a.parquet", Body=b"1" * 100_000)
            proxy.plan([Fault("swallow", method="PUT", path=r"\.json$"), Fault("answer", method="PUT", path=r"\.json$", nth=2)])
            with self.assertRaises(BotoCoreError):
                client.put_object(Bucket="lake", Key="t/v1.json", Body=b"1")
            with self.assertRaises(ClientError) as refused:
                client.put_object(Bucket="lake", Key="t/v2.json", Body=b"2")
            self.assertEqual(refused.exception.response["ResponseMetadata"]["HTTPStatusCode"], 503)
            client.put_object(Bucket="lake", Key="t/v3.json", Body=b"3")
            self.assertEqual(s3.keys("lake"), ["t/a.parquet", "t/v1.json", "t/v3.json"])
            self.assertEqual([struck.where for struck in proxy.struck], ["PUT /lake/t/v1.json", "PUT /lake/t/v2.json"])

    def rest(self, rest):
        """The protocol as it is, then a table by pyiceberg, whose files are where they belong."""
        config = rest.ask("GET", f"/v1/config?warehouse={rest.warehouse}")
        prefix = (config.get("defaults", {}) | config.get("overrides", {})).get("prefix", "")
        root = "/v1/" + (f"{prefix.replace('|', '%7C')}/" if prefix else "")
        rest.ask("POST", f"{root}namespaces", {"namespace": ["shop"], "properties": {}})
        self.assertEqual(rest.ask("GET", f"{root}namespaces")["namespaces"], [["shop"]])
        made = rest.ask("POST", f"{root}namespaces/shop/tables", {"name": "orders", "schema": SCHEMA, "stage-create": False})
        self.assertTrue(made["metadata"]["location"].startswith(rest.location), made["metadata"]["location"])
        with self.assertRaises(HTTPError) as refused:
            rest.ask("POST", f"{root}namespaces/shop/tables", {"name": "orders", "schema": SCHEMA, "stage-create": False})
        self.assertEqual(refused.exception.code, 409)

        table = rest.catalog().load_table("shop.orders")
        schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("s", pa.string())])
        table.append(pa.table({"id": [1, 2], "s": ["a", None]}, schema=schema))
        self.assertEqual(rest.catalog().load_table("shop.orders").scan().to_arrow().to_pydict(), {"id": [1, 2], "s": ["a", None]})
        return made

    def test_iceberg_in_a_folder(self):
        self.run_server(RestCatalog(), self.rest)
        with tempfile.TemporaryDirectory(prefix="firn-test-") as folder, RestCatalog(warehouse=folder) as rest:
            self.rest(rest)
            self.assertEqual([path.name for path in Path(folder, "shop").iterdir()], ["orders"])

    def test_iceberg_on_s3(self):
        with S3Server() as s3:
            with RestCatalog(s3=s3, warehouse="s3://lake/deep") as rest:
                self.assert_here_alone(rest)
                made = self.rest(rest)
                self.assertNotIn("s3.secret-access-key", made.get("config", {}))
                self.assertTrue([key for key in s3.keys("lake", "deep/shop/orders") if key.endswith(".parquet")])
            with RestCatalog(s3=s3, warehouse="s3://vended", vend=True) as rest:
                made = self.rest(rest)
                self.assertEqual(made["config"]["s3.access-key-id"], s3.access_key)
                self.assertEqual(made["config"]["s3.secret-access-key"], s3.secret_key)

    def test_iceberg_on_s3_with_tls(self):
        with S3Server(tls=True) as s3, RestCatalog(s3=s3) as rest:
            rest.ask("POST", "/v1/namespaces", {"namespace": ["shop"]})
            rest.ask("POST", "/v1/namespaces/shop/tables", {"name": "orders", "schema": SCHEMA})
            self.assertEqual(len(s3.keys("lake")), 1)

    def test_nessie_on_s3(self):
        with S3Server() as s3:
            rest = RestCatalog("nessie", s3=s3)
            self.run_server(rest, self.rest)
            self.assertTrue([key for key in s3.keys("lake") if key.endswith(".parquet")])

    def test_a_server_that_fails_shows_its_log(self):
        rest = RestCatalog(warehouse="/proc/nothing/lake")
        rest.start_seconds = 0
        with self.assertRaisesRegex(AssertionError, "iceberg-rest answers; its log: "):
            rest.start()
        self.assertFalse(rest.folder.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
