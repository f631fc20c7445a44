"""Tables made through iceberg.h alone, in v2 and v3 and by every partition transform: DuckDB and pyiceberg
read exactly the rows that must be there, and what pyiceberg says of snapshots, manifests and files agrees
with what was committed."""

import glob
import os
import re
import subprocess
import tempfile
import unittest
from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import duckdb
from duckdb_extensions import import_extension
from pyiceberg.table import StaticTable

PROGRAM = "build/asan/tests/iceberg_writer"
PARTITIONS = ["", "bucket(4, id)", "bucket(3, amount)", "bucket(4, uid)", "bucket(4, region)", "day(at)",
              "month(at)", "year(at)", "hour(at)", "truncate(2, region)", "truncate(1000, amount)", "region",
              "amount", "uid", "void(region)"]
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a thousand fsyncs a table
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def parse(text):
    """The rows and the files the program printed."""
    rows, files = [], []
    for line in text.splitlines():
        kind, *fields = line.split("\t")
        if kind == "R":
            id_, region, amount, at, uid, row_id = fields
            tags = [int(id_) + i for i in range(int(id_) % 3)]
            rows.append((int(id_), None if region == "\\N" else region, Decimal(amount).scaleb(-2),
                         EPOCH + timedelta(microseconds=int(at)), UUID(uid), tags, int(row_id)))
        elif kind == "F":
            path, content, records, sequence = fields
            files.append((path, int(content), int(records), int(sequence)))
    return sorted(rows), sorted(files)


def as_uuid(value):
    return value if isinstance(value, UUID) else UUID(bytes=bytes(value))


class Engines(unittest.TestCase):
    def setUp(self):
        self.duck = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        for extension in ("avro", "iceberg"):
            import_extension(extension)
            self.duck.execute(f"load {extension}")
        self.duck.execute("set timezone = 'UTC'")

    def tearDown(self):
        self.duck.close()

    def duckdb_reads(self, location, version, rows):
        columns = "id, region, amount, epoch_us(\"at\"), uid, tags" + (", _row_id" if version == 3 else "")
        got = [(id_, region, amount, EPOCH + timedelta(microseconds=at), as_uuid(uid), tags, *row_id)
               for id_, region, amount, at, uid, tags, *row_id
               in self.duck.execute(f"select {columns} from iceberg_scan('{location}')").fetchall()]
        self.assertEqual(sorted(got), rows if version == 3 else [row[:-1] for row in rows])

    def pyiceberg_reads(self, table, rows):
        arrow = table.scan().to_arrow()
        names = ("id", "region", "amount", "at", "uid", "tags")
        got = sorted(zip(*(arrow[name].to_pylist() for name in names)))
        self.assertEqual([(*row[:4], as_uuid(row[4]), row[5]) for row in got], [row[:-1] for row in rows])

    def pyiceberg_inspects(self, table, files):
        # inspect.entries() and files() fall over vectors, which have no column sizes, and UUIDs
        head = table.current_snapshot()
        got = sorted((entry.data_file.file_path, int(entry.data_file.content), entry.data_file.record_count,
                      entry.sequence_number)
                     for manifest in head.manifests(table.io)
                     for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True))
        self.assertEqual(got, files)
        self.assertEqual(table.inspect.snapshots()["snapshot_id"].to_pylist(),
                         [snapshot.snapshot_id for snapshot in table.metadata.snapshots])
        summary = head.summary
        data = [file for file in files if file[1] == 0]
        deletes = [file for file in files if file[1] == 1]
        self.assertEqual(int(summary["total-records"]), sum(file[2] for file in data))
        self.assertEqual(int(summary["total-data-files"]), len(data))
        self.assertEqual(int(summary["total-delete-files"]), len(deletes))
        self.assertEqual(int(summary["total-position-deletes"]), sum(file[2] for file in deletes))
        # every snapshot that stays: its lists and manifests are there, and add up to its summary
        for snapshot in table.metadata.snapshots:
            counts = Counter()
            for manifest in snapshot.manifests(table.io):
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    counts[int(entry.data_file.content), "files"] += 1
                    counts[int(entry.data_file.content), "rows"] += entry.data_file.record_count
                    self.assertTrue(os.path.exists(entry.data_file.file_path.removeprefix("file://")))
            self.assertEqual(int(snapshot.summary["total-data-files"]), counts[0, "files"])
            self.assertEqual(int(snapshot.summary["total-records"]), counts[0, "rows"])
            self.assertEqual(int(snapshot.summary["total-position-deletes"]), counts[1, "rows"])
        self.assertLessEqual(len(table.metadata.snapshots), 17)
        self.assertLess(len(table.inspect.manifests().to_pylist()), 20)

    def nothing_lies_about(self, folder, table):
        """Every file in the table's folder belongs to a snapshot, to the metadata log or is the hint."""
        wanted = set()
        for snapshot in table.metadata.snapshots:
            wanted.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(table.io):
                wanted.add(manifest.manifest_path)
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    wanted.add(entry.data_file.file_path)
        wanted |= {entry.metadata_file for entry in table.metadata.metadata_log}
        there = {f"file://{path}" for path in glob.glob(f"{folder}/lake/t/**", recursive=True)
                 if os.path.isfile(path) and not path.endswith("version-hint.text")}
        self.assertEqual(there - wanted, {table.metadata_location})
        self.assertEqual(wanted - there, set())

    def check(self, version, partition):
        with tempfile.TemporaryDirectory(prefix="firn-iceberg-", dir=MEMORY) as folder:
            done = subprocess.run([PROGRAM, folder, str(version), partition], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows, files = parse(done.stdout)
            self.assertGreater(len(rows), 100)
            versions = glob.glob(f"{folder}/lake/t/metadata/v*.metadata.json")
            newest = max(versions, key=lambda path: int(re.search(r"/v(\d+)\.", path)[1]))
            table = StaticTable.from_metadata(f"file://{newest}")
            self.duckdb_reads(newest, version, rows)
            self.duckdb_reads(f"{folder}/lake/t", version, rows)  # by the version hint
            self.pyiceberg_reads(table, rows)
            self.pyiceberg_inspects(table, files)
            self.nothing_lies_about(folder, table)

    def test_engines(self):
        for version in (2, 3):
            for partition in PARTITIONS:
                with self.subTest(version=version, partition=partition):
                    self.check(version, partition)


if __name__ == "__main__":
    unittest.main()
