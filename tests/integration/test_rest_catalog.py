"""Tables made through REST catalogs, Iceberg's own server and Nessie: created, committed to and thinned in v2
and v3; two writers race, and somebody else commits in between; engines read exactly what was accepted."""

import os
import subprocess
import tempfile
import unittest
from collections import Counter

import duckdb
from duckdb_extensions import import_extension

from pyiceberg.exceptions import CommitFailedException, ValidationException

from harness.rest import RestCatalog
from harness.s3 import S3Server

PROGRAM = os.environ.get("ICEBERG_WRITER", "build/asan/tests/iceberg_writer")


class Rest:
    """What every server must bear; `server` is up, `environment` has the store's keys."""

    versions = (2, 3)
    first_commits_are_fenced = True

    def writer(self, version, *options, table):
        folder = self.folder.name if self.server.s3 else self.server.warehouse
        command = [PROGRAM, folder, str(version), "region", "--rest", self.server.uri,
                   "--warehouse", self.server.warehouse, "--table", table, *options]  # fmt: skip
        if self.server.s3:
            command += ["--s3", self.server.s3.endpoint]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **self.environment})  # fmt: skip

    def lines(self, process):
        output, errors = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 0, errors)
        return [line.split("\t") for line in output.splitlines()]

    def pyiceberg(self, table):
        return self.server.catalog().load_table(("lake", table))

    def duckdb_ids(self, table):
        """Through the metadata's place."""
        duck = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for extension in ("avro", "iceberg") + (("httpfs",) if self.server.s3 else ()):
            import_extension(extension)
            duck.execute(f"load {extension}")
        if self.server.s3:
            s3 = self.server.s3
            duck.execute(f"create secret (type s3, key_id '{s3.access_key}', secret '{s3.secret_key}', region '{s3.region}', "
                         f"endpoint '{s3.endpoint.split('//')[1]}', url_style 'path', use_ssl false)")  # fmt: skip
        place = self.pyiceberg(table).metadata_location.removeprefix("file://")
        ids = [row[0] for row in duck.execute(f"select id from iceberg_scan('{place}')").fetchall()]
        duck.close()
        return ids

    def rows_are(self, table, ids):
        found = self.pyiceberg(table).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
        self.assertEqual(sorted(found), sorted(ids))
        self.assertEqual(sorted(self.duckdb_ids(table)), sorted(ids))

    def test_fifty_commits(self):
        for version in self.versions:
            with self.subTest(version=version):
                table = f"t{version}"
                lines = self.lines(self.writer(version, "--commits", "50", table=table))
                ids = [int(line[1]) for line in lines if line[0] == "R"]
                self.assertIn(len(ids), range(200, 1500))  # of 2,000: most were deleted
                head = next(int(line[1]) for line in lines if line[0] == "S")
                loaded = self.pyiceberg(table)
                self.assertEqual(loaded.metadata.format_version, version)
                self.assertEqual(loaded.current_snapshot().snapshot_id, head)
                self.assertEqual(loaded.metadata.last_sequence_number, 50)
                if self.server.kind == "iceberg":
                    self.assertLess(len(loaded.metadata.snapshots), 30)  # those that went, the server let go
                files = Counter(line[1] for line in lines if line[0] == "F" and line[2] == "0")
                planned = Counter(task.file.file_path for task in loaded.scan().plan_files())
                self.assertEqual(planned, files)
                self.rows_are(table, ids)

    def test_two_writers_race(self):
        for version in self.versions:
            with self.subTest(version=version):
                table, commits = f"race{version}", 20
                first = [] if self.first_commits_are_fenced else self.lines(self.writer(version, "--commits", "1", "--append", "90000", table=table))
                writers = [self.writer(version, "--commits", str(commits), "--append", str(k * 10000), table=table) for k in (0, 1)]
                lines = first + [line for writer in writers for line in self.lines(writer)]
                accepted = [int(line[1]) for line in lines if line[0] == "C"]
                total = 2 * commits + len(first)
                self.assertEqual(len(set(accepted)), total)
                loaded = self.pyiceberg(table)
                history = [entry.snapshot_id for entry in loaded.history()]
                if self.server.kind == "iceberg":
                    self.assertEqual(Counter(history), Counter(accepted))
                else:  # Nessie tells of the head alone
                    self.assertIn(history[-1], accepted)
                self.assertEqual(loaded.metadata.last_sequence_number, total)
                self.rows_are(table, [k * 10000 + i for k in (0, 1) for i in range(commits * 40)] + [90000 + i for i in range(40 * len(first))])
                if version == 2:
                    self.assertTrue([line for line in lines if line[0] == "X"], "nobody lost: there was no race")

    def test_a_foreign_commit_in_between(self):
        """Both are there, and the writer went on."""
        self.lines(self.writer(2, "--commits", "2", "--append", "0", table="foreign"))
        writer = self.writer(2, "--commits", "30", "--append", "1000", table="foreign")
        first = writer.stdout.readline()
        self.assertEqual(first[0], "C", first)
        rows = self.pyiceberg("foreign").scan(row_filter="id = 0").to_arrow()
        for tries in range(100):
            try:
                self.pyiceberg("foreign").append(rows)
                break
            except (CommitFailedException, ValidationException):  # it lost, as we may
                self.assertLess(tries, 99)
        lines = [first.split("\t")] + self.lines(writer)
        self.assertEqual(len([line for line in lines if line[0] == "C"]), 30)
        self.rows_are("foreign", [0] + list(range(80)) + [1000 + i for i in range(30 * 40)])


class Iceberg(Rest, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="firn-rest-")
        cls.environment = {}
        cls.server = RestCatalog("iceberg")
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()


class OverS3:
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="firn-rest-")
        cls.s3 = S3Server()
        cls.s3.start()
        cls.environment = {"AWS_ACCESS_KEY_ID": cls.s3.access_key, "AWS_SECRET_ACCESS_KEY": cls.s3.secret_key,
                           "AWS_REGION": cls.s3.region}  # fmt: skip
        cls.server = RestCatalog(cls.kind, cls.s3, vend=cls.vend)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.s3.stop()
        cls.folder.cleanup()


class Nessie(OverS3, Rest, unittest.TestCase):
    kind, vend = "nessie", False
    versions = (2,)  # 0.99 knows no v3
    first_commits_are_fenced = False  # 0.99 takes assert-ref-snapshot-id with null for no requirement


class DirectoryOnS3(unittest.TestCase):
    """No server: metadata is created under conditions."""

    def test_commits_and_a_race(self):
        from pyiceberg.table import StaticTable

        place = f"s3://{self.bucket}/w"

        def writer(*options):
            return subprocess.Popen([PROGRAM, place, "3", "region", "--s3", self.s3.endpoint, *options], text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **self.environment})  # fmt: skip

        def rows(table):
            properties = {"s3.endpoint": self.s3.endpoint, "s3.access-key-id": self.s3.access_key,
                          "s3.secret-access-key": self.s3.secret_key, "s3.region": self.s3.region}  # fmt: skip
            found = StaticTable.from_metadata(f"{place}/lake/{table}", properties)
            return found, sorted(found.scan(selected_fields=("id",)).to_arrow()["id"].to_pylist())

        lines = Rest.lines(self, writer("--table", "t", "--commits", "20"))
        self.assertEqual(rows("t")[1], sorted(int(line[1]) for line in lines if line[0] == "R"))
        writers = [writer("--table", "race", "--commits", "10", "--append", str(k * 10000)) for k in (0, 1)]
        lines = [line for process in writers for line in Rest.lines(self, process)]
        table, ids = rows("race")
        self.assertEqual(Counter(entry.snapshot_id for entry in table.history()), Counter(int(line[1]) for line in lines if line[0] == "C"))
        self.assertEqual(ids, sorted(k * 10000 + i for k in (0, 1) for i in range(400)))

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="firn-rest-")
        cls.s3 = S3Server()
        cls.s3.start()
        cls.bucket = "lake"
        cls.s3.create_bucket(cls.bucket)
        cls.environment = {"AWS_ACCESS_KEY_ID": cls.s3.access_key, "AWS_SECRET_ACCESS_KEY": cls.s3.secret_key,
                           "AWS_REGION": cls.s3.region}  # fmt: skip

    @classmethod
    def tearDownClass(cls):
        cls.s3.stop()
        cls.folder.cleanup()


class Vended(OverS3, unittest.TestCase):
    """Iceberg's server hands out the keys: the writer has none of its own."""

    kind, vend = "iceberg", True
    writer, lines, pyiceberg, duckdb_ids, rows_are = Rest.writer, Rest.lines, Rest.pyiceberg, Rest.duckdb_ids, Rest.rows_are

    def test_keys_of_the_server(self):
        self.environment = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": self.s3.region}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.assertNotIn(name, os.environ)
        refused = self.writer(2, "--commits", "2", table="without")
        self.assertNotEqual(refused.wait(60), 0)  # so it is the vended ones that work
        refused.communicate()
        lines = self.lines(self.writer(2, "--commits", "12", "--vended", table="with"))
        self.rows_are("with", [int(line[1]) for line in lines if line[0] == "R"])


if __name__ == "__main__":
    unittest.main()
