"""The whole flow into each catalog and each store: copy, traffic, restart, drain, and every row compared."""

import json
import os
import unittest
from unittest import mock

from harness import agent
from harness.case import Shop
from harness.place import Place


class Places(Shop):
    def follow(self, place: Place, *engines: str, **fields):
        self.make_shop()
        self.write_manifest(place=place, **fields)
        running = self.start()
        with self.traffic():
            self.wait_agreed(running)
        running.kill()
        running = self.start()
        with self.traffic(seed=2):
            self.wait_agreed(running)
        self.wait_agreed(running)
        self.assert_stopped(running)
        for engine in engines or ("duckdb",):
            self.assert_equal(engine, place=place)
        record = json.loads(place.read(place.record))
        self.assertEqual(set(record["tables"]), {f"public.{name}" for name in ("customers", "products", "orders", "order_lines")})

    def place(self, kind: str, **options) -> Place:
        place = Place(kind, self.warehouse, **options).start()
        self.addCleanup(place.stop)
        return place

    def test_directory_on_s3(self):
        self.follow(self.place("directory-s3"), "duckdb", "pyiceberg")

    def test_directory_on_minio_v3(self):
        self.follow(self.place("directory-s3", s3="minio"), format=3)

    def test_rest_and_files(self):
        self.follow(self.place("rest-files"))

    def test_rest_and_s3(self):
        self.follow(self.place("rest-s3"), "duckdb", "pyiceberg", format=3)

    def test_rest_vends_credentials(self):
        self.follow(self.place("rest-s3", vend=True), mode="Append")

    def test_uploads_that_crashed_are_swept(self):
        place = self.place("directory-s3")
        bucket, client = place.warehouse.removeprefix("s3://"), place.s3.client()
        mine, other = "shop/orders/data/crashed.parquet", "elsewhere/shop/orders/data/crashed.parquet"
        for name in mine, other:
            upload = client.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
            client.upload_part(Bucket=bucket, Key=name, UploadId=upload, PartNumber=1, Body=b"begun")
        self.make_shop(300)
        self.write_manifest(place=place)
        with mock.patch.dict(os.environ, FIRN_SWEEP_AGE_MS="-60000"):
            running = self.start()
        self.wait_agreed(running)
        self.assert_stopped(running)
        left = [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
        self.assertEqual(left, [other])

    def test_inspect_and_drop(self):
        place = self.place("rest-s3")
        self.make_shop(300)
        self.write_manifest(place=place, more_table="      deletionPolicy: Drop\n")
        running = self.start()
        self.wait_agreed(running)
        self.assert_stopped(running)
        catalog = place.rest.catalog()
        self.assertEqual(len(catalog.list_tables("shop")), 4)
        location = catalog.load_table("shop.orders").location()
        self.assertTrue(place.objects(location))
        done = agent.command("drop", "-f", self.folder / "manifest.yaml", "--yes")
        self.assertEqual(done.returncode, agent.OK, done.stderr)
        self.assertEqual(catalog.list_tables("shop"), [])
        self.assertEqual(place.objects(location), set())


if __name__ == "__main__":
    unittest.main(verbosity=2)
