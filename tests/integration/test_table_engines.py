"""Tables the table writer made from random changes, read by engines nobody here wrote.

The unit test's model (tests/unit/table/test_upsert.c) runs in a folder that stays, and prints the rows
that must be there; DuckDB and pyiceberg read the table by its metadata file.
"""

import glob
import os
import re
import subprocess
import tempfile
import unittest
from decimal import Decimal

import duckdb
from duckdb_extensions import import_extension
from pyiceberg.table import StaticTable

PROGRAM = "build/asan/tests/table_test_upsert"
CASES = [(2, ""), (2, "region"), (2, "bucket(5, id)"), (2, "truncate(5, name)"), (3, ""), (3, "region"),
         ("2-3", ""), ("2-3", "region")]  # raised on the way


def metadata_file(folder):
    """The newest vN.metadata.json."""
    files = glob.glob(f"{folder}/lake/orders/metadata/v*.metadata.json")
    return max(files, key=lambda path: int(re.search(r"/v(\d+)\.", path)[1]))


def expected_rows(text):
    rows = []
    for line in text.splitlines():
        id_, region, name, amount, row_id = line.split("\t")
        amount = Decimal(amount).scaleb(-2)
        rows.append((int(id_), int(region), None if name == "\\N" else name, amount, int(row_id)))
    return sorted(rows)


class Engines(unittest.TestCase):
    def made(self, folder, version, partition, seed):
        done = subprocess.run([PROGRAM, folder, str(version), partition, str(seed)],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        rows = expected_rows(done.stdout)
        self.assertGreater(len(rows), 100)
        return rows

    def check(self, version, partition, seed):
        with tempfile.TemporaryDirectory(prefix="firn-engines-") as folder:
            rows = self.made(folder, version, partition, seed)
            metadata = metadata_file(folder)
            columns = "id, region, name, amount" + (", _row_id" if version != 2 else "")
            want = rows if version != 2 else [row[:4] for row in rows]
            with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as duck:
                for extension in ("avro", "iceberg"):
                    import_extension(extension)
                    duck.execute(f"load {extension}")
                got = duck.execute(f"select {columns} from iceberg_scan('{metadata}')").fetchall()
            self.assertEqual(sorted(got), want)
            arrow = StaticTable.from_metadata(metadata).scan().to_arrow()
            got = zip(*(arrow[name].to_pylist() for name in ("id", "region", "name", "amount")))
            self.assertEqual(sorted(got, key=lambda row: row[0]), [row[:4] for row in rows])

    def test_engines(self):
        for number, (version, partition) in enumerate(CASES):
            with self.subTest(version=version, partition=partition):
                self.check(version, partition, 100 + number)


if __name__ == "__main__":
    unittest.main()
