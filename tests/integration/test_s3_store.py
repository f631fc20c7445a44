"""The S3 store against real servers: versitygw over http and https, and MinIO. A small program
(s3_store.c) drives it, boto3 looks from outside."""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.s3 import S3Server

PROGRAM = os.environ.get("S3_STORE", "build/asan/tests/s3_store")
BUCKET = "lake-store"
SPECIAL = ["p/a=1 %2F+\u00fc/x", "p/a=1 %2F+\u00fc/y z&<>'\"", "p/~tilde*(star)!$,;:@=", "p/percent%/100%25", "p/\u65e5\u672c/\U0001f600"]


class S3Store:
    kind = "versitygw"
    tls = False
    many = 1100  # a page has 1,000

    @classmethod
    def setUpClass(cls):
        cls.server = S3Server(cls.kind, tls=cls.tls).start()
        cls.addClassCleanup(cls.server.stop)
        cls.server.create_bucket(BUCKET)
        cls.client = cls.server.client()

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="firn-s3-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.prefix = f"{self._testMethodName}/"

    def uri(self, key, bucket=BUCKET, scheme="s3"):
        return f"{scheme}://{bucket}/{self.prefix}{key}"

    def begin(self, command, uri, *arguments, **other):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "AWS_ACCESS_KEY_ID": other.get("access_key", self.server.access_key),
            "AWS_SECRET_ACCESS_KEY": other.get("secret_key", self.server.secret_key),
            "CA_FILE": other.get("ca_file", str(self.server.ca_file or "")),
        }
        call = [PROGRAM, other.get("endpoint", self.server.endpoint), other.get("region", self.server.region), command, uri]
        return subprocess.Popen([*call, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run_store(self, command, uri, *arguments, status=0, **other):
        """Its output; with a status of 1, what it said."""
        process = self.begin(command, uri, *arguments, **other)
        output, said = process.communicate(timeout=600)
        self.assertEqual(process.returncode, status, said.decode())
        return said.decode() if status else output

    def content(self, size):
        path = self.folder / f"content-{size}"
        path.write_bytes(random.Random(size).randbytes(size))
        return path

    def body(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=self.prefix + key)["Body"].read()

    def unfinished(self):
        """Keys of uploads that began and neither ended nor were aborted."""
        return [upload["Key"] for upload in self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def test_sizes(self):
        for size in [0, 1, 8 << 20, (8 << 20) + 1, 40_000_000]:
            path = self.content(size)
            self.run_store("upload", self.uri(f"{size}"), path)
            self.assertEqual(hashlib.sha256(self.body(f"{size}")).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest())
            self.assertEqual(self.run_store("get", self.uri(f"{size}", scheme="s3a")), path.read_bytes())
        self.assertEqual(self.unfinished(), [])

    def test_ranges(self):
        path = self.content(20_000_000)
        self.run_store("upload", self.uri("o"), path)
        data = path.read_bytes()
        for start, size in [(0, 1), (19_999_999, 1), (5, 0), (20_000_000, 0), (8_388_600, 20), (0, 20_000_000), (1, 17_000_000)]:
            self.assertEqual(self.run_store("range", self.uri("o"), start, size), data[start : start + size])
        self.assertIn("Data ObjectTruncated:", self.run_store("range", self.uri("o"), 19_999_999, 2, status=1))
        self.assertIn("Data ObjectMissing:", self.run_store("range", self.uri("none"), 0, 1, status=1))
        self.assertIn("Data ObjectMissing:", self.run_store("get", self.uri("none"), status=1))

    def test_given_up(self):
        self.client.put_object(Bucket=BUCKET, Key=self.prefix + "o", Body=b"before")
        self.run_store("upload", self.uri("o"), self.content(20_000_000), "abort")
        self.assertEqual(self.body("o"), b"before")
        self.assertEqual(self.unfinished(), [])

    def test_swept(self):
        self.run_store("upload", self.uri("deep/o"), self.content(20_000_000), "crash", status=9)
        self.assertEqual(self.unfinished(), [self.prefix + "deep/o"])
        self.run_store("sweep", self.uri(""), 3600)
        self.assertEqual(self.unfinished(), [self.prefix + "deep/o"], "an hour old at least")
        self.run_store("sweep", "s3://" + BUCKET + "/elsewhere", -10)
        self.assertEqual(self.unfinished(), [self.prefix + "deep/o"], "under another prefix")
        self.run_store("sweep", self.uri(""), -10)
        self.assertEqual(self.unfinished(), [])
        self.assertEqual(self.run_store("list", self.uri("")), b"")

    def test_one_wins(self):
        for turn in range(3):
            racing = [self.begin("put_new", self.uri(f"v{turn}"), f"writer {i}") for i in range(8)]
            said = [process.communicate(timeout=600)[1].decode() for process in racing]
            won = [i for i, process in enumerate(racing) if process.returncode == 0]
            self.assertEqual(len(won), 1, said)
            self.assertEqual(self.body(f"v{turn}"), f"writer {won[0]}".encode())
            self.assertTrue(all("Conflict ObjectExists:" in text for i, text in enumerate(said) if i != won[0]), said)
        self.assertEqual(len(self.server.keys(BUCKET, self.prefix)), 3, "probes are gone")

    def test_replaced_once(self):
        self.assertIn("Conflict ObjectExists:", self.run_store("replace", self.uri("record"), "one", "late", status=1))
        self.assertEqual(self.body("record"), b"one")
        self.assertIn("Conflict ObjectChanged:", self.run_store("replace", self.uri("record"), "two", "late", status=1))
        self.assertEqual(self.body("record"), b"two")

    def test_list_and_delete_many(self):
        self.run_store("many", self.uri("t/"), self.many)
        self.run_store("put", self.uri("t2"), "beside")
        lines = self.run_store("list", self.uri("t/")).decode().splitlines()
        self.assertEqual([line.split("\t")[2] for line in lines], [self.uri(f"t/{i:05}") for i in range(self.many)])
        self.assertEqual(int(lines[7].split("\t")[0]), len(self.uri("t/00007")))
        now = self.client.head_object(Bucket=BUCKET, Key=self.prefix + "t/00007")["LastModified"].timestamp()
        self.assertAlmostEqual(int(lines[7].split("\t")[1]) / 1e6, now, delta=1.5)
        self.run_store("delete_all", self.uri("t"))
        self.assertEqual(self.server.keys(BUCKET, self.prefix), [self.prefix + "t2"])
        self.run_store("delete_all", self.uri("t"))

    def test_special_keys(self):
        for key in SPECIAL:
            self.run_store("put", self.uri(key), "content of " + key)
            self.assertEqual(self.body(key), ("content of " + key).encode())
            self.assertEqual(self.run_store("get", self.uri(key)), ("content of " + key).encode())
            self.assertEqual(self.run_store("exists", self.uri(key)), b"yes\n")
        lines = self.run_store("list", self.uri("p/")).decode().splitlines()
        self.assertEqual(sorted(line.split("\t")[2] for line in lines), sorted(self.uri(key) for key in SPECIAL))
        self.run_store("upload", self.uri(SPECIAL[0]), self.content(9_000_000))
        self.assertEqual(len(self.body(SPECIAL[0])), 9_000_000)
        self.run_store("delete", self.uri(SPECIAL[1]))
        self.assertEqual(self.run_store("exists", self.uri(SPECIAL[1])), b"no\n")
        self.run_store("delete", self.uri(SPECIAL[1]))
        self.run_store("delete_all", self.uri("p"))
        self.assertEqual(self.server.keys(BUCKET, self.prefix), [])

    def test_refusals(self):
        path = self.content(20_000_000)
        for command, arguments in [("put", ["x"]), ("upload", [path]), ("get", []), ("list", []), ("exists", [])]:
            uri = self.uri("o")
            said = self.run_store(command, uri, *arguments, access_key="AKIANOBODY", status=1)
            self.assertIn("Config AccessDenied:", said)
            self.assertIn("spec.storage.credentialsSecretRef", said)
            said = self.run_store(command, uri, *arguments, secret_key="not-the-secret", status=1)
            self.assertIn("Config AccessDenied:", said)
            self.assertNotIn("not-the-secret", said)
            said = self.run_store(command, self.uri("o", "no-such-bucket"), *arguments, status=1)
            self.assertIn("Config BucketMissing:", said)
            self.assertIn("no-such-bucket", said)
            self.assertIn("spec.catalog.warehouse", said)
        said = self.run_store("put", self.uri("o"), "x", region="ap-south-1", status=1)
        self.assertIn("Config WrongRegion:", said)
        self.assertIn("ap-south-1", said)
        self.assertIn(self.server.region, said)
        self.assertIn("spec.storage.region", said)
        self.assertEqual(self.unfinished(), [])


class VersityStore(S3Store, unittest.TestCase):
    many = 2500


class VersityTlsStore(S3Store, unittest.TestCase):
    tls = True

    def test_certificate(self):
        other = S3Server("versitygw", tls=True).start()
        self.addCleanup(other.stop)
        for ca_file in ["", str(other.ca_file)]:
            said = self.run_store("put", self.uri("o"), "x", ca_file=ca_file, status=1)
            self.assertIn("Config BadCertificate:", said)


class MinioStore(S3Store, unittest.TestCase):
    kind = "minio"


if __name__ == "__main__":
    unittest.main()
