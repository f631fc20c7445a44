"""What a lake's store or catalog refuses is told with the manifest's field and the way out; nothing is confirmed to
the source meanwhile, and once mended, source and lake become equal. What only takes time (a full store, a server that
asks for patience) is waited for by the same process."""

import email.utils
import json
import time
import unittest

from harness.agent import OK, REFUSED, command
from harness.case import Shop
from harness.fault_proxy import Fault, FaultProxy
from harness.place import CLIENT, Place
from harness.postgres import free_port
from harness.s3 import S3Server
from harness.wait import wait_until


def s3_error(code: str, message: str = "as the test wants it") -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"


def rest_error(status: int, kind: str, message: str = "as the test wants it") -> str:
    return json.dumps({"error": {"message": message, "type": kind, "code": status}})


class Refusals(Shop):
    """A flow that worked, and then something is wrong with the lake."""

    rows = 300
    quick = True

    def make(self, kind: str, **options):
        self.make_shop()
        self.place = Place(kind, self.warehouse, **options).start()
        self.addCleanup(self.place.stop)
        self.path = self.write_manifest(place=self.place)
        agent = self.start()
        self.wait_agreed(agent)
        self.assert_stopped(agent)
        self.good = self.path.read_text()
        self.edit()

    def edit(self, *replacements: tuple[str, str]):
        """The manifest that worked, with these texts changed."""
        text = self.good
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.path.write_text(text)

    def change(self):
        self.connection.execute("update customers set visits = (visits + 1) % 300")

    def refused(self, *said: str, arguments=(), never: str = "nothing-of-that-kind"):
        """Ends with the code for what a person must mend; the source is told nothing."""
        self.change()
        confirmed = self.postgres.slot("firn")["confirmed"]
        agent = self.start(arguments=arguments)
        self.assertEqual(agent.wait(), REFUSED, agent.text()[-3000:])
        for text in said:
            self.assertIn(text, agent.text())
        self.assertNotIn(never, agent.text())
        self.assertEqual(self.postgres.slot("firn")["confirmed"], confirmed)

    def waits(self, proxy: FaultProxy, fault: Fault, *said: str):
        """Goes on trying for as long as it lasts, and then by itself."""
        self.change()
        confirmed = self.postgres.slot("firn")["confirmed"]
        proxy.plan([fault])
        agent = self.start()
        wait_until(lambda: fault.struck and "starting again" in agent.text(), 90, "it says that it tries again", agent.alive)
        for text in said:
            self.assertIn(text, agent.text())
        self.assertEqual(self.postgres.slot("firn")["confirmed"], confirmed)
        proxy.calm()
        self.wait_agreed(agent)
        self.assert_stopped(agent)

    def mended(self):
        self.edit()
        agent = self.start()
        with self.traffic(bulk=False):
            pass
        self.wait_agreed(agent)
        self.assert_equal(place=self.place)
        self.assert_stopped(agent)

    def invalid(self, *said: str):
        """What can be seen without asking anybody, and without Secrets, `validate` tells as well."""
        done = command("validate", "-f", self.path)
        self.assertEqual(done.returncode, REFUSED, done.stderr)
        for text in said:
            self.assertIn(text, done.stdout + done.stderr)
        self.refused(*said)


class Store(Refusals):
    def setUp(self):
        super().setUp()
        self.make("directory-s3")
        self.proxy = self.place.s3_proxy

    def answered(self, fault: Fault, *said: str):
        self.proxy.plan([fault])
        self.refused(*said)
        self.assertTrue(fault.struck)
        self.proxy.calm()

    def test_what_a_person_must_mend(self):
        s3 = self.place.s3
        self.assertEqual(command("validate", "-f", self.path).returncode, OK)
        with self.subTest("access key"):
            self.edit((s3.access_key, "AKIANOBODY"))
            self.refused("AccessDenied", "access key", "storage.credentialsSecretRef")
        with self.subTest("secret key"):
            self.edit((s3.secret_key, "not-the-secret"))
            self.refused("AccessDenied", "secret key", "storage.credentialsSecretRef", never="not-the-secret")
        with self.subTest("no secret key in the Secret"):
            self.edit((f', secretAccessKey: "{s3.secret_key}"', ""))
            self.refused("storage.credentialsSecretRef", "secretAccessKey")
        with self.subTest("bucket"):
            self.edit((self.place.warehouse, "s3://no-such-bucket"))
            self.refused("BucketMissing", "no-such-bucket", "catalog.warehouse", "storage.endpoint")
        with self.subTest("region"):
            self.edit((f"region: {s3.region}", "region: ap-south-1"))
            self.refused("WrongRegion", "storage.region", s3.region)
        with self.subTest("authority that is none"):
            self.edit(("endpoint: \"http://", "caSecretRef: {name: ca}, endpoint: \"https://"))
            self.path.write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: ca}\nstringData: {ca.crt: nonsense}\n---\n" + self.path.read_text())
            self.refused("storage.caSecretRef", "holds no certificate")
        with self.subTest("authority of a server without TLS"):
            self.edit(("endpoint:", "caSecretRef: {name: ca}, endpoint:"))
            self.invalid("storage.caSecretRef", "not https")
        self.edit()
        with self.subTest("token"):
            self.answered(Fault("answer", times=0, status=400, body=s3_error("ExpiredToken")),
                          "AccessDenied", "token has expired", "storage.credentialsSecretRef")  # fmt: skip
        with self.subTest("clock"):
            self.answered(Fault("answer", times=0, status=403, body=s3_error("RequestTimeTooSkewed")), "ClockSkew", "set the clock")
        with self.subTest("rights"):
            self.answered(Fault("answer", "PUT", times=0, status=403, body=s3_error("AccessDenied")),
                          "AccessDenied", "s3:GetObject, PutObject", "storage.credentialsSecretRef")  # fmt: skip
        self.mended()

    def test_what_passes(self):
        with self.subTest("quota"):
            fault = Fault("answer", "PUT", r"\.parquet$", times=0, status=507, body=s3_error("QuotaExceeded"))
            self.waits(self.proxy, fault, "DiskFull", "the store is full")
        with self.subTest("MinIO's quota"):
            fault = Fault("answer", "PUT", times=0, status=507, body=s3_error("XMinioStorageFull"))
            self.waits(self.proxy, fault, "DiskFull", "the store is full")
        with self.subTest("busy for long"):
            self.waits(self.proxy, Fault("answer", times=0, status=503, body=s3_error("SlowDown")), "StoreFailed", "SlowDown")
        self.mended()

    def test_retry_after(self):
        """The server says how long, and is asked no earlier."""
        fault = Fault("answer", "PUT", r"\.parquet$", times=2, status=503, headers={"Retry-After": "2"}, body=s3_error("SlowDown"))
        self.proxy.plan([fault])
        agent = self.start()
        self.connection.execute("update customers set visits = 1 where id = 1")  # one table, one file
        wait_until(lambda: fault.struck == 2, 60, "it struck twice", agent.alive)
        first, second = (struck.when for struck in self.proxy.struck[-2:])
        self.assertGreaterEqual(second - first, 2)
        self.wait_agreed(agent)
        self.assertNotIn("starting again", agent.text())
        self.assert_stopped(agent)

    def test_clock_mends_itself(self):
        """The server's Date tells by how much this host's clock is off; it is asked again by its own."""
        ahead = email.utils.formatdate(time.time() + 300, usegmt=True)
        agent = self.start()
        self.wait_agreed(agent)
        self.proxy.plan([Fault("answer", "PUT", r"\.parquet$", status=403, body=s3_error("RequestTimeTooSkewed"), headers={"Date": ahead})])
        self.change()
        self.wait_agreed(agent)
        self.assertEqual(len(self.proxy.struck), 1)
        self.assert_stopped(agent)
        self.mended()

    def test_authority(self):
        """A server whose certificate nobody here knows; with its authority in the manifest it is spoken to."""
        with S3Server("versitygw", tls=True) as strange:
            port = self.good.split("endpoint: \"http://127.0.0.1:")[1].split('"')[0]
            self.edit((f"http://127.0.0.1:{port}", strange.endpoint))
            self.refused("BadCertificate", "certificate", "storage.caSecretRef")
            self.edit((f"endpoint: \"http://127.0.0.1:{port}", f"caSecretRef: {{name: ca}}, endpoint: \"{strange.endpoint}"))
            lines = "".join(f"    {line}\n" for line in strange.ca_pem.splitlines())
            secret = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: ca}}\nstringData:\n  ca.crt: |\n{lines}---\n"
            self.path.write_text(secret + self.path.read_text())
            self.refused("AccessDenied", "storage.credentialsSecretRef")  # it has other keys
        self.mended()


class Catalog(Refusals):
    def setUp(self):
        super().setUp()
        self.make("rest-s3", oauth=True)
        self.proxy = self.place.rest_proxy

    def answered(self, fault: Fault, *said: str, **options):
        self.proxy.plan([fault])
        self.refused(*said, **options)
        self.assertTrue(fault.struck)
        self.proxy.calm()

    def test_refusals(self):
        token = Fault("answer", "POST", r"/oauth/tokens$", times=0, status=401,
                      body=json.dumps({"error": "invalid_client", "error_description": f"not {CLIENT[1]}"}))  # fmt: skip
        with self.subTest("OAuth2"):
            self.answered(token, "Unauthorized", "catalog.credentialsSecretRef", "catalog.uri, oauth2Uri and scope", never=CLIENT[1])
        with self.subTest("a token that is never enough"):
            self.answered(Fault("answer", None, r"/v1/(config|namespaces)", times=0, status=401, body=rest_error(401, "NotAuthorizedException")),
                          "Unauthorized", "catalog.credentialsSecretRef")  # fmt: skip
        with self.subTest("no client secret in the Secret"):
            self.edit((f', clientSecret: "{CLIENT[1]}"', ""))
            self.refused("catalog.credentialsSecretRef", "clientSecret")
        with self.subTest("OAuth2 without a Secret"):
            self.edit((", credentialsSecretRef: {name: catalog}", ""))
            self.invalid("catalog.credentialsSecretRef", "OAuth2", "clientId")
        self.edit()
        with self.subTest("warehouse"):
            self.answered(Fault("answer", "GET", r"/v1/config", times=0, status=404, body=rest_error(404, "NoSuchWarehouseException")),
                          "WarehouseUnknown", "catalog.warehouse")  # fmt: skip
        with self.subTest("no catalog there"):
            self.edit((f":{self.proxy.port}\"", f":{self.proxy.port}/elsewhere\""), (", auth: OAuth2, credentialsSecretRef: {name: catalog}", ""))
            self.answered(Fault("answer", None, r"/elsewhere/", times=0, status=404, body="<html>"), "NotACatalog", "catalog.uri")
        with self.subTest("a namespace that may not be made"):
            self.edit(("database: shop\n      tableName", "database: other\n      tableName"))
            forbidden = Fault("answer", "POST", r"/namespaces$", times=0, status=403, body=rest_error(403, "ForbiddenException"))
            self.answered(forbidden, "Forbidden", "spec.database", arguments=["--resnapshot", "public.*"])
        with self.subTest("a namespace that nobody may look at"):
            forbidden = Fault("answer", None, r"/namespaces/other", times=0, status=403, body=rest_error(403, "ForbiddenException"))
            self.answered(forbidden, "Forbidden", "spec.database", "catalog.credentialsSecretRef", arguments=["--resnapshot", "public.*"])
        self.edit()
        with self.subTest("a commit"):
            forbidden = Fault("answer", "POST", r"/tables/\w+$", times=0, status=403, body=rest_error(403, "ForbiddenException"))
            self.answered(forbidden, "Forbidden", "catalog.credentialsSecretRef")
        with self.subTest("nobody listens"):
            self.edit((f":{self.proxy.port}\"", f":{free_port()}\""))
            agent = self.start()
            wait_until(lambda: "starting again" in agent.text(), 90, "it says that it tries again", agent.alive)
            self.assertIn("/v1/", agent.text())
            agent.__exit__()
        self.edit()
        with self.subTest("busy, and says for how long"):
            fault = Fault("answer", "GET", r"/v1/config", times=0, status=503, headers={"Retry-After": "1"})
            self.waits(self.proxy, fault, "503")
        self.mended()


class NessieRefuses(Refusals):
    def test_unknown_warehouse(self):
        """It says so with status 500, which may pass: it is asked again, and the field is named."""
        self.make("nessie-s3")
        self.edit((f"warehouse: \"{self.place.rest.warehouse}\"", "warehouse: \"no-such-warehouse\""))
        self.change()
        confirmed = self.postgres.slot("firn")["confirmed"]
        agent = self.start()
        wait_until(lambda: "starting again" in agent.text(), 90, "it says that it tries again", agent.alive)
        for text in ("spec.catalog.warehouse", "no-such-warehouse", "is not known"):
            self.assertIn(text, agent.text())
        self.assertEqual(self.postgres.slot("firn")["confirmed"], confirmed)
        agent.__exit__()
        self.mended()


if __name__ == "__main__":
    unittest.main(verbosity=2)
