"""The comparer reads tables that pyiceberg wrote into a REST catalog and S3, through DuckDB and pyiceberg, and
sees when they differ."""

import contextlib
import io
import os
import subprocess
import sys
import unittest
from pathlib import Path

COMPARE = Path(__file__).resolve().parents[1] / "compare"
sys.path.insert(0, str(COMPARE))

import pyarrow as pa
from compare import compare
from lake import Access

from harness.postgres import Postgres
from harness.rest import RestCatalog
from harness.s3 import S3Server

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("note", pa.string())])
ROWS = {"id": [1, 2, 3], "note": ["a", None, "c"]}
LINE = "match: 1 tables, 3 rows, hash equal"


class Lakes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres().start()
        cls.addClassCleanup(cls.postgres.stop)
        cls.postgres.execute("create table orders (id bigint primary key, note text)")
        cls.postgres.execute("insert into orders values (1, 'a'), (2, null), (3, 'c')")

    def table(self, rest):
        catalog = rest.catalog()
        catalog.create_namespace("shop")
        table = catalog.create_table("shop.orders", SCHEMA)
        table.append(pa.table(ROWS, schema=SCHEMA))
        return table

    def access(self, rest, s3):
        return Access(rest.uri, rest.warehouse, *self.store(s3))

    def store(self, s3):
        return (s3.endpoint, s3.region, s3.access_key, s3.secret_key, str(s3.ca_file) if s3.ca_file else None)

    def compared(self, warehouse, access, engine):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            same = compare(self.postgres.dsn(), warehouse, ["public=shop"], engine, access=access)
        self.assertEqual(same, LINE in output.getvalue())
        return same, output.getvalue()

    def assert_compared(self, warehouse, access):
        for engine in ("duckdb", "pyiceberg"):
            same, output = self.compared(warehouse, access, engine)
            self.assertTrue(same, f"{engine}: {output}")

    def test_rest_on_s3(self):
        with S3Server() as s3, RestCatalog(s3=s3) as rest:
            table = self.table(rest)
            access = self.access(rest, s3)
            self.assert_compared("", access)

            # The command, with keys from the environment.
            keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key, "AWS_REGION": s3.region}
            done = subprocess.run(
                [sys.executable, COMPARE / "compare.py", "--source", self.postgres.dsn(), "--catalog-uri", rest.uri,
                 "--s3-endpoint", s3.endpoint, "public.orders=shop/orders"],
                env={**os.environ, **keys}, capture_output=True, text=True)  # fmt: skip
            self.assertEqual((done.returncode, done.stdout.splitlines()[-1:]), (0, [LINE]), done.stdout + done.stderr)

            # Without a catalog, by listing: the place a directory catalog leaves behind.
            newest = table.metadata_location.removeprefix("s3://lake/")
            copy = f"{newest.rsplit('/', 1)[0]}/v2.metadata.json"
            s3.client().copy_object(Bucket="lake", Key=copy, CopySource={"Bucket": "lake", "Key": newest})
            self.assert_compared("s3://lake", Access(None, None, *self.store(s3)))

            table.append(pa.table({"id": [3], "note": ["c"]}, schema=SCHEMA))
            for engine in ("duckdb", "pyiceberg"):
                same, output = self.compared("", access, engine)
                self.assertFalse(same)
                self.assertIn("id=3: in the lake only, or more than once", output)
            rest.catalog().drop_table("shop.orders")
            same, output = self.compared("", access, "duckdb")
            self.assertFalse(same)
            self.assertIn("there is no table shop.orders", output)

    def test_rest_in_a_folder(self):
        with RestCatalog() as rest:
            self.table(rest)
            self.assert_compared("", Access(rest.uri, rest.warehouse))

    def test_nessie(self):
        with S3Server() as s3, RestCatalog("nessie", s3=s3) as rest:
            self.table(rest)
            self.assert_compared("", self.access(rest, s3))


if __name__ == "__main__":
    unittest.main(verbosity=2)
